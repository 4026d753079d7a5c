"""One configuration at a time: source partitions wait for each other where it changes.

Every source partition meets the same control records, but not at the same moment. Records of a
partition that has switched are held until all have; so a rule is never judged on panes of two
configurations, and the outcome does not depend on which partition was read faster.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from schemas.wire import PanesRecord


class Barrier:
    """Records held back, by source partition, in order."""

    def __init__(self, sources: int) -> None:
        self._sources = sources
        self._held: dict[int, deque[PanesRecord]] = {}
        self._reached: dict[int, int] = {}

    def offer(self, record: PanesRecord) -> bool:
        """Take a record in; False where a life that others have overtaken sent it."""
        if record.position < self._reached.get(record.source, -1):
            return False
        self._reached[record.source] = record.position
        self._held.setdefault(record.source, deque()).append(record)
        return True

    def release(self, config: str) -> Iterator[PanesRecord]:
        """Records that may be judged under ``config``, each source's in order."""
        for source in sorted(self._held):
            queue = self._held[source]
            while queue and _passes(queue, config):
                yield queue.popleft()
            if not queue:
                del self._held[source]

    def next_content(self) -> bytes | None:
        """The configuration to switch to now that every source has come to it; None: not every one has.

        Source partition 0 sends the content with the first panes under a new configuration.
        """
        first = next((record for record in self._held.get(0, ()) if record.content), None)
        if first is None or len(self._held) < self._sources:
            return None
        for queue in self._held.values():
            if not any(record.config == first.config and record.last for record in queue):
                return None
        return first.content

    def first_of(self, config: str) -> Iterator[PanesRecord]:
        """What each source sent first under ``config``, in all its parts; it stays held."""
        for queue in self._held.values():
            for record in queue:
                if record.config == config:
                    yield record
                    if record.last:
                        break

    def held(self) -> list[PanesRecord]:
        """Everything held, for a snapshot."""
        return [record for _, queue in sorted(self._held.items()) for record in queue]

    def reached(self) -> dict[int, int]:
        """Newest position taken in from each source."""
        return dict(self._reached)

    def load(self, held: Iterable[PanesRecord], reached: dict[int, int]) -> None:
        """Put back what a snapshot held."""
        for record in held:
            self._held.setdefault(record.source, deque()).append(record)
        self._reached = dict(reached)


def _passes(queue: deque[PanesRecord], config: str) -> bool:
    """The head is of this configuration, of none, or of one that its source has left for this."""
    return queue[0].config in ("", config) or any(record.config == config for record in queue)
