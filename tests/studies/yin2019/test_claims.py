"""The claims judge what they say; and break when a formula is broken.

The mutations replace one formula after another by one that is wrong, run the tasks that look at it again, and
see the verdict change.
"""

import math
from importlib import import_module

import pytest
import torch

from coarsegrad import theory
from coarsegrad.core.surrogates import ReLU
from coarsegrad.measure import Interval, cosine
from coarsegrad.studies.study import _rows, verdicts
from coarsegrad.studies.verdict import judge
from coarsegrad.studies.yin2019 import STUDY, claims, fields
from coarsegrad.theory import critical, hidden

CLAIMS = {claim.id: claim for claim in STUDY.claims}


def theta(number):
    _, w, _, w_star = fields.random_point(SEED, number)
    return float(torch.arccos(cosine(w, w_star)))


SEED = STUDY.planned("quick")[0].settings["seed"]
MIDDLING = [k for k in range(30) if 0.8 < theta(k) < 2.3][:5]
descent = import_module("coarsegrad.theory.descend")


def test_the_smoke_preset_ends_as_committed(smoke):
    assert [v.row() for v in verdicts(STUDY, smoke, "smoke") if not v.as_expected] == []


def test_every_claim_that_is_run_has_a_number_and_every_other_has_none(smoke):
    for verdict in verdicts(STUDY, smoke, "smoke"):
        assert (verdict.found is None) == (verdict.claim.expects("smoke") == "not run")


def test_ids_are_unique_and_nothing_is_judged_without_rows():
    assert len(CLAIMS) == len(STUDY.claims)
    assert {v.verdict for v in verdicts(STUDY, {}, "smoke")} == {"not run"}


def test_the_worst_deviation_is_measured_against_what_chance_allows():
    rows = {"a": [{"what": "x", "comparisons": 1, "t": 3.0, "df": 10**6} for _ in range(10)]}
    allowed = 4.4172  # two-sided normal quantile at 1e-4 / 10
    found = claims.worst("a", what="x")(rows)
    assert found is not None and math.isclose(found.estimate, 3 / allowed, rel_tol=1e-3)
    assert claims.worst("a", what="y")(rows) is None


def test_the_scale_is_the_factor_with_an_interval_over_points():
    rows = {"a": [{"number": k, "dot": 2 * size + e, "size": size, "weight": 1.0}
                  for k, (size, e) in enumerate([(1, 0.1), (2, -0.1), (1, -0.1), (2, 0.1)])]}  # fmt: skip
    found = claims.scale("a")(rows)
    assert found == Interval(2.0, found.low, found.high) and found.low < 2 < found.high
    assert claims.scale("a")({"a": rows["a"][:1]}) is None


def test_the_exponent_is_the_slope_of_the_logarithms():
    rows = {"a": [{"n": n, "off": c * n**-0.5, "run": c} for c in (1, 2, 3) for n in (5, 10, 100, 1000)]}
    found = claims.exponent("a", "n", "off", ("run",), least=10)(rows)
    assert found is not None and math.isclose(found.estimate, -0.5) and found.high - found.low < 1e-9


def test_a_share_over_surrogates_that_share_starts_has_the_interval_of_one():
    rows = {"a": [{"surrogate": name, "starts": 100, "global": 50} for name in "xy"]}
    one = claims.share("a", "global", surrogate="x")(rows)
    assert claims.share("a", "global")(rows) == one
    rows["a"][0]["global"] = 51
    both = claims.share("a", "global")(rows)
    assert both.estimate == 0.505 and both.low == one.low and both.high > one.high


# Mutations.


def times(factor):
    return lambda right: lambda *given, **how: factor * right(*given, **how)


def part(which, factor):
    """One of the two gradients, times a factor."""

    def broken(right):
        def wrong(*given, **how):
            found = list(right(*given, **how))
            found[which] = factor * found[which]
            return tuple(found)

        return wrong

    return broken


def halved_angle(right):
    """The formula at a w halfway to the teacher's."""

    def wrong(v, w, v_star, w_star, *rest, **how):
        size, far = w.norm(dim=-1, keepdim=True), w.shape[-1]
        halfway = w / size + w_star + 1e-12 * torch.ones(far, dtype=w.dtype)
        return right(v, size * halfway / halfway.norm(dim=-1, keepdim=True), v_star, w_star, *rest, **how)

    return wrong


def changed(**fields):
    """A family of critical points with some fields changed."""

    def broken(right):
        def wrong(v_star):
            found = right(v_star)
            return found._replace(**{name: change(getattr(found, name)) for name, change in fields.items()})

        return wrong

    return broken


