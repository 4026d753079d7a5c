"""Instants and civil days: RFC 3339 text ↔ milliseconds, dates ↔ days since 1970-01-01.

Civil time is that of Asia/Ho_Chi_Minh, which has been UTC+7 without summer time since 1975. No event
may be older than the year 2000, so a constant offset is exact and the vectorised code can use it.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

TIMEZONE: Final = "Asia/Ho_Chi_Minh"
OFFSET_MS: Final = 7 * 3_600_000
DAY_MS: Final = 86_400_000
EPOCH_ORDINAL: Final = dt.date(1970, 1, 1).toordinal()

TIME_EXPECTED: Final = "an RFC 3339 time with offset such as 2026-09-07T07:15:00+07:00"
DATE_EXPECTED: Final = "a date such as 2026-09-07"

_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def parse_time(text: str) -> int:
    """Milliseconds since the Unix epoch of an RFC 3339 time; finer fractions are cut off.

    Raises ValueError when ``text`` is not one, names a day or an hour that does not exist, or is a
    leap second (civil clocks here have none).
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"expected {TIME_EXPECTED}")
    year, month, day, hour, minute, second, fraction, sign, off_hour, off_minute = match.groups()
    days = _ordinal(int(year), int(month), int(day))
    if int(hour) > 23 or int(minute) > 59 or int(second) > 59:
        raise ValueError(f"expected {TIME_EXPECTED}; there is no {hour}:{minute}:{second}")
    ms = days * DAY_MS + (int(hour) * 3600 + int(minute) * 60 + int(second)) * 1000
    ms += int((fraction or "0").ljust(3, "0")[:3])
    if sign is None:
        return ms
    if int(off_hour) > 23 or int(off_minute) > 59:
        raise ValueError(f"expected {TIME_EXPECTED}; there is no offset {sign}{off_hour}:{off_minute}")
    offset = (int(off_hour) * 60 + int(off_minute)) * 60_000
    return ms - offset if sign == "+" else ms + offset


def parse_day(text: str) -> int:
    """Days since 1970-01-01 of a ``YYYY-MM-DD`` date. Raises ValueError when it is not one."""
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError(f"expected {DATE_EXPECTED}")
    return _ordinal(*(int(part) for part in match.groups()))


def _ordinal(year: int, month: int, day: int) -> int:
    try:
        return dt.date(year, month, day).toordinal() - EPOCH_ORDINAL
    except ValueError:
        raise ValueError(
            f"expected {DATE_EXPECTED}; there is no {year:04d}-{month:02d}-{day:02d} in the calendar"
        ) from None


def day_of(ms: int) -> int:
    """Civil day (days since 1970-01-01) of an instant."""
    return (ms + OFFSET_MS) // DAY_MS


def day_start(day: int) -> int:
    """Instant (ms) at which a civil day begins."""
    return day * DAY_MS - OFFSET_MS


def day_text(day: int) -> str:
    """``YYYY-MM-DD`` of a civil day."""
    return dt.date.fromordinal(day + EPOCH_ORDINAL).isoformat()


# --- vectorised ---------------------------------------------------------------------------------

# Length of the text → (digits of the fraction, ends in Z).
_LAYOUTS: Final[dict[int, tuple[int, bool]]] = {
    20: (0, True),
    24: (3, True),
    25: (0, False),
    27: (6, True),
    29: (3, False),
    32: (6, False),
}


def times_ms(texts: Sequence[str]) -> tuple[Ints, Bools]:
    """`parse_time` of many texts: their milliseconds, and which of them are times at all."""
    result = np.zeros(len(texts), np.int64)
    good = np.zeros(len(texts), np.bool_)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        if length in _LAYOUTS:
            every = len(rows) == len(texts)
            result[rows], good[rows] = _layout(texts if every else [texts[i] for i in rows.tolist()], length)
    for row in np.flatnonzero(~good).tolist():
        try:
            result[row] = parse_time(texts[row])
        except ValueError:
            continue
        good[row] = True
    return result, good


def _layout(texts: Sequence[str], length: int) -> tuple[Ints, Bools]:
    joined = "".join(texts)
    if not joined.isascii():
        return np.zeros(len(texts), np.int64), np.zeros(len(texts), np.bool_)
    chars = np.frombuffer(joined.encode("ascii"), np.uint8).reshape(-1, length)
    fraction, zulu = _LAYOUTS[length]
    end = 20 + fraction if fraction else 19
    good = _are(chars, {4: "-", 7: "-", 10: "T", 13: ":", 16: ":"})
    days, real = _days(chars)
    hour, minute, second = (_number(chars, at, 2) for at in (11, 14, 17))
    numeric = real & (hour[1] & minute[1] & second[1])
    good &= numeric & (hour[0] <= 23) & (minute[0] <= 59) & (second[0] <= 59)
    ms = days * DAY_MS + (hour[0] * 3600 + minute[0] * 60 + second[0]) * 1000
    if fraction:
        value, digits = _number(chars, 20, fraction)
        good &= _are(chars, {19: "."}) & digits
        ms += value // 10 ** (fraction - 3)
    if zulu:
        return ms, good & _are(chars, {end: "Z"})
    offset, offset_good = _offset(chars, end)
    return ms - offset, good & offset_good


def _offset(chars: npt.NDArray[np.uint8], at: int) -> tuple[Ints, Bools]:
    hour, minute = _number(chars, at + 1, 2), _number(chars, at + 4, 2)
    plus, minus = chars[:, at] == ord("+"), chars[:, at] == ord("-")
    good: Bools = (plus | minus) & _are(chars, {at + 3: ":"}) & hour[1] & minute[1]
    size = (hour[0] * 60 + minute[0]) * 60_000
    good &= (hour[0] <= 23) & (minute[0] <= 59)
    return np.where(plus, size, -size), good


def _days(chars: npt.NDArray[np.uint8]) -> tuple[Ints, Bools]:
    (year, a), (month, b), (day, c) = _number(chars, 0, 4), _number(chars, 5, 2), _number(chars, 8, 2)
    good: Bools = a & b & c & (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    index = np.where(good, (year - 1970) * 12 + month - 1, 0)
    first = index.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    following = (index + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    days: Ints = first + day - 1
    exists: Bools = days < following
    return days, good & exists


def _number(chars: npt.NDArray[np.uint8], start: int, count: int) -> tuple[Ints, Bools]:
    digits = chars[:, start : start + count].astype(np.int64) - ord("0")
    value: Ints = digits[:, 0]
    for column in range(1, count):
        value = value * 10 + digits[:, column]
    good: Bools = np.asarray(((digits >= 0) & (digits <= 9)).all(axis=1))
    return value, good


def _are(chars: npt.NDArray[np.uint8], wanted: dict[int, str]) -> Bools:
    good = np.ones(len(chars), np.bool_)
    for column, char in wanted.items():
        good &= chars[:, column] == ord(char)
    return good
