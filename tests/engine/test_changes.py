"""Events with ``before`` and ``after`` through the engine: what they take out, put in, and wake."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.engine.count import CountCore
from schemas.civil import day_text
from schemas.topics import ACCEPTED
from schemas.wire import OutRecord
from tests.support.changes import envelope, gate_row, mark_row, pair
from tests.support.engine import (
    MINUTE,
    MONDAY,
    ONE,
    Station,
    Tape,
    accepted,
    at,
    cut,
    organisation,
    panes_of,
    rejected,
    rule,
    run,
)

BODY = """\
from: attendance.marked
group_by: [school]
window: 1 school_day
measures:
  marked: count(*)
  absent: count(*) filter (where status = 'absent_unexcused')
when: absent >= 2
"""
COUNTS = rule("counts", BODY)
OTHER = rule("other", BODY.replace("[school]", "[school, session]").replace(">= 2", ">= 1"))
SILENT = rule("silent", "from: attendance.marked\ngroup_by: [school]\nsilence: 1h\n")
LEAVES = rule(
    "leaves",
    "from: leave.requested\ngroup_by: [school]\nwindow: 1 school_day\nmeasures: {n: count(*)}\nwhen: n >= 9\n",
)
GATES = rule(
    "gates",
    "from: gate.passed\ngroup_by: [school, direction]\nwindow: 30m\nmeasures: {times: count(*)}\nwhen: times >= 2\n",
)
ABSENT, HERE = "absent_unexcused", "present"


def opened(*rules: Any) -> Tape:
    tape = Tape()
    tape.control(
        rules=[*(rules or (COUNTS,))], reference=organisation(["A", "B"]).to_json(), clock_mode="data"
    )
    return tape


def counted(tape: Tape) -> list[OutRecord]:
    tape.pulse(tape.clock)
    return run(CountCore(0, ONE), [tape.batch()])[1]


def numbers(records: list[OutRecord]) -> dict[tuple[str, ...], tuple[int, list[Any]]]:
    """Rows and states of groups that hold something, over all windows."""
    panes = [(key[2], pane) for key, pane in panes_of(records).items()]
    return {group: (pane.rows, list(pane.states)) for group, pane in panes if pane.rows or any(pane.states)}


def put(tape: Tape, op: str, before: Any, after: Any, lsn: int, when: int, **source: Any) -> int:
    return tape.put(envelope(op, before, after, lsn=lsn, when=when, **source), when)


# --- types with an identity -----------------------------------------------------------------------


def test_promise_3_created_updated_deleted() -> None:
    tape = opened()
    row = mark_row("P", ABSENT)
    put(tape, "c", None, row, 1, at("07:00"))
    put(tape, "c", None, mark_row("Q", HERE), 2, at("07:00"))
    assert numbers(counted(tape)) == {("A",): (2, [2, 1])}
    put(tape, "u", row, mark_row("P", HERE), 3, at("07:10"))
    assert numbers(counted(tape)) == {("A",): (2, [2, 0])}
    put(tape, "d", mark_row("P", HERE), None, 4, at("07:20"))
    assert numbers(counted(tape)) == {("A",): (1, [1, 0])}


def test_promise_3_an_update_without_before_takes_out_the_kept_row() -> None:
    tape = opened()
    tape.mark("A", "P", ABSENT, at("07:00"))
    put(tape, "u", None, mark_row("P", HERE), 3, at("07:10"))
    assert numbers(counted(tape)) == {("A",): (1, [1, 0])}


def test_promise_3_the_kept_row_is_right_where_before_is_not() -> None:
    tape = opened()
    tape.mark("A", "P", HERE, at("07:00"))
    tape.put(
        pair("attendance.marked", at("07:10"), "x", mark_row("P", ABSENT), mark_row("P", ABSENT)), at("07:10")
    )
    tape.put(
        pair("attendance.marked", at("07:11"), "y", mark_row("Q", ABSENT), mark_row("Q", HERE)), at("07:11")
    )
    assert numbers(counted(tape)) == {("A",): (2, [2, 1])}


def test_promise_3_a_deletion_of_an_unknown_row_counts_nothing_and_holds_against_what_is_older() -> None:
    tape = opened()
    put(tape, "d", mark_row("P", ABSENT), None, 9, at("07:20"))
    tape.mark("A", "P", ABSENT, at("07:00"), arrives=at("07:21"))
    assert numbers(counted(tape)) == {}
    tape.mark("A", "P", ABSENT, at("07:30"))
    assert numbers(counted(tape)) == {("A",): (1, [1, 1])}


def test_promise_3_a_row_that_becomes_another_pupils() -> None:
    tape = opened()
    tape.mark("A", "P", ABSENT, at("07:00"))
    put(tape, "u", mark_row("P", ABSENT), mark_row("Q", ABSENT), 3, at("07:10"))
    assert numbers(counted(tape)) == {("A",): (1, [1, 1])}
    tape.mark("A", "P", ABSENT, at("06:59"), arrives=at("07:11"))
    assert numbers(counted(tape)) == {("A",): (1, [1, 1])}


def test_promise_3_a_correction_of_what_is_deleted_changes_nothing() -> None:
    tape = opened()
    tape.mark("A", "P", HERE, at("07:00"))
    put(tape, "d", mark_row("P", HERE), None, 3, at("07:10"))
    tape.correct("A", "P", ABSENT, at("07:20"))
    assert numbers(counted(tape)) == {}


def test_promise_2_the_same_lsn_counts_once() -> None:
    tape = opened()
    for _ in range(3):
        put(tape, "c", None, mark_row("P", ABSENT), 1, at("07:00"))
    core, records = run(CountCore(0, ONE), [tape.batch()])
    assert (core.stats.repeats, rejected(records)) == (2, [])


def test_promise_2_the_same_lsn_and_key_with_other_content_is_rejected() -> None:
    tape = opened()
    put(tape, "c", None, mark_row("P", ABSENT), 1, at("07:00"))
    place = put(tape, "c", None, mark_row("P", HERE), 1, at("07:00"))
    tape.put(pair("attendance.marked", at("07:00"), "x", None, mark_row("Q", HERE)))
    tape.put(pair("attendance.marked", at("07:00"), "x", mark_row("Q", ABSENT), mark_row("Q", HERE)))
    found = rejected(counted(tape))
    assert [(one.reason, one.position) for one in found] == [("id_reused", place), ("id_reused", place + 2)]


def test_a_tombstone_is_nothing() -> None:
    tape = opened()
    tape.raw(None)
    batch = tape.batch()
    batch.keys[-1] = b"A"
    core = CountCore(0, ONE)
    core.apply(batch)
    assert rejected(core.flush()) == []
    assert core.position == 2


def test_promise_3_beyond_the_horizon_only_the_archive_follows() -> None:
    tape = opened()
    tape.mark("A", "P", ABSENT, at("07:00"))
    tape.pulse(at("07:01"))
    late = at("07:00", MONDAY + 20)
    tape.pulse(late)
    put(tape, "u", None, mark_row("P", HERE), 5, late)
    put(tape, "d", mark_row("P", HERE), None, 6, late + 1)
    records = counted(tape)
    assert numbers(records) == {("A",): (1, [1, 1])}
    assert accepted(records)["mark"].to_list() == ["", "beyond_horizon", "beyond_horizon"]


def test_promise_3_a_kept_row_that_no_correction_reaches_is_not_taken_out_however_the_log_is_cut() -> None:
    """A leave belongs to the day it is sent, which its identity does not name."""
    data = {"school": "A", "class": "1A", "pupil": "P", "first": "2026-10-01", "last": "2026-10-02"}
    tape = opened(LEAVES)
    for n, days in enumerate((0, 5, 30)):
        when = at("07:00", MONDAY + days)
        tape.put(pair("leave.requested", when, f"e{n}", None, data), when)
        tape.pulse(when + 1)
    for cuts in ([], [2, 3], [1, 2, 3]):
        _, records = run(CountCore(0, ONE), cut(tape, cuts))
        panes = {(key[1], pane.rows) for key, pane in panes_of(records).items() if pane.rows}
        assert panes == {(at("00:00", MONDAY + 5), 1), (at("00:00", MONDAY + 30), 1)}


# --- against a naive recount ------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """A change of one pupil's morning: what is said of it and when it was made."""

    op: str
    """c, u, d, r as Debezium; m, n a pair that changes or deletes; p an ordinary mark."""
    pupil: int
    time: int
    status: str
    told: bool
    """Whether before is told."""


