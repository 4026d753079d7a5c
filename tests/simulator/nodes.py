"""One agent on one partition, from take-over to its end, one log record at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from schemas.topics import (
    CORRELATE_SNAPSHOTS,
    COUNT_SNAPSHOTS,
    EVENTS,
    JUDGE_SNAPSHOTS,
    PANES,
    TRANSITIONS,
)
from schemas.wire import Core, OutRecord
from streams.snapshots import SnapshotIndex, SnapshotWriter
from tests.simulator.logs import Logs

SOURCES = {"count": EVENTS, "judge": PANES, "correlate": TRANSITIONS}
SNAPSHOTS = {"count": COUNT_SNAPSHOTS, "judge": JUDGE_SNAPSHOTS, "correlate": CORRELATE_SNAPSHOTS}


@dataclass(frozen=True, slots=True)
class Faults:
    """Deliberate faults, which the invariants must find."""

    acknowledge_early: bool = False
    """The input is acknowledged when a snapshot begins, not when its commit record stands."""
    wrap: Callable[[str, Core], Core] | None = None
    """Put a broken core in the place of the right one."""


@dataclass(slots=True)
class Node:
    """Reads its partition into its core and sends what comes out, record by record."""

    agent: str
    partition: int
    instance: str
    core: Core
    logs: Logs
    acknowledged: dict[tuple[str, int], int]
    faults: Faults
    writer: SnapshotWriter = field(init=False)
    outgoing: deque[tuple[OutRecord, bool]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        index = SnapshotIndex()
        for entry in self.logs.entries(SNAPSHOTS[self.agent], self.partition):
            index.add(entry.key, entry.value)
        stored = index.newest()
        if stored is not None:
            self.core.restore(stored.commit.position, stored.blocks)
        self.writer = SnapshotWriter(self.instance, index.keys())

    @property
    def position(self) -> int:
        """Where it reads next; a faulty node believes what was acknowledged."""
        if self.faults.acknowledge_early:
            return max(self.core.position, self.acknowledged.get((self.agent, self.partition), 0))
        return self.core.position

    @property
    def behind(self) -> int:
        """Records it has not read yet."""
        return len(self.logs.entries(SOURCES[self.agent], self.partition)) - self.position

    def read(self, count: int) -> None:
        """Take up to ``count`` records and queue what comes out."""
        batch = self.logs.read(SOURCES[self.agent], self.partition, self.position, count)
        if len(batch):
            self.core.apply(batch)
        self._queue(self.core.flush())

    def send(self, count: int) -> None:
        """Append up to ``count`` queued records to the logs."""
        for _ in range(min(count, len(self.outgoing))):
            record, commits = self.outgoing.popleft()
            self.logs.append(record)
            if commits:
                for key in self.writer.committed():
                    self.outgoing.append((self._snapshot_record(key, None), False))

    def snapshot(self) -> None:
        """Queue a snapshot: outputs, blocks, commit record."""
        if any(commits for _, commits in self.outgoing):
            return
        self._queue(self.core.flush())
        state = self.core.snapshot(complete=self.writer.complete)
        if self.faults.acknowledge_early:
            self.acknowledged[self.agent, self.partition] = state.position
        for key, value in self.writer.blocks(state):
            self.outgoing.append((self._snapshot_record(key, value), False))
        key, value = self.writer.commit(state)
        self.outgoing.append((self._snapshot_record(key, value), True))

    def _snapshot_record(self, key: bytes, value: bytes | None) -> OutRecord:
        return OutRecord(SNAPSHOTS[self.agent], self.partition, key, value)

    def _queue(self, records: list[OutRecord]) -> None:
        self.outgoing.extend((record, False) for record in records)
