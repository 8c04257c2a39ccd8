"""A user's own surrogate: the lines of the guide, unchanged, through theory, study and training."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import coarsegrad
from coarsegrad import own, spec
from coarsegrad.cli import main
from coarsegrad.core.surrogates import SURROGATES

ROOT = Path(__file__).parents[1]
SECTION = (ROOT / "docs" / "guide.md").read_text().split("## Your own surrogate")[1].split("\n## ")[0]
HAT, USES = re.findall(r"```python\n(.*?)```", SECTION, flags=re.S)
SMALL = ["--data", "gaussian(samples=200,test_samples=50)", "--model", "mlp(widths=(8,))",
         "--batch-size", "50", "--bits", "w1a2"]  # fmt: skip


@pytest.fixture
def hat(tmp_path):
    """The guide's file."""
    path = tmp_path / "hat.py"
    path.write_text(HAT)
    return path


def test_the_guide_keeps_to_twelve_lines():
    assert sum(bool(line.strip()) for line in HAT.splitlines()) == 12


def test_the_guides_uses_run_as_they_stand(hat, monkeypatch):
    monkeypatch.syspath_prepend(hat.parent)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    found = {"model": model, "batch": torch.randn(8, 4)}
    exec(USES, found)
    assert found["push"] > 0 and found["product"] > 0
    found["quantized"](found["batch"]).sum().backward()
    sys.modules.pop("hat")


def test_using_a_file_gives_its_surrogates_names(hat, clean_catalogue):
    assert list(own.use(hat)) == ["hat"]
    assert spec.write(own.surrogate("hat(width=2)")) == "hat(width=2.0)"
    assert [source.path for source in own.sources()] == [str(hat)]
    assert own.use(hat).keys() == {"hat"}  # and again
    recipe = coarsegrad.Recipe.read("recipe(bits='w1a1', activation_surrogate=hat(width=2))")
    assert recipe.activation_surrogate == own.surrogate("hat(width=2)")


def test_content_follows_the_text_of_the_file(hat, clean_catalogue):
    own.use(hat)
    before = own.content("hat(width=2)")
    assert before and own.content("relu") == "" == own.content(None)
    hat.write_text(HAT.replace("min=0", "min=0.1"))
    assert own.content("hat") == before  # what was read
    own.use(hat)
    assert own.content("hat") != before
    assert own.surrogate("hat").slope(torch.tensor(9.0)) == torch.tensor(0.1)


def test_a_name_that_left_the_file_is_forgotten(hat, clean_catalogue):
    own.use(hat)
    hat.write_text(HAT.replace('"hat"', '"cap"'))
    own.use(hat)
    assert "hat" not in SURROGATES and own.surrogate("cap")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1", "holds no surrogate: write a class"),
        ("from coarsegrad.core.surrogates import ReLU", "holds no surrogate"),
        ("x = 1\ny = 1 / 0", "hat.py, line 2: ZeroDivisionError"),
        ("x = (", "hat.py, line 1: SyntaxError"),
        (HAT.replace('"hat"', '"relu"'), 'a name that the library has: give it another, name = "my_relu"'),
        (HAT.replace('"hat"', '"lsq"'), "a name that the library has"),
        (HAT.replace('"hat"', '"my hat"'), "use letters, digits and _"),
        (HAT.replace("@dataclass(frozen=True)", ""), "write @dataclass(frozen=True) above the class"),
        (HAT.replace("def slope", "def slant"), "define slope(self, x)"),
    ],
)
def test_a_file_that_cannot_be_used_names_the_mend(hat, clean_catalogue, text, says):
    hat.write_text(text)
    before = dict(SURROGATES)
    with pytest.raises(ValueError, match=re.escape(says)):
        own.use(hat)
    assert before == SURROGATES and not own.SOURCES


def test_a_missing_file_and_a_second_of_the_same_name_are_refused(hat, tmp_path, clean_catalogue):
    with pytest.raises(ValueError, match="no such file; name the Python file"):
        own.use(tmp_path / "cap.py")
    own.use(hat)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "hat.py").write_text(HAT.replace('"hat"', '"cap"'))
    with pytest.raises(ValueError, match="rename one of the files"):
        own.use(tmp_path / "b" / "hat.py")
    (tmp_path / "cap.py").write_text(HAT)
    with pytest.raises(ValueError, match=re.escape(f"a name that {hat} has")):
        own.use(tmp_path / "cap.py")


