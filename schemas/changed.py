"""Columns of a decoder's frame for events with ``before`` and ``after``; other frames do not have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import polars as pl
import xxhash

from schemas.checks import Before, Change, Event, Operation

OPERATION: Final = "_operation"
"""What the row says: `PLAIN` or the operation of a `Change`."""
CHANGED: Final = "_changed"
"""Time of the change, ms; of an ordinary event its own time."""
BEFORE: Final = "_before"
"""What was before, as JSON (see `was`), or null."""
COLUMNS: Final = (OPERATION, CHANGED, BEFORE)
PLAIN: Final = 0
OPERATIONS: Final[Mapping[Operation, int]] = {"put": 1, "delete": 2, "snapshot": 3}
DELETE: Final = OPERATIONS["delete"]
SNAPSHOT: Final = OPERATIONS["snapshot"]


def with_changes(frame: pl.DataFrame, events: Sequence[tuple[int, Event]]) -> pl.DataFrame:
    """``frame`` (rows by ``_row``) with `COLUMNS` and the content of changes, if ``events`` has any."""
    changes = {row: (event, event.change) for row, event in events if event.change is not None}
    if not changes:
        return frame
    rows = frame["_row"].to_list()
    times, hashes = frame["time"].to_list(), frame["content"].to_list()
    found = [changes.get(row) for row in rows]
    return frame.with_columns(
        pl.Series(OPERATION, [OPERATIONS[it[1].operation] if it else PLAIN for it in found], pl.Int8),
        pl.Series(CHANGED, [it[1].order if it else t for it, t in zip(found, times, strict=True)], pl.Int64),
        pl.Series(BEFORE, [_before(it[1].before) if it else None for it in found], pl.String),
        pl.Series(
            "content", [_content(*it) if it else h for it, h in zip(found, hashes, strict=True)], pl.UInt64
        ),
    )


def was(text: str) -> Before:
    """What `BEFORE` says."""
    return _BEFORE.decode(text)


def _before(before: Before | None) -> str | None:
    return None if before is None else _ENCODER.encode(before).decode()


def _content(event: Event, change: Change) -> int:
    """xxh3_64 of the JSON array [type, time, operation, time of the change, before, after], without nulls."""
    values = {field.name: getattr(event.data, field.attribute) for field in event.type.fields}
    after = None if change.operation == "delete" else {k: v for k, v in values.items() if v is not None}
    told = [event.type.name, event.time, change.operation, change.order, change.before, after]
    return xxhash.xxh3_64_intdigest(_ENCODER.encode(told))


_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_BEFORE: Final = msgspec.json.Decoder(Before)
