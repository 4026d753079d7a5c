"""Which deadlines of a day a source partition's clock has passed: each is judged once.

A deadline that passed while nobody watched the clock is judged later, by the time that was left
when the watch ended: what waited during an outage of ours has to come in first.
"""

from __future__ import annotations

from collections.abc import Collection

from schemas.civil import DAY_MS, day_of, day_start

GRACE_MS = 30 * 60_000
"""An outage puts a deadline off by at most this much after its end."""

Cursors = list[tuple[str, int, int]]
"""Rule, source partition, instant up to which its deadlines are judged."""


class Deadlines:
    """How far the deadlines of each rule are judged, by source partition."""

    def __init__(self) -> None:
        self._cursors: dict[tuple[str, int], int] = {}

    def reached(
        self, rule: str, times: Collection[int], source: int, watermark: int, gaps: list[tuple[int, int]]
    ) -> list[tuple[int, int]]:
        """(time of the day, instant of judgement) of today's deadlines that are to be judged now.

        A rule's first call only sets its beginning: what passed before is not judged.
        """
        key = (rule, source)
        cursor = self._cursors.get(key)
        if cursor is None or watermark <= cursor:
            self._cursors[key] = watermark if cursor is None else cursor
            return []
        midnight = day_start(day_of(watermark))
        found = []
        until = watermark
        for time in sorted(set(times)):
            deadline = midnight + time
            if not cursor < deadline <= watermark:
                continue
            due = put_off(deadline, gaps)
            if due > watermark:
                until = deadline - 1
                break
            if due < midnight + DAY_MS:
                found.append((time, due))
        self._cursors[key] = until
        return found

    def keep(self, rules: Collection[str]) -> None:
        """Forget rules that expect nothing any more."""
        self._cursors = {key: at for key, at in self._cursors.items() if key[0] in rules}

    def entries(self) -> Cursors:
        """For a snapshot."""
        return [(*key, at) for key, at in self._cursors.items()]

    def load(self, entries: Cursors) -> None:
        """Put entries back."""
        self._cursors = {(rule, source): at for rule, source, at in entries}


def put_off(deadline: int, gaps: list[tuple[int, int]]) -> int:
    """When a deadline is judged, given the spans that no pulse covered."""
    for begin, end in gaps:
        if begin < deadline <= end:
            return end + min(deadline - begin, GRACE_MS)
    return deadline
