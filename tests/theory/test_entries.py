"""What is said of an entry is what its law says."""

import math

import pytest
import torch

from coarsegrad.problem.laws import LAWS, Correlated, LogNormal, StudentT
from coarsegrad.theory.entries import ENTRIES, Masses, entry
from theory.laws import DENSITIES, MASSES


def moments(one, law):
    """Mass, mean and mean square about the law's mean, those of a density on a fine grid."""
    if isinstance(one, Masses):
        p = torch.tensor(one.masses, dtype=torch.double)
        x = one.shift + one.scale * torch.arange(len(p), dtype=torch.double)
    else:
        step = one.unit() / math.ceil(one.unit() / one.scale * 2**10)
        x = step * torch.arange(-(2**18), 2**18 + 1, dtype=torch.double)
        p = step * one.at(x)
    return p.sum(), (p * x).sum(), (p * (x - law.mean).square()).sum()


GRID = [law for law in DENSITIES + MASSES if not isinstance(law, StudentT)]  # its tails go beyond any grid


@pytest.mark.parametrize("law", GRID, ids=str)
def test_mean_and_variance_are_the_laws(law):
    found = torch.stack(moments(entry(law), law))
    wanted = torch.tensor([1.0, law.mean, law.variance], dtype=torch.double)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("law", [*DENSITIES, StudentT(1.5), StudentT(30.0), LogNormal(2.0)], ids=str)
def test_what_is_beyond_a_place_is_what_is_missing_inside(law):
    one = entry(law)
    far = one.reach(20)
    for x in (far / 4, -far / 4):
        # from there on geometrically, as the tail is heavy
        edge = torch.linspace(0, math.log(1e9), 200_001, dtype=torch.double).exp() * x
        middle, width = (edge[1:] + edge[:-1]) / 2, edge.diff().abs()
        density = one.at(middle)
        mass, mean = one.beyond(x)
        reach = (
            1e9 ** (1 - law.df) * abs(x) if isinstance(law, StudentT) else 0.0
        )  # of the mean beyond the last
        assert abs((density * width).sum() - mass) < 1e-6 * mass + 1e-12
        assert abs((density * width * middle).sum() - mean) < 1e-5 * abs(mean) + 1e-12 + reach


def test_every_law_of_the_catalogue_is_known_or_refused_with_the_mend():
    known = 0
    for make in LAWS.values():
        try:
            law = make()
        except TypeError:  # it is made of another
            continue
        if law.name in ENTRIES:
            known += entry(law) is not None
        else:
            with pytest.raises(ValueError, match="sample it with sim"):
                entry(law)
    assert known >= 7


@pytest.mark.parametrize(
    ("law", "mend"),
    [
        (StudentT(df=1.0), "no mean, so there is no expected gradient; sample it with sim"),
        (Correlated(), "known: gaussian, rademacher.*sample it with sim.hidden, or give it an attribute"),
    ],
    ids=str,
)
def test_what_is_not_known_is_refused_with_the_mend(law, mend):
    with pytest.raises(ValueError, match=mend):
        entry(law)
