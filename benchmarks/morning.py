"""A morning's events for the benchmarks: numbered, so that everything about each is known beforehand."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from schemas.civil import parse_time
from schemas.reference import Reference, Unit

SCHOOLS: Final = 1000
SOURCE: Final = "vn/edu/thanh-tri/vendor-a"
DATE: Final = "2026-09-07"
OPENING: Final = parse_time(f"{DATE}T07:00:00+07:00")
HOUR_MS: Final = 3_600_000
CYCLE: Final = 1000
"""Of so many events 1 is a school's report, 10 are heartbeats, 10 are corrections, the others marks."""
BACK: Final = 20_000 - 50
"""A correction corrects the mark that came so many events before it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """An event as it is loaded: key, value, arrival in ms."""

    school: str
    value: bytes
    arrived: int


@dataclass(slots=True)
class Expected:
    """What the aggregates must show in the end, summed over the schools."""

    marked: int = 0
    absent: int = 0
    enrolled: int = 0


def kind_of(number: int) -> str:
    """Type of the event of a number."""
    place = number % CYCLE
    if place == 0:
        return "attendance.day_reported"
    if place <= 10:
        return "source.heartbeat"
    if place <= 20 and number >= BACK:
        return "attendance.corrected"
    return "attendance.marked"


@cache
def school_of(place: int) -> str:
    """Code of a school; neighbouring events come from schools far apart."""
    return f"0100{place:04d}"


def _school(number: int) -> str:
    return school_of((number * 7919 + number // CYCLE * 37) % SCHOOLS)


def status_of(number: int) -> str:
    """What a mark says: one pupil in twenty-three is absent."""
    return "absent_excused" if number % 23 == 0 else "present"


def events(count: int, expected: Expected) -> Iterator[Sent]:
    """The first ``count`` events, of one hour; ``expected`` grows with them."""
    for number in range(count):
        time = OPENING + number * HOUR_MS // count
        kind = kind_of(number)
        school = _school(number - BACK if kind == "attendance.corrected" else number)
        data = {"school": school, **_data(kind, number, expected)}
        yield Sent(school, _document(kind, number, time, data), time + 400)


def _data(kind: str, number: int, expected: Expected) -> dict[str, Any]:
    match kind:
        case "attendance.day_reported":
            # Each event reports for another school as long as there are schools; then they report again.
            if number // CYCLE < SCHOOLS:
                expected.enrolled += 800
            return {"date": DATE, "enrolled": 800, "present": 770, "absent": 30, "released": 0}
        case "source.heartbeat":
            return {"vendor": "vendor-a"}
        case "attendance.corrected":
            old = status_of(number - BACK)
            new = "absent_excused" if old == "present" else "late"
            expected.absent += 1 if old == "present" else -1
            pupil = {"pupil": f"P{number - BACK:08d}", "date": DATE, "session": "morning"}
            return {**pupil, "old": old, "new": new, "by": "teacher-17"}
        case _:
            expected.marked += 1
            expected.absent += status_of(number) != "present"
            pupil = {"pupil": f"P{number:08d}", "class": f"{number % 5 + 1}A{number % 4 + 1}"}
            return {**pupil, "date": DATE, "session": "morning", "status": status_of(number)}


def _document(kind: str, number: int, time: int, data: dict[str, Any]) -> bytes:
    clock = dt.datetime.fromtimestamp(time / 1000, dt.timezone(dt.timedelta(hours=7)))
    envelope = {
        "specversion": "1.0",
        "id": f"a7c1e0b2-{number:012d}",
        "source": SOURCE,
        "type": kind,
        "time": clock.isoformat(timespec="milliseconds"),
        "datacontenttype": "application/json",
        "data": data,
    }
    return json.dumps(envelope, separators=(",", ":")).encode()


def reference() -> Reference:
    """The organisation: a city, twenty communes, a thousand primary schools."""
    communes = [f"X{number:02d}" for number in range(20)]
    units = [Unit(code="HN", name="Hà Nội", kind="city")]
    units += [Unit(code=code, name=f"Xã {code}", kind="commune", parent="HN") for code in communes]
    units += [
        Unit(
            code=school_of(place),
            name=f"Tiểu học {place}",
            kind="school",
            parent=communes[place % 20],
            level="primary",
            vendor="vendor-a",
        )
        for place in range(SCHOOLS)
    ]
    return Reference.of(units, ())
