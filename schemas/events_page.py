"""The page ``docs/events.md``, written from the registry."""

from __future__ import annotations

import sys

from schemas.events import CONTROL_RECORDS, EVENT_TYPES
from schemas.fields import Field
from schemas.registry import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, ControlRecord, EventType

_HEAD = """# Events

<!-- Written by `python -m schemas.events_page`; a test keeps it equal to the registry. -->

Events are CloudEvents 1.0 in structured JSON, one in each record of `school.events`, with the school
code as the key. `specversion` ("1.0"), `id`, `source`, `type`, `time` (RFC 3339 with offset) and `data`
are required; `subject`, `datacontenttype` ("application/json"), `dataschema` and extension attributes are
allowed and not looked at. An id is unique within its source: the same source and id with the same type,
time and data counts once, with other content it is rejected. Unknown fields, repeated keys, NaN, text
with control characters, invalid UTF-8, more than 512 KiB or 32 levels, a time or school day more than two
days after arrival or before 2000: rejected, with the reason and the field.

`trucban schema TYPE` prints the JSON Schema. Personal data: *personal* identifies or concerns a person,
*sensitive* may tell of health or family.
"""

_REASONS = """
## Reasons of rejection

| Reason | Meaning |
|---|---|
| `not_utf8` | the bytes are not UTF-8 |
| `not_json` | not strict JSON, or no value at all |
| `duplicate_key` | a key occurs more than once in an object |
| `too_deep` | nested deeper than 32 levels |
| `too_large` | more than 512 KiB |
| `not_cloudevent` | the envelope is not that of a CloudEvent 1.0 |
| `unknown_type` | no such type of event |
| `invalid` | a field of the data is missing, unknown or not as described |
| `time_out_of_range` | the time or the school day is too far ahead or before 2000 |
| `unknown_school` | no school of this code is valid on the day |
| `id_reused` | the same source and id came before with other content |
"""


def events_page() -> str:
    """The page as Markdown."""
    types = "".join(_type(EVENT_TYPES[name]) for name in sorted(EVENT_TYPES))
    records = "".join(_record(CONTROL_RECORDS[name]) for name in sorted(CONTROL_RECORDS))
    return f"{_HEAD}{types}\n## Records of the engine\n{records}{_REASONS}"


def _type(kind: EventType) -> str:
    lines = ["", f"## `{kind.name}`", "", f"**{kind.title.en}** / **{kind.title.vi}**", ""]
    lines += [kind.description.en, "", kind.description.vi, ""]
    lines += ["| Field | Meaning | Value | Unit | Personal data |", "|---|---|---|---|---|"]
    lines += [_field(field) for field in kind.fields]
    lines += ["", *(f"- {fact}" for fact in _facts(kind)), ""]
    return "\n".join(lines)


def _field(field: Field) -> str:
    value = field.expected + ("" if field.required else "; optional")
    meaning = f"{field.title_en} / {field.title_vi}"
    return f"| `{field.name}` | {meaning} | {value} | {field.unit} | {field.personal} |"


def _facts(kind: EventType) -> list[str]:
    facts = [f"Always: {rule}" for rule in kind.sums]
    facts.append(f"Group by: {_names(kind.dimensions)}, and the dimensions of the school")
    if kind.identity:
        facts.append(f"Identity: {_names(kind.identity)}; a later event replaces the earlier one")
    if kind.corrects:
        replaced = ", ".join(f"`{there}` by `{here}`" for there, here in kind.corrects.after)
        key = _names(tuple(here for _, here in kind.corrects.key))
        facts.append(f"Corrects `{kind.corrects.type}` with the same {key}: replaces {replaced}")
    facts.append(f"School day: {f'`{kind.day_field}`' if kind.day_field else 'that of `time`'}")
    facts.append(
        f"Repeats are recognised for {_time(kind.repeat_horizon)}; delay {_time(kind.delay)}, "
        f"lateness {_time(kind.lateness)}, corrections for {_time(kind.correction_horizon)}"
    )
    return facts


def _record(record: ControlRecord) -> str:
    return (
        f"\n### `{record.name}`\n\n**{record.title.en}** / **{record.title.vi}**\n\n"
        f"{record.description.en}\n\n{record.description.vi}\n\n"
        f"Header `kind` = `{record.header}`. {record.encoding}.\n"
    )


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _time(ms: int) -> str:
    for size, word in ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "min"), (SECOND_MS, "s")):
        if ms and ms % size == 0:
            return f"{ms // size} {word}"
    return f"{ms} ms" if ms else "none"


if __name__ == "__main__":
    sys.stdout.write(events_page())