STEPS = st.builds(
    Step,
    st.sampled_from("cudrmnp"),
    st.integers(0, 2),
    st.integers(0, 4),
    st.sampled_from([ABSENT, HERE]),
    st.booleans(),
)


def naive(steps: list[Step]) -> Counter[str]:
    """The newest change of each pupil by time, then position: statuses that hold."""
    newest: dict[int, tuple[int, str | None]] = {}
    for step in steps:
        if step.pupil not in newest or newest[step.pupil][0] <= step.time:
            newest[step.pupil] = (step.time, None if step.op in "dn" else step.status)
    return Counter(status for _, status in newest.values() if status)


def write(tape: Tape, number: int, step: Step) -> None:
    row, other = mark_row(str(step.pupil), step.status), mark_row(str(step.pupil), "late")
    when, arrives = at("07:00") + step.time * MINUTE, at("07:10")
    if step.op == "p":
        tape.mark("A", str(step.pupil), step.status, when, arrives=arrives)
    elif step.op in "mn":
        before = other if step.told or step.op == "n" else None
        tape.put(
            pair("attendance.marked", when, f"x{number}", before, row if step.op == "m" else None), arrives
        )
    else:
        before = other if step.op == "d" or (step.op == "u" and step.told) else None
        tape.put(envelope(step.op, before, None if step.op == "d" else row, when=when, lsn=number), arrives)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=14), st.lists(st.integers(2, 14), max_size=3))
