"""What events with ``before`` and ``after`` take out beside the row of their own.

Where a type has an identity the kept row says what was counted, and ``before`` only names the thing, if
it was another. Where it has none there is no kept row: ``before`` is taken out as it is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from rules.engine.aggregate import ORIGINAL, SIGN
from rules.engine.intake import CLOCK
from rules.engine.latest import POSITION
from schemas.changed import BEFORE, CHANGED, DELETE, OPERATION, was
from schemas.checks import Before
from schemas.civil import day_of, day_start
from schemas.events import EVENT_TYPES
from schemas.reference import DIMENSIONS, Reference
from schemas.registry import EventType

_OWN = ("id", "source", POSITION, CLOCK, CHANGED)
EARLIER = 0
"""`ORIGINAL` of what is told: which event brought it is not known, so it counts as one before the alert."""


def moved(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Deletions of the things that rows of ``frame`` were before they became another."""
    kind = EVENT_TYPES[name]
    rows = []
    for row, before in _told(frame.filter(pl.col(OPERATION) != DELETE)):
        identity = {field: before.values.get(field) for field in kind.identity}
        if any(row[field] != value for field, value in identity.items()):
            own = {column: row[column] for column in _OWN}
            rows.append({**own, **identity, "time": before.time, "_day": before.day, OPERATION: DELETE})
    return _frame(kind, rows)


def told(name: str, frame: pl.DataFrame, reference: Reference | None) -> pl.DataFrame:
    """Signed rows of a type without identity: −1 of each ``before``, +1 of each row that holds.

    A ``before`` whose day no correction reaches any more, or on which its school was not known, was
    not counted and is not taken out.
    """
    kind = EVENT_TYPES[name]
    rows = []
    for row, before in _told(frame):
        last_day = min(before.day, day_of(before.time))
        if day_start(last_day + 1) + kind.correction_horizon >= row[CLOCK]:
            own = {column: row[column] for column in (*_OWN, "school")}
            rows.append({**before.values, **own, "time": before.time, "_day": before.day})
    gone = _placed(_frame(kind, rows), reference)
    enters = frame.filter(pl.col(OPERATION) != DELETE)
    changed = pl.when(pl.col(BEFORE).is_not_null()).then(EARLIER)
    signed = [_signed(gone, -1, pl.lit(EARLIER)), _signed(enters, 1, changed)]
    return pl.concat(signed, how="diagonal").select(*enters.columns, SIGN, ORIGINAL)


def _told(frame: pl.DataFrame) -> Iterable[tuple[dict[str, Any], Before]]:
    for row in frame.filter(pl.col(BEFORE).is_not_null()).iter_rows(named=True):
        yield row, was(row[BEFORE])


def _frame(kind: EventType, rows: list[dict[str, Any]]) -> pl.DataFrame:
    schema: dict[str, Any] = {
        "id": pl.String, "source": pl.String, "time": pl.Int64, "school": pl.String, "_day": pl.Int32,
        POSITION: pl.Int64, CLOCK: pl.Int64, CHANGED: pl.Int64, OPERATION: pl.Int8,
    }  # fmt: skip
    schema |= {field.name: field.dtype() for field in kind.fields}
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def _placed(frame: pl.DataFrame, reference: Reference | None) -> pl.DataFrame:
    if reference is None:
        missing = [name for name in DIMENSIONS if name not in frame.columns]
        return frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in missing)
    return reference.join(frame).filter("_known").drop("_known")


def _signed(frame: pl.DataFrame, sign: int, original: pl.Expr) -> pl.DataFrame:
    return frame.with_columns(
        pl.lit(sign, dtype=pl.Int64).alias(SIGN), original.cast(pl.Int64).alias(ORIGINAL)
    )
