"""Records that `count` sends beside panes: accepted events, rejected ones, and forwards."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import msgspec
import polars as pl

from schemas.changed import DELETE, OPERATION, SNAPSHOT
from schemas.decode import Reject
from schemas.events import EVENT_TYPES
from schemas.reference import DIMENSIONS
from schemas.topics import ACCEPTED, ARRIVED, EVENTS, MAX_RECORD_BYTES, REJECTED
from schemas.wire import LogBatch, OutRecord, Rejected

TYPE = "type"
"""Header of an accepted record: the event type of its rows."""
KEPT_BYTES = 64 * 1024
"""Of a rejected record so many bytes are kept."""


def accepted_record(partition: int, name: str, frame: pl.DataFrame) -> Iterator[OutRecord]:
    """Accepted events of one type as Arrow IPC stream, for the archive (see `schemas.wire`)."""
    if frame["raw"].bin.size().sum() > MAX_RECORD_BYTES // 4 and len(frame) > 1:
        half = len(frame) // 2
        yield from accepted_record(partition, name, frame[:half])
        yield from accepted_record(partition, name, frame[half:])
        return
    kind = EVENT_TYPES[name]
    fields = [pl.col(known.name).alias(f"f_{known.name}") for known in kind.fields]
    data = {known.name for known in kind.fields}
    dimensions = [
        pl.col(dim).alias(f"d_{dim}") for dim in DIMENSIONS if dim in frame.columns and dim not in data
    ]
    rows = frame.select(
        pl.col("_position").alias("position"),
        "id", "source", pl.lit(name).alias("type"), "time", "arrived", "school", _mark(frame), "raw",
        *fields, *dimensions,
    )  # fmt: skip
    out = io.BytesIO()
    rows.write_ipc_stream(out, compression="zstd")
    yield OutRecord(ACCEPTED, partition, None, out.getvalue(), ((TYPE, name.encode()),))


def _mark(frame: pl.DataFrame) -> pl.Expr:
    """What the archive says of a row: too old to be counted, a deletion, a row of a snapshot."""
    mark = pl.col("mark")
    if OPERATION not in frame.columns:
        return mark
    operation = pl.col(OPERATION)
    told = pl.when(mark != "").then(mark).when(operation == DELETE).then(pl.lit("deletion"))
    return told.when(operation == SNAPSHOT).then(pl.lit("snapshot")).otherwise(mark).alias("mark")


def rejected_record(partition: int, batch: LogBatch, arrived: Sequence[int], reject: Reject) -> OutRecord:
    """A record that is not valid, with field and reason."""
    value = batch.values[reject.row] or b""
    record = Rejected(
        partition=partition,
        position=batch.offsets[reject.row],
        arrived=arrived[reject.row],
        reason=reject.reason,
        field=reject.field,
        message=reject.message,
        value=value[:KEPT_BYTES],
        source=reject.source,
        event_id=reject.event_id,
        event_type=reject.event_type,
    )
    return OutRecord(REJECTED, partition, batch.keys[reject.row], msgspec.json.encode(record))


def forward(batch: LogBatch, arrived: Sequence[int], row: int, target: int) -> OutRecord:
    """An event that lay on another partition than its school's: sent on, arrival unchanged."""
    headers = [(name, value) for name, value in batch.headers[row] or () if name != ARRIVED]
    headers.append((ARRIVED, str(arrived[row]).encode()))
    return OutRecord(EVENTS, target, batch.keys[row], batch.values[row], tuple(headers))
