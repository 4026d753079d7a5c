"""What must come by a time of the school day: from the roster alone, on complete input, once."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from rules.engine.expected import in_order, listed
from rules.engine.judge import JudgeCore
from schemas.reference import Calendar, DayOff, Reference, SchoolClass, Unit
from schemas.wire import CoreOptions, LogBatch, RuleFile, Transition
from tests.support.engine import MINUTE, MONDAY, Station, at, organisation, rule, school_of

SINCE = dt.date(2020, 1, 1)
TABLE = '{default: "08:15", preschool: "08:45", afternoon: "13:45", preschool afternoon: "14:15"}'


def roll(by: str = '"08:15"', group: str = "[school, session]", **more: str) -> RuleFile:
    body = (
        f"expect: {{every: class, event: attendance.marked, by: {by}, on: school_day}}\ngroup_by: {group}\n"
    )
    document = rule("roll", body + "".join(f"{key}: {value}\n" for key, value in more.items()))
    text = document.text.replace('message: {vi: "x"', 'message: {vi: "{missing}/{expected}: {missing:list}"')
    return RuleFile(document.path, text)


def report(by: str = '"16:30"') -> RuleFile:
    return rule(
        "report", f"expect: {{every: school, event: attendance.day_reported, by: {by}}}\ngroup_by: [school]\n"
    )


def unit(code: str, level: Any = "primary", **more: Any) -> Unit:
    return Unit(code=code, name=code, kind="school", level=level, **({"valid_from": SINCE} | more))


def classes(school: str, *codes: str, sessions: Any = ("morning",), **more: Any) -> list[SchoolClass]:
    parts = {"valid_from": SINCE} | more
    return [SchoolClass(code=c, school=school, sessions=sessions, enrolled=9, **parts) for c in codes]


@pytest.fixture(params=[False, True], ids=["through", "restored after every record"])
def station(request: pytest.FixtureRequest) -> Station:
    return Station(restarts=request.param)


def begin(station: Station, *rules: RuleFile, reference: Reference, when: str = "08:00") -> None:
    station.control(rules=[*rules], reference=reference)
    station.pulse(at(when))


def fired(station: Station) -> list[tuple[str, ...]]:
    return [tuple(step.group.values()) for step in station.steps if step.state == "firing"]


def test_one_alert_for_each_school_lists_the_classes_that_are_missing(station: Station) -> None:
    reference = Reference.of([unit("A"), unit("B")], [*classes("A", "10A", "9A", "9B"), *classes("B", "1A")])
    begin(station, roll(), reference=reference)
    station.tape.mark("A", "P1", "present", at("08:10"), class_="9B")
    station.tape.mark("B", "P2", "present", at("08:10"))
    station.pulse(at("08:16"))
    assert station.life() == ["08:15:00 firing missing"]
    (step,) = station.steps
    assert step.group == {"school": "A", "session": "morning"}
    assert step.measures == {"expected": 3, "missing": 2}
    assert step.text["vi"] == "2/3: 9A, 10A"
    assert step.limits == {"by": "08:15"}
    assert step.window_start == at("00:00")


def test_it_ends_when_the_last_class_has_come(station: Station) -> None:
    begin(station, roll(), reference=Reference.of([unit("A")], classes("A", "1A", "1B")))
    station.pulse(at("08:16"))
    station.tape.mark("A", "P1", "present", at("08:20"), class_="1A")
    station.pulse(at("08:21"))
    station.tape.mark("A", "P2", "present", at("08:30"), class_="1B")
    station.pulse(at("08:31"))
    station.pulse(at("12:00", MONDAY + 1))
    assert station.life()[:2] == ["08:15:00 firing missing", "08:31:00 resolved event_seen"]
    assert station.steps[1].measures == {"expected": 2, "missing": 0}
    assert station.life()[2:] == ["+1d 08:15:00 firing missing"]


def test_it_ends_with_its_day(station: Station) -> None:
    begin(station, roll(), reference=organisation(["A"]))
    station.pulse(at("08:16"))
    station.pulse(at("00:01", MONDAY + 1))
    assert station.life() == ["08:15:00 firing missing", "+1d 00:00:00 resolved window_ended"]


def test_a_school_never_seen_is_missing_on_whichever_judge_owns_it() -> None:
    schools = [f"S{n}" for n in range(40)]
    station = Station(partitions=4)
    station.control(rules=[report()], reference=organisation(schools))
    judges = [JudgeCore(number, CoreOptions(4, 3)) for number in range(3)]
    for core in station.counts:
        core.options.judge_partitions = 3
    station.pulse(at("16:00"))
    station.pulse(at("16:31"))
    for position, value in enumerate(station.panes):  # all panes are empty but for their clocks
        for judge in judges:
            judge.apply(LogBatch(0, [position], [None], [value], [()], [0]))
    owned = [{key[1][0] for key in judge.alerts} for judge in judges]
    assert sorted(school for part in owned for school in part) == sorted(schools)
    assert all(owned)


def test_deadlines_by_level_and_session(station: Station) -> None:
    both = ("morning", "afternoon")
    reference = Reference.of(
        [unit("MN", "preschool"), unit("TH")],
        [*classes("MN", "Mầm", sessions=both), *classes("TH", "1A", sessions=both)],
    )
    begin(station, roll(TABLE), reference=reference)
    station.pulses(at("08:01"), at("14:30"))
    assert [(step.group["school"], step.group["session"], life[:5]) for step, life in lives(station)] == [
        ("TH", "morning", "08:15"),
        ("MN", "morning", "08:45"),
        ("TH", "afternoon", "13:45"),
        ("MN", "afternoon", "14:15"),
    ]


def lives(station: Station) -> list[tuple[Transition, str]]:
    return list(zip(station.steps, station.life(), strict=True))


def test_without_a_default_others_are_not_concerned(station: Station) -> None:
    reference = Reference.of(
        [unit("MN", "preschool"), unit("TH")], [*classes("MN", "M"), *classes("TH", "1A")]
    )
    begin(station, roll('{preschool: "08:45"}'), reference=reference)
    station.pulse(at("09:00"))
    assert fired(station) == [("MN", "morning")]


def test_only_on_school_days_of_its_level(station: Station) -> None:
    off = DayOff.model_validate(
        {"from": dt.date(2026, 9, 7), "to": dt.date(2026, 9, 7), "levels": ("primary",)}
    )
    reference = Reference.of(
        [unit("MN", "preschool"), unit("TH")],
        [*classes("MN", "M"), *classes("TH", "1A")],
        Calendar(closures=(off,)),
    )
    begin(station, roll(), reference=reference)
    station.pulse(at("09:00"))
    assert fired(station) == [("MN", "morning")]


def test_not_of_classes_and_schools_that_are_not_valid_that_day(station: Station) -> None:
    later = dt.date(2026, 9, 8)
    reference = Reference.of(
        [unit("A"), unit("B", valid_from=later)],
        [*classes("A", "1A"), *classes("A", "1B", valid_from=later), *classes("B", "1A", valid_from=later)],
    )
    begin(station, roll(), reference=reference)
    station.pulse(at("09:00"))
    assert [(step.group["school"], step.measures["expected"]) for step in station.steps] == [("A", 1)]
    station.pulse(at("08:00", MONDAY + 1))
    station.pulse(at("09:00", MONDAY + 1))
    assert [(step.group["school"], step.measures["expected"]) for step in station.steps[2:]] == [
        ("A", 2),
        ("B", 1),
    ]


def test_only_pulses_say_that_the_deadline_has_passed() -> None:
    first, second = school_of(0, 2), school_of(1, 2)
    station = Station(partitions=2)
    begin(station, roll(), reference=organisation([first, second]))
    station.tapes[0].heartbeat(first, at("09:00"))
    station.tapes[1].pulse(at("09:00"))
    station.go()
    assert fired(station) == [(second, "morning")]  # the clock of the other's partition stands still


def test_the_watermark_stays_behind_the_pulse(station: Station) -> None:
    begin(station, roll(), reference=organisation(["A"]))
    station.pulse(at("08:15:04"))
    assert station.life() == []  # marks come up to five seconds late
    station.pulse(at("08:15:05"))
    assert station.life() == ["08:15:00 firing missing"]


def test_a_deadline_that_passed_before_the_rule_came_is_not_judged(station: Station) -> None:
    begin(station, roll(), reference=organisation(["A"]), when="08:20")
    station.pulse(at("10:00"))
    assert station.life() == []


@pytest.mark.parametrize(("down", "judged"), [("08:10", "08:45:00"), ("07:00", "09:10:00")])
def test_promise_5_an_outage_of_ours_puts_the_deadline_off(station: Station, down: str, judged: str) -> None:
    station.control(rules=[roll()], reference=organisation(["A", "B"]))
    station.pulses(at("06:58"), at(down), every=MINUTE)
    station.pulse(at("08:40"), every=MINUTE)
    station.tape.mark("A", "P", "present", at("08:12"), arrives=at("08:40"))
    station.pulses(at("08:41"), at("09:20"), every=MINUTE)
    assert station.life() == [f"{judged} firing missing"]
    assert fired(station) == [("B", "morning")]


def test_another_roster_ends_what_it_does_not_miss(station: Station) -> None:
    begin(station, roll(), reference=Reference.of([unit("A")], classes("A", "1A", "1B")))
    station.tape.mark("A", "P", "present", at("08:10"))
    station.pulse(at("08:20"))
    station.control(reference=Reference.of([unit("A")], classes("A", "1A")))
    assert station.life() == ["08:15:00 firing missing", "08:20:00 resolved roster_changed"]


def test_a_live_alert_goes_on_under_another_roster_that_still_misses_it(station: Station) -> None:
    begin(station, roll(), reference=Reference.of([unit("A")], classes("A", "1A", "1B")))
    station.pulse(at("08:20"))
    station.control(reference=Reference.of([unit("A")], classes("A", "1A")))
    station.pulse(at("00:01", MONDAY + 1))
    assert station.life() == ["08:15:00 firing missing", "+1d 00:00:00 resolved window_ended"]


def test_a_changed_or_removed_rule(station: Station) -> None:
    begin(station, roll(), reference=organisation(["A"]))
    station.pulse(at("08:20"))
    station.control(rules=[roll(group="[school, session, class]")])
    station.control(rules=[])
    assert station.life() == ["08:15:00 firing missing", "08:20:00 resolved rule_changed"]


def test_one_alert_for_each_class(station: Station) -> None:
    begin(
        station, roll(group="[school, session, class]"),
        reference=Reference.of([unit("A")], classes("A", "1A", "1B")),
    )  # fmt: skip
    station.tape.mark("A", "P", "present", at("08:10"))
    station.pulse(at("08:20"))
    assert fired(station) == [("A", "morning", "1B")]


def test_a_list_is_bounded_and_in_the_order_of_people() -> None:
    assert listed([]) == ""
    assert listed([f"{n}A" for n in range(1, 13)]) == "1A, 2A, 3A, 4A, 5A, 6A, 7A, 8A, 9A, 10A, … (+2)"
    assert sorted(["10A", "9B", "9A", "Mầm"], key=in_order) == ["Mầm", "9A", "9B", "10A"]
