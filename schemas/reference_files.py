"""Reference data from ``units.csv``, ``classes.csv`` and ``calendar.yaml``, all faults at once."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import pydantic

from schemas.calendar import Calendar, DayOff, Deadline, Name, Period
from schemas.civil import DATE_EXPECTED, parse_day
from schemas.errors import DocumentError, Fault
from schemas.fields import CONTROL
from schemas.nearest import nearest
from schemas.organisation import Reference
from schemas.placed_yaml import PlacedYaml, read_yaml
from schemas.table import Cell, Table, read_table
from schemas.units import (
    KINDS,
    LEVELS,
    OWNERSHIPS,
    SESSIONS,
    RowFault,
    SchoolClass,
    Unit,
    class_faults,
    unit_faults,
)

UNITS_FILE: Final = "units.csv"
CLASSES_FILE: Final = "classes.csv"
CALENDAR_FILE: Final = "calendar.yaml"

Reader = Callable[[str], Any]


class _Unreadable(Exception):
    """A cell's text is not what its column holds."""

    def __init__(self, message: str, expected: str, suggestion: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.suggestion = suggestion


def _text(low: int, high: int) -> Reader:
    def read(text: str) -> str:
        if not low <= len(text) <= high or CONTROL.search(text):
            shown = text if len(text) <= 40 else text[:39] + "…"
            message = f'"{shown}" is not valid here'
            raise _Unreadable(message, f"text of {low} to {high} characters without control characters")
        return text

    return read


def _choice(known: tuple[str, ...]) -> Reader:
    def read(text: str) -> str:
        if text not in known:
            expected = "one of " + ", ".join(name or "an empty cell" for name in known)
            raise _Unreadable(
                f'"{text}" is not known', expected, nearest(text, [name for name in known if name])
            )
        return text

    return read


def _date(text: str) -> dt.date | None:
    if not text:
        return None
    try:
        parse_day(text)
    except ValueError:
        raise _Unreadable(f'"{text}" is not a date', f"{DATE_EXPECTED} or an empty cell") from None
    return dt.date.fromisoformat(text)


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,6}", text) or int(text) > 100_000:
        raise _Unreadable(f'"{text}" is not a number of pupils', "an integer from 0 to 100000")
    return int(text)


def _sessions(text: str) -> tuple[str, ...]:
    names = tuple(text.split())
    for name in names:
        _choice(SESSIONS)(name)
    if len(set(names)) < len(names):
        raise _Unreadable(f'"{text}" names a session twice', "each session once, separated by blanks")
    return names


_PERIOD: Final[Mapping[str, Reader]] = {"valid_from": _date, "valid_to": _date}
_UNIT_REQUIRED: Final[Mapping[str, Reader]] = {
    "code": _text(1, 64), "name": _text(1, 500), "kind": _choice(KINDS)
}  # fmt: skip
_UNIT_OPTIONAL: Final[Mapping[str, Reader]] = {
    "parent": _text(0, 64),
    "level": _choice(LEVELS),
    "ownership": _choice(OWNERSHIPS),
    "vendor": _text(0, 64),
    "kitchen": _text(0, 64),
    **_PERIOD,
}
_CLASS_REQUIRED: Final[Mapping[str, Reader]] = {
    "code": _text(1, 64), "school": _text(1, 64), "enrolled": _number
}  # fmt: skip
_CLASS_OPTIONAL: Final[Mapping[str, Reader]] = {"grade": _text(0, 64), "sessions": _sessions, **_PERIOD}


def parse_units(text: str, file: str = UNITS_FILE) -> list[Unit]:
    """Units from CSV text. `DocumentError` with all faults."""
    units, table = _units(text, file)
    _raise(table.faults)
    return units


def parse_classes(text: str, units: Iterable[Unit], file: str = CLASSES_FILE) -> list[SchoolClass]:
    """Classes from CSV text, checked against units. `DocumentError` with all faults."""
    classes, table = _classes(text, list(units), file)
    _raise(table.faults)
    return classes


def parse_calendar(text: str, file: str = CALENDAR_FILE) -> Calendar:
    """A calendar from YAML text. `DocumentError` with all faults."""
    calendar, faults = _calendar(text, file)
    _raise(faults)
    return calendar


def parse_reference(units: str, classes: str | None = None, calendar: str | None = None) -> Reference:
    """Reference data from the texts of its files. `DocumentError` with the faults of all of them."""
    known, table = _units(units, UNITS_FILE)
    faults = table.faults
    groups: list[SchoolClass] = []
    if classes is not None:
        groups, table = _classes(classes, [] if faults else known, CLASSES_FILE, check=not faults)
        faults = faults + table.faults
    days, more = _calendar(calendar or "", CALENDAR_FILE)
    _raise(faults + more)
    return Reference.of(known, groups, days)


def load_reference(directory: Path) -> Reference:
    """Read the files of a directory. Only ``units.csv`` must be there. `DocumentError` with all faults."""
    faults: list[Fault] = []
    texts = {name: _load(directory / name, faults) for name in (UNITS_FILE, CLASSES_FILE, CALENDAR_FILE)}
    units = texts[UNITS_FILE]
    if units is None and not faults:
        faults.append(Fault(UNITS_FILE, 0, 0, "the file is missing", f"{UNITS_FILE} in {directory.name}"))
    if units is None or faults:
        raise DocumentError(faults)
    return parse_reference(units, texts[CLASSES_FILE], texts[CALENDAR_FILE])


def _load(path: Path, faults: list[Fault]) -> str | None:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        faults.append(Fault(path.name, 0, 0, f"cannot be read: {error.strerror}"))
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        faults.append(Fault(path.name, line, column, "not valid UTF-8", "UTF-8 text"))
        return None


