"""A staircase is the quantizer that it was made of."""

import pytest
import torch

from coarsegrad.core.learned import N2UQ
from coarsegrad.core.quantizers import Binary, DoReFaWeight, Uniform
from coarsegrad.spec import write
from coarsegrad.theory.staircase import THRESHOLD, Staircase
from core.grid import data, quantizers


@pytest.mark.parametrize(
    "quantizer", [q for q in quantizers() if getattr(q, "signed", 0) is not None], ids=write
)
def test_a_staircase_is_its_quantizer(quantizer):
    x = data(1, 400, dtype=torch.float64)
    values = quantizer.fit(x)
    shared = all(v.numel() == 1 for k, v in values.items() if k != "widths")
    if not shared or (quantizer.name == "dorefa_weight" and quantizer.bits > 1):
        with pytest.raises(ValueError, match=r"one scale for all|squashes"):
            Staircase.of(quantizer, **values)
        return
    activation = Staircase.of(quantizer, **values)
    cuts = torch.tensor(activation.thresholds, dtype=torch.float64)
    found = torch.tensor(activation.levels, dtype=torch.float64)[torch.bucketize(x, cuts)]
    assert torch.allclose(found, quantizer(x, **values).detach(), rtol=1e-6, atol=1e-9)
    zero = quantizer(torch.zeros(1, 1, dtype=torch.float64), **values).detach()
    assert activation.zero == pytest.approx(float(zero), abs=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Staircase.of(Binary()), r"Staircase.of\(Binary\(...\)\) needs fitted values"),
        (lambda: Staircase.of(Uniform(rounding="stochastic"), scale=1.0), "no staircase; with chance"),
        (lambda: Staircase.of(DoReFaWeight(bits=2), scale=0.3), "no function of one number"),
        (lambda: Staircase.of(Binary(), scale=torch.ones(3, 1)), "got one per channel or group"),
        (lambda: Staircase((0.0, 1.0), (0.0, 1.0)), "one level more than thresholds"),
        (lambda: Staircase((0.0, 1.0, 2.0), (1.0, 0.0)), "must ascend"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_the_mend(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_trained_thresholds_of_n2uq_are_its_staircase():
    activation = Staircase.of(N2UQ(bits=2), scale=2.0, widths=torch.tensor([1.0, 0.5, 2.0]))
    assert activation.thresholds == (1.0, 2.5, 5.0) and activation.levels == (0.0, 2.0, 4.0, 6.0)


def test_thresholds_and_jumps_come_on_the_device_of_the_data():
    cut, jump = Staircase((0.0, 0.5, 2.0), (0.1, 0.7)).jumps(torch.zeros(1))
    assert cut.tolist() == [0.1, 0.7] and jump.tolist() == [0.5, 1.5]
    assert THRESHOLD.jumps(torch.zeros(1))[0].dtype == torch.float64
