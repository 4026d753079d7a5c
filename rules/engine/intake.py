"""What happens to events before they are counted: decoded, checked, placed, told from repeats.

`count` alone decides what is valid; the archive follows it. Every decision depends on the log up
to the event and on nothing else, so it comes out the same however the log is cut into batches.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from rules.engine.runs import Keys, Runs
from schemas.civil import DAY_MS, day_start
from schemas.decode import Reject, decode
from schemas.events import EVENT_TYPES
from schemas.reference import DIMENSIONS, Reference
from schemas.topics import ARRIVED, CONTROL, KIND, PULSE, partition_of
from schemas.wire import LogBatch

CLOCK = "_clock"
MARK = "mark"
BEYOND = "beyond_horizon"
NEVER = -(2**62)
STAMP_DIGITS = 14
"""Longer arrival stamps are not times in milliseconds: the broker's time stamp holds."""


@dataclass(frozen=True, slots=True)
class Special:
    """A record of the engine inside a batch: its place, kind and value."""

    row: int
    kind: bytes
    value: bytes


@dataclass(slots=True)
class Decoded:
    """A batch after decoding: valid rows by type, rejects, specials, arrival by row."""

    frames: dict[str, pl.DataFrame]
    rejects: list[Reject]
    specials: list[Special]
    arrived: list[int]


def read(batch: LogBatch, start: int) -> Decoded:
    """Decode the records of ``batch`` from row ``start`` on. Rows keep their place in the batch."""
    arrived, specials = list(batch.timestamps), []
    values: list[bytes | None] = []
    rows: list[int] = []
    for row in range(start, len(batch)):
        kind = b""
        for name, content in batch.headers[row] or ():
            if name == ARRIVED and content.isdigit() and len(content) <= STAMP_DIGITS:
                arrived[row] = int(content)
            elif name == KIND and content in (PULSE, CONTROL):
                kind = content
        if kind:
            specials.append(Special(row, kind, batch.values[row] or b""))
        elif batch.values[row] is not None or batch.keys[row] is None:  # others are tombstones
            rows.append(row)
            values.append(batch.values[row])
    decoded = decode(values, [arrived[row] for row in rows])
    if rows and (rows[0] != 0 or rows[-1] != len(rows) - 1):
        place = pl.Series("_row", rows, dtype=pl.Int64)
        frames = {
            name: frame.with_columns(place.gather(frame["_row"]).alias("_row"))
            for name, frame in decoded.frames.items()
        }
        rejects = [replace(reject, row=rows[reject.row]) for reject in decoded.rejects]
        return Decoded(frames, rejects, specials, arrived)
    return Decoded(dict(decoded.frames), list(decoded.rejects), specials, arrived)


@dataclass(frozen=True, slots=True)
class Sorted:
    """What became of a segment's rows."""

    accepted: dict[str, pl.DataFrame]
    """By type, with `MARK` and dimensions; rows that are ``beyond_horizon`` are not to be counted."""
    rejects: list[Reject]
    forwards: list[tuple[int, int]]
    """(row, right partition)."""
    repeats: int


