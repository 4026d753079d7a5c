"""Checks that events of every form share, and what an event is once they are passed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import pydantic

from schemas import civil
from schemas.nearest import did_you_mean
from schemas.registry import EventData, EventType
from schemas.strictjson import shown

EARLIEST_MS: Final = civil.parse_time("2000-01-01T00:00:00Z")
"""No event is older than this."""
EARLIEST_DAY: Final = civil.parse_day("2000-01-01")
"""No event belongs to a day before this."""
AHEAD_MS: Final = 2 * civil.DAY_MS
"""How far an event's time may be ahead of its arrival."""

Operation = Literal["put", "delete", "snapshot"]


@dataclass(frozen=True, slots=True)
class Before:
    """What a changed row said before. ``values``: by the type's field names, without nulls; where the
    type has an identity, only its fields need be there."""

    values: dict[str, Any]
    time: int
    """Event time of the row, ms."""
    day: int
    """Civil day it belongs to."""


@dataclass(frozen=True, slots=True)
class Change:
    """What an event with ``before`` and ``after`` says beside its row."""

    operation: Operation
    """``put``: the row holds from now on; ``delete``: it holds no longer; ``snapshot``: it was read as it
    stood, so it counts and begins no alert."""
    order: int
    """Time of the change, ms: of two changes of one thing the later holds."""
    before: Before | None


@dataclass(frozen=True, slots=True)
class Event:
    """A valid event."""

    type: EventType
    id: str
    source: str
    time: int
    """Milliseconds since the epoch."""
    day: int
    """Civil day it belongs to, days since 1970-01-01."""
    data: EventData
    """Of a deletion what was there before; fields the sender does not tell are None."""
    change: Change | None = None


class Refused(Exception):
    """An event is not valid: the reason's code, the place in the document, and the message."""

    def __init__(self, reason: str, field: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field
        self.message = message


def checked(kind: EventType, values: Any, place: str) -> EventData:
    """The data of a type that stands at ``place`` of the document. Raises `Refused`."""
    try:
        return kind.data.model_validate(values)
    except pydantic.ValidationError as error:
        raise _fault(kind, error, place) from None


def _fault(kind: EventType, error: pydantic.ValidationError, place: str) -> Refused:
    """The first fault of the data: of a known field if there is one, else an unknown field."""
    faults = error.errors(include_url=False)
    fault = faults[0]
    if not fault["loc"]:
        return Refused("invalid", f"{place}.{kind.sums[0].total}", str(fault["ctx"]["error"]))
    name = str(fault["loc"][0])
    if fault["type"] == "extra_forbidden":
        known = [field.name for field in kind.fields]
        message = f"{shown(name)} is not a field of {kind.name}{did_you_mean(name, known)}"
        return Refused("invalid", f"{place}.{name[:64]}", message)
    expected = kind.field(name).expected
    if fault["type"] == "missing":
        extra = [str(other["loc"][0]) for other in faults if other["type"] == "extra_forbidden"]
        meant = next((word for word in extra if did_you_mean(word, [name])), None)
        hint = f"; did you mean it by {shown(meant)}?" if meant else ""
        return Refused("invalid", f"{place}.{name}", f"{name} is missing; expected {expected}{hint}")
    return Refused("invalid", f"{place}.{name}", f"expected {expected}, got {shown(fault['input'])}")


def check_time(time: int, arrived: int, place: str = "time") -> None:
    """Raises `Refused` for a time that no event may have."""
    if time < EARLIEST_MS:
        raise Refused("time_out_of_range", place, "the time is before 2000-01-01")
    if time > arrived + AHEAD_MS:
        raise Refused("time_out_of_range", place, "the time is more than 2 days after the event's arrival")


def day_of_data(kind: EventType, text: str | None, time: int, arrived: int, place: str) -> int:
    """The civil day of data whose day field says ``text`` (None: it says nothing). Raises `Refused`."""
    if kind.day_field is None or text is None:
        return civil.day_of(time)
    day, field = civil.parse_day(text), f"{place}.{kind.day_field}"
    if day < EARLIEST_DAY:
        raise Refused("time_out_of_range", field, f"{kind.day_field} is before 2000-01-01")
    if day > latest_day(arrived):
        message = f"{kind.day_field} is more than 2 days after the event's arrival"
        raise Refused("time_out_of_range", field, message)
    return day


def latest_day(arrived: int) -> int:
    """The last civil day an event that arrived at ``arrived`` may belong to."""
    return civil.day_of(arrived + AHEAD_MS)


def day_text(kind: EventType, data: EventData) -> str | None:
    """What the day field of data says; None where the type has none, or it is not told."""
    if kind.day_field is None:
        return None
    text: str | None = getattr(data, kind.field(kind.day_field).attribute)
    return text
