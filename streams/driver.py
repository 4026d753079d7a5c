"""Driving one core on one partition: contiguous batches in, outputs and snapshots out.

`PartitionDriver` knows neither Faust nor Kafka; its edges are `Input`, `Sender` and `Snapshots`.
What makes results exact is here and in the core's determinism, nowhere else:

* a batch is applied only if the log holds nothing between the core's position and the batch
  (otherwise: seek back), so it does not matter when Faust seeks, resumes or drops;
* a snapshot is one commit record behind acknowledged blocks and acknowledged outputs;
* outputs repeat identically, so a repeat after a crash, or from a frozen process, changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from schemas.errors import LogError, LogLost
from schemas.wire import Core, LogBatch, OutRecord, Snapshot
from streams.metrics import Count, Gauge, Metrics
from streams.outbox import Outbox, Sender, size_of
from streams.snapshots import SnapshotIndex, SnapshotWriter, oversized
from streams.transport import Fetched

log = logging.getLogger(__name__)

MAX_STRIKES = 3
"""Fetches in a row that lie wholly behind the position although it was sought, before giving up."""


class Input(Protocol):
    """The log that is read, as seen from one agent: partitions by number."""

    async def seek(self, partition: int, offset: int) -> None:
        """Continue fetching at ``offset``. What was fetched before may still arrive."""

    async def log_start(self, partition: int) -> int:
        """Offset of the oldest record that still exists."""

    async def commit(self, partition: int, offset: int) -> str:
        """Tell the group how far the partition is done; the refusal's text, or empty."""


class Snapshots(Protocol):
    """Where snapshots are read from at take-over."""

    async def read(self, partition: int) -> SnapshotIndex:
        """Everything the snapshot topic's partition holds now."""


@dataclass(frozen=True, slots=True)
class DriverOptions:
    """Bounds and intervals of a driver."""

    flush_interval: float = 0.2
    """Seconds between flushes under load; a batch that reached the log's end is flushed at once."""
    snapshot_interval: float = 30.0
    """Seconds between snapshots."""
    snapshot_bytes: int = 64 * 1024 * 1024
    """Output bytes after which a snapshot is due earlier: bounds what a successor repeats."""
    max_records: int = 16384
    """Records applied before the event loop runs again."""
    max_bytes: int = 4 * 1024 * 1024
    """Value bytes applied before the event loop runs again."""
    in_flight_bytes: int = 8 * 1024 * 1024
    """Output bytes of a partition that may be unacknowledged."""


@dataclass(frozen=True, slots=True)
class AgentShape:
    """One kind of agent: what it reads, where its snapshots lie, how a core is made."""

    name: str
    source: str
    snapshots: str
    make: Callable[[int], Core]


