"""New York City's "Daily Attendance" file as events of ours, in event-time order.

The file (``School DBN,Date,Enrolled,Absent,Present,Released``) is sorted by school. It is read three
times, so that memory holds eight bytes a row and one day: first all of it is checked and the place of
each row noted by day; then each day is looked through for a school that reports twice; then the days
are published one after the other.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from feeds.outlet import Outlet
from rules.engine.configured import encode_config
from schemas.calendar import Calendar, DayOff, Period
from schemas.civil import day_start, parse_day
from schemas.errors import DocumentError, Fault, SettingsError
from schemas.organisation import Reference
from schemas.topics import ARRIVED, CONTROL, EVENTS, KIND, PULSE, partition_of
from schemas.units import Unit
from schemas.wire import Config, Pulse

HEADER: Final = ["School DBN", "Date", "Enrolled", "Absent", "Present", "Released"]
SOURCE: Final = "nyc/daily-attendance"
CITY: Final = "nyc"
MAX_FAULTS: Final = 200
REPORT_MINUTES: Final = 15 * 60
SPREAD_SECONDS: Final = 600
PULSE_HOURS: Final = 3
_HOUR: Final = 3_600_000
_SCHOOL = re.compile(r"\d{2}[A-Z]\d{3}")
_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})")
_NUMBER = re.compile(r"\d{1,6}")


@dataclass(frozen=True, slots=True)
class Report:
    """One row: a school's day. ``day``: days since 1970-01-01."""

    school: str
    day: int
    enrolled: int
    absent: int
    present: int
    released: int

    @property
    def time(self) -> int:
        """15:00 civil time of its day, plus up to ten minutes that depend on the school alone, in ms."""
        spread = zlib.crc32(self.school.encode()) % SPREAD_SECONDS
        return day_start(self.day) + REPORT_MINUTES * 60_000 + spread * 1000


@dataclass(slots=True)
class Index:
    """Where each day's rows are in the file, and which schools there are."""

    days: dict[int, array[int]] = field(default_factory=dict)
    schools: set[str] = field(default_factory=set)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(len(places) for places in self.days.values())


def load_index(path: Path) -> Index:
    """Check a file. Raises `DocumentError` with (at most 200 of) its faults, or `SettingsError`."""
    try:
        with path.open("rb") as stream:
            return index_rows(stream, path.name)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error


def index_rows(stream: BinaryIO, name: str) -> Index:
    """Check every row and note its place. Raises `DocumentError`."""
    faults: list[Fault] = []
    index = Index()
    _check_header(stream.readline(), name)
    number, place = 2, stream.tell()
    while line := stream.readline():
        row = parse_row(line, name, number)
        if isinstance(row, Report):
            index.days.setdefault(row.day, array("Q")).append(place)
            index.schools.add(row.school)
        elif row is not None:
            faults.append(row)
        if len(faults) >= MAX_FAULTS:
            raise DocumentError(faults)
        number, place = number + 1, stream.tell()
    for day in sorted(index.days):
        faults += _twice(stream, name, index, day)
    if not index.days and not faults:
        faults.append(Fault(name, number, 0, "there are no rows", "at least one school's day"))
    if faults:
        raise DocumentError(faults)
    return index


def parse_row(line: bytes, name: str, number: int) -> Report | Fault | None:
    """A row, its first fault, or None for an empty line."""
    try:
        text = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        return Fault(name, number, error.start + 1, "the line is not UTF-8")
    if not text:
        return None
    cells = next(csv.reader([text]))
    if len(cells) != len(HEADER):
        return Fault(name, number, 1, f"{len(cells)} cells", f"{len(HEADER)}: {','.join(HEADER)}")
    columns = _columns(cells)
    if not _SCHOOL.fullmatch(cells[0]):
        return Fault(name, number, columns[0], f'"{cells[0]}" is no DBN', "such as 01M015")
    day = _day(cells[1])
    if day is None:
        return Fault(name, number, columns[1], f'"{cells[1]}" is no date', "YYYYMMDD")
    for cell, column in zip(cells[2:], columns[2:], strict=True):
        if not _NUMBER.fullmatch(cell):
            return Fault(name, number, column, f'"{cell}" is no number of pupils', "0 to 999999")
    enrolled, absent, present, released = (int(cell) for cell in cells[2:])
    if enrolled != absent + present + released:
        message = f"Enrolled is {enrolled}, Absent + Present + Released is {absent + present + released}"
        return Fault(name, number, columns[2], message, "equal numbers")
    return Report(cells[0], day, enrolled, absent, present, released)


def reports_of(stream: BinaryIO, index: Index, day: int) -> list[Report]:
    """A day's rows in event-time order."""
    found = []
    for place in index.days[day]:
        stream.seek(place)
        row = parse_row(stream.readline(), "", 0)
        if isinstance(row, Report):
            found.append(row)
    return sorted(found, key=lambda row: (row.time, row.school))


