"""The simulated school day: a seeded pure function of reference data, date and scenario.

Each school has its own chance, made of seed, date and code, so one school's day does not depend on
the others. Ids are functions of what happened, so a day that is sent twice counts once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from feeds.scenarios import ILL, SILENT_FROM, SILENT_TO, SYNC_FROM, SYNC_TO, Cause, cause_of, schools_on
from schemas.civil import day_start, day_text
from schemas.organisation import Reference
from schemas.units import SchoolClass, Unit

SOURCE: Final = "trucban/simulated-day"
OPENS: Final = {"morning": 7 * 60 + 25, "full_day": 7 * 60 + 25, "afternoon": 13 * 60 + 25}
"""Minute at which a session's roll begins: ten minutes for absentees, then thirty for the others."""
CLOSES_AFTER: Final = 42
LATE_BY: Final = 35
GATE_SHARE: Final = 0.4
MEAL_SHARE: Final = 0.65
HISTORY_WEEKS: Final = 4
_MINUTE: Final = 60_000
_SYMPTOMS: Final = ("digestive", "fever", "respiratory", "rash", "injury", "other")

Planned = tuple[int, str, str, str, dict[str, Any]]
"""Time (ms), id, type, school, data."""


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """A CloudEvent, the school whose code is its key, and its time in ms."""

    time: int
    school: str
    value: bytes


def day_events(
    reference: Reference, day: int, scenario: str = "ordinary", seed: int = 1
) -> Iterator[FeedEvent]:
    """All events of a civil day (days since 1970-01-01) in time order. Raises `SettingsError`.

    On a day off only the heartbeats remain. The day is planned in memory and written as it is read.
    """
    cause = cause_of(scenario)
    planned: list[Planned] = []
    for school in _schools(reference, day):
        planned += _School(school, day, cause, seed).whole_day()
    return _written(planned, day)


def history_events(reference: Reference, day: int, seed: int = 1) -> Iterator[FeedEvent]:
    """Marks of the four same weekdays before ``day`` that baselines need, oldest first, ordinary days."""
    for weeks in range(HISTORY_WEEKS, 0, -1):
        earlier = day - 7 * weeks
        planned: list[Planned] = []
        for school in _schools(reference, earlier):
            if school[0].level != "preschool" and school[2]:
                planned += _School(school, earlier, Cause(), seed).marks()
        yield from _written(planned, earlier)


def _schools(reference: Reference, day: int) -> Iterator[tuple[Unit, list[SchoolClass], bool]]:
    classes: dict[str, list[SchoolClass]] = {}
    for entry in reference.classes:
        if entry.holds(day):
            classes.setdefault(entry.school, []).append(entry)
    for code, unit in schools_on(reference, day).items():
        open_today = reference.is_school_day(day, unit.level, (code, unit.parent))
        yield unit, classes.get(code, []), open_today


def _written(planned: list[Planned], day: int) -> Iterator[FeedEvent]:
    planned.sort(key=lambda entry: entry[:2])
    start, date = day_start(day), day_text(day)
    for time, name, kind, school, data in planned:
        second, ms = divmod(time - start, 1000)
        clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.{ms:03d}"
        head = f'{{"specversion":"1.0","id":"{name}","source":"{SOURCE}","type":"{kind}"'
        body = json.dumps({"school": school, **data}, ensure_ascii=False, separators=(",", ":"))
        yield FeedEvent(time, school, f'{head},"time":"{date}T{clock}+07:00","data":{body}}}'.encode())


