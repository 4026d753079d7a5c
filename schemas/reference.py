"""Reference data: the organisation by date, classes with their rosters, the calendar."""

from __future__ import annotations

from schemas.calendar import Calendar, DayOff, Period
from schemas.organisation import DIMENSIONS, Reference
from schemas.reference_files import (
    load_reference,
    parse_calendar,
    parse_classes,
    parse_reference,
    parse_units,
)
from schemas.units import SchoolClass, Unit

__all__ = [
    "DIMENSIONS",
    "Calendar",
    "DayOff",
    "Period",
    "Reference",
    "SchoolClass",
    "Unit",
    "load_reference",
    "parse_calendar",
    "parse_classes",
    "parse_reference",
    "parse_units",
]
