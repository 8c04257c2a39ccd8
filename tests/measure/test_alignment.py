"""Alignment: known angles, invariances, and numbers at the edge of the float range."""

import math

import pytest
import torch

from coarsegrad.measure.alignment import angle, cosine, sign_agreement


@pytest.mark.parametrize("theta", [0.0, 1e-7, 0.3, math.pi / 2, 2.0, math.pi - 1e-7, math.pi])
def test_angle_and_cosine_return_the_angle_put_in(theta):
    a = torch.tensor([2.0, 0.0], dtype=torch.float64)
    b = 3 * torch.tensor([math.cos(theta), math.sin(theta)], dtype=torch.float64)
    assert angle(a, b).item() == pytest.approx(theta, abs=1e-15)
    assert cosine(a, b).item() == pytest.approx(math.cos(theta), abs=1e-15)


@pytest.mark.parametrize("size", [1e-44, 1e-30, 1.0, 1e30, 3e38])
def test_length_does_not_matter_even_where_squares_leave_the_float_range(size):
    a, b = torch.tensor([1.0, 1.0]) * size, torch.tensor([1.0, 0.0])
    assert cosine(a, b).item() == pytest.approx(math.sqrt(0.5), abs=1e-6)
    assert angle(a, b).item() == pytest.approx(math.pi / 4, abs=1e-6)


def test_a_zero_vector_is_at_a_right_angle_to_everything():
    zero, other = torch.zeros(3), torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    for a, b in [(zero, other), (other, zero), (zero, zero)]:
        assert (cosine(a, b) == 0).all()
        assert torch.allclose(angle(a, b), torch.tensor(math.pi / 2))


def test_cosine_never_leaves_its_range_and_is_symmetric():
    g = torch.Generator().manual_seed(1)
    a = torch.randn(1000, 3, generator=g)
    b = a * torch.rand(1000, 1, generator=g)
    assert cosine(a, b).max() <= 1 and cosine(a, -b).min() >= -1
    assert torch.equal(cosine(a, b), cosine(b, a))


def test_leading_axes_broadcast():
    g = torch.Generator().manual_seed(2)
    a, b = torch.randn(4, 1, 6, generator=g), torch.randn(5, 6, generator=g)
    for function in (cosine, angle, sign_agreement):
        together = function(a, b)
        assert together.shape == (4, 5)
        assert torch.allclose(together[2, 3], function(a[2, 0], b[3]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_follows_the_input(dtype):
    a = torch.tensor([200.0, 300.0], dtype=dtype)
    for function in (cosine, angle, sign_agreement):
        assert function(a, a).dtype == dtype
    assert cosine(a, a).item() == pytest.approx(1.0, abs=1e-6)


def test_integers_are_compared_as_float32():
    assert cosine(torch.tensor([3, 4]), torch.tensor([4, 3])).item() == pytest.approx(0.96)


def test_a_nan_in_the_input_shows_in_the_output():
    a, b = torch.tensor([math.nan, 1.0]), torch.tensor([1.0, 1.0])
    assert cosine(a, b).isnan() and angle(a, b).isnan()
    assert sign_agreement(a, b).item() == 0.5


def test_zero_is_a_sign_of_its_own():
    assert (
        sign_agreement(torch.tensor([0.0, 0.0, -1.0, 2.0]), torch.tensor([0.0, 1.0, -3.0, -2.0])).item()
        == 0.5
    )


def test_independent_signs_agree_half_of_the_time():
    g = torch.Generator().manual_seed(3)
    a, b = torch.randn(2, 40_000, generator=g)
    assert sign_agreement(a, b).item() == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(40_000))  # 5 sd


@pytest.mark.parametrize(("a", "b"), [((3,), (4,)), ((), ()), ((0,), (0,))])
def test_shapes_that_cannot_be_compared_are_refused(a, b):
    with pytest.raises(ValueError, match="flatten both"):
        cosine(torch.zeros(a), torch.zeros(b))
