"""What notifier and archiver tell about themselves, as metrics and as an answer to ``/healthz``."""

from __future__ import annotations

from notify.watch import Fitness
from store.archive import Written
from store.desk import AttemptOutcome, OutboxSummary
from streams.archiver import Archiver
from trucban.metrics import (
    ARCHIVED_ROWS,
    INSERT_AGE,
    INSERT_SECONDS,
    OUTBOX_AGE,
    OUTBOX_ROWS,
    PUSHES,
    Meter,
)

BEHIND_SECONDS = 30.0
"""An archiver that stands still for longer is a thing somebody must look at."""


class NotifierMeter:
    """Satisfies `notify.watch.Measures`."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def attempted(self, kind: str, outcome: AttemptOutcome) -> None:
        """Count it."""
        self._meter.add(PUSHES, 1, kind, outcome)

    def outbox(self, summary: OutboxSummary) -> None:
        """Rows by state."""
        for state in ("waiting", "leased", "delivered", "failed"):
            self._meter.set(OUTBOX_ROWS, getattr(summary, state), state)

    def follow(self, fitness: Fitness) -> None:
        """Ask it at each scrape."""
        self._meter.follow(OUTBOX_AGE, fitness.age)
        self._meter.ailment = fitness.ailment


class ArchiverMeter:
    """What the archiver writes, and for how long it has written nothing."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def wrote(self, written: Written, seconds: float) -> None:
        """Count a batch."""
        for table, rows in written.rows.items():
            self._meter.add(ARCHIVED_ROWS, rows, table)
        self._meter.add(INSERT_SECONDS, seconds)

    def follow(self, archiver: Archiver) -> None:
        """Ask it at each scrape."""
        self._meter.follow(INSERT_AGE, archiver.age)

        def ailment() -> str:
            age = archiver.age()
            still = f"nothing was archived for {age:.0f} s: ClickHouse or the broker does not answer"
            return still if age > BEHIND_SECONDS else ""

        self._meter.ailment = ailment
