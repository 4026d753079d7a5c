"""What happened before a simulated day's clock starts, up to the moment at which it may go."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from feeds.clock import parse_clock
from feeds.history import EVERY, prepare, tell_prepared
from feeds.outlet import MemoryOutlet, Meta, decode_meta
from schemas.civil import day_start, day_text, parse_day
from schemas.reference import Reference, SchoolClass, Unit
from schemas.topics import ARRIVED, KIND, META, PULSE
from schemas.wire import Pulse
from trucban.pulse import PulseSettings, held_start, write_clock

DAY = parse_day("2026-10-05")
START = day_start(DAY) + 425 * 60_000
BEFORE = ("2026-09-07", "2026-09-14", "2026-09-21", "2026-09-28")


def district() -> Reference:
    units = [Unit(code="C", name="Xã", kind="commune")]
    units += [Unit(code=f"S{n}", name="x", kind="school", parent="C", level="primary") for n in range(3)]
    classes = [
        SchoolClass(code=f"{c}A", school=f"S{n}", sessions=("morning", "afternoon"), enrolled=9)
        for n in range(3)
        for c in range(1, 8)
    ]
    return Reference.of(units, classes)


def steps(outlet: MemoryOutlet, prepared: int = 0) -> list[int]:
    return list(prepare(district(), outlet, START, prepared, scenario="ordinary", seed=1))


def pulses(outlet: MemoryOutlet, partition: int = 0) -> list[Pulse]:
    return [
        msgspec.json.decode(value, type=Pulse)
        for _, at, _, value, headers in outlet.records
        if at == partition and (KIND, PULSE) in headers
    ]


def days_of(records: Iterable[tuple[str, int, bytes | None, bytes, list[tuple[str, bytes]]]]) -> set[str]:
    return {json.loads(value)["data"].get("date", "") for _, _, key, value, _ in records if key}


def test_four_weeks_of_marks_and_the_early_morning_with_their_pulses() -> None:
    outlet = MemoryOutlet()
    ends = [day_start(parse_day(day) + 1) for day in BEFORE]
    assert steps(outlet) == [*ends, START]
    assert days_of(outlet.records) == {*BEFORE, day_text(DAY), ""}
    watched = [START - minute * EVERY for minute in range(35, -1, -1)]
    for partition in range(outlet.partitions):
        told = pulses(outlet, partition)
        assert [pulse.clock for pulse in told] == [*ends, *watched]
        assert {(pulse.mode, pulse.every) for pulse in told} == {("demo", EVERY)}


def test_nothing_is_sent_before_its_time_nor_after_the_start() -> None:
    outlet = MemoryOutlet()
    steps(outlet)
    clock, arrivals = [0, 0], []
    for _, partition, _, value, headers in outlet.records:
        arrived = int(dict(headers)[ARRIVED])
        if (KIND, PULSE) in headers:
            clock[partition] = msgspec.json.decode(value, type=Pulse).clock
        else:
            assert arrived >= clock[partition]
            arrivals.append(arrived)
    assert arrivals == sorted(arrivals)
    assert arrivals[-1] <= START


def test_a_feed_that_was_killed_goes_on_where_it_was_cut_off() -> None:
    whole, cut = MemoryOutlet(), MemoryOutlet()
    done = next(prepare(district(), whole, START, 0, scenario="ordinary", seed=1))
    assert steps(cut, done) == steps(whole)[1:]
    assert BEFORE[0] not in days_of(cut.records)
    assert steps(MemoryOutlet(), START) == []


def test_the_next_life_knows_how_far_it_has_come() -> None:
    outlet = MemoryOutlet()
    tell_prepared(outlet, 5)
    topic, _, _, value, _ = outlet.records[-1]
    assert topic == META
    assert Meta(hold=9, published={"rules": "x"}).then(decode_meta(value)) == Meta(
        hold=9, published={"rules": "x"}, prepared=5
    )


# --- the clock that waits for it ------------------------------------------------------------------


def pulse_settings(tmp_path: Path, clock: str, *, fed: bool = True) -> PulseSettings:
    return PulseSettings(
        "b:1",
        2,
        parse_clock(clock),
        tmp_path,
        None,
        tmp_path / "clock",
        tmp_path / "ready",
        tmp_path / "rules.json",
        fed,
    )


DATED = "2026-10-05T07:05@10"


@pytest.mark.parametrize(
    ("clock", "fed", "meta", "expected"),
    [
        (DATED, True, Meta(), START),
        (DATED, True, Meta(hold=START, prepared=START - 1), START),
        (DATED, True, Meta(hold=START, prepared=START), None),
        ("07:05@10", True, Meta(hold=START), START),  # also after midnight, and on another day
        (DATED, False, Meta(), None),
        ("wall", True, Meta(), None),
        ("data", True, Meta(), None),
    ],
)
def test_a_fed_demo_waits_until_what_was_before_is_prepared(
    tmp_path: Path, clock: str, fed: bool, meta: Meta, expected: int | None
) -> None:
    assert held_start(pulse_settings(tmp_path, clock, fed=fed), meta) == expected


def test_a_clock_that_has_begun_to_go_never_waits_again(tmp_path: Path) -> None:
    settings = pulse_settings(tmp_path, DATED)
    write_clock(settings.clock_file, START + 5)
    assert held_start(settings, Meta()) is None
