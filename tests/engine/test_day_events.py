"""The types of a school day on the count core: counted, replaced by identity, archived with all fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from rules.engine.count import CountCore
from schemas.civil import DAY_MS
from schemas.events import EVENT_TYPES
from schemas.topics import ACCEPTED
from schemas.wire import OutRecord, RuleFile
from store.archive_rows import Log, Rows, rows_of
from tests.support.archive import part
from tests.support.day_events import GOOD
from tests.support.engine import (
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
)

SCHOOL = "01M015"


def counting(kind: str, body: str = "") -> RuleFile:
    """A rule that counts a type's events by school and day."""
    known = body or "measures: {n: count(*)}\nwhen: n >= 1\n"
    return rule("counting", f"from: {kind}\ngroup_by: [school]\nwindow: 1 school_day\n{known}")


def taped(kind: str, events: Sequence[dict[str, Any]], body: str = "") -> Tape:
    """A tape with a rule and a type's events, a minute apart."""
    tape = Tape()
    reference = organisation([SCHOOL]).to_json()
    tape.control(rules=[counting(kind, body)], reference=reference, clock_mode="data")
    for minute, data in enumerate(events):
        moment = at("07:10") + minute * 60_000
        tape.put(event(kind, moment, tape.new_id(), **data), moment)
    tape.pulse(tape.clock)
    return tape


def states(out: list[OutRecord]) -> list[Any]:
    """The states of the one pane."""
    (pane,) = panes_of(out).values()
    return list(pane.states)


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_two_events_of_one_thing_count_once_where_the_type_has_an_identity(kind: str) -> None:
    tape = taped(kind, [GOOD[kind], GOOD[kind]])
    for places in (range(0), range(1, 10)):
        _, out = run(CountCore(0, ONE), cut(tape, places))
        assert states(out) == [1 if EVENT_TYPES[kind].identity else 2]
        assert (rejected(out), accepted(out)["type"].to_list()) == ([], [kind, kind])


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_a_core_from_a_snapshot_still_knows_what_it_kept(kind: str) -> None:
    batches = cut(taped(kind, [GOOD[kind], GOOD[kind]]), range(1, 10))
    _, out = run(CountCore(0, ONE), batches, lambda: CountCore(0, ONE), range(len(batches)))
    assert states(out) == [1 if EVENT_TYPES[kind].identity else 2]


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_the_archive_gets_a_typed_column_for_each_field(kind: str) -> None:
    _, out = run(CountCore(0, ONE), [taped(kind, [GOOD[kind]]).batch()])
    values = [record.value for record in out if record.topic == ACCEPTED]
    rows: Rows = rows_of([part(ACCEPTED, 0, 0, values)], Log("e", 1))
    (table,) = rows.typed[kind]
    for known in EVENT_TYPES[kind].fields:
        column = table[f"f_{known.name}"]
        assert column.to_pylist() == [GOOD[kind].get(known.name)], known.name
        assert column.type == (pa.int64() if known.kind == "integer" else pa.string()), known.name
    assert rows.quarantined == 0


@pytest.mark.parametrize(
    ("kind", "changes", "measure", "expected"),
    [
        (
            "meal.registered",
            [{"portions": 38}, {"class": "3A9", "portions": 20}, {"portions": 36}],
            "portions",
            56,
        ),
        ("attendance.class_closed", [{}, {"absent_unexcused": 4}], "absent_unexcused", 4),
        ("sync.pushed", [{}, {"accepted": 90, "failed": 10}], "failed", 13),
    ],
)
def test_sums_hold_what_is_in_force(
    kind: str, changes: list[dict[str, Any]], measure: str, expected: int
) -> None:
    body = f"measures: {{total: sum({measure})}}\nwhen: total >= 1\n"
    tape = taped(kind, [GOOD[kind] | change for change in changes], body)
    assert states(run(CountCore(0, ONE), [tape.batch()])[1]) == [expected]


def test_leave_for_days_to_come_counts_on_the_day_it_is_sent() -> None:
    data = GOOD["leave.requested"] | {"first": "2027-01-04", "last": "2027-01-08"}
    _, out = run(CountCore(0, ONE), [taped("leave.requested", [data]).batch()])
    ((_, start, _),) = panes_of(out)
    assert start == at("00:00")
    assert start <= at("07:10") < start + DAY_MS


def test_the_level_of_a_changed_day_stands_before_the_schools() -> None:
    """As the vendor of a heartbeat does: what the event says is what rules group by."""
    body = "where: level = 'preschool'\nmeasures: {n: count(*)}\nwhen: n >= 1\n"
    data = GOOD["calendar.overridden"] | {"level": "preschool"}
    _, out = run(CountCore(0, ONE), [taped("calendar.overridden", [data], body).batch()])
    assert states(out) == [1]
