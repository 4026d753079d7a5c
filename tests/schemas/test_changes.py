"""Events with ``before`` and ``after``: pairs and Debezium envelopes, what they become and how they fail."""

# ruff: noqa: E501 -- a fault and its whole message stay on one line, to be read side by side
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.changed import BEFORE, CHANGED, OPERATION, was
from schemas.checks import Before, Event
from schemas.civil import DAY_MS, parse_time
from schemas.decode import decode
from schemas.events import EVENT_TYPES
from schemas.validate import Reject, validate
from tests.schemas.test_decode import check_agreement
from tests.support.changes import envelope, gate_row, mark_row, pair
from tests.support.engine import MONDAY, at
from tests.support.strategies import ARRIVED, changes, encoded, mutated_changes

NOON = at("08:00")
OLD, NEW = mark_row("P", "present"), mark_row("P", "late")
CODE = "text of 1 to 64 characters without control characters"
TIME = "an RFC 3339 time with offset such as 2026-09-07T07:15:00+07:00"
SLOW = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


def judged(document: Any) -> Event | Reject:
    return validate(json.dumps(document).encode(), NOON)


def event_of(document: Any) -> Event:
    found = judged(document)
    assert isinstance(found, Event), found
    return found


def marked(before: Any, after: Any, **extension: Any) -> dict[str, Any]:
    return pair("attendance.marked", at("07:00"), "e", before, after, **extension)


def passed(before: Any, after: Any, **extension: Any) -> dict[str, Any]:
    return pair("gate.passed", at("07:00"), "e", before, after, **extension)


# --- what they become ----------------------------------------------------------------------------


def test_a_pair_is_a_row_and_what_it_was() -> None:
    found = event_of(marked(OLD, NEW))
    assert found.change is not None
    assert (found.change.operation, found.change.order, found.time) == ("put", at("07:00"), at("07:00"))
    assert found.change.before == Before(OLD, at("07:00"), MONDAY)
    assert getattr(found.data, "status") == "late"  # noqa: B009 -- the model's type is not known here


def test_a_pair_without_after_is_a_deletion() -> None:
    found = event_of(marked(OLD, None))
    assert found.change is not None
    assert (found.change.operation, found.day) == ("delete", MONDAY)
    created = event_of(marked(None, NEW)).change
    assert created is not None
    assert (created.operation, created.before) == ("put", None)


def test_before_may_have_a_time_of_its_own() -> None:
    found = event_of(passed(gate_row("P", "in"), None, beforetime="2026-09-07T06:50:00+07:00")).change
    assert found is not None
    assert found.before is not None
    assert found.before.time == at("06:50")


def test_an_envelope_gets_its_id_from_connector_position_and_key() -> None:
    found = event_of(envelope("u", None, NEW))
    assert found.source == "debezium/postgresql/hocba/truong/public/mark"
    operation, place, key = found.id.split("/")
    assert (operation, place, len(key)) == ("u", "100", 32)
    other = event_of(envelope("u", None, mark_row("Q", "late")))
    assert other.id.rpartition("/")[0] == found.id.rpartition("/")[0]
    assert other.id != found.id
    assert "P" not in found.id  # no pupil's code in an id


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ({"connector": "mysql", "lsn": None, "schema": None, "file": "bin.7", "pos": 154, "row": 2}, "c/bin.7:154:2"),
        ({"connector": "sqlserver", "lsn": None, "commit_lsn": "a:1", "change_lsn": "a:2", "event_serial_no": 1}, "c/a:1:a:2:1"),
        ({"connector": "oracle", "lsn": None, "scn": "99"}, "c/99"),
    ],
    ids=["mysql", "sqlserver", "oracle"],
)  # fmt: skip
def test_positions_of_other_databases(source: dict[str, Any], place: str) -> None:
    assert event_of(envelope("c", None, NEW, **source)).id.rpartition("/")[0] == place


def test_a_row_of_a_snapshot_is_named_by_when_it_was_read() -> None:
    assert event_of(envelope("r", None, NEW)).id.startswith(f"r/{at('07:00')}:100/")
    assert event_of(envelope("r", None, NEW, lsn=None)).id.startswith(f"r/{at('07:00')}/")


def test_an_envelope_with_its_schema_is_the_same_event() -> None:
    bare = envelope("u", OLD, NEW)
    assert event_of({"schema": {"type": "struct", "fields": []}, "payload": bare}) == event_of(bare)


def test_dates_may_be_days_and_other_columns_are_not_looked_at() -> None:
    row = mark_row("P", "late", updated_at="2026-09-07", id=7) | {"date": MONDAY}
    assert event_of(envelope("c", None, row)).data == event_of(envelope("c", None, NEW)).data


