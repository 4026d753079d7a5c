"""The fast way through one event's JSON: msgspec structs derived from the models.

`read` gives an event's envelope and data only when it is proved that the models accept the same
values, up to what is checked on whole columns afterwards (times, dates, sums). Not proved is not
wrong: such rows are checked by `schemas.validate`.

Proof that no key is repeated: each string and each key that was decoded stands in the document at
least once, with two quotes. If the document has exactly as many unescaped quotes, it has nothing else.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from schemas.events import EVENT_TYPES
from schemas.fields import CONTROL, Field
from schemas.registry import EventType
from schemas.topics import MAX_EVENT_BYTES

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_Attribute = Annotated[str, msgspec.Meta(max_length=2048)]


class FastEnvelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The attributes that ordinary events carry; data is read by its type's decoder."""

    specversion: Literal["1.0"]
    id: _Name
    source: _Name
    type: _Name
    time: Annotated[str, msgspec.Meta(max_length=40)]
    data: msgspec.Raw
    datacontenttype: Literal["application/json"] | UnsetType = UNSET
    subject: _Attribute | UnsetType = UNSET
    dataschema: _Attribute | UnsetType = UNSET
    traceparent: _Attribute | UnsetType = UNSET
    sequence: _Attribute | UnsetType = UNSET
    partitionkey: _Attribute | UnsetType = UNSET


_OPTIONAL: Final = operator.attrgetter(
    "datacontenttype", "subject", "dataschema", "traceparent", "sequence", "partitionkey"
)
_ENVELOPE_QUOTES: Final = 2 * (6 + 5)
_C1: Final = re.compile(rb"\xc2[\x80-\x9f]")


@dataclass(frozen=True, slots=True)
class Plan:
    """How data of one type is read."""

    type: EventType
    decode: Callable[[msgspec.Raw], Any]
    quotes: int
    """Quotes of the envelope's required part and of the data's required fields."""
    optional: tuple[tuple[Callable[[Any], Any], int], ...]
    """Optional fields: how to get one, and the quotes its value adds when it is text."""
    getters: tuple[Callable[[Any], Any], ...]
    """For each field of the type."""


def _annotation(field: Field) -> Any:
    known: Any
    match field.kind:
        case "integer":
            known = Annotated[int, msgspec.Meta(ge=field.low, le=field.high)]
        case "choice":
            known = Literal[field.choices]
        case _:
            known = Annotated[str, msgspec.Meta(min_length=field.low, max_length=field.high)]
    if field.nullable:
        known = known | None
    return known if field.required else known | UnsetType


def plan(kind: EventType) -> Plan:
    """The plan of a type. Optional fields stay distinguishable from null ones."""
    definitions = [
        (field.attribute, _annotation(field), msgspec.field(name=field.name, default=default))
        for field in kind.fields
        for default in [msgspec.NODEFAULT if field.required else UNSET]
    ]
    struct = msgspec.defstruct(
        kind.data.__name__, definitions, forbid_unknown_fields=True, gc=False, kw_only=True
    )
    quotes = _ENVELOPE_QUOTES
    optional = []
    for field in kind.fields:
        text = 0 if field.kind == "integer" else 2
        if field.required and not field.nullable:
            quotes += 2 + text
        else:
            optional.append((operator.attrgetter(field.attribute), text))
    getters = tuple(operator.attrgetter(field.attribute) for field in kind.fields)
    return Plan(kind, msgspec.json.Decoder(struct).decode, quotes, tuple(optional), getters)


PLANS: Final[Mapping[str, Plan]] = {name: plan(kind) for name, kind in EVENT_TYPES.items()}
decode_envelope: Final = msgspec.json.Decoder(FastEnvelope).decode
REFUSALS: Final = (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError, RecursionError)


def read(value: bytes | None, unusual: bool) -> tuple[Plan, FastEnvelope, Any] | None:
    """An event's plan, envelope and data, or None when the models have to decide.

    ``unusual`` False promises that `is_unusual` does not hold for ``value``.
    """
    try:
        envelope = decode_envelope(value)  # type: ignore[arg-type]
        known = PLANS[envelope.type]
        data = known.decode(envelope.data)
    except REFUSALS:
        return None
    quotes = value.count(b'"') - known.quotes  # type: ignore[union-attr]
    if unusual:
        escaped = _escaped_quotes(value, envelope, known, data)  # type: ignore[arg-type]
        if escaped is None:
            return None
        quotes -= escaped
    if quotes and quotes != _optional_quotes(known, envelope, data):
        return None
    return known, envelope, data


def proved(
    known: Plan, values: Sequence[bytes | None], envelopes: Sequence[FastEnvelope], data: Sequence[Any]
) -> list[bool]:
    """For events of one type that were decoded: is it proved that no key is repeated, and none too large?

    Only for values for which `is_unusual` does not hold. The same count as in `read`, column by column.
    """
    quotes = [24 + known.quotes - 4 * found.count(UNSET) for found in map(_OPTIONAL, envelopes)]
    for get, text in known.optional:
        column = list(map(get, data))
        if column.count(UNSET) < len(column):
            added = [0 if value is UNSET else 2 if value is None else 2 + text for value in column]
            quotes = list(map(operator.add, quotes, added))
    return [
        value is not None and value.count(b'"') == expected and len(value) <= MAX_EVENT_BYTES
        for value, expected in zip(values, quotes, strict=True)
    ]


def is_unusual(joined: bytes) -> bool:
    """Whether a value, or one of a joined batch, holds an escape, DEL or a control character of C1.

    Other control characters cannot stand unescaped in JSON.
    """
    if b"\\" in joined or b"\x7f" in joined:
        return True
    return not joined.isascii() and _C1.search(joined) is not None


def may_be_read(value: bytes | None) -> bool:
    """Whether a value is there and not too large."""
    return value is not None and len(value) <= MAX_EVENT_BYTES


def _optional_quotes(known: Plan, envelope: FastEnvelope, data: Any) -> int:
    """Quotes that the optional attributes and fields of an event account for."""
    quotes = 24 - 4 * _OPTIONAL(envelope).count(UNSET)
    for get, text in known.optional:
        value = get(data)
        if value is not UNSET:
            quotes += 2 if value is None else 2 + text
    return quotes


def _escaped_quotes(value: bytes, envelope: FastEnvelope, known: Plan, data: Any) -> int | None:
    """How many quotes are escaped; None when that, or the absence of control characters, is unclear."""
    if not is_unusual(value):
        return 0
    if b"\\\\" in value:
        return None
    texts = [envelope.id, envelope.source, envelope.type, *_OPTIONAL(envelope)]
    texts += [get(data) for get in known.getters]
    if any(isinstance(text, str) and CONTROL.search(text) for text in texts):
        return None
    return value.count(b'\\"')
