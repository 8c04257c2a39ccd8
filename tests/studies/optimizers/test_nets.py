import pytest
import torch

from coarsegrad.nn.recipe import Recipe
from coarsegrad.studies.optimizers import nets

TEXT = nets.net_of("text", width=16)
DIGITS = nets.net_of("digits")


@pytest.mark.parametrize("net", [DIGITS, TEXT], ids=["digits", "text"])
def test_batches_are_the_seeds_alone(net):
    def two(seed):
        batches = net.batches(seed, 8)
        return [next(batches) for _ in range(2)]

    assert all(
        torch.equal(a, b) for x, y in zip(two(3), two(3), strict=True) for a, b in zip(x, y, strict=True)
    )
    assert not torch.equal(two(3)[0][0], two(4)[0][0])


@pytest.mark.parametrize("net", [DIGITS, TEXT], ids=["digits", "text"])
def test_models_are_the_seeds_alone_and_tell_all_classes(net):
    before = torch.get_rng_state()
    one, same, other = (net.model(Recipe("w2a2"), seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(one[k], same[k]) for k in one) and any(
        not torch.equal(one[k], other[k]) for k in one
    )
    inputs, wanted = next(net.batches(0, 8))
    assert net.model(Recipe("w2a2"), 3)(inputs).shape == (len(wanted), net.classes)


def test_an_image_is_trained_on_held_out_or_tested_on():
    held_out = torch.cat([x for x, _ in DIGITS.judged_on("held out")])
    batches = DIGITS.batches(0, 50)
    seen = torch.cat([next(batches)[0] for _ in range((1442 - 144) // 50)])
    assert len(held_out) == 144 and sum(len(y) for _, y in DIGITS.judged_on("test")) == 355
    nearest = torch.cdist(held_out.flatten(1), seen.flatten(1)).min()
    assert nearest > 0.1 and len(seen.flatten(1).unique(dim=0)) == len(seen)


def test_the_text_is_cut_into_three_parts_that_do_not_overlap():
    numbers = nets.Text(torch.arange(10_000), 10_000)
    batches = numbers.batches(0, 500)
    seen = torch.cat([torch.cat([a.flatten(), b]) for a, b in (next(batches) for _ in range(3))])
    assert seen.min() < 100 and 7900 < seen.max() < 8000
    for part, low in (("held out", 8000), ("test", 9000)):
        judged = torch.cat([torch.cat([a.flatten(), b]) for a, b in numbers.judged_on(part)])
        assert low == judged.min() and low + 900 < judged.max() < low + 1000


def test_the_next_character_is_what_is_asked_for():
    inputs, wanted = next(nets.Text(torch.arange(10_000), 10_000).batches(0, 4))
    assert torch.equal(inputs.flatten() + 1, wanted)


def test_the_transformer_does_not_look_ahead():
    model = nets.Transformer(9, 16).eval()
    codes = torch.randint(9, (1, nets.CONTEXT), generator=torch.Generator().manual_seed(0))
    other = codes.clone()
    other[0, 40:] = (other[0, 40:] + 1) % 9
    a, b = model(codes), model(other)
    torch.testing.assert_close(a[:40], b[:40])
    assert (a[40:] - b[40:]).abs().max() > 1e-3


def test_the_text_is_english_long_and_named_by_its_content():
    assert len(nets.text()) > 300_000 and "assignment" in nets.text()
    assert len(nets.text_id()) == 16 and nets.net_of("text").classes == len(set(nets.text()))


def test_the_text_of_another_python_is_refused():
    with pytest.raises(ValueError, match="plan and run with one version"):
        nets.loaded({"data": "text", "text": "another", "width": 16})