class _School:
    """One school's day."""

    def __init__(
        self, school: tuple[Unit, list[SchoolClass], bool], day: int, cause: Cause, seed: int
    ) -> None:
        self.unit, self.classes, self.open = school
        self.code, self.date, self.start, self.cause = self.unit.code, day_text(day), day_start(day), cause
        self.seed = f"{seed}/{self.date}/{self.code}"

    def whole_day(self) -> Iterator[Planned]:
        """Everything, in no order."""
        yield from self.heartbeats()
        if self.open:
            yield from self.marks()
            yield from self.gate()
            yield from self.closings()
            yield from self.offices()
            yield from self.syncs()

    def absent(self, entry: SchoolClass, session: str) -> int:
        """How many of a class are absent from a session."""
        if self.unit.parent == self.cause.ill_commune and self.unit.level != "preschool":
            return round(entry.enrolled * ILL)
        chance = Random(f"{self.seed}/{entry.code}/{session}/absent")
        return min(entry.enrolled, chance.choice((0, 1, 1, 2)))

    def heartbeats(self) -> Iterator[Planned]:
        """One in each five minutes, in its first minute."""
        second = Random(f"{self.seed}/beat").randrange(60)
        for minute in range(0, 24 * 60, 5):
            if self.unit.vendor == self.cause.silent_vendor and SILENT_FROM <= minute < SILENT_TO:
                continue
            yield self._event(
                minute, second * 1000, "source.heartbeat", f"b{minute}", {"vendor": self.unit.vendor}
            )

    def marks(self) -> Iterator[Planned]:
        """Roll calls: absentees in the first ten minutes, the others evenly in the next thirty."""
        for entry in self.classes:
            for session in entry.sessions:
                chance = Random(f"{self.seed}/{entry.code}/{session}/marks")
                absent, opens = self.absent(entry, session), OPENS[session] * _MINUTE
                others = max(1, entry.enrolled - absent)
                for number in range(entry.enrolled):
                    if number < absent:
                        after, status = chance.randrange(10 * _MINUTE), "absent_excused"
                        status = "absent_unexcused" if chance.random() < 0.25 else status
                    else:
                        share = (number - absent + chance.random()) / others
                        after, status = int((10 + 30 * share) * _MINUTE), "present"
                        status = "late" if chance.random() < 0.01 else status
                    data = {"class": entry.code, "pupil": self._pupil(entry, number), "date": self.date}
                    name = f"m{session[0]}-{entry.code}-{number}"
                    data |= {"session": session, "status": status}
                    yield self._event(0, opens + after, "attendance.marked", name, data)

    def gate(self) -> Iterator[Planned]:
        """Arrivals and departures of those who carry a card."""
        for entry in self.classes:
            chance = Random(f"{self.seed}/{entry.code}/gate")
            for number in range(
                max((self.absent(entry, s) for s in entry.sessions), default=0), entry.enrolled
            ):
                if chance.random() >= GATE_SHARE:
                    continue
                leaves = 11 * 60 + 15 if entry.sessions == ("morning",) else 16 * 60 + 15
                for direction, begin in (("in", 6 * 60 + 50), ("out", leaves)):
                    at = begin * _MINUTE + chance.randrange(30 * _MINUTE)
                    data = {"pupil": self._pupil(entry, number), "date": self.date}
                    data |= {"direction": direction, "gate": f"G{chance.randint(1, 2)}"}
                    yield self._event(0, at, "gate.passed", f"g{direction}-{entry.code}-{number}", data)

    def closings(self) -> Iterator[Planned]:
        """Each class closes each session's roll; in late schools a third of the morning's too late."""
        for index, entry in enumerate(self.classes):
            for session in entry.sessions:
                chance = Random(f"{self.seed}/{entry.code}/{session}/close")
                late = self.code in self.cause.late_schools and index % 3 == 0 and session == "morning"
                minute = OPENS[session] + CLOSES_AFTER + (LATE_BY if late else 0)
                absent = self.absent(entry, session)
                excused = absent * 3 // 4
                data = {"class": entry.code, "date": self.date, "session": session}
                counts = {"enrolled": entry.enrolled, "absent_excused": excused}
                counts["absent_unexcused"] = absent - excused
                name, after = f"c{session[0]}-{entry.code}", chance.randrange(6 * _MINUTE)
                yield self._event(minute, after, "attendance.class_closed", name, {**data, **counts})

    def offices(self) -> Iterator[Planned]:
        """Leave, meals, clinic and staff."""
        for entry in self.classes:
            chance = Random(f"{self.seed}/{entry.code}/office")
            where = {"class": entry.code, "date": self.date}
            if self.unit.kitchen and entry.sessions != ("morning",):
                portions = round(entry.enrolled * MEAL_SHARE)
                data = {**where, "meal": "lunch", "kitchen": self.unit.kitchen, "portions": portions}
                after = chance.randrange(20 * _MINUTE)
                yield self._event(8 * 60 + 20, after, "meal.registered", f"l-{entry.code}", data)
            if entry.enrolled and chance.random() < 0.66:
                pupil = self._pupil(entry, 0)
                data = {"class": entry.code, "pupil": pupil, "first": self.date, "last": self.date}
                after = chance.randrange(60 * _MINUTE)
                yield self._event(6 * 60, after, "leave.requested", f"v-{entry.code}", data)
            if entry.enrolled and chance.random() < 0.13:
                pupil = self._pupil(entry, entry.enrolled - 1)
                data = {**where, "pupil": pupil, "symptom": chance.choice(_SYMPTOMS)}
                data["outcome"] = chance.choice(("returned", "returned", "returned", "sent_home"))
                after = chance.randrange(150 * _MINUTE)
                yield self._event(8 * 60 + 30, after, "health.clinic_visit", f"h-{entry.code}", data)
        chance = Random(f"{self.seed}/staff")
        for number in range(round(len(self.classes) * 1.8)):
            status = "leave" if chance.random() < 0.02 else "present"
            data = {"staff": f"GV{number:03d}", "date": self.date, "session": "morning", "status": status}
            after = chance.randrange(30 * _MINUTE)
            yield self._event(6 * 60 + 55, after, "staff.attendance", f"s{number}", data)

    def syncs(self) -> Iterator[Planned]:
        """Five batches and, while a vendor fails, one each ten minutes to the ministry."""
        chance = Random(f"{self.seed}/sync")
        failing = self.unit.vendor == self.cause.failing_vendor
        minutes = {9 * 60 + 5, 11 * 60 + 35, 14 * 60 + 35, 16 * 60 + 50, 20 * 60}
        minutes |= set(range(SYNC_FROM, SYNC_TO, 10)) if failing else set()
        for minute in sorted(minutes):
            sent = chance.randint(200, 400)
            failed = sent // 5 if failing and SYNC_FROM <= minute < SYNC_TO else 0
            data = {"vendor": self.unit.vendor, "target": "moet", "kind": "attendance"}
            counts = {"sent": sent, "accepted": sent - failed, "failed": failed}
            after = chance.randrange(_MINUTE)
            yield self._event(minute, after, "sync.pushed", f"y{minute}", {**data, **counts})

    def _pupil(self, entry: SchoolClass, number: int) -> str:
        return f"{self.code}-{entry.code}-{number:02d}"

    def _event(self, minute: int, after: int, kind: str, name: str, data: dict[str, Any]) -> Planned:
        time = self.start + minute * _MINUTE + after
        return time, f"{self.date}-{self.code}-{name}", kind, self.code, data
