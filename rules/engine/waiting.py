"""Transitions that wait until every judge has come as far: then they are taken in the order of their time.

So whether a child's alert is held by a parent does not depend on which judge was faster. A wait is
bounded: after `PATIENCE` of the log's own stamps a transition goes on with what is known; but not where
the clock is in the data, for what comes out there must not depend on speed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby

import msgspec

from rules.engine.intake import NEVER
from schemas.wire import Judged, Transition

PATIENCE = 30_000
"""Longest wait, ms between the stamps of the log's records."""


class Waiting(msgspec.Struct, array_like=True):
    """One transition that waits."""

    due: int
    stamp: int
    step: Transition


class Waitlist:
    """Those that wait, and how far each judge has come."""

    def __init__(self, judges: int) -> None:
        self._judges = judges
        self._clocks: dict[int, int] = {}
        self._waiting: list[Waiting] = []
        self._alerts: dict[str, int] = {}
        self._stamp = 0

    @property
    def clock(self) -> int:
        """Business time up to which every judge has told everything, ms."""
        return min((self._clocks.get(judge, NEVER) for judge in range(self._judges)), default=NEVER)

    def heard(self, judged: Judged) -> None:
        """A judge has come further."""
        self._clocks[judged.judge] = max(self._clocks.get(judged.judge, NEVER), judged.clock)

    def stamped(self, stamp: int) -> None:
        """The log has come to a record of this stamp, ms of real time."""
        self._stamp = max(self._stamp, stamp)

    def holds(self, alert: str) -> bool:
        """Does an earlier step of the alert wait? Then the next one has to wait behind it."""
        return alert in self._alerts

    def add(self, step: Transition, stamp: int) -> None:
        """Let a transition wait."""
        due = max(step.due, self._alerts.get(step.alert, NEVER))
        self._alerts[step.alert] = due
        self._waiting.append(Waiting(due, stamp, step))

    def release(self, *, hurry: bool) -> Iterator[list[Transition]]:
        """Those that need not wait any more, by the instant they were due at; no alert twice at once.

        ``hurry``: people wait, so that `PATIENCE` bounds a wait.
        """
        clock = self.clock
        ready = [w for w in self._waiting if w.due <= clock or (hurry and self._stamp - w.stamp >= PATIENCE)]
        if not ready:
            return
        freed = {id(one) for one in ready}
        self._waiting = [one for one in self._waiting if id(one) not in freed]
        self._alerts = {}
        for one in self._waiting:
            self._alerts[one.step.alert] = one.due
        ready.sort(key=lambda one: (one.due, one.step.alert, one.step.ordinal))
        for _, instant in groupby(ready, key=lambda one: one.due):
            yield from _turns(list(instant))

    def entries(self) -> tuple[dict[int, int], int, list[Waiting]]:
        """For a snapshot: clocks, stamp, those that wait."""
        return self._clocks, self._stamp, self._waiting

    def load(self, clocks: dict[int, int], stamp: int, waiting: list[Waiting]) -> None:
        """Put back what a snapshot had."""
        self._clocks, self._stamp, self._waiting = clocks, stamp, waiting
        for one in waiting:
            self._alerts[one.step.alert] = one.due


def _turns(instant: list[Waiting]) -> Iterator[list[Transition]]:
    """What was due at one instant, so that an alert's second step is in the second turn."""
    turns: list[list[Transition]] = []
    seen: Counter[str] = Counter()
    for one in instant:
        number = seen[one.step.alert]
        seen[one.step.alert] += 1
        if number == len(turns):
            turns.append([])
        turns[number].append(one.step)
    yield from turns
