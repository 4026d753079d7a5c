"""Reference data as one frozen whole: units, classes and calendar, all dated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Self

import polars as pl
import pydantic

from schemas.calendar import Calendar
from schemas.dated import SCHOOL_DIMENSIONS, GradeTables, Rosters, SchoolTables
from schemas.errors import DocumentError, Fault
from schemas.units import SchoolClass, Unit, class_faults, unit_faults

DIMENSIONS: Final = (*SCHOOL_DIMENSIONS, "grade")
"""What `Reference.join` adds. ``grade`` is that of the event's class; null for events without one."""


class _Document(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, extra="forbid", frozen=True)

    units: tuple[Unit, ...] = ()
    classes: tuple[SchoolClass, ...] = ()
    calendar: Calendar = Calendar()


@dataclass(frozen=True, slots=True)
class Reference:
    """Reference data, consistent and in canonical order. Make it with `of` or `from_json`."""

    units: tuple[Unit, ...]
    classes: tuple[SchoolClass, ...]
    calendar: Calendar
    hash: str
    """SHA-256 of the canonical JSON."""
    _schools: SchoolTables = field(compare=False, repr=False)
    _grades: GradeTables = field(compare=False, repr=False)
    _rosters: Rosters = field(compare=False, repr=False)

    @classmethod
    def of(
        cls,
        units: Iterable[Unit] = (),
        classes: Iterable[SchoolClass] = (),
        calendar: Calendar | None = None,
    ) -> Self:
        """Reference data of these parts. `DocumentError` when they contradict each other."""
        ordered = tuple(sorted(units, key=lambda unit: (unit.code, unit.first, unit.last)))
        groups = tuple(sorted(classes, key=lambda entry: (entry.school, entry.code, entry.first, entry.last)))
        faults = [
            Fault("reference", 0, 0, f'unit "{ordered[fault.index].code}": {fault.message}', fault.expected)
            for fault in unit_faults(ordered)
        ]
        for fault in class_faults(groups, ordered):
            place = f'class "{groups[fault.index].code}" of "{groups[fault.index].school}"'
            faults.append(Fault("reference", 0, 0, f"{place}: {fault.message}", fault.expected))
        if faults:
            raise DocumentError(faults)
        known = calendar or Calendar()
        document = _Document(units=ordered, classes=groups, calendar=known)
        return cls(
            units=ordered,
            classes=groups,
            calendar=known,
            hash=hashlib.sha256(_canonical(document)).hexdigest(),
            _schools=SchoolTables(ordered),
            _grades=GradeTables(groups),
            _rosters=Rosters(ordered, groups),
        )

    @staticmethod
    def from_json(text: bytes | str) -> Reference:
        """The reference data that `to_json` wrote. `DocumentError` when it is not valid.

        The last few are kept: every partition of a process reads the same control record.
        """
        return _read(text.encode() if isinstance(text, str) else bytes(text))

    def to_json(self) -> bytes:
        """Canonical JSON: the same reference data gives the same bytes."""
        return _canonical(_Document(units=self.units, classes=self.classes, calendar=self.calendar))

    def join(self, frame: pl.DataFrame) -> pl.DataFrame:
        """``frame`` with `DIMENSIONS` and ``_known``, by ``school`` and ``_day`` (``class`` if there).

        A row whose school is not valid on its day has nulls and ``_known`` false. An event's own
        field of the same name as a dimension (``vendor`` of a heartbeat) stays.
        """
        days = frame["_day"]
        schools = frame["school"].to_list()
        columns = self._schools.look_up(schools, days).get_columns()
        if "class" in frame.columns:
            columns.append(self._grades.look_up(schools, frame["class"].to_list(), days))
        else:
            columns.append(pl.Series("grade", [None], dtype=pl.String).new_from_index(0, len(frame)))
        return frame.hstack([column for column in columns if column.name not in frame.columns])

    def roster_size(self, group: Mapping[str, str], day: int) -> int | None:
        """Pupils enrolled on ``day`` (days since 1970) in the classes of ``group``.

        Keys of the group: school, class, session, grade and the dimensions. None when it names
        something else or when no class of it is known.
        """
        return self._rosters.size(group, day)

    def is_school_day(self, day: int, level: str | None = None, units: Collection[str] = ()) -> bool:
        """Whether ``day`` is a school day; see `Calendar.is_school_day`."""
        return self.calendar.is_school_day(day, level, units)


def _canonical(document: _Document) -> bytes:
    plain: dict[str, Any] = document.model_dump(mode="json", exclude_defaults=True)
    return json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


@lru_cache(maxsize=4)
def _read(text: bytes) -> Reference:
    try:
        document = _Document.model_validate_json(text)
    except pydantic.ValidationError as error:
        faults = [
            Fault("reference", 0, 0, f"{'.'.join(map(str, found['loc']))}: {found['msg']}")
            for found in error.errors(include_url=False)
        ]
        raise DocumentError(faults) from None
    return Reference.of(document.units, document.classes, document.calendar)
