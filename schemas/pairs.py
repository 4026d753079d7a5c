"""CloudEvents whose data is a pair ``{"before": …, "after": …}``: a row was new, changed or deleted."""

from __future__ import annotations

from typing import Any, Final

from schemas import civil
from schemas.checks import Before, Change, Event, Refused, check_time, checked, day_of_data, day_text
from schemas.cloudevent import Envelope
from schemas.registry import EventData, EventType
from schemas.strictjson import shown

KEYS: Final = frozenset({"before", "after"})
BEFORE_TIME: Final = "beforetime"
"""Extension attribute: the event time of what ``before`` says; without it the event's own."""


def is_pair(data: dict[str, Any]) -> bool:
    """Whether data is a pair: an object with exactly these keys (no type has fields of these names)."""
    return data.keys() == KEYS


def pair(kind: EventType, envelope: Envelope, time: int, arrived: int) -> Event:
    """The event that a pair stands for. Raises `Refused`."""
    before, after = (_side(kind, envelope.data[name], f"data.{name}") for name in ("before", "after"))
    was = None if before is None else _before(kind, envelope, before, time, arrived)
    if after is None and before is None:
        raise Refused("invalid", "data", "before and after are both null; expected an object in one of them")
    check_sides(kind, None if was is None else was.values, after, "data")
    data = after if after is not None else before
    assert data is not None
    place = "data.after" if after is not None else "data.before"
    day = day_of_data(kind, day_text(kind, data), time, arrived, place)
    change = Change("delete" if after is None else "put", time, was)
    return Event(kind, envelope.id, envelope.source, time, day, data, change)


def _side(kind: EventType, values: Any, place: str) -> EventData | None:
    if values is None:
        return None
    if not isinstance(values, dict):
        raise Refused("invalid", place, f"expected an object or null, got {shown(values)}")
    return checked(kind, values, place)


def _before(kind: EventType, envelope: Envelope, data: EventData, time: int, arrived: int) -> Before:
    text = (envelope.model_extra or {}).get(BEFORE_TIME)
    was = time if text is None else _time(text, arrived)
    return Before(told(kind, data), was, day_of_data(kind, day_text(kind, data), was, arrived, "data.before"))


def told(kind: EventType, data: EventData) -> dict[str, Any]:
    """What data says by the names of its fields; nulls are left out."""
    values = {field.name: getattr(data, field.attribute) for field in kind.fields}
    return {name: value for name, value in values.items() if value is not None}


def _time(text: Any, arrived: int) -> int:
    try:
        time = civil.parse_time(text) if isinstance(text, str) else None
    except ValueError:
        time = None
    if time is None:
        raise Refused("not_cloudevent", BEFORE_TIME, f"expected {civil.TIME_EXPECTED}, got {shown(text)}")
    check_time(time, arrived, BEFORE_TIME)
    return time


def check_sides(kind: EventType, before: dict[str, Any] | None, after: EventData | None, place: str) -> None:
    """Refuse what one event cannot do: move a row to another school, take a correction back."""
    dot = f"{place}." if place else ""
    if after is None and kind.corrects is not None:
        message = f"{kind.name} cannot be deleted: what it replaced is gone; expected another correction"
        raise Refused("invalid", f"{dot}after", message)
    if before is None or after is None:
        return
    school = getattr(after, kind.field(kind.school_field).attribute)
    if before.get(kind.school_field) != school:
        message = (
            f"before is of school {shown(before.get(kind.school_field))}, after of {shown(school)}; "
            "expected two events, a deletion and a new one"
        )
        raise Refused("invalid", f"{dot}before.{kind.school_field}", message)
