"""`trucban up --feed day`: its child, and where it goes on after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import SettingsError
from trucban.commands.feed import read_marker, resume_day, write_marker
from trucban.commands.up import arguments, metrics_port, names
from trucban.settings import make_settings


def test_the_feed_is_a_child_with_its_scenario(tmp_path: Path) -> None:
    chosen = make_settings(
        {"data_dir": tmp_path, "feed": "day", "reference": tmp_path, "scenario": "flu", "seed": 7}
    )
    assert "feed" in names(chosen)
    assert metrics_port(chosen, "feed") == 8608
    line = " ".join(arguments(chosen, "feed"))
    assert "--scenario flu" in line
    assert "--seed 7" in line


def test_a_wrong_scenario_is_told() -> None:
    with pytest.raises(SettingsError) as caught:
        make_settings({"scenario": "flue"})
    assert str(caught.value) == (
        "setting scenario (--scenario, TRUCBAN_SCENARIO): wrong value 'flue': "
        'there is no scenario "flue"; did you mean "flu"?'
    )


def test_a_day_cut_off_at_midnight_is_sent_again(tmp_path: Path) -> None:
    marker = tmp_path / "feed.day"
    assert read_marker(marker) is None
    write_marker(marker, 99)
    assert [resume_day(today, read_marker(marker)) for today in (99, 100, 101)] == [99, 99, 101]
