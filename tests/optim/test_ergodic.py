"""The vote over iterates: exact, restorable, and right where the last iterate is not."""

import numpy as np
import pytest
import torch

from coarsegrad.optim import Ergodic, Latent


def watch(quantizer, iterates):
    w = torch.nn.Parameter(torch.zeros_like(iterates[0]))
    votes = Ergodic([(w, quantizer)])
    for iterate in iterates:
        w.data.copy_(iterate)
        votes.update()
    return w, votes


@pytest.fixture
def iterates():
    return torch.randn(25, 3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_binary_weights_are_decided_by_majority(grid, iterates):
    w, votes = watch(grid("binary"), iterates)
    majority = np.where((iterates.numpy() >= 0).sum(0) > 12, 1.0, -1.0)
    np.testing.assert_array_equal(votes.average(w).numpy(), majority)


@pytest.mark.parametrize("name", ["ternary", "3bit"])
def test_on_an_even_grid_it_is_the_mean_of_the_quantized_iterates_rounded_to_a_level(grid, iterates, name):
    quantizer = grid(name)
    w, votes = watch(quantizer, iterates)
    mean = torch.stack([quantizer.quantize(x) for x in iterates]).mean(0)
    assert torch.equal(votes.average(w), quantizer.quantize(mean))


def test_only_levels_come_out(any_grid, iterates):
    w, votes = watch(any_grid, iterates)
    assert torch.equal(votes.average(w), any_grid.quantize(votes.average(w)))


def test_a_weight_that_never_moves_is_its_own_average(any_grid, iterates):
    w, votes = watch(any_grid, iterates[:1].expand(7, 3, 4))
    assert torch.equal(votes.average(w), any_grid.quantize(iterates[0]))


def test_a_tie_goes_to_the_upper_level(grid):
    w, votes = watch(grid("binary"), torch.tensor([[-1.0, 1.0], [1.0, -1.0]]))
    assert votes.average(w).tolist() == [1.0, 1.0]


def test_values_come_out_at_the_present_scale_in_the_parameters_type(grid, iterates):
    quantizer = grid("binary")
    w, votes = watch(quantizer, iterates.half())
    quantizer.scale *= 0.25
    assert votes.average(w).abs().unique().tolist() == [0.25]
    assert votes.average(w).dtype == torch.float16


def test_swap_puts_the_votes_in_and_the_latents_back_also_after_an_error(any_grid, iterates):
    w, votes = watch(any_grid, iterates)
    latent, address = w.detach().clone(), w.data_ptr()

    def evaluate():
        with votes.swap():
            assert torch.equal(w, votes.average(w))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate()
    assert torch.equal(w, latent)
    assert (w.data_ptr(), w.requires_grad) == (address, True)


def test_saved_loaded_and_continued_is_the_same(any_grid, iterates):
    _, whole = watch(any_grid, iterates)
    _, first = watch(any_grid, iterates[:10])
    w, second = watch(any_grid, iterates[:3])
    second.load_state_dict(first.state_dict())
    for iterate in iterates[10:]:
        w.data.copy_(iterate)
        second.update()
    assert torch.equal(second.average(w), whole.average(whole.pairs[0][0]))
    assert first.updates == 10


def test_reset_forgets(any_grid, iterates):
    w, votes = watch(any_grid, iterates)
    votes.reset()
    votes.update()
    assert torch.equal(votes.average(w), any_grid.quantize(iterates[-1]))


def test_the_vote_finds_the_nearest_level_where_the_iterate_never_rests(grid):
    quantizer, target = grid([-2.0, -1.0, 0.0, 1.0, 2.0]), torch.tensor([0.1, 0.3, 0.45, -1.4, 1.2])
    w = torch.nn.Parameter(torch.zeros(5))
    optimizer, votes, hits = Latent(torch.optim.SGD([w], lr=0.05), [(w, quantizer)]), None, []
    votes = Ergodic(optimizer.pairs)
    for _ in range(2000):
        w.grad = quantizer.forward(w) - target
        optimizer.step()
        votes.update()
        hits.append(torch.equal(quantizer.quantize(w.detach()), target.round()))
    assert torch.equal(votes.average(w), target.round())
    assert sum(hits) < 1000


def test_errors_at_the_door_carry_the_right_call(grid, iterates):
    w = torch.nn.Parameter(iterates[0])
    votes = Ergodic([(w, grid("binary"))])
    with pytest.raises(ValueError, match="no votes yet"):
        votes.average(w)
    with pytest.raises(ValueError, match="no votes yet"), votes.swap():
        pass
    with pytest.raises(KeyError, match="no pair holds"):
        votes.average(iterates[0])
    with pytest.raises(ValueError, match=r"\[\(2,\)\]; these are \[\(3, 4\)\]"):
        votes.load_state_dict({"updates": 1, "sums": [torch.zeros(2)]})
