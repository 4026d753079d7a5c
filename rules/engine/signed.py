"""From accepted events to signed rows: what each of them puts in and takes out, by event type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import polars as pl

from rules.engine.aggregate import ORIGINAL, QUIET, SIGN
from rules.engine.changes import moved, told
from rules.engine.intake import CLOCK, MARK
from rules.engine.latest import (
    CORRECTS,
    COUNTED,
    EXPIRES,
    GONE,
    ORDER,
    POSITION,
    Identity,
    Latest,
    identity_of,
)
from schemas.changed import CHANGED, COLUMNS, DELETE, OPERATION, SNAPSHOT
from schemas.civil import DAY_MS, day_start
from schemas.events import EVENT_TYPES
from schemas.reference import Reference

INTERNAL = (*COLUMNS, "_row", "key_hi", "key_lo", "content", CLOCK, MARK, "arrived")


class Effect(NamedTuple):
    """Signed rows of a type; ``corrected``: some of them carry the position they correct."""

    type: str
    rows: pl.DataFrame
    corrected: bool


class Effects:
    """Keeps the latest rows of types that have an identity."""

    def __init__(self) -> None:
        self.latest = {name: Latest(identity) for name, identity in _identities().items()}

    def of(self, counted: Mapping[str, pl.DataFrame], reference: Reference | None) -> Iterator[Effect]:
        """What these events change; frames have `POSITION`."""
        into: dict[str, list[pl.DataFrame]] = {}
        for name, frame in counted.items():
            corrects = EVENT_TYPES[name].corrects
            target = corrects.type if corrects else name
            if target in self.latest:
                into.setdefault(target, []).append(_prepared(name, target, frame))
                if name == target and OPERATION in frame.columns:
                    into[target].append(_prepared(name, target, moved(name, frame)))
            elif OPERATION in frame.columns:
                yield Effect(name, told(name, frame, reference).drop(INTERNAL, strict=False), corrected=True)
            else:
                yield Effect(name, _entering(frame), corrected=False)
        for target, frames in into.items():
            rows = self.latest[target].replace(pl.concat(frames, how="diagonal").sort(POSITION))
            if not rows.is_empty():
                yield Effect(target, rows, corrected=bool(rows[ORIGINAL].is_not_null().any()))

    def in_force(self, name: str, clock: int) -> pl.DataFrame:
        """Everything that is kept of a type and may still be corrected, as rows that enter: what a
        query that is new at ``clock`` has to begin with."""
        latest = self.latest.get(name)
        rows = latest.runs.newest() if latest else pl.DataFrame()
        if rows.is_empty():
            return rows
        rows = rows.filter(pl.col(COUNTED) & (pl.col(EXPIRES) >= clock)).sort(POSITION)
        return _signed(rows)

    def expire(self, clock: int) -> None:
        """Forget rows that no event can reach any more."""
        for latest in self.latest.values():
            latest.runs.expire(EXPIRES, clock)


def _identities() -> dict[str, Identity]:
    """Identity of each type that has one, with the fields that correcting types replace."""
    out = {}
    for kind in EVENT_TYPES.values():
        if kind.identity:
            replaced = {
                there
                for other in EVENT_TYPES.values()
                if other.corrects and other.corrects.type == kind.name
                for there, _ in other.corrects.after
            }
            out[kind.name] = identity_of(kind, tuple(sorted(replaced)))
    return out


def _entering(frame: pl.DataFrame) -> pl.DataFrame:
    return _signed(frame.drop(INTERNAL, strict=False))


def _signed(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(
        pl.lit(1, dtype=pl.Int64).alias(SIGN), pl.lit(None, dtype=pl.Int64).alias(ORIGINAL)
    )


def _prepared(name: str, target: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Rows as the type they count for keeps them."""
    corrects, horizon = EVENT_TYPES[name].corrects, EVENT_TYPES[target].correction_horizon
    expires = (pl.col("_day").cast(pl.Int64) + 1) * DAY_MS + day_start(0) + horizon
    frame = frame.with_columns(*_flags(frame)).drop(set(INTERNAL) - {CLOCK}, strict=False)
    if corrects is not None:
        pairs = (*corrects.key, *corrects.after)
        frame = frame.select(
            "id",
            "time",
            "_day",
            POSITION,
            CLOCK,
            ORDER,
            GONE,
            QUIET,
            *(pl.col(here).alias(there) for there, here in pairs),
        )
    return frame.with_columns(
        expires.alias(EXPIRES),
        pl.lit(corrects is not None).alias(CORRECTS),
    )


def _flags(frame: pl.DataFrame) -> list[pl.Expr]:
    """By what the latest is chosen, whether the thing is deleted, whether a snapshot said so."""
    if OPERATION not in frame.columns:
        no = pl.lit(value=False)
        return [pl.col("time").alias(ORDER), no.alias(GONE), no.alias(QUIET)]
    operation = pl.col(OPERATION)
    return [
        pl.col(CHANGED).alias(ORDER),
        (operation == DELETE).alias(GONE),
        (operation == SNAPSHOT).alias(QUIET),
    ]