def test_promise_3_any_changes_come_to_the_naive_recount(steps: list[Step], cuts: list[int]) -> None:
    tape = opened()
    for number, step in enumerate(steps):
        write(tape, number, step)
    tape.pulse(at("07:11"))
    _, records = run(CountCore(0, ONE), cut(tape, cuts), lambda: CountCore(0, ONE), [0, 1])
    expected = naive(steps)
    assert rejected(records) == []
    want = {("A",): (expected.total(), [expected.total(), expected[ABSENT]])} if expected else {}
    assert numbers(records) == want


# --- types without identity ---------------------------------------------------------------------------


def passed(tape: Tape, event_id: str, when: int, before: Any, after: Any, **more: Any) -> int:
    return tape.put(pair("gate.passed", when, event_id, before, after, **more), when)


def test_promise_3_without_identity_before_is_taken_out_as_it_is_told() -> None:
    tape = opened(GATES)
    passed(tape, "1", at("07:00"), None, gate_row("P", "in"))
    passed(
        tape,
        "2",
        at("07:40"),
        gate_row("P", "in"),
        gate_row("P", "out"),
        beforetime="2026-09-07T07:00:00+07:00",
    )
    passed(tape, "3", at("07:41"), None, gate_row("Q", "in"))
    panes = {key[1:]: pane.rows for key, pane in panes_of(counted(tape)).items() if pane.rows}
    assert panes == {(at("07:30"), ("A", "out")): 1, (at("07:30"), ("A", "in")): 1}


def test_promise_3_an_envelope_without_identity_has_the_times_of_its_rows() -> None:
    tape = opened(GATES)
    row = gate_row("P", "in", time="2026-09-07T07:00:00+07:00")
    tape.put(envelope("c", None, row, kind="gate.passed", lsn=1, when=at("07:01")), at("07:01"))
    tape.put(envelope("d", row, None, kind="gate.passed", lsn=2, when=at("07:50")), at("07:50"))
    assert numbers(counted(tape)) == {}


def test_before_counts_under_the_dimensions_of_its_own_day_and_not_beyond_its_horizon() -> None:
    tape = opened(GATES)
    passed(tape, "1", at("07:00"), None, gate_row("P", "in"))
    tape.pulse(at("07:01"))
    now = at("07:00", MONDAY + 20)
    after = gate_row("P", "out", date=day_text(MONDAY + 20))
    passed(tape, "2", now, gate_row("P", "in"), after, beforetime="2026-09-07T07:00:00+07:00")
    panes = {key[1:]: pane.rows for key, pane in panes_of(counted(tape)).items()}
    assert panes == {(at("07:00"), ("A", "in")): 1, (now, ("A", "out")): 1}


