"""The vectorised decoder: a batch of records becomes one frame for each type of event.

What the fast path and the checks on whole columns prove valid is taken as it is; every other row is
checked by `schemas.validate`, which alone decides what is rejected, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import compress, repeat
from typing import Any, Final, cast

import msgspec
import numpy as np
import polars as pl
import xxhash
from msgspec import UNSET

from schemas import civil, fastpath
from schemas.changed import with_changes
from schemas.registry import EventType
from schemas.validate import AHEAD_MS, EARLIEST_DAY, EARLIEST_MS, Event, Reject, validate

__all__ = ["Decoded", "Reject", "decode", "event_key"]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded batch.

    ``frames``: by type, rows in order of ``_row`` (place in the batch), with the columns ``_row``,
    ``id``, ``source``, ``time`` and ``arrived`` (ms), ``school``, ``key_hi`` and ``key_lo`` (128-bit
    hash of source and id), ``content`` (64-bit hash of type, time and data), ``_day`` (civil day) and
    the type's fields; where there are changes, the columns of `schemas.changed` too. ``rejects`` are in
    order of their rows.
    """

    frames: dict[str, pl.DataFrame]
    rejects: list[Reject]
    checked_singly: int = 0
    """How many rows the fast path could not decide."""


@dataclass(slots=True)
class _Rows:
    """Rows of one type: those that were read fast, and events that came from `validate`."""

    plan: fastpath.Plan
    rows: list[int] = field(default_factory=list)
    envelopes: list[fastpath.FastEnvelope] = field(default_factory=list)
    data: list[Any] = field(default_factory=list)
    events: list[tuple[int, Event]] = field(default_factory=list)


def decode(values: Sequence[bytes | None], arrived: Sequence[int]) -> Decoded:
    """Decode records. ``arrived`` holds each record's arrival in ms since the epoch."""
    by_type, doubtful = _read(values)
    arrivals = np.fromiter(arrived, np.int64, len(arrived))
    parts = {name: _Columns.of(rows, arrivals) for name, rows in by_type.items()}
    for part in parts.values():
        doubtful += part.take_doubtful()
    doubtful.sort()
    rejects = []
    for row in doubtful:
        result = validate(values[row], arrived[row], row)
        if isinstance(result, Reject):
            rejects.append(result)
            continue
        name = result.type.name
        if name not in parts:
            parts[name] = _Columns.of(_Rows(fastpath.PLANS[name]), arrivals)
        parts[name].events.append((row, result))
    frames = {name: parts[name].frame(arrivals) for name in sorted(parts) if len(parts[name])}
    return Decoded(frames, rejects, len(doubtful))


def _read(values: Sequence[bytes | None]) -> tuple[dict[str, _Rows], list[int]]:
    """Rows that were read fast, by type, and the numbers of all others."""
    joined = b"\n".join([value for value in values if value is not None])
    unusual = fastpath.is_unusual(joined)
    if not unusual and (clean := _read_clean(values)) is not None:
        return clean
    by_type: dict[str, _Rows] = {}
    doubtful: list[int] = []
    for row, value in enumerate(values):
        found = fastpath.read(value, unusual) if fastpath.may_be_read(value) else None
        if found is None:
            doubtful.append(row)
            continue
        plan, envelope, data = found
        rows = by_type.get(envelope.type)
        if rows is None:
            rows = by_type[envelope.type] = _Rows(plan)
        rows.rows.append(row)
        rows.envelopes.append(envelope)
        rows.data.append(data)
    return by_type, doubtful


