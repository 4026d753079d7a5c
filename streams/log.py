"""The log's edge for programs that are no agents: write records, read partitions in order.

`Writer` and `Reader` are implemented on Kafka (`streams.producer`, `streams.consumer`) and in memory
(`MemoryLog`); one contract suite runs on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from schemas.errors import LogLost
from schemas.topics import partition_of
from schemas.wire import Headers, LogBatch

Partition = tuple[str, int]
"""A topic and a partition's number."""

Acknowledged = Callable[[int, int], None]
"""Called with partition and offset when the broker has a record."""


@dataclass(frozen=True, slots=True)
class TopicBatch:
    """Consecutive records of one partition of a topic."""

    topic: str
    batch: LogBatch


class Writer(Protocol):
    """Appends records. Records of one partition keep the order of the calls."""

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        partition: int | None = None,
        headers: Headers = (),
        acknowledged: Acknowledged | None = None,
    ) -> None:
        """Hand a record over; without ``partition`` its key decides (`schemas.topics.partition_of`).

        Waits while the bound of unacknowledged bytes is reached.
        """

    def flush(self) -> None:
        """Wait until everything sent is acknowledged.

        Raises:
            LogError: a record was refused, or not acknowledged in time (`BrokerAway`).
        """


class Reader(Protocol):
    """Reads given partitions from given offsets, in order within each partition."""

    def poll(self, limit: int, timeout: float) -> list[TopicBatch]:
        """At most ``limit`` records, waiting up to ``timeout`` seconds for the first.

        Raises:
            LogLost: the next record of a partition is gone.
            BrokerAway: the broker does not answer; polling again goes on where it was.
        """

    def positions(self) -> Mapping[Partition, int]:
        """Offset of the next record of each partition."""

    def close(self) -> None:
        """Let go of the connection."""


@dataclass(slots=True)
class _Record:
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int


@dataclass(slots=True)
class MemoryLog:
    """A log in memory, with a fixed number of partitions for each topic. `Writer` and its readers."""

    topics: Mapping[str, int]
    now: int = 0
    """Time stamp of the next records, ms."""
    _records: dict[Partition, list[_Record]] = field(default_factory=dict)
    _starts: dict[Partition, int] = field(default_factory=dict)

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        partition: int | None = None,
        headers: Headers = (),
        acknowledged: Acknowledged | None = None,
    ) -> None:
        """See `Writer.send`."""
        count = self.topics[topic]
        number = partition_of((key or b"").decode(), count) if partition is None else partition
        records = self._records.setdefault((topic, number), [])
        records.append(_Record(key, value, tuple(headers), self.now))
        if acknowledged is not None:
            acknowledged(number, len(records) - 1)

    def flush(self) -> None:
        """See `Writer.flush`: nothing is ever on its way."""

    def forget(self, topic: str, partition: int, before: int) -> None:
        """Delete the records below an offset, as retention does."""
        self._starts[topic, partition] = before

    def reader(self, positions: Mapping[Partition, int]) -> MemoryReader:
        """A reader of this log."""
        return MemoryReader(self, dict(positions))

    def read(self, at: Partition, start: int, limit: int) -> LogBatch:
        """Records of one partition from an offset on.

        Raises:
            LogLost: ``start`` was deleted.
        """
        if start < self._starts.get(at, 0):
            raise lost(at, start)
        found = self._records.get(at, [])[start : start + limit]
        return LogBatch(
            at[1],
            list(range(start, start + len(found))),
            [record.key for record in found],
            [record.value for record in found],
            [record.headers for record in found],
            [record.timestamp for record in found],
        )


@dataclass(slots=True)
class MemoryReader:
    """`Reader` of a `MemoryLog`. Never waits."""

    log: MemoryLog
    _positions: dict[Partition, int]

    def poll(self, limit: int, timeout: float) -> list[TopicBatch]:  # noqa: ARG002 - nothing to wait for
        """See `Reader.poll`."""
        batches: list[TopicBatch] = []
        for at, position in self._positions.items():
            batch = self.log.read(at, position, limit)
            if batch.offsets:
                limit -= len(batch)
                self._positions[at] = batch.offsets[-1] + 1
                batches.append(TopicBatch(at[0], batch))
        return batches

    def positions(self) -> Mapping[Partition, int]:
        """See `Reader.positions`."""
        return dict(self._positions)

    def close(self) -> None:
        """See `Reader.close`."""


def lost(at: Partition, position: int) -> LogLost:
    """The error for a record that is gone."""
    return LogLost(f"{at[0]}[{at[1]}]: the log no longer holds position {position}")


def grouped(
    rows: Iterable[tuple[Partition, int, bytes | None, bytes | None, Headers, int]],
) -> list[TopicBatch]:
    """Batches of single records: (partition, offset, key, value, headers, time stamp)."""
    batches: dict[Partition, LogBatch] = {}
    for at, offset, key, value, headers, timestamp in rows:
        batch = batches.get(at)
        if batch is None:
            batch = batches[at] = LogBatch(at[1], [], [], [], [], [])
        batch.offsets.append(offset)
        batch.keys.append(key)
        batch.values.append(value)
        batch.headers.append(headers)
        batch.timestamps.append(timestamp)
    return [TopicBatch(at[0], batch) for at, batch in batches.items()]
