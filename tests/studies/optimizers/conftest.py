import pytest

from coarsegrad.studies.optimizers import STUDY
from coarsegrad.studies.study import results, run


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """The rows of the preset smoke, run once for all tests."""
    folder = tmp_path_factory.mktemp("optimizers")
    list(run(STUDY, "smoke", folder))
    return results(STUDY, "smoke", folder)
