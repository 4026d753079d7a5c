"""Lives of alerts: each path, with the cores as they are and with every core restored after every record."""

from __future__ import annotations

import datetime as dt
import itertools
import random
from typing import Any

import msgspec
import pytest

from rules.engine.life import LIVE, NEXT
from schemas.civil import DAY_MS
from schemas.reference import Calendar, DayOff
from schemas.topics import AGGREGATES, PANES
from schemas.wire import Aggregate, LogBatch, PanesRecord
from tests.support.engine import MINUTE, MONDAY, Station, at, clock_of, organisation, rule, school_of

ABSENT, HERE, LATE = "absent_unexcused", "present", "late"

DAY = """\
from: attendance.day_reported
group_by: [school]
window: 1 school_day
measures:
  enrolled: sum(enrolled)
  absent: sum(absent)
  rate: absent / enrolled
"""
MARKS = """\
from: attendance.marked
group_by: [school]
window: 1 school_day
measures:
  marked: count(*)
  absent: count(*) filter (where status = 'absent_unexcused')
  rate: absent / marked
"""
SILENT = """\
from: source.heartbeat
group_by: [school]
silence: 15m
"""


@pytest.fixture(params=[False, True], ids=["through", "restored after every record"])
def station(request: pytest.FixtureRequest) -> Station:
    return Station(restarts=request.param)


def start(station: Station, *rules: Any, schools: tuple[str, ...] = ("A", "B"), **more: Any) -> None:
    station.control(rules=[*rules], reference=organisation(schools, **more))


def marks(station: Station, when: int, absent: int, present: int = 0, *, day: int = MONDAY) -> None:
    for number in range(absent):
        station.tape.mark("A", f"V{number}", ABSENT, when, day=day)
    for number in range(present):
        station.tape.mark("A", f"P{number}", HERE, when, day=day)


# --- begin ----------------------------------------------------------------------------------------


def test_promise_5_what_more_input_can_only_make_truer_fires_at_once(station: Station) -> None:
    start(station, rule("r", DAY + "when: absent >= 5\n"))
    station.tape.report("A", 4, at("07:00"))
    station.tape.report("B", 5, at("07:00"))
    station.pulse(at("07:01"))
    assert station.life() == ["07:01:00 firing condition_met"]
    (step,) = station.steps
    assert (step.group, step.ordinal, step.rule, step.severity) == ({"school": "B"}, 1, "r", "P2")
    assert (step.window_start, step.window_end) == (at("00:00"), at("00:00", MONDAY + 1))
    assert step.measures == {"enrolled": 100.0, "absent": 5.0, "rate": 0.05}
    assert step.event_ids == ["e0-1"]
    assert step.limits == {"when": "absent >= 5"}
    assert step.positions == {"0": len(station.tape.values)}
    assert step.decided_at == at("07:01")


def test_promise_6_for_is_a_due_instant_of_the_log(station: Station) -> None:
    start(station, rule("r", DAY + "when: absent >= 5\nfor: 5m\n"))
    station.tape.report("A", 5, at("07:00"))
    station.pulse(at("07:01"))
    station.pulse(at("07:05"))
    assert station.life() == ["07:01:00 pending condition_met"]
    station.pulse(at("09:00"))
    assert station.life()[1:] == ["07:06:00 firing held"]
    assert station.steps[1].decided_at == at("09:00")


def test_what_ends_before_its_time_was_nothing(station: Station) -> None:
    start(station, rule("r", DAY + "when: absent >= 5\nfor: 5m\n"))
    station.tape.report("A", 5, at("07:00"))
    station.pulse(at("07:01"))
    station.tape.report("A", 4, at("07:02"))
    station.pulses(at("07:03"), at("07:20"))
    assert station.life() == ["07:01:00 pending condition_met", "07:03:00 inactive condition_ended"]


def test_promise_5_a_falling_ratio_waits_until_its_condition_of_completeness(station: Station) -> None:
    start(station, rule("r", MARKS + "when: rate > 0.3\ncomplete: marked >= 6\n"))
    marks(station, at("07:00"), absent=5)
    station.pulse(at("07:01"))
    assert station.life() == []
    marks(station, at("07:02"), absent=0, present=1)
    station.pulse(at("07:03"))
    assert station.life() == ["07:03:00 firing condition_met"]


