"""A seeded stream of events of about 300 bytes: school mornings of a city, in event-time order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from schemas.civil import OFFSET_MS, day_start, day_text, parse_day
from schemas.organisation import Reference
from schemas.units import SchoolClass, Unit

FIRST_DAY = "2026-09-07"
PUPILS_OF_A_CLASS = 40
CLASSES = 10
SCHOOLS = 250
"""A day of these: 100,000 marks."""
_MINUTE = 60_000


@dataclass(frozen=True, slots=True)
class Generated:
    """An event: its school, its time in ms, its bytes."""

    school: str
    time: int
    value: bytes


def schools() -> list[str]:
    """Codes of the schools."""
    return [f"HN-{number:05}" for number in range(SCHOOLS)]


def reference() -> Reference:
    """The organisation that the events speak of: primary and lower secondary schools, with rosters."""
    units = [Unit(code="HN", name="Hà Nội", kind="city")]
    units += [Unit(code=f"C{n:03}", name=f"Xã {n}", kind="commune", parent="HN") for n in range(20)]
    classes = []
    for number, school in enumerate(schools()):
        level = ("primary", "lower_secondary")[number % 2]
        parent = f"C{number % 20:03}"
        unit = {
            "code": school,
            "name": f"Trường {number}",
            "kind": "school",
            "parent": parent,
            "level": level,
        }
        units.append(Unit.model_validate(unit))
        classes += [
            SchoolClass(code=f"{n + 1}A", school=school, sessions=("morning",), enrolled=PUPILS_OF_A_CLASS)
            for n in range(CLASSES)
        ]
    return Reference.of(units, classes)


def generate(events: int, seed: int = 1) -> Iterator[Generated]:
    """``events`` events: 96 % marks, 2 % corrections of them, 2 % heartbeats."""
    chance = random.Random(seed)
    names = schools()
    day, made = parse_day(FIRST_DAY), 0
    while True:
        morning = day_start(day) + (7 * 60 + 15) * _MINUTE
        slots = [
            (school, f"{grade + 1}A", pupil)
            for school in names
            for grade in range(CLASSES)
            for pupil in range(PUPILS_OF_A_CLASS)
        ]
        chance.shuffle(slots)
        for number, slot in enumerate(slots):
            time = morning + number * 45 * _MINUTE // len(slots)
            for event in _events_of(chance, day, time, f"{day}-{number}", slot):
                yield event
                made += 1
                if made == events:
                    return
        day += 3 if (day + 3) % 7 == 4 else 1  # no school at the week-end


def _events_of(
    chance: random.Random, day: int, time: int, id: str, slot: tuple[str, str, int]
) -> Iterator[Generated]:
    school, grade, pupil = slot
    status = chance.choices(("present", "absent_excused", "absent_unexcused", "late"), (92, 4, 2, 2))[0]
    name = f"P{pupil:03}-{grade}-{school}"
    of_pupil = f'"school":"{school}","pupil":"{name}","date":"{day_text(day)}","session":"morning"'
    yield _event("marked", id, school, time, f'{of_pupil},"class":"{grade}","status":"{status}"')
    roll = chance.random()
    if roll < 0.02:
        right = "present" if status != "present" else "late"
        data = f'{of_pupil},"old":"{status}","new":"{right}","by":"GV-{grade}"'
        yield _event("corrected", id, school, time + 1, data)
    elif roll < 0.04:
        yield _event("", id, school, time + 1, f'"school":"{school}","vendor":"vnedu"')


def _event(kind: str, id: str, school: str, time: int, data: str) -> Generated:
    civil = (time + OFFSET_MS) % 86_400_000
    clock = f"{civil // 3_600_000:02}:{civil // 60_000 % 60:02}:{civil // 1000 % 60:02}.{civil % 1000:03}"
    date = day_text((time + OFFSET_MS) // 86_400_000)
    type = f"attendance.{kind}" if kind else "source.heartbeat"
    text = (
        f'{{"specversion":"1.0","id":"{kind or "beat"}-{id}","source":"vnedu/{school}","type":"{type}",'
        f'"time":"{date}T{clock}+07:00","datacontenttype":"application/json","data":{{{data}}}}}'
    )
    return Generated(school, time, text.encode())
