"""Records of the log as rows of the archive: pure, and the same for every archive."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from schemas.topics import ACCEPTED, AGGREGATES, ALERTS, DELIVERIES, KIND, REJECTED, TRANSITIONS
from schemas.wire import Aggregate, Delivery, Rejected, Transition
from store.archive import Slice

STAMP: Final = pa.timestamp("ms", tz="Asia/Ho_Chi_Minh")
EARLIEST: Final = -2_208_988_800_000
LATEST: Final = 10_413_791_999_000
"""Bounds of DateTime64 in ms (1900 to 2299); times outside are moved to them."""

_TEXTS = pa.map_(pa.string(), pa.string())
_MEASURES = pa.map_(pa.string(), pa.float64())
_NAMES = pa.list_(pa.string())
_TYPE_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_COLUMN_NAME = re.compile(r"[fd]_[A-Za-z0-9_]+")

_COMMON = ("source", "id", "time", "arrived", "school", "mark")

_TRANSITION = {
    "id": pa.string(), "alert": pa.string(), "ordinal": pa.int64(), "rule": pa.string(),
    "rule_hash": pa.string(), "severity": pa.string(), "status": pa.string(), "group": _TEXTS,
    "window_start": STAMP, "window_end": STAMP, "state": pa.string(), "at": STAMP, "decided_at": STAMP,
    "reason": pa.string(), "measures": _MEASURES, "limits": _TEXTS,
    "positions": pa.map_(pa.string(), pa.int64()), "event_ids": _NAMES, "title": _TEXTS, "text": _TEXTS,
    "notify": _NAMES, "places": _TEXTS, "revision": pa.int64(), "held_by": pa.string(),
    "held_how": pa.string(), "holds": pa.int64(), "log_epoch": pa.string(), "log_partition": pa.int32(),
    "log_offset": pa.int64(), "rank": pa.uint64(),
}  # fmt: skip

TABLES: Final[dict[str, dict[str, pa.DataType]]] = {
    "rejected_log": {
        "log_epoch": pa.string(), "partition": pa.int32(), "position": pa.int64(), "refusal": pa.string(),
        "arrived": STAMP, "reason": pa.string(), "field": pa.string(), "message": pa.string(),
        "bytes": pa.binary(), "source": pa.string(), "event_id": pa.string(), "event_type": pa.string(),
        "rank": pa.uint64(),
    },
    "aggregate_log": {
        "rule": pa.string(), "rule_hash": pa.string(), "group_key": pa.string(), "window_start": STAMP,
        "window_end": STAMP, "group": _TEXTS, "measures": _MEASURES, "version": pa.int64(),
        "log_epoch": pa.string(), "rank": pa.uint64(),
    },
    "transition_log": _TRANSITION,
    "alert_log": _TRANSITION,
    "delivery_log": {
        "id": pa.string(), "attempt": pa.int64(), "alert": pa.string(), "transition": pa.string(),
        "person": pa.string(), "channel": pa.string(), "outcome": pa.string(), "detail": pa.string(),
        "at": STAMP, "log_epoch": pa.string(), "log_partition": pa.int32(), "log_offset": pa.int64(),
        "rank": pa.uint64(),
    },
    "quarantine_log": {
        "log_epoch": pa.string(), "topic": pa.string(), "log_partition": pa.int32(),
        "log_offset": pa.int64(), "stamped": STAMP, "reason": pa.string(), "bytes": pa.binary(),
    },
}  # fmt: skip
"""Columns of the tables that are written row by row."""

EVENTS_TABLE: Final = "event_log"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Log:
    """Which log the records are of: its epoch, and the epoch's ordinal in this archive (from 1)."""

    epoch: str
    ordinal: int


@dataclass(slots=True)
class Rows:
    """Rows by table, and typed columns by event type; columnar where there are many."""

    events: list[pa.Table] = field(default_factory=list)
    typed: dict[str, list[pa.Table]] = field(default_factory=dict)
    rows: dict[str, list[Row]] = field(default_factory=dict)

    def add(self, table: str, row: Row) -> None:
        """One more row of ``table``."""
        self.rows.setdefault(table, []).append(row)

    def tables(self) -> Iterable[tuple[str, pa.Table]]:
        """Every table that has rows, as Arrow, events first and quarantine last."""
        if self.events:
            yield EVENTS_TABLE, pa.concat_tables(self.events)
        for name, columns in TABLES.items():
            if rows := self.rows.get(name):
                yield name, arrow_table(rows, columns)

    @property
    def quarantined(self) -> int:
        """Records that could not be rows."""
        return len(self.rows.get("quarantine_log", ()))


