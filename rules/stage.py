"""A stage for rule tests: the real cores on an in-memory log of one partition, clock mode ``data``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from rules.cases import Case, EventSpec, Plain, SchoolSpec
from rules.engine.configured import encode_config
from rules.engine.correlate import CorrelateCore
from rules.engine.count import CountCore
from rules.engine.judge import JudgeCore
from schemas.civil import OFFSET_MS, day_start, day_text
from schemas.events import EVENT_TYPES
from schemas.reference import Reference, SchoolClass, Unit
from schemas.topics import (
    ALERTS,
    ARRIVED,
    CONTROL,
    EVENTS,
    KIND,
    PANES,
    PULSE,
    REJECTED,
    TRANSITIONS,
)
from schemas.wire import (
    Config,
    Core,
    CoreOptions,
    Headers,
    LogBatch,
    Pulse,
    Rejected,
    RuleFile,
    Transition,
)

PULSE_EVERY = 10_000
"""Pulses of the day under test, ms. History has one at each event and at the end of its day."""
_SETTLE = 10_000
"""How long pulses go on after the last instant: longer than any type's delay."""


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a case."""

    transitions: tuple[Transition, ...]
    """Of the day under test."""
    rejected: tuple[tuple[int, Rejected], ...]
    """(line of the event in the document, why it was refused)."""


@dataclass(slots=True)
class _Log:
    """Topics in memory; the three cores are fed at once with what they write."""

    count: CountCore
    judge: JudgeCore
    correlate: CorrelateCore
    events: int = 0
    panes: int = 0
    transitions: int = 0
    alerts: list[Transition] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    def feed(self, records: list[tuple[bytes, Headers, int]]) -> None:
        """Append records to ``school.events`` and let the cores run until nothing is left."""
        self.events = _apply(self.count, self.events, records)
        for out in self.count.flush():
            if out.topic == PANES and out.value is not None:
                self.panes = _apply(self.judge, self.panes, [(out.value, (), 0)])
            elif out.topic == REJECTED and out.value is not None:
                self.rejected.append(msgspec.json.decode(out.value, type=Rejected))
            elif out.topic == EVENTS and out.value is not None:
                self.feed([(out.value, out.headers, 0)])
        for out in self.judge.flush():
            if out.topic == TRANSITIONS and out.value is not None:
                self.transitions = _apply(self.correlate, self.transitions, [(out.value, out.headers, 0)])
        for out in self.correlate.flush():
            if out.topic == ALERTS and out.value is not None:
                self.alerts.append(msgspec.json.decode(out.value, type=Transition))


def _apply(core: Core, first: int, records: list[tuple[bytes, Headers, int]]) -> int:
    if records:
        core.apply(
            LogBatch(
                partition=0,
                offsets=list(range(first, first + len(records))),
                keys=[None] * len(records),
                values=[value for value, _, _ in records],
                headers=[headers for _, headers, _ in records],
                timestamps=[timestamp for _, _, timestamp in records],
            )
        )
    return first + len(records)


def play(files: list[RuleFile], case: Case) -> Played:
    """Run a case on the rules of some files."""
    options = CoreOptions(1, 1)
    log = _Log(CountCore(0, options), JudgeCore(0, options), CorrelateCore(0, options))
    config = Config(rules=files, reference=reference_of(case).to_json(), clock_mode="data")
    log.feed([(encode_config(config), ((KIND, CONTROL),), 0)])
    lines: dict[str, int] = {}
    rules = log.count.configured.rules.rules
    deadlines = [time for rule in rules if rule.expect is not None for _, time in rule.expect.by]
    for records in _timeline(case, lines, min(deadlines, default=None)):
        log.feed(records)
    start = day_start(case.day)
    rejected = tuple((lines.get(one.event_id, case.line), one) for one in log.rejected)
    return Played(tuple(one for one in log.alerts if one.decided_at >= start), rejected)


# --- reference data -------------------------------------------------------------------------------


def reference_of(case: Case) -> Reference:
    """The schools that the case describes, and those that its events name."""
    described = {school.code: school for school in case.schools}
    for event in (*case.history, *case.events):
        code = event.data.get("school")
        if isinstance(code, str) and code not in described:
            described[code] = SchoolSpec(code, {}, 0)
    units: dict[str, Unit] = {}
    classes = []
    for school in described.values():
        for unit in _units(school):
            units.setdefault(unit.code, unit)
        names = school.classes or (("1A",) if school.enrolled else ())
        for number, name in enumerate(names):
            enrolled = (school.enrolled + number) // len(names)
            classes.append(
                SchoolClass(code=name, school=school.code, sessions=school.sessions, enrolled=enrolled)
            )
    return Reference.of(units.values(), classes)


def _units(school: SchoolSpec) -> Iterator[Unit]:
    parent = ""
    for kind in ("city", "district", "commune"):
        if code := school.parts.get(kind):
            yield Unit.model_validate({"code": code, "name": code, "kind": kind, "parent": parent})
            parent = code
    own = {key: school.parts.get(key, "") for key in ("level", "ownership", "vendor")}
    name = school.parts.get("name") or school.code
    yield Unit.model_validate({"code": school.code, "name": name, "kind": "school", "parent": parent} | own)


# --- the timeline ---------------------------------------------------------------------------------

Record = tuple[bytes, Headers, int]


def _timeline(case: Case, lines: dict[str, int], deadline: int | None) -> Iterator[list[Record]]:
    """Records in order, in batches that each end with a pulse.

    The clock is watched a minute before the rule's first ``deadline``, ms after midnight.
    """
    for back in range(case.weeks if case.history else 0, 0, -1):
        day = case.day - 7 * back
        week = case.weeks - back
        yield from _day(_dated(case.history, day, week, lines), every=0, end=day_start(day + 1))
    events = _dated(case.events, case.day, None, lines)
    last = max((at for at, _ in events), default=day_start(case.day))
    end = (case.until if case.until is not None else last) + _SETTLE
    watched = None if deadline is None else day_start(case.day) + deadline - 60_000
    end = max(end, last + _SETTLE)
    yield from _day(events, every=PULSE_EVERY, end=end, outage=case.outage, watched=watched)


def _day(
    events: list[tuple[int, bytes]],
    *,
    every: int,
    end: int,
    outage: tuple[int, int] | None = None,
    watched: int | None = None,
) -> Iterator[list[Record]]:
    """Events of a day with their pulses: at each instant that has events, and each ``every`` ms."""
    begin = min([at for at, _ in events] + [end if watched is None else min(watched, end)])
    regular = range(begin, end, every) if every else ()
    instants = [
        instant
        for instant in sorted({*(at for at, _ in events), *regular, end})
        if outage is None or not outage[0] < instant < outage[1]
    ]
    place = 0
    for instant in instants:
        records: list[Record] = []
        while place < len(events) and events[place][0] <= instant:
            at, value = events[place]
            records.append((value, ((ARRIVED, str(at).encode()),), at))
            place += 1
        pulse = Pulse(instant, "data", every=every)
        records.append((msgspec.json.encode(pulse), ((KIND, PULSE),), instant))
        yield records


def _dated(
    specs: tuple[EventSpec, ...], day: int, week: int | None, lines: dict[str, int]
) -> list[tuple[int, bytes]]:
    found = []
    for index, spec in enumerate(specs):
        for number in range(1, spec.repeat + 1):
            at = day_start(day) + spec.at + (number - 1) * spec.every
            event_id = f"{'events' if week is None else f'week-{week + 1}'}/{index + 1}/{number}"
            lines[event_id] = spec.line
            found.append((at, _event(spec, event_id, at=at, day=day, number=number, week=week)))
    return sorted(found, key=lambda item: item[0])


def _event(spec: EventSpec, event_id: str, *, at: int, day: int, number: int, week: int | None) -> bytes:
    data = {name: _filled(value, number, week) for name, value in spec.data.items()}
    kind = EVENT_TYPES[spec.type]
    if kind.day_field and kind.day_field not in data:
        data[kind.day_field] = day_text(day)
    envelope = {
        "specversion": "1.0",
        "id": event_id,
        "source": "rule-test",
        "type": spec.type,
        "time": _rfc3339(at),
        "data": data,
    }
    return msgspec.json.encode(envelope)


def _filled(value: Plain, number: int, week: int | None) -> Plain:
    """``{n}`` is the number of the repetition; in history a list holds one value for each week."""
    if isinstance(value, list) and week is not None and value:
        value = value[week % len(value)]
    return value.replace("{n}", str(number)) if isinstance(value, str) else value


def _rfc3339(at: int) -> str:
    zone = dt.timezone(dt.timedelta(milliseconds=OFFSET_MS))
    return dt.datetime.fromtimestamp(at / 1000, zone).isoformat(timespec="milliseconds")


def measures_text(values: Mapping[str, float | None]) -> str:
    """Measures as a test shows them."""
    return ", ".join(f"{name} {'null' if value is None else f'{value:g}'}" for name, value in values.items())
