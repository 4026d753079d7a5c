"""The order of the tests: what takes longest begins first, so that two processes end together.

And no deadlines for single examples: what is slow is measured in benchmarks/, not here.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("trucban", deadline=None)
settings.load_profile("trucban")

FIRST = (
    "acceptance/test_kills",
    "acceptance/test_nyc",
    "acceptance/test_scenarios",
    "simulator/",
    "feeds/test_scenarios",
    "engine/test_latest",
)
"""What takes longest first: kills beside the real file, then the simulator (which needs CPU only) beside all
that waits for processes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep each file's tests together and in order."""
    items.sort(
        key=lambda item: next((n for n, part in enumerate(FIRST) if part in str(item.path)), len(FIRST))
    )
