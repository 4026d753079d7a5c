"""Dated tables behind a reference: between two changes of anything, one table holds for all days.

The days on which something begins or ends cut time into segments. Tables are made for a segment when
it is first asked for, and kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from schemas.units import Dated, SchoolClass, Unit

SCHOOL_DIMENSIONS: Final = ("level", "ownership", "vendor", "commune", "district", "city", "school_name")
"""What is known of a school on a day: its own traits, the codes of the units above it, its name."""

Rows = npt.NDArray[np.int64]
School = tuple[str | None, ...]


def changes(entries: Iterable[Dated]) -> list[int]:
    """The days, sorted, from which on something is different."""
    return sorted({entry.first for entry in entries} | {entry.last + 1 for entry in entries})


def traits(units: Sequence[Unit], day: int) -> dict[str, School]:
    """`SCHOOL_DIMENSIONS` of each school that is valid on a day; None where there is nothing."""
    valid = {unit.code: unit for unit in units if unit.holds(day)}
    return {code: _traits(unit, valid) for code, unit in valid.items() if unit.kind == "school"}


def _traits(school: Unit, valid: Mapping[str, Unit]) -> School:
    above: dict[str, str] = {}
    unit = valid.get(school.parent)
    while unit is not None and unit.kind not in above:
        above[unit.kind] = unit.code
        unit = valid.get(unit.parent)
    places = (above.get(kind) for kind in ("commune", "district", "city"))
    return (school.level or None, school.ownership or None, school.vendor or None, *places, school.name)


@dataclass(frozen=True, slots=True)
class _Table:
    rows: dict[str, int]
    traits: pl.DataFrame


@dataclass(slots=True)
class SchoolTables:
    """The traits of schools, by segment of time. The last row of each table is for unknown schools."""

    units: Sequence[Unit]
    _changes: list[int] = field(init=False)
    _tables: dict[int, _Table] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._changes = changes(self.units)

    def segment(self, day: int) -> int:
        """Number of the segment that a day belongs to."""
        return bisect_right(self._changes, day)

    def look_up(self, codes: list[str], days: pl.Series) -> pl.DataFrame:
        """`SCHOOL_DIMENSIONS` and ``_known`` for rows of schools and days."""
        segments = np.searchsorted(np.array(self._changes, np.int64), days.to_numpy(), side="right")
        wanted = np.unique(segments).tolist()
        tables = [self._table(segment) for segment in wanted]
        if len(tables) == 1:
            return _gather(tables[0].traits, _places(tables[0], codes))
        places = np.zeros(len(codes), np.int64)
        offset = 0
        for segment, table in zip(wanted, tables, strict=True):
            here = np.flatnonzero(segments == segment)
            places[here] = _places(table, [codes[at] for at in here.tolist()]) + offset
            offset += len(table.traits)
        return _gather(pl.concat([table.traits for table in tables]) if tables else _EMPTY, places)

    def _table(self, segment: int) -> _Table:
        found = self._tables.get(segment)
        if found is None:
            found = self._tables[segment] = self._made(segment)
        return found

    def _made(self, segment: int) -> _Table:
        if segment == 0:
            return _Table({}, _frame([]))
        known = traits(self.units, self._changes[segment - 1])
        return _Table({code: row for row, code in enumerate(known)}, _frame(list(known.values())))


def _frame(rows: list[School]) -> pl.DataFrame:
    schema: dict[str, type[pl.DataType]] = dict.fromkeys(SCHOOL_DIMENSIONS, pl.String)
    nobody: School = (None,) * len(SCHOOL_DIMENSIONS)
    frame = pl.DataFrame([*rows, nobody], schema=schema, orient="row")
    return frame.with_columns(pl.Series("_known", [True] * len(rows) + [False]))


_EMPTY: Final = _frame([]).clear()


def _places(table: _Table, codes: list[str]) -> Rows:
    unknown = len(table.rows)
    get = table.rows.get
    return np.fromiter((get(code, unknown) for code in codes), np.int64, len(codes))


def _gather(frame: pl.DataFrame, places: Rows) -> pl.DataFrame:
    return frame.select(pl.all().gather(pl.Series(places)))


@dataclass(slots=True)
class GradeTables:
    """The grades of classes, by segment of time."""

    classes: Sequence[SchoolClass]
    _changes: list[int] = field(init=False)
    _tables: dict[int, dict[tuple[str, str], str | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._changes = changes(self.classes)

    def look_up(self, schools: list[str], names: list[str], days: pl.Series) -> pl.Series:
        """Grades for rows of schools, classes and days; null where there is none."""
        segments = np.searchsorted(np.array(self._changes, np.int64), days.to_numpy(), side="right")
        keys = zip(schools, names, strict=True)
        wanted = np.unique(segments).tolist()
        if len(wanted) == 1:
            grades = list(map(self._table(wanted[0]).get, keys))
        else:
            tables = {segment: self._table(segment) for segment in wanted}
            grades = [tables[at].get(key) for at, key in zip(segments.tolist(), keys, strict=True)]
        return pl.Series("grade", grades, dtype=pl.String)

    def _table(self, segment: int) -> dict[tuple[str, str], str | None]:
        found = self._tables.get(segment)
        if found is None:
            day = self._changes[segment - 1] if segment else None
            valid = [entry for entry in self.classes if day is not None and entry.holds(day)]
            found = {(entry.school, entry.code): entry.grade or None for entry in valid}
            self._tables[segment] = found
        return found


@dataclass(slots=True)
class Rosters:
    """Enrolled pupils of classes, added up by whatever a group names, by segment of time."""

    units: Sequence[Unit]
    classes: Sequence[SchoolClass]
    _changes: list[int] = field(init=False)
    _sums: dict[tuple[int, tuple[str, ...]], dict[tuple[str | None, ...], int]] = field(default_factory=dict)

    KEYS = ("school", "class", "session", "grade", *SCHOOL_DIMENSIONS)

    def __post_init__(self) -> None:
        self._changes = changes([*self.units, *self.classes])

    def size(self, group: Mapping[str, str], day: int) -> int | None:
        """Pupils enrolled on a day in the classes of a group; None where no class is known."""
        names = tuple(sorted(group))
        if not self.classes or any(name not in self.KEYS for name in names):
            return None
        segment = bisect_right(self._changes, day)
        sums = self._sums.get((segment, names))
        if sums is None:
            sums = self._sums[segment, names] = self._added(names, day)
        return sums.get(tuple(group[name] for name in names))

    def _added(self, names: tuple[str, ...], day: int) -> dict[tuple[str | None, ...], int]:
        schools = traits(self.units, day)
        sums: dict[tuple[str | None, ...], int] = {}
        for entry in self.classes:
            if not entry.holds(day) or entry.school not in schools:
                continue
            known: dict[str, str | None] = dict(zip(SCHOOL_DIMENSIONS, schools[entry.school], strict=True))
            known |= {"school": entry.school, "class": entry.code, "grade": entry.grade or None}
            for session in entry.sessions if "session" in names else ("",):
                key = tuple((known | {"session": session})[name] for name in names)
                sums[key] = sums.get(key, 0) + entry.enrolled
        return sums