@dataclass(slots=True)
class Intake:
    """Memory of seen ids, and the way of a decoded row to acceptance."""

    partition: int
    partitions: int
    seen: Runs = field(default_factory=Runs)
    _places: dict[str, int] = field(default_factory=dict)

    def sort(self, frames: dict[str, pl.DataFrame], reference: Reference | None) -> Sorted:
        """Take decoded rows (with `CLOCK`) of one segment, in which nothing else changes."""
        rejects: list[Reject] = []
        forwards: list[tuple[int, int]] = []
        placed = {}
        for name, frame in frames.items():
            if frame.is_empty():
                continue
            own = self._own(frame, forwards)
            placed[name] = _known(name, own, reference, rejects)
        repeats = self._drop_repeats(placed, rejects)
        accepted = {name: frame for name, frame in placed.items() if not frame.is_empty()}
        return Sorted(accepted, rejects, forwards, repeats)

    def _own(self, frame: pl.DataFrame, forwards: list[tuple[int, int]]) -> pl.DataFrame:
        schools = frame["school"].unique().to_list()
        strange = [school for school in schools if self._place(school) != self.partition]
        if not strange:
            return frame
        elsewhere = pl.col("school").is_in(strange)
        for row, school in frame.filter(elsewhere).select("_row", "school").iter_rows():
            forwards.append((row, self._place(school)))
        return frame.filter(~elsewhere)

    def _place(self, school: str) -> int:
        place = self._places.get(school)
        if place is None:
            if len(self._places) > 100_000:
                self._places.clear()
            place = self._places[school] = partition_of(school, self.partitions)
        return place

    def _drop_repeats(self, frames: dict[str, pl.DataFrame], rejects: list[Reject]) -> int:
        fresh = {name: _fresh(frame) for name, frame in frames.items()}
        parts = [
            frame.select(
                "_row", "key_hi", "key_lo", "content", CLOCK, _expiry(name), pl.lit(name).alias("_type")
            )
            for name, frame in fresh.items()
            if not frame.is_empty()
        ]
        if not parts:
            return 0
        rows = pl.concat(parts).sort("_row") if len(parts) > 1 else parts[0]
        verdict = self._verdicts(rows)
        if not verdict.any():
            return 0
        bad = rows.with_columns(pl.Series("_verdict", verdict)).filter(pl.col("_verdict") > 0)
        for name, frame in list(frames.items()):
            mine = bad.filter(pl.col("_type") == name)
            reused = mine.filter(pl.col("_verdict") == REUSED)["_row"]
            rejects.extend(_reused(name, frame.filter(pl.col("_row").is_in(reused.implode()))))
            frames[name] = frame.filter(~pl.col("_row").is_in(mine["_row"].implode()))
        return int((verdict == REPEAT).sum())

    def _verdicts(self, rows: pl.DataFrame) -> npt.NDArray[np.int8]:
        """0 new, `REPEAT`, or `REUSED` for each row; new ones are remembered."""
        keys = Keys(rows["key_hi"].to_numpy(), rows["key_lo"].to_numpy())
        content, clock = rows["content"].to_numpy(), rows[CLOCK].to_numpy()
        expires = rows["expires"].to_numpy()
        verdict = np.zeros(len(rows), dtype=np.int8)
        first = _first_of_key(keys)
        again = np.flatnonzero(first != np.arange(len(rows)))
        where, known = self.seen.find(keys)
        hit = np.flatnonzero(where >= 0)
        ends = known["expires"].to_numpy() if hit.size else np.empty(0, dtype=np.int64)
        if again.size and (
            (expires[first[again]] < clock[again]).any() or ((clock[0] <= ends) & (ends < clock[-1])).any()
        ):  # an id is forgotten between two rows that carry it: take them one after the other
            half = len(rows) // 2
            return np.concatenate([self._verdicts(rows[:half]), self._verdicts(rows[half:])])
        verdict[again] = np.where(content[again] == content[first[again]], REPEAT, REUSED)
        if hit.size:
            old = known[where[hit]]
            alive = old["expires"].to_numpy() >= clock[hit]
            same = old["content"].to_numpy() == content[hit]
            verdict[hit[alive]] = np.where(same[alive], REPEAT, REUSED)
        new = verdict == 0
        self.seen.add(keys.take(new), rows.filter(new).select("content", "expires"))
        return verdict


REPEAT, REUSED = 1, 2


def _first_of_key(keys: Keys) -> npt.NDArray[np.int64]:
    """For each row the first row with the same key."""
    count = len(keys)
    first = np.arange(count)
    order = np.lexsort((first, keys.hi, keys.lo))
    lo, hi = keys.lo[order], keys.hi[order]
    same = np.zeros(count, dtype=bool)
    same[1:] = (lo[1:] == lo[:-1]) & (hi[1:] == hi[:-1])
    if same.any():
        leader = np.maximum.accumulate(np.where(same, 0, np.arange(count)))
        first[order] = order[leader]
    return first


def _fresh(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows that are not too old to be counted."""
    mask = frame[MARK] == ""
    return frame if mask.all() else frame.filter(mask)


def _expiry(name: str) -> pl.Expr:
    return (pl.col("time") + EVENT_TYPES[name].repeat_horizon).alias("expires")


def _known(
    name: str, frame: pl.DataFrame, reference: Reference | None, rejects: list[Reject]
) -> pl.DataFrame:
    """Join dimensions, reject unknown schools, mark what is too old to be counted."""
    if reference is not None:
        frame = reference.join(frame)
        known = frame.drop_in_place("_known")
        if not known.all():
            rejects.extend(_strangers(name, frame.filter(~known)))
            frame = frame.filter(known)
    else:
        missing = [name for name in DIMENSIONS if name not in frame.columns]
        frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in missing)
    kind = EVENT_TYPES[name]
    too_old = pl.col("time") + kind.repeat_horizon < pl.col(CLOCK)
    last_day = pl.min_horizontal(pl.col("_day").cast(pl.Int64), (pl.col("time") - day_start(0)) // DAY_MS)
    day_ends = (last_day + 1) * DAY_MS + day_start(0)
    closed = day_ends + kind.correction_horizon < pl.col(CLOCK)
    return frame.with_columns(
        pl.when(too_old | closed).then(pl.lit(BEYOND)).otherwise(pl.lit("")).alias(MARK)
    )


def _strangers(name: str, frame: pl.DataFrame) -> list[Reject]:
    expected = "expected a school of the reference data valid that day"
    return [
        Reject(
            row, "unknown_school", "data.school", f"unknown school {school!r}; {expected}", source, id_, name
        )
        for row, school, source, id_ in frame.select("_row", "school", "source", "id").iter_rows()
    ]


def _reused(name: str, frame: pl.DataFrame) -> list[Reject]:
    message = "this id came before with other content; expected a new id for a new event"
    return [
        Reject(row, "id_reused", "id", message, source, event_id, name)
        for row, source, event_id in frame.select("_row", "source", "id").iter_rows()
    ]
