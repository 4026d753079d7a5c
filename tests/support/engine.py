"""Logs for the engine's cores, written event by event, and the cores run on them in any cuts."""

from __future__ import annotations

import datetime as dt
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import msgspec
import polars as pl

from rules.engine.configured import encode_config
from rules.engine.correlate import CorrelateCore
from rules.engine.count import CountCore
from rules.engine.judge import JudgeCore
from schemas.civil import DAY_MS, OFFSET_MS, day_text
from schemas.reference import Calendar, Reference, SchoolClass, Unit
from schemas.topics import (
    ACCEPTED,
    AGGREGATES,
    ALERTS,
    ARRIVED,
    CONTROL,
    KIND,
    PANES,
    PULSE,
    REJECTED,
    TRANSITIONS,
    partition_of,
)
from schemas.wire import (
    Aggregate,
    Config,
    Core,
    CoreOptions,
    Headers,
    LogBatch,
    OutRecord,
    PanesRecord,
    PaneState,
    Pulse,
    Rejected,
    RuleFile,
    Transition,
)

C = TypeVar("C", bound=Core)
MONDAY = 20_703
"""2026-09-07, days since 1970-01-01."""
MINUTE = 60_000
HOUR = 60 * MINUTE
ONE = CoreOptions(1, 1)
HEAD = """\
title: {vi: "x", en: "x"}
severity: P2
status: active
owner: test
notify: [duty-officer]
message: {vi: "x", en: "x"}
"""


def at(clock: str, day: int = MONDAY) -> int:
    """Milliseconds of a civil time ``HH:MM`` or ``HH:MM:SS`` of a day."""
    parts = [int(part) for part in clock.split(":")] + [0]
    return day * DAY_MS - OFFSET_MS + parts[0] * HOUR + parts[1] * MINUTE + parts[2] * 1000


def clock_of(ms: int) -> str:
    """``HH:MM:SS`` of an instant, and the days since `MONDAY` if there are any."""
    days, rest = divmod(ms + OFFSET_MS - MONDAY * DAY_MS, DAY_MS)
    text = f"{rest // HOUR:02d}:{rest // MINUTE % 60:02d}:{rest // 1000 % 60:02d}"
    return f"{days:+d}d {text}" if days else text


def rule(name: str, body: str) -> RuleFile:
    """A rule document of the parts that matter to a test."""
    return RuleFile(f"{name}.yaml", f"rule: {name}\n{HEAD}{body}")


def school_of(partition: int, partitions: int, skip: int = 0) -> str:
    """A school whose events lie on a partition."""
    names = (f"S{n}" for n in itertools.count())
    return next(itertools.islice((n for n in names if partition_of(n, partitions) == partition), skip, None))


def organisation(
    schools: Iterable[str], *, pupils: int = 10, calendar: Calendar | None = None, **unit: Any
) -> Reference:
    """Schools of one commune, each with one class."""
    names = list(schools)
    first = dt.date(2020, 1, 1)
    units = [Unit(code="C1", name="Xã Một", kind="commune", valid_from=first)]
    units += [
        Unit(code=n, name=n, kind="school", parent="C1", level="primary", valid_from=first) for n in names
    ]
    classes = [
        SchoolClass(code="1A", school=n, sessions=("morning",), enrolled=pupils, valid_from=first)
        for n in names
    ]
    return Reference.of(units, classes, calendar)


def event(kind: str, when: int, event_id: str, /, source: str = "s", **data: Any) -> dict[str, Any]:
    """An event; ``class_`` stands for the field ``class``."""
    if "class_" in data:
        data["class"] = data.pop("class_")
    zone = dt.timezone(dt.timedelta(milliseconds=OFFSET_MS))
    moment = dt.datetime.fromtimestamp(when / 1000, zone).isoformat(timespec="milliseconds")
    envelope = {"specversion": "1.0", "id": event_id, "source": source, "type": kind, "time": moment}
    return {**envelope, "data": data}