def _raise(faults: list[Fault]) -> None:
    if faults:
        raise DocumentError(faults)


def _units(text: str, file: str) -> tuple[list[Unit], Table]:
    table = read_table(text, file, tuple(_UNIT_REQUIRED), tuple(_UNIT_OPTIONAL))
    units: list[Unit] = []
    cells, unread = _entries(table, {**_UNIT_REQUIRED, **_UNIT_OPTIONAL}, Unit, units)
    faults = unit_faults(units)
    _place(table, cells, (fault for fault in faults if units[fault.index].parent not in unread))
    return units, table


def _classes(
    text: str, units: list[Unit], file: str, *, check: bool = True
) -> tuple[list[SchoolClass], Table]:
    table = read_table(text, file, tuple(_CLASS_REQUIRED), tuple(_CLASS_OPTIONAL))
    classes: list[SchoolClass] = []
    cells, _ = _entries(table, {**_CLASS_REQUIRED, **_CLASS_OPTIONAL}, SchoolClass, classes)
    if check:
        _place(table, cells, class_faults(classes, units))
    return classes, table


def _entries(
    table: Table, readers: Mapping[str, Reader], model: Callable[..., Any], entries: list[Any]
) -> tuple[list[dict[str, Cell]], set[str]]:
    """Append an entry for each row that can be read; the cells of those rows, and the others' codes."""
    rows: list[dict[str, Cell]] = []
    unread: set[str] = set()
    for row in table.rows:
        before = len(table.faults)
        values = {name: _read(table, cell, readers[name]) for name, cell in row.items()}
        if len(table.faults) == before and _is_whole(model, values):
            entries.append(model(**values))
            rows.append(row)
        elif "code" in row:
            unread.add(row["code"].text)
    return rows, unread


def _is_whole(model: Callable[..., Any], values: dict[str, Any]) -> bool:
    required = _UNIT_REQUIRED if model is Unit else _CLASS_REQUIRED
    return required.keys() <= values.keys()


def _read(table: Table, cell: Cell, reader: Reader) -> Any:
    try:
        return reader(cell.text)
    except _Unreadable as error:
        table.fault(cell, error.message, error.expected, error.suggestion)
        return None


def _place(table: Table, rows: list[dict[str, Cell]], faults: Iterable[RowFault]) -> None:
    for fault in faults:
        row = rows[fault.index]
        cell = row.get(fault.column, row["code"])
        table.fault(cell, fault.message, fault.expected, fault.suggestion)


# --- calendar -----------------------------------------------------------------------------------

_MODELS: Final = (Calendar, DayOff, Period, Name, Deadline)
_KEYS: Final = (
    "date",
    *(info.alias or name for model in _MODELS for name, info in model.model_fields.items()),
)
_EXPECTED: Final = {
    "date_type": DATE_EXPECTED,
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "missing": "a value for it",
    "string_pattern_mismatch": "a time of day such as 08:15",
}


def _calendar(text: str, file: str) -> tuple[Calendar, list[Fault]]:
    document = read_yaml(text, file)
    value = {} if document.value is None else _with_ends(document)
    try:
        return Calendar.model_validate(value), document.faults
    except pydantic.ValidationError as error:
        found = error.errors(include_url=False)
        by_place: dict[tuple[int, int], Fault] = {}
        for fault in (_calendar_fault(document, file, fault) for fault in found):
            by_place.setdefault((fault.line, fault.column), fault)
        return Calendar(), document.faults + list(by_place.values())


def _with_ends(document: PlacedYaml) -> Any:
    """The calendar with ``date`` of a period read as its ``from`` and ``to``."""
    if not isinstance(document.value, dict):
        return document.value
    result = dict(document.value)
    for part in ("terms", "holidays", "closures"):
        periods = result.get(part)
        if isinstance(periods, tuple):
            paths = [(part, index) for index in range(len(periods))]
            result[part] = tuple(map(partial(_one_date, document), periods, paths))
    return result


def _one_date(document: PlacedYaml, period: Any, path: tuple[str | int, ...]) -> Any:
    if not isinstance(period, dict) or "date" not in period or {"from", "to"} & period.keys():
        return period
    document.places[*path, "from"] = document.places[*path, "to"] = document.places[*path, "date"]
    rest = {key: item for key, item in period.items() if key != "date"}
    return rest | {"from": period["date"], "to": period["date"]}


def _calendar_fault(document: PlacedYaml, file: str, fault: Any) -> Fault:
    path = tuple(part for part in fault["loc"] if part not in ("Name", "str", "[key]"))
    line, column = document.place(path)
    name = str(path[-1]) if path else "the calendar"
    kind = fault["type"]
    if kind == "extra_forbidden":
        expected = "a key of the calendar"
        return Fault(file, line, column, f'unknown key "{name}"', expected, nearest(name, _KEYS))
    if kind == "missing":
        return Fault(file, line, column, f'"{name}" is missing', _EXPECTED[kind])
    if kind == "value_error":
        return Fault(file, line, column, str(fault["ctx"]["error"]), "a date not before its beginning")
    expected = fault["ctx"]["expected"] if kind == "literal_error" else _EXPECTED.get(kind, fault["msg"])
    if name == "name":
        expected = "text, or a mapping of vi and en"
    suggestion = ""
    if kind == "literal_error" and isinstance(fault["input"], str):
        suggestion = nearest(fault["input"], re.findall("'([a-z_]+)'", expected))
    return Fault(file, line, column, f"{fault['input']!r} is not valid here", expected, suggestion)
