"""What a model takes from data: ranges and signs for its quantizers, and statistics for its batch norms."""

import copy

import pytest
import torch
from torch import nn

from coarsegrad.core.quantizers import Uniform
from coarsegrad.core.scales import Scale
from coarsegrad.nn import Bits, Recipe, calibrate, prepare, quantize, reestimate_bn


def test_calibration_finds_sign_and_range_over_all_batches(mlp):
    net, x = mlp
    recipe = Recipe(
        Bits(Uniform(bits=8), Uniform(bits=4, signed=None, scale=Scale("max_abs"))), first=None, last=None
    )
    prepared = prepare(net, recipe)
    assert calibrate(prepared, [x, 3 * x, x / 2]) == []
    first, second, third = (prepared[i].input_quantizer for i in (0, 2, 4))
    assert [q.quantizer.signed for q in (first, second, third)] == [True, False, False]
    assert first.scale == 3 * x.abs().max() / 8
    hidden = torch.relu(prepared[0](3 * x))
    assert second.scale.allclose(hidden.max() / 15, rtol=0.2)


def test_calibration_passes_activations_in_float_and_quantizes_weights(mlp):
    net, x = mlp
    prepared, seen = prepare(net, "w2a2"), []
    prepared.register_forward_hook(lambda module, args, output: seen.append(output))
    calibrate(prepared, [x])
    weights_only = prepare(net, Recipe("w2a32", first="w8a32", last="w8a32"))
    assert torch.equal(seen[0], weights_only(x))


def test_calibration_names_the_quantizers_that_saw_nothing(mlp):
    class Spare(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.spare = inner, nn.Linear(2, 2)

        def forward(self, x):
            return self.inner(x)

    net, x = mlp
    prepared = prepare(Spare(net), "w2a2")
    assert calibrate(prepared, [x]) == ["spare.input_quantizer"]


def test_calibration_leaves_batch_norm_and_training_flags_alone(cnn):
    net, x = cnn
    prepared = prepare(net, "w2a2")
    prepared[1].eval()
    modes, stats = [m.training for m in prepared.modules()], prepared[1].running_mean.clone()
    calibrate(prepared, [x])
    assert [m.training for m in prepared.modules()] == modes and torch.equal(prepared[1].running_mean, stats)
    assert all(p.grad is None for p in prepared.parameters())


def test_labels_behind_the_input_and_keywords_are_understood(mlp):
    net, x = mlp
    first, second, third = (prepare(net, "w2a2") for _ in range(3))
    calibrate(first, [(x, torch.zeros(32))])
    calibrate(second, [{"input": x}])
    calibrate(third, (batch for batch in [x]))
    assert first[0].input_quantizer.scale == second[0].input_quantizer.scale == third[0].input_quantizer.scale


BROKEN = {
    "nothing": (lambda x: [], r"calibrate\(model, batches\) got no batches"),
    "nan": (
        lambda x: [x, x * float("nan")],
        r"0\.input_quantizer cannot be calibrated: its input is not fin",
    ),
    "infinite": (lambda x: [x * float("inf")], "its input is not finite"),
    "one batch": (lambda x: x, r"write \[batch\]"),
}


@pytest.mark.parametrize(("batches", "message"), BROKEN.values(), ids=BROKEN)
def test_a_failed_calibration_says_why_and_changes_nothing(mlp, batches, message):
    net, x = mlp
    prepared = quantize(net, "w2a2", [x])
    before, output = copy.deepcopy(prepared.state_dict()), prepared.eval()(x)
    with pytest.raises(ValueError, match=message):
        calibrate(prepared, batches(x))
    assert all(torch.equal(v, before[k]) for k, v in prepared.state_dict().items())
    assert torch.equal(prepared(x), output)


def test_many_batches_are_remembered_as_a_sample_with_their_extremes():
    net = prepare(
        nn.Linear(2, 2), Recipe(Bits(None, Uniform(bits=8, scale=Scale("max_abs"))), first=None, last=None)
    )
    spike = torch.zeros(70_000, 2)
    spike[12_345, 1] = -7.0
    calibrate(net, [torch.randn(10, 2).clamp(-1, 1), spike, torch.randn(10, 2).clamp(-1, 1)])
    assert net.input_quantizer.scale == 7 / 128


def norms(model):
    return [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def test_reestimated_statistics_are_the_plain_mean_over_batches(cnn):
    net, x = cnn
    prepared = quantize(net, "w2a2", [x])
    batches = [torch.randn(8, 3, 8, 8), 2 + torch.randn(5, 3, 8, 8), 3 * torch.randn(4, 3, 8, 8)]
    tracked = prepared[1].num_batches_tracked.clone()
    assert reestimate_bn(prepared, batches) == 2
    maps = [prepared.eval()[0](b) for b in batches]
    mean = torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0)
    variance = torch.stack([m.var((0, 2, 3)) for m in maps]).mean(
        0
    )  # the unbiased one, as batch norm keeps it
    torch.testing.assert_close(prepared[1].running_mean, mean)
    torch.testing.assert_close(prepared[1].running_var, variance)
    assert prepared[1].momentum == 0.1 and prepared[1].num_batches_tracked == tracked


def test_a_batch_norm_behind_another_sees_the_batch_statistics_of_the_first(cnn):
    net, x = cnn
    reestimate_bn(net, [x])
    hidden = net[3](
        torch.relu(nn.functional.batch_norm(net[0](x), None, None, net[1].weight, net[1].bias, True))
    )
    torch.testing.assert_close(net[4].running_mean, hidden.mean((0, 2, 3)))


def failing(x):
    yield x
    raise OSError("disk gone")


FAILURES = {
    "no batches": (lambda x: [], ValueError, "got no batches"),
    "an error midway": (failing, OSError, "disk gone"),
}


@pytest.mark.parametrize(("batches", "error", "message"), FAILURES.values(), ids=FAILURES)
def test_a_failed_reestimation_leaves_statistics_as_they_were(cnn, batches, error, message):
    net, x = cnn
    net(x)
    before, modes = copy.deepcopy(net.state_dict()), [m.training for m in net.modules()]
    with pytest.raises(error, match=message):
        reestimate_bn(net, batches(x))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert [m.training for m in net.modules()] == modes and all(n.momentum == 0.1 for n in norms(net))


def test_a_batch_norm_that_is_not_called_keeps_its_statistics(mlp):
    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.BatchNorm1d(6), nn.BatchNorm1d(6)

        def forward(self, x):
            return self.used(x)

    net, x = Spare(), mlp[1]
    net.spare.running_mean.fill_(3.0)
    assert reestimate_bn(net, [x]) == 1
    assert (net.spare.running_mean == 3).all() and torch.allclose(net.used.running_mean, x.mean(0))


def test_a_model_without_batch_norm_is_left_alone(mlp):
    assert reestimate_bn(mlp[0], [mlp[1]]) == 0