def test_promise_5_a_falling_ratio_waits_for_its_share_of_the_roster(station: Station) -> None:
    start(station, rule("r", MARKS + "when: rate > 0.3\ncomplete: 60% of roster\n"), pupils=10)
    marks(station, at("07:00"), absent=5)
    station.pulse(at("07:01"))
    assert station.life() == []
    marks(station, at("07:02"), absent=0, present=1)
    station.pulse(at("07:03"))
    assert station.life() == ["07:03:00 firing condition_met"]


def test_promise_5_without_completeness_a_ratio_is_judged_at_the_close_of_its_window(
    station: Station,
) -> None:
    start(station, rule("r", MARKS + "when: rate > 0.3\n"))
    marks(station, at("07:00"), absent=5)
    station.pulse(at("00:00:04", MONDAY + 1))
    assert station.life() == []
    station.pulse(at("00:00:05", MONDAY + 1))  # the watermark is five seconds behind
    assert station.life() == ["+1d 00:00:05 firing condition_met"]


def test_promise_5_a_group_of_several_partitions_waits_for_all_of_them() -> None:
    station = Station(partitions=2)
    schools = (school_of(0, 2), school_of(1, 2))
    body = MARKS.replace("[school]", "[commune]") + "when: rate > 0.3\ncomplete: marked >= 1\n"
    start(station, rule("r", body), schools=schools)
    for tape, school in zip(station.tapes, schools, strict=True):
        for number in range(4):
            tape.mark(school, f"P{number}", ABSENT, at("07:00"))
    station.pulse(at("07:01"))
    station.tapes[0].pulse(at("08:00", MONDAY + 1))
    station.go()
    assert station.life() == []
    station.pulse(at("08:00", MONDAY + 1))
    assert station.life() == ["+1d 08:00:00 firing condition_met"]
    assert station.steps[0].measures["marked"] == 8
    assert sorted(station.steps[0].positions) == ["0", "1"]


def test_a_day_without_school_is_not_judged(station: Station) -> None:
    off = DayOff.model_validate(
        {"name": "Bão", "from": dt.date(2026, 9, 7), "to": dt.date(2026, 9, 7), "units": ("C1",)}
    )
    rules = (
        rule("r", DAY + "when: absent >= 5\n"),
        rule("all", DAY.replace("[school]", "[commune]") + "when: absent >= 5\n"),
    )
    start(station, *rules, calendar=Calendar(closures=(off,)))
    station.tape.report("A", 9, at("07:00"))
    station.pulse(at("07:01"))
    station.tape.report("A", 9, at("07:00", MONDAY + 5), day=MONDAY + 5)  # a Saturday
    station.pulse(at("07:01", MONDAY + 5))
    assert station.life() == []
    assert {(row.rule, row.measures["absent"]) for row in station.aggregates} == {("r", 9.0), ("all", 9.0)}


# --- end ------------------------------------------------------------------------------------------


def test_promise_5_recovery_waits_for_complete_input(station: Station) -> None:
    start(station, rule("r", MARKS + "when: absent >= 3\nrecover: rate < 0.2\n"))
    marks(station, at("07:00"), absent=3)
    station.pulse(at("07:01"))
    marks(station, at("07:02"), absent=0, present=20)
    station.pulse(at("07:02:00"))
    assert station.life() == ["07:01:00 firing condition_met", "07:02:00 recovering recovered"]
    station.pulse(at("07:02:04"))
    station.pulse(at("07:02:10"))
    assert station.life()[2:] == ["07:02:00 resolved recovered"]
    assert station.steps[2].decided_at == at("07:02:10")


def test_a_recovery_that_does_not_last(station: Station) -> None:
    start(station, rule("r", MARKS + "when: absent >= 3\nrecover: rate < 0.2\n"))
    marks(station, at("07:00"), absent=3)
    station.pulse(at("07:01"))
    marks(station, at("07:02"), absent=0, present=20)
    station.pulse(at("07:02"))
    marks(station, at("07:02:03"), absent=12)
    station.pulses(at("07:02:03"), at("07:05"))
    assert station.life()[1:] == ["07:02:00 recovering recovered", "07:02:03 firing recovery_ended"]


