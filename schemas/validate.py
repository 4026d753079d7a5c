"""One event, checked by the models: the truth about what is valid.

The vectorised decoder (`schemas.decode`) accepts a subset of what is accepted here, with the same
values; everything it cannot prove comes here, as does every event that is rejected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pydantic

from schemas import civil, debezium
from schemas.checks import (
    AHEAD_MS,
    EARLIEST_DAY,
    EARLIEST_MS,
    Event,
    Refused,
    check_time,
    checked,
    day_of_data,
    day_text,
    latest_day,
)
from schemas.cloudevent import EXPECTED, REQUIRED, Envelope, extension_fault
from schemas.events import EVENT_TYPES, unknown_type
from schemas.pairs import is_pair, pair
from schemas.strictjson import JsonFault, read_json, shown
from schemas.topics import MAX_EVENT_BYTES

__all__ = ["AHEAD_MS", "EARLIEST_DAY", "EARLIEST_MS", "Event", "Reject", "latest_day", "validate"]


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that is not a valid event.

    ``reason``: not_utf8, not_json, duplicate_key, too_deep, too_large, not_cloudevent, not_debezium,
    unknown_type, invalid or time_out_of_range. ``field`` is the place in the document, as in
    ``data.enrolled``.
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
    except Refused as refused:
        return _reject(row, document, refused.reason, refused.field, refused.message)


def _reject(row: int, document: Any, reason: str, field: str, message: str) -> Reject:
    known = debezium.named(document) if debezium.is_envelope(document) else document

    def named(name: str) -> str:
        value = known.get(name) if isinstance(known, dict) else None
        return value[:256] if isinstance(value, str) else ""

    return Reject(row, reason, field, message, named("source"), named("id"), named("type"))


def _event(document: Any, arrived: int) -> Event:
    if debezium.is_envelope(document):
        return debezium.envelope(document, arrived)
    envelope = _envelope(document)
    kind = EVENT_TYPES.get(envelope.type)
    if kind is None:
        raise Refused("unknown_type", "type", unknown_type(envelope.type))
    time = civil.parse_time(envelope.time)
    check_time(time, arrived)
    if is_pair(envelope.data):
        return pair(kind, envelope, time, arrived)
    data = checked(kind, envelope.data, "data")
    day = day_of_data(kind, day_text(kind, data), time, arrived, "data")
    return Event(kind, envelope.id, envelope.source, time, day, data)


def _envelope(document: Any) -> Envelope:
    if not isinstance(document, dict):
        message = f"expected a CloudEvent, an object; got {shown(document)}"
        raise Refused("not_cloudevent", "", message)
    for name in REQUIRED:
        if name not in document:
            raise Refused("not_cloudevent", name, f"{name} is missing; expected {EXPECTED[name]}")
    try:
        envelope = Envelope.model_validate(document)
    except pydantic.ValidationError as error:
        name = str(error.errors(include_url=False, include_context=False)[0]["loc"][0])
        message = f"expected {EXPECTED[name]}, got {shown(document[name])}"
        raise Refused("not_cloudevent", name, message) from None
    for name, value in (envelope.model_extra or {}).items():
        if fault := extension_fault(name, value):
            raise Refused("not_cloudevent", name[:64], f"{shown(name)} {fault}")
    return envelope
