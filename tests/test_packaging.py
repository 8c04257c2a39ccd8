"""What a user meets first: the version, a light import, a help text that does not wait for torch."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"numba", "sklearn", "matplotlib", "rich", "yaml", "pooch", "PIL", "transformers", "monai", "scipy",
         "distributed", "dask", "pyarrow"}  # fmt: skip

SAY_MODULES = """
import sys
print("MODULES", *{module.split(".")[0] for module in sys.modules})
"""

HELP = """
import runpy, sys
try:
    {call}
except SystemExit as end:
    assert not end.code, end.code
"""


def modules_loaded_by(code):
    """Run ``code`` in a fresh interpreter: the top-level modules it loaded, and what it printed."""
    paths = (str(ROOT / "src"), os.environ.get("PYTHONPATH"))
    done = subprocess.run(
        [sys.executable, "-c", code + SAY_MODULES],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    printed, _, names = done.stdout.rpartition("MODULES")
    return set(names.split()), printed


def test_importing_the_package_brings_no_heavy_library_along_that_torch_did_not():
    before, _ = modules_loaded_by("import torch")
    after, _ = modules_loaded_by("import torch, coarsegrad")
    assert "coarsegrad" in after
    assert (after - before) & HEAVY == set()


@pytest.mark.parametrize(
    "call",
    [
        "sys.argv = ['coarsegrad', '--help']; runpy.run_module('coarsegrad', run_name='__main__')",
        "from coarsegrad.cli import main; sys.argv = ['coarsegrad', '--help']; main()",
    ],
    ids=["python -m coarsegrad", "coarsegrad"],
)
def test_help_is_shown_before_torch_and_without_any_heavy_library(call):
    loaded, printed = modules_loaded_by(HELP.format(call=call))
    assert "usage" in printed.lower()
    assert loaded & (HEAVY | {"torch"}) == set()


def test_the_version_is_the_one_of_pyproject():
    import coarsegrad

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert coarsegrad.__version__ == project["version"]
