"""Snapshots in a compacted topic: which keys they have, and which one is the newest that is whole.

A block is a record ``{instance}/{block}``; a snapshot is its commit record
``{instance}/commit/{sequence}``, which names its blocks and their checksums. A commit with a block
missing or changed does not exist. The highest position wins, never the last record: compaction and
frozen processes reorder.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from schemas.topics import MAX_BLOCK_BYTES
from schemas.wire import CommitRecord, Snapshot

COMMIT = "commit"

_decode_commit = msgspec.json.Decoder(CommitRecord).decode


def block_key(instance: str, block: str) -> bytes:
    """Key of a block's record."""
    return f"{instance}/{block}".encode()


def commit_key(instance: str, sequence: int) -> bytes:
    """Key of a commit record."""
    return f"{instance}/{COMMIT}/{sequence}".encode()


def oversized(snapshot: Snapshot) -> list[str]:
    """Names of the blocks that are larger than a record of the snapshot topic should be."""
    return [name for name, value in snapshot.blocks.items() if len(value) > MAX_BLOCK_BYTES]


@dataclass(frozen=True, slots=True)
class Stored:
    """A whole snapshot as it is found in the topic."""

    commit: CommitRecord
    blocks: dict[str, bytes]


@dataclass(slots=True)
class SnapshotIndex:
    """The present content of one partition of a snapshot topic, built by reading it in order."""

    _blocks: dict[tuple[str, str], bytes] = field(default_factory=dict)
    _commits: dict[tuple[str, int], CommitRecord] = field(default_factory=dict)
    _keys: dict[bytes, None] = field(default_factory=dict)

    def add(self, key: bytes | None, value: bytes | None) -> None:
        """Take the next record. Keys of another shape, and broken commits, count for nothing."""
        if key is None:
            return
        if value is None:
            self._remove(key)
            return
        instance, _, name = key.decode(errors="replace").partition("/")
        self._keys[key] = None
        sequence = _sequence(name)
        if sequence is None:
            self._blocks[instance, name] = value
            return
        try:
            self._commits[instance, sequence] = _decode_commit(value)
        except msgspec.MsgspecError:
            self._commits.pop((instance, sequence), None)

    def _remove(self, key: bytes) -> None:
        instance, _, name = key.decode(errors="replace").partition("/")
        self._keys.pop(key, None)
        sequence = _sequence(name)
        if sequence is None:
            self._blocks.pop((instance, name), None)
        else:
            self._commits.pop((instance, sequence), None)

    def newest(self) -> Stored | None:
        """The whole snapshot of the highest position."""
        commits = sorted(self._commits.values(), key=lambda c: (c.position, c.sequence), reverse=True)
        for commit in commits:
            blocks = self._whole(commit)
            if blocks is not None:
                return Stored(commit, blocks)
        return None

    def conclusive(self) -> bool:
        """Whether the commit of the highest position is whole: older records cannot change `newest`."""
        newest = self.newest()
        highest = max((commit.position for commit in self._commits.values()), default=-1)
        return newest is not None and newest.commit.position == highest

    def _whole(self, commit: CommitRecord) -> dict[str, bytes] | None:
        blocks: dict[str, bytes] = {}
        for name, crc in commit.blocks.items():
            value = self._blocks.get((commit.instance, name))
            if value is None or zlib.crc32(value) != crc:
                return None
            blocks[name] = value
        return blocks

    def keys(self) -> list[bytes]:
        """Keys of all records that have a value: what a successor may remove once it has its own."""
        return list(self._keys)


def _sequence(name: str) -> int | None:
    head, _, tail = name.partition("/")
    return int(tail) if head == COMMIT and tail.isdigit() else None


@dataclass(slots=True)
class SnapshotWriter:
    """Names the records of one instance's snapshots, and what they make superfluous.

    ``inherited`` are the keys found at take-over. They go once the first own snapshot stands:
    whatever is written there later belongs to a process that has lost the partition.
    """

    instance: str
    inherited: list[bytes]
    sequence: int = 0
    _live: dict[str, int] = field(default_factory=dict)
    _dead: list[bytes] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether the next snapshot must hold every block (the first one of an instance)."""
        return self.sequence == 0

    def blocks(self, snapshot: Snapshot) -> Iterable[tuple[bytes, bytes]]:
        """Records of the blocks that changed."""
        for name, value in snapshot.blocks.items():
            yield block_key(self.instance, name), value

    def commit(self, snapshot: Snapshot) -> tuple[bytes, bytes]:
        """The record that makes the snapshot exist, once everything before it is acknowledged."""
        checksums = {name: zlib.crc32(value) for name, value in snapshot.blocks.items()}
        live = {name: checksums.get(name, self._live.get(name)) for name in snapshot.live}
        missing = [name for name, crc in live.items() if crc is None]
        if missing:
            raise ValueError(f"snapshot names blocks that were never written: {', '.join(missing)}")
        known = {name: crc for name, crc in live.items() if crc is not None}
        record = CommitRecord(self.instance, self.sequence, snapshot.position, known)
        gone = (self._live.keys() | checksums.keys()) - known.keys()
        self._dead.extend(block_key(self.instance, name) for name in sorted(gone))
        self._live = known
        return commit_key(self.instance, self.sequence), msgspec.json.encode(record)

    def committed(self) -> list[bytes]:
        """The commit record is acknowledged: keys whose records are superfluous now."""
        dead, self._dead = self._dead, []
        if self.sequence == 0:
            dead = self.inherited + dead
            self.inherited = []
        else:
            dead.append(commit_key(self.instance, self.sequence - 1))
        self.sequence += 1
        return dead
