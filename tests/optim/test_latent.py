"""`Latent` is a torch optimizer: whatever works with one works with it, and its rules survive a restart."""

import copy
import io
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau, StepLR

from coarsegrad import spec
from coarsegrad.optim import (
    PARQ,
    RULES,
    BinaryRelax,
    Blend,
    Clip,
    Dampen,
    Freeze,
    Induce,
    Latent,
    ProxQuant,
    Watch,
)
from coarsegrad.optim.rules import Rule

RULE_SETS = [
    (),
    (Clip(-0.5, 0.5),),
    (Blend(rho=0.01, growth=1.5, cap=0.1, every=3),),
    (BinaryRelax(switch=9, growth=1.2, every=2),),
    (ProxQuant(rate=0.01),),
    (ProxQuant(rate=0.01, distance="squared", freeze_at=6),),
    (PARQ(start=2, end=9),),
    (Induce(strength=0.3), Watch(start=3)),
    (Dampen(strength=0.1, end=9),),
    (Freeze(threshold=0.12, momentum=0.1, initial=0.2, start=2, end=9),),
    (Blend(rho=0.01), Dampen(strength=0.1), Clip(), Freeze(threshold=0.06, momentum=0.05), PARQ(end=6)),
]
IDS = [" ".join(map(spec.write, rules)) or "none" for rules in RULE_SETS]
BASES = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1),
}

every_rule = pytest.mark.parametrize("rules", RULE_SETS, ids=IDS)
every_base = pytest.mark.parametrize("base", BASES.values(), ids=BASES)


class Problem:
    """A small regression: one quantized weight and one float bias, with the optimizer that trains them."""

    def __init__(self, quantizer, rules=(), base=BASES["sgd"]):
        generator = torch.Generator().manual_seed(5)
        self.x = torch.randn(16, 6, generator=generator)
        self.y = torch.randn(16, generator=generator)
        self.w = torch.nn.Parameter(torch.randn(6, generator=generator) / 2)
        self.bias = torch.nn.Parameter(torch.zeros(1))
        self.quantizer = quantizer
        self.optimizer = Latent(base([self.w, self.bias]), [(self.w, quantizer)], rules)

    def loss(self):
        self.optimizer.zero_grad()
        value = self.quantizer.forward(self.w)
        through = self.w + (value - self.w.detach())  # the value, but for rounding; the gradient, exactly
        loss = (self.x @ through + self.bias - self.y).square().mean()
        loss.backward()
        return loss

    def train(self, steps):
        path = []
        for _ in range(steps):
            self.loss()
            self.optimizer.step()
            path.append(torch.cat([self.w.detach(), self.bias.detach(), self.quantizer.forward(self.w)]))
        return torch.stack(path)


@pytest.fixture
def problem(grid):
    return lambda *args, name="3bit": Problem(grid(name), *args)


def test_every_rule_of_the_catalogue_is_in_these_tests():
    assert {type(rule) for rules in RULE_SETS for rule in rules} == set(RULES.values())


@every_base
@every_rule
def test_saved_loaded_and_continued_is_the_same_to_the_bit(problem, rules, base):
    whole = problem(rules, base).train(14)
    first, second = problem(rules, base), problem(rules, base)
    torch.testing.assert_close(first.train(5), whole[:5], rtol=0, atol=0)
    second.train(3)  # whatever it did before must not matter

    file = io.BytesIO()
    torch.save([first.w, first.bias, first.optimizer.state_dict()], file)
    file.seek(0)
    w, bias, saved = torch.load(file, weights_only=True)
    with torch.no_grad():
        second.w.copy_(w)
        second.bias.copy_(bias)
    second.optimizer.load_state_dict(saved)
    assert torch.equal(second.train(9), whole[5:])


@every_rule
def test_loading_shares_no_memory_with_what_was_saved(problem, rules):
    first, second = problem(rules), problem(rules)
    first.train(4)
    saved = first.optimizer.state_dict()
    kept = copy.deepcopy(saved["latent"]["memory"])
    second.optimizer.load_state_dict(saved)
    second.train(8)
    for states, kept_states in zip(saved["latent"]["memory"][0], kept[0], strict=True):
        assert all(torch.equal(tensor, kept_states[name]) for name, tensor in states.items())


