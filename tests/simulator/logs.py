"""In-memory logs, as the simulator's nodes see them."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.wire import Headers, LogBatch, OutRecord


@dataclass(frozen=True, slots=True)
class Entry:
    """A record in a log."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int


@dataclass(slots=True)
class Logs:
    """All partitions of all topics."""

    partitions: dict[tuple[str, int], list[Entry]] = field(default_factory=dict)

    def append(self, record: OutRecord, timestamp: int = 0) -> int:
        """Add a record; its offset."""
        log = self.partitions.setdefault((record.topic, record.partition), [])
        log.append(Entry(record.key, record.value, record.headers, timestamp))
        return len(log) - 1

    def read(self, topic: str, partition: int, start: int, count: int) -> LogBatch:
        """Up to ``count`` records from ``start`` on."""
        found = self.entries(topic, partition)[start : start + count]
        return LogBatch(
            partition,
            list(range(start, start + len(found))),
            [entry.key for entry in found],
            [entry.value for entry in found],
            [entry.headers for entry in found],
            [entry.timestamp for entry in found],
        )

    def entries(self, topic: str, partition: int) -> list[Entry]:
        """A partition's records."""
        return self.partitions.get((topic, partition), [])

    def all(self, topic: str) -> list[Entry]:
        """Records of all partitions of a topic."""
        return [entry for (name, _), log in sorted(self.partitions.items()) if name == topic for entry in log]
