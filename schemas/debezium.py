"""Debezium envelopes: one changed row of a school system's table, as a connector writes it to Kafka.

The envelope names its event type in a field ``type``, which Kafka Connect's own transform puts in; its
id is made of the connector's place in the database's log and of the row's identity (docs/events.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import pydantic
import xxhash

from schemas import civil
from schemas.checks import (
    Before,
    Change,
    Event,
    Operation,
    Refused,
    check_time,
    checked,
    day_of_data,
    day_text,
)
from schemas.events import EVENT_TYPES, unknown_type
from schemas.fields import CONTROL, Field
from schemas.pairs import check_sides, told
from schemas.registry import EventData, EventType
from schemas.strictjson import shown

OPERATIONS: Final[Mapping[str, Operation]] = {"c": "put", "u": "put", "d": "delete", "r": "snapshot"}
POSITIONS: Final = (
    ("lsn",),
    ("file", "pos", "row"),
    ("commit_lsn", "change_lsn", "event_serial_no"),
    ("scn",),
)
"""Fields of ``source`` that tell a change's place: PostgreSQL, MySQL and MariaDB, SQL Server, Oracle."""
PLACE_EXPECTED: Final = (
    "lsn, file and pos, change_lsn or scn, as PostgreSQL, MySQL, SQL Server and Oracle have"
)
UNAVAILABLE: Final = "__debezium_unavailable_value"
TIME: Final = "time"
"""A column of this name is the row's event time; no event type has a field called so."""
NAME_LENGTH: Final = 128
NO_IDENTITY: Final = "{} has no identity: expected"


def is_envelope(document: Any) -> bool:
    """Whether a document is meant as Debezium's, bare or with its schema."""
    if not isinstance(document, dict) or "specversion" in document:
        return False
    return "op" in document or document.keys() == {"schema", "payload"}


def envelope(document: dict[str, Any], arrived: int) -> Event:
    """The event that an envelope stands for. Raises `Refused`."""
    dot = "" if "op" in document else "payload."
    payload = document if "op" in document else document["payload"]
    if not isinstance(payload, dict):
        raise _not(dot[:-1], f"expected an object, got {shown(payload)}")
    return _Reader(payload, dot, arrived).event()


def named(document: dict[str, Any]) -> dict[str, Any]:
    """What a reject can say of an envelope: its type. Its id is not known before it is valid."""
    payload = document if "op" in document else document["payload"]
    return {"type": payload.get("type")} if isinstance(payload, dict) else {}


def _not(field: str, message: str) -> Refused:
    return Refused("not_debezium", field, message)