def test_the_event_time_is_the_column_time_or_else_that_of_the_change() -> None:
    row = mark_row("P", "late", time="2026-09-07T06:45:00+07:00")
    found = event_of(envelope("c", None, row))
    assert found.change is not None
    assert (found.time, found.change.order) == (at("06:45"), at("07:00"))
    assert event_of(envelope("c", None, NEW)).time == at("07:00")


def test_a_deletion_needs_no_more_than_the_identity() -> None:
    row = {name: OLD[name] for name in ("school", "pupil", "date", "session")} | {
        "class": None,
        "status": None,
    }
    found = event_of(envelope("d", row, None))
    assert found.change is not None
    assert found.change.before is not None
    assert (found.change.operation, found.day, found.time) == ("delete", MONDAY, at("07:00"))
    assert found.change.before.values == {name: OLD[name] for name in ("school", "pupil", "date", "session")}


def test_what_an_update_was_is_told_by_its_identity_or_not_at_all() -> None:
    assert (
        event_of(envelope("u", {"id": 7, "status": None}, NEW)).change
        == event_of(envelope("u", None, NEW)).change
    )


def test_columns_of_a_frame() -> None:
    documents = [marked(OLD, NEW), marked(None, NEW) | {"id": "x", "data": NEW}]
    frame = decode([json.dumps(one).encode() for one in documents], [NOON] * 2).frames["attendance.marked"]
    assert frame.select(OPERATION, CHANGED).rows() == [(1, at("07:00")), (0, at("07:00"))]
    assert was(frame[BEFORE][0]) == Before(OLD, at("07:00"), MONDAY)
    assert frame[BEFORE][1] is None


def test_plain_batches_have_no_such_columns() -> None:
    document = marked(None, NEW) | {"data": NEW}
    frame = decode([json.dumps(document).encode()], [NOON]).frames["attendance.marked"]
    assert not {OPERATION, CHANGED, BEFORE} & set(frame.columns)


def test_no_type_has_fields_that_these_forms_take() -> None:
    assert not [
        kind for kind in EVENT_TYPES.values() if {"before", "after", "time"} & {f.name for f in kind.fields}
    ]


# --- how they fail -------------------------------------------------------------------------------

