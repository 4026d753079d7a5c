"""`count` on whole logs: what is rejected, repeated, corrected, forwarded; and that cuts change nothing."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.engine.count import CountCore
from schemas.civil import DAY_MS, day_text
from schemas.topics import ARRIVED, EVENTS, KIND, MAX_BLOCK_BYTES, PANES, PULSE, partition_of
from schemas.wire import CoreOptions, OutRecord, PanesRecord, PaneState
from tests.support.engine import (
    MONDAY,
    ONE,
    Tape,
    accepted,
    at,
    cut,
    event,
    organisation,
    panes_of,
    rejected,
    rule,
    run,
    school_of,
)

MARKS_BODY = """\
from: attendance.marked
group_by: [school]
window: 1 school_day
measures:
  marked: count(*)
  absent: count(*) filter (where status in ('absent_excused', 'absent_unexcused'))
  pupils: distinct(pupil)
when: absent >= 3
"""
MARKS = rule("marks", MARKS_BODY)
UNEXCUSED = rule(
    "unexcused",
    """\
from: attendance.marked
where: status = 'absent_unexcused'
group_by: [school, class]
window: 30m
measures: {pupils: distinct(pupil), times: count(*)}
when: pupils >= 2
""",
)
ABSENT, HERE = "absent_unexcused", "present"
NO_TIME = "not a pulse: the clock {} is not a time in milliseconds since 1970"


def opened(*rules: Any, partition: int = 0, schools: tuple[str, ...] = ("A", "B")) -> Tape:
    """A tape that begins with a configuration."""
    tape = Tape(partition)
    tape.control(rules=[*(rules or (MARKS,))], reference=organisation(schools).to_json(), clock_mode="data")
    return tape


def counted(tape: Tape, core: CountCore | None = None) -> tuple[CountCore, list[OutRecord]]:
    """The tape read at once, and a closing pulse."""
    tape.pulse(tape.clock)
    return run(core or CountCore(0, ONE), [tape.batch()])


def states(records: list[OutRecord]) -> dict[tuple[str, ...], tuple[int, list[Any]]]:
    """Rows and states by group; one query, one window."""
    return {key[2]: (pane.rows, list(pane.states)) for key, pane in panes_of(records).items()}


def plain(panes: dict[Any, PaneState]) -> Any:
    """What must not depend on how the log was cut (a pane's position is that of a batch)."""
    return {key: (p.rows, list(p.states), list(p.evidence)) for key, p in panes.items()}


# --- bad input (promise 8: nothing is lost silently) ---------------------------------------------

GOOD = event(
    "attendance.marked", at("07:00"), "id",
    school="A", pupil="P", date=day_text(MONDAY), session="morning", status=HERE, class_="1A",
)  # fmt: skip
TEXT = json.dumps(GOOD)


def changed(**data: Any) -> bytes:
    return json.dumps({**GOOD, "data": {**GOOD["data"], **data}}).encode()


BAD: dict[str, tuple[bytes | None, str, str]] = {
    "broken JSON": (TEXT[:-3].encode(), "not_json", ""),
    "not a document": (b"[1]", "not_cloudevent", ""),
    "nothing": (None, "not_json", ""),
    "unknown type": (TEXT.replace("attendance.marked", "attendance.marke").encode(), "unknown_type", "type"),
    "unknown school": (changed(school="Z"), "unknown_school", "data.school"),
    "unknown status": (changed(status="ill"), "invalid", "data.status"),
    "a field too many": (changed(colour="red"), "invalid", "data.colour"),
    "a day in 2099": (changed(date="2099-01-01"), "time_out_of_range", "data.date"),
    "a time in 2099": (TEXT.replace("2026-09-07T", "2099-09-07T").encode(), "time_out_of_range", "time"),
    "five megabytes": (changed(reason="x" * 5_000_000), "too_large", ""),
    "invalid UTF-8": (TEXT.encode().replace(b'"P"', b'"\xff"'), "not_utf8", ""),
    "duplicate key": (TEXT.replace('"P"', '"P", "pupil": "Q"').encode(), "duplicate_key", "data.pupil"),
    "NaN": (TEXT.replace('"P"', "NaN").encode(), "not_json", "data.pupil"),
    "number for text": (changed(pupil=7), "invalid", "data.pupil"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_promise_8_bad_input_is_rejected_with_its_reason_and_the_batch_goes_on(name: str) -> None:
    value, reason, field = BAD[name]
    tape = opened()
    tape.mark("A", "P1", ABSENT, at("07:00"))
    place = tape.raw(value)
    tape.mark("A", "P2", HERE, at("07:01"))
    core, records = counted(tape)
    (found,) = rejected(records)
    assert (found.position, found.reason, found.field) == (place, reason, field)
    assert found.message
    assert found.value == (value or b"")[: 64 * 1024]
    assert found.arrived == at("07:00")
    assert states(records)["A",][0] == 2
    assert core.stats.rejected == {reason: 1}


def test_promise_2_the_same_id_with_other_content_is_rejected() -> None:
    tape = opened()
    tape.mark("A", "P1", ABSENT, at("07:00"), event_id="x")
    tape.mark("A", "P2", ABSENT, at("07:00"), event_id="x")
    tape.pulse(at("07:01"))
    tape.mark("A", "P3", ABSENT, at("07:02"), event_id="x")
    _, records = counted(tape)
    found = rejected(records)
    assert [(r.reason, r.field, r.event_id, r.position) for r in found] == [
        ("id_reused", "id", "x", 2),
        ("id_reused", "id", "x", 4),
    ]
    assert found[0].message == "this id came before with other content; expected a new id for a new event"
    assert states(records)["A",][0] == 1


def test_the_message_for_an_unknown_school() -> None:
    tape = opened()
    tape.mark("Z", "P1", ABSENT, at("07:00"))
    _, records = counted(tape)
    assert [r.message for r in rejected(records)] == [
        "unknown school 'Z'; expected a school of the reference data valid that day"
    ]


@pytest.mark.parametrize("stamp", [b"9" * 5000, b"9" * 20, b"-1", b"soon", b""])
def test_an_arrival_stamp_that_is_none_is_left_to_the_brokers(stamp: bytes) -> None:
    tape = opened()
    tape.raw(TEXT.encode(), ((ARRIVED, stamp),), at("07:30"))
    tape.raw(b"{", ((ARRIVED, stamp),), at("07:31"))
    core, records = counted(tape)
    assert [r.arrived for r in rejected(records)] == [at("07:31")]
    assert states(records)["A",][0] == 1
    assert core.clock == at("07:00")


def test_an_event_with_a_kind_that_nobody_knows_is_an_event() -> None:
    tape = opened()
    tape.raw(TEXT.encode(), ((KIND, b"event"),))
    _, records = counted(tape)
    assert states(records)["A",][0] == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"{", "not a pulse: Input data was truncated"),
        (b'{"clock": 1000000000000000000000}', None),
        (b'{"clock": 100000000000000}', NO_TIME.format(10**14)),
        (b'{"clock": -1}', NO_TIME.format(-1)),
        (b'{"clock": "\xff"}', None),
    ],
)  # fmt: skip
def test_a_pulse_that_is_none_is_rejected_and_moves_no_clock(value: bytes, message: str | None) -> None:
    tape = opened()
    tape.mark("A", "P1", ABSENT, at("07:00"))
    place = tape.raw(value, ((KIND, PULSE),))
    core, records = counted(tape)
    (found,) = rejected(records)
    assert (found.position, found.reason) == (place, "not_pulse")
    assert message in (None, found.message)
    assert core.clock == at("07:00")