@dataclass(slots=True)
class Tape:
    """One partition of ``school.events``, being written."""

    partition: int = 0
    values: list[bytes | None] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)
    clock: int = at("07:00")
    _ids: Iterator[int] = field(default_factory=itertools.count)

    def raw(self, value: bytes | None, headers: Headers = (), stamp: int | None = None) -> int:
        """Append a record; its offset."""
        self.values.append(value)
        self.headers.append(headers)
        self.stamps.append(self.clock if stamp is None else stamp)
        return len(self.values) - 1

    def put(self, document: dict[str, Any], when: int | None = None) -> int:
        """Append an event that arrives now, or at ``when``."""
        self.clock = self.clock if when is None else when
        return self.raw(json.dumps(document).encode(), ((ARRIVED, str(self.clock).encode()),))

    def new_id(self) -> str:
        """An id nobody has used."""
        return f"e{self.partition}-{next(self._ids)}"

    def mark(self, school: str, pupil: str, status: str, when: int, *, day: int = MONDAY, **more: Any) -> int:
        """A pupil's mark of the morning, arriving when it happens."""
        data = {"class_": "1A", "session": "morning", "date": day_text(day), **more}
        event_id = data.pop("event_id", None) or self.new_id()
        arrives = data.pop("arrives", when)
        made = event("attendance.marked", when, event_id, school=school, pupil=pupil, status=status, **data)
        return self.put(made, arrives)

    def correct(self, school: str, pupil: str, new: str, when: int, *, day: int = MONDAY, **more: Any) -> int:
        """A correction of a mark."""
        arrives = more.pop("arrives", when)
        made = event(
            "attendance.corrected", when, more.pop("event_id", None) or self.new_id(), school=school,
            pupil=pupil, date=day_text(day), session="morning", old="present", new=new, by="u",
        )  # fmt: skip
        return self.put(made, arrives)

    def report(self, school: str, absent: int, when: int, *, day: int = MONDAY, enrolled: int = 100) -> int:
        """A school's day."""
        made = event(
            "attendance.day_reported", when, self.new_id(), school=school, date=day_text(day),
            enrolled=enrolled, present=enrolled - absent, absent=absent, released=0,
        )  # fmt: skip
        return self.put(made, when)

    def heartbeat(self, school: str, when: int) -> int:
        """A sign of life."""
        return self.put(event("source.heartbeat", when, self.new_id(), school=school, vendor="v"), when)

    def pulse(self, when: int, mode: Literal["wall", "demo", "data"] = "data", every: int = 0) -> int:
        """The business clock."""
        self.clock = max(self.clock, when)
        return self.raw(msgspec.json.encode(Pulse(when, mode, every)), ((KIND, PULSE),))

    def control(self, **parts: Any) -> int:
        """New rules, reference data or clock mode."""
        if isinstance(parts.get("reference"), Reference):
            parts["reference"] = parts["reference"].to_json()
        return self.raw(encode_config(Config(**parts)), ((KIND, CONTROL),))

    def batch(self, first: int = 0, last: int | None = None) -> LogBatch:
        """Records first..last as a batch."""
        end = len(self.values) if last is None else last
        return LogBatch(
            self.partition, list(range(first, end)), [None] * (end - first), self.values[first:end],
            self.headers[first:end], self.stamps[first:end],
        )  # fmt: skip


def cut(tape: Tape, cuts: Iterable[int]) -> list[LogBatch]:
    """The whole tape in batches that begin at the cuts."""
    places = sorted({0, len(tape.values), *(c for c in cuts if 0 < c < len(tape.values))})
    return [tape.batch(a, b) for a, b in itertools.pairwise(places)]


def run(
    core: C, batches: Iterable[LogBatch], again: Callable[[], C] | None = None, snapshots: Sequence[int] = ()
) -> tuple[C, list[OutRecord]]:
    """Feed batches; after those numbered in ``snapshots`` a new core goes on from a snapshot."""
    out: list[OutRecord] = []
    for number, batch in enumerate(batches):
        core.apply(batch)
        out += core.flush()
        if again is not None and number in snapshots:
            core = reborn(core, again)
    return core, out


def reborn(core: C, again: Callable[[], C]) -> C:
    """A new core in the state of ``core``."""
    state = core.snapshot(complete=True)
    fresh = again()
    fresh.restore(state.position, {name: state.blocks[name] for name in state.live})
    return fresh