def _read_clean(values: Sequence[bytes | None]) -> tuple[dict[str, _Rows], list[int]] | None:
    """What `_read` gives, a column at a time; None where an event cannot be read or is too large.

    Only for batches that are not unusual. Ordinary batches are clean, and this is twice as fast.
    """
    try:
        envelopes = list(map(fastpath.decode_envelope, cast("Sequence[bytes]", values)))
        places: dict[str, list[int]] = {}
        for row, envelope in enumerate(envelopes):
            places.setdefault(envelope.type, []).append(row)
        by_type: dict[str, _Rows] = {}
        doubtful: list[int] = []
        for name, rows in places.items():
            plan = fastpath.PLANS[name]
            own = [envelopes[row] for row in rows]
            data = list(map(plan.decode, [envelope.data for envelope in own]))
            proved = fastpath.proved(plan, [values[row] for row in rows], own, data)
            if not all(proved):
                doubtful += [row for row, good in zip(rows, proved, strict=True) if not good]
                rows, own, data = (list(compress(column, proved)) for column in (rows, own, data))
            if rows:
                by_type[name] = _Rows(plan, rows, own, data)
    except fastpath.REFUSALS:
        return None
    return by_type, doubtful


@dataclass(slots=True)
class _Columns:
    """The columns of one type's rows."""

    plan: fastpath.Plan
    rows: list[int]
    ids: list[str]
    sources: list[str]
    times: civil.Ints
    days: civil.Ints
    fields: list[list[Any]]
    good: civil.Bools
    events: list[tuple[int, Event]] = field(default_factory=list)

    @classmethod
    def of(cls, read: _Rows, arrivals: civil.Ints) -> _Columns:
        """Columns of rows that were read fast; ``good`` says which of them are proved valid."""
        fields = [_values(read, index) for index in range(len(read.plan.getters))]
        arrived = arrivals[read.rows]
        times, good = civil.times_ms([envelope.time for envelope in read.envelopes])
        good &= (times >= EARLIEST_MS) & (times <= arrived + AHEAD_MS)
        columns = cls(
            plan=read.plan,
            rows=read.rows,
            ids=[envelope.id for envelope in read.envelopes],
            sources=[envelope.source for envelope in read.envelopes],
            times=times,
            days=(times + civil.OFFSET_MS) // civil.DAY_MS,
            fields=fields,
            good=good,
        )
        columns._check_dates(arrived)
        columns._check_sums()
        return columns

    def __len__(self) -> int:
        return len(self.rows) + len(self.events)

    @property
    def type(self) -> EventType:
        return self.plan.type

    def _field(self, name: str) -> list[Any]:
        return self.fields[[known.name for known in self.type.fields].index(name)]

    def _check_dates(self, arrived: civil.Ints) -> None:
        for known, values in zip(self.type.fields, self.fields, strict=True):
            if known.kind != "date":
                continue
            days = _days(values)
            if known.name == self.type.day_field:
                self.good &= days <= (arrived + AHEAD_MS + civil.OFFSET_MS) // civil.DAY_MS
                self.good &= days >= EARLIEST_DAY
                self.days = days
            else:
                present = np.fromiter((value is not None for value in values), np.bool_, len(values))
                self.good &= (days != _NO_DATE) | ~present

    def _check_sums(self) -> None:
        for rule in self.type.sums:
            total = np.array(self._field(rule.total), np.int64)
            for part in rule.parts:
                total = total - np.array(self._field(part), np.int64)
            self.good &= total == 0

    def take_doubtful(self) -> list[int]:
        """Take out the rows that are not proved, and give their numbers."""
        if self.good.all():
            return []
        kept = np.flatnonzero(self.good).tolist()
        doubtful = [self.rows[at] for at in np.flatnonzero(~self.good).tolist()]
        self.rows = [self.rows[at] for at in kept]
        self.ids = [self.ids[at] for at in kept]
        self.sources = [self.sources[at] for at in kept]
        self.fields = [[values[at] for at in kept] for values in self.fields]
        self.times, self.days = self.times[kept], self.days[kept]
        return doubtful

    def _add_events(self) -> None:
        events = [event for _, event in self.events]
        self.rows = self.rows + [row for row, _ in self.events]
        self.ids = self.ids + [event.id for event in events]
        self.sources = self.sources + [event.source for event in events]
        self.times = np.append(self.times, [event.time for event in events]).astype(np.int64)
        self.days = np.append(self.days, [event.day for event in events]).astype(np.int64)
        self.fields = [
            values + [get(event.data) for event in events]
            for values, get in zip(self.fields, self.plan.getters, strict=True)
        ]

    def frame(self, arrivals: civil.Ints) -> pl.DataFrame:
        """The frame, with the events that `validate` accepted at their places."""
        if self.events:
            self._add_events()
        fields = {
            known.name: pl.Series(known.name, values, dtype=known.dtype)
            for known, values in zip(self.type.fields, self.fields, strict=True)
        }
        high, low = _keys(self.sources, self.ids)
        columns = {
            "_row": pl.Series("_row", self.rows, dtype=pl.Int64),
            "id": pl.Series("id", self.ids, dtype=pl.String),
            "source": pl.Series("source", self.sources, dtype=pl.String),
            "time": pl.Series("time", self.times, dtype=pl.Int64),
            "arrived": pl.Series("arrived", arrivals[self.rows], dtype=pl.Int64),
            "school": fields[self.type.school_field].alias("school"),
            "key_hi": pl.Series("key_hi", high, dtype=pl.UInt64),
            "key_lo": pl.Series("key_lo", low, dtype=pl.UInt64),
            "content": pl.Series("content", self._content(), dtype=pl.UInt64),
            "_day": pl.Series("_day", self.days.astype(np.int32), dtype=pl.Int32),
        }
        frame = pl.DataFrame(columns | fields)
        return with_changes(frame.sort("_row"), self.events) if self.events else frame

    def _content(self) -> list[int]:
        """xxh3_64 of the JSON array [type, time in ms, fields in declared order…].

        Nulls at the end are left out, so that a type may get further optional fields at its end
        without changing what is known of earlier events.
        """
        encode, digest = _ENCODER.encode, xxhash.xxh3_64_intdigest
        fields = self.fields
        if not self.type.fields[-1].nullable:
            texts = map(encode, zip(repeat(self.type.name), self.times.tolist(), *fields, strict=False))
            return list(map(digest, texts))
        while fields and _is_empty(fields[-1]):
            fields = fields[:-1]  # whole columns of nulls are left out before they are written
        texts = map(encode, zip(repeat(self.type.name), self.times.tolist(), *fields, strict=False))
        return [digest(_without_nulls(text) if text.endswith(_NULL) else text) for text in texts]


