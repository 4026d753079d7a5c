"""Tests of a rule as they stand in its document: the events of a day, and what must come of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import yaml

from rules.lengths import EXAMPLES, parse_length
from rules.nodes import Report, Scalar, entries, items, place_of, scalar, scalars
from schemas.civil import day_start, parse_day
from schemas.registry import EventType
from schemas.units import SESSIONS as SESSION_NAMES
from schemas.units import SessionName

MAX_REPEAT = 20_000
MAX_WEEKS = 60
DEFAULT_DAY = "2026-09-07"
"""A Monday in term."""

STATES = ("pending", "firing", "recovering", "inactive", "resolved", "retracted", "retired")
CASE_KEYS = ("name", "day", "schools", "history", "events", "outage", "until", "expect")
SCHOOL_KEYS = (
    "name",
    "level",
    "ownership",
    "vendor",
    "commune",
    "district",
    "city",
    "enrolled",
    "classes",
    "sessions",
)
TEXT_KEYS = SCHOOL_KEYS[:7]
SESSIONS: tuple[SessionName, ...] = ("morning", "afternoon", "full_day")
EVENT_KEYS = ("at", "type", "data", "repeat", "every")
EXPECT_KEYS = ("state", "at", "group", "reason", "measures", "says", "held_by")

Plain = str | int | float | bool | None | list[Any] | dict[str, Any]


@dataclass(frozen=True, slots=True)
class SchoolSpec:
    """A school of the test's reference data; empty parts were not written."""

    code: str
    parts: Mapping[str, str]
    enrolled: int
    classes: tuple[str, ...] = ()
    sessions: tuple[SessionName, ...] = SESSIONS


@dataclass(frozen=True, slots=True)
class EventSpec:
    """``repeat`` events of one type, the first at ``at`` ms after the day's midnight."""

    at: int
    type: str
    data: Mapping[str, Plain]
    repeat: int
    every: int
    line: int


@dataclass(frozen=True, slots=True)
class Expectation:
    """A transition that must come; parts that are None or empty may be anything."""

    state: str
    at: int | None
    """Instant, ms; None: any."""
    to_the_minute: bool
    group: Mapping[str, str]
    reason: str
    measures: Mapping[str, float | None]
    says: str
    line: int
    held_by: str | None = None
    """Rule whose alert holds this one; empty: nobody does; None: either."""


@dataclass(frozen=True, slots=True)
class Case:
    """One test."""

    name: str
    line: int
    day: int
    """Days since 1970-01-01."""
    schools: tuple[SchoolSpec, ...]
    weeks: int
    """How many earlier same weekdays see ``history``."""
    history: tuple[EventSpec, ...]
    events: tuple[EventSpec, ...]
    outage: tuple[int, int] | None
    """From when to when (ms) the engine was down: no pulses, and events wait."""
    until: int | None
    """When the test ends, ms; None: with its last event."""
    expect: tuple[Expectation, ...]

    @property
    def fires(self) -> bool:
        """Whether the rule must fire in it."""
        return any(expectation.state == "firing" for expectation in self.expect)


@dataclass(frozen=True, slots=True)
class Known:
    """What tests of a rule may name."""

    event_type: str
    """The rule's own type: what events are unless they say otherwise."""
    groups: tuple[str, ...]
    numbers: tuple[str, ...]
    types: Mapping[str, EventType]


def read_cases(node: yaml.Node, report: Report, known: Known) -> tuple[Case, ...]:
    """The tests of a rule. What is wrong goes into ``report``."""
    reader = _Reader(report, known)
    found = [reader.case(item) for item in items(node, report, "'tests'")]
    return tuple(case for case in found if case is not None)