# --- promise 2: repeats --------------------------------------------------------------------------


def test_promise_2_repeats_count_once_in_a_batch_and_across_batches() -> None:
    tape = opened()
    for _ in range(3):
        tape.mark("A", "P1", ABSENT, at("07:00"), event_id="x")
    tape.pulse(at("07:05"))
    tape.mark("A", "P1", ABSENT, at("07:00"), event_id="x", arrives=at("07:06"))
    core, records = counted(tape)
    assert core.stats.repeats == 3
    assert states(records) == {("A",): (1, [1, 1, {"P1": 1}])}
    assert accepted(records)["position"].to_list() == [1]


def test_promise_2_the_same_id_of_another_source_is_another_event() -> None:
    tape = opened()
    tape.mark("A", "P1", ABSENT, at("07:00"), event_id="x")
    tape.mark("A", "P2", ABSENT, at("07:00"), event_id="x", source="t")
    _, records = counted(tape)
    assert states(records)["A",][0] == 2


def test_promise_2_beyond_the_horizon_an_event_is_archived_with_its_mark_and_not_counted() -> None:
    tape = opened()
    tape.mark("A", "P1", ABSENT, at("07:00"), event_id="x")
    tape.pulse(at("07:00", MONDAY + 14))
    tape.mark("A", "P1", ABSENT, at("07:00"), event_id="x", arrives=at("07:00", MONDAY + 14))  # still known
    tape.pulse(at("07:01", MONDAY + 14))
    tape.mark("A", "P1", ABSENT, at("07:00"), event_id="x", arrives=at("07:01", MONDAY + 14))
    tape.mark("A", "P9", ABSENT, at("06:00"), event_id="y", arrives=at("07:01", MONDAY + 14))
    core, records = counted(tape)
    table = accepted(records)
    assert table.select("id", "mark").rows() == [("x", ""), ("x", "beyond_horizon"), ("y", "beyond_horizon")]
    assert core.stats.beyond == 2
    assert states(records) == {("A",): (1, [1, 1, {"P1": 1}])}