@every_rule
def test_a_deep_copy_and_a_pickle_live_on_by_themselves(problem, rules):
    first = problem(rules)
    first.train(4)
    for twin in (copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        assert twin.optimizer.pairs[0][0] is twin.w
        assert twin.optimizer.pairs[0][1] is twin.quantizer
        assert torch.equal(twin.train(6), copy.deepcopy(first).train(6))


@every_base
def test_without_rules_it_is_the_base_optimizer(problem, base):
    ours, plain = problem((), base), problem((), base)
    plain.optimizer = base([plain.w, plain.bias])
    assert torch.equal(ours.train(10), plain.train(10))


def test_clip_on_binary_weights_is_the_hand_written_loop_of_binary_connect(problem):
    ours = problem((Clip(-1, 1),), lambda p: torch.optim.SGD(p, lr=0.8, momentum=0.9), name="binary")
    hand = problem(name="binary")
    x, y = hand.x.double().numpy(), hand.y.double().numpy()
    w, bias, speed = hand.w.detach().double().numpy(), 0.0, np.zeros(7)
    for place in ours.train(25).double().numpy():
        miss = x @ np.where(w >= 0, 1.0, -1.0) + bias - y
        speed = 0.9 * speed + np.append(miss @ x, miss.sum()) * 2 / 16
        w, bias = np.clip(w - 0.8 * speed[:6], -1, 1), bias - 0.8 * speed[6]
        np.testing.assert_allclose(place[:7], np.append(w, bias), rtol=1e-3, atol=1e-4)
        assert np.abs(place[:6]).max() <= 1


def test_rules_touch_only_the_pairs(problem):
    clipped = problem((Clip(-1e-3, 1e-3),))
    clipped.train(5)
    assert clipped.w.abs().max() <= 1e-3 < clipped.bias.abs().max()


def test_rules_apply_in_their_order(problem):
    inner, outer = Clip(-0.1, 0.1), Clip(0.2, 0.3)
    assert problem((inner, outer)).train(1)[0, :6].tolist() == [pytest.approx(0.2)] * 6
    assert problem((outer, inner)).train(1)[0, :6].tolist() == [pytest.approx(0.1)] * 6


def test_a_parameter_without_gradient_is_left_alone(problem):
    idle = problem((Clip(-1e-3, 1e-3), Freeze()))
    before, remembered = idle.w.detach().clone(), copy.deepcopy(idle.optimizer.memory(idle.w))
    idle.bias.grad = torch.ones(1)
    idle.optimizer.step()
    assert torch.equal(idle.w, before)
    assert torch.equal(idle.optimizer.memory(idle.w)[1]["frequency"], remembered[1]["frequency"])
    assert idle.bias.item() != 0


def test_the_parameter_stays_the_same_object_with_the_same_memory(problem):
    held = problem(RULE_SETS[-1])
    address, leaf = held.w.data_ptr(), held.w
    held.train(8)
    assert (held.w is leaf, leaf.is_leaf, leaf.requires_grad, leaf.data_ptr()) == (True, True, True, address)


def test_parameter_groups_are_the_base_optimizers_also_after_loading(problem):
    held = problem((Clip(),))
    held.optimizer.load_state_dict(held.optimizer.state_dict())
    assert held.optimizer.param_groups is held.optimizer.base.param_groups
    held.optimizer.param_groups[0]["lr"] = 0.0
    assert torch.equal(held.train(3)[0], held.train(1)[0])


@pytest.mark.parametrize(
    "schedule",
    [lambda o: StepLR(o, 2, 0.1), lambda o: CosineAnnealingLR(o, 8), lambda o: ReduceLROnPlateau(o)],
    ids=["step", "cosine", "plateau"],
)
@pytest.mark.filterwarnings("error")
def test_a_scheduler_on_it_is_a_scheduler_on_the_base(problem, schedule):
    ours, theirs = problem((Clip(),)), problem((Clip(),))
    on_ours, on_base = schedule(ours.optimizer), schedule(theirs.optimizer.base)
    for _ in range(6):
        assert torch.equal(ours.train(1), theirs.train(1))
        for scheduler in (on_ours, on_base):
            scheduler.step(*([1.0] if isinstance(scheduler, ReduceLROnPlateau) else []))
        assert ours.optimizer.param_groups[0]["lr"] == theirs.optimizer.param_groups[0]["lr"]


def test_a_step_that_the_gradient_scaler_skips_is_no_step(problem):
    held = problem((Clip(-0.1, 0.1),))
    scaler, before = torch.amp.GradScaler("cpu", init_scale=4.0), held.w.detach().clone()
    for grad, taken in ((float("inf"), 0), (1.0, 1)):
        held.optimizer.zero_grad()
        scaler.scale((held.w * grad).sum()).backward()
        scaler.step(held.optimizer)
        scaler.update()
        assert held.optimizer.steps == taken
        assert torch.equal(held.w, before) == (taken == 0)


def test_hooks_on_it_run_around_the_step(problem):
    held, seen = problem((Clip(),)), []
    held.optimizer.register_step_pre_hook(lambda *_: seen.append(("before", held.optimizer.steps)))
    held.optimizer.register_step_post_hook(lambda *_: seen.append(("after", held.optimizer.steps)))
    held.train(1)
    assert seen == [("before", 0), ("after", 1)]


@every_base
@every_rule
def test_a_closure_gives_the_same_steps_and_returns_its_loss(problem, rules, base):
    closed, open_ = problem(rules, base), problem(rules, base)
    for _ in range(6):
        loss = closed.optimizer.step(closed.loss)
        assert loss == open_.loss()
        open_.optimizer.step()
        assert torch.equal(closed.w, open_.w)


def test_lbfgs_calls_its_closure_many_times_and_blends_once(grid):
    calls, quantizer = [], grid([-8.0, 8.0])
    w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))

    def closure():
        calls.append(w.detach().clone())
        w.grad = w.detach() - torch.tensor([3.0, 5.0])
        return (w.grad.square().sum()) / 2

    lbfgs = torch.optim.LBFGS([w], lr=1.0, max_iter=10)
    Latent(lbfgs, [(w, quantizer)], [Blend(rho=0.01)]).step(closure)
    assert len(calls) > 2
    assert calls[0].tolist() == [1.0, 2.0]
    torch.testing.assert_close(w.detach(), torch.tensor([3.0, 5.0]), rtol=0, atol=1e-4)


