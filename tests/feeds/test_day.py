"""The simulated day and the example district it runs in."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.day import FeedEvent, day_events, history_days, history_events
from feeds.merging import Part, in_order
from feeds.outlet import MemoryOutlet
from feeds.pace import send_paced
from feeds.scenarios import CATCH_UP, SCENARIOS, schools_on
from schemas.civil import day_start, day_text, parse_day
from schemas.errors import SettingsError
from schemas.reference import Reference, SchoolClass, Unit
from schemas.reference_files import load_reference
from schemas.validate import Event, validate

ROOT = Path(__file__).parents[2]
DAY = parse_day("2026-11-24")


@lru_cache
def district() -> Reference:
    return load_reference(ROOT / "examples" / "thanh-tri")


@lru_cache
def ordinary() -> tuple[FeedEvent, ...]:
    return tuple(day_events(district(), DAY))


def small(schools: int = 3) -> Reference:
    units = [Unit(code="00679", name="Xã", kind="commune")]
    classes = []
    for n in range(schools):
        school = f"S{n}"
        units.append(
            Unit(
                code=school, name=school, kind="school", parent="00679", level="primary",
                vendor=("hocba", "anlanh")[n % 2], kitchen="b1",
            )
        )  # fmt: skip
        classes.append(SchoolClass(code="1A", school=school, sessions=("morning", "afternoon"), enrolled=9))
    return Reference.of(units, classes)


def test_the_district_loads_with_the_stated_sizes() -> None:
    reference = district()
    schools = schools_on(reference, DAY)
    classes = [entry for entry in reference.classes if entry.holds(DAY)]
    communes = {u.code for u in reference.units if u.kind == "commune" and u.holds(DAY)}
    assert communes == {"00640", "00643", "00664", "00679", "00685"}
    assert (len(schools), len(classes), sum(c.enrolled for c in classes)) == (100, 2103, 70238)
    assert Counter(unit.vendor for unit in schools.values())["hocba"] == 40
    assert Counter(unit.level for unit in schools.values()) == {
        "preschool": 36, "primary": 36, "lower_secondary": 28
    }  # fmt: skip
    assert all(unit.kitchen for unit in schools.values())
    before = [u for u in reference.units if u.parent == "020" and u.holds(parse_day("2025-06-30"))]
    assert len(before) == 16


def test_deadlines_differ_by_level_and_session() -> None:
    calendar = district().calendar
    assert calendar.deadline("primary", "morning") == 8 * 60 + 15
    assert calendar.deadline("preschool", "full_day") == 8 * 60 + 45
    assert calendar.deadline("primary", "afternoon") == 13 * 60 + 45
    assert calendar.deadline("upper_secondary", "morning") is None


@pytest.mark.parametrize("date", ["2027-02-06", "2027-01-01", "2027-04-30", "2026-11-22"])
def test_days_off(date: str) -> None:
    assert not district().is_school_day(parse_day(date), "primary")


def test_a_school_moves_at_midnight_and_a_class_is_closed() -> None:
    before, after = parse_day("2026-10-31"), parse_day("2026-11-01")
    school = "TT-TH-07"
    assert [schools_on(district(), day)[school].parent for day in (before, after)] == ["00664", "00640"]
    closed = next(c for c in district().classes if (c.school, c.code) == ("TT-TH-02", "5E"))
    assert [closed.holds(day) for day in (before, after)] == [True, False]


def test_the_days_volume_and_types() -> None:
    kinds = Counter(json.loads(event.value)["type"] for event in ordinary())
    assert 120_000 < kinds["attendance.marked"] < 122_000
    assert kinds["source.heartbeat"] == 28_800
    assert 315_000 < kinds.total() < 325_000
    assert len(kinds) == 11


def test_a_whole_day_is_valid_ordered_and_without_repeated_ids() -> None:
    seen = {json.loads(event.value)["id"] for event in ordinary()}
    assert len(seen) == len(ordinary())
    for event in ordinary()[::7]:  # all of them take most of a minute
        outcome = validate(event.value, event.arrived)
        assert isinstance(outcome, Event), outcome
        assert outcome.time == event.time
    assert all(a.arrived <= b.arrived for a, b in itertools.pairwise(ordinary()))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(DAY - 60, DAY + 60), st.sampled_from(sorted(SCENARIOS)))
def test_any_day_is_determined_valid_and_in_order(seed: int, day: int, scenario: str) -> None:
    events = list(day_events(small(), day, scenario, seed))
    assert events == list(day_events(small(), day, scenario, seed))
    assert all(a.arrived <= b.arrived for a, b in itertools.pairwise(events))
    assert all(isinstance(validate(event.value, event.arrived), Event) for event in events)


def test_history_is_the_same_weekdays_before() -> None:
    days = history_days(DAY)
    assert [day_text(day) for day in days] == ["2026-10-27", "2026-11-03", "2026-11-10", "2026-11-17"]
    assert dt.date(2026, 11, 17).weekday() == dt.date(2026, 11, 24).weekday()
    for day in days:
        dates = Counter(json.loads(event.value)["data"]["date"] for event in history_events(small(), day))
        assert dates == {day_text(day): 54}


def test_nothing_at_all_comes_from_a_silent_vendors_schools() -> None:
    start = day_start(DAY)
    first, last = (start + minute * 60_000 for minute in SCENARIOS["silent-vendor"].silent)
    events = [e for e in day_events(small(), DAY, "silent-vendor") if e.school == "S0"]
    ordinary = [e for e in day_events(small(), DAY) if e.school == "S0"]
    assert not [event for event in events if first <= event.arrived < last]
    beats = [b"heartbeat" in event.value for event in ordinary if first <= event.time < last].count(True)
    assert {e.value for e in ordinary} - {e.value for e in events} == {
        e.value for e in ordinary if b"heartbeat" in e.value and first <= e.time < last
    }
    assert beats == 12


def test_what_waited_comes_soon_after_in_its_order_and_with_its_own_time() -> None:
    last = day_start(DAY) + SCENARIOS["silent-vendor"].silent[1] * 60_000
    late = [e for e in day_events(small(), DAY, "silent-vendor") if e.arrived != e.time]
    assert late
    assert {event.school for event in late} == {"S0", "S2"}
    assert all(event.arrived - event.time > 0 for event in late)
    assert all(last <= event.arrived < last + CATCH_UP * 60_000 for event in late)
    marks = [e for e in late if e.school == "S0" and b"attendance.marked" in e.value]
    assert [e.time for e in marks] == sorted(e.time for e in marks)


def test_a_city_needs_no_more_memory_than_its_busiest_minutes() -> None:
    """Of 200 schools no more is planned ahead than parts that have begun."""
    city = small(200)
    began: list[str] = []
    parts = [
        Part(part.begin, partial(_noted, part, began))
        for school in ("S0", "S1", "S2")
        for part in [Part(day_start(DAY) + int(school[1]) * 3_600_000, partial(one_event, school))]
    ]
    events = in_order(parts)
    assert next(events).school == "S0"
    assert len(began) == 1
    assert [event.school for event in events] == ["S1", "S2"]
    assert sum(1 for _ in day_events(city, DAY)) > 200 * 300


def one_event(school: str) -> Iterator[FeedEvent]:
    at = day_start(DAY) + int(school[1]) * 3_600_000
    yield FeedEvent(at, school, b"{}", at)


def _noted(part: Part, began: list[str]) -> Iterator[FeedEvent]:
    for event in part.events():
        began.append(event.school)
        yield event


def test_late_rolls_are_closed_after_their_deadline() -> None:
    late = {
        event.school
        for event in day_events(district(), DAY, "late-rolls")
        if b"class_closed" in event.value
        and b'"session":"morning"' in event.value
        and json.loads(event.value)["time"][11:16] >= "08:15"
    }
    assert late == {"TT-TH-03", "TT-TH-11", "TT-THCS-05"}


def test_an_unknown_scenario_is_told_with_the_nearest() -> None:
    with pytest.raises(SettingsError) as caught:
        day_events(small(), DAY, "flue")
    assert str(caught.value) == 'there is no scenario "flue"; did you mean "flu"?'


def test_a_day_begun_again_sends_the_same_records() -> None:
    events = list(day_events(small(), DAY))
    first, second = MemoryOutlet(), MemoryOutlet()
    clock = iter(itertools.count(events[0].time, 60_000))
    assert send_paced(events, first, lambda: next(clock), lambda _: True) == len(events)
    send_paced(events, second, lambda: 2**62, lambda _: True)
    assert first.records == second.records


def test_a_stopped_feed_has_sent_only_what_was_due() -> None:
    events = list(day_events(small(), DAY))
    noon = events[0].time + 3_600_000
    sent = send_paced(events, MemoryOutlet(), lambda: noon, lambda _: False)
    assert sent == sum(event.time <= noon for event in events)
