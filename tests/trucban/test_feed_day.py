"""`trucban up --feed day`: its child, and where it goes on after a kill."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from feeds.clock import Anchor
from feeds.outlet import Meta
from schemas.errors import SettingsError
from schemas.topics import META
from streams.producer import KafkaWriter
from streams.topics import ensure_topics
from tests.support.broker import BrokerProcess
from trucban.commands.feed import AHEAD_SECONDS, RunningClock, read_marker, resume_day, write_marker
from trucban.commands.up import arguments, metrics_port, names
from trucban.pulse import write_clock
from trucban.settings import make_settings

START = 1_791_158_700_000
"""2026-10-05 07:05 civil time."""


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


def test_the_feed_stands_still_while_nobody_tells_the_time(tmp_path: Path) -> None:
    """A clock that was told an hour ago, by a pulse process that has stopped: the feed waits."""
    broker = BrokerProcess(tmp_path / "broker")
    broker.start()
    try:
        ensure_topics(broker.address, 1)
        hour_ago = time.time_ns() // 1_000_000 - 3_600_000
        writer = KafkaWriter(broker.address)
        writer.send(META, None, msgspec.json.encode(Meta(clock=Anchor("demo", hour_ago, START, 10.0))))
        writer.flush()
        write_clock(tmp_path / "clock", START + 60_000)
        ahead = round(AHEAD_SECONDS * 10_000)
        assert RunningClock(broker.address, tmp_path / "clock").now() == START + 60_000 + ahead
        elsewhere = RunningClock(broker.address, tmp_path / "none")  # the pulse process is on another machine
        assert elsewhere.now() >= START + 36_000_000
    finally:
        broker.stop()
