"""One school's simulated day, in parts that are planned when they begin.

Each part has its own chance, made of seed, date and code, so one school's day does not depend on
the others. Ids are functions of what happened, so a day that is sent twice counts once.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Final

from feeds.merging import FeedEvent, Part
from feeds.scenarios import CATCH_UP, CLASS_ILL, LATE_BY, NEVER, Cause
from schemas.civil import day_start, day_text
from schemas.units import SchoolClass, Unit

SOURCE: Final = "trucban/simulated-day"
OPENS: Final = {"morning": 7 * 60 + 25, "full_day": 7 * 60 + 25, "afternoon": 12 * 60 + 55}
"""Minute at which a session's roll begins: ten minutes for absentees, then thirty for the others."""
CLOSES_AFTER: Final = 42
CARDS: Final = 0.93
"""Share of pupils whose card opens the gate. More than are usual: they stand for what this day does not
have (marks, evaluations, notices, records looked up), so that a district's day has its 320,000 events."""
HOME_AT_NOON: Final = 0.35
"""Share of those with two sessions who do not eat at school and pass the gate four times."""
MEALS: Final = 0.65
CORRECTED: Final = 0.6
"""Share of absences whose kind is corrected in the hours after the roll."""
_MINUTE: Final = 60_000
_SYMPTOMS: Final = ("digestive", "fever", "respiratory", "rash", "injury", "other")
_STATUSES: Final = ("present", "absent_excused", "absent_unexcused", "late")
_OTHER: Final = {"absent_excused": "absent_unexcused", "absent_unexcused": "absent_excused"}

Pupils = Callable[[], Iterator[tuple[int, int]]]
"""Class and number of each."""
Line = tuple[int, str, str, str]
"""Time (ms after midnight), type, the end of the id, data as JSON without braces."""


