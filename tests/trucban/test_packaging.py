from __future__ import annotations

import importlib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

PACKAGES = ["schemas", "rules", "oncall", "store", "streams", "notify", "feeds", "console", "trucban"]


@pytest.mark.parametrize("name", PACKAGES)
def test_no_other_distribution_provides_our_names(name: str) -> None:
    assert set(packages_distributions()[name]) == {"trucban"}


@pytest.mark.parametrize("name", PACKAGES)
def test_each_package_says_that_it_is_typed(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert (Path(module.__file__).parent / "py.typed").is_file()
