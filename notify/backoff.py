"""How long to wait before a push is tried again."""

from __future__ import annotations

import random


class Backoff:
    """Doubling waits with jitter: between half of a wait and all of it, so that many do not meet again."""

    def __init__(self, first: float, cap: float, seed: int | None = None) -> None:
        self._first = first
        self._cap = cap
        self._random = random.Random(seed)

    def wait(self, attempt: int, retry_after: float | None = None) -> float:
        """Seconds to wait after the ``attempt``-th attempt; never less than the receiver asked for."""
        whole = min(self._first * 2.0 ** min(attempt - 1, 60), self._cap)
        return max(whole * (0.5 + self._random.random() / 2), retry_after or 0.0)
