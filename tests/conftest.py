"""The order of the tests: what takes longest begins first, so that two processes end together."""

from __future__ import annotations

import pytest

FIRST = ("tests/simulator/", "tests/acceptance/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep each file's tests together and in order."""
    items.sort(
        key=lambda item: next((n for n, part in enumerate(FIRST) if part in str(item.path)), len(FIRST))
    )