class _Reader:
    """Reads the cases of one document."""

    def __init__(self, report: Report, known: Known) -> None:
        self.report = report
        self.known = known

    def case(self, node: yaml.Node) -> Case | None:
        keys = entries(node, self.report, "a test", CASE_KEYS)
        if not keys:
            return None
        place = place_of(node)
        for key, expected in (
            ("name", "what the test shows"),
            ("events", "- at: …"),
            ("expect", "- state: …"),
        ):
            if key not in keys:
                self.report.fault(place, f"a test has no {key!r}", expected)
        day = self._day(keys)
        history = (
            entries(keys["history"][1], self.report, "'history'", ("weeks", "events"))
            if "history" in keys
            else {}
        )
        return Case(
            name=self._text(keys, "name"),
            line=place.line,
            day=day,
            schools=self._schools(keys),
            weeks=self._number(history, "weeks", 1, MAX_WEEKS, 4),
            history=self._events(history, "events"),
            events=self._events(keys, "events"),
            outage=self._outage(keys, day),
            until=self._instant(keys, "until", day),
            expect=self._expectations(keys, day),
        )

    # --- values ---

    def _scalar(self, keys: Mapping[str, tuple[Scalar, yaml.Node]], key: str) -> Scalar | None:
        return scalar(keys[key][1], self.report, repr(key)) if key in keys else None

    def _text(self, keys: Mapping[str, tuple[Scalar, yaml.Node]], key: str) -> str:
        found = self._scalar(keys, key)
        return found.text if found else ""

    def _number(
        self, keys: Mapping[str, tuple[Scalar, yaml.Node]], key: str, least: int, most: int, default: int
    ) -> int:
        found = self._scalar(keys, key)
        if found is None:
            return default
        number = int(found.text) if found.text.isdecimal() else -1
        if not least <= number <= most:
            message = f"{key!r} is {found.text!r}"
            self.report.fault(found.place(), message, f"a whole number from {least} to {most}")
            return default
        return number

    def _day(self, keys: Mapping[str, tuple[Scalar, yaml.Node]]) -> int:
        found = self._scalar(keys, "day")
        try:
            return parse_day(found.text if found else DEFAULT_DAY)
        except ValueError as error:
            if found is not None:
                self.report.fault(found.place(), f"{found.text!r} is not a day: {error}")
            return parse_day(DEFAULT_DAY)

    def _clock(self, keys: Mapping[str, tuple[Scalar, yaml.Node]], key: str) -> tuple[int, bool] | None:
        """Milliseconds after midnight, and whether seconds were left out."""
        found = self._scalar(keys, key)
        if found is None:
            return None
        parts = found.text.split(":")
        numbers = [int(part) for part in parts if len(part) == 2 and part.isdecimal()]
        if len(numbers) != len(parts) or len(parts) not in (2, 3):
            self.report.fault(found.place(), f"{found.text!r} is not a time of day", '"07:30" or "07:30:15"')
            return None
        hour, minute, second = (*numbers, 0)[:3]
        if hour > 47 or minute > 59 or second > 59:
            self.report.fault(
                found.place(), f"there is no {found.text}", "up to 47:59 (24:00 and later: the next day)"
            )
            return None
        return ((hour * 60 + minute) * 60 + second) * 1000, len(parts) == 2

    def _instant(self, keys: Mapping[str, tuple[Scalar, yaml.Node]], key: str, day: int) -> int | None:
        clock = self._clock(keys, key)
        return None if clock is None else day_start(day) + clock[0]

    def _outage(self, keys: Mapping[str, tuple[Scalar, yaml.Node]], day: int) -> tuple[int, int] | None:
        if "outage" not in keys:
            return None
        parts = entries(keys["outage"][1], self.report, "'outage'", ("from", "to"))
        begin, end = self._instant(parts, "from", day), self._instant(parts, "to", day)
        if begin is None or end is None or begin >= end:
            place = place_of(keys["outage"][1])
            self.report.fault(
                place, "an outage has a beginning and a later end", '{from: "07:20", to: "07:40"}'
            )
            return None
        return begin, end

    # --- reference and events ---

    def _schools(self, keys: Mapping[str, tuple[Scalar, yaml.Node]]) -> tuple[SchoolSpec, ...]:
        if "schools" not in keys:
            return ()
        found = []
        for code, node in entries(keys["schools"][1], self.report, "'schools'").values():
            parts = entries(node, self.report, "a school", SCHOOL_KEYS)
            texts = {key: self._text(parts, key) for key in TEXT_KEYS if key in parts}
            enrolled = self._number(parts, "enrolled", 0, 100_000, 0)
            classes = self._names(parts, "classes")
            sessions = self._sessions(parts) or (("morning",) if classes else SESSIONS)
            found.append(SchoolSpec(code.text, texts, enrolled, classes, sessions))
        return tuple(found)

    def _names(self, keys: Mapping[str, tuple[Scalar, yaml.Node]], key: str) -> tuple[str, ...]:
        return tuple(s.text for s in scalars(keys[key][1], self.report, repr(key))) if key in keys else ()

    def _sessions(self, keys: Mapping[str, tuple[Scalar, yaml.Node]]) -> tuple[SessionName, ...]:
        if "sessions" not in keys:
            return ()
        found: list[SessionName] = []
        for one in scalars(keys["sessions"][1], self.report, "'sessions'"):
            if one.text in SESSION_NAMES:
                found.append(cast("SessionName", one.text))
            else:
                self.report.unknown(one.place(), f"{one.text!r} is not a session", one.text, SESSION_NAMES)
        return tuple(found)

    def _events(self, keys: Mapping[str, tuple[Scalar, yaml.Node]], key: str) -> tuple[EventSpec, ...]:
        if key not in keys:
            return ()
        found = [self._event(node) for node in items(keys[key][1], self.report, repr(key))]
        return tuple(event for event in found if event is not None)

    def _event(self, node: yaml.Node) -> EventSpec | None:
        keys = entries(node, self.report, "an event", EVENT_KEYS)
        place = place_of(node)
        for key, expected in (("at", 'at: "07:30"'), ("data", "data: {…}")):
            if keys and key not in keys:
                self.report.fault(place, f"an event has no {key!r}", expected)
        clock = self._clock(keys, "at")
        kind = self._scalar(keys, "type")
        name = kind.text if kind else self.known.event_type
        if kind is not None and name not in self.known.types:
            self.report.unknown(
                kind.place(), f"{name!r} is not a type of event", name, sorted(self.known.types)
            )
        if kind is None and not name and keys:
            self.report.fault(place, "an event has no 'type'", "a type: the rule is over another rule")
        data = self._data(keys["data"][1], self.known.types.get(name)) if "data" in keys else {}
        repeat = self._number(keys, "repeat", 1, MAX_REPEAT, 1)
        every = self._length(keys, "every")
        return EventSpec(clock[0], name, data, repeat, every, place.line) if clock else None

    def _length(self, keys: Mapping[str, tuple[Scalar, yaml.Node]], key: str) -> int:
        found = self._scalar(keys, key)
        if found is None:
            return 0
        length = parse_length(found.text)
        if length is None:
            self.report.fault(found.place(), f"{found.text!r} is not a length of time", EXAMPLES)
        return length or 0

    def _data(self, node: yaml.Node, kind: EventType | None) -> dict[str, Plain]:
        fields = [field.name for field in kind.fields] if kind else None
        found = entries(node, self.report, f"the data of {kind.name}" if kind else "'data'", fields)
        return {name: plain(value) for name, (_, value) in found.items()}

    # --- expectations ---

    def _expectations(
        self, keys: Mapping[str, tuple[Scalar, yaml.Node]], day: int
    ) -> tuple[Expectation, ...]:
        if "expect" not in keys:
            return ()
        found = [self._expectation(node, day) for node in items(keys["expect"][1], self.report, "'expect'")]
        return tuple(expectation for expectation in found if expectation is not None)

    def _expectation(self, node: yaml.Node, day: int) -> Expectation | None:
        keys = entries(node, self.report, "an expectation", EXPECT_KEYS)
        if not keys:
            return None
        place = place_of(node)
        state = self._scalar(keys, "state")
        if state is None:
            self.report.fault(place, "an expectation has no 'state'", "state: firing")
        elif state.text not in STATES:
            self.report.unknown(state.place(), f"{state.text!r} is not a state", state.text, STATES)
        clock = self._clock(keys, "at")
        return Expectation(
            state=state.text if state else "",
            at=None if clock is None else day_start(day) + clock[0],
            to_the_minute=clock is not None and clock[1],
            group=self._group(keys),
            reason=self._text(keys, "reason"),
            measures=self._measures(keys),
            says=self._text(keys, "says"),
            held_by=self._text(keys, "held_by") if "held_by" in keys else None,
            line=place.line,
        )

    def _group(self, keys: Mapping[str, tuple[Scalar, yaml.Node]]) -> dict[str, str]:
        group = entries(keys["group"][1], self.report, "'group'") if "group" in keys else {}
        for name, (key, _) in group.items():
            if self.known.groups and name not in self.known.groups:
                message = f"the rule is not grouped by {name!r}"
                self.report.unknown(key.place(), message, name, self.known.groups)
        return {name: self._text(group, name) for name in group}

    def _measures(self, keys: Mapping[str, tuple[Scalar, yaml.Node]]) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        if "measures" not in keys:
            return found
        for name, (key, node) in entries(keys["measures"][1], self.report, "'measures'").items():
            value = plain(node)
            if name not in self.known.numbers and name != "last":
                self.report.unknown(
                    key.place(), f"the rule has no measure {name!r}", name, self.known.numbers
                )
            if isinstance(value, bool) or not isinstance(value, int | float | None):
                self.report.fault(place_of(node), f"measure {key.text!r} is {value!r}", "a number or null")
            else:
                found[name] = value
        return found


def plain(node: yaml.Node) -> Plain:
    """The node as plain JSON values; dates and times stay text."""
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): plain(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [plain(item) for item in node.value]
    convert = _PLAIN.get(str(node.tag).rpartition(":")[2], str)
    return convert(str(node.value))


def _integer(text: str) -> Plain:
    return int(text.replace("_", ""), 10) if text.lstrip("+-").replace("_", "").isdecimal() else text


def _float(text: str) -> Plain:
    try:
        return float(text.replace("_", ""))
    except ValueError:
        return text


_PLAIN: Mapping[str, Callable[[str], Plain]] = {
    "int": _integer,
    "float": _float,
    "bool": lambda text: text.lower() in ("true", "yes", "on"),
    "null": lambda _text: None,
}
