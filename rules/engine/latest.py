"""The latest row of each thing that can be corrected, and what replacing it changes.

For an event type with an identity (a pupil's mark of a session, a school's report of a day) the
engine keeps the row in force together with the dimensions it was counted under. A newer event
for the same identity, or an event of a type that ``corrects`` it, takes the kept row out (−1,
under its own dimensions) and puts the new one in (+1). Latest = newest event time, then position.

A correction that comes before what it corrects waits, uncounted, and is put onto the event when
that arrives. What is deleted is taken out and stays deleted for everything that is older.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import xxhash

from rules.engine.aggregate import ORIGINAL, QUIET, SIGN
from rules.engine.intake import CLOCK, NEVER
from rules.engine.runs import Keys, Runs
from schemas.reference import DIMENSIONS
from schemas.registry import EventType

POSITION = "_position"
"""Position of the event that brought the row."""
FIRST = "_first_position"
"""Position of the event that first brought the thing: what a correction corrects."""
ORDER = "_order"
"""Event time by which the latest is chosen."""
MANY = 64
"""Rows of one thing in one batch beyond which those that decide nothing are left out."""
COUNTED = "_counted"
EXPIRES = "_expires"
CORRECTS = "_corrects"
"""The row comes from a correcting type: only its replaced fields say something. A kept row that is
neither counted nor a waiting correction stands for a thing that was deleted."""
GONE = "_gone"
"""Of rows that come in: the thing is deleted. Optional."""


OWN = (FIRST, COUNTED)


@dataclass(frozen=True, slots=True)
class Identity:
    """How rows of a type are told apart, which columns a correction replaces, what is kept."""

    fields: tuple[str, ...]
    replaces: tuple[str, ...]
    columns: tuple[tuple[str, pl.DataType], ...]
    values: tuple[str, ...]
    """The type's fields."""


def identity_of(kind: EventType, replaces: tuple[str, ...]) -> Identity:
    """The identity of rows of ``kind``."""
    fields = [(known.name, known.dtype()) for known in kind.fields]
    names = {name for name, _ in fields}
    dimensions = [(name, pl.String()) for name in DIMENSIONS if name not in names]
    own: list[tuple[str, pl.DataType]] = [
        ("id", pl.String()), ("source", pl.String()), ("time", pl.Int64()), ("_day", pl.Int32()),
        (POSITION, pl.Int64()), (FIRST, pl.Int64()), (ORDER, pl.Int64()), (EXPIRES, pl.Int64()),
        (CORRECTS, pl.Boolean()), (COUNTED, pl.Boolean()),
    ]  # fmt: skip
    return Identity(
        kind.identity, replaces, (*own, *fields, *dimensions, (QUIET, pl.Boolean())), tuple(names)
    )


def identity_keys(rows: pl.DataFrame, fields: tuple[str, ...]) -> Keys:
    """128-bit keys of rows, from a delimited form of their identity's fields."""
    text = rows.select(pl.concat_str([pl.col(f).cast(pl.String) for f in fields], separator="\x1f"))
    digest = xxhash.xxh3_128_digest
    packed = b"".join([digest(value.encode()) for value in text.to_series().to_list()])
    halves = np.frombuffer(packed, dtype=">u8").reshape(-1, 2).astype(np.uint64)
    return Keys(np.ascontiguousarray(halves[:, 0]), np.ascontiguousarray(halves[:, 1]))


