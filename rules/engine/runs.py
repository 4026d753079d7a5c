"""Sorted runs keyed by 128 bits: what a core remembers by identity, compact and vectorised.

A log-structured index: every batch becomes a small sorted run, runs of like size are merged, so
there are few of them and each is immutable. That makes look-ups a handful of binary searches,
costs some 40 bytes an entry instead of a Python object each, and gives snapshots blocks that
never change once written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

FANOUT = 4
"""Runs of one size class that are merged into the next."""
SMALLEST = 4096


@dataclass(frozen=True, slots=True)
class Keys:
    """Parallel halves of 128-bit keys."""

    hi: U64
    lo: U64

    def __len__(self) -> int:
        return len(self.lo)

    def take(self, index: I64 | Mask) -> Keys:
        """The keys at ``index``."""
        return Keys(self.hi[index], self.lo[index])


@dataclass(frozen=True, slots=True)
class Run:
    """Immutable rows, each key once. The keys are sorted by (lo, hi); the rows stay as they came, for
    moving rows costs more than all the searching."""

    number: int
    keys: Keys
    place: I64
    """Row of each key."""
    rows: pl.DataFrame

    def keys_of_rows(self) -> Keys:
        """The keys in the order of the rows."""
        order = np.empty(len(self.place), dtype=np.int64)
        order[self.place] = np.arange(len(self.place))
        return self.keys.take(order)

    def find(self, wanted: Keys) -> I64:
        """Row of each wanted key in this run, or -1."""
        lo, hi = self.keys.lo, self.keys.hi
        place = np.searchsorted(lo, wanted.lo, side="left").astype(np.int64)
        found = np.full(len(wanted), -1, dtype=np.int64)
        open_ = np.flatnonzero(place < len(lo))
        while open_.size:
            at = place[open_]
            same_lo = lo[at] == wanted.lo[open_]
            open_, at = open_[same_lo], at[same_lo]
            hit = hi[at] == wanted.hi[open_]
            found[open_[hit]] = self.place[at[hit]]
            open_ = open_[~hit]
            place[open_] += 1
            open_ = open_[place[open_] < len(lo)]
        return found


class Runs:
    """A mutable index of rows by 128-bit key; the row added last for a key is the one found."""

    def __init__(self) -> None:
        self._runs: list[Run] = []  # oldest first
        self._next = 0

    def __len__(self) -> int:
        return sum(len(run.keys) for run in self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def find(self, wanted: Keys) -> tuple[I64, pl.DataFrame]:
        """For each wanted key the row of the returned frame that holds it, or -1."""
        where = np.full(len(wanted), -1, dtype=np.int64)
        if not len(wanted):
            return where, pl.DataFrame()
        order = np.argsort(wanted.lo, kind="stable")
        frames: list[pl.DataFrame] = []
        taken = 0
        for run in reversed(self._runs):
            if not order.size:
                break
            found = run.find(wanted.take(order))
            hit = found >= 0
            count = int(hit.sum())
            if count:
                where[order[hit]] = np.arange(taken, taken + count)
                frames.append(run.rows[found[hit]])
                taken += count
                order = order[~hit]
        return where, pl.concat(frames, how="vertical") if frames else pl.DataFrame()

    def newest(self) -> pl.DataFrame:
        """The row of every key; an empty frame without columns where there is none."""
        return _merged(self._runs, self._floor)[2] if self._runs else pl.DataFrame()

    def add(self, keys: Keys, rows: pl.DataFrame) -> None:
        """Add rows under keys (each key at most once in a call); they hide older ones."""
        if not len(keys):
            return
        order = _sorted(keys)
        self._append(keys.take(order), order, rows)
        self._merge()

    def expire(self, column: str, before: int) -> None:
        """Forget runs whose every row has ``column`` < ``before``; merging forgets single rows."""
        self._runs = [run for run in self._runs if int(run.rows[column].max() or 0) >= before]  # type: ignore[arg-type]
        self._floor = (column, before)

    _floor: tuple[str, int] | None = None

    def load(self, number: int, keys: Keys, rows: pl.DataFrame) -> None:
        """Put back a run from a snapshot, keys in the order of the rows. Runs come by their numbers."""
        order = _sorted(keys)
        self._runs.append(Run(number, keys.take(order), order, rows))
        self._next = max(self._next, number + 1)

    def _append(self, keys: Keys, place: I64, rows: pl.DataFrame) -> None:
        self._runs.append(Run(self._next, keys, place, rows))
        self._next += 1

    def _merge(self) -> None:
        while len(self._runs) >= FANOUT:
            tail = self._runs[-FANOUT:]
            if _size_class(tail[0]) > _size_class(tail[-1]):
                return
            del self._runs[-FANOUT:]
            self._append(*_merged(tail, self._floor))


def _size_class(run: Run) -> int:
    size, level = max(len(run.keys), 1), 0
    while size > SMALLEST:
        size //= FANOUT
        level += 1
    return level


def _sorted(keys: Keys) -> I64:
    return np.lexsort((keys.hi, keys.lo)).astype(np.int64, copy=False)


def _merged(runs: list[Run], floor: tuple[str, int] | None) -> tuple[Keys, I64, pl.DataFrame]:
    """One run's worth of the newest row of every key that is not below the floor."""
    hi = np.concatenate([run.keys.hi for run in runs])
    lo = np.concatenate([run.keys.lo for run in runs])
    starts = np.cumsum([0, *(len(run.keys) for run in runs)])
    place = np.concatenate([run.place + start for run, start in zip(runs, starts, strict=False)])
    rows = pl.concat([run.rows for run in runs], how="vertical", rechunk=True)
    order = np.lexsort((-place, hi, lo))  # the newest of equal keys first: later runs have later rows
    hi, lo, place = hi[order], lo[order], place[order]
    keep = np.ones(len(lo), dtype=bool)
    keep[1:] = (lo[1:] != lo[:-1]) | (hi[1:] != hi[:-1])
    if floor is not None:
        keep &= (rows[floor[0]] >= floor[1]).to_numpy()[place]
    if not keep.all():
        place = place[keep]
        stays = np.zeros(len(rows), dtype=bool)
        stays[place] = True
        place, rows = (np.cumsum(stays) - 1)[place], rows.filter(stays)
    return Keys(hi[keep], lo[keep]), place, rows
