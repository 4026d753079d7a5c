"""A small district's days as a log: marks, corrections, repeats, reports, heartbeats, pulses."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from rules.engine.configured import encode_config
from schemas.reference import Reference, SchoolClass, Unit
from schemas.topics import ARRIVED, CONTROL, EVENTS, KIND, PULSE, partition_of
from schemas.wire import Config, OutRecord, Pulse, RuleFile

OFFSET = 7 * 3_600_000
DAY = 86_400_000
FIRST_DAY = 20_703  # 2026-09-07, a Monday
RULES = Path(__file__).parent / "rules"
STATUSES = ("present", "present", "present", "absent_excused", "absent_unexcused", "late")


def rule_files(directory: Path = RULES) -> list[RuleFile]:
    """Rules as they travel."""
    return [
        RuleFile(str(path.relative_to(directory)), path.read_text("utf-8"))
        for path in sorted(directory.rglob("*.yaml"))
    ]


def iso(ms: int) -> str:
    """RFC 3339 in civil time."""
    moment = dt.datetime.fromtimestamp(ms / 1000, dt.timezone(dt.timedelta(hours=7)))
    return moment.isoformat(timespec="milliseconds")


def civil_date(day: int) -> str:
    """``YYYY-MM-DD`` of a day."""
    return (dt.date(1970, 1, 1) + dt.timedelta(days=day)).isoformat()


def reference(schools: int, pupils: int) -> Reference:
    """A commune of primary schools with one class each, school on every weekday."""
    first = dt.date(2020, 1, 1)
    [f"TH{n:02d}" for n in range(schools)]
    units = [
        Unit(code="C1", name="Xã Một", kind="commune", valid_from=first),
        *(
            Unit(
                code=f"TH{n:02d}",
                name=f"Trường {n}",
                kind="school",
                parent="C1",
                level="primary",
                valid_from=first,
            )
            for n in range(schools)
        ),
    ]
    classes = [
        SchoolClass(
            code="1A",
            school=f"TH{n:02d}",
            grade="1",
            sessions=("morning",),
            enrolled=pupils,
            valid_from=first,
        )
        for n in range(schools)
    ]
    return Reference.of(units, classes)


@dataclass(slots=True)
class Morning:
    """Writes records for the log; ``sent`` are the events as an independent recount reads them."""

    seed: int
    partitions: int
    schools: int = 4
    pupils: int = 6
    days: int = 2
    mode: Literal["wall", "data"] = "data"
    misplaced: bool = True
    """Some senders use another partitioner. When their events are forwarded depends on speed."""
    sent: list[dict[str, Any]] = field(default_factory=list)
    _random: random.Random = field(init=False)
    _ids: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed * 7919 + 1)

    def records(self) -> list[OutRecord]:
        """Everything, in the order in which it is sent."""
        config = encode_config(
            Config(
                rules=rule_files(),
                reference=reference(self.schools, self.pupils).to_json(),
                clock_mode=self.mode,
            )
        )
        out = [OutRecord(EVENTS, p, None, config, ((KIND, CONTROL),)) for p in range(self.partitions)]
        for day in range(FIRST_DAY, FIRST_DAY + self.days):
            out.extend(self._day(day))
        return out

    def closing(self) -> list[OutRecord]:
        """The pulses that end it, sent when forwarded events have come to their partitions."""
        return list(self._pulses((FIRST_DAY + self.days + 3) * DAY - OFFSET))

    def _day(self, day: int) -> Iterator[OutRecord]:
        start = day * DAY - OFFSET
        todo = [(start + 7 * 3_600_000 + self._random.randrange(3_600_000), e) for e in self._events(day)]
        todo.sort(key=lambda item: (item[0], item[1]["id"]))
        tick = start + 7 * 3_600_000
        for at, event in todo:
            while tick <= at:
                yield from self._pulses(tick)
                tick += 600_000
            yield from self._send(event, at)
        while tick <= start + 9 * 3_600_000:
            yield from self._pulses(tick)
            tick += 600_000

    def _events(self, day: int) -> Iterator[dict[str, Any]]:
        date = civil_date(day)
        for number in range(self.schools):
            school = f"TH{number:02d}"
            enrolled = 20 + number
            absent = self._random.randrange(8)
            yield self._event(
                "attendance.day_reported", school=school, date=date, enrolled=enrolled,
                present=enrolled - absent, absent=absent, released=0,
            )  # fmt: skip
            for _ in range(3):
                yield self._event("source.heartbeat", school=school, vendor="v1")
            for pupil in range(self.pupils):
                status = self._random.choice(STATUSES)
                key = {"school": school, "pupil": f"{school}-{pupil}", "date": date, "session": "morning"}
                yield self._event("attendance.marked", **key, **{"class": "1A"}, status=status)
                if self._random.random() < 0.3:
                    new = self._random.choice(STATUSES)
                    yield self._event("attendance.corrected", **key, old=status, new=new, by="gv1")
                if self._random.random() < 0.1:
                    again = self._random.choice(STATUSES)
                    yield self._event("attendance.marked", **key, **{"class": "1A"}, status=again)

    def _event(self, kind: str, **data: Any) -> dict[str, Any]:
        self._ids += 1
        return {
            "specversion": "1.0", "id": f"e{self._ids}", "source": f"vn/test/{data['school']}",
            "type": kind, "data": data,
        }  # fmt: skip

    def _send(self, event: dict[str, Any], at: int) -> Iterator[OutRecord]:
        event = {**event, "time": iso(at - self._random.choice((0, 0, 0, 1000, 60_000)))}
        times = 1 + (self._random.random() < 0.15)
        for _ in range(times):
            self.sent.append(event)
            right = partition_of(event["data"]["school"], self.partitions)
            partition = (
                right
                if not self.misplaced or self._random.random() > 0.08
                else self._random.randrange(self.partitions)
            )
            yield OutRecord(
                EVENTS, partition, event["data"]["school"].encode(), json.dumps(event).encode(),
                ((ARRIVED, str(at).encode()),),
            )  # fmt: skip

    def _pulses(self, clock: int) -> Iterator[OutRecord]:
        every = 600_000 if self.mode == "wall" else 0
        value = msgspec.json.encode(Pulse(clock, self.mode, every))
        for partition in range(self.partitions):
            yield OutRecord(EVENTS, partition, None, value, ((KIND, PULSE),))
