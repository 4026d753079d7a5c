"""Fields of event data: their kinds, what is said about them, and a plain description of each.

Everything that handles events without knowing a type (decoder, archive columns, rules, published
schemas, documentation) works from `Field`, which is read off the pydantic model. A model may use
only the kinds below; `fields_of` refuses anything else, so nothing can be valid for the model that
the vectorised decoder does not know how to check.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import polars as pl
import pydantic
from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic.fields import FieldInfo

from schemas.civil import DATE_EXPECTED, parse_day
from schemas.errors import SchemaError

Personal = Literal["none", "personal", "sensitive"]
Kind = Literal["integer", "text", "date", "choice"]

CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
"""Control characters (category Cc) are never part of a name, code or reason."""


def plain_text(text: str) -> str:
    """``text``, which must be free of control characters; ValueError otherwise."""
    if CONTROL.search(text):
        raise ValueError("control characters are not allowed")
    return text


def civil_date(text: str) -> str:
    """``text``, which must be an existing ``YYYY-MM-DD`` date; ValueError otherwise."""
    parse_day(text)
    return text


Code = Annotated[str, pydantic.Field(min_length=1, max_length=64), pydantic.AfterValidator(plain_text)]
"""A code: 1 to 64 characters."""
Line = Annotated[str, pydantic.Field(max_length=500), pydantic.AfterValidator(plain_text)]
"""A line of free text: up to 500 characters."""
Count = Annotated[int, pydantic.Field(ge=0, le=100_000)]
"""A number of people: 0 to 100,000."""
CivilDate = Annotated[str, pydantic.Field(min_length=10, max_length=10), pydantic.AfterValidator(civil_date)]
"""A civil date, ``YYYY-MM-DD``."""


def about(
    vi: str,
    en: str,
    *,
    personal: Personal = "none",
    unit: str = "",
    decimals: int = 0,
    default: Any = ...,
    alias: str | None = None,
) -> Any:
    """What a field means, in Vietnamese and English, its unit, decimals and personal-data class."""
    extra: dict[str, Any] = {"x-title": {"vi": vi, "en": en}, "x-personal-data": personal}
    if unit:
        extra |= {"x-unit": unit, "x-decimals": decimals}
    return pydantic.Field(default, alias=alias, title=en, description=f"{en} / {vi}", json_schema_extra=extra)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an event's data."""

    name: str
    """As it stands in JSON and in frames."""
    attribute: str
    """As it is called in Python: ``class`` is ``class_``."""
    kind: Kind
    low: int
    """Smallest integer, or fewest characters."""
    high: int
    """Greatest integer, or most characters."""
    choices: tuple[str, ...]
    required: bool
    nullable: bool
    title_vi: str
    title_en: str
    unit: str
    decimals: int
    personal: Personal

    @property
    def dtype(self) -> type[pl.DataType]:
        """Type of the field's column in frames."""
        return pl.Int64 if self.kind == "integer" else pl.String

    @property
    def expected(self) -> str:
        """What a value must be, for messages."""
        return _expected(self) + (" or null" if self.nullable else "")


def _expected(field: Field) -> str:
    match field.kind:
        case "integer":
            return f"an integer from {field.low} to {field.high}"
        case "date":
            return DATE_EXPECTED
        case "choice":
            return "one of " + ", ".join(f'"{choice}"' for choice in field.choices)
        case "text":
            return f"text of {field.low} to {field.high} characters without control characters"


def fields_of(model: type[pydantic.BaseModel]) -> tuple[Field, ...]:
    """The fields of an event data model, in their order. SchemaError for a kind not known here."""
    return tuple(_field(model, name, info) for name, info in model.model_fields.items())


def _field(model: type[pydantic.BaseModel], attribute: str, info: FieldInfo) -> Field:
    place = f"{model.__name__}.{attribute}"
    base, nullable = _without_none(info.annotation)
    metadata = [*info.metadata]
    if get_origin(base) is Annotated:
        base, *inner = get_args(base)
        metadata += inner
    kind, low, high, choices = _kind(place, base, _flat(metadata))
    extra = info.json_schema_extra
    if not isinstance(extra, dict) or "x-title" not in extra:
        raise SchemaError(f"{place} is not described; use about()")
    told: dict[str, Any] = dict(extra)
    return Field(
        name=info.alias or attribute,
        attribute=attribute,
        kind=kind,
        low=low,
        high=high,
        choices=choices,
        required=info.is_required(),
        nullable=nullable,
        title_vi=told["x-title"]["vi"],
        title_en=told["x-title"]["en"],
        unit=told.get("x-unit", ""),
        decimals=told.get("x-decimals", 0),
        personal=told["x-personal-data"],
    )


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) not in (Union, UnionType):
        return annotation, False
    kept = [arg for arg in get_args(annotation) if arg is not NoneType]
    return (kept[0], True) if len(kept) == 1 else (annotation, False)


def _flat(metadata: list[Any]) -> list[Any]:
    flat: list[Any] = []
    for item in metadata:
        flat += item.metadata if isinstance(item, FieldInfo) else [item]
    return flat


def _kind(place: str, base: Any, metadata: list[Any]) -> tuple[Kind, int, int, tuple[str, ...]]:
    if get_origin(base) is Literal and all(isinstance(arg, str) for arg in get_args(base)) and not metadata:
        return "choice", 0, 0, get_args(base)
    low, high = _bound(metadata, Ge, MinLen), _bound(metadata, Le, MaxLen)
    checks = [item.func for item in metadata if isinstance(item, pydantic.AfterValidator)]
    known = sum(isinstance(item, (Ge, Le, MinLen, MaxLen, pydantic.AfterValidator)) for item in metadata)
    if high is not None and known == len(metadata):
        if base is int and low is not None and not checks:
            return "integer", low, high, ()
        if base is str and checks == [plain_text]:
            return "text", low or 0, high, ()
        if base is str and checks == [civil_date] and low == high == 10:
            return "date", 10, 10, ()
    raise SchemaError(f"{place} is of a kind the decoder does not know; use a kind of schemas.fields")


def _bound(metadata: list[Any], number: type[Any], length: type[Any]) -> int | None:
    for item in metadata:
        if isinstance(item, (number, length)):
            values = [getattr(item, name) for name in item.__slots__]
            return int(values[0])
    return None
