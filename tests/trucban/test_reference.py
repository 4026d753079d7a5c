from __future__ import annotations

from pathlib import Path

import pytest

from trucban.commands.table import COMMANDS
from trucban.metrics import METRICS
from trucban.reference import PAGES
from trucban.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_code_says(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"


def test_everything_is_on_its_page() -> None:
    settings, metrics, commands = (PAGES[name]() for name in ("settings.md", "metrics.md", "commands.md"))
    assert all(f"`{name}`" in settings for name in Settings.model_fields)
    assert all(f"`{metric.name}`" in metrics for metric in METRICS)
    assert all(command.name in commands for command in COMMANDS if not command.internal)


def test_the_readme_names_the_commands_that_work() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("up", "test", "lint", "bench"):
        assert f"\n{target}: install\n" in makefile
        assert f"make {target}" in readme
