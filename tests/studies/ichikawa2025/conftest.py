import pytest

from coarsegrad.studies.ichikawa2025 import STUDY
from coarsegrad.studies.study import results, run


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """The rows of the preset smoke, run once for all tests."""
    folder = tmp_path_factory.mktemp("ichikawa2025")
    list(run(STUDY, "smoke", folder))
    return results(STUDY, "smoke", folder)