def _inner(text: str) -> str:
    """Text as it stands between the quotes of JSON."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


class SchoolDay:
    """Unit, its classes of the day, and whether it is a school day."""

    def __init__(
        self, school: tuple[Unit, list[SchoolClass], bool], day: int, cause: Cause, seed: int
    ) -> None:
        self.unit, self.classes, self._open = school
        self._code, self._date, self._start = _inner(self.unit.code), day_text(day), day_start(day)
        self._cause, self._seed = cause, f"{seed}/{self._date}/{self.unit.code}"
        self._names = [_inner(entry.code) for entry in self.classes]
        self._absent = self._absences()
        self._silent = cause.silent if self.unit.vendor == cause.silent_vendor else NEVER

    def parts(self) -> Iterator[Part]:
        """Everything."""
        yield self._part(0, self._heartbeats)
        if self._open:
            yield from self.marks()
            yield self._part(6 * 60 + 50, partial(self._gate, "in", 6 * 60 + 50, self._pupils))
            for minute, direction in ((11 * 60 + 15, "out"), (12 * 60 + 25, "in")):
                yield self._part(minute, partial(self._gate, direction, minute, self._home_at_noon))
            yield self._part(11 * 60 + 15, partial(self._gate, "out", 11 * 60 + 15, self._half_day))
            yield self._part(16 * 60 + 15, partial(self._gate, "out", 16 * 60 + 15, self._whole_day))
            for session in self._sessions():
                begin = OPENS[session] + CLOSES_AFTER
                yield self._part(begin, partial(self._closings, session))
                yield self._part(begin, partial(self._corrections, session))
            yield self._part(6 * 60, self._offices)
            yield self._part(0, self._syncs)

    def marks(self) -> Iterator[Part]:
        """Roll calls: absentees in the first ten minutes, the others evenly in the next thirty."""
        if self._open:
            for session in self._sessions():
                yield self._part(OPENS[session], partial(self._marks, session))

    # --- who is absent ----------------------------------------------------------------------------

    def _absences(self) -> dict[tuple[int, str], int]:
        """Absent pupils by class and session: 0, 1, 1 or 2 where nothing is injected."""
        chance = Random(f"{self._seed}/absent")
        found: dict[tuple[int, str], int] = {}
        for at, entry in enumerate(self.classes):
            for session in entry.sessions:
                usual = chance.choice((0, 1, 1, 2))
                found[at, session] = min(entry.enrolled, self._injected(entry) or usual)
        return found

    def _injected(self, entry: SchoolClass) -> int:
        if (entry.school, entry.code) == self._cause.ill_class:
            return CLASS_ILL
        ill = self.unit.parent == self._cause.ill_commune and self.unit.level != "preschool"
        return self._cause.ill if ill else 0

    def _sessions(self) -> list[str]:
        return sorted({session for entry in self.classes for session in entry.sessions}, reverse=True)

    # --- the parts --------------------------------------------------------------------------------

    def _marks(self, session: str) -> Iterator[FeedEvent]:
        for time, at, number, status in self._mark_plan(session):
            name = f"m{session[0]}-{self._names[at]}-{number}"
            yield self._event(time, "attendance.marked", name, self._mark(at, number, session, status))

    def _mark(self, at: int, number: int, session: str, status: str) -> str:
        return (
            f'"class":"{self._names[at]}","pupil":"{self._pupil(at, number)}","date":"{self._date}",'
            f'"session":"{session}","status":"{status}"'
        )

    def _mark_plan(self, session: str) -> Iterator[tuple[int, int, int, str]]:
        """Time, class, pupil and status, in order; one integer each, for a city has a million at once."""
        chance, opens = Random(f"{self._seed}/{session}/marks").random, OPENS[session] * _MINUTE
        plan = []
        for at, entry in enumerate(self.classes):
            if session not in entry.sessions:
                continue
            absent = self._absent[at, session]
            others = max(1, entry.enrolled - absent)
            for number in range(entry.enrolled):
                if number < absent:
                    after, status = chance() * 10, 2 if chance() < 0.25 else 1
                else:
                    after = 10 + 30 * (number - absent + chance()) / others
                    status = 3 if chance() < 0.01 else 0
                plan.append((opens + int(after * _MINUTE)) << 24 | at << 14 | number << 4 | status)
        for code in array("q", sorted(plan)):
            yield code >> 24, code >> 14 & 0x3FF, code >> 4 & 0x3FF, _STATUSES[code & 0xF]

    def _corrections(self, session: str) -> Iterator[FeedEvent]:
        """A parent calls, or a note is found: the kind of an absence changes, never its number."""
        chance = Random(f"{self._seed}/{session}/corrections")
        found = []
        for _, at, number, status in self._mark_plan(session):
            if status in _OTHER and chance.random() < CORRECTED:
                after = int((OPENS[session] + CLOSES_AFTER + chance.random() * 120) * _MINUTE)
                found.append((after, at, number, status))
        for time, at, number, old in sorted(found):
            data = (
                f'"pupil":"{self._pupil(at, number)}","date":"{self._date}","session":"{session}",'
                f'"old":"{old}","new":"{_OTHER[old]}","by":"giao-vu"'
            )
            name = f"k{session[0]}-{self._names[at]}-{number}"
            yield self._event(time, "attendance.corrected", name, data)

    def _gate(self, direction: str, minute: int, who: Pupils) -> Iterator[FeedEvent]:
        """Those who carry a card, within half an hour."""
        chance = Random(f"{self._seed}/gate/{minute}/{direction}").random
        begin, span = minute * _MINUTE, 30 * _MINUTE
        plan = [
            begin + int(chance() * span) << 24 | at << 14 | number << 4 | (chance() < 0.5)
            for at, number in who()
        ]
        for code in array("q", sorted(plan)):
            at, number = code >> 14 & 0x3FF, code >> 4 & 0x3FF
            data = f'"pupil":"{self._pupil(at, number)}","date":"{self._date}","direction":"{direction}"'
            name = f"g{minute}{direction}-{self._names[at]}-{number}"
            yield self._event(code >> 24, "gate.passed", name, f'{data},"gate":"G{1 + (code & 1)}"')

    def _pupils(self) -> Iterator[tuple[int, int]]:
        """Class and number of those with a card who are there at all."""
        for at, entry in enumerate(self.classes):
            chance = Random(f"{self._seed}/{entry.code}/cards").random
            absent = max((self._absent[at, session] for session in entry.sessions), default=0)
            for number in range(absent, entry.enrolled):
                if chance() < CARDS:
                    yield at, number

    def _half_day(self) -> Iterator[tuple[int, int]]:
        return ((at, n) for at, n in self._pupils() if self.classes[at].sessions == ("morning",))

    def _whole_day(self) -> Iterator[tuple[int, int]]:
        return ((at, n) for at, n in self._pupils() if self.classes[at].sessions != ("morning",))

    def _home_at_noon(self) -> Iterator[tuple[int, int]]:
        """The last ones of each class that has two sessions."""
        for at, number in self._whole_day():
            entry = self.classes[at]
            if len(entry.sessions) == 2 and number >= entry.enrolled * (1 - HOME_AT_NOON):
                yield at, number

    def _heartbeats(self) -> Iterator[FeedEvent]:
        """One in each five minutes, in its first minute."""
        second = Random(f"{self._seed}/beat").randrange(60)
        data = f'"vendor":"{_inner(self.unit.vendor)}"'
        for minute in range(0, 24 * 60, 5):
            if not self._silent[0] <= minute < self._silent[1]:
                yield self._event(
                    minute * _MINUTE + second * 1000, "source.heartbeat", f"b{minute}", data, wait=False
                )

    def _closings(self, session: str) -> Iterator[FeedEvent]:
        """Each class closes its roll; in late schools a third of the morning's too late."""
        yield from self._in_order(self._closing_lines(session))

    def _closing_lines(self, session: str) -> Iterator[Line]:
        chance = Random(f"{self._seed}/{session}/close")
        late = self.unit.code in self._cause.late_schools and session == "morning"
        for at, entry in enumerate(self.classes):
            if session in entry.sessions:
                minute = OPENS[session] + CLOSES_AFTER + (LATE_BY if late and at % 3 == 0 else 0)
                absent = self._absent[at, session]
                excused = absent * 3 // 4
                data = (
                    f'"class":"{self._names[at]}","date":"{self._date}","session":"{session}",'
                    f'"enrolled":{entry.enrolled},"absent_excused":{excused},'
                    f'"absent_unexcused":{absent - excused}'
                )
                time = minute * _MINUTE + chance.randrange(6 * _MINUTE)
                yield time, "attendance.class_closed", f"c{session[0]}-{self._names[at]}", data

    def _offices(self) -> Iterator[FeedEvent]:
        """Leave, meals, clinic and staff."""
        chance = Random(f"{self._seed}/offices")
        lines = [line for at in range(len(self.classes)) for line in self._class_lines(at, chance)]
        for number in range(round(len(self.classes) * 1.8)):
            status = "leave" if chance.random() < 0.02 else "present"
            data = f'"staff":"GV{number:03d}","date":"{self._date}","session":"morning","status":"{status}"'
            time = (6 * 60 + 55) * _MINUTE + chance.randrange(30 * _MINUTE)
            lines.append((time, "staff.attendance", f"s{number}", data))
        yield from self._in_order(iter(lines))

    def _class_lines(self, at: int, chance: Random) -> Iterator[Line]:
        entry, name, day = self.classes[at], self._names[at], self._date
        if not entry.enrolled:
            return
        where, last = f'"class":"{name}","date":"{day}"', self._pupil(at, entry.enrolled - 1)
        if self.unit.kitchen and entry.sessions != ("morning",):
            kitchen, portions = _inner(self.unit.kitchen), round(entry.enrolled * MEALS)
            data = f'{where},"meal":"lunch","kitchen":"{kitchen}","portions":{portions}'
            yield self._at(8 * 60 + 20, 20, chance), "meal.registered", f"l-{name}", data
        if chance.random() < 0.66:
            data = f'"class":"{name}","pupil":"{self._pupil(at, 0)}","first":"{day}","last":"{day}"'
            yield self._at(6 * 60, 60, chance), "leave.requested", f"v-{name}", data
        if chance.random() < 0.13:
            outcome = chance.choice(("returned", "returned", "returned", "sent_home"))
            data = f'{where},"pupil":"{last}","symptom":"{chance.choice(_SYMPTOMS)}","outcome":"{outcome}"'
            yield self._at(8 * 60 + 30, 150, chance), "health.clinic_visit", f"h-{name}", data
        if chance.random() < 0.17:
            data = f'{where},"pupil":"{last}","symptom":"{chance.choice(_SYMPTOMS)}","onset":"{day}"'
            yield self._at(9 * 60, 360, chance), "health.symptom_reported", f"q-{name}", data

    def _syncs(self) -> Iterator[FeedEvent]:
        """Five batches and, while a vendor fails, one each ten minutes to the ministry."""
        yield from self._in_order(self._sync_lines())

    def _sync_lines(self) -> Iterator[Line]:
        chance = Random(f"{self._seed}/sync")
        first, last = self._cause.failing if self.unit.vendor == self._cause.failing_vendor else NEVER
        minutes = {9 * 60 + 5, 11 * 60 + 35, 14 * 60 + 35, 16 * 60 + 50, 20 * 60, *range(first, last, 10)}
        for minute in sorted(minutes):
            sent = chance.randint(200, 400)
            failed = sent // 5 if first <= minute < last else 0
            data = (
                f'"vendor":"{_inner(self.unit.vendor)}","target":"moet","kind":"attendance",'
                f'"sent":{sent},"accepted":{sent - failed},"failed":{failed}'
            )
            yield self._at(minute, 1, chance), "sync.pushed", f"y{minute}", data

    # --- how an event is written ------------------------------------------------------------------

    @staticmethod
    def _at(minute: int, within: int, chance: Random) -> int:
        return minute * _MINUTE + chance.randrange(within * _MINUTE)

    def _part(self, minute: int, events: Callable[[], Iterator[FeedEvent]]) -> Part:
        return Part(self._start + minute * _MINUTE, events)

    def _pupil(self, at: int, number: int) -> str:
        return f"{self._code}-{self._names[at]}-{number:02d}"

    def _in_order(self, lines: Iterator[Line]) -> Iterator[FeedEvent]:
        return (self._event(*line) for line in sorted(lines))

    def _event(self, after: int, kind: str, name: str, data: str, *, wait: bool = True) -> FeedEvent:
        second, ms = divmod(after, 1000)
        value = (
            f'{{"specversion":"1.0","id":"{self._date}-{self._code}-{name}","source":"{SOURCE}",'
            f'"type":"{kind}","time":"{self._date}T{second // 3600:02d}:{second // 60 % 60:02d}:'
            f'{second % 60:02d}.{ms:03d}+07:00","data":{{"school":"{self._code}",{data}}}}}'
        )
        arrived = self._arrival(after) if wait else after
        return FeedEvent(self._start + arrived, self.unit.code, value.encode(), self._start + after)

    def _arrival(self, after: int) -> int:
        """When something comes in: after an outage, what waited comes in its order, and soon."""
        first, last = self._silent[0] * _MINUTE, self._silent[1] * _MINUTE
        caught_up = last + CATCH_UP * _MINUTE
        if last == 0 or not first <= after < caught_up:
            return after
        return last + (after - first) * (caught_up - last) // (caught_up - first)
