"""Published schemas: JSON Schema (draft 2020-12) of the events, for senders and editors.

``x-title`` is the title in Vietnamese and English, ``x-unit`` and ``x-decimals`` the unit,
``x-personal-data`` the personal-data class (none, personal, sensitive). What JSON Schema cannot say
(sums, and times that are in range) stands in ``x-conditions``.
"""

from __future__ import annotations

from typing import Any, Final

from schemas.events import EVENT_TYPES, event_type
from schemas.fields import Field
from schemas.registry import EventType, Title
from schemas.strictjson import MAX_DEPTH
from schemas.topics import MAX_EVENT_BYTES

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_PLAIN: Final = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"
_NAME: Final[dict[str, Any]] = {"type": "string", "minLength": 1, "maxLength": 256, "pattern": _PLAIN}
_ATTRIBUTE: Final[dict[str, Any]] = {"type": ["string", "null"], "maxLength": 2048, "pattern": _PLAIN}


def json_schema(type_name: str | None = None) -> dict[str, Any]:
    """The schema of one type's events, or of events of any type.

    Raises `SchemaError`, with the nearest name, for a type that does not exist.
    """
    if type_name is not None:
        return {"$schema": DRAFT, **_event(event_type(type_name))}
    known = [EVENT_TYPES[name] for name in sorted(EVENT_TYPES)]
    return {
        "$schema": DRAFT,
        "title": "Event of the education operations centre",
        "oneOf": [{"$ref": f"#/$defs/{kind.name}"} for kind in known],
        "$defs": {kind.name: _event(kind) for kind in known},
    }


def _event(kind: EventType) -> dict[str, Any]:
    return {
        "title": kind.title.en,
        "description": f"{kind.description.en} / {kind.description.vi}",
        "x-title": _titles(kind.title),
        "type": "object",
        "required": ["specversion", "id", "source", "type", "time", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": _NAME | {"description": "Unique within the source / Duy nhất trong nguồn"},
            "source": _NAME | {"description": "Where the event comes from / Nguồn gửi"},
            "type": {"const": kind.name},
            "time": {
                "type": "string",
                "format": "date-time",
                "maxLength": 40,
                "description": "When it happened, with offset / Thời điểm xảy ra, có múi giờ",
            },
            "datacontenttype": {"type": ["string", "null"], "maxLength": 2048},
            "dataschema": _ATTRIBUTE,
            "subject": _ATTRIBUTE,
            "data": _data(kind),
        },
        "patternProperties": {"^[a-z0-9]{1,64}$": True},
        "additionalProperties": False,
        "x-conditions": _conditions(kind),
    }


def _data(kind: EventType) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [field.name for field in kind.fields if field.required],
        "properties": {field.name: _field(field) for field in kind.fields},
        "additionalProperties": False,
    }


def _field(field: Field) -> dict[str, Any]:
    schema = _value(field)
    if field.nullable:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    schema["title"] = field.title_en
    schema["description"] = f"{field.title_en} / {field.title_vi}"
    schema["x-title"] = {"vi": field.title_vi, "en": field.title_en}
    schema["x-personal-data"] = field.personal
    if field.unit:
        schema |= {"x-unit": field.unit, "x-decimals": field.decimals}
    return schema


def _value(field: Field) -> dict[str, Any]:
    match field.kind:
        case "integer":
            return {"type": "integer", "minimum": field.low, "maximum": field.high}
        case "choice":
            return {"type": "string", "enum": list(field.choices)}
        case "date":
            return {"type": "string", "format": "date", "minLength": 10, "maxLength": 10}
        case "text":
            bounds = {"minLength": field.low, "maxLength": field.high}
            return {"type": "string", **bounds, "pattern": _PLAIN}


def _conditions(kind: EventType) -> list[str]:
    conditions = [str(rule) for rule in kind.sums]
    conditions.append("time is not before 2000-01-01 and at most 2 days after the event's arrival")
    if kind.day_field:
        conditions.append(f"{kind.day_field} likewise")
    conditions.append(f"at most {MAX_EVENT_BYTES} bytes, {MAX_DEPTH} levels, no repeated key")
    return conditions


def _titles(title: Title) -> dict[str, str]:
    return {"vi": title.vi, "en": title.en}
