"""What is to be looked at when a clock passes an instant: no timers, only the log's time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

from rules.engine.life import AlertKey


class Domain(NamedTuple):
    """Whose clock: that of one source partition or (-1) the slowest of all; of pulses alone or not."""

    source: int
    pulses: bool


class Agenda:
    """The next due instant of each key, by domain."""

    def __init__(self) -> None:
        self._when: dict[AlertKey, tuple[Domain, int]] = {}
        self._heaps: dict[Domain, list[tuple[int, AlertKey]]] = {}

    def set(self, key: AlertKey, domain: Domain, instant: int) -> None:
        """Look at ``key`` when the domain's clock reaches ``instant`` (ms)."""
        if self._when.get(key) != (domain, instant):
            self._when[key] = (domain, instant)
            heapq.heappush(self._heaps.setdefault(domain, []), (instant, key))

    def cancel(self, key: AlertKey) -> None:
        """Nothing more is due for ``key``."""
        self._when.pop(key, None)

    def clear(self) -> None:
        """Nothing is due."""
        self._when.clear()
        self._heaps.clear()

    def due(self, domain: Domain, clock: int) -> Iterator[AlertKey]:
        """Keys whose instant the clock has reached, in order; each is given once."""
        heap = self._heaps.get(domain)
        while heap and heap[0][0] <= clock:
            instant, key = heapq.heappop(heap)
            if self._when.get(key) == (domain, instant):
                del self._when[key]
                yield key

    def entries(self) -> list[tuple[AlertKey, int, bool, int]]:
        """For a snapshot: key, domain's source, pulses, instant."""
        return [(key, *domain, instant) for key, (domain, instant) in self._when.items()]

    def load(self, entries: list[tuple[AlertKey, int, bool, int]]) -> None:
        """Put entries back."""
        for key, source, pulses, instant in entries:
            self.set(key, Domain(source, pulses), instant)