def test_promise_7_at_the_close_of_its_window_an_alert_ends(station: Station) -> None:
    start(station, rule("r", DAY + "when: absent >= 5\n"))
    station.tape.report("A", 5, at("07:00"))
    station.pulse(at("07:01"))
    station.pulse(at("23:59:59", MONDAY + 1))
    assert len(station.steps) == 1
    station.pulse(at("07:00", MONDAY + 2))
    assert station.life()[1:] == ["+2d 00:00:00 resolved window_ended"]
    station.tape.report("A", 50, at("08:00", MONDAY + 2))
    station.pulses(at("09:00", MONDAY + 2), at("12:00", MONDAY + 2), 60 * MINUTE)
    assert len(station.steps) == 2
    assert station.aggregates[-1].measures["absent"] == 50


def test_promise_7_retracted_if_the_correction_is_to_what_came_before_the_alert(station: Station) -> None:
    start(station, rule("r", MARKS + "when: absent >= 3\n"))
    marks(station, at("07:00"), absent=3)
    station.pulse(at("07:01"))
    station.tape.correct("A", "V0", HERE, at("07:05"))
    station.pulse(at("07:06"))
    assert station.life() == ["07:01:00 firing condition_met", "07:06:00 retracted corrected"]
    assert station.steps[1].measures["absent"] == 2
    assert station.steps[1].event_ids == ["e0-1", "e0-2"]


def test_promise_7_resolved_if_what_came_after_the_alert_was_enough(station: Station) -> None:
    start(station, rule("r", MARKS + "when: rate > 0.5\ncomplete: marked >= 4\n"))
    marks(station, at("07:00"), absent=3, present=1)
    station.pulse(at("07:01"))
    marks(station, at("07:02"), absent=0, present=9)
    station.pulse(at("07:03"))
    station.pulse(at("07:04"))
    assert station.life()[1:] == ["07:03:00 recovering recovered", "07:03:00 resolved recovered"]


def test_a_correction_to_what_came_after_the_alert_retracts_nothing(station: Station) -> None:
    start(station, rule("r", MARKS + "when: absent >= 3\n"))
    marks(station, at("07:00"), absent=3)
    station.pulse(at("07:01"))
    station.tape.mark("A", "W", ABSENT, at("07:02"))
    station.pulse(at("07:03"))
    station.tape.correct("A", "W", HERE, at("07:05"))
    station.pulse(at("07:06"))
    assert station.life() == ["07:01:00 firing condition_met"]


def test_promise_7_firing_again_in_the_same_window_is_a_new_alert(station: Station) -> None:
    start(station, rule("r", MARKS + "when: absent >= 3\n"))
    marks(station, at("07:00"), absent=3)
    station.pulse(at("07:01"))
    station.tape.mark("A", "V0", LATE, at("07:05"))
    station.pulse(at("07:06"))
    station.tape.mark("A", "V9", ABSENT, at("07:07"))
    station.pulse(at("07:08"))
    assert [step.state for step in station.steps] == ["firing", "retracted", "firing"]
    assert len({step.alert for step in station.steps}) == 2
    assert [step.ordinal for step in station.steps] == [1, 2, 1]
    assert len({step.id for step in station.steps}) == 3


# --- silence --------------------------------------------------------------------------------------


def pulses(station: Station, first: int, last: int) -> None:
    """Pulses that promise to come each minute."""
    for when in range(first, last + 1, MINUTE):
        for tape in station.tapes:
            tape.pulse(when, "data", MINUTE)
        station.go()


def test_silence_and_its_end(station: Station) -> None:
    start(station, rule("r", SILENT))
    pulses(station, at("06:58"), at("07:00"))
    station.tape.heartbeat("A", at("07:00:30"))
    pulses(station, at("07:01"), at("07:15"))
    assert station.life() == []
    pulses(station, at("07:16"), at("07:30"))
    assert station.life() == ["07:15:30 firing silent"]
    station.tape.heartbeat("A", at("07:30:10"))
    pulses(station, at("07:31"), at("07:50"))
    assert station.life()[1:] == ["07:30:10 resolved event_seen", "07:45:10 firing silent"]
    assert station.steps[0].alert != station.steps[2].alert


@pytest.mark.parametrize("outage", [10, 14, 20, 300])
def test_promise_5_an_outage_of_pulses_makes_nobody_silent(station: Station, outage: int) -> None:
    start(station, rule("r", SILENT))
    pulses(station, at("06:50"), at("07:00"))
    station.tape.heartbeat("A", at("07:00:30"))
    pulses(station, at("07:01"), at("07:05"))
    back = at("07:05") + outage * MINUTE
    pulses(station, back, back + 10 * MINUTE)
    assert station.life() == []
    pulses(station, back + 11 * MINUTE, back + 20 * MINUTE)
    assert station.life() == [f"{clock_of(at('07:15:30') + outage * MINUTE)} firing silent"]


