"""What the rows of an event type look like to a rule: names, types, decimals."""

from __future__ import annotations

from rules.measures import Rows
from rules.sql import Type
from schemas.registry import EventType
from schemas.units import LEVELS as ALL_LEVELS
from schemas.units import OWNERSHIPS as ALL_OWNERSHIPS

LEVELS = tuple(level for level in ALL_LEVELS if level)
OWNERSHIPS = tuple(ownership for ownership in ALL_OWNERSHIPS if ownership)

REFERENCE_DIMENSIONS = (
    "level",
    "ownership",
    "vendor",
    "commune",
    "district",
    "city",
    "school_name",
    "grade",
)
"""Joined from the dated reference data; a field of the event with the same name wins."""
SOURCE = "source"
"""CloudEvents' ``source`` of the event."""


def rows_of(kind: EventType) -> Rows:
    """Columns that ``where``, filters and aggregates may read."""
    types: dict[str, Type] = dict.fromkeys((*REFERENCE_DIMENSIONS, SOURCE), "text")
    types |= {field.name: "number" if field.kind == "integer" else "text" for field in kind.fields}
    numbers = [field for field in kind.fields if field.kind == "integer"]
    return Rows(
        types,
        {field.name: field.decimals for field in numbers},
        {field.name: field.low for field in numbers},
        {"level": LEVELS, "ownership": OWNERSHIPS}
        | {field.name: field.choices for field in kind.fields if field.kind == "choice"},
    )


def groupable(kind: EventType) -> tuple[str, ...]:
    """Names that ``group_by`` may use, the event's own dimensions first."""
    return tuple(dict.fromkeys((*kind.dimensions, *REFERENCE_DIMENSIONS, SOURCE)))
