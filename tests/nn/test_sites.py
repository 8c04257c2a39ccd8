"""Sites are found by type, wherever they stand; a layer that cannot be one says why."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from coarsegrad.nn.sites import call, copied, each, evaluating, has_weight, plain_type, stored, survey


def reasons(model, example=None):
    return {part.name: part.reason for part in survey(model, example).floats}


class Mix(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.vector = nn.Parameter(torch.randn(3, 3)), nn.Parameter(torch.randn(1, 3))


UNSUPPORTED = {
    "batch norm": (nn.BatchNorm2d(3), "normalization: a scale and a shift per channel"),
    "group norm": (nn.GroupNorm(1, 3), "normalization: a scale and a shift per channel"),
    "lstm": (nn.LSTM(2, 2), "recurrent layers are not supported"),
    "gru cell": (nn.GRUCell(2, 2), "recurrent layers are not supported"),
    "prelu": (nn.PReLU(), "the slope of an activation function"),
    "own parameters": (
        Mix(),
        "Mix uses table, vector directly in its forward; it is none of the supported layer types",
    ),
    "bilinear": (nn.Bilinear(2, 2, 2), "Bilinear uses weight, bias directly in its forward"),
    "max_norm": (nn.Embedding(3, 2, max_norm=1.0), "this embedding uses max_norm, which rewrites the weight"),
    "sparse": (nn.Embedding(3, 2, sparse=True), "this embedding uses sparse gradients"),
}


@pytest.mark.parametrize(("module", "reason"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_what_stays_float_says_why(module, reason):
    found = survey(nn.Sequential(module))
    assert found.sites == [] and found.floats[0].reason.startswith(reason)
    assert found.floats[0].parameters == sum(p.numel() for p in module.parameters())


def test_a_lone_vector_is_told_from_a_matrix():
    mix = Mix()
    del mix.table
    assert reasons(mix) == {"": "a vector (vector), not the weight of a matrix product"}


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
def test_a_weight_made_by_a_hook_is_no_site_and_the_mend_is_named():
    normed = nn.utils.weight_norm(nn.Linear(2, 2, bias=False))
    assert reasons(nn.Sequential(normed))["0"].startswith(
        "its weight is made from weight_g, weight_v by a hook"
    )
    pruned = prune.random_unstructured(nn.Linear(4, 4), "weight", 0.5)
    assert "make the pruning permanent" in reasons(nn.Sequential(pruned))["0"]


def test_a_weight_that_another_module_uses_directly_is_listed():
    class Reads(nn.Module):
        def __init__(self, weight):
            super().__init__()
            self.shared = weight

    linear = nn.Linear(3, 3)
    assert reasons(nn.Sequential(linear, Reads(linear.weight))) == {
        "1": "shares the weight of 0, but uses it directly, and so in float"
    }


CHANNELS = {
    "linear": (nn.Linear(4, 6), 0),
    "conv": (nn.Conv2d(4, 6, 3), 0),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4), 0),
    "transposed": (nn.ConvTranspose2d(4, 6, 3), 1),
    "transposed, grouped": (nn.ConvTranspose2d(4, 6, 3, groups=2), 0),
    "embedding": (nn.Embedding(5, 3), 0),
    "embedding bag": (nn.EmbeddingBag(5, 3), 0),
}


@pytest.mark.parametrize(("layer", "axis"), CHANNELS.values(), ids=CHANNELS)
def test_a_site_knows_the_axis_of_its_output_channels(layer, axis):
    (site,) = survey(layer).sites
    assert site.weights == {"weight": axis}


def test_a_subclass_is_a_site_under_its_own_name_and_one_with_its_own_forward_says_so():
    class Scaled(nn.Linear):
        def forward(self, input):
            return nn.functional.linear(input, self.weight / 2)

    class Renamed(nn.Linear):
        pass

    scaled, renamed = survey(nn.Sequential(Scaled(2, 2), Renamed(2, 2))).sites
    assert (scaled.kind, renamed.kind) == ("Scaled", "Renamed")
    assert (
        scaled.note == "Scaled has a forward of its own, which receives the quantized weight"
        and renamed.note == ""
    )


class Functional(nn.Module):
    """One layer is called, one is only read, one is left out."""

    def __init__(self):
        super().__init__()
        self.called, self.read, self.idle = nn.Linear(4, 4), nn.Linear(4, 4, bias=False), nn.Linear(4, 4)

    def forward(self, x):
        return nn.functional.linear(self.called(x), self.read.weight)


def test_a_layer_that_is_read_and_not_called_has_macs_and_a_reason():
    called, read, idle = survey(Functional(), torch.randn(3, 4)).sites
    assert (called.macs, read.macs, idle.macs) == (48, 48, 0)
    assert read.input_reason == "used directly, not by a call on the example: no hook sees an input"
    assert idle.input_reason == "never called on the example: no hook sees an input"
    assert called.input_reason is None and (called.in_shape, called.out_shape) == ((3, 4), (3, 4))


def test_tied_layers_each_keep_their_own_macs():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    assert [site.macs for site in survey(net, torch.randn(5, 4)).sites] == [80, 80, 80]


def test_a_survey_runs_a_copy_and_leaves_the_random_numbers_alone():
    class Noisy(nn.Linear):
        def forward(self, input):
            return super().forward(input + torch.rand_like(input))

    net = Noisy(2, 2)
    before = torch.get_rng_state()
    survey(net, torch.ones(1, 2))
    assert torch.equal(torch.get_rng_state(), before) and not net._forward_hooks


def test_a_copy_that_fails_names_the_usual_cause():
    net = nn.Linear(2, 2)
    net.kept = net.weight * 2
    with pytest.raises(ValueError, match=r"cannot be copied .* old torch.nn.utils.weight_norm"):
        copied(net)


def test_evaluating_puts_each_module_back_as_it_was():
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    net[1].eval()
    with evaluating(net):
        assert not any(m.training for m in net.modules())
    assert [m.training for m in net.modules()] == [True, True, False]


class Two(nn.Module):
    def forward(self, a, b=2.0):
        return a + b


BATCHES = {
    "tensor": (torch.tensor(1.0), 3),
    "tuple": ((1.0, 5.0), 6),
    "with a label behind": ([1.0, 5.0, "label"], 6),
    "keywords": ({"b": 7.0, "a": 1.0}, 8),
}


@pytest.mark.parametrize(("batch", "result"), BATCHES.values(), ids=BATCHES)
def test_a_batch_is_a_tensor_arguments_or_keywords(batch, result):
    assert call(Two(), batch) == result


@pytest.mark.parametrize("batch", [torch.zeros(2), {"a": 1}], ids=["tensor", "dict"])
def test_one_batch_where_several_are_asked_for_is_refused(batch):
    with pytest.raises(
        ValueError, match=r"verb\(model, batches\) takes several batches, and got one: write \[batch\]"
    ):
        each(batch, "verb")


def test_stored_is_the_parameter_or_all_that_a_parametrization_keeps():
    plain, normed = nn.Linear(2, 2), nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    assert stored(plain, "weight") == [plain.weight]
    assert [p.shape for p in stored(normed, "weight")] == [(2, 1), (2, 2)]
    assert plain_type(normed) is nn.Linear is plain_type(plain)
    assert has_weight(normed, "weight") and not has_weight(nn.ReLU(), "weight")