class _Reader:
    """Reads one envelope whose fields stand at ``dot`` of the document."""

    def __init__(self, payload: dict[str, Any], dot: str, arrived: int) -> None:
        self.payload, self.dot, self.arrived = payload, dot, arrived
        self.kind = self._type()
        self.source = self._source()
        self.blind = not self.kind.identity and self.kind.corrects is None
        """No kept row will say what is taken out: the envelope has to."""

    def event(self) -> Event:
        """The whole event."""
        op = self.payload["op"]
        if not isinstance(op, str) or op not in OPERATIONS:
            raise _not(f"{self.dot}op", f'expected one of "c", "u", "d", "r", got {shown(op)}')
        if op == "r" and self.blind:
            message = (
                f"a snapshot would count twice; {NO_IDENTITY.format(self.kind.name)} snapshot.mode no_data"
            )
            raise _not(f"{self.dot}op", message)
        operation, changed = OPERATIONS[op], self._changed()
        after = self._after() if operation != "delete" else None
        before = self._before(op, changed)
        check_sides(self.kind, before.values if before else None, after, self.dot[:-1])
        time = changed if after is None else self._row_time("after", changed)
        data = after if after is not None else self._gone(before)
        day = self._day(data, time, "after" if after is not None else "before")
        key = {field.name: getattr(data, field.attribute) for field in self.kind.fields}
        event_id = f"{op}/{self._position(op, changed)}/{self._key(key, time)}"
        change = Change(operation, changed, before)
        return Event(self.kind, event_id, self._source_name(), time, day, data, change)

    # --- the envelope's own parts ---

    def _type(self) -> EventType:
        name, place = self.payload.get("type"), f"{self.dot}type"
        if name is None:
            message = (
                "type is missing; expected the event type, put in by the connector's transform InsertField"
            )
            raise _not(place, message)
        if not isinstance(name, str):
            raise _not(place, f"expected the name of an event type, got {shown(name)}")
        if name not in EVENT_TYPES:
            raise Refused("unknown_type", place, unknown_type(name))
        return EVENT_TYPES[name]

    def _source(self) -> dict[str, Any]:
        source = self.payload.get("source")
        if not isinstance(source, dict):
            raise _not(f"{self.dot}source", f"expected an object, got {shown(source)}")
        return source

    def _changed(self) -> int:
        """When the database made the change, ms."""
        time, place = self.source.get("ts_ms"), f"{self.dot}source.ts_ms"
        if not isinstance(time, int) or isinstance(time, bool):
            raise _not(place, f"expected milliseconds since 1970, got {shown(time)}")
        check_time(time, self.arrived, place)
        return time

    def _source_name(self) -> str:
        parts = [self._name(name) for name in ("connector", "name", "db", "schema", "table")]
        return "/".join(["debezium", *(part for part in parts if part is not None)])

    def _name(self, name: str) -> str | None:
        value = self.source.get(name)
        if value is None and name in ("name", "schema"):
            return None
        if not isinstance(value, str) or not 0 < len(value) <= NAME_LENGTH or CONTROL.search(value):
            expected = f"text of 1 to {NAME_LENGTH} characters without control characters"
            raise _not(f"{self.dot}source.{name}", f"expected {expected}, got {shown(value)}")
        return value

    def _position(self, op: str, changed: int) -> str:
        """Place in the database's log; a row of a snapshot is named by when it was read too."""
        for names in POSITIONS:
            if self.source.get(names[0]) is not None:
                texts = [_text(self.source.get(name)) for name in names]
                return ":".join([str(changed), *texts] if op == "r" else texts)
        if op == "r":
            return str(changed)
        raise _not(f"{self.dot}source", f"the change has no place; expected {PLACE_EXPECTED}")

    def _key(self, values: dict[str, Any], time: int) -> str:
        """Names the row: by its identity, else by all it says."""
        names = self.kind.identity or tuple(values)
        key: list[Any] = [values[name] for name in names]
        canonical = json.dumps(key if self.kind.identity else [*key, time], ensure_ascii=False)
        return xxhash.xxh3_128_hexdigest(canonical.encode("utf-8", "surrogatepass"))

    # --- rows ---

    def _row(self, side: str) -> dict[str, Any] | None:
        """The columns that are fields, dates as text; other columns are not looked at."""
        row = self.payload.get(side)
        if row is None:
            return None
        if not isinstance(row, dict):
            raise _not(f"{self.dot}{side}", f"expected an object or null, got {shown(row)}")
        return {f.name: self._value(f, row[f.name], side) for f in self.kind.fields if f.name in row}

    def _value(self, field: Field, value: Any, side: str) -> Any:
        if value == UNAVAILABLE:
            message = "the database did not send the value; expected REPLICA IDENTITY FULL"
            raise Refused("invalid", f"{self.dot}{side}.{field.name}", message)
        is_days = field.kind == "date" and isinstance(value, int) and not isinstance(value, bool)
        return _date(value) if is_days else value

    def _after(self) -> EventData:
        row = self._row("after")
        if row is None:
            raise _not(f"{self.dot}after", "after is missing; expected the row as an object")
        return checked(self.kind, row, f"{self.dot}after")

    def _before(self, op: str, changed: int) -> Before | None:
        """What the row was, where that says something: a correcting type's newest row is all it has."""
        row, place = (self._row("before") if op in ("u", "d") else None), f"{self.dot}before"
        if row is None:
            if op == "d":
                raise _not(place, "before is missing; expected the deleted row, at least its identity")
            if op == "u" and self.blind:
                raise _not(
                    place, f"before is missing; {NO_IDENTITY.format(self.kind.name)} REPLICA IDENTITY FULL"
                )
            return None
        values = (
            told(self.kind, checked(self.kind, row, place))
            if self.blind
            else self._partial(row, place, must=op == "d")
        )
        if values is None:
            return None
        time = self._row_time("before", changed)
        text = values.get(self.kind.day_field) if self.kind.day_field else None
        return Before(values, time, day_of_data(self.kind, text, time, self.arrived, place))

    def _partial(self, row: dict[str, Any], place: str, *, must: bool) -> dict[str, Any] | None:
        """The identity of a row and its day: of the others the database may send nothing.

        None where the identity is not there, unless it ``must`` be.
        """
        if not must and (self.kind.corrects or any(row.get(name) is None for name in self.kind.identity)):
            return None
        names = {*self.kind.identity, self.kind.school_field}
        if self.kind.day_field and row.get(self.kind.day_field) is not None:
            names.add(self.kind.day_field)
        for name in sorted(names):
            field = self.kind.field(name)
            if name not in row:
                raise Refused("invalid", f"{place}.{name}", f"{name} is missing; expected {field.expected}")
            if not _is_valid(self.kind, name, row[name]):
                message = f"expected {field.expected}, got {shown(row[name])}"
                raise Refused("invalid", f"{place}.{name}", message)
        return {name: row[name] for name in sorted(names)}

    def _gone(self, before: Before | None) -> EventData:
        values = before.values if before else {}
        return self.kind.data.model_construct(**{f.name: values.get(f.name) for f in self.kind.fields})

    def _row_time(self, side: str, changed: int) -> int:
        row, place = self.payload.get(side), f"{self.dot}{side}.{TIME}"
        text = row.get(TIME) if isinstance(row, dict) else None
        if text is None:
            if self.blind and side == "before":
                message = f"time is missing; {NO_IDENTITY.format(self.kind.name)} the time that was counted"
                raise Refused("invalid", place, message)
            return changed
        try:
            time = civil.parse_time(text) if isinstance(text, str) else None
        except ValueError:
            time = None
        if time is None:
            raise Refused("invalid", place, f"expected {civil.TIME_EXPECTED}, got {shown(text)}")
        check_time(time, self.arrived, place)
        return time

    def _day(self, data: EventData, time: int, side: str) -> int:
        return day_of_data(self.kind, day_text(self.kind, data), time, self.arrived, f"{self.dot}{side}")


def _is_valid(kind: EventType, name: str, value: Any) -> bool:
    """Whether a value is one of a field, by the type's own model."""
    try:
        kind.data.model_validate({name: value})
    except pydantic.ValidationError as error:
        return all(fault["loc"][:1] != (name,) for fault in error.errors(include_url=False))
    return True


def _date(days: int) -> Any:
    """Text of a day; the number itself where no calendar has it."""
    try:
        return civil.day_text(days)
    except (ValueError, OverflowError):
        return days


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