@pytest.mark.parametrize("cuts", [[], range(100)])
def test_an_id_is_forgotten_at_its_horizon_wherever_the_log_is_cut(cuts: list[int]) -> None:
    tape = opened()
    for day in range(4):  # one id for each morning's heartbeat: a day later it may come again
        when = at("07:00", MONDAY + day) + day
        made = event("source.heartbeat", when, "morning", school="A", vendor="v")
        tape.put(made, when)
    tape.put(event("source.heartbeat", tape.clock, "morning", school="A", vendor="w"))
    _, records = run(CountCore(0, ONE), cut(tape, cuts))
    assert accepted(records)["position"].to_list() == [1, 2, 3, 4]
    assert [r.reason for r in rejected(records)] == ["id_reused"]


# --- promise 3: corrections ----------------------------------------------------------------------


def test_promise_3_a_correction_beyond_its_horizon_is_archived_only() -> None:
    tape = opened()
    tape.mark("A", "P1", ABSENT, at("07:00"))
    late = MONDAY + 15
    tape.pulse(at("00:00:00", late))
    tape.correct("A", "P1", HERE, at("23:00", late - 1), arrives=at("00:00", late))
    tape.pulse(at("00:00:01", late))
    tape.correct("A", "P1", "late", at("00:00", late))
    _, records = counted(tape)
    assert accepted(records)["mark"].to_list() == ["", "", "beyond_horizon"]
    assert states(records) == {("A",): (1, [1, 0, {"P1": 1}])}


def test_promise_3_a_correction_is_taken_out_under_the_dimensions_it_was_counted_with() -> None:
    by_level = rule("levels", MARKS_BODY.replace("[school]", "[level, class]"))
    tape = opened(by_level)
    tape.mark("A", "P1", ABSENT, at("07:00"))
    tape.pulse(at("07:01"))
    other = organisation(["A", "B"])
    moved = type(other).of(
        [u.model_copy(update={"level": "lower_secondary"}) if u.kind == "school" else u for u in other.units],
        other.classes,
    )
    tape.control(reference=moved)
    tape.mark("A", "P1", HERE, at("07:02"), class_="2B")
    _, records = counted(tape)
    assert states(records) == {
        ("primary", "1A"): (0, [0, 0, {}]),
        ("lower_secondary", "2B"): (1, [1, 0, {"P1": 1}]),
    }


# --- forwarding, control records, clock ----------------------------------------------------------


