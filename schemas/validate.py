"""One event, checked by the models: the truth about what is valid.

The vectorised decoder (`schemas.decode`) accepts a subset of what is accepted here, with the same
values; everything it cannot prove comes here, as does every event that is rejected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pydantic

from schemas import civil
from schemas.cloudevent import EXPECTED, REQUIRED, Envelope, extension_fault
from schemas.events import EVENT_TYPES, unknown_type
from schemas.nearest import did_you_mean
from schemas.registry import EventData, EventType
from schemas.strictjson import JsonFault, read_json, shown
from schemas.topics import MAX_EVENT_BYTES

EARLIEST_MS: Final = civil.parse_time("2000-01-01T00:00:00Z")
"""No event is older than this."""
AHEAD_MS: Final = 2 * civil.DAY_MS
"""How far an event's time may be ahead of its arrival."""


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


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that is not a valid event.

    ``reason``: not_utf8, not_json, duplicate_key, too_deep, too_large, not_cloudevent, unknown_type,
    invalid or time_out_of_range. ``field`` is the place in the document, as in ``data.enrolled``.
    """

    row: int
    reason: str
    field: str
    message: str
    source: str = ""
    event_id: str = ""
    event_type: str = ""


def validate(value: bytes | None, arrived: int, row: int = 0) -> Event | Reject:
    """The event in a record's value, or why it is none. ``arrived`` is in ms since the epoch."""
    if value is None:
        return Reject(row, "not_json", "", "the record has no value; expected a CloudEvent")
    if len(value) > MAX_EVENT_BYTES:
        message = f"{len(value)} bytes; expected at most {MAX_EVENT_BYTES}"
        return Reject(row, "too_large", "", message)
    try:
        document = read_json(value)
    except JsonFault as fault:
        return _reject(row, fault.value, fault.reason, fault.field, fault.message)
    try:
        return _event(document, arrived)
    except _Refused as refused:
        return _reject(row, document, refused.reason, refused.field, refused.message)


class _Refused(Exception):
    def __init__(self, reason: str, field: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field
        self.message = message


def _reject(row: int, document: Any, reason: str, field: str, message: str) -> Reject:
    def named(name: str) -> str:
        value = document.get(name) if isinstance(document, dict) else None
        return value[:256] if isinstance(value, str) else ""

    return Reject(row, reason, field, message, named("source"), named("id"), named("type"))


def _event(document: Any, arrived: int) -> Event:
    envelope = _envelope(document)
    kind = EVENT_TYPES.get(envelope.type)
    if kind is None:
        raise _Refused("unknown_type", "type", unknown_type(envelope.type))
    time = civil.parse_time(envelope.time)
    _check_time(time, arrived)
    try:
        data = kind.data.model_validate(envelope.data)
    except pydantic.ValidationError as error:
        raise _data_fault(kind, error) from None
    return Event(kind, envelope.id, envelope.source, time, _day(kind, data, time, arrived), data)


def _envelope(document: Any) -> Envelope:
    if not isinstance(document, dict):
        message = f"expected a CloudEvent, an object; got {shown(document)}"
        raise _Refused("not_cloudevent", "", message)
    for name in REQUIRED:
        if name not in document:
            raise _Refused("not_cloudevent", name, f"{name} is missing; expected {EXPECTED[name]}")
    try:
        envelope = Envelope.model_validate(document)
    except pydantic.ValidationError as error:
        name = str(error.errors(include_url=False, include_context=False)[0]["loc"][0])
        message = f"expected {EXPECTED[name]}, got {shown(document[name])}"
        raise _Refused("not_cloudevent", name, message) from None
    for name, value in (envelope.model_extra or {}).items():
        if fault := extension_fault(name, value):
            raise _Refused("not_cloudevent", name[:64], f"{shown(name)} {fault}")
    return envelope


def _data_fault(kind: EventType, error: pydantic.ValidationError) -> _Refused:
    """The first fault of the data: of a known field if there is one, else an unknown field."""
    faults = error.errors(include_url=False)
    fault = faults[0]
    if not fault["loc"]:
        return _Refused("invalid", f"data.{kind.sums[0].total}", str(fault["ctx"]["error"]))
    name = str(fault["loc"][0])
    if fault["type"] == "extra_forbidden":
        known = [field.name for field in kind.fields]
        message = f"{shown(name)} is not a field of {kind.name}{did_you_mean(name, known)}"
        return _Refused("invalid", f"data.{name[:64]}", message)
    expected = kind.field(name).expected
    if fault["type"] == "missing":
        extra = [str(other["loc"][0]) for other in faults if other["type"] == "extra_forbidden"]
        meant = next((word for word in extra if did_you_mean(word, [name])), None)
        hint = f"; did you mean it by {shown(meant)}?" if meant else ""
        return _Refused("invalid", f"data.{name}", f"{name} is missing; expected {expected}{hint}")
    return _Refused("invalid", f"data.{name}", f"expected {expected}, got {shown(fault['input'])}")


def _check_time(time: int, arrived: int) -> None:
    if time < EARLIEST_MS:
        raise _Refused("time_out_of_range", "time", "the time is before 2000-01-01")
    if time > arrived + AHEAD_MS:
        raise _Refused("time_out_of_range", "time", "the time is more than 2 days after the event's arrival")


def _day(kind: EventType, data: EventData, time: int, arrived: int) -> int:
    if kind.day_field is None:
        return civil.day_of(time)
    day = civil.parse_day(getattr(data, kind.field(kind.day_field).attribute))
    place = f"data.{kind.day_field}"
    if day < EARLIEST_DAY:
        raise _Refused("time_out_of_range", place, f"{kind.day_field} is before 2000-01-01")
    if day > latest_day(arrived):
        message = f"{kind.day_field} is more than 2 days after the event's arrival"
        raise _Refused("time_out_of_range", place, message)
    return day


EARLIEST_DAY: Final = civil.parse_day("2000-01-01")
"""No event belongs to a day before this."""


def latest_day(arrived: int) -> int:
    """The last civil day an event that arrived at ``arrived`` may belong to."""
    return civil.day_of(arrived + AHEAD_MS)