def test_promise_5_time_before_the_first_pulse_makes_nobody_silent(station: Station) -> None:
    start(station, rule("r", SILENT))
    station.tape.heartbeat("A", at("05:00"))
    pulses(station, at("07:00"), at("07:14"))
    assert station.life() == []
    pulses(station, at("07:15"), at("07:16"))
    assert station.life() == ["07:15:00 firing silent"]


def test_a_longer_silence_is_judged_again(station: Station) -> None:
    start(station, rule("r", SILENT))
    pulses(station, at("06:50"), at("07:00"))
    station.tape.heartbeat("A", at("07:00"))
    pulses(station, at("07:01"), at("07:20"))
    station.control(rules=[rule("r", SILENT.replace("15m", "30m"))])
    pulses(station, at("07:21"), at("07:40"))
    assert station.life() == [
        "07:15:00 firing silent",
        "07:20:00 resolved rule_changed",
        "07:30:00 firing silent",
    ]
    assert len({step.alert for step in station.steps}) == 2


# --- rules that change (promise 13 and 7) ---------------------------------------------------------

BEFORE = rule("r", DAY + "when: absent >= 5\n")


def fired(station: Station, first: Any = BEFORE) -> None:
    start(station, first)
    station.tape.report("A", 5, at("07:00"))
    station.pulse(at("07:01"))
    assert station.life() == ["07:01:00 firing condition_met"]


def test_promise_7_a_changed_rule_that_no_longer_holds_resolves(station: Station) -> None:
    fired(station)
    station.control(rules=[rule("r", DAY + "when: absent >= 6\n")])
    assert station.life()[1:] == ["07:01:00 resolved rule_changed"]
    assert station.steps[1].rule_hash != station.steps[0].rule_hash


def test_promise_7_a_changed_rule_that_still_holds_goes_on(station: Station) -> None:
    fired(station)
    station.control(rules=[rule("r", DAY + "when: absent >= 4\n")])
    assert len(station.steps) == 1
    station.tape.report("A", 3, at("07:05"))
    station.pulse(at("07:06"))
    assert station.life()[1:] == ["07:06:00 retracted corrected"]
    assert station.steps[1].rule_hash != station.steps[0].rule_hash
    assert station.steps[1].alert == station.steps[0].alert


def test_promise_7_a_removed_rule_retires_its_alerts(station: Station) -> None:
    fired(station)
    station.control(rules=[rule("other", DAY + "when: absent >= 50\n")])
    assert station.life()[1:] == ["07:01:00 retired rule_removed"]
    assert station.steps[1].measures["absent"] == 5


def test_what_was_pending_when_its_rule_went_was_nothing(station: Station) -> None:
    start(station, rule("r", DAY + "when: absent >= 5\nfor: 5m\n"))
    station.tape.report("A", 5, at("07:00"))
    station.pulse(at("07:01"))
    station.control(rules=[])
    assert station.life()[1:] == ["07:01:00 inactive rule_removed"]


def test_a_rule_that_comes_back_in_the_same_window_begins_a_new_alert(station: Station) -> None:
    fired(station)
    station.control(rules=[])
    station.control(rules=[BEFORE])
    station.tape.report("A", 7, at("07:05"))
    station.pulse(at("07:06"))
    assert [step.state for step in station.steps] == ["firing", "retired", "firing"]
    assert len({step.alert for step in station.steps}) == 2


@pytest.mark.parametrize(
    "body",
    [
        DAY.replace("[school]", "[school, level]") + "when: absent >= 1\n",
        DAY.replace("[school]", "[commune]") + "when: absent >= 1\n",
        DAY.replace("1 school_day", "30m") + "when: absent >= 1\n",
        SILENT,
    ],
    ids=["finer groups", "other groups", "other window", "silence"],
)
def test_a_rule_with_other_groups_or_windows_ends_the_alerts_of_the_old_one(
    station: Station, body: str
) -> None:
    fired(station)
    station.control(rules=[rule("r", body)])
    assert station.life()[1] == "07:01:00 resolved rule_changed"
    assert (station.steps[1].group, station.steps[1].measures["absent"]) == ({"school": "A"}, 5)
    station.pulse(at("07:02"))
    begun = [step for step in station.steps[2:] if step.alert != station.steps[0].alert]
    assert len(begun) == len(station.steps[2:]) == (0 if body == SILENT else 1)


