"""What a test may ask for, and what becomes of a test whose wish this machine cannot grant.

A test that lacks something is skipped, and says what to install or set. With ``COARSEGRAD_REQUIRE=1`` in the
environment (``make test-all``) every skip is a failure, however it came about.
"""

import os
import shutil

import hypothesis
import pytest

import real_data

hypothesis.settings.register_profile("coarsegrad", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("coarsegrad")


def pytest_configure(config):
    """Give each of several workers one thread: together they ask for no more cores than there are."""
    if hasattr(config, "workerinput"):
        import torch

        os.environ.setdefault("OMP_NUM_THREADS", "1")
        torch.set_num_threads(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return skip_is_failure((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return skip_is_failure((yield))


def skip_is_failure(report):
    """The report, with a skip turned into a failure where COARSEGRAD_REQUIRE is set. An xfail stays."""
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("COARSEGRAD_REQUIRE"):
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"COARSEGRAD_REQUIRE is set, and this was skipped: {reason}"
    return report


@pytest.fixture(autouse=True)
def same_start():
    """Layers draw their first weights from torch's global generator: each test finds it in the same state."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def need():
    """``need(found, what, mend)`` returns ``found``; the test is skipped where that is None or False."""

    def need(found, what, mend):
        if found is None or found is False:
            pytest.skip(f"needs {what}: {mend}")
        return found

    return need


@pytest.fixture(scope="session")
def chromium(need):
    """The path of a Chromium or Chrome that can be started headless."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    return need(found, "Chromium", "install the package chromium")


@pytest.fixture(scope="session")
def cxx(need):
    """The path of a C++ compiler, the one that torch.compile would call."""
    names = filter(None, (os.environ.get("CXX"), "g++", "clang++"))
    found = next(filter(None, map(shutil.which, names)), None)
    return need(found, "a C++ compiler", "install g++, or name one in CXX")


@pytest.fixture(scope="session")
def data_folder(need):
    """``data_folder(name)``: the folder of real data ``mnist``, ``fashion-mnist`` or ``cifar-10``."""

    def data_folder(name):
        mend = f"set COARSEGRAD_DATA to the folder that holds {name}/"
        return need(real_data.data_folder(name), f"the real {name} files", mend)

    return data_folder


@pytest.fixture
def clean_catalogue():
    """What a test makes known by ``coarsegrad.own`` is forgotten after it."""
    from coarsegrad import own
    from coarsegrad.core.surrogates import SURROGATES

    before = dict(SURROGATES)
    yield
    own.SOURCES.clear()
    SURROGATES.clear()
    SURROGATES.update(before)