def test_zero_grad_clears_every_parameter(problem):
    held = problem()
    held.loss()
    held.optimizer.zero_grad(set_to_none=False)
    assert held.w.grad.eq(0).all()
    held.optimizer.zero_grad()
    assert (held.w.grad, held.bias.grad) == (None, None)


def test_a_group_and_its_pairs_can_join_later(problem, grid):
    held, late, coarse = (
        problem((Clip(-0.1, 0.1), Freeze())),
        torch.nn.Parameter(torch.ones(3)),
        grid("binary"),
    )
    held.optimizer.add_param_group({"params": [late], "lr": 0.5}, pairs=[(late, coarse)])
    late.grad = torch.ones(3)
    held.optimizer.step()
    assert late.tolist() == [pytest.approx(0.1)] * 3
    assert held.optimizer.memory(late)[1]["frozen"].shape == (3,)
    assert held.optimizer.param_groups[1]["lr"] == 0.5


@pytest.mark.parametrize("rule", [BinaryRelax(switch=5), ProxQuant(), PARQ(end=5)], ids=spec.write)
def test_a_relaxation_is_in_place_from_the_first_forward_pass_and_lifted_for_evaluation(problem, rule):
    held = problem((rule,))
    assert held.quantizer.relax is not None
    held.train(1)
    relaxed, hard = held.quantizer.forward(held.w), held.quantizer.quantize(held.w.detach())
    assert not torch.equal(relaxed, hard)

    def evaluate():
        with held.optimizer.hard():
            assert torch.equal(held.quantizer.forward(held.w), hard)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate()
    assert torch.equal(held.quantizer.forward(held.w), relaxed)