def test_a_correction_after_a_rules_measures_changed(station: Station) -> None:
    start(station, rule("r", MARKS + "when: rate > 0.3\ncomplete: marked >= 3\n"))
    marks(station, at("07:00"), absent=3)
    station.pulse(at("07:01"))
    more = MARKS.replace("  rate:", "  late: count(*) filter (where status = 'late')\n  rate:")
    station.control(rules=[rule("r", more + "when: rate > 0.3\ncomplete: marked >= 3\n")])
    station.tape.correct("A", "V0", HERE, at("07:05"))
    station.pulse(at("07:06"))
    station.pulse(at("07:10"))
    assert station.steps[0].state == "firing"
    assert {step.alert for step in station.steps} == {station.steps[0].alert}


def at_once(station: Station) -> list[Aggregate]:
    """The rest of the tape and all its panes in one batch each; what the judge measured."""
    core, first = station.counts[0], len(station.panes)
    core.apply(station.tape.batch())
    values = [record.value for record in core.flush() if record.topic == PANES]
    count = len(values)
    offsets = list(range(first, first + count))
    station.judge.apply(LogBatch(0, offsets, [None] * count, values, [()] * count, [0] * count))
    return [
        row
        for record in station.judge.flush()
        if record.topic == AGGREGATES
        for row in msgspec.json.decode(record.value or b"", type=list[Aggregate])
    ]


def test_what_a_former_rule_measured_last_is_not_lost() -> None:
    station = Station()
    start(station, BEFORE)
    station.tape.report("A", 5, at("07:00"))
    station.tape.pulse(at("07:01"))
    station.tape.control(rules=[rule("other", DAY + "when: absent >= 50\n")], clock_mode="data")
    rows = at_once(station)
    assert [(row.rule, row.measures["absent"]) for row in rows] == [("r", 5.0), ("other", 5.0)]


# --- baselines ------------------------------------------------------------------------------------

USUAL = """\
  usual: baseline(rate, same_weekday, 4, {floor})
when: rate > usual.mean + 3 * usual.sd
complete: enrolled > 0
"""


def mondays(station: Station, absences: list[int | None], floor: str = "0.001") -> None:
    start(station, rule("r", DAY + USUAL.format(floor=floor)))
    for week, absent in enumerate(absences):
        day = MONDAY + 7 * week
        if absent is not None:
            station.tape.report("A", absent, at("07:00", day), day=day, enrolled=100)
        station.pulse(at("08:00", day))


@pytest.mark.parametrize("absences", [[5, 5, 5, 90], [5, 5, None, 5, 90], [90]])
def test_a_baseline_is_unknown_on_a_short_history(station: Station, absences: list[int | None]) -> None:
    mondays(station, absences)
    assert station.life() == []
    assert station.aggregates[-1].measures["usual.mean"] is None
    assert station.aggregates[-1].measures["usual.sd"] is None


def test_a_baseline_reads_windows_that_no_event_can_change_any_more(station: Station) -> None:
    mondays(station, [4, 5, None, 5, None, 6, 50])
    assert station.life()[-1] == f"{clock_of(at('08:00', MONDAY + 42))} firing condition_met"
    assert station.steps[-1].measures["usual.mean"] == pytest.approx(0.05)
    assert station.steps[-1].measures["usual.days"] == 4


def test_a_baselines_deviation_is_not_below_what_chance_gives(station: Station) -> None:
    mondays(station, [5, 5, 5, 5, 11])  # 0.05 + 3 * sqrt(0.05 * 0.95 / 100) = 0.115
    assert station.life() == []
    assert station.aggregates[-1].measures["usual.sd"] == pytest.approx((0.05 * 0.95 / 100) ** 0.5)
    mondays_again = Station()
    mondays(mondays_again, [5, 5, 5, 5, 12])
    assert [step.state for step in mondays_again.steps] == ["firing"]


def test_a_day_without_a_value_is_no_day_of_the_baseline(station: Station) -> None:
    start(station, rule("r", DAY + USUAL.format(floor="0.001")))
    for week, (absent, enrolled) in enumerate([(5, 100), (5, 100), (5, 100), (5, 100), (0, 0), (50, 100)]):
        day = MONDAY + 7 * week
        station.tape.report("A", absent, at("07:00", day), day=day, enrolled=enrolled)
        station.pulse(at("08:00", day))
    assert [step.state for step in station.steps] == ["firing"]
    assert station.steps[0].measures["usual.days"] == 4


