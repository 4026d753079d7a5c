"""The archiver's loop on fakes: order, outages, crashes between rows and positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from schemas.errors import BrokerAway, LogLost, StoreError
from schemas.topics import ACCEPTED
from store.archive import Place, Slice, Written
from store.archive_memory import MemoryArchive
from streams.archiver import LONGEST_PAUSE, Archiver, ArchiveSource, BatchBounds
from tests.support.archive import accepted, part


class MemorySource:
    """One partition of accepted events, one event a record."""

    def __init__(self, count: int, *, a_batch: int = 3) -> None:
        self.records = [accepted([f"e{n}"], first=n) for n in range(count)]
        self.name = "e1"
        self.away = 0
        self.at = 0
        self.a_batch = a_batch

    def epoch(self) -> str:
        self._check()
        return self.name

    def assign(self, positions: Mapping[Place, int]) -> None:
        self.at = positions.get((ACCEPTED, 0), 0)

    def poll(self, bounds: BatchBounds) -> Sequence[Slice]:
        self._check()
        values = self.records[self.at : self.at + min(self.a_batch, bounds.records)]
        first, self.at = self.at, self.at + len(values)
        return [part(ACCEPTED, 0, first, values)] if values else []

    def close(self) -> None:
        """Nothing to let go."""

    def _check(self) -> None:
        if self.away:
            self.away -= 1
            raise BrokerAway("Kafka does not answer")


def drain(source: MemorySource, archive: MemoryArchive, *, on_pause: int = 0) -> tuple[Archiver, list[float]]:
    """Run until the source has nothing more; gives the pauses that were made.

    ``on_pause``: after so many pauses the archive is there again.
    """
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) >= on_pause:
            archive.away = False

    archiver = Archiver(source, archive, pause=pause)
    inner = source.poll

    def poll(bounds: BatchBounds) -> Sequence[Slice]:
        if source.at >= len(source.records) and not source.away:
            archiver.stop()
        return inner(bounds)

    source.poll = poll  # type: ignore[method-assign]
    archiver.run()
    return archiver, pauses


def ids(archive: MemoryArchive) -> list[str]:
    return [row["id"] for row in archive.rows("event_log")]


def test_everything_is_archived_in_batches() -> None:
    archive = MemoryArchive()
    archiver, pauses = drain(MemorySource(8), archive)
    assert ids(archive) == [f"e{n}" for n in range(8)]
    assert (archiver.stats.records, archiver.stats.batches, pauses) == (8, 3, [])


def test_it_goes_on_where_the_archive_stands() -> None:
    archive = MemoryArchive()
    drain(MemorySource(4), archive)
    archiver, _ = drain(MemorySource(9), archive)
    assert archiver.stats.records == 5
    assert len(ids(archive)) == 9


def test_a_crash_between_rows_and_positions_repeats_and_changes_nothing() -> None:
    archive = MemoryArchive()
    archive.lost_before_positions = True
    archiver, pauses = drain(MemorySource(4), archive)
    assert ids(archive) == [f"e{n}" for n in range(4)]
    assert (archiver.stats.records, len(pauses)) == (4, 1)


def test_while_the_archive_is_away_it_waits_longer_and_longer(caplog: pytest.LogCaptureFixture) -> None:
    archive = MemoryArchive()
    archive.away = True
    archiver, pauses = drain(MemorySource(4), archive, on_pause=8)
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, LONGEST_PAUSE, LONGEST_PAUSE]
    assert len(ids(archive)) == 4
    assert archiver.stats.waits == 1


def test_while_the_log_is_away_it_waits() -> None:
    archive, source = MemoryArchive(), MemorySource(4)
    source.away = 3
    archiver, pauses = drain(source, archive)
    assert len(ids(archive)) == 4
    assert (pauses, archiver.stats.waits) == ([0.25, 0.5, 1.0], 1)


def test_it_can_be_stopped_while_it_waits() -> None:
    archive, source = MemoryArchive(), MemorySource(4)
    archive.away = True
    archiver = Archiver(source, archive, pause=lambda _: archiver.stop())
    archiver.run()
    assert ids(archive) == []


def test_another_log_ends_it() -> None:
    class Replaced(MemorySource):
        def poll(self, bounds: BatchBounds) -> Sequence[Slice]:
            raise LogLost("the log at b is e2, no longer e1")

    with pytest.raises(LogLost, match=r"^the log at b is e2, no longer e1$"):
        Archiver(Replaced(1), MemoryArchive()).run()


def test_a_refusal_of_the_whole_archive_is_waited_out() -> None:
    class Full(MemoryArchive):
        refusals = 2

        def write(self, slices: Sequence[Slice]) -> Written:
            if self.refusals:
                self.refusals -= 1
                raise StoreError("ClickHouse refused: no such table")
            return super().write(slices)

    archive = Full()
    _, pauses = drain(MemorySource(2), archive)
    assert (len(ids(archive)), len(pauses)) == (2, 2)


def test_an_archive_of_another_version_is_not_waited_for() -> None:
    class Newer(MemoryArchive):
        def open(self, epoch: str) -> Mapping[Place, int]:
            raise StoreError("the archive has migration 9, which this version does not know")

    with pytest.raises(StoreError, match=r"^the archive has migration 9, which this version does not know$"):
        Archiver(MemorySource(1), Newer()).run()


def test_the_fake_is_a_source() -> None:
    source: ArchiveSource = MemorySource(0)
    assert source.epoch() == "e1"
