"""The roll call of one school day: what is due, what came, and a school's honest state. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from schemas.civil import OFFSET_MS
from schemas.reference import Reference, Unit

MINUTE_MS: Final = 60_000
NOON: Final = 12 * 60
OPENS_BEFORE: Final = 60
"""Minutes before its deadline from which on a roll call counts as open."""
HIDDEN_BELOW: Final = 5
"""Numbers of pupils below this are not shown."""

NOT_PUPILS: Final = frozenset(
    {"missing", "expected", "firing", "pending", "members", "batches", "sent", "failed", "failing"}
)
"""Measures that count classes, schools or records: they are shown however small they are."""

Pair = tuple[str, str]
"""A class's code and a session."""


@dataclass(frozen=True, slots=True)
class ClassPlan:
    """One class as it is on a day."""

    code: str
    grade: str
    sessions: tuple[str, ...]
    enrolled: int


@dataclass(frozen=True, slots=True)
class SchoolPlan:
    """One school as it is on a day, and the rolls it owes."""

    code: str
    name: str
    commune: str
    level: str
    vendor: str
    open: bool
    """Whether the day is a school day for it."""
    classes: tuple[ClassPlan, ...]
    morning: frozenset[Pair]
    afternoon: frozenset[Pair]
    morning_by: int | None
    """Minute of the day by which the calendar wants those rolls closed; None: it says nothing."""
    afternoon_by: int | None

    def due(self, minute: int) -> frozenset[Pair]:
        """Rolls of the half-day that ``minute`` of the civil day belongs to."""
        return self.afternoon if self.afternoon and minute >= NOON else self.morning

    def deadline(self, minute: int) -> int | None:
        """Deadline, as a minute of the day, of what is `due`; None: there is none."""
        return self.afternoon_by if self.afternoon and minute >= NOON else self.morning_by


@dataclass(frozen=True, slots=True)
class DayPlan:
    """All schools of one day; communes in order of name."""

    day: int
    schools: dict[str, SchoolPlan]
    communes: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Code, name, and its schools' codes."""


@dataclass(slots=True)
class Closing:
    """A closed roll."""

    at: int
    enrolled: int
    absent: int


@dataclass(slots=True)
class SchoolRoll:
    """What came of one school on one day."""

    closed: dict[Pair, Closing] = field(default_factory=dict)
    marks: dict[Pair, int] = field(default_factory=dict)
    """Marks received; a repeated mark counts again."""
    counted: tuple[frozenset[Pair], list[int]] | None = None
    """`closing_minutes` of the rolls that were asked for last; to be emptied when a roll is closed."""


def plan_day(reference: Reference, day: int) -> DayPlan:
    """What the reference data says about a day."""
    valid = {unit.code: unit for unit in reference.units if unit.holds(day)}
    classes: dict[str, list[ClassPlan]] = {}
    for entry in reference.classes:
        if entry.holds(day):
            plan = ClassPlan(entry.code, entry.grade, entry.sessions or ("morning",), entry.enrolled)
            classes.setdefault(entry.school, []).append(plan)
    schools = {
        unit.code: _school(unit, valid, reference, day, classes.get(unit.code, []))
        for unit in valid.values()
        if unit.kind == "school"
    }
    groups: dict[str, list[str]] = {}
    for plan_ in schools.values():
        groups.setdefault(plan_.commune, []).append(plan_.code)
    named = [
        (
            code,
            valid[code].name if code in valid else "",
            tuple(sorted(codes, key=lambda c: natural(schools[c].name))),
        )
        for code, codes in groups.items()
    ]
    return DayPlan(day, schools, tuple(sorted(named, key=lambda entry: (natural(entry[1]), entry[0]))))


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key by which names are in order and the numbers in them too: 2 before 10."""
    parts = re.findall(r"\d+|\D+", name)
    return tuple((int(part), "") if part.isdigit() else (0, part) for part in parts)


def _school(
    unit: Unit, valid: dict[str, Unit], reference: Reference, day: int, classes: list[ClassPlan]
) -> SchoolPlan:
    above = _above(unit, valid)
    commune = next((one.code for one in above if one.kind == "commune"), unit.parent)
    ordered = tuple(sorted(classes, key=lambda entry: entry.code))
    pairs = {(entry.code, session) for entry in ordered for session in entry.sessions}
    afternoon = frozenset(pair for pair in pairs if pair[1] == "afternoon")
    morning = frozenset(pairs) - afternoon
    return SchoolPlan(
        code=unit.code,
        name=unit.name,
        commune=commune,
        level=unit.level,
        vendor=unit.vendor,
        open=reference.is_school_day(day, unit.level or None, [unit.code, *(one.code for one in above)]),
        classes=ordered,
        morning=morning,
        afternoon=afternoon,
        morning_by=_by(reference, unit.level, morning),
        afternoon_by=_by(reference, unit.level, afternoon),
    )


def _by(reference: Reference, level: str, pairs: frozenset[Pair]) -> int | None:
    """The latest deadline of these rolls' sessions."""
    known = (reference.calendar.deadline(level, session) for session in {pair[1] for pair in pairs})
    return max((minute for minute in known if minute is not None), default=None)


def _above(unit: Unit, valid: dict[str, Unit]) -> list[Unit]:
    found: list[Unit] = []
    parent = valid.get(unit.parent)
    while parent is not None and parent not in found:
        found.append(parent)
        parent = valid.get(parent.parent)
    return found


def minute_of(ms: int) -> int:
    """Minute of the civil day (0–1439)."""
    return (ms + OFFSET_MS) // MINUTE_MS % 1440


def state_of(
    plan: SchoolPlan,
    roll: SchoolRoll | None,
    now: int,
    *,
    judged: bool,
    silent: bool,
    seen: bool,
) -> str:
    """A school's state at ``now`` (ms): one of `console.words.STATES`.

    Nothing is calm by default: ``judged`` False hides every other state, a school that was never seen
    is `never` once its roll is open, and `closed` needs every roll that is due.
    """
    minute = minute_of(now)
    due = plan.due(minute)
    if not plan.open or not due:
        return "no_session"
    if not judged:
        return "unjudged"
    if silent:
        return "silent"
    closed = closed_of(roll, due)
    if closed == len(due):
        return "closed"
    deadline = plan.deadline(minute)
    opened = deadline is not None and minute >= deadline - OPENS_BEFORE
    if opened and not seen:
        return "never"
    if deadline is not None and minute >= deadline:
        return "late"
    return "filling" if opened or closed or (roll is not None and roll.marks) else "not_due"


def closing_minutes(roll: SchoolRoll | None, due: frozenset[Pair]) -> list[int]:
    """Minutes of the day at which the rolls that are due were closed, in no order."""
    if roll is None:
        return []
    if roll.counted is None or roll.counted[0] is not due:
        found = [minute_of(closing.at) for pair, closing in roll.closed.items() if pair in due]
        roll.counted = due, found
    return roll.counted[1]


def closed_of(roll: SchoolRoll | None, due: frozenset[Pair]) -> int:
    """How many of the rolls that are due are closed."""
    return len(closing_minutes(roll, due))


def shown(pupils: int) -> int | None:
    """A number of pupils as it may be shown; None: hidden, because it is below `HIDDEN_BELOW`."""
    return None if pupils < HIDDEN_BELOW else pupils


def hides(measures: Mapping[str, float | None]) -> bool:
    """Whether measures hold a count of 1 to 4, which could be pupils: then none of them is shown."""
    return any(
        value is not None and value == int(value) and 0 < value < HIDDEN_BELOW and name not in NOT_PUPILS
        for name, value in measures.items()
    )
