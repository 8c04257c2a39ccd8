import math

from coarsegrad.studies.yin2019 import pictures
from coarsegrad.view import Line, Points, draw


def test_every_picture_can_be_drawn(smoke):
    made = {
        **pictures.fields(smoke), **pictures.lines(smoke["line"]), **pictures.landscape(smoke["slice"]),
        **pictures.ends(smoke["ends"]), **pictures.near(smoke["near"]),
    }  # fmt: skip
    assert len(made) == 18
    assert all("no data" not in draw(figure) for figure in made.values())


def test_level_lines_stay_in_the_picture_and_have_gaps_between(smoke):
    for figure in pictures.landscape(smoke["slice"]).values():
        level = figure.items[0]
        assert isinstance(level, Line) and level.label == "equal loss"
        assert any(map(math.isnan, level.y))
        assert all(abs(y) <= 1.75 and 0 <= x <= math.pi + 1e-9
                   for x, y in zip(level.x, level.y, strict=True) if not math.isnan(y))  # fmt: skip


def test_an_arrow_begins_where_it_belongs_and_points_along(smoke):
    row = {"what": "arrow", "field": "true", "theta": 1.0, "kappa": 0.5, "d_theta": 0.0, "d_kappa": 2.0}
    arrow = pictures._arrows([row], "true", "gradient", 0)
    assert (arrow.x[0], arrow.y[0]) == (1.0, 0.5)
    assert math.isclose(arrow.x[1], 1.0) and arrow.y[1] > 0.5
    assert (arrow.x[1], arrow.y[1]) == (arrow.x[3], arrow.y[3])  # back at the tip between the barbs


def test_a_path_is_cut_where_theta_jumps():
    rows = [
        {"what": "path", "surrogate": "identity", "start": 0, "theta": t, "kappa": 0.0}
        for t in (3.0, 2.9, 0.1)
    ]
    assert [math.isnan(x) for x in pictures._paths(rows, "identity").x] == [False, False, True, False, True]


def test_critical_points_are_marked(smoke):
    figure = pictures.landscape(smoke["slice"])["field-exists"]
    marked = [item.label for item in figure.items if isinstance(item, Points)]
    assert marked == ["global minimizer", "spurious minimizer", "saddle"]
    assert [item.label for item in pictures.landscape(smoke["slice"])["field-fails"].items
            if isinstance(item, Points)] == ["global minimizer"]  # fmt: skip


def test_instability_is_drawn_from_what_is_there():
    at = {"what": "instability", "surrogate": "relu"}
    rows = [{**at, "epoch": e, "train_loss": 0.1 * e, "seed": s} for e in range(3) for s in range(2)]
    assert list(pictures.instability({"lenet5": rows})) == ["instability-lenet5"]
    assert pictures.instability({}) == {}
