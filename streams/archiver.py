"""The archiver: from the topics of outputs into the archive, each record at least once, in order.

It asks no consumer group where it stands: the archive says so, and is told after the rows are in.
While the archive is away nothing is read, so what waits here is one batch and librdkafka's bounded
queue; the log keeps the rest.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog

from schemas.errors import BrokerAway, LogError, StoreAway, StoreError
from store.archive import Archive, Place, Slice, Written

T = TypeVar("T")

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 10.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BatchBounds:
    """When a batch is written: at so many records, so many bytes, or so many seconds after its first."""

    records: int = 20_000
    bytes: int = 16 << 20
    seconds: float = 0.5


class ArchiveSource(Protocol):
    """Where the records come from. Calls raise BrokerAway while the broker does not answer."""

    def epoch(self) -> str:
        """The log's epoch."""

    def assign(self, positions: Mapping[Place, int]) -> None:
        """Read every partition of the archived topics from its position on (0 where there is none)."""

    def poll(self, bounds: BatchBounds) -> Sequence[Slice]:
        """The next batch, in offset order per partition; empty where nothing came in time.

        Raises LogError where the log is not the one that was assigned any more.
        """

    def close(self) -> None:
        """Let connections go."""


@dataclass(slots=True)
class ArchiverStats:
    """What the archiver did since it started."""

    records: int = 0
    batches: int = 0
    quarantined: int = 0
    waits: int = 0


class Archiver:
    """Moves batches from a source into an archive until it is told to stop."""

    def __init__(
        self,
        source: ArchiveSource,
        archive: Archive,
        *,
        bounds: BatchBounds | None = None,
        pause: Callable[[float], object] | None = None,
        wrote: Callable[[Written, float], object] = lambda _written, _seconds: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``wrote`` hears of each batch and the seconds it took; ``clock`` gives seconds."""
        self._source = source
        self._archive = archive
        self._bounds = bounds or BatchBounds()
        self._stop = threading.Event()
        self._pause = pause or self._stop.wait
        self._wrote = wrote
        self._clock = clock
        self._done = clock()
        self.stats = ArchiverStats()

    def age(self) -> float:
        """Seconds since everything that was read stood in the archive."""
        return max(0.0, self._clock() - self._done)

    def stop(self) -> None:
        """Finish what is being written, then return from `run`. Safe from a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Archive until `stop`. Raises LogError where the log was replaced by another one."""
        epoch = self._patiently("log", self._source.epoch)
        if epoch is None:
            return
        positions = self._patiently("archive", lambda: self._archive.open(epoch))
        if positions is None:
            return
        self._patiently("log", lambda: self._source.assign(positions))
        _log.info("archiving", epoch=epoch, records_before=sum(positions.values()))
        while not self._stop.is_set():
            self.step()

    def step(self) -> None:
        """One batch: read it, then write it, however long that takes."""
        batch = self._patiently("log", lambda: self._source.poll(self._bounds))
        if not batch:
            self._done = self._clock()
            return
        began = self._clock()
        written = self._patiently("archive", lambda: self._archive.write(batch), also=StoreError)
        if written is None:
            return
        self._done = self._clock()
        self._wrote(written, self._done - began)
        self.stats.records += written.records
        self.stats.batches += 1
        if written.quarantined:
            self.stats.quarantined += written.quarantined
            _log.warning("records in quarantine", records=written.quarantined)

    def _patiently(self, what: str, call: Callable[[], T], *, also: type[StoreError] = StoreAway) -> T | None:
        """Repeat a call while its other side is away; says so once. None: told to stop meanwhile.

        ``also`` StoreError: a refusal that lies not in the data may pass, and nothing may be lost.
        """
        pause = FIRST_PAUSE
        began: float | None = None
        while True:
            try:
                result = call()
            except (BrokerAway, also) as error:
                if began is None:
                    began = time.monotonic()
                    self.stats.waits += 1
                    _log.warning(f"{what} is away: waiting", error=str(error))
                if self._stop.is_set():
                    return None
                self._pause(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                if began is not None:
                    _log.info(f"{what} is back", seconds=round(time.monotonic() - began, 1))
                return result


def run_archiver(
    broker: str,
    clickhouse_url: str,
    *,
    bounds: BatchBounds | None = None,
    wrote: Callable[[Written, float], object] = lambda _written, _seconds: None,
    begun: Callable[[Archiver], object] = lambda _archiver: None,
) -> None:
    """Archive the log at ``broker`` (HOST:PORT) into ClickHouse until SIGTERM or SIGINT.

    ``begun`` is given the archiver before it runs, ``wrote`` what it writes.

    Waits while either is away. Raises LogError where the log was replaced by another one: start again.
    """
    from store.archive_clickhouse import ClickHouseArchive
    from streams.archive_source import KafkaArchiveSource

    source = KafkaArchiveSource(broker)
    archive = ClickHouseArchive(clickhouse_url)
    archiver = Archiver(source, archive, bounds=bounds, wrote=wrote)
    begun(archiver)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: archiver.stop())
    try:
        archiver.run()
    except LogError:
        _log.exception("the log was replaced")
        raise
    finally:
        source.close()
        archive.close()
