"""What the documentation shows, runs."""

import contextlib
import io
import re
from pathlib import Path

import torch

import coarsegrad

DOCS = Path(__file__).resolve().parents[1] / "docs"
GUIDE = DOCS / "guide.md"


def test_the_example_of_binary_teachers_runs_and_finds_what_the_guide_says():
    (block,) = (
        b for b in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.S) if "first_hit" in b
    )
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        exec(block, {"__name__": "example"})
    found = re.findall(r"(\d+) of 20\n", told.getvalue())
    assert found == ["20", "1", "20", "20"]


def test_the_example_of_which_ste_runs_and_prints_what_it_says():
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "which-ste.md").read_text(), flags=re.S)
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        exec(block, {"__name__": "example"})
    assert told.getvalue().startswith("rate 0.600\ntensor([-1.0000, -0.39")


def test_the_example_of_finite_samples_runs_and_says_so():
    block, own = re.findall(r"```python\n(.*?)```", (DOCS / "recovery.md").read_text(), flags=re.S)
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        exec(block, {"__name__": "example"})
        exec(own, {"__name__": "example"})
    lines = told.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["identity", "relu"]
    assert all(line.endswith("average right in 10 of 10") for line in lines[:2])
    assert lines[2].startswith("events because ")
    assert [line.split(":")[0] for line in lines[3:]] == ["Triangle", "Exponential", "Normalized"]
    assert lines[3].endswith("10 of 10") and lines[5].endswith("10 of 10")


def test_the_examples_of_updates_and_of_a_trained_run_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.S)
    quantized = coarsegrad.quantize(
        torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(3))), "w2a2", [torch.rand(16, 8)]
    )
    names = {"__name__": "example", "torch": torch, "quantized": quantized}
    for block in (b for b in blocks if "parameter_groups(" in b or "Muon(" in b or "load_run(" in b):
        with contextlib.redirect_stdout(io.StringIO()):
            exec(block, names)
    assert len(names["optimizer"].optimizers) == 2 and len(names["rows"]) == 2
    assert names["deployed"](torch.rand(2, 1, 8, 8)).shape == (2, 10)
