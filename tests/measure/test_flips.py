"""Flips and oscillations, against counting by hand."""

import pytest
import torch

from coarsegrad.measure.flips import flip_ratio, oscillation_start, oscillation_step


def test_flip_ratio_counts_the_codes_that_differ():
    before = torch.tensor([[0, 1], [2, 3]])
    assert flip_ratio(before, before) == 0.0
    assert flip_ratio(before, before + 1) == 1.0
    assert flip_ratio(before, torch.tensor([[0, 1], [2, 9]])) == 0.25


def test_nothing_has_no_flips():
    assert flip_ratio(torch.zeros(0), torch.zeros(0)) == 0.0


def test_codes_of_different_shape_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        flip_ratio(torch.zeros(3), torch.zeros(3, 1))
    with pytest.raises(ValueError, match="one shape"):
        oscillation_step(oscillation_start(torch.zeros(3)), torch.zeros(1))


def oscillations_by_hand(history, momentum):
    """One weight's frequency, written as the paper's text reads."""
    frequency, last_change, previous = 0.0, 0, history[0]
    for code in history[1:]:
        change = (code > previous) - (code < previous)
        oscillated = change != 0 and last_change != 0 and change != last_change
        frequency = momentum * oscillated + (1 - momentum) * frequency
        last_change, previous = change or last_change, code
    return frequency


@pytest.mark.parametrize("momentum", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int64, torch.float32])
def test_frequency_is_that_of_the_paper_for_any_code_dtype(momentum, dtype):
    history = torch.randint(0, 4, (60, 7), generator=torch.Generator().manual_seed(0))
    state = oscillation_start(history[0].to(dtype))
    for codes in history[1:]:
        state = oscillation_step(state, codes.to(dtype), momentum)
    expected = [oscillations_by_hand(column.tolist(), momentum) for column in history.T]
    assert torch.allclose(state.frequency, torch.tensor(expected), atol=1e-6)
    assert torch.equal(state.codes, history[-1].to(dtype))


def test_a_pause_between_two_opposite_changes_is_still_an_oscillation():
    state = oscillation_start(torch.tensor([0]))
    for code in (1, 1, 1, 0):
        state = oscillation_step(state, torch.tensor([code]), momentum=1.0)
    assert state.frequency.item() == 1.0


def test_average_code_is_a_running_mean():
    state = oscillation_start(torch.tensor([2]))
    state = oscillation_step(state, torch.tensor([4]), momentum=0.25)
    assert state.average.item() == 2.5


def test_a_step_changes_neither_its_input_nor_shares_memory_with_it():
    codes = torch.tensor([0, 1])
    first = oscillation_start(codes)
    kept = [t.clone() for t in first]
    moved = torch.tensor([1, 0])
    second = oscillation_step(first, moved)
    codes.fill_(9)
    moved.fill_(9)
    assert all(torch.equal(a, b) for a, b in zip(first, kept, strict=True))
    assert second.codes.tolist() == [1, 0]


@pytest.mark.parametrize("momentum", [0.0, -0.1, 1.5])
def test_a_momentum_outside_its_range_is_refused(momentum):
    with pytest.raises(ValueError, match="momentum"):
        oscillation_step(oscillation_start(torch.zeros(1)), torch.zeros(1), momentum)