@dataclass(slots=True)
class Station:
    """The cores of an installation with one judge, fed record by record with what they write."""

    partitions: int = 1
    tapes: list[Tape] = field(init=False)
    counts: list[CountCore] = field(init=False)
    judge: JudgeCore = field(init=False)
    correlate: CorrelateCore = field(init=False)
    panes: list[bytes] = field(default_factory=list)
    steps: list[Transition] = field(default_factory=list)
    aggregates: list[Aggregate] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    restarts: bool = False
    """Every core is replaced by one from its snapshot after everything it does."""
    _read: list[int] = field(init=False)
    _told: int = 0

    def __post_init__(self) -> None:
        options = CoreOptions(self.partitions, 1)
        self.tapes = [Tape(partition) for partition in range(self.partitions)]
        self.counts = [CountCore(partition, options) for partition in range(self.partitions)]
        self.judge = JudgeCore(0, options)
        self.correlate = CorrelateCore(0, options)
        self._read = [0] * self.partitions

    @property
    def tape(self) -> Tape:
        """The first partition."""
        return self.tapes[0]

    def control(self, **parts: Any) -> None:
        """The same control record to every partition; the clock is in the data unless it says."""
        for tape in self.tapes:
            tape.control(**{"clock_mode": "data", **parts})
        self.go()

    def pulse(self, when: int, **more: Any) -> None:
        """The business clock to every partition, and let everything run."""
        for tape in self.tapes:
            tape.pulse(when, **more)
        self.go()

    def pulses(self, first: int, last: int, every: int = MINUTE, **more: Any) -> None:
        """A pulse each ``every`` ms."""
        for when in range(first, last + 1, every):
            self.pulse(when, **more)

    def go(self) -> None:
        """Let the cores read what they have not read."""
        options = CoreOptions(self.partitions, 1)
        for number in range(self.partitions):
            tape, core = self.tapes[number], self.counts[number]
            if self._read[number] < len(tape.values):
                core.apply(tape.batch(self._read[number]))
                self._read[number] = len(tape.values)
            self._take(core.flush())
            if self.restarts:
                self.counts[number] = reborn(core, lambda n=number: CountCore(n, options))  # type: ignore[misc]

    def _take(self, records: list[OutRecord]) -> None:
        for record in records:
            if record.topic == REJECTED and record.value:
                self.rejected.append(msgspec.json.decode(record.value, type=Rejected))
            elif record.topic == PANES and record.value:
                self.tell(record.value)

    def tell(self, value: bytes) -> None:
        """Give the judge one record of panes."""
        self.panes.append(value)
        position = len(self.panes) - 1
        self.judge.apply(LogBatch(0, [position], [None], [value], [()], [0]))
        for record in self.judge.flush():
            if record.topic == AGGREGATES and record.value:
                self.aggregates += msgspec.json.decode(record.value, type=list[Aggregate])
            elif record.topic == TRANSITIONS and record.value:
                self._pass(record.value, record.headers)
        if self.restarts:
            options = CoreOptions(self.partitions, 1)
            self.judge = reborn(self.judge, lambda: JudgeCore(0, options))
            self.correlate = reborn(self.correlate, lambda: CorrelateCore(0, options))

    def _pass(self, value: bytes, headers: Headers) -> None:
        self.correlate.apply(LogBatch(0, [self._told], [None], [value], [headers], [0]))
        self._told += 1
        for record in self.correlate.flush():
            assert record.topic == ALERTS
            self.steps.append(msgspec.json.decode(record.value or b"", type=Transition))

    def life(self) -> list[str]:
        """Every transition as ``HH:MM:SS state reason``."""
        return [f"{clock_of(step.at)} {step.state} {step.reason}" for step in self.steps]


def panes_of(records: Iterable[OutRecord]) -> dict[tuple[str, int, tuple[str, ...]], PaneState]:
    """The newest state of every pane that was sent."""
    found: dict[tuple[str, int, tuple[str, ...]], PaneState] = {}
    for record in records:
        if record.topic == PANES:
            for sheet in msgspec.msgpack.decode(record.value or b"", type=PanesRecord).panes:
                for pane in sheet.panes:
                    found[sheet.query, sheet.window_start, pane.group] = pane
    return found


def accepted(records: Iterable[OutRecord]) -> pl.DataFrame:
    """What was accepted: position, id and mark, in order."""
    frames = [pl.read_ipc_stream(io.BytesIO(r.value or b"")) for r in records if r.topic == ACCEPTED]
    columns = [frame.select("position", "id", "type", "mark", "time", "raw") for frame in frames]
    return pl.concat(columns).sort("position") if columns else pl.DataFrame()


def rejected(records: Iterable[OutRecord]) -> list[Rejected]:
    """What was rejected, in order."""
    return [msgspec.json.decode(r.value or b"", type=Rejected) for r in records if r.topic == REJECTED]
