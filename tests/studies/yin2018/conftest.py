import pytest

from coarsegrad.studies.study import results, run
from coarsegrad.studies.yin2018 import STUDY


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """The rows of the preset smoke, run once for all tests."""
    folder = tmp_path_factory.mktemp("yin2018")
    list(run(STUDY, "smoke", folder))
    return results(STUDY, "smoke", folder)