def first_wins(log: Log, partition: int, offset: int) -> int:
    """Rank of a copy of which the one that is first in the log counts."""
    return (1 << 64) - 1 - (log.ordinal << 50 | offset << 10 | partition)


def newest_wins(log: Log, version: int) -> int:
    """Rank of a version of which the newest counts; a later log's are newer than an earlier one's."""
    return log.ordinal << 50 | min(max(version, 0), (1 << 50) - 1)


def rows_of(slices: Sequence[Slice], log: Log) -> Rows:
    """All rows of the slices. A record that cannot be read becomes a row of the quarantine."""
    rows = Rows()
    for part in slices:
        for index in range(len(part.batch)):
            read_record(part, index, log, rows)
    return rows


def read_record(part: Slice, index: int, log: Log, rows: Rows) -> None:
    """Add one record's rows."""
    value = part.batch.values[index]
    if value is None:
        return
    try:
        _READERS[part.topic](part, index, value, log, rows)
    except (msgspec.MsgspecError, pa.ArrowException, ValueError, KeyError, OverflowError) as error:
        rows.add("quarantine_log", quarantine_row(part, index, log, str(error) or type(error).__name__))


def quarantine_row(part: Slice, index: int, log: Log, reason: str) -> Row:
    """A record that cannot be rows, with the reason."""
    return {
        "log_epoch": log.epoch,
        "topic": part.topic,
        "log_partition": part.batch.partition,
        "log_offset": part.batch.offsets[index],
        "stamped": clamp(part.batch.timestamps[index]),
        "reason": reason,
        "bytes": part.batch.values[index] or b"",
    }


def clamp(moment: int) -> int:
    """A time in ms within DateTime64's bounds."""
    return min(max(moment, EARLIEST), LATEST)


def arrow_table(rows: list[Row], columns: dict[str, pa.DataType]) -> pa.Table:
    """Rows as an Arrow table with exactly ``columns``."""
    return pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in columns.items()})


# --- accepted events ---------------------------------------------------------------------------


def _accepted(part: Slice, _index: int, value: bytes, log: Log, rows: Rows) -> None:
    with pa.ipc.open_stream(value) as reader:
        table = reader.read_all()
    if not table.num_rows:
        return
    missing = {"position", "type", "raw", *_COMMON} - set(table.column_names)
    if missing:
        raise ValueError(f"accepted record lacks columns: {', '.join(sorted(missing))}")
    types = table["type"].unique().to_pylist()
    if len(types) != 1 or not isinstance(types[0], str) or not _TYPE_NAME.fullmatch(types[0]):
        raise ValueError(f"accepted record is not of one event type: {types}")
    events, typed = _event_tables(table, part.batch.partition, log)
    rows.events.append(events)
    rows.typed.setdefault(types[0], []).append(typed)


def _event_tables(table: pa.Table, partition: int, log: Log) -> tuple[pa.Table, pa.Table]:
    count = table.num_rows
    position = table["position"].cast(pa.int64()).to_numpy()
    ranks = np.uint64((1 << 64) - 1) - (
        np.uint64(log.ordinal << 50 | partition) | position.astype(np.uint64) << np.uint64(10)
    )
    common = {
        "source": _plain(table["source"]),
        "id": _plain(table["id"]),
        "time": _stamps(table["time"]),
        "arrived": _stamps(table["arrived"]),
        "school": _plain(table["school"]),
        "mark": _plain(table["mark"]),
        "log_epoch": pa.array([log.epoch] * count, pa.string()),
        "log_partition": pa.array(np.full(count, partition, np.int32)),
        "log_offset": pa.array(position),
        "rank": pa.array(ranks, pa.uint64()),
    }
    raw = {"type": _plain(table["type"]), "raw": table["raw"].cast(pa.binary())}
    names = [
        name
        for name in table.column_names
        if _COLUMN_NAME.fullmatch(name) and not pa.types.is_null(table[name].type)  # tells no type
    ]
    return pa.table({**common, **raw}), pa.table({**common, **{n: _plain(table[n]) for n in names}})


