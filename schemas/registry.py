"""What is known about a type of event: its data, identity, and the limits of its time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal, Self

import pydantic

from schemas.errors import SchemaError
from schemas.fields import Field, fields_of

SECOND_MS: Final = 1000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Title:
    """A name in Vietnamese and English."""

    vi: str
    en: str


@dataclass(frozen=True, slots=True)
class Sum:
    """``total`` equals the sum of ``parts``: integer fields of one event."""

    total: str
    parts: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.total} = {' + '.join(self.parts)}"


class EventData(pydantic.BaseModel):
    """Base of all event data: strict types, no other fields, nothing changes afterwards.

    Conditions over several fields are declared in ``sums``, where the vectorised decoder sees them
    too; other validators are refused when the type is registered.
    """

    model_config = pydantic.ConfigDict(strict=True, extra="forbid", frozen=True)
    sums: ClassVar[tuple[Sum, ...]] = ()

    @pydantic.model_validator(mode="after")
    def add_up(self) -> Self:
        """Check the declared sums."""
        for rule in self.sums:
            total = getattr(self, rule.total)
            parts = [getattr(self, part) for part in rule.parts]
            if total != sum(parts):
                written = " + ".join(str(part) for part in parts)
                raise ValueError(f"expected {rule}, got {total} and {written} = {sum(parts)}")
        return self


@dataclass(frozen=True, slots=True)
class Corrects:
    """How an event corrects a row of another type. Pairs are (field there, field here)."""

    type: str
    key: tuple[tuple[str, str], ...]
    """The identity of the corrected row."""
    before: tuple[tuple[str, str], ...]
    """What the sender believes the row said."""
    after: tuple[tuple[str, str], ...]
    """What the row says from now on; its other fields stay."""


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of event. Times are milliseconds; fields are named as in JSON."""

    name: str
    title: Title
    description: Title
    data: type[EventData]
    dimensions: tuple[str, ...]
    """Fields that rules may group by."""
    identity: tuple[str, ...] = ()
    """Fields whose values name one thing; a later event for the same thing replaces the earlier."""
    corrects: Corrects | None = None
    day_field: str | None = None
    """Date field that decides the ``school_day`` window; None: the event's own time."""
    school_field: str = "school"
    repeat_horizon: int = 14 * DAY_MS
    """How long the same source and id is recognised as a repeat."""
    delay: int = 0
    """How far the watermark stays behind the newest event."""
    lateness: int = DAY_MS
    """How long after its window's close an event still changes it."""
    correction_horizon: int = 14 * DAY_MS
    """How long panes and alerts follow corrections."""
    fields: tuple[Field, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", fields_of(self.data))
        _check(self)

    @property
    def sums(self) -> tuple[Sum, ...]:
        """Conditions over several fields."""
        return self.data.sums

    def field(self, name: str) -> Field:
        """The field called ``name``; SchemaError if there is none."""
        for known in self.fields:
            if known.name == name:
                return known
        raise SchemaError(f'{self.name} has no field "{name}"')


def _check(kind: EventType) -> None:
    decorators = kind.data.__pydantic_decorators__
    if set(decorators.model_validators) != {"add_up"} or decorators.field_validators or decorators.validators:
        raise SchemaError(f"{kind.name} has validators of its own; declare sums or use a kind of field")
    if kind.identity and kind.corrects:
        raise SchemaError(f"{kind.name} has an identity and corrects another type; it can have one of them")
    here = [kind.school_field, *kind.dimensions, *kind.identity]
    if kind.day_field:
        here.append(kind.day_field)
    if kind.corrects:
        pairs = (*kind.corrects.key, *kind.corrects.before, *kind.corrects.after)
        here += [field_here for _, field_here in pairs]
    for name in here:
        kind.field(name)
    for rule in kind.sums:
        _check_sum(kind, rule)
    if kind.day_field and kind.field(kind.day_field).kind != "date":
        raise SchemaError(f'{kind.name}: the day field "{kind.day_field}" is not a date')


def _check_sum(kind: EventType, rule: Sum) -> None:
    for name in (rule.total, *rule.parts):
        known = kind.field(name)
        if known.kind != "integer" or known.nullable:
            raise SchemaError(f'{kind.name}: "{name}" in the sum {rule} is not a required integer')


@dataclass(frozen=True, slots=True)
class ControlRecord:
    """A record of the engine in ``school.events``: not an event, and told apart by its header."""

    name: str
    header: Literal["pulse", "control"]
    """Value of the header ``kind``."""
    title: Title
    description: Title
    encoding: str