def test_an_event_on_the_wrong_partition_is_sent_on_with_its_arrival() -> None:
    there = school_of(1, 2)
    tape = opened(schools=(there, school_of(0, 2)))
    tape.mark(there, "P1", ABSENT, at("07:00"), event_id="x", arrives=at("07:03"))
    core, records = run(CountCore(0, CoreOptions(2, 1)), [tape.batch()])
    (sent,) = [record for record in records if record.topic == EVENTS]
    assert sent.partition == partition_of(there, 2) == 1
    assert sent.value == tape.values[1]
    assert dict(sent.headers)[ARRIVED] == str(at("07:03")).encode()
    assert accepted(records).is_empty()
    assert core.stats.forwarded == 1


def test_a_bad_control_record_changes_nothing_and_is_rejected() -> None:
    tape = opened()
    before, _ = run(CountCore(0, ONE), [tape.batch()])
    bad = rule("marks", "from: attendance.marke\n")
    places = [
        tape.raw(b"nothing", ((KIND, b"control"),)),
        tape.control(rules=[bad]),
        tape.control(reference=b"{}x"),
    ]
    tape.mark("A", "P1", ABSENT, at("07:00"))
    core, records = counted(tape)
    assert core.configured.hash == before.configured.hash
    assert [(r.position, r.reason) for r in rejected(records)] == [(p, "not_control") for p in places]
    assert all(r.message for r in rejected(records))
    assert states(records)["A",][0] == 1


def test_promise_4_the_clock_is_the_newest_time_bounded_by_arrival_or_pulse() -> None:
    tape = opened()
    core = CountCore(0, ONE)
    seen = []
    tape.mark("A", "P1", ABSENT, at("07:10"), arrives=at("07:00"))
    tape.mark("A", "P2", ABSENT, at("06:00"), arrives=at("07:20"))
    tape.pulse(at("07:05"))
    tape.pulse(at("07:04"))
    for batch in cut(tape, range(9)):
        core.apply(batch)
        seen.append(core.clock)
    assert seen[1:] == [at("07:00"), at("07:00"), at("07:05"), at("07:05")]


def test_a_record_of_panes_is_bounded_and_only_its_last_part_moves_the_clock() -> None:

    many = rule("many", MARKS_BODY.replace("[school]", "[school, pupil]"))
    tape = opened(many)
    tape.pulse(at("06:00"))
    for number in range(12_000):
        tape.mark("A", f"P{number:05d}" + "x" * 50, ABSENT, at("07:00"))
    _, records = counted(tape)
    values = [record.value or b"" for record in records if record.topic == PANES]
    assert len(values) == 4
    assert max(map(len, values)) <= 1024 * 1024
    parts = [msgspec.msgpack.decode(value, type=PanesRecord) for value in values[-2:]]
    assert {part.position for part in parts} == {len(tape.values)}
    assert [part.clock for part in parts] == [at("06:00"), at("07:00")]
    assert [part.pulse for part in parts] == [at("06:00"), at("07:00")]
    assert len(states(records)) == 12_000


# --- promise 1: the same whatever the cuts and the snapshots ---------------------------------------

STEP = st.tuples(
    st.sampled_from(
        ["mark", "mark", "mark", "correct", "correct", "report", "again", "bad", "pulse", "reuse", "day"]
    ),
    st.sampled_from(["A", "B", "Z"]),
    st.integers(0, 2),
    st.sampled_from([ABSENT, HERE, "late", "absent_excused"]),
    st.integers(-3, 3),
)  # fmt: skip


def written(steps: list[tuple[str, str, int, str, int]]) -> Tape:
    """A tape of these steps."""
    tape = opened(MARKS, UNEXCUSED)
    tape.clock, day = at("07:00"), MONDAY
    for number, (what, school, pupil, status, shift) in enumerate(steps):
        when = tape.clock + shift * 1000
        match what:
            case "mark":
                tape.mark(school, f"P{pupil}", status, when, arrives=tape.clock + 500, day=day)
            case "correct":
                tape.correct(school, f"P{pupil}", status, when, arrives=tape.clock + 500, day=day)
            case "report":
                tape.report(school, pupil, tape.clock + 500, day=day)
            case "again":
                tape.raw(tape.values[-1], tape.headers[-1])
            case "reuse":
                tape.mark(school, f"P{pupil}", status, when, event_id=f"e0-{number // 2}", day=day)
            case "bad":
                tape.raw(b"{" * pupil)
            case "pulse":
                tape.pulse(tape.clock + 60_000)
            case "day":
                tape.pulse(tape.clock + (pupil + 1) * 4 * DAY_MS)
                day += (pupil + 1) * 4 if shift > 0 else 0
    tape.pulse(tape.clock)
    return tape