D = "not_debezium"
LATER = NOON + 3 * DAY_MS
BAD: list[tuple[Any, str, str, str]] = [
    (marked(None, None), "invalid", "data", "before and after are both null; expected an object in one of them"),
    (marked(1, NEW), "invalid", "data.before", "expected an object or null, got 1"),
    (marked(OLD, "x"), "invalid", "data.after", 'expected an object or null, got "x"'),
    (marked({}, NEW), "invalid", "data.before.school", f"school is missing; expected {CODE}"),
    (marked(OLD, NEW | {"pupil": 7}), "invalid", "data.after.pupil", f"expected {CODE}, got 7"),
    (marked(OLD | {"colour": 1}, NEW), "invalid", "data.before.colour", '"colour" is not a field of attendance.marked'),
    (marked(OLD | {"school": "B"}, NEW), "invalid", "data.before.school", 'before is of school "B", after of "A"; expected two events, a deletion and a new one'),
    (marked(OLD | {"date": "1999-12-31"}, NEW), "time_out_of_range", "data.before.date", "date is before 2000-01-01"),
    (marked(OLD, NEW | {"date": "2027-01-01"}), "time_out_of_range", "data.after.date", "date is more than 2 days after the event's arrival"),
    (marked(OLD, NEW, beforetime="early"), "not_cloudevent", "beforetime", f'expected {TIME}, got "early"'),
    (marked(OLD, NEW, beforetime="1999-01-01T00:00:00Z"), "time_out_of_range", "beforetime", "the time is before 2000-01-01"),
    (marked(OLD, NEW) | {"data": {"before": OLD}}, "invalid", "data.school", f"school is missing; expected {CODE}"),
    (
        pair("attendance.corrected", at("07:00"), "e", {"school": "A", "pupil": "P", "date": "2026-09-07", "session": "morning", "old": "late", "new": "present", "by": "u"}, None),
        "invalid", "data.after", "attendance.corrected cannot be deleted: what it replaced is gone; expected another correction",
    ),
    (envelope("c", None, NEW, kind=None), D, "type", "type is missing; expected the event type, put in by the connector's transform InsertField"),
    (envelope("c", None, NEW) | {"type": 7}, D, "type", "expected the name of an event type, got 7"),
    (envelope("c", None, NEW, kind="attendance.marke"), "unknown_type", "type", 'there is no event type "attendance.marke"; did you mean "attendance.marked"?'),
    ({"schema": None, "payload": None}, D, "payload", "expected an object, got null"),
    ({"schema": None, "payload": {"op": "c"}}, D, "payload.type", "type is missing; expected the event type, put in by the connector's transform InsertField"),
    (envelope("c", None, NEW) | {"source": "x"}, D, "source", 'expected an object, got "x"'),
    (envelope("t", None, NEW), D, "op", 'expected one of "c", "u", "d", "r", got "t"'),
    (envelope("c", None, NEW, ts_ms="now"), D, "source.ts_ms", 'expected milliseconds since 1970, got "now"'),
    (envelope("c", None, NEW, ts_ms=LATER), "time_out_of_range", "source.ts_ms", "the time is more than 2 days after the event's arrival"),
    (envelope("c", None, NEW, db=""), D, "source.db", 'expected text of 1 to 128 characters without control characters, got ""'),
    (envelope("c", None, NEW, lsn=None), D, "source", "the change has no place; expected lsn, file and pos, change_lsn or scn, as PostgreSQL, MySQL, SQL Server and Oracle have"),
    (envelope("c", None, None), D, "after", "after is missing; expected the row as an object"),
    (envelope("c", None, [1]), D, "after", "expected an object or null, got [1]"),
    (envelope("u", "x", NEW), D, "before", 'expected an object or null, got "x"'),
    (envelope("c", None, NEW | {"status": "ill"}), "invalid", "after.status", 'expected one of "present", "absent_excused", "absent_unexcused", "late", got "ill"'),
    ({"schema": None, "payload": envelope("c", None, NEW | {"pupil": None})}, "invalid", "payload.after.pupil", f"expected {CODE}, got null"),
    (envelope("c", None, NEW | {"date": 9_999_999}), "invalid", "after.date", "expected a date such as 2026-09-07, got 9999999"),
    (envelope("u", None, NEW | {"reason": "__debezium_unavailable_value"}), "invalid", "after.reason", "the database did not send the value; expected REPLICA IDENTITY FULL"),
    (envelope("c", None, NEW | {"time": 1}), "invalid", "after.time", f"expected {TIME}, got 1"),
    (envelope("d", None, None), D, "before", "before is missing; expected the deleted row, at least its identity"),
    (envelope("d", {"id": 7}, None), "invalid", "before.date", "date is missing; expected a date such as 2026-09-07"),
    (envelope("d", OLD | {"pupil": None}, None), "invalid", "before.pupil", f"expected {CODE}, got null"),
    (envelope("u", OLD | {"school": "B"}, NEW), "invalid", "before.school", 'before is of school "B", after of "A"; expected two events, a deletion and a new one'),
    (envelope("r", None, gate_row("P", "in"), kind="gate.passed"), D, "op", "a snapshot would count twice; gate.passed has no identity: expected snapshot.mode no_data"),
    (envelope("u", None, gate_row("P", "in"), kind="gate.passed"), D, "before", "before is missing; gate.passed has no identity: expected REPLICA IDENTITY FULL"),
    (envelope("d", gate_row("P", "in"), None, kind="gate.passed"), "invalid", "before.time", "time is missing; gate.passed has no identity: expected the time that was counted"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "reason", "field", "message"), BAD)
def test_bad_changes_are_rejected_with_field_and_reason(
    document: Any, reason: str, field: str, message: str
) -> None:
    found = judged(document)
    assert isinstance(found, Reject), found
    assert (found.reason, found.field, found.message) == (reason, field, message)
    assert decode([json.dumps(document).encode()], [NOON]).rejects == [found]


def test_a_reject_of_an_envelope_names_its_type() -> None:
    found = judged(envelope("c", None, NEW | {"status": "ill"}))
    assert isinstance(found, Reject)
    assert (found.source, found.event_id, found.event_type) == ("", "", "attendance.marked")


# --- decoder and model -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
@given(st.data())
@SLOW
def test_decoder_and_model_agree_on_changes(name: str, data: st.DataObject) -> None:
    kind = EVENT_TYPES[name]
    check_agreement(data.draw(st.lists(mutated_changes(kind), min_size=1, max_size=4)))


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
@given(st.data())
@SLOW
def test_whole_changes_are_accepted(name: str, data: st.DataObject) -> None:
    document = data.draw(changes(EVENT_TYPES[name]))
    assert check_agreement([data.draw(encoded(document))]).rejects == []


@given(st.sampled_from(sorted(EVENT_TYPES)).flatmap(lambda name: changes(EVENT_TYPES[name])), st.data())
@SLOW
def test_content_does_not_depend_on_how_it_is_written(document: dict[str, Any], data: st.DataObject) -> None:
    values = [data.draw(encoded(document)), data.draw(encoded(document))]
    (frame,) = decode(values, [ARRIVED] * 2).frames.values()
    assert frame["content"].n_unique() == 1


def test_the_clock_of_the_tests_is_that_of_the_strategies() -> None:
    assert parse_time("2026-09-07T09:00:00+07:00") == ARRIVED
