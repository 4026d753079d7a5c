"""From accepted events to signed rows: what each of them puts in and takes out, by event type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from rules.engine.aggregate import ORIGINAL, SEGMENT, SIGN
from rules.engine.intake import CLOCK, MARK
from rules.engine.latest import (
    CAUSE,
    CORRECTS,
    COUNTED,
    EXPIRES,
    ORDER,
    POSITION,
    Identity,
    Latest,
    identity_of,
)
from schemas.civil import DAY_MS, day_start
from schemas.events import EVENT_TYPES

INTERNAL = ("_row", "key_hi", "key_lo", "content", CLOCK, MARK, "arrived")


class Effect(NamedTuple):
    """Signed rows of a type; ``corrected``: some of them carry the position they correct."""

    type: str
    rows: pl.DataFrame
    corrected: bool


class Effects:
    """Keeps the latest rows of types that have an identity."""

    def __init__(self) -> None:
        self.latest = {name: Latest(identity) for name, identity in _identities().items()}

    def of(self, counted: Mapping[str, pl.DataFrame], ends: Sequence[int] = ()) -> Iterator[Effect]:
        """What these events change; frames have `POSITION`. With positions at which segments end, rows
        have `SEGMENT`, the number of their own."""
        for effect in self._of(counted, ends):
            yield effect._replace(rows=_segmented(effect.rows, ends)) if ends else effect

    def _of(self, counted: Mapping[str, pl.DataFrame], ends: Sequence[int]) -> Iterator[Effect]:
        into: dict[str, list[pl.DataFrame]] = {}
        for name, frame in counted.items():
            corrects = EVENT_TYPES[name].corrects
            target = corrects.type if corrects else name
            if target in self.latest:
                into.setdefault(target, []).append(_prepared(name, target, frame))
            else:
                yield Effect(name, _entering(frame), corrected=False)
        for target, frames in into.items():
            together = pl.concat(frames, how="diagonal").sort(POSITION) if len(frames) > 1 else frames[0]
            rows = self.latest[target].replace(together, ends)
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


def _segmented(rows: pl.DataFrame, ends: Sequence[int]) -> pl.DataFrame:
    cause = rows[CAUSE if CAUSE in rows.columns else POSITION].to_numpy()
    return rows.hstack([pl.Series(SEGMENT, np.searchsorted(np.array(ends), cause), dtype=pl.Int64)])


def _entering(frame: pl.DataFrame) -> pl.DataFrame:
    return _signed(frame.drop(INTERNAL))


def _signed(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(
        pl.lit(1, dtype=pl.Int64).alias(SIGN), pl.lit(None, dtype=pl.Int64).alias(ORIGINAL)
    )


def _prepared(name: str, target: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Rows as the type they count for keeps them."""
    corrects, horizon = EVENT_TYPES[name].corrects, EVENT_TYPES[target].correction_horizon
    expires = (pl.col("_day").cast(pl.Int64) + 1) * DAY_MS + day_start(0) + horizon
    frame = frame.drop(INTERNAL)
    if corrects is not None:
        pairs = (*corrects.key, *corrects.after)
        frame = frame.select(
            "id", "time", "_day", POSITION, *(pl.col(here).alias(there) for there, here in pairs)
        )
    return frame.with_columns(
        pl.col("time").alias(ORDER),
        expires.alias(EXPIRES),
        pl.lit(corrects is not None).alias(CORRECTS),
    )