def test_a_new_optimizer_lifts_the_relaxation_of_an_old_one(problem):
    held = problem((ProxQuant(),))
    Latent(held.optimizer.base, [(held.w, held.quantizer)], [Clip()])
    assert held.quantizer.relax is None


def test_a_quantizer_that_cannot_be_set_serves_every_rule_that_relaxes_nothing():
    @dataclass(frozen=True)
    class Sign:
        def quantize(self, x):
            return x.sign()

    w = torch.nn.Parameter(torch.ones(2))
    base = torch.optim.SGD([w], lr=0.1)
    Latent(base, [(w, Sign())], [Clip(), Blend()])
    with pytest.raises(TypeError, match=r"prox_quant changes what .* Sign refuses"):
        Latent(base, [(w, Sign())], [ProxQuant()])


def test_errors_at_the_door_carry_the_right_call(problem, grid):
    w, other = (torch.nn.Parameter(torch.ones(2, 3)) for _ in range(2))
    base, pair = torch.optim.SGD([w], lr=0.1), (w, grid("binary"))
    with pytest.raises(TypeError, match="takes a torch optimizer, got Parameter"):
        Latent(w, [])
    with pytest.raises(TypeError, match="give all rules to one"):
        Latent(Latent(base, [pair]), [pair])
    with pytest.raises(TypeError, match="takes rules such as"):
        Latent(base, [pair], [Clip])
    with pytest.raises(ValueError, match=r"pair 1 .*\(2, 3\).* is not among the base optimizer's parameters"):
        Latent(base, [pair, (other, grid("binary"))])
    with pytest.raises(ValueError, match="comes twice"):
        Latent(base, [pair, pair])
    with pytest.raises(ValueError, match=r"two rules decide .* prox_quant, parq\(end=3\)"):
        Latent(base, [pair], [ProxQuant(), PARQ(end=3)])
    with pytest.raises(KeyError, match="no pair holds"):
        Latent(base, [pair]).memory(other)


def changed(key, change):
    def edit(saved):
        saved["latent"][key] = change(saved["latent"][key])

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda saved: saved.pop("latent"), "bare optimizer's state"),
        (changed("rules", lambda rules: rules[::-1]), "other rules"),
        (changed("rules", lambda rules: [*rules, "magnify"]), r"other rules.*magnify"),
        (changed("shapes", lambda shapes: [[9], *shapes[1:]]), "other shapes"),
        (changed("memory", lambda memory: [[{}, {}]]), "memory of the rules"),
        (changed("memory", lambda m: [[{}, {**m[0][1], "average": torch.zeros(2)}]]), r"float32\[2\]"),
        (changed("memory", lambda m: [[{}, {**m[0][1], "more": torch.zeros(2)}]]), "more"),
        (changed("memory", lambda m: [[{}, {**m[0][1], "frozen": m[0][1]["codes"]}]]), "int32"),
        (lambda saved: saved["param_groups"].clear(), "parameter groups"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(problem, edit, message):
    rules = (Clip(), Freeze(threshold=0.12, momentum=0.1))
    held, twin = problem(rules), problem(rules)
    saved = copy.deepcopy(problem(rules).optimizer.state_dict())
    edit(saved)
    held.train(3), twin.train(3)
    with pytest.raises(ValueError, match=message):
        held.optimizer.load_state_dict(saved)
    assert torch.equal(held.train(5), twin.train(5))


def test_your_own_rule_needs_no_registration(problem):
    @dataclass(frozen=True)
    class Shrink(Rule):
        factor: float = 0.5

        def after(self, latent, state, quantizer, step):
            return latent * self.factor, state

    held, plain = problem((Shrink(0.25),)), problem()
    torch.testing.assert_close(held.train(1)[0, :6], plain.train(1)[0, :6] / 4)


def test_its_text_names_the_base_and_the_rules(problem):
    text = repr(problem((Clip(), PARQ(end=9))).optimizer)
    assert text.startswith("Latent(SGD (")
    assert text.endswith("1 pairs, rules=[clip, parq(end=9)])")
