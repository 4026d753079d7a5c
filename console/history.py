"""What the pages ask of ClickHouse. Everything here may be away; the wall never asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from console.roll import shown
from rules.sql import ExpressionError, compile_scalar, parse_expression
from rules.sql.tree import Call, Comparison, Literal, Logical, Name, Node
from schemas.wire import Transition
from store.clickhouse.client import ClickHouse
from store.rejected import RejectedGroup, rejected_groups

WINDOWS = 40


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


def compared(condition: str, measures: Mapping[str, float | None]) -> tuple[str, float] | None:
    """The measure that a condition compares, and the limit that holds now: the last such comparison.

    ``marked >= 15 and rate > greatest(0.08, usual.mean)`` gives ``rate`` and, where ``usual.mean`` is
    0.1, 0.1; where it is unknown, 0.08.
    """
    try:
        tree = parse_expression(condition)
    except ExpressionError:
        return None
    for node in reversed(_comparisons(tree)):
        limit = compile_scalar(node.right)({**measures})
        number = limit if isinstance(limit, int | float) else _constant(node.right)
        if isinstance(node.left, Name) and number is not None and not isinstance(number, bool):
            return node.left.name, float(number)
    return None


def _comparisons(node: Node) -> list[Comparison]:
    if isinstance(node, Logical):
        return _comparisons(node.left) + _comparisons(node.right)
    return [node] if isinstance(node, Comparison) else []


def _constant(node: Node) -> int | float | None:
    """What a limit is at least or at most, whatever its measures are."""
    if isinstance(node, Call) and node.function in {"greatest", "least"}:
        return next((found for one in node.args if (found := _constant(one)) is not None), None)
    return node.value if isinstance(node, Literal) and isinstance(node.value, int | float) else None


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