class Latest:
    """Kept rows of one event type."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.runs = Runs()

    def replace(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Take rows in position order; gives the signed rows that result.

        ``rows`` has the type's columns, dimensions, and `POSITION`, `ORDER`, `EXPIRES`,
        `CORRECTS`; where they are not as ever, `GONE`, `QUIET` and `CLOCK`. Rows of a correcting type
        have nulls outside the replaced fields.
        """
        rows = rows.with_columns(_flag(rows, GONE), _flag(rows, QUIET))
        now = rows[CLOCK] if CLOCK in rows.columns else pl.repeat(NEVER, len(rows), eager=True)
        keys = identity_keys(rows, self.identity.fields)
        rows = (
            rows.with_columns(
                pl.col(POSITION).alias(FIRST), (~pl.col(CORRECTS) & ~pl.col(GONE)).alias(COUNTED)
            )
            .select(
                (pl.col(name) if name in rows.columns or name in OWN else pl.lit(None))
                .cast(dtype)
                .alias(name)
                for name, dtype in self.identity.columns
            )
            .hstack([pl.Series("_hi", keys.hi), pl.Series("_lo", keys.lo), now.alias(CLOCK)])
        )
        turn = _turns(rows)
        if _largest(turn) > MANY:
            rows = _first_and_last_of_a_kind(rows)
            turn = _turns(rows)
        if _largest(turn) == 0:
            return self._round(rows)
        rounds = range(_largest(turn) + 1)
        return pl.concat([self._round(rows.filter(turn == n)) for n in rounds], how="diagonal")

    def _round(self, rows: pl.DataFrame) -> pl.DataFrame:
        keys = Keys(rows["_hi"].to_numpy(), rows["_lo"].to_numpy())
        where, kept = self.runs.find(keys)
        if len(kept):  # what nothing can reach any more may or may not be forgotten yet
            place = np.flatnonzero(where >= 0)
            old = (kept[EXPIRES].gather(where[place]) < rows[CLOCK].gather(place)).to_numpy()
            where[place[old]] = -1
        rows = rows.drop("_hi", "_lo", CLOCK)
        new = where < 0
        if new.all():
            return self._insert(keys, rows)
        known = ~new
        parts = [self._insert(keys.take(new), rows.filter(new))] if new.any() else []
        parts.append(self._supersede(keys.take(known), rows.filter(known), kept[where[known]]))
        return pl.concat(parts, how="diagonal")

    def _insert(self, keys: Keys, rows: pl.DataFrame) -> pl.DataFrame:
        self.runs.add(keys, rows)
        return _signed(rows.filter(pl.col(COUNTED)), 1, corrected=False)

    def _supersede(self, keys: Keys, rows: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
        after = _combined(rows, kept, self.identity)
        newer = (rows[ORDER] >= kept[ORDER]).to_numpy()
        waiting = (kept[CORRECTS] & rows[COUNTED]).to_numpy()
        lost = (rows[CORRECTS] & ~kept[CORRECTS] & ~kept[COUNTED]).to_numpy()  # corrects what is deleted
        changes = (newer | waiting) & ~lost
        keys, after, kept = keys.take(changes), after.filter(changes), kept.filter(changes)
        self.runs.add(keys, after)
        before = kept.filter(pl.col(COUNTED))
        was = after.filter(kept[COUNTED] & after[COUNTED])
        return pl.concat(
            [
                _signed(before, -1, corrected=True),
                _signed(was, 1, corrected=True),
                _signed(after.filter(~kept[COUNTED] & after[COUNTED]), 1, corrected=False),
            ],
            how="diagonal",
        )


def _turns(rows: pl.DataFrame) -> pl.Series:
    """How many rows of the same thing come before each row."""
    if not rows.select(pl.struct("_hi", "_lo").is_duplicated().any()).item():
        return pl.repeat(0, len(rows), eager=True, dtype=pl.UInt32)
    return rows.select(pl.col(POSITION).cum_count().over("_hi", "_lo") - 1).to_series()


def _largest(turn: pl.Series) -> int:
    return int(turn.max() or 0)  # type: ignore[arg-type]


def _first_and_last_of_a_kind(rows: pl.DataFrame) -> pl.DataFrame:
    """Where all rows of a thing are of one kind, the first (which may meet a waiting correction)
    and the latest decide; mixed ones stay."""
    key = ["_hi", "_lo"]
    mixed = pl.struct(CORRECTS, COUNTED, QUIET).n_unique().over(key) > 1
    last = pl.struct(ORDER, POSITION).rank("ordinal").over(key) == pl.len().over(key)
    first = pl.col(POSITION) == pl.col(POSITION).min().over(key)
    return rows.filter(mixed | first | last)


def _combined(rows: pl.DataFrame, kept: pl.DataFrame, identity: Identity) -> pl.DataFrame:
    """The row in force after each of ``rows`` met its kept row."""
    old = kept.select(pl.all().name.prefix("k."))
    both = pl.concat([rows, old], how="horizontal")
    corrects = pl.col(CORRECTS)
    waits = pl.col("k." + CORRECTS) & pl.col(COUNTED) & (pl.col("k." + ORDER) > pl.col(ORDER))
    brought = {"id", ORDER, POSITION, *identity.replaces}
    counted = pl.when(corrects).then(pl.col("k." + COUNTED)).otherwise(pl.col(COUNTED)).alias(COUNTED)
    still_waits = (corrects & ~pl.col("k." + COUNTED)).alias(CORRECTS)
    columns = [
        _column(name, brought=name in brought, waits=waits)
        for name in kept.columns
        if name not in (COUNTED, CORRECTS, QUIET)
    ]
    after = both.select(*columns, counted, still_waits, QUIET).select(kept.columns)
    return _loud_again(after, kept, identity) if after[QUIET].any() else after


def _loud_again(after: pl.DataFrame, kept: pl.DataFrame, identity: Identity) -> pl.DataFrame:
    """A snapshot that says the same as a row that was not of one leaves it so."""
    loud = kept[COUNTED] & ~kept[QUIET]
    for name in identity.values:
        loud &= after[name].eq_missing(kept[name])
    return after.with_columns((after[QUIET] & ~loud).alias(QUIET))


def _flag(rows: pl.DataFrame, name: str) -> pl.Expr:
    """An optional column of incoming rows."""
    return (pl.col(name).fill_null(value=False) if name in rows.columns else pl.lit(value=False)).alias(name)


def _column(name: str, *, brought: bool, waits: pl.Expr) -> pl.Expr:
    """A correction brings some columns; an event that finds a newer waiting correction takes its."""
    kept, new = pl.col("k." + name), pl.col(name)
    if name == FIRST:
        return pl.when(pl.col("k." + COUNTED)).then(kept).otherwise(new).alias(name)
    stays = waits if brought else pl.col(CORRECTS)
    return pl.when(stays).then(kept).otherwise(new).alias(name)


def _signed(rows: pl.DataFrame, sign: int, *, corrected: bool) -> pl.DataFrame:
    original = pl.col(FIRST) if corrected else pl.lit(None, dtype=pl.Int64)
    return rows.with_columns(pl.lit(sign, dtype=pl.Int64).alias(SIGN), original.alias(ORIGINAL))
