import pytest

from coarsegrad.studies.nagel2022 import STUDY
from coarsegrad.studies.study import results, run


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """The rows of the preset smoke, run once for all tests."""
    folder = tmp_path_factory.mktemp("nagel2022")
    list(run(STUDY, "smoke", folder))
    return results(STUDY, "smoke", folder)
