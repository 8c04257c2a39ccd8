import pytest

from coarsegrad.studies.study import results, run
from coarsegrad.studies.yin2019 import STUDY


@pytest.fixture(scope="session")
def smoke_folder(tmp_path_factory):
    """The preset smoke, run once for all tests."""
    folder = tmp_path_factory.mktemp("yin2019")
    list(run(STUDY, "smoke", folder))
    return folder


@pytest.fixture(scope="session")
def smoke(smoke_folder):
    """Its rows, by kind."""
    return results(STUDY, "smoke", smoke_folder)
