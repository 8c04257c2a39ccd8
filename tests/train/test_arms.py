"""What is compared is fixed at the door: budget, seeds, names."""

import dataclasses

import pytest

from coarsegrad.train.arms import Arm, Comparison
from coarsegrad.train.plan import TrainPlan

BASE = TrainPlan(
    data="gaussian(dim=6,samples=120,test_samples=60)", model="mlp(widths=(8,))", recipe="w1a2", epochs=2,
    batch_size=40, lr=0.05,
)  # fmt: skip
SMALL = Comparison(base=BASE, surrogates=("clipped_relu", "identity"), seeds=2)


def test_arms_of_one_seed_start_from_the_same_weights_and_see_the_same_budget():
    plans = [SMALL.plan(arm, 5) for arm in (Arm("float"), *SMALL.arms)]
    free = ("recipe", "weight_surrogate", "activation_surrogate", "latent")
    shared = [{k: v for k, v in plan.values().items() if k not in free} for plan in plans]
    assert all(values == shared[0] for values in shared) and shared[0]["seed"] == 5


def test_its_written_form_reads_back_equal(tmp_path):
    text, bits = ("clipped_relu(top=2.0)", "identity"), ("weight=binary(scale=scale(statistic='mse'))",)
    one = dataclasses.replace(
        SMALL, surrogates=text, bits=bits, tune=2, base=dataclasses.replace(BASE, rules=("fc=w4a4",))
    )
    (tmp_path / "c.toml").write_text(one.write())
    assert Comparison.read(tmp_path / "c.toml") == one


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"surrogates": ("rellu",)}, "did you mean 'relu'"),
        ({"bits": ("w12a2",)}, "1 to 8, got 12"),
        ({"bits": ("float",)}, "always stands beside"),
        ({"surrogates": ()}, "one name or more"),
        ({"seeds": 0}, "1 or more, got 0"),
        ({"tune": -1}, "0 or more, got -1"),
    ],
)
def test_a_comparison_of_nothing_that_exists_is_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(SMALL, **changes)
