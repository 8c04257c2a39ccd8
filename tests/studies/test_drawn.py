import numpy as np

from coarsegrad.studies import drawn
from coarsegrad.view import draw


def test_items_take_any_numbers_and_can_be_drawn():
    items = [
        drawn.line([0, 1], np.array([1.0, 2.0]), "a", low=[0, 1], high=(2, 3), dashed=True),
        drawn.dots(range(2), [1, 2], "b", color=1),
    ]
    assert items[0].y == (1.0, 2.0) and items[1].x == (0.0, 1.0)
    assert "<svg" in draw(drawn.figure("title", "x", "y", items))
    assert "<svg" in draw(drawn.figure("title", "", "y", [drawn.bars(["a", "b"], [1, 2], "c")]))