# --- alerts ---------------------------------------------------------------------------------------------


def station(*rules: Any) -> Station:
    found = Station()
    found.control(rules=[*(rules or (COUNTS,))], reference=organisation(["A"]))
    return found


def change(on: Station, *envelope: Any) -> None:
    """A change, its lsn and time last, and a pulse of that time."""
    put(on.tape, *envelope)
    on.pulse(envelope[-1])


def test_promise_7_a_deletion_retracts_the_alert_that_stood_on_the_row() -> None:
    on = station()
    change(on, "c", None, mark_row("P", ABSENT), 1, at("07:00"))
    change(on, "c", None, mark_row("Q", ABSENT), 2, at("07:01"))
    change(on, "d", mark_row("Q", ABSENT), None, 3, at("07:05"))
    assert on.life() == ["07:01:00 firing condition_met", "07:05:00 retracted corrected"]


def test_a_snapshot_counts_and_never_alerts() -> None:
    on = station()
    for n in range(5):
        change(on, "r", None, mark_row(f"P{n}", ABSENT), 1, at("07:00") + n)
    assert on.aggregates[-1].measures == {"marked": 5, "absent": 5}
    on.pulse(at("08:00", MONDAY + 3))
    assert on.life() == []


def test_one_live_event_and_the_window_is_judged_with_all_that_is_in_it() -> None:
    on = station()
    for n in range(2):
        change(on, "r", None, mark_row(f"P{n}", ABSENT), 1, at("07:00"))
    on.tape.mark("A", "Q", HERE, at("07:05"))
    on.pulse(at("07:05"))
    assert on.life() == ["07:05:00 firing condition_met"]


def test_a_snapshot_that_says_the_same_changes_nothing_about_that() -> None:
    on = station()
    on.tape.mark("A", "P", ABSENT, at("07:00"))
    on.pulse(at("07:01"))
    change(on, "r", None, mark_row("P", ABSENT), 1, at("07:02"))
    change(on, "r", None, mark_row("Q", ABSENT), 1, at("07:03"))
    assert on.life() == ["07:03:00 firing condition_met"]  # P's row came live


@pytest.mark.parametrize("restarts", [False, True])
def test_a_new_rule_finds_a_snapshots_rows_as_quiet_as_they_were(restarts: bool) -> None:
    on = Station(restarts=restarts)
    on.control(rules=[COUNTS], reference=organisation(["A"]))
    for n in range(3):
        change(on, "r", None, mark_row(f"P{n}", ABSENT), 1, at("07:00"))
    on.control(rules=[COUNTS, OTHER])
    on.pulse(at("07:05"))
    assert on.life() == []
    on.tape.mark("A", "Q", ABSENT, at("07:06"))
    on.pulse(at("07:06"))
    assert on.life() == ["07:06:00 firing condition_met", "07:06:00 firing condition_met"]


def test_a_school_known_from_a_snapshot_alone_is_not_silent() -> None:
    on = station(SILENT)
    change(on, "r", None, mark_row("P", HERE), 1, at("07:00"))
    on.pulses(at("07:01"), at("09:00"), 10 * MINUTE)
    assert on.life() == []
    on.tape.mark("A", "Q", HERE, at("09:00"))
    on.pulses(at("09:01"), at("10:31"), 10 * MINUTE)
    assert on.life() == ["10:00:00 firing silent"]


# --- the archive ------------------------------------------------------------------------------------------


def test_the_archive_is_told_what_a_row_is() -> None:
    tape = opened()
    put(tape, "r", None, mark_row("P", ABSENT), 1, at("07:00"))
    put(tape, "u", mark_row("P", ABSENT), mark_row("P", HERE), 2, at("07:01"))
    put(tape, "d", mark_row("P", HERE), None, 3, at("07:02"))
    records = counted(tape)
    found = accepted(records)
    assert found["mark"].to_list() == ["snapshot", "", "deletion"]
    assert [json.loads(raw)["op"] for raw in found["raw"].to_list()] == ["r", "u", "d"]
    assert sum(record.topic == ACCEPTED for record in records) == 1
