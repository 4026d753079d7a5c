"""Mergeable panes: cumulative states of a query's groups and windows.

A state is an integer (counts, scaled sums), the newest time, or a counted multiset. All merge in
any order and a member can be taken out again, so neither the order of batches nor a repeated
send can change a digit.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from rules.model import Agg, Query
from schemas.topics import MAX_BLOCK_BYTES
from schemas.wire import Correction, PaneState, PaneValue

EVIDENCE = 32
"""Event ids that a pane keeps when it is sent; the first 20 of those still in force are shown."""
EVIDENCE_TRACKED = 512
"""Event ids that a pane keeps until it is sent: rows may still be taken out, and what remains
must not depend on how the log was cut into batches."""
CORRECTIONS = 64
"""Corrections of one pane that are kept singly, to tell retracted from resolved."""
MULTISET_BOUND = 100_000
"""Distinct values of a pane beyond which it becomes unknown."""
SHARDS = 8

Group = tuple[str, ...]


@dataclass(slots=True)
class Pane:
    """Cumulative state of one group and window."""

    group: Group
    target: int
    rows: int = 0
    states: list[PaneValue] = field(default_factory=list)
    evidence: list[tuple[int, str]] = field(default_factory=list)
    corrections: list[Correction] = field(default_factory=list)
    position: int = 0
    quiet: int = 0
    """Rows in force that come from snapshots."""


def initial(aggs: Sequence[Agg]) -> list[PaneValue]:
    """States of an empty pane."""
    return [{} if agg.kind == "values" else None if agg.kind == "last" else 0 for agg in aggs]


def merge(aggs: Sequence[Agg], left: list[PaneValue], right: Sequence[PaneValue]) -> list[PaneValue]:
    """Both states together. ``None`` is neutral for ``last`` and *unknown* for multisets."""
    return [_merge_one(agg, a, b) for agg, a, b in zip(aggs, left, right, strict=True)]


def _merge_one(agg: Agg, a: PaneValue, b: PaneValue) -> PaneValue:
    if agg.kind == "last":
        return max((x for x in (a, b) if isinstance(x, int)), default=None)
    if agg.kind == "values":
        if not isinstance(a, dict) or not isinstance(b, dict):
            return None
        return _merge_multisets(a, b)
    return (a if isinstance(a, int) else 0) + (b if isinstance(b, int) else 0)


def _merge_multisets(a: dict[str | int | float, int], b: dict[str | int | float, int]) -> PaneValue:
    out = dict(a)
    for value, count in b.items():
        total = out.get(value, 0) + count
        if total:
            out[value] = total
        else:
            out.pop(value, None)
    return out if len(out) <= MULTISET_BOUND else None


def target_of(query: str, group: Group, partitions: int) -> int:
    """Partition of ``alerting.panes`` that judges a group."""
    return zlib.crc32("\x1f".join((query, *group)).encode()) % partitions


def shard_of(group: Group) -> int:
    """Part of a sheet that a group's state is snapshot with."""
    return zlib.crc32("\x1f".join(group).encode()) % SHARDS


Sheet = dict[Group, Pane]
SheetKey = tuple[str, int]
ShardKey = tuple[str, int, int]


class Panes:
    """All panes of a source partition, with what changed since they were last sent or kept."""

    def __init__(self, judges: int) -> None:
        self._judges = judges
        self._sheets: dict[SheetKey, Sheet] = {}
        self.unsent: dict[SheetKey, dict[Group, None]] = {}
        self._stale: dict[ShardKey, None] = {}

    def __len__(self) -> int:
        return sum(len(sheet) for sheet in self._sheets.values())

    def change(self, query: Query, start: int, group: Group) -> Pane:
        """The pane to be changed, made if it is not there, and marked for sending and keeping."""
        sheet = self._sheets.setdefault((query.id, start), {})
        pane = sheet.get(group)
        if pane is None:
            pane = Pane(group, target_of(query.id, group, self._judges), states=initial(query.aggs))
            sheet[group] = pane
        self.unsent.setdefault((query.id, start), {})[group] = None
        self._stale[query.id, start, shard_of(group)] = None
        return pane

    def take_unsent(self) -> Iterator[tuple[SheetKey, list[Pane]]]:
        """Changed panes by query and window; they count as sent afterwards."""
        unsent, self.unsent = self.unsent, {}
        for key, groups in unsent.items():
            sheet = self._sheets.get(key)
            if sheet is not None:
                yield key, [self._sent(key, sheet[group]) for group in groups if group in sheet]

    def _sent(self, key: SheetKey, pane: Pane) -> Pane:
        if len(pane.evidence) > EVIDENCE:
            pane.evidence = pane.evidence[:EVIDENCE]
            self._stale[*key, shard_of(pane.group)] = None
        return pane

    def keep_queries(self, queries: Iterable[str]) -> None:
        """Forget panes of queries that no rule asks any more."""
        kept = set(queries)
        self._drop([key for key in self._sheets if key[0] not in kept])

    def expire(self, before: int) -> None:
        """Forget windows that start before ``before`` (panes without window stay)."""
        self._drop([key for key in self._sheets if 0 < key[1] < before])

    def _drop(self, keys: list[SheetKey]) -> None:
        for key in keys:
            del self._sheets[key]
            self.unsent.pop(key, None)
        gone = set(keys)
        self._stale = {shard: None for shard in self._stale if shard[:2] not in gone}

    # --- snapshot ---

    def shards(self) -> Iterator[ShardKey]:
        """Every shard that holds something."""
        for (query, start), sheet in self._sheets.items():
            for shard in sorted({shard_of(group) for group in sheet}):
                yield query, start, shard

    def take_stale(self) -> list[ShardKey]:
        """Shards changed since the last call."""
        stale, self._stale = list(self._stale), {}
        return stale

    def encode_shard(self, key: ShardKey) -> list[bytes]:
        """A shard's panes as blocks of bounded size."""
        query, start, shard = key
        panes = [p for p in self._sheets[query, start].values() if shard_of(p.group) == shard]
        return list(_blocks(query, start, panes))

    def load_block(self, block: bytes) -> None:
        """Put back a block from `encode_shard`."""
        query, start, states = _BLOCK.decode(block)
        sheet = self._sheets.setdefault((query, start), {})
        for state in states:
            sheet[state.group] = Pane(
                state.group, target_of(query, state.group, self._judges), state.rows, list(state.states),
                list(state.evidence), list(state.corrections), state.position, state.quiet,
            )  # fmt: skip


_BLOCK: msgspec.msgpack.Decoder[tuple[str, int, list[PaneState]]] = msgspec.msgpack.Decoder(
    tuple[str, int, list[PaneState]]
)
_ENCODER = msgspec.msgpack.Encoder()


def _blocks(query: str, start: int, panes: list[Pane]) -> Iterator[bytes]:
    data = _ENCODER.encode((query, start, [state_of(pane) for pane in panes]))
    if len(data) <= MAX_BLOCK_BYTES or len(panes) <= 1:
        yield data
        return
    half = len(panes) // 2
    yield from _blocks(query, start, panes[:half])
    yield from _blocks(query, start, panes[half:])


def state_of(pane: Pane) -> PaneState:
    """A pane as it travels."""
    return PaneState(
        pane.group, pane.rows, pane.states, pane.evidence, pane.position, pane.corrections, pane.quiet
    )