def test_an_unknown_name_says_how_to_bring_ones_own(clean_catalogue):
    with pytest.raises(ValueError, match="known once its file is named: --with FILE"):
        own.surrogate("hat")


def test_another_process_gets_the_text_that_was_read(hat, clean_catalogue):
    own.use(hat)
    files = own.sources()
    hat.write_text("raise SystemExit")
    own.use_again(files)
    assert own.sources() == files and own.surrogate("hat")


def test_keep_copies_once_and_refuses_another_text(hat, tmp_path, clean_catalogue):
    folder = tmp_path / "run"
    folder.mkdir()
    own.use(hat)
    own.keep(own.sources(), folder, mend="choose another")
    own.keep(own.sources(), folder, mend="choose another")
    assert (folder / "hat.py").read_text() == HAT
    hat.write_text(HAT + "\n")
    own.use(hat)
    with pytest.raises(ValueError, match=r"another text than .*: choose another"):
        own.keep(own.sources(), folder, mend="choose another")
    own.keep(own.sources(), folder, mend="choose another", replace=True)
    assert (folder / "hat.py").read_text() == HAT + "\n"


def test_training_takes_it_resumes_and_refuses_an_edited_file(hat, tmp_path, capsys, clean_catalogue):
    out = ["--out", str(tmp_path / "run"), "--with", str(hat)]
    surrogate = ["--activation-surrogate", "hat(width=2)", "--weight-surrogate", "hat"]
    whole = tmp_path / "whole"
    assert main(["train", *SMALL, *surrogate, "--epochs", "2", "--out", str(whole), "--with", str(hat)]) == 0
    assert main(["train", *SMALL, *surrogate, "--epochs", "2", *out]) == 0
    (tmp_path / "run" / "checkpoint.pt").unlink()  # as if killed in its second epoch
    assert main(["train", *SMALL, *surrogate, "--epochs", "2", *out]) == 0
    first, second = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["model"] for name in ("whole", "run")
    )
    assert all(torch.equal(a, second[name]) for name, a in first.items())
    assert (whole / "command.txt").read_text().endswith("--config plan.toml --with hat.py\n")
    hat.write_text(HAT.replace("min=0", "min=0.1"))
    capsys.readouterr()
    assert main(["train", *SMALL, *surrogate, "--epochs", "2", *out]) == 2
    assert "holds another text than" in capsys.readouterr().err


def test_a_run_folder_of_a_stranger_runs_no_file(hat, tmp_path, capsys, clean_catalogue):
    folder = tmp_path / "run"
    words = ["train", *SMALL, "--activation-surrogate", "hat", "--epochs", "1", "--out", str(folder)]
    assert main([*words, "--with", str(hat)]) == 0
    (folder / "hat.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    again = [sys.executable, "-m", "coarsegrad", "report", str(folder)]
    paths = os.environ | {"PYTHONPATH": str(Path(coarsegrad.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    told = subprocess.run(again, cwd=folder, env=paths, capture_output=True, text=True, timeout=120)
    assert told.returncode == 2 and "--with FILE" in told.stderr
    assert not (tmp_path / "ran").exists()


def test_a_comparison_takes_it_in_processes_of_their_own(hat, tmp_path, capsys, clean_catalogue):
    words = ["compare", *SMALL, "--surrogates", "hat,relu", "--seeds", "1", "--epochs", "1", "--jobs", "2"]
    assert main([*words, "--out", str(tmp_path / "c"), "--with", str(hat), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert any(row["activation_surrogate"] == "hat" for row in found["arms"])
    assert (tmp_path / "c" / "hat.py").read_text() == HAT


def test_the_catalogue_and_the_plot_show_it(hat, tmp_path, capsys, clean_catalogue):
    assert main(["list", "surrogates", "--with", str(hat)]) == 0
    assert "hat" in capsys.readouterr().out
    assert main(["plot", "surrogate", "hat", "--with", str(hat), "--out", str(tmp_path / "hat.svg")]) == 0
