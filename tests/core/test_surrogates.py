"""The catalogue of surrogates is complete and named in one way."""

import pytest

from coarsegrad.core import bumps, scheduled, surrogate, surrogates, windows
from coarsegrad.core.surrogate import Stretched, Surrogate
from coarsegrad.core.surrogates import SURROGATES


@pytest.mark.parametrize("module", [bumps, scheduled, windows], ids=lambda m: m.__name__)
def test_every_surrogate_of_the_library_is_in_the_catalogue(module):
    here = {
        thing for thing in vars(module).values() if isinstance(thing, type) and issubclass(thing, Surrogate)
    }
    assert here - {Surrogate, Stretched} <= set(SURROGATES.values())


@pytest.mark.parametrize("name", SURROGATES)
def test_a_name_is_that_of_its_class_and_can_be_made_without_arguments(name):
    assert SURROGATES[name].name == name and name == name.lower()
    assert isinstance(SURROGATES[name](), Surrogate)
    assert SURROGATES[name].__doc__


def test_the_file_exports_what_it_lists():
    for name in surrogates.__all__:
        assert hasattr(surrogates, name)
    assert {cls.__name__ for cls in SURROGATES.values()} <= set(surrogates.__all__)
    assert surrogates.Surrogate is surrogate.Surrogate
