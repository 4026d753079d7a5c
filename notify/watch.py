"""How the notifier fares, for those who look from outside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Protocol

from notify.outage import Outage, pause
from schemas.errors import StoreAway
from store.desk import AttemptOutcome, Desk, OutboxSummary

LOOK_SECONDS = 5.0
OVERDUE_SECONDS = 60.0
"""An outbox whose oldest push is older is a thing somebody must look at."""


class Measures(Protocol):
    """Where numbers go. Calls are cheap and never raise."""

    def attempted(self, kind: str, outcome: AttemptOutcome) -> None:
        """An attempt over a kind of channel has ended."""

    def outbox(self, summary: OutboxSummary) -> None:
        """The outbox was looked at."""


class NoMeasures:
    """Measures that go nowhere."""

    def attempted(self, kind: str, outcome: AttemptOutcome) -> None:
        """Drop it."""

    def outbox(self, summary: OutboxSummary) -> None:
        """Drop it."""


class Fitness:
    """The outbox as it was last seen. Safe to ask from another thread.

    ``now`` gives ms since the Unix epoch.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._oldest: int | None = None
        self._open = 0
        self._away = ""

    def saw(self, summary: OutboxSummary) -> None:
        """The outbox answered."""
        with self._lock:
            self._oldest, self._open = summary.oldest_open, summary.waiting + summary.leased
            self._away = ""

    def missed(self, error: StoreAway) -> None:
        """The outbox did not answer."""
        with self._lock:
            self._away = str(error)

    def age(self) -> float:
        """Age of the oldest open push in seconds; 0: none."""
        with self._lock:
            return 0.0 if self._oldest is None else max(0.0, (self._now() - self._oldest) / 1000)

    def ailment(self) -> str:
        """What is wrong, in a sentence; empty: nothing."""
        age = self.age()
        with self._lock:
            if self._away:
                return self._away
            if age > OVERDUE_SECONDS:
                return f"{self._open} pushes are open, the oldest for {age:.0f} s"
            return ""


async def watch(desk: Desk, fitness: Fitness, measures: Measures, stop: asyncio.Event) -> None:
    """Look at the outbox every few seconds until ``stop``."""
    store = Outage("PostgreSQL (outbox)")
    while not stop.is_set():
        try:
            summary = await asyncio.to_thread(desk.summary)
        except StoreAway as error:
            store.begins(error)
            fitness.missed(error)
        else:
            store.ended()
            fitness.saw(summary)
            measures.outbox(summary)
        await pause(stop, LOOK_SECONDS)