class PartitionDriver:
    """One core on one partition, from take-over to loss. A new one for each assignment."""

    def __init__(
        self,
        shape: AgentShape,
        partition: int,
        *,
        source: Input,
        sender: Sender,
        snapshots: Snapshots,
        options: DriverOptions,
        metrics: Metrics,
    ) -> None:
        self.shape = shape
        self.partition = partition
        self._input = source
        self._snapshots = snapshots
        self._options = options
        self._metrics = metrics
        self._core = shape.make(partition)
        self._outbox = Outbox(sender, options.in_flight_bytes)
        self._writer = SnapshotWriter(uuid.uuid4().hex, [])
        self._sending = asyncio.Lock()
        self._snapshotting = asyncio.Lock()
        self._dirty = False
        self._next = 0
        self._strikes = 0
        self._flushed_at = 0.0
        self._snapshot_at = time.monotonic()
        self._snapshot_total = 0
        self._snapshot_position = -1
        self.ready = False
        self.closed = False

    @property
    def position(self) -> int:
        """Offset of the next record the core takes."""
        return self._core.position

    # --- take-over -----------------------------------------------------------------------------

    async def restore(self) -> None:
        """Become the newest whole snapshot, or the beginning of the log."""
        index = await self._snapshots.read(self.partition)
        stored = index.newest()
        self._writer = SnapshotWriter(uuid.uuid4().hex, index.keys())
        if stored is not None:
            self._core.restore(stored.commit.position, stored.blocks)
        self._next = self._core.position
        self._snapshot_position = self._next if stored is not None else -1
        self._snapshot_at = time.monotonic() - random.uniform(0, 0.5) * self._options.snapshot_interval
        self._metrics.count(Count.RESTORES, self.shape.name, self.partition)
        log.info(
            "%s[%d] starts at %d (%s)",
            self.shape.name,
            self.partition,
            self._next,
            "beginning" if stored is None else f"snapshot {stored.commit.instance}/{stored.commit.sequence}",
        )

    async def begin(self) -> None:
        """Seek to the core's position and accept batches from now on."""
        await self._input.seek(self.partition, self._next)
        self._metrics.gauge(Gauge.POSITION, self.shape.name, self.partition, self._next)
        self.ready = True

    # --- batches -------------------------------------------------------------------------------

    async def take(self, fetched: Fetched) -> None:
        """Apply what lies at the position; seek back if the log holds more before it.

        Raises:
            LogLost: the log no longer holds the next record.
            LogError: the log ends before the position, or an output was refused.
        """
        if not self.ready or self.closed:
            return
        if fetched.start > self._next:
            await self._rewind(fetched)
            return
        if fetched.end <= self._next:
            await self._behind(fetched)
            return
        self._strikes = 0
        if not await self._apply(fetched.batch):
            return
        self._next = fetched.end
        self._metrics.count(Count.BATCHES, self.shape.name, self.partition)
        backlog = max(0, fetched.highwater - fetched.end)
        self._metrics.gauge(Gauge.POSITION, self.shape.name, self.partition, self._next)
        self._metrics.gauge(Gauge.BACKLOG, self.shape.name, self.partition, backlog)
        if not backlog:
            await self.flush()

    async def _rewind(self, fetched: Fetched) -> None:
        oldest = await self._input.log_start(self.partition)
        if self._next < oldest:
            raise LogLost(
                f"{self.shape.source}[{self.partition}]: records {self._next} to {oldest - 1} are gone from "
                f"the log before {self.shape.name} processed them; restore the log from the archive or "
                "raise the topic's retention"
            )
        log.debug(
            "%s[%d] fetch at %d, back to %d", self.shape.name, self.partition, fetched.start, self._next
        )
        self._metrics.count(Count.REWINDS, self.shape.name, self.partition)
        await self._input.seek(self.partition, self._next)

    async def _behind(self, fetched: Fetched) -> None:
        """All of it was applied before: Faust sought to the committed offset, or the log is shorter.

        A fetch past the log's end starts at its beginning again (auto_offset_reset), so a log that
        lost its end would be skipped silently; that it happens again and again tells.
        """
        self._strikes += 1
        if self._strikes > MAX_STRIKES:
            raise LogError(
                f"{self.shape.source}[{self.partition}] does not reach position {self._next}, to which "
                f"{self.shape.name} has a snapshot (the log gives {fetched.start} to {fetched.end - 1}): "
                "log and snapshots do not belong together"
            )
        await self._input.seek(self.partition, self._next)

    async def _apply(self, batch: LogBatch) -> bool:
        """Apply a batch in parts; False if the partition was given up meanwhile."""
        for part in split(batch, self._options.max_records, self._options.max_bytes):
            if self.closed:
                return False
            self._core.apply(part)
            self._dirty = True
            self._metrics.count(Count.RECORDS, self.shape.name, self.partition, len(part))
            if time.monotonic() - self._flushed_at >= self._options.flush_interval:
                await self.flush()
            await asyncio.sleep(0)
        return not self.closed

    async def flush(self) -> None:
        """Send what became due since the last flush, in order."""
        if not self.ready or self.closed or not self._dirty:
            return
        async with self._sending:
            self._dirty = False
            self._flushed_at = time.monotonic()
            await self._send(self._core.flush())

    async def _send(self, records: list[OutRecord]) -> None:
        if not records:
            return
        await self._outbox.send(records)
        self._metrics.count(Count.OUTPUTS, self.shape.name, self.partition, len(records))
        size = sum(size_of(record) for record in records)
        self._metrics.count(Count.OUTPUT_BYTES, self.shape.name, self.partition, size)
        self._metrics.gauge(Gauge.BYTES_IN_FLIGHT, self.shape.name, self.partition, self._outbox.in_flight)

    # --- snapshots -----------------------------------------------------------------------------

    def snapshot_due(self, now: float) -> bool:
        """Whether time or the amount of output since the last snapshot calls for one."""
        if not self.ready or self.closed or self._core.position == self._snapshot_position:
            return False
        if self._outbox.total_bytes - self._snapshot_total >= self._options.snapshot_bytes:
            return True
        return now - self._snapshot_at >= self._options.snapshot_interval

    async def snapshot(self) -> None:
        """Write a snapshot: outputs, blocks, all acknowledged, then the record that makes it exist.

        The core's outputs are taken in the same step as its state: a position must never be
        committed whose outputs are not acknowledged. Batches go on meanwhile.
        """
        async with self._snapshotting:
            if not self.ready or self._core.position == self._snapshot_position:
                return
            async with self._sending:
                outputs = self._core.flush()
                state = self._core.snapshot(complete=self._writer.complete)
                await self._send(outputs)
            self._snapshot_at = time.monotonic()
            self._snapshot_total = self._outbox.total_bytes
            await self._write(state)
            self._snapshot_position = state.position

    async def _write(self, state: Snapshot) -> None:
        large = oversized(state)
        if large:
            raise LogError(f"{self.shape.name} made snapshot blocks that are too large: {', '.join(large)}")
        await self._outbox.send(self._record(key, value) for key, value in self._writer.blocks(state))
        await self._outbox.drain()
        key, value = self._writer.commit(state)
        await self._outbox.send([self._record(key, value)])
        await self._outbox.drain()
        refused = await self._input.commit(self.partition, state.position)
        if refused:
            log.warning("%s[%d] position not committed: %s", self.shape.name, self.partition, refused)
        await self._outbox.send(self._record(key, None) for key in self._writer.committed())
        written = sum(map(len, state.blocks.values()))
        self._metrics.count(Count.SNAPSHOTS, self.shape.name, self.partition)
        self._metrics.count(Count.SNAPSHOT_BYTES, self.shape.name, self.partition, written)
        self._metrics.gauge(Gauge.SNAPSHOT_TIME, self.shape.name, self.partition, time.time())

    def _record(self, key: bytes, value: bytes | None) -> OutRecord:
        return OutRecord(self.shape.snapshots, self.partition, key, value)

    async def close(self, timeout: float) -> None:
        """Take no more batches; a last snapshot if there is time for it. Never called twice."""
        if self.closed:
            return
        self.closed = True
        if not self.ready:
            return
        try:
            async with asyncio.timeout(timeout):
                await self.snapshot()
                await self._outbox.drain()
        except TimeoutError:
            self._metrics.count(Count.SNAPSHOTS_TORN, self.shape.name, self.partition)
            log.warning("%s[%d] left without a last snapshot: no time", self.shape.name, self.partition)


def split(batch: LogBatch, max_records: int, max_bytes: int) -> list[LogBatch]:
    """Cut a batch into parts of at most so many records and value bytes (at least one record each)."""
    sizes = [len(value) if value is not None else 0 for value in batch.values]
    if len(batch) <= max_records and sum(sizes) <= max_bytes:
        return [batch] if len(batch) else []
    parts: list[LogBatch] = []
    start = filled = 0
    for index, size in enumerate(sizes):
        if index > start and (index - start >= max_records or filled + size > max_bytes):
            parts.append(_cut(batch, start, index))
            start, filled = index, 0
        filled += size
    parts.append(_cut(batch, start, len(batch)))
    return parts


def _cut(batch: LogBatch, start: int, end: int) -> LogBatch:
    return LogBatch(
        batch.partition,
        batch.offsets[start:end],
        batch.keys[start:end],
        batch.values[start:end],
        batch.headers[start:end],
        batch.timestamps[start:end],
    )
