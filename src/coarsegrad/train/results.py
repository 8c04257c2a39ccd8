"""What a comparison found: each arm's mean with its interval, and which differences are resolved."""

import math
from collections.abc import Iterable

from coarsegrad.measure import holm, mean_interval, paired_difference
from coarsegrad.train.compare import Arm, Comparison, Row, arm_of


def finals(rows: Iterable[Row], comparison: Comparison) -> dict[Arm, dict[int, Row]]:
    """Arm -> seed -> its row after the last epoch: float first, then per bits untrained, trained."""
    c, last = comparison, {}
    order = [Arm("float")]
    for bits in c.bits:
        order += [Arm(bits, kind="ptq"), *(arm for arm in c.arms if arm.bits == bits)]
    found: dict[Arm, dict[int, Row]] = {arm: {} for arm in order}
    for row in rows:
        last[row["task"]] = row
    for row in last.values():
        arm = arm_of(row)
        if arm in found and row["seed"] in c.all_seeds and "test_accuracy" in row:
            found[arm][row["seed"]] = row
    return found


def summary(rows: Iterable[Row], comparison: Comparison) -> list[Row]:
    """A row per arm: mean test accuracy [percent] over seeds, its 95 % interval in 0..100, each seed's."""
    several = len(comparison.weight_surrogates) > 1
    table = []
    for arm, by_seed in finals(rows, comparison).items():
        scores = [row["test_accuracy"] for row in by_seed.values()]
        mean = mean_interval(scores) if scores else None
        table.append({
            "arm": arm.label(several), "bits": arm.bits, "weight_surrogate": arm.weight_surrogate,
            "activation_surrogate": arm.activation_surrogate,
            "accuracy": mean and mean.estimate,
            "low": mean and max(mean.low, 0.0), "high": mean and min(mean.high, 100.0),
            "lr": next((row.get("rate") for row in by_seed.values()), None), "seeds": len(scores),
            **{f"seed {s}": by_seed.get(s, {}).get("test_accuracy") for s in comparison.all_seeds},
        })  # fmt: skip
    return table


def differences(rows: Iterable[Row], comparison: Comparison, error_rate: float = 0.05) -> list[Row]:
    """Every pair of trained arms of the same bits: paired difference of test accuracy [points].

    ``p_holm`` holds the chance of one false "resolved" in the whole table at ``error_rate``; the interval is
    one pair's own 95 %. Differences equal in all seeds have no spread to test against and stay unresolved.
    ``more_seeds`` would resolve it with power 0.8 if its true size and spread are those
    observed, tested as strictly as Holm's next step asks; None where that cannot be said.
    """
    found = {
        arm: rows
        for arm, rows in finals(rows, comparison).items()
        if arm.kind == "run" and arm.bits != "float"
    }
    arms, several, table, pairs = list(found), len(comparison.weight_surrogates) > 1, [], []
    for i, a in enumerate(arms):
        for b in arms[i + 1 :]:
            seeds = [seed for seed in found[a] if seed in found[b]]
            if a.bits == b.bits and seeds:
                pairs.append([[found[arm][s]["test_accuracy"] for s in seeds] for arm in (a, b)])
                result = paired_difference(*pairs[-1])
                known = (
                    result.low < result.high
                )  # equal differences: their spread is below the test set's grain
                table.append({
                    "a": a.label(several), "b": b.label(several), "pairs": len(seeds),
                    "difference": result.difference,
                    "low": result.low if known else -math.inf, "high": result.high if known else math.inf,
                    "p": result.p_value if known else 1.0,
                })  # fmt: skip
    for row, adjusted in zip(table, holm(row["p"] for row in table), strict=True):
        row |= {"p_holm": adjusted, "resolved": adjusted <= error_rate, "more_seeds": 0}
    rest, least = sorted((row["p"], k) for k, row in enumerate(table) if not row["resolved"]), 0
    for rank, (_, k) in enumerate(rest):
        needed = paired_difference(*pairs[k], confidence=1 - error_rate / (len(rest) - rank)).seeds_needed
        needed = None if table[k]["high"] == math.inf else needed
        least = least if needed is None else max(least, needed)
        table[k]["more_seeds"] = None if needed is None else least
    return table


def collapsed(rows: Iterable[Row], comparison: Comparison) -> list[str]:
    """Runs that learned and lost it again: their last accuracy is less than half of their best one."""
    several, best = len(comparison.weight_surrogates) > 1, {}
    rows = list(rows)
    for row in rows:
        best[row["task"]] = max(best.get(row["task"], 0.0), row["test_accuracy"])
    return [
        f"{arm.label(several)}, seed {seed}: "
        f"{best[row['task']]:.1f} % at best, {row['test_accuracy']:.1f} % at the end"
        for arm, by_seed in finals(rows, comparison).items()
        for seed, row in by_seed.items()
        if row["test_accuracy"] < best[row["task"]] / 2
    ]


def sentences(rows: Iterable[Row], comparison: Comparison) -> list[str]:
    """The result in words, each a heading with items: resolved, not resolved, collapsed."""
    rows = list(rows)
    pairs = differences(rows, comparison)
    resolved = [
        f"{r['a']} is {abs(r['difference']):.2f} points {'ahead of' if r['difference'] > 0 else 'behind'} "
        f"{r['b']} (p = {r['p_holm']:.2g} after Holm)"
        for r in pairs
        if r["resolved"]
    ]
    rest = []
    for r in (r for r in pairs if not r["resolved"]):
        more = "cannot be said" if r["more_seeds"] is None else f"{r['more_seeds']:,} more seeds"
        rest.append(f"{r['a']} against {r['b']}: {r['difference']:+.2f} points ({more})")
    told = {
        f"Resolved, {len(resolved)} of {len(pairs)} differences:": resolved,
        "Not resolved, and what would resolve it:": rest,
        "Collapsed in training:": collapsed(rows, comparison),
    }
    return ["\n".join([head, "", *(f"- {item}" for item in items)]) for head, items in told.items() if items]
