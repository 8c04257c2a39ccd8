"""Rows as the claims would have them."""

import math
from collections.abc import Iterator
from typing import Any

_BASE: dict[str, Any] = {
    "bits": 2, "reach": 2.0, "zero": False, "inputs": False, "teacher": "ones", "step_size": 0.5,
    "noise": 0.0, "start": 1.0, "surrogate": "identity",
}  # fmt: skip
READINGS = ((False, False), (True, False), (False, True), (True, True))


def ideal() -> dict[str, list[dict[str, Any]]]:
    """Made anew at each call."""
    return {
        "size": [*_size()], "law": [*_law()], "curve": [*_curves()], "wide": [*_wide()],
        "simulated": [*_simulated()], "fixed": [*_fixed()], "formula": [*_formula()], "range": [*_ranges()],
        "steps": [*_steps()], "slope": [*_slopes()],
    }  # fmt: skip


def _size() -> Iterator[dict[str, Any]]:
    for inputs in (False, True):
        for d in (100, 300, 1000):
            about = {**_BASE, "inputs": inputs, "d": d, "seed": d + inputs}
            for time in (0.0, 5.0, 10.0):
                yield {**about, "what": "time", "time": time, "error": 0.5, "deviation": 0.1, "limit": 0.45,
                       "doubt": 0.01, "residual": 0.5 if time else None}  # fmt: skip
            for run in range(8):
                off = math.exp(0.1 * (-1) ** run) / math.sqrt(d)
                yield {
                    **about,
                    "what": "run",
                    "run": run,
                    "off": off,
                    "signed": 0.01 * (-1) ** run,
                    "late": 0.44,
                    "late_limit": 0.44,
                    "late_residual": 0.44 + 0.001 * (-1) ** run,
                }


def _law() -> Iterator[dict[str, Any]]:
    for zero in (False, True):
        about = {**_BASE, "inputs": True, "zero": zero, "d": 3000, "seed": 7 + zero, "step_size": 0.1}
        for time, error in ((10.0, 0.36), (25.0, 0.25), (50.0, 0.34), (100.0, 0.4)):
            for run in range(4):
                yield {
                    **about,
                    "what": "run",
                    "run": run,
                    "time": time,
                    "distance": 0.8 / math.sqrt(3000),
                    "error": error + 0.001 * run,
                    "limit": error,
                }
            for k in range(4):
                yield {
                    **about,
                    "what": "bin",
                    "time": time,
                    "left": k - 2.0,
                    "right": k - 1.0,
                    "seen": 0.25,
                    "foretold": 0.24,
                }


def _curve(kind: str = "limit", **about: Any) -> dict[str, Any]:
    row = {**_BASE, "start": 0.05, "step_size": 0.02, "d": 0, "seed": 0, **about, "what": kind}
    if kind == "time":
        return {**row, "limit": 0.4, "error": row.get("error")}
    drop = row["reach"] <= 1.2 and row["start"] < 1
    wait = 50 * row["reach"]
    return {
        **row, "wait": wait, "doubt": 0.02, "least": 0.1, "last": 0.2,
        "fall_length": 0.7 * wait if drop else 0.0, "fall_middle": 1.02 * wait if drop else None,
        "fall_level": 0.4 if drop else 0.0, "fall_sharpness": 2.0 if drop else 0.1,
        "rise_length": 0.0 if drop else 100.0, "rise_middle": None if drop else 120.0,
        "rise_level": 0.0 if drop else 0.1, "rise_sharpness": 0.0 if drop else 5.0,
    }  # fmt: skip


def _curves() -> Iterator[dict[str, Any]]:
    for zero, inputs in READINGS:
        for reach in (0.8, 1.0, 1.2, 2.0):
            yield _curve(reach=reach, zero=zero, inputs=inputs)
            for time in range(0, 200, 10):
                yield _curve("time", reach=reach, zero=zero, inputs=inputs, time=float(time))


def _wide() -> Iterator[dict[str, Any]]:
    for about in ({"reach": 1.0, "start": 1.0}, {"reach": 2.0, "start": 1.0, "inputs": True}):
        yield _curve(**about)
        yield from (_curve("time", **about, time=float(time)) for time in range(0, 200, 10))


def _simulated() -> Iterator[dict[str, Any]]:
    for zero in (False, True):
        about = {"reach": 1.0, "zero": zero, "d": 300, "seed": 5 + zero}
        yield _curve(**about)
        for run in range(3):
            yield {**_curve("run", **about, run=run), "fall_middle": 51.0 + 0.1 * run}
        yield from (_curve("time", **about, time=float(t), error=0.41) for t in range(0, 200, 10))


def _fixed() -> Iterator[dict[str, Any]]:
    for step, closed, free in ((0.5, 0.15, 0.083), (1.9, 1.28, 4.75), (2.5, 2.1, None)):
        for run in range(4):
            yield {
                **_BASE,
                "what": "run",
                "run": run,
                "bits": 3,
                "reach": 2.5,
                "noise": 0.5,
                "d": 640,
                "step_size": step,
                "late": 20.0,
                "closed": closed,
                "flow": 1.005 * closed,
                "unquantized": free,
                "seen": closed * (1 + 0.01 * (-1) ** run),
                "float_seen": free * (1 + 0.01 * run) if free else 1e20,
                "seed": round(100 * step),
            }


def _cell(**about: Any) -> dict[str, Any]:
    return {**_BASE, "what": "cell", "unquantized": 0.0, "step_size": 0.1, **about}


def _formula() -> Iterator[dict[str, Any]]:
    for zero in (False, True):
        for bits in (2, 3, 4):
            spacing = 6 / (2**bits - 1 - zero)
            yield _cell(bits=bits, zero=zero, reach=3.0, spacing=spacing, closed=spacing**2 / 6)


def _ranges() -> Iterator[dict[str, Any]]:
    for inputs in (False, True):
        for bits in (1, 2, 3, 4):
            for k in range(21):
                reach = 0.25 * 2 ** (k / 4)
                worse = math.exp(math.log(reach / (0.5 * bits)) ** 2)
                yield _cell(bits=bits, inputs=inputs, reach=reach, spacing=1.0, closed=0.1 * worse)


def _steps() -> Iterator[dict[str, Any]]:
    for bits in (2, 3):
        for k in range(1, 31):
            step = k / 10
            free = step / (2 - step) if step < 2 else None
            yield _cell(bits=bits, reach=2.5, noise=0.5, spacing=1.0, step_size=step, closed=step,
                        unquantized=free)  # fmt: skip


def _slopes() -> Iterator[dict[str, Any]]:
    for name, late in (("identity", 0.12), ("hardtanh", 0.66), ("leaky_hardtanh", 0.115)):
        about = {**_BASE, "surrogate": name, "reach": 1.2, "d": 400, "seed": 9, "step_size": 0.2}
        for time in (0.0, 50.0, 100.0):
            yield {**about, "what": "time", "time": time, "error": late, "limit": late, "doubt": 0.01}
        for run in range(5):
            yield {
                **about,
                "what": "run",
                "run": run,
                "late": late * (1 + 0.01 * (-1) ** run),
                "late_limit": late,
            }
