"""How far each source partition of ``school.events`` has come, as its panes' records say."""

from __future__ import annotations

import msgspec

from rules.engine.due import Domain
from rules.engine.intake import NEVER
from schemas.wire import PanesRecord


class Source(msgspec.Struct):
    """The newest that is known of one source partition."""

    position: int = -1
    clock: int = NEVER
    pulse: int = NEVER
    gaps: list[tuple[int, int]] = []


class Sources(msgspec.Struct):
    """All source partitions."""

    count: int
    known: dict[int, Source] = {}

    def take(self, record: PanesRecord) -> None:
        """Note what the record says; records of a source come in the order of their positions."""
        source = self.known.setdefault(record.source, Source())
        source.position = record.position
        source.clock = max(source.clock, record.clock)
        source.pulse = max(source.pulse, record.pulse)
        source.gaps = record.gaps

    def _of(self, domain: Domain) -> list[Source]:
        if domain.source >= 0:
            return [self.known.get(domain.source, Source())]
        return [self.known.get(number, Source()) for number in range(self.count)]

    def clock(self, domain: Domain) -> int:
        """The slowest clock of the domain's partitions, ms."""
        return min(s.pulse if domain.pulses else s.clock for s in self._of(domain))

    def decided(self, domain: Domain) -> int:
        """Business time at which something is decided now, ms."""
        return min(s.clock for s in self._of(domain))

    def gaps(self, domain: Domain) -> list[tuple[int, int]]:
        """Spans no pulse covered in any of the domain's partitions, merged."""
        merged: list[tuple[int, int]] = []
        for begin, end in sorted(gap for s in self._of(domain) for gap in s.gaps):
            if merged and begin <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((begin, end))
        return merged

    def positions(self, domain: Domain) -> dict[int, int]:
        """Position of each of the domain's partitions."""
        numbers = [domain.source] if domain.source >= 0 else range(self.count)
        return {n: self.known[n].position for n in numbers if n in self.known}

    def clocks(self) -> dict[int, int]:
        """Clock of each partition that is known, ms."""
        return {number: source.clock for number, source in self.known.items()}

    def newest(self) -> int:
        """The fastest clock, ms."""
        return max((s.clock for s in self.known.values()), default=NEVER)

    def judged(self) -> int:
        """Business time up to which everything is judged, what waits for pulses too, ms."""
        pulse = self.clock(Domain(-1, True))
        return self.oldest() if pulse == NEVER else pulse

    def oldest(self) -> int:
        """The slowest clock of all partitions, ms."""
        return self.clock(Domain(-1, False))
