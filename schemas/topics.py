"""Topics of the engine, their shape, and the one partitioner everybody uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EVENTS = "school.events"
REJECTED = "school.events.rejected"
ACCEPTED = "school.events.accepted"
PANES = "alerting.panes"
AGGREGATES = "alerting.aggregates"
TRANSITIONS = "alerting.transitions"
ALERTS = "alerting.alerts"
DELIVERIES = "alerting.deliveries"
COUNT_SNAPSHOTS = "alerting.snapshots.count"
JUDGE_SNAPSHOTS = "alerting.snapshots.judge"
CORRELATE_SNAPSHOTS = "alerting.snapshots.correlate"
META = "alerting.meta"

# Headers. Values are ASCII.
ARRIVED = "arrived"  # milliseconds since the Unix epoch, stamped by our gate or sender
KIND = "kind"  # absent for events and transitions; else a record of the engine
PULSE = b"pulse"
CONTROL = b"control"
JUDGED = b"judged"  # in alerting.transitions, beside the transitions: how far a judge has come

MAX_EVENT_BYTES = 512 * 1024
MAX_RECORD_BYTES = 8 * 1024 * 1024
MAX_BLOCK_BYTES = 512 * 1024
MAX_JUDGE_PARTITIONS = 16


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is created: its name, partitions and clean-up policy."""

    name: str
    partitions: int
    cleanup: Literal["delete", "compact"] = "delete"
    append_time: bool = False
    """The broker stamps arrival (where it can: Apache Kafka)."""


def judge_partitions(partitions: int) -> int:
    """Number of partitions of ``alerting.panes`` for ``partitions`` of ``school.events``."""
    return min(partitions, MAX_JUDGE_PARTITIONS)


def layout(partitions: int) -> list[Topic]:
    """All topics of an installation whose ``school.events`` has ``partitions`` partitions."""
    judges = judge_partitions(partitions)
    return [
        Topic(META, 1),
        Topic(EVENTS, partitions, append_time=True),
        Topic(REJECTED, partitions),
        Topic(ACCEPTED, partitions),
        Topic(PANES, judges),
        Topic(AGGREGATES, judges),
        Topic(TRANSITIONS, 1),
        Topic(ALERTS, 1),
        Topic(DELIVERIES, 1),
        Topic(COUNT_SNAPSHOTS, partitions, "compact"),
        Topic(JUDGE_SNAPSHOTS, judges, "compact"),
        Topic(CORRELATE_SNAPSHOTS, 1, "compact"),
    ]


def murmur2(data: bytes) -> int:
    """Kafka's murmur2, as the Java client's default partitioner computes it (unsigned 32 bits)."""
    length = len(data)
    mask = 0xFFFFFFFF
    m = 0x5BD1E995
    h = (0x9747B28C ^ length) & mask
    end = length & ~3
    for i in range(0, end, 4):
        k = int.from_bytes(data[i : i + 4], "little")
        k = (k * m) & mask
        k ^= k >> 24
        k = (k * m) & mask
        h = ((h * m) & mask) ^ k
    rest = length & 3
    if rest:
        if rest == 3:
            h ^= data[end + 2] << 16
        if rest >= 2:
            h ^= data[end + 1] << 8
        h ^= data[end]
        h = (h * m) & mask
    h ^= h >> 13
    h = (h * m) & mask
    return h ^ (h >> 15)


def partition_of(key: str, partitions: int) -> int:
    """Partition of a key: what Kafka's Java client and librdkafka's ``murmur2`` choose."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions
