"""``docs/promises.md`` names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs/promises.md").read_text("utf-8"))


def test_every_named_test_exists() -> None:
    assert len(NAMED) > 40
    missing = [
        f"{path}::{name}"
        for path, name in NAMED
        if not re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE)
    ]
    assert missing == []


def test_promises_of_this_engine_are_all_named() -> None:
    rows = (ROOT / "docs/promises.md").read_text("utf-8")
    assert {int(number) for number in re.findall(r"^\| \*\*(\d+)\*\*", rows, re.MULTILINE)} >= {
        *range(1, 11),
        13,
    }
