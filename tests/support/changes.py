"""Events with ``before`` and ``after``, as senders and as Debezium's connectors write them."""

from __future__ import annotations

from typing import Any

from tests.support.engine import MONDAY, at, event

Row = dict[str, Any]


def mark_row(pupil: str, status: str, *, school: str = "A", day: str = "2026-09-07", **more: Any) -> Row:
    """A pupil's mark of the morning as data or as a row of a table."""
    row = {"school": school, "class": "1A", "pupil": pupil, "date": day, "session": "morning"}
    return {**row, "status": status, **more}


def gate_row(pupil: str, direction: str, **more: Any) -> Row:
    """A passing of a gate, which has no identity."""
    row = {"school": "A", "pupil": pupil, "date": "2026-09-07", "direction": direction, "gate": "G1"}
    return {**row, **more}


def pair(
    kind: str, when: int, event_id: str, before: Row | None, after: Row | None, **extension: Any
) -> dict[str, Any]:
    """A CloudEvent whose data is a pair."""
    return event(kind, when, event_id, before=before, after=after) | extension


def envelope(
    op: str,
    before: Row | None,
    after: Row | None,
    *,
    when: int = at("07:00", MONDAY),
    lsn: int | None = 100,
    kind: str | None = "attendance.marked",
    **source: Any,
) -> dict[str, Any]:
    """A Debezium envelope of PostgreSQL's connector, after the transforms of docs/events.md."""
    place = {
        "version": "3.2.0", "connector": "postgresql", "name": "hocba", "ts_ms": when, "snapshot": "false",
        "db": "truong", "sequence": f'[null,"{lsn}"]', "schema": "public", "table": "mark", "txId": 7,
        "lsn": lsn, "xmin": None,
    }  # fmt: skip
    found = {
        "before": before, "after": after, "source": place | source, "transaction": None, "op": op,
        "ts_ms": when + 250,
    }  # fmt: skip
    return found if kind is None else {**found, "type": kind}
