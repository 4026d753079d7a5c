"""The archive's edge: what the archiver asks of it, whatever keeps the rows.

An archive takes slices of the log in any order and any number of times. What it shows holds each
thing once: events by (source, id), of which the first copy counts; transitions and alert states by
identity; aggregates at their newest version; deliveries by (id, attempt). Its own positions say from
where to read on after a crash; they are stored after the rows, so a crash repeats and never skips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from schemas.topics import ACCEPTED, AGGREGATES, ALERTS, DELIVERIES, REJECTED, TRANSITIONS
from schemas.wire import LogBatch

TOPICS = (ACCEPTED, REJECTED, AGGREGATES, TRANSITIONS, ALERTS, DELIVERIES)
"""What is archived."""

Place = tuple[str, int]
"""A topic and a partition."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Consecutive records of one partition of one topic."""

    topic: str
    batch: LogBatch

    @property
    def place(self) -> Place:
        """Topic and partition."""
        return self.topic, self.batch.partition

    @property
    def next(self) -> int:
        """Offset of the first record after the slice."""
        return self.batch.offsets[-1] + 1

    def halves(self) -> tuple[Slice, Slice]:
        """The slice in two parts; only for two records or more."""
        middle = len(self.batch) // 2
        return self.part(0, middle), self.part(middle, len(self.batch))

    def part(self, begin: int, end: int) -> Slice:
        """Records ``begin`` to ``end`` (exclusive), counted from the slice's first."""
        b = self.batch
        return Slice(
            self.topic,
            LogBatch(
                b.partition,
                b.offsets[begin:end],
                b.keys[begin:end],
                b.values[begin:end],
                b.headers[begin:end],
                b.timestamps[begin:end],
            ),
        )


@dataclass(frozen=True, slots=True)
class Written:
    """What one `Archive.write` did: log records stored, records that went into quarantine, rows by table."""

    records: int
    quarantined: int
    rows: Mapping[str, int] = field(default_factory=dict)


class Archive(Protocol):
    """Where the log's outputs are kept. All calls raise StoreAway while it is away."""

    def open(self, epoch: str) -> Mapping[Place, int]:
        """Make ready for a log, and say for each place from which offset on records are missing."""

    def write(self, slices: Sequence[Slice]) -> Written:
        """Store all rows of the slices, then that they are stored.

        A record that cannot be rows goes into quarantine with its reason and bytes. StoreError: the
        archive refuses for a reason that lies not in the records; nothing is marked as stored.
        """

    def close(self) -> None:
        """Let connections go."""