def outcome(records: list[OutRecord]) -> Any:
    """Everything that count says, whatever the batches it came in."""
    table = accepted(records)
    return (
        plain(panes_of(records)),
        table.select("position", "id", "mark", "raw").rows() if len(table) else [],
        rejected(records),
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=40), st.lists(st.integers(1, 60)), st.lists(st.integers(0, 20), max_size=4))
def test_promise_1_neither_cuts_nor_snapshots_change_what_is_counted(
    steps: list[tuple[str, str, int, str, int]], cuts: list[int], snapshots: list[int]
) -> None:
    tape = written(steps)
    whole, expected = run(CountCore(0, ONE), [tape.batch()])
    again, found = run(CountCore(0, ONE), cut(tape, cuts), lambda: CountCore(0, ONE), snapshots)
    assert outcome(found) == outcome(expected)
    assert (again.position, again.clock) == (whole.position, whole.clock)


def test_promise_1_evidence_does_not_depend_on_cuts_when_many_rows_are_taken_back() -> None:
    tape = opened(MARKS)
    for number in range(60):
        tape.mark("A", f"P{number:02d}", ABSENT, at("07:00") + number)
    for number in range(45):
        tape.mark("A", f"P{number:02d}", HERE, at("07:10") + number)
    tape.pulse(at("07:11"))
    expected = plain(panes_of(run(CountCore(0, ONE), [tape.batch()])[1]))
    ((_, _, evidence),) = expected.values()
    assert [when for when, _ in evidence] == [at("07:00") + n for n in range(45, 60)]
    for cuts in ([30], [62], [20, 70, 90], range(200)):
        _, records = run(CountCore(0, ONE), cut(tape, cuts), lambda: CountCore(0, ONE), range(0, 200, 7))
        assert plain(panes_of(records)) == expected


def test_snapshots_between_complete_ones_are_small_and_whole() -> None:
    tape, core = opened(MARKS), CountCore(0, ONE)
    blocks: dict[str, bytes] = {}
    core.apply(tape.batch())
    for number in range(30):
        first = len(tape.values)
        for pupil in range(20):
            tape.mark("A", f"P{number}-{pupil}", ABSENT, at("07:00") + number * 60_000)
        tape.pulse(tape.clock)
        core.apply(tape.batch(first))
        core.flush()
        state = core.snapshot(complete=False)
        assert not set(state.blocks) & set(blocks), "a name was used for other bytes"
        assert all(len(block) <= MAX_BLOCK_BYTES for block in state.blocks.values())
        blocks.update(state.blocks)
        again = CountCore(0, ONE)
        again.restore(state.position, {name: blocks[name] for name in state.live})
        assert again.remembered == core.remembered
        assert again.live_panes == core.live_panes


def test_what_was_applied_is_skipped() -> None:
    tape = opened(MARKS)
    tape.mark("A", "P1", ABSENT, at("07:00"))
    core = CountCore(0, ONE)
    core.apply(tape.batch())
    core.flush()
    core.apply(tape.batch())
    assert (core.flush(), core.stats.repeats) == ([], 0)


def test_memory_is_that_of_live_panes() -> None:
    tape = opened(MARKS)
    core = CountCore(0, ONE)
    core.apply(tape.batch())
    sizes = []
    for day in range(60):
        first = len(tape.values)
        for pupil in range(5):
            tape.mark("A", f"P{pupil}", ABSENT, at("07:00", MONDAY + day), day=MONDAY + day)
        tape.pulse(at("20:00", MONDAY + day))
        core.apply(tape.batch(first))
        core.flush()
        sizes.append(core.live_panes)
    assert sizes[20] == sizes[-1] == 16
    assert core.remembered["attendance.marked"] <= 5 * 25
