"""Snapshot blocks: named, bounded, and written only when they changed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

import numpy as np
import polars as pl

from rules.engine.runs import Keys, Run, Runs
from schemas.topics import MAX_BLOCK_BYTES
from schemas.wire import Snapshot

ROWS_A_BLOCK = 8192


class Ledger:
    """Which block names stand for the present state, and which of them are new.

    A *part* (say, a shard of panes) has the blocks of its last encoding; encoding it again gives
    new names, so that a name always stands for the same bytes.
    """

    def __init__(self) -> None:
        self._parts: dict[str, list[str]] = {}
        self._fresh: dict[str, bytes] = {}
        self._version = 0

    def begin(self, *, complete: bool) -> None:
        """Start a snapshot; a complete one forgets what was written before."""
        self._fresh = {}
        self._version += 1
        if complete:
            self._parts = {}

    def put(self, part: str, blocks: Iterable[bytes]) -> None:
        """The part's new encoding. A block that is too large for a record goes in pieces."""
        names = []
        for number, block in enumerate(blocks):
            for piece, start in enumerate(range(0, max(len(block), 1), MAX_BLOCK_BYTES)):
                name = f"{part}/{number}.{piece}@{self._version}"
                self._fresh[name] = block[start : start + MAX_BLOCK_BYTES]
                names.append(name)
        self._parts[part] = names

    def put_once(self, part: str, encode: Callable[[], Iterable[bytes]]) -> None:
        """A part that never changes: encoded only if it is not there yet."""
        if part not in self._parts:
            self.put(part, encode())

    def keep(self, wanted: Callable[[str], bool]) -> None:
        """Forget the parts that are not wanted any more."""
        self._parts = {part: names for part, names in self._parts.items() if wanted(part)}

    def finish(self, position: int) -> Snapshot:
        """The snapshot."""
        live = tuple(name for names in self._parts.values() for name in names)
        fresh, self._fresh = self._fresh, {}
        return Snapshot(position, {name: fresh[name] for name in live if name in fresh}, live)

    def resume(self, names: Iterable[str]) -> None:
        """Continue after a restore: versions go on above those that were restored."""
        self._version = max([self._version, *(int(name.rpartition("@")[2]) for name in names)])


def put_runs(ledger: Ledger, prefix: str, runs: Runs) -> None:
    """Enter an index's runs; those written before are not encoded again."""
    live = {f"{prefix}/{run.number}" for run in runs}
    ledger.keep(lambda part: part in live or not part.startswith(prefix + "/"))
    for run in runs:
        ledger.put_once(f"{prefix}/{run.number}", lambda run=run: encode_run(run))  # type: ignore[misc]


def encode_run(run: Run) -> Iterator[bytes]:
    """A run as Arrow IPC blocks of bounded size, in order."""
    keys = run.keys_of_rows()
    rows = run.rows.with_columns(pl.Series("_hi", keys.hi), pl.Series("_lo", keys.lo))
    for start in range(0, max(len(rows), 1), ROWS_A_BLOCK):
        yield from _encode(rows[start : start + ROWS_A_BLOCK])


def _encode(rows: pl.DataFrame) -> Iterator[bytes]:
    out = io.BytesIO()
    rows.write_ipc(out, compression="zstd")
    if out.tell() <= MAX_BLOCK_BYTES or len(rows) <= 1:
        yield out.getvalue()
        return
    half = len(rows) // 2
    yield from _encode(rows[:half])
    yield from _encode(rows[half:])


def load_run(
    runs: Runs, number: int, blocks: list[bytes], added: Mapping[str, bool] = MappingProxyType({})
) -> None:
    """Put back a run from its blocks, in order. ``added``: columns that older snapshots do not have."""
    rows = pl.concat([pl.read_ipc(io.BytesIO(block)) for block in blocks], how="vertical")
    keys = Keys(rows["_hi"].to_numpy().astype(np.uint64), rows["_lo"].to_numpy().astype(np.uint64))
    new = [pl.lit(value).alias(name) for name, value in added.items() if name not in rows.columns]
    runs.load(number, keys, rows.drop("_hi", "_lo").with_columns(new))


def by_part(blocks: dict[str, bytes]) -> dict[str, list[bytes]]:
    """Blocks of a snapshot by part, each part's in order and whole."""
    found: dict[str, dict[int, dict[int, bytes]]] = {}
    for name, content in blocks.items():
        part, _, number = name.rpartition("@")[0].rpartition("/")
        block, _, piece = number.partition(".")
        found.setdefault(part, {}).setdefault(int(block), {})[int(piece)] = content
    return {
        part: [
            b"".join(content for _, content in sorted(pieces.items())) for _, pieces in sorted(own.items())
        ]
        for part, own in found.items()
    }
