"""Rules that miss something: ``expect: {every: class, event: …, by: "08:15", on: school_day}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, cast

import yaml

from rules.compiled import Compiled
from rules.document import Document
from rules.listing import listing
from rules.model import Agg, Expect, Window
from rules.nodes import Report, Scalar, entries, place_of, scalar
from rules.sql import parse_expression, to_sql
from schemas.registry import EventType
from schemas.units import LEVELS, SESSIONS

EXPECT_KEYS: Final = ("every", "event", "by", "on")
NUMBERS: Final = ("expected", "missing")
LISTS: Final = ("missing",)
"""Measures whose members a message may list."""
GROUPS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "class": (("school", "session"), ("school", "session", "class")),
    "school": (("school",),),
}
"""What a rule that expects something of every class or school may be grouped by, in any order."""
_DEFAULT: Final = "default"


def read_expecting(document: Document, report: Report, kind: EventType | None) -> Compiled:
    """The part of a rule that says what must come, from whom and when. Faults go into ``report``."""
    keys = entries(document.expect, report, "'expect'", EXPECT_KEYS) if document.expect else {}
    every = _every(keys, document, report)
    _check_day(keys, report)
    by = _deadlines(keys, document, report, sessions=every == "class")
    fits = not every or kind is None or _is_of_every(every, document, report, kind)
    if every and document.group_by and fits:
        _check_groups(every, document, report)
    aggs = (Agg("values", to_sql(parse_expression(every or "school"))),)
    expect = Expect(cast("Literal['class', 'school']", every), by)
    return Compiled(Window("school_day"), aggs, "", (), NUMBERS, lists=LISTS, expect=expect)


def _every(keys: Mapping[str, tuple[Scalar, yaml.Node]], document: Document, report: Report) -> str:
    found = _value(keys, "every", report)
    if found is None:
        if document.expect is not None and keys and "every" not in keys:
            report.fault(
                place_of(document.expect), "'expect' has no 'every'", "every: class or every: school"
            )
        return ""
    if found.text not in GROUPS:
        report.unknown(found.place(), f"nothing is known of every {found.text!r}", found.text, sorted(GROUPS))
        return ""
    return found.text


def _value(keys: Mapping[str, tuple[Scalar, yaml.Node]], key: str, report: Report) -> Scalar | None:
    return scalar(keys[key][1], report, repr(key)) if key in keys else None


def _check_day(keys: Mapping[str, tuple[Scalar, yaml.Node]], report: Report) -> None:
    found = _value(keys, "on", report)
    if found is not None and found.text != "school_day":
        report.fault(found.place(), f"{found.text!r} is not a kind of day", "on: school_day")


def _is_of_every(every: str, document: Document, report: Report, kind: EventType) -> bool:
    needed = GROUPS[every][0] if every == "school" else GROUPS[every][1]
    lacking = [name for name in needed if name not in kind.dimensions]
    if lacking and document.event_type is not None:
        message = f"{kind.name} has no {listing(lacking)}, so it cannot be expected of every {every}"
        report.fault(document.event_type.place(), message, f"a type with {listing(needed)}")
    elif not kind.day_field and document.event_type is not None:
        message = f"{kind.name} belongs to no school day"
        report.fault(document.event_type.place(), message, "a type with a date")
    return not lacking


def _check_groups(every: str, document: Document, report: Report) -> None:
    groups = [group.text for group in document.group_by]
    if not any(sorted(groups) == sorted(names) for names in GROUPS[every]):
        written = " or ".join(f"[{', '.join(names)}]" for names in GROUPS[every])
        message = f"what is expected of every {every} is not judged by [{', '.join(groups)}]"
        report.fault(document.group_by[0].place(), message, f"group_by: {written}")


# --- deadlines --------------------------------------------------------------------------------------


def _deadlines(
    keys: Mapping[str, tuple[Scalar, yaml.Node]], document: Document, report: Report, *, sessions: bool
) -> tuple[tuple[str, int], ...]:
    if "by" not in keys:
        if document.expect is not None and keys:
            report.fault(place_of(document.expect), "'expect' has no 'by'", 'by: "08:15"')
        return ()
    node = keys["by"][1]
    if not isinstance(node, yaml.MappingNode):
        time = scalar(node, report, "'by'")
        at = _time(time, report) if time is not None else None
        return () if at is None else (("", at),)
    return _table(entries(node, report, "'by'"), report, sessions=sessions)


def _table(
    rows: Mapping[str, tuple[Scalar, yaml.Node]], report: Report, *, sessions: bool
) -> tuple[tuple[str, int], ...]:
    known = [*filter(None, LEVELS), *(SESSIONS if sessions else ())]
    found: dict[str, int] = {}
    for key, (name, node) in rows.items():
        words = key.split()
        who = "" if words == [_DEFAULT] else " ".join(words)
        wrong = next((word for word in words if word not in known), "") if who else ""
        if wrong:
            report.unknown(name.place(), f"{wrong!r} is no level or session", wrong, [_DEFAULT, *known])
        elif len(words) > 1 and not (len(words) == 2 and words[0] in LEVELS and words[1] in SESSIONS):
            report.fault(name.place(), f"{key!r} is not a level and a session", "such as preschool afternoon")
        time = scalar(node, report, f"the deadline of {key!r}")
        at = _time(time, report) if time is not None else None
        if at is not None:
            found[who] = at
    return tuple(sorted(found.items()))


def _time(text: Scalar, report: Report) -> int | None:
    """Milliseconds after midnight."""
    hour, colon, minute = text.text.partition(":")
    plain = len(hour) == 2 and len(minute) == 2 and (hour + minute).isdecimal() and (hour + minute).isascii()
    if not colon or not plain or int(hour) > 23 or int(minute) > 59:
        report.fault(text.place(), f"{text.text!r} is not a time of day", '"08:15", in quotes')
        return None
    return (int(hour) * 60 + int(minute)) * 60_000