def test_aggregates_of_a_window_that_closes_in_the_same_batch_keep_their_version() -> None:
    station = Station()
    start(station, BEFORE)
    station.tape.report("A", 5, at("07:00"))
    station.tape.pulse(at("07:01"))
    station.tape.pulse(at("07:01", MONDAY + 30))
    rows = at_once(station)
    assert [(row.version, row.measures["absent"]) for row in rows] == [(2, 5.0)]


# --- records of a life that was overtaken; configurations -------------------------------------------


def test_promise_1_records_of_an_overtaken_life_change_nothing(station: Station) -> None:
    start(station, BEFORE)
    station.tape.report("A", 5, at("07:00"))
    station.pulse(at("07:01"))
    station.tape.report("A", 2, at("07:02"))
    station.pulse(at("07:03"))
    life, rows = station.life(), len(station.aggregates)
    assert life == ["07:01:00 firing condition_met", "07:03:00 retracted corrected"]
    for value in list(station.panes):
        station.tell(value)
    assert station.life() == life
    assert {row.measures["absent"] for row in station.aggregates[rows:]} <= {2.0}


def test_a_record_of_a_former_configuration_that_comes_again_leaves_nothing_behind(station: Station) -> None:
    start(station, BEFORE)
    station.tape.report("A", 5, at("07:00"))
    station.pulse(at("07:01"))
    station.tape.report("A", 6, at("07:02"))  # unsent when the configuration changes
    station.control(rules=[rule("other", DAY + "when: absent >= 50\n")])
    switch = station.panes[-2:]
    for value in (*switch, *switch):
        station.tell(value)
    station.pulse(at("07:01", MONDAY + 42))
    station.tape.report("A", 60, at("08:00", MONDAY + 42), day=MONDAY + 42)
    station.pulse(at("09:00", MONDAY + 42))
    assert [(step.rule, step.state) for step in station.steps] == [
        ("r", "firing"),
        ("r", "retired"),
        ("other", "firing"),
    ]


