"""What the documentation shows, runs."""

import contextlib
import io
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_example_of_which_ste_runs_and_prints_what_it_says():
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "which-ste.md").read_text(), flags=re.S)
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        exec(block, {"__name__": "example"})
    assert told.getvalue().startswith("rate 0.600\ntensor([-1.0000, -0.39")