def _stamps(column: pa.ChunkedArray) -> pa.Array:
    return pa.array(np.clip(column.cast(pa.int64()).to_numpy(), EARLIEST, LATEST), pa.int64()).cast(STAMP)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column in one of the few types the archive has."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_integer(kind):
        return column.cast(pa.int64())
    if pa.types.is_floating(kind):
        return column.cast(pa.float64())
    if pa.types.is_boolean(kind) or pa.types.is_date32(kind):
        return column
    if pa.types.is_timestamp(kind):
        return column.cast(STAMP)
    return column.cast(pa.string())


# --- records of JSON ---------------------------------------------------------------------------

T = TypeVar("T")


def _decoder(kind: type[T]) -> Callable[[bytes], T]:
    return msgspec.json.Decoder(kind).decode


_rejected_of = _decoder(Rejected)
_aggregates_of = _decoder(list[Aggregate])
_transition_of = _decoder(Transition)
_delivery_of = _decoder(Delivery)


def _rejected(part: Slice, index: int, value: bytes, log: Log, rows: Rows) -> None:
    record = _rejected_of(value)
    offset = part.batch.offsets[index]
    refusal = f"{part.batch.partition}/{offset}" if record.partition < 0 else ""
    rows.add("rejected_log", {
        "log_epoch": log.epoch,
        "partition": record.partition,
        "position": record.position,
        "refusal": refusal,
        "arrived": clamp(record.arrived),
        "reason": record.reason,
        "field": record.field,
        "message": record.message,
        "bytes": record.value,
        "source": record.source,
        "event_id": record.event_id,
        "event_type": record.event_type,
        "rank": first_wins(log, part.batch.partition, offset),
    })  # fmt: skip


def _aggregates(_part: Slice, _index: int, value: bytes, log: Log, rows: Rows) -> None:
    for record in _aggregates_of(value):
        rows.add("aggregate_log", {
            **msgspec.structs.asdict(record),
            "group": list(record.group.items()),
            "group_key": msgspec.json.encode(sorted(record.group.items())).decode(),
            "measures": list(record.measures.items()),
            "window_start": clamp(record.window_start),
            "window_end": clamp(record.window_end),
            "log_epoch": log.epoch,
            "rank": newest_wins(log, record.version),
        })  # fmt: skip


def _transition(table: str) -> Callable[[Slice, int, bytes, Log, Rows], None]:
    def read(part: Slice, index: int, value: bytes, log: Log, rows: Rows) -> None:
        if KIND in dict(part.batch.headers[index]):
            return  # how far a judge has come, or a configuration: nothing that is kept
        record = _transition_of(value)
        fields = msgspec.structs.asdict(record)
        for name in ("due", "inhibited_by", "counted_by"):  # for `correlate` alone
            del fields[name]
        maps = {
            name: list(getattr(record, name).items())
            for name in ("group", "measures", "limits", "positions", "title", "text", "places")
        }
        moments = {name: clamp(getattr(record, name)) for name in ("window_start", "window_end", "at")}
        rows.add(table, {
            **fields,
            **maps,
            **moments,
            "decided_at": clamp(record.decided_at),
            **_address(part, index, log),
        })  # fmt: skip

    return read


def _delivery(part: Slice, index: int, value: bytes, log: Log, rows: Rows) -> None:
    record = _delivery_of(value)
    fields = msgspec.structs.asdict(record)
    rows.add("delivery_log", {**fields, "at": clamp(record.at), **_address(part, index, log)})


def _address(part: Slice, index: int, log: Log) -> Row:
    offset = part.batch.offsets[index]
    return {
        "log_epoch": log.epoch,
        "log_partition": part.batch.partition,
        "log_offset": offset,
        "rank": first_wins(log, part.batch.partition, offset),
    }


_READERS: Final[dict[str, Callable[[Slice, int, bytes, Log, Rows], None]]] = {
    ACCEPTED: _accepted,
    REJECTED: _rejected,
    AGGREGATES: _aggregates,
    TRANSITIONS: _transition("transition_log"),
    ALERTS: _transition("alert_log"),
    DELIVERIES: _delivery,
}