_ENCODER: Final = msgspec.json.Encoder()
_NULL: Final = b",null]"
_NO_DATE: Final = -(2**31)


def _is_empty(values: list[Any]) -> bool:
    return not values or (values[0] is None and values.count(None) == len(values))


def _without_nulls(text: bytes) -> bytes:
    while text.endswith(_NULL):
        text = text[: -len(_NULL)] + b"]"
    return text


def _values(read: _Rows, index: int) -> list[Any]:
    get: Callable[[Any], Any] = read.plan.getters[index]
    values = list(map(get, read.data))
    if read.plan.type.fields[index].required:
        return values
    if values.count(UNSET) == len(values):
        return [None] * len(values)
    return [None if value is UNSET else value for value in values]


def _days(texts: list[Any]) -> civil.Ints:
    """Days of dates, which repeat a lot; `_NO_DATE` for what is none."""
    known = {text: _day(text) for text in set(texts)}
    return np.fromiter(map(known.__getitem__, texts), np.int64, len(texts))


def _day(text: str | None) -> int:
    if text is None:
        return _NO_DATE
    try:
        return civil.parse_day(text)
    except ValueError:
        return _NO_DATE


def event_key(source: str, event_id: str) -> bytes:
    """16 bytes that stand for (source, id): xxh3_128 of a form from which both can be read back."""
    return xxhash.xxh3_128_digest(f"{len(source)}:{source}{event_id}".encode())


def _keys(sources: list[str], ids: list[str]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    digest = xxhash.xxh3_128_digest
    heads = {source: f"{len(source)}:{source}" for source in set(sources)}  # few, and as in `event_key`
    digests = b"".join(
        [digest((heads[source] + event_id).encode()) for source, event_id in zip(sources, ids, strict=True)]
    )
    halves = np.frombuffer(digests, ">u8").reshape(-1, 2).astype(np.uint64)
    return halves[:, 0], halves[:, 1]
