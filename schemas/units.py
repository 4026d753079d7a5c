"""The organisation: cities, districts, communes, schools and their classes, each with its dates."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal, get_args

import pydantic

from schemas.civil import EPOCH_ORDINAL, day_text
from schemas.fields import Code, Count, Line
from schemas.nearest import nearest

UnitKind = Literal["city", "district", "commune", "school"]
Level = Literal[
    "", "preschool", "primary", "lower_secondary", "upper_secondary", "combined", "continuing", "special"
]
Ownership = Literal["", "public", "private"]
SessionName = Literal["morning", "afternoon", "full_day"]

KINDS: Final[tuple[str, ...]] = get_args(UnitKind)
"""From the top of the tree to its leaves."""
LEVELS: Final[tuple[str, ...]] = get_args(Level)
OWNERSHIPS: Final[tuple[str, ...]] = get_args(Ownership)
SESSIONS: Final[tuple[str, ...]] = get_args(SessionName)

ALWAYS_BEFORE: Final = -(2**31)
ALWAYS_AFTER: Final = 2**31 - 2


class Dated(pydantic.BaseModel):
    """Something that holds from one date to another, both included; None: without bound."""

    model_config = pydantic.ConfigDict(strict=True, extra="forbid", frozen=True)

    valid_from: dt.date | None = None
    valid_to: dt.date | None = None

    @property
    def first(self) -> int:
        """First day, as days since 1970-01-01."""
        return ALWAYS_BEFORE if self.valid_from is None else self.valid_from.toordinal() - EPOCH_ORDINAL

    @property
    def last(self) -> int:
        """Last day, as days since 1970-01-01."""
        return ALWAYS_AFTER if self.valid_to is None else self.valid_to.toordinal() - EPOCH_ORDINAL

    def holds(self, day: int) -> bool:
        """Whether it holds on a day."""
        return self.first <= day <= self.last


class Unit(Dated):
    """A unit of the organisation during one period. A change is another unit of the same code."""

    code: Code
    name: Line
    kind: UnitKind
    parent: str = ""
    level: Level = ""
    ownership: Ownership = ""
    vendor: Line = ""
    kitchen: Line = ""


class SchoolClass(Dated):
    """A class of a school during one period, and how many pupils are enrolled in it."""

    code: Code
    school: Code
    grade: Line = ""
    sessions: tuple[SessionName, ...] = ()
    enrolled: Count = 0


@dataclass(frozen=True, slots=True)
class RowFault:
    """A contradiction found in a list of units or classes: which entry and which of its columns."""

    index: int
    column: str
    message: str
    expected: str = ""
    suggestion: str = ""


def unit_faults(units: Sequence[Unit]) -> Iterator[RowFault]:
    """Everything that contradicts itself in a list of units."""
    by_code = _by_key(units, lambda unit: unit.code)
    yield from _period_faults(units, by_code)
    for index, unit in enumerate(units):
        first = units[by_code[unit.code][0]]
        if unit.kind != first.kind:
            message = f'"{unit.code}" is also the code of a {first.kind}'
            yield RowFault(index, "kind", message, "one kind for each code")
        if unit.kind != "school":
            for column in ("level", "ownership", "vendor", "kitchen"):
                if getattr(unit, column):
                    yield RowFault(index, column, f"a {unit.kind} has no {column}", "an empty cell")
        if unit.parent:
            yield from _parent_faults(
                index, unit, [units[at] for at in by_code.get(unit.parent, [])], by_code
            )


def _parent_faults(
    index: int, unit: Unit, parents: Sequence[Unit], codes: Iterable[str]
) -> Iterator[RowFault]:
    if not parents:
        message = f'there is no unit "{unit.parent}"'
        yield RowFault(
            index, "parent", message, "the code of a unit", nearest(unit.parent, {*codes} - {unit.code})
        )
    elif KINDS.index(parents[0].kind) >= KINDS.index(unit.kind):
        message = f'a {unit.kind} cannot be under "{unit.parent}", a {parents[0].kind}'
        yield RowFault(index, "parent", message, "a unit of a higher kind (city, district, commune, school)")
    elif (day := _uncovered(unit, parents)) is not None:
        message = f'parent "{unit.parent}" is not valid {_on(day)}'
        yield RowFault(index, "parent", message, "a parent that is valid as long as the unit")


def class_faults(classes: Sequence[SchoolClass], units: Sequence[Unit]) -> Iterator[RowFault]:
    """Everything that contradicts itself in a list of classes, or contradicts the units."""
    yield from _period_faults(classes, _by_key(classes, lambda entry: (entry.school, entry.code)))
    schools: dict[str, list[Unit]] = {}
    for unit in units:
        if unit.kind == "school":
            schools.setdefault(unit.code, []).append(unit)
    for index, entry in enumerate(classes):
        if entry.school not in schools:
            message = f'there is no school "{entry.school}"'
            yield RowFault(index, "school", message, "the code of a school", nearest(entry.school, schools))
        elif (day := _uncovered(entry, schools[entry.school])) is not None:
            message = f'school "{entry.school}" is not valid {_on(day)}'
            yield RowFault(index, "school", message, "a school that is valid as long as the class")


def _by_key(entries: Sequence[Any], key: Any) -> dict[Any, list[int]]:
    groups: dict[Any, list[int]] = {}
    for index, entry in enumerate(entries):
        groups.setdefault(key(entry), []).append(index)
    return groups


def _period_faults(entries: Sequence[Any], groups: dict[Any, list[int]]) -> Iterator[RowFault]:
    for index, entry in enumerate(entries):
        if entry.first > entry.last:
            message = f"it ends on {entry.valid_to}, before it begins on {entry.valid_from}"
            yield RowFault(index, "valid_to", message, "a date not before valid_from")
    for indexes in groups.values():
        ordered = sorted(indexes, key=lambda at: (entries[at].first, at))
        for earlier, later in pairwise(ordered):
            if entries[later].first <= entries[earlier].last:
                message = (
                    f'"{entries[later].code}" has another entry that is valid {_on(entries[later].first)}'
                )
                yield RowFault(later, "valid_from", message, "one valid entry for each code and day")


def _uncovered(entry: Dated, covers: Sequence[Dated]) -> int | None:
    """First day of ``entry`` on which none of ``covers`` holds."""
    day = entry.first
    for cover in sorted(covers, key=lambda other: other.first):
        if cover.first > day:
            break
        day = max(day, cover.last + 1)
    return day if day <= entry.last and day <= ALWAYS_AFTER else None


def _on(day: int) -> str:
    return "in the distant past" if day == ALWAYS_BEFORE else f"on {day_text(day)}"
