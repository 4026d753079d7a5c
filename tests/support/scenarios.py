"""A scenario's whole day on the cores: history, events and pulses, one partition, one judge."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from feeds.day import day_events
from feeds.history import prepare
from feeds.merging import FeedEvent
from feeds.outlet import Headers, MemoryOutlet
from rules.engine.correlate import CorrelateCore
from rules.engine.count import CountCore
from rules.engine.judge import JudgeCore
from rules.load import CATALOGUE, load_rules
from schemas.civil import day_start, parse_day
from schemas.reference_files import load_reference
from schemas.topics import ARRIVED, KIND, PULSE
from schemas.wire import Pulse, Transition
from tests.support.engine import ONE, Station, reborn

DAY = parse_day("2026-10-05")
DISTRICT = load_reference(Path(__file__).parents[2] / "examples" / "thanh-tri")
WATCHED = (6 * 60 + 30, 14 * 60)
"""From when to when (minute of the day) the day is played; later only heartbeats and people going home."""
EVERY = 60_000
"""Between pulses, ms."""

Record = tuple[bytes, Headers]


class Played:
    """The cores after the history; `play` leaves them as they are."""

    def __init__(self) -> None:
        self._before = Station()
        reference = DISTRICT.to_json()
        self._before.control(rules=load_rules(CATALOGUE), reference=reference)
        outlet = MemoryOutlet(partitions=1)
        steps = prepare(DISTRICT, outlet, _at(WATCHED[0]), 0, scenario="ordinary", seed=1)
        for _ in range(4):
            next(steps)
        for _, _, _, value, headers in outlet.records:
            self._before.tape.raw(value, headers)
        self._before.go()
        assert not self._before.steps

    def play(self, scenario: str) -> list[Transition]:
        """Every step of every alert of the day, as `correlate` tells it."""
        station = self._station()
        clock = _at(WATCHED[0])
        for event in _counted(day_events(DISTRICT, DAY, scenario)):
            while event.arrived >= clock:
                self._pulse(station, clock)
                clock += EVERY
                if clock > _at(WATCHED[1]):
                    assert not station.rejected
                    return station.steps
            station.tape.raw(event.value, [(ARRIVED, str(event.arrived).encode())])
        raise AssertionError("the day ends before it is over")

    def _station(self) -> Station:
        station, before = Station(), self._before
        position = before.counts[0].position
        station.tape.values = [None] * position
        station.tape.headers = [()] * position
        station.tape.stamps = [0] * position
        station._read = [position]
        station.panes = [b""] * before.judge.position
        station._told = before.correlate.position
        station.counts = [reborn(before.counts[0], lambda: CountCore(0, ONE))]
        station.judge = reborn(before.judge, lambda: JudgeCore(0, ONE))
        station.correlate = reborn(before.correlate, lambda: CorrelateCore(0, ONE))
        return station

    def _pulse(self, station: Station, clock: int) -> None:
        station.tape.raw(msgspec.json.encode(Pulse(clock, "data", EVERY)), [(KIND, PULSE)])
        station.go()


def _counted(events: Iterable[FeedEvent]) -> Iterable[FeedEvent]:
    """Without the gate, half of the day, which no rule of the catalogue reads."""
    return (event for event in events if b'"gate.passed"' not in event.value)


def _at(minute: int) -> int:
    return day_start(DAY) + minute * 60_000
