"""Write docs/models.md: what of each architecture is quantized, and what torch.compile makes of it.

    python tests/nn/survey_models.py [NAME ...]

Rows are kept in runs/models.jsonl, so that a survey that was cut short goes on, and NAMEs are measured anew.
"""

import json
import logging
import sys
import warnings
from pathlib import Path

import monai
import torch
import torch._dynamo
import transformers

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from coarsegrad.nn import calibrate, plan, prepare  # noqa: E402
from nn.architectures import ARCHITECTURES, run  # noqa: E402

ROWS, PAGE = ROOT / "runs" / "models.jsonl", ROOT / "docs" / "models.md"
HEAD = """# Models

Architectures nobody here wrote, built small and with random weights, quantized with `"w2a2"` (first and last
layers at 8 bits) and taken through prepare, calibrate, a training step, a strict round trip of the state,
and convert, by `tests/nn/test_architectures.py`. This page is written by

    python tests/nn/survey_models.py

with torch {torch}, transformers {transformers}, MONAI {monai}.

## What is quantized

MACs are multiply-accumulates with a weight in them (products of two activations, such as attention's, have
none); *weights* is the share whose weight is quantized, *both* the share whose input is too. What is missing
is named below. Every model also keeps its normalizations and biases in float.

| model | layers | MACs | weights | both |
|---|---:|---:|---:|---:|
"""
COMPILE = """
## What compiles

Graph breaks of the float model and of the quantized one (`torch._dynamo.explain`), and whether
`torch.compile(model, fullgraph=True, backend="aot_eager")` runs forward and backward of the quantized model
once it is calibrated. Where the float model breaks, the quantized one cannot be whole.

| model | float breaks | quantized breaks | quantized, full graph |
|---|---:|---:|---|
"""


def measure(name):
    """One row: coverage and compilation."""
    torch.manual_seed(0)
    model, batch = ARCHITECTURES[name]()
    made = plan(model, "w2a2", batch)
    both = [r for r in made.rows if r.weight is not None and r.activation is not None]
    row = {
        "name": name,
        "layers": len(made.rows),
        "macs": made.macs,
        "weights": made.coverage,
        "both": sum(r.macs for r in both) / made.macs,
        "floats": [[r.name, r.kind, r.macs / made.macs, r.reason] for r in made.floats if r.macs],
        "inputs": [
            [r.name, r.kind, r.macs / made.macs, r.activation_reason]
            for r in made.rows
            if r.activation_reason and r.macs
        ],
    }
    quantized = prepare(model.train(), "w2a2", batch)
    calibrate(quantized, [batch])
    whole = compiled(quantized, batch)
    row["whole"] = whole or "yes"
    row["float_breaks"] = breaks(model, batch)
    row["breaks"] = breaks(quantized, batch) if whole else 0
    return row


def breaks(model, batch):
    torch._dynamo.reset()
    explain = torch._dynamo.explain(model)
    found = explain(**batch) if isinstance(batch, dict) else explain(*batch)
    return found.graph_break_count if found.break_reasons else 0  # a second graph alone is no break


def compiled(model, batch):
    """None, or why it does not compile whole."""
    torch._dynamo.reset()
    try:
        outputs = run(torch.compile(model, fullgraph=True, backend="aot_eager"), batch)
        sum(y.square().mean() for y in outputs).backward()
    except Exception as error:
        return str(error).strip().splitlines()[0][:110]
    return None


def page(rows):
    lines = [
        HEAD.format(torch=torch.__version__, transformers=transformers.__version__, monai=monai.__version__)
    ]
    for r in rows:
        lines.append(
            f"| {r['name']} | {r['layers']} | {r['macs']:,} | {r['weights']:.1%} | {r['both']:.1%} |\n"
        )
    lines.append(
        "\n**Exceptions.** Weights that stay in float although they carry MACs, and inputs that do:\n\n"
    )
    for r in rows:
        for title, kept in (("weight", r["floats"]), ("input", r["inputs"])):
            grouped = {}
            for _, kind, share, reason in kept:
                grouped[kind, reason] = grouped.get((kind, reason), 0) + share
            for (kind, reason), share in grouped.items():
                lines.append(f"- {r['name']}, {title} of `{kind}` ({share:.1%} of the MACs): {reason}.\n")
    lines.append(COMPILE)
    for r in rows:
        lines.append(
            f"| {r['name']} | {r['float_breaks']} | {r['breaks']} | {r['whole'].replace('|', '/')} |\n"
        )
    whole = sum(r["whole"] == "yes" for r in rows)
    lines.append(
        f"\n{whole} of {len(rows)} compile whole; {sum(r['float_breaks'] == 0 for r in rows)} do in float.\n"
    )
    return "".join(lines)


def main(names):
    warnings.simplefilter("ignore")
    logging.getLogger("torch._dynamo").setLevel(logging.CRITICAL)
    torch.set_num_threads(1)
    known = {}
    if ROWS.exists():
        known = {row["name"]: row for row in map(json.loads, ROWS.read_text().splitlines())}
    for name in names or [n for n in ARCHITECTURES if n not in known]:
        known[name] = measure(name)
        ROWS.parent.mkdir(exist_ok=True)
        ROWS.write_text("".join(json.dumps(row) + "\n" for row in known.values()))
        print(name, {k: v for k, v in known[name].items() if k not in ("floats", "inputs")}, flush=True)
    PAGE.write_text(page([known[name] for name in ARCHITECTURES if name in known]))


if __name__ == "__main__":
    main(sys.argv[1:])
