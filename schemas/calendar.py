"""The school calendar: terms, weekdays, holidays by level, sudden closures."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Final, Literal, Self

import pydantic

from schemas.civil import EPOCH_ORDINAL
from schemas.units import Level, SessionName

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: Final[tuple[Weekday, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        strict=True, extra="forbid", frozen=True, validate_by_alias=True, serialize_by_alias=True
    )


class Name(_Part):
    """A name in Vietnamese and English."""

    vi: str
    en: str


class Period(_Part):
    """Days from one date to another, both included."""

    name: Name | str = ""
    start: dt.date = pydantic.Field(alias="from")
    end: dt.date = pydantic.Field(alias="to")

    @pydantic.model_validator(mode="after")
    def in_order(self) -> Self:
        """Refuse a period that ends before it begins."""
        if self.end < self.start:
            raise ValueError(f"the period ends on {self.end}, before it begins on {self.start}")
        return self

    def has(self, day: int) -> bool:
        """Whether a day (days since 1970-01-01) is in the period."""
        return self.start.toordinal() <= day + EPOCH_ORDINAL <= self.end.toordinal()


class DayOff(Period):
    """A holiday or a closure; without levels or units it is for everybody."""

    levels: tuple[Level, ...] = ()
    units: tuple[str, ...] = ()

    def concerns(self, level: str | None, units: Collection[str]) -> bool:
        """Whether it is for schools of a level that belong to these units."""
        if self.levels and level not in self.levels:
            return False
        return not self.units or any(unit in units for unit in self.units)


class Deadline(_Part):
    """By when a class of a level closes the roll of a session, civil time ``HH:MM``."""

    level: Level
    session: SessionName
    by: str = pydantic.Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")

    @property
    def minutes(self) -> int:
        """Minutes since civil midnight."""
        return int(self.by[:2]) * 60 + int(self.by[3:])


class Calendar(_Part):
    """Which days are school days. Without terms every day is in term."""

    timezone: Literal["Asia/Ho_Chi_Minh"] = "Asia/Ho_Chi_Minh"
    terms: tuple[Period, ...] = ()
    weekdays: tuple[Weekday, ...] = WEEKDAYS[:5]
    weekdays_by_level: dict[Level, tuple[Weekday, ...]] = {}
    holidays: tuple[DayOff, ...] = ()
    closures: tuple[DayOff, ...] = ()
    deadlines: tuple[Deadline, ...] = ()

    def deadline(self, level: str, session: str) -> int | None:
        """Minutes since midnight by which a roll is closed; the last entry holds, None: no deadline."""
        found = [part.minutes for part in self.deadlines if (part.level, part.session) == (level, session)]
        return found[-1] if found else None

    def is_school_day(self, day: int, level: str | None = None, units: Collection[str] = ()) -> bool:
        """Whether ``day`` is a school day for schools of ``level``.

        ``units``: codes of the school and of the units above it; closures of those apply. Without a
        level only what is for every level applies.
        """
        weekdays = self.weekdays
        for known, its_own in self.weekdays_by_level.items():
            if known == level:
                weekdays = its_own
        if WEEKDAYS[(day + 3) % 7] not in weekdays:
            return False
        if self.terms and not any(term.has(day) for term in self.terms):
            return False
        off = (*self.holidays, *self.closures)
        return not any(part.has(day) and part.concerns(level, units) for part in off)
