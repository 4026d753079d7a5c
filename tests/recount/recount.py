"""The naive recount: what the engine must come to, computed from the sent file in plain Python.

Judge of the whole project, so it shares nothing with it: the standard library only, and everything
in memory, one event after the other. It reads the file that was sent, never the topic.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

CIVIL = timezone(timedelta(hours=7))
ABSENT = ("absent_excused", "absent_unexcused")

Key = tuple[str, ...]


@dataclass
class Refused:
    """A line that must not count: its number from 1 and why."""

    line: int
    reason: str


@dataclass
class Expected:
    """What must come out of a file of events."""

    days: dict[Key, dict[str, int]] = field(default_factory=dict)
    """(school, date) → enrolled, absent, present, released, reported."""
    sessions: dict[Key, dict[str, int]] = field(default_factory=dict)
    """(school, session, date) → marked, absent."""
    events: int = 0
    """Distinct valid events."""
    refused: list[Refused] = field(default_factory=list)


@dataclass
class _Mark:
    """What is known of one pupil's session: a status, since when, and whether a mark came at all."""

    status: str
    time: float
    marked: bool


def recount_events(lines: Iterable[str | bytes], known_schools: set[str] | None = None) -> Expected:
    """Recount CloudEvents, one a line, in the order in which they were sent."""
    expected = Expected()
    seen: dict[Key, Any] = {}
    reports: dict[Key, tuple[float, dict[str, int]]] = {}
    marks: dict[Key, _Mark] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        event = _read(line)
        if event is None:
            expected.refused.append(Refused(number, "invalid"))
            continue
        data = event["data"]
        if known_schools is not None and data["school"] not in known_schools:
            expected.refused.append(Refused(number, "unknown_school"))
            continue
        name = (str(event["source"]), str(event["id"]))
        content = (event["type"], event["time"], data)
        if name in seen:
            if seen[name] != content:
                expected.refused.append(Refused(number, "id_reused"))
            continue
        seen[name] = content
        expected.events += 1
        time = _seconds(event["time"])
        if event["type"] == "attendance.day_reported":
            _report(reports, data, time)
        elif event["type"] == "attendance.marked":
            _mark(marks, data, time)
        elif event["type"] == "attendance.corrected":
            _correct(marks, data, time)
    expected.days = {key: numbers for key, (_, numbers) in reports.items()}
    for (school, session, date, _pupil), mark in marks.items():
        if mark.marked:
            cell = expected.sessions.setdefault((school, session, date), {"marked": 0, "absent": 0})
            cell["marked"] += 1
            cell["absent"] += mark.status in ABSENT
    return expected


def recount_nyc(path: Path) -> Expected:
    """Recount New York City's daily attendance file."""
    expected = Expected()
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            text = row["Date"]
            key = (row["School DBN"], f"{text[:4]}-{text[4:6]}-{text[6:]}")
            if key in expected.days:
                raise ValueError(f"{key} stands in the file twice")
            expected.days[key] = {
                "enrolled": int(row["Enrolled"]),
                "absent": int(row["Absent"]),
                "present": int(row["Present"]),
                "released": int(row["Released"]),
                "reported": 1,
            }
            expected.events += 1
    return expected


def _report(reports: dict[Key, tuple[float, dict[str, int]]], data: dict[str, Any], time: float) -> None:
    """A later report of a school's day replaces the earlier; of equal times the one sent last."""
    key = (data["school"], data["date"])
    if key in reports and reports[key][0] > time:
        return
    numbers = {name: int(data[name]) for name in ("enrolled", "absent", "present", "released")}
    reports[key] = (time, numbers | {"reported": 1})


def _mark(marks: dict[Key, _Mark], data: dict[str, Any], time: float) -> None:
    """A mark counts; if a newer correction waited for it, with the correction's status."""
    key = (data["school"], data["session"], data["date"], data["pupil"])
    old = marks.get(key)
    if old is None or old.time <= time:
        marks[key] = _Mark(data["status"], time, marked=True)
    elif not old.marked:
        marks[key] = _Mark(old.status, old.time, marked=True)


def _correct(marks: dict[Key, _Mark], data: dict[str, Any], time: float) -> None:
    """A correction puts its status in place; before any mark it waits and counts nothing."""
    key = (data["school"], data["session"], data["date"], data["pupil"])
    old = marks.get(key)
    if old is None:
        marks[key] = _Mark(data["new"], time, marked=False)
    elif old.time <= time:
        marks[key] = _Mark(data["new"], time, marked=old.marked)


_FIELDS = {
    "attendance.day_reported": ("school", "date", "enrolled", "present", "absent", "released"),
    "attendance.marked": ("school", "class", "pupil", "date", "session", "status"),
    "attendance.corrected": ("school", "pupil", "date", "session", "old", "new", "by"),
    "source.heartbeat": ("school", "vendor"),
}


def _read(line: str | bytes) -> dict[str, Any] | None:
    """An event that is plainly one, else None. Subtler faults are the validator's own tests' business."""
    try:
        event = json.loads(line, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or event.get("specversion") != "1.0":
        return None
    fields = _FIELDS.get(event.get("type", ""))
    data = event.get("data")
    if fields is None or not isinstance(data, dict) or any(name not in data for name in fields):
        return None
    if not all(isinstance(event.get(name), str) and event[name] for name in ("id", "source", "time")):
        return None
    numbers = [data[name] for name in ("enrolled", "present", "absent", "released") if name in fields]
    if any(type(value) is not int or value < 0 for value in numbers):
        return None
    if numbers and numbers[0] != sum(numbers[1:]):
        return None
    try:
        _seconds(event["time"])
    except ValueError:
        return None
    return event


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _seconds(text: str) -> float:
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError(f"{text} has no offset")
    return when.timestamp()
