import dataclasses
import re
import subprocess

import pytest

from coarsegrad import spec
from coarsegrad.core.surrogates import SURROGATES
from coarsegrad.train.compare import Comparison, compare
from coarsegrad.train.loop import train
from coarsegrad.train.plan import TrainPlan
from coarsegrad.train.report import report, surrogate_figure

PLAN = TrainPlan(
    data="gaussian(dim=6,samples=120,test_samples=60)",
    model="mlp(widths=(8,8))",
    recipe="w1a2",
    epochs=2,
    batch_size=40,
    pretrain_epochs=1,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    list(train(PLAN, folder))
    return report(folder)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    base = dataclasses.replace(PLAN, pretrain_epochs=0)
    list(compare(Comparison(base=base, surrogates=("relu", "identity"), seeds=2, tune=2), folder))
    return report(folder)


def test_the_report_of_a_run_has_all_its_parts(run):
    html = run.read_text()
    for part in (
        "Curves",
        "Weight codes that change",
        "Weights and activations against",
        "Plan",
        "Configuration",
        "Versions",
        "The command that repeats it",
        "quantized from here",
        "measured",
    ):
        assert part in html
    assert "fc2.weight: w1a2" in html and "fc2.input: w1a2" in html and "normalization" in html


def test_the_report_of_a_comparison_has_all_its_parts(comparison):
    html = comparison.read_text()
    for part in (
        "Differences",
        "calibrated only",
        "float",
        "Mean; band: lowest to highest seed",
        "more_seeds",
        "Held-out accuracy",
        "heuristic",
        "fc2.weight: w1a2 relu",
        "Configuration",
        "Versions",
    ):
        assert part in html


@pytest.mark.parametrize("which", ["run", "comparison"])
def test_the_page_asks_the_network_for_nothing(which, request):
    html = request.getfixturevalue(which).read_text()
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", html)


def test_it_is_written_again_from_the_folder_alone(run):
    before = run.read_text()
    assert report(run.parent).read_text() == before


def test_an_unfinished_comparison_says_so(tmp_path):
    going = compare(Comparison(base=dataclasses.replace(PLAN, pretrain_epochs=0), seeds=2), tmp_path)
    for _ in range(5):
        next(going)
    going.close()
    assert "are not finished" in report(tmp_path).read_text()


def test_a_folder_of_neither_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither a run nor a comparison"):
        report(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", SURROGATES)
def test_curve_and_slope_of_every_surrogate_can_be_drawn(name):
    figure = surrogate_figure([(name, spec.read(name, SURROGATES))], (0.0, 1.0))
    scheduled = name in ("ede", "reste")
    assert len(figure.items) == (4 if scheduled else 2)
    assert [item.dashed for item in figure.items] == [False, True] * (2 if scheduled else 1)


@pytest.mark.parametrize("which", ["run", "comparison"])
def test_it_opens_in_a_browser_without_an_error(which, request, chromium, tmp_path):
    page, shot = request.getfixturevalue(which), tmp_path / "page.png"
    done = subprocess.run(
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=1200,2400",
            f"--screenshot={shot}",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and shot.stat().st_size > 50_000
    assert "CONSOLE" not in done.stderr