def reference_of(index: Index) -> Reference:
    """The city, its districts (the DBN's first two digits) as communes, its schools, and a calendar.

    School days are the file's; a weekday between the first and the last that it does not have is a
    holiday.
    """
    districts = sorted({school[:2] for school in index.schools})
    units = [Unit(code=CITY, name="New York City", kind="city")]
    units += [
        Unit(code=f"{CITY}-{code}", name=f"District {code}", kind="commune", parent=CITY)
        for code in districts
    ]
    units += [
        Unit(code=school, name=school, kind="school", parent=f"{CITY}-{school[:2]}")
        for school in sorted(index.schools)
    ]
    days = sorted(index.days)
    off = [day for day in range(days[0], days[-1] + 1) if day not in index.days and _date(day).weekday() < 5]
    calendar = Calendar.model_validate(
        {
            "terms": (_period(Period, "The file", days[0], days[-1]),),
            "holidays": tuple(_period(DayOff, "No school in the file", day, day) for day in off),
        }
    )
    return Reference.of(units, (), calendar)


def event_of(report: Report) -> bytes:
    """The CloudEvent of a row. Its id depends on school and day alone."""
    date = _date(report.day)
    clock = dt.datetime.fromtimestamp(report.time / 1000, dt.UTC) + dt.timedelta(hours=7)
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": f"{report.school}-{date:%Y%m%d}",
            "source": SOURCE,
            "type": "attendance.day_reported",
            "time": clock.strftime("%Y-%m-%dT%H:%M:%S+07:00"),
            "data": {
                "school": report.school,
                "date": date.isoformat(),
                "enrolled": report.enrolled,
                "present": report.present,
                "absent": report.absent,
                "released": report.released,
            },
        }
    )


def replay(path: Path, index: Index, outlet: Outlet, progress: Callable[[int, int, int], None]) -> int:
    """Publish reference data, then every civil day's events between its pulses; gives the number of events.

    Pulses stand at every third hour from the first day to the end of the day after the last, in each
    partition. ``progress`` hears (day, events so far, events in all). Sending it again is harmless:
    ids, times and pulses are the same.
    """
    control = encode_config(Config(reference=reference_of(index).to_json()))
    for partition in range(outlet.partitions):
        outlet.send(EVENTS, partition, None, control, [(KIND, CONTROL)])
    sent, first, last = 0, min(index.days), max(index.days)
    with path.open("rb") as stream:
        for day in range(first, last + 2):
            reports = reports_of(stream, index, day) if day in index.days else []
            for hour in range(0, 24, PULSE_HOURS):
                begin = day_start(day) + hour * _HOUR
                _pulse(outlet, begin)
                for report in reports:
                    if begin <= report.time < begin + PULSE_HOURS * _HOUR:
                        _send(outlet, report)
                        sent += 1
            outlet.flush()
            progress(day, sent, index.rows)
    _pulse(outlet, day_start(last + 2))
    outlet.flush()
    return sent


def _send(outlet: Outlet, report: Report) -> None:
    partition = partition_of(report.school, outlet.partitions)
    arrived = [(ARRIVED, str(report.time).encode())]
    outlet.send(EVENTS, partition, report.school.encode(), event_of(report), arrived)


def _pulse(outlet: Outlet, clock: int) -> None:
    value = msgspec.json.encode(Pulse(clock, "data", every=0))
    for partition in range(outlet.partitions):
        outlet.send(EVENTS, partition, None, value, [(KIND, PULSE), (ARRIVED, str(clock).encode())])


def _check_header(line: bytes, name: str) -> None:
    cells = next(csv.reader(io.StringIO(line.decode("utf-8-sig", "replace").rstrip("\r\n"))), [])
    if cells != HEADER:
        raise DocumentError([Fault(name, 1, 1, "this is not the header of the file", ",".join(HEADER))])


def _twice(stream: BinaryIO, name: str, index: Index, day: int) -> Iterator[Fault]:
    seen: set[str] = set()
    for report in reports_of(stream, index, day):
        if report.school in seen:
            yield Fault(name, 0, 0, f"{report.school} reports {_date(day)} twice", "one row a school and day")
        seen.add(report.school)


def _columns(cells: list[str]) -> list[int]:
    columns, at = [], 1
    for cell in cells:
        columns.append(at)
        at += len(cell) + 1
    return columns


def _day(cell: str) -> int | None:
    match = _DATE.fullmatch(cell)
    if match is None:
        return None
    try:
        return parse_day("-".join(match.groups()))
    except ValueError:
        return None


def _date(day: int) -> dt.date:
    return dt.date(1970, 1, 1) + dt.timedelta(days=day)


def _period(kind: type[Period], name: str, first: int, last: int) -> Period:
    return kind.model_validate({"name": name, "from": _date(first), "to": _date(last)})