def switching(order: tuple[int, ...], configs: list[int]) -> list[tuple[str, int, str]]:
    """Two partitions go through configurations; their records come to the judge in this order."""
    station = Station(partitions=2)
    schools = (school_of(0, 2), school_of(1, 2))
    rules = [
        rule("r", DAY.replace("[school]", "[commune]") + f"when: absent >= {limit}\n") for limit in configs
    ]
    reference = organisation(schools).to_json()
    queues: list[list[bytes]] = []
    for number, (tape, core) in enumerate(zip(station.tapes, station.counts, strict=True)):
        for step, one in enumerate(rules):
            tape.control(rules=[one], reference=reference, clock_mode="data")
            tape.report(schools[number], 4, at("07:00", MONDAY + step), day=MONDAY + step)
            tape.pulse(at("07:01", MONDAY + step))
        core.apply(tape.batch())
        queues.append([r.value or b"" for r in core.flush() if r.topic == "alerting.panes"])
    for source in order:
        if queues[source]:
            station.tell(queues[source].pop(0))
    for value in itertools.chain(*queues):
        station.tell(value)
    return sorted((s.state, (s.window_start - at("00:00")) // DAY_MS, s.reason) for s in station.steps)


def test_promise_13_the_order_in_which_partitions_switch_changes_nothing() -> None:
    calm = switching(tuple([0, 1] * 12), [8, 9, 5])
    assert [(state, reason) for state, _, reason in calm].count(("resolved", "rule_changed")) == 1
    for seed in range(40):
        chance = random.Random(seed)
        order = tuple(chance.randrange(2) for _ in range(20))
        assert switching(order, [8, 9, 5]) == calm, seed


def test_promise_13_no_rule_is_judged_before_every_partition_has_it() -> None:
    station = Station(partitions=2)
    schools = (school_of(0, 2), school_of(1, 2))
    start(station, rule("r", DAY + "when: absent >= 50\n"), schools=schools)
    station.pulse(at("07:00"))
    stricter = [rule("r", DAY + "when: absent >= 5\n")]
    station.tapes[0].control(rules=stricter)
    station.tapes[0].report(schools[0], 9, at("07:01"))
    station.tapes[0].pulse(at("07:02"))
    station.go()
    assert station.life() == []
    station.tapes[1].control(rules=stricter)
    station.go()
    assert station.life() == ["07:02:00 firing condition_met"]


def test_promise_7_every_step_is_one_that_may_follow_the_one_before() -> None:
    assert {state for states in NEXT.values() for state in states} - LIVE == {
        "inactive",
        "resolved",
        "retracted",
        "retired",
    }
    assert set(NEXT) == LIVE | {""}


def test_panes_of_two_partitions_with_one_clock_each() -> None:
    """What is known of one partition moves no deadline of the other's schools."""
    station = Station(partitions=2)
    schools = (school_of(0, 2), school_of(1, 2))
    start(station, rule("r", DAY + "when: absent >= 5\nfor: 5m\n"), schools=schools)
    for tape, school in zip(station.tapes, schools, strict=True):
        tape.report(school, 9, at("07:00"))
    station.pulse(at("07:01"))
    station.tapes[0].pulse(at("07:30"))
    station.go()
    assert [s.group["school"] for s in station.steps if s.state == "firing"] == [schools[0]]
    record = msgspec.msgpack.decode(station.panes[-1], type=PanesRecord)
    assert (record.source, record.clock) == (0, at("07:30"))


def test_promise_13_a_changed_query_begins_with_the_rows_in_force(station: Station) -> None:
    """A rule that counts something else from noon on knows the morning, and corrections of it."""
    start(station, rule("r", MARKS + "when: absent >= 3\n"))
    marks(station, at("07:00"), absent=4, present=2)
    station.tape.mark("A", "P0", LATE, at("07:00:30"))
    station.pulse(at("07:01"))
    other = MARKS.replace("  rate:", "  late: count(*) filter (where status = 'late')\n  rate:")
    station.control(rules=[rule("r", other + "when: absent >= 2\n")])
    station.tape.correct("A", "V0", HERE, at("07:05"))
    station.tape.correct("A", "P0", HERE, at("07:05"))
    station.pulse(at("07:06"))
    assert station.life() == ["07:01:00 firing condition_met"]
    last = station.aggregates[-1].measures
    assert (last["marked"], last["absent"], last["late"]) == (6, 3, 0)
    station.tape.correct("A", "V1", HERE, at("07:07"))
    station.tape.correct("A", "V2", HERE, at("07:07"))
    station.pulse(at("07:08"))
    assert station.life()[1:] == ["07:08:00 retracted corrected"]
    assert len({step.alert for step in station.steps}) == 1


def test_a_partition_without_any_event_holds_no_configuration_back() -> None:
    station = Station(partitions=2)
    start(station, BEFORE, schools=(school_of(0, 2), school_of(1, 2)))
    station.tape.report(school_of(0, 2), 9, at("07:00"))
    station.tape.pulse(at("07:01"))
    station.go()
    assert station.life() == ["07:01:00 firing condition_met"]


def test_promise_5_many_outages_make_nobody_silent(station: Station) -> None:
    start(station, rule("r", SILENT.replace("15m", "4h")))
    pulses(station, at("06:50"), at("07:00"))
    station.tape.heartbeat("A", at("07:00"))
    for number in range(30):  # two minutes of pulses, then eight without
        pulses(station, at("07:01") + number * 10 * MINUTE, at("07:02") + number * 10 * MINUTE)
    assert station.life() == []


def test_promise_13_a_configuration_that_comes_back_waits_for_every_partition() -> None:
    """A → B → A → C, where one partition is far ahead of the other."""
    station = Station(partitions=2)
    schools = (school_of(0, 2), school_of(1, 2))
    queues: list[list[bytes]] = []
    for tape, core in zip(station.tapes, station.counts, strict=True):
        for limit in (8, 9, 8, 3):
            tape.control(
                rules=[rule("r", DAY + f"when: absent >= {limit}\n")],
                reference=organisation(schools).to_json(), clock_mode="data",
            )  # fmt: skip
        tape.report(schools[tape.partition], 4, at("07:00"))
        tape.pulse(at("07:01"))
        core.apply(tape.batch())
        queues.append([r.value or b"" for r in core.flush() if r.topic == PANES])
    for value in (queues[0][0], queues[1].pop(0), *queues[0][1:]):
        station.tell(value)
    hashes = []
    for value in queues[1]:
        station.tell(value)
        hashes.append(station.judge.configured.hash)
    assert len(set(hashes)) == 2
    assert hashes[-1] != hashes[0]
    assert [step.state for step in station.steps] == ["firing", "firing"]