def longer_steps(right):
    return lambda *given, step_size, **how: right(*given, step_size=1.2 * step_size, **how)


MUTATIONS = {
    "loss, factor": (hidden, "loss", times(1.2), "agreement", "formula-agrees"),
    "loss, sign": (hidden, "loss", times(-1), "agreement", "formula-agrees"),
    "loss, angle": (hidden, "loss", halved_angle, "agreement", "formula-agrees"),
    "dv, sign": (hidden, "gradient", part(0, -1), "agreement", "formula-agrees"),
    "dv, factor": (hidden, "gradient", part(0, 1.3), "agreement", "formula-agrees"),
    "dw, sign": (hidden, "gradient", part(1, -1), "agreement", "gradient-scale"),
    "dw, factor": (hidden, "gradient", part(1, 1.3), "agreement", "gradient-scale"),
    "gradient, angle": (hidden, "gradient", halved_angle, "agreement", "formula-agrees"),
    "coarse gradient, sign": (hidden, "coarse_gradient", times(-1), "agreement", "formula-agrees"),
    "coarse gradient, factor": (hidden, "coarse_gradient", times(1.1), "agreement", "formula-scale"),
    "coarse gradient, angle": (hidden, "coarse_gradient", halved_angle, "agreement", "formula-agrees"),
    "correlation, sign": (hidden, "correlation", times(-1), "alignment", "downhill"),
    "correlation, factor": (hidden, "correlation", times(2), "agreement", "correlation-scale"),
    "descent constant, factor": (hidden, "descent_constant", times(0.3), "alignment", "descent-inequality"),
    "descent ratio, bounded": (
        hidden, "descent_ratio", lambda right: lambda *given: right(*given).clamp(max=1), "critical",
        "identity-no-bound",
    ),
    "spurious minimizer, sign": (
        critical, "spurious_minimizer", changed(v=lambda v: -v), "critical", "critical-points",
    ),
    "spurious minimizer, factor": (
        critical, "spurious_minimizer", changed(v=lambda v: 1.2 * v), "critical", "push-none",
    ),
    "saddle, angle": (critical, "saddle", changed(theta=lambda t: 0.8 * t), "critical", "critical-points"),
    "saddle, factor": (critical, "saddle", changed(v=lambda v: 1.3 * v), "critical", "critical-points"),
    "push, factor": (critical, "push", times(2), "critical", "push-agrees"),
    "push, nothing": (critical, "push", times(0), "critical", "push-identity"),
    "existence, the other way": (
        critical, "exists", lambda right: lambda v_star: ~right(v_star), "ends", "condition-needed",
    ),
    "descent, sign": (
        descent, "_direction", lambda right: lambda *given: tuple(-g for g in right(*given)), "ends",
        "monotone",
    ),
    "descent, longer steps": (theory, "descend", longer_steps, "twin", "samples-follow"),
    "descent, a sharper angle": (
        theory, "descend",
        lambda right: lambda problem, surrogate, **how: right(problem, ReLU(), **how), "near",
        "identity-climbs",
    ),
}  # fmt: skip


def looked_at(kind):
    """Tasks enough to see it: five points at a middling angle with many samples; else of the smoke preset."""
    if kind == "agreement":
        tasks = [task for task in STUDY.planned("quick") if task.kind == kind]
        return [tasks[number] for number in MIDDLING]
    tasks = [task for task in STUDY.planned("smoke") if task.kind == kind]
    if kind == "ends":
        return [task for task in tasks if task.settings["surrogate"] == "relu"]
    return tasks[:3] if kind in ("alignment", "critical") else tasks


def measured(kind, folder):
    return {kind: [row for task in looked_at(kind) for row in _rows(folder, task)]}


@pytest.fixture(scope="session")
def unbroken(smoke, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fields, "SLOPED", fields.PAPERS)
        return {**smoke, **measured("agreement", tmp_path_factory.mktemp("unbroken"))}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_broken_formula_changes_a_verdict(unbroken, monkeypatch, tmp_path, mutation):
    home, name, broken, kind, claim = MUTATIONS[mutation]
    before = judge(CLAIMS[claim], unbroken, "smoke").verdict
    monkeypatch.setattr(home, name, broken(getattr(home, name)))
    monkeypatch.setattr(fields, "SLOPED", fields.PAPERS)
    found = judge(CLAIMS[claim], measured(kind, tmp_path), "smoke").verdict
    assert (before, found) in (
        ("confirmed", "refuted"),
        ("confirmed", "unresolved"),
        ("unresolved", "refuted"),
    )
