"""Cells whose success is a logistic function of log N around factor n^power."""

MULTIPLES = (0.25, 0.5, 0.8, 1.25, 2, 4)


def grid(power, factor, name="relu"):
    rows = []
    for n in (10, 20, 50, 200):
        for k, multiple in enumerate(MULTIPLES):
            won = round(1000 / (1 + multiple**-3.0))
            about = {"surrogate": name, "n": n, "samples": round(factor * n**power * multiple), "runs": 1000}
            rows.append({**about, "k": k, "last": won, "ergodic": won, "hit": won, "steps": 100,
                         "m": 4, "step_size": 0.3})  # fmt: skip
    return rows
