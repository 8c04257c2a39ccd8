import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import coarsegrad
from coarsegrad.cli import main

SOURCE = str(Path(coarsegrad.__file__).parents[1])
SMALL = [
    "--data",
    "gaussian(samples=200,test_samples=50)",
    "--model",
    "mlp(widths=(8,))",
    "--batch-size",
    "50",
]


def test_list_prints_every_catalogue_member_with_its_source(capsys):
    from coarsegrad.core.learned import QUANTIZERS
    from coarsegrad.core.surrogates import SURROGATES

    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, cls in {**SURROGATES, **QUANTIZERS}.items():
        assert any(line.startswith(name) and cls.source in line and cls.formula in line for line in lines)


@pytest.mark.parametrize("what", ["surrogates", "quantizers", "data", "models"])
def test_list_as_json_reads_back(capsys, what):
    assert main(["list", what, "--json"]) == 0
    assert all(row["name"] for row in json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("words", [["study"], ["study", "list"]], ids=" ".join)
def test_study_list_tells_of_every_study_its_source_its_cost_and_its_last_verdict(capsys, words):
    from coarsegrad.studies import STUDIES, find

    assert main(words) == 0
    parts = capsys.readouterr().out.split("\n\n")
    assert [part.split("\n")[0] for part in parts] == list(STUDIES)
    for part, name in zip(parts, STUDIES, strict=True):
        assert "  source   " in part and "  verdict  " in part and "arXiv:" in part
        assert all(f"\n  {preset}" in part for preset in find(name).presets)
    assert main([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(STUDIES)
    there = {row["name"]: row["published"] for row in rows}
    assert there["yin2019"]["verdicts"]["confirmed"] > 0


def test_study_list_of_one_tells_its_claims(capsys):
    assert main(["study", "list", "yin2019"]) == 0
    assert "\nidentity-rises-inside (heuristic): refuted, as expected\n" in capsys.readouterr().out
    assert main(["study", "list", "yin2019", "--json"]) == 0
    rows = {row["claim"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["identity-rises-inside"]["verdict"] == "refuted"


@pytest.mark.parametrize(
    ("then", "says"), [(None, "2 tasks: "), (list, "2 tasks, then more that depend on what")]
)
def test_a_study_says_whether_more_tasks_follow(tmp_path, capsys, monkeypatch, then, says):
    from coarsegrad import studies
    from studies import toy

    further = then and (lambda preset, options, rows: then())
    monkeypatch.setattr(studies, "find", lambda name: replace(toy.study(toy.claim("a", 0)), then=further))
    main(["study", "toy", "--preset", "smoke", "--out", str(tmp_path)])
    assert capsys.readouterr().out.startswith(f"toy, smoke, {says}")


def test_study_list_writes_the_overview_of_the_documentation(tmp_path, capsys):
    from coarsegrad.studies.index import BEGIN, END

    page = tmp_path / "index.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    assert main(["study", "list", "--docs", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{page}\n" and "### Yin et al. 2019" in page.read_text()


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_plot_writes_the_picture(tmp_path, kind):
    out = tmp_path / f"s.{kind}"
    assert main(["plot", "surrogate", "relu", "clipped_relu(top=2)", "ede", "ewgs", "--out", str(out)]) == 0
    assert out.read_bytes()[:4] in (b"<svg", b"<?xm", b"\x89PNG")


def test_plan_of_a_zoo_model_names_every_layer(capsys):
    assert main(["plan", "lenet5", "w2a2", "--rule", "conv2=w4a4"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("conv1", "conv2", "fc1", "bn1", "normalization", "4b lsq"))


def test_plan_as_json_has_written_forms(capsys):
    assert main(["plan", "mlp", "w1a2", "--in-shape", "1,8,8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found["rows" if "rows" in found else "layers"]] == ["fc1", "fc2", "fc"]
    assert found["layers"][1]["weight"].startswith("binary(")


def test_plan_of_a_users_own_factory(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine_for_test.py").write_text(
        "import torch\ndef make():\n    return torch.nn.Linear(4, 2)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "mine_for_test:make", "w4a4", "--in-shape", "4"]) == 0
    assert "Linear" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["plan", "lenet6", "w2a2"], "did you mean 'lenet5'"),
        (["plan", "lenet5", "w9a2"], "1 to 8, got 9"),
        (["plan", "lenet5", "w2a2", "--rule", "fc9=w8a8"], "names no module"),
        (["plan", "no_such_module:make", "w2a2"], "no module 'no_such_module'"),
        (["plan", "lenet5", "w2a2", "--in-shape", "a"], "--in-shape is like 3,32,32"),
        (["plot", "surrogate", "rellu", "--out", "x.svg"], "did you mean 'relu'"),
        (["plot", "surrogate", "ede", "--progress", "2", "--out", "x.svg"], "lies in [0, 1]"),
        (["train", "--out", "{}", "--activation-surrogate", "clipedrelu"], "did you mean 'clipped_relu'"),
        (["train", "--out", "{}", "--bits", "w0.5a2"], "cannot read bits 'w0.5a2'"),
        (["train", "--out", "{}", "--set", "epoks=3"], "did you mean 'epochs'"),
        (["train", "--out", "{}", "--set", "epochs"], "write --set KEY=VALUE"),
        (["train", "--out", "{}", "--set", "epochs=many"], "epochs takes a value of type int, got 'many'"),
        (["train", "--out", "{}", "--data", "mnist", "--data-folder", "nowhere"], "nowhere"),
        (["train", "--out", "{}", "--config", "nowhere.toml"], "nowhere.toml"),
        (["compare", "--out", "{}", "--surrogates", "relu,identty"], "did you mean 'identity'"),
        (["compare", "--out", "{}", "--bits", "w1a2,w11a2"], "1 to 8, got 11"),
        (["compare", "--out", "{}", "--seeds", "0"], "seeds=...) is a whole number, 1 or more"),
        (["compare", "--out", "{}", "--set", "recipe=w2a2"], "list bits"),
        (["study", "yin2019", "--out", "{}", "--workers", "0"], "workers=...) is a whole number, 1 or more"),
        (["study", "yin2019", "--out", "{}", "--scheduler", "here"], "like tcp://host:8786, got 'here'"),
        (["study", "yin2019", "long2021", "--out", "{}"], "one study at a time: yin2019, then long2021"),
        (["study", "list", "yin2018"], "did you mean 'yin2018-bcgd'"),
        (["study", "yin2019", "list"], "list comes first: coarsegrad study list yin2019"),
        (["study", "list", "--out", "{}"], "study list takes --docs, or a name and --json: leave --out away"),
        (["study", "list", "--preset", "quick"], "leave --preset away"),
        (["study", "list", "--workers", "1"], "leave --workers away"),
        (["study", "list", "yin2019", "--docs", "{}"], "leave --docs away"),
        (["study", "list", "--docs", "{}", "--json"], "leave --json away"),
        (["study", "list", "yin2019", "--data-folder", "{}"], "leave --data-folder away"),
        (["study", "list", "--docs", "{}"], "has no index.md; give the folder of the studies' pages"),
        (["results", "{}"], "holds no results"),
        (["report", "{}"], "neither a run nor a comparison"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_code_2_and_nothing_written(tmp_path, capsys, arguments, says):
    out = tmp_path / "out"
    assert main([word.replace("{}", str(out)) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1 and "Traceback" not in error
    assert not out.exists()


def test_a_config_of_the_wrong_type_is_refused(tmp_path, capsys):
    config = tmp_path / "run.json"
    config.write_text("{}")
    assert main(["train", "--config", str(config), "--out", str(tmp_path / "out")]) == 2
    assert ".toml, .yaml or .yml" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["toml", "yaml"])
def test_options_win_over_set_and_set_over_the_file(tmp_path, capsys, suffix):
    config, mark = tmp_path / f"run.{suffix}", "=" if suffix == "toml" else ":"
    config.write_text(f"epochs {mark} 3\nlr {mark} 0.5\nbatch_size {mark} 7\n".replace(" :", ":"))
    out = tmp_path / "out"
    words = [
        "train",
        "--config",
        str(config),
        "--set",
        "lr=0.25",
        "--set",
        "epochs=9",
        "--epochs",
        "1",
        *SMALL,
    ]
    assert main([*words, "--out", str(out), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["epoch"] for row in rows[:-1]] == [1] and rows[-1]["done"]
    plan = (out / "plan.toml").read_text()
    assert "lr = 0.25" in plan and "batch_size = 50" in plan
    assert (out / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_train_prints_the_plan_first_resumes_and_refuses_another_run(tmp_path, capsys):
    out = ["--out", str(tmp_path / "run")]
    assert main(["train", *SMALL, "--bits", "w1a2", "--epochs", "2", *out]) == 0
    printed = capsys.readouterr().out
    assert printed.index("weight MACs quantized") < printed.index("epoch 1")
    assert main(["train", *SMALL, "--bits", "w1a2", "--epochs", "2", *out]) == 0
    assert "test accuracy" in capsys.readouterr().out
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    assert main(["train", *SMALL, "--bits", "w2a2", "--epochs", "2", *out]) == 2
    assert "another plan" in capsys.readouterr().err
    assert main(["compare", *SMALL, *out]) == 2
    assert "holds a single run" in capsys.readouterr().err
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before


def test_a_run_that_stops_being_finite_is_code_1(tmp_path, capsys):
    words = [
        "train",
        *SMALL,
        "--bits",
        "float",
        "--lr",
        "1e30",
        "--epochs",
        "3",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(words) == 1
    assert "not finite" in capsys.readouterr().err.lower()


def test_ctrl_c_is_code_130_and_says_how_to_resume(tmp_path):
    words = ["train", *SMALL, "--bits", "w1a2", "--epochs", "5000", "--out", str(tmp_path / "run")]
    environment = os.environ | {"PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "coarsegrad", *words],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # where the tests are a background job, Ctrl-C would not be heard
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:  # fmt: skip
        until = time.monotonic() + 120
        while not (tmp_path / "run" / "checkpoint.pt").exists() and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "resume with: coarsegrad train" in error and "Traceback" not in error


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert coarsegrad.__version__ in capsys.readouterr().out


def test_no_command_prints_the_help(capsys):
    assert main([]) == 0
    assert "compare" in capsys.readouterr().out
