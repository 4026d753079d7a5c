"""What the pages ask of ClickHouse. Everything here may be away; the wall never asks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from console.roll import shown
from schemas.wire import Transition
from store.clickhouse.client import ClickHouse
from store.rejected import RejectedGroup, rejected_groups

WINDOWS = 40
_COMPARED = re.compile(
    r"([a-z_][a-z0-9_]*)\s*(?:>=|<=|>|<)\s*(?:greatest\(|least\()?\s*([0-9]+(?:\.[0-9]+)?)"
)


@dataclass(frozen=True, slots=True)
class Event:
    """An event that an alert stands on, without what it says of a pupil."""

    time: str
    type: str
    school: str
    id: str


@dataclass(frozen=True, slots=True)
class ClosingRow:
    """A class's closed roll; None: a number that is hidden."""

    day: str
    session: str
    at: str
    enrolled: int | None
    absent: int | None


def compared(condition: str) -> tuple[str, float] | None:
    """The measure that a condition compares with a number, and that number: the last such comparison.

    A condition such as ``marked >= 15 and rate > greatest(0.08, …)`` gives ``rate`` and 0.08.
    """
    found = _COMPARED.findall(condition)
    return (found[-1][0], float(found[-1][1])) if found else None


def measure_history(url: str, change: Transition, measure: str) -> list[tuple[str, float]]:
    """The measure in the last windows of an alert's group, oldest first. Raises StoreError."""
    rows = _ask(
        url,
        "SELECT formatDateTime(window_start, '%d/%m %H:%i'), measures[{measure:String}] "  # noqa: S608
        "FROM trucban.aggregates WHERE rule = {rule:String} "
        "AND length(`group`) = length({keys:Array(String)}) "
        "AND arrayAll((k, v) -> `group`[k] = v, {keys:Array(String)}, {values:Array(String)}) "
        "AND measures[{measure:String}] IS NOT NULL ORDER BY window_start DESC, version DESC "
        f"LIMIT 1 BY window_start LIMIT {WINDOWS}",
        {
            "measure": measure,
            "rule": change.rule,
            "keys": [*change.group],
            "values": [*change.group.values()],
        },
    )
    return [(str(at), float(value)) for at, value in reversed(rows)]


def events_of(url: str, ids: list[str]) -> list[Event]:
    """The events with these ids, the newest first. Raises StoreError."""
    rows = _ask(
        url,
        "SELECT formatDateTime(time, '%d/%m %H:%i:%S'), type, school, id FROM trucban.events "
        "WHERE id IN {ids:Array(String)} ORDER BY time DESC, id LIMIT 50",
        {"ids": ids},
    )
    return [Event(*map(str, row)) for row in rows]


def closings_of(url: str, school: str, group: str) -> list[ClosingRow]:
    """How a class's roll was closed on its last days, newest first. Raises StoreError."""
    rows = _ask(
        url,
        "SELECT JSONExtractString(data, 'date') AS day, "  # noqa: S608 - a constant
        "JSONExtractString(data, 'session') AS session, "
        "formatDateTime(max(time) AS last, '%H:%i'), argMax(JSONExtractInt(data, 'enrolled'), time), "
        "argMax(JSONExtractInt(data, 'absent_excused') + JSONExtractInt(data, 'absent_unexcused'), time) "
        "FROM trucban.events WHERE type = 'attendance.class_closed' AND school = {school:String} "
        "AND JSONExtractString(data, 'class') = {class:String} GROUP BY day, session "
        f"ORDER BY day DESC, last DESC LIMIT {WINDOWS}",
        {"school": school, "class": group},
    )
    return [ClosingRow(str(a), str(b), str(c), shown(int(d)), shown(int(e))) for a, b, c, d, e in rows]


def rejected(url: str) -> list[RejectedGroup]:
    """Rejected events by source, reason and field, most first. Raises StoreError."""
    client = ClickHouse(url, timeout=5)
    try:
        return rejected_groups(client)
    finally:
        client.close()


def _ask(url: str, sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    client = ClickHouse(url, timeout=5)
    try:
        return client.query(sql, parameters)
    finally:
        client.close()
