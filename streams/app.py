"""The worker: a Faust app whose agents drive the engine's cores, and the process around it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import faust
from faust.types import TP

from schemas.errors import LogError
from schemas.topics import (
    CORRELATE_SNAPSHOTS,
    COUNT_SNAPSHOTS,
    EVENTS,
    JUDGE_SNAPSHOTS,
    MAX_RECORD_BYTES,
    PANES,
    TRANSITIONS,
)
from schemas.wire import Core, OutRecord
from streams.driver import AgentShape, DriverOptions, PartitionDriver
from streams.metrics import Metrics, NoMetrics
from streams.reader import read_snapshots
from streams.snapshots import SnapshotIndex
from streams.transport import BatchConsumer, Fetched, MicroBatchApp, RawBatchSchema

log = logging.getLogger(__name__)

GROUP = "trucban-worker"
STREAM_BUFFER = 2
"""Batches of one agent that wait in memory. Faust counts messages (4096), and a batch is one."""

FETCH_BYTES = 4 * 1024 * 1024
"""Bytes of one partition in one fetch, where there are few partitions; a single larger record still comes.

A batch has a fixed price of some 20 ms (docs/decisions/where-the-time-goes.md), so large ones are cheap.
"""
FETCHED_BYTES = 64 * 1024 * 1024
"""Bytes fetched ahead over all partitions: with many of them each may have less."""

READERS = 4
"""Partitions whose snapshots are read at the same time."""

CoreFactory = Callable[[int], Core]


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Everything a worker needs to know. Times in seconds."""

    broker: str
    """``host:port[,host:port…]``."""
    partitions: int
    """Of ``school.events``."""
    data_dir: Path
    """Faust's own directory; nothing in it is needed after a stop."""
    group: str = GROUP
    member_id: str = ""
    """Static membership: a restart under this name takes its partitions up without a rebalance."""
    flush_interval: float = 0.2
    snapshot_interval: float = 30.0
    snapshot_bytes: int = 64 * 1024 * 1024
    session_timeout: float = 6.0
    """After so long without a sign of life a worker's partitions go to others."""
    stop_timeout: float = 5.0
    """How long a last snapshot may take at a stop or when partitions are taken away."""
    web_port: int = 0
    """Faust's own web server; 0: none."""
    metrics: Metrics = field(default_factory=NoMetrics)

    def driver_options(self) -> DriverOptions:
        """The drivers' share of the settings."""
        return DriverOptions(
            flush_interval=self.flush_interval,
            snapshot_interval=self.snapshot_interval,
            snapshot_bytes=self.snapshot_bytes,
        )


@dataclass(frozen=True, slots=True)
class Cores:
    """How the core of each agent is made for a partition."""

    count: CoreFactory
    judge: CoreFactory
    correlate: CoreFactory

    def shapes(self) -> list[AgentShape]:
        """The three agents of the engine."""
        return [
            AgentShape("count", EVENTS, COUNT_SNAPSHOTS, self.count),
            AgentShape("judge", PANES, JUDGE_SNAPSHOTS, self.judge),
            AgentShape("correlate", TRANSITIONS, CORRELATE_SNAPSHOTS, self.correlate),
        ]


class WorkerApp(MicroBatchApp):
    """Gives each assigned partition a driver, and ends as a whole when one of them fails."""

    def __init__(self, settings: WorkerSettings, shapes: list[AgentShape]) -> None:
        self.settings = settings
        self.shapes = {shape.source: shape for shape in shapes}
        self.batch_topics = frozenset(self.shapes)
        self.reading = asyncio.Semaphore(READERS)
        self.failure: asyncio.Future[BaseException] | None = None
        self._drivers: dict[TP, PartitionDriver] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        super().__init__(settings.group, **_faust_settings(settings))
        for shape in shapes:
            self._add_agent(shape)
        cast(Any, self.on_partitions_assigned).connect(self._take_over)
        cast(Any, self.on_partitions_revoked).connect(self._hand_over)

    def _add_agent(self, shape: AgentShape) -> None:
        topic = self.topic(shape.source, schema=RawBatchSchema(), acks=False, maxsize=STREAM_BUFFER)

        async def run(stream: Any) -> None:
            async for event in stream.noack().events():
                await self._guard(self._take(event.message.tp, event.value))

        self.agent(topic, name=shape.name)(run)

    def partition_ready(self, tp: TP) -> bool:
        """Whether the partition's driver has restored its state and sought."""
        driver = self._drivers.get(tp)
        return driver is not None and driver.ready and not driver.closed

    @property
    def positions(self) -> Mapping[TP, int]:
        """Where each driver of this worker stands."""
        return {tp: driver.position for tp, driver in self._drivers.items()}

    async def _take(self, tp: TP, fetched: Fetched) -> None:
        driver = self._drivers.get(tp)
        if driver is not None:
            await driver.take(fetched)

    # --- failure -------------------------------------------------------------------------------

    async def _guard(self, work: Awaitable[None]) -> None:
        """Trap: after an error Faust restarts the agent at the *next* message. So never return."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - handed to run_worker, which ends the process
            self.fail(error)
            await asyncio.Event().wait()

    def fail(self, error: BaseException) -> None:
        """Remember the first failure; from now on nothing is processed or snapshotted."""
        for driver in self._drivers.values():
            driver.closed = True
        if self.failure is not None and not self.failure.done():
            self.failure.set_result(error)

    def _spawn(self, work: Awaitable[None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - handed to run_worker, which ends the process
                self.fail(error)

        task = asyncio.get_running_loop().create_task(guarded())
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    # --- partitions ----------------------------------------------------------------------------

    async def _take_over(self, _app: Any, assigned: set[TP], **_: Any) -> None:
        for tp in sorted(assigned):
            if tp.topic in self.shapes and tp not in self._drivers:
                driver = self._drivers[tp] = self._new_driver(self.shapes[tp.topic], tp.partition)
                self._spawn(self._start(tp, driver))

    async def _start(self, tp: TP, driver: PartitionDriver) -> None:
        await driver.restore()
        # Faust sets this flag from another thread.
        while self.rebalancing and self._drivers.get(tp) is driver:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        if self._drivers.get(tp) is driver:
            await driver.begin()

    def _new_driver(self, shape: AgentShape, partition: int) -> PartitionDriver:
        edge = _FaustEdge(self, shape)
        return PartitionDriver(
            shape,
            partition,
            source=edge,
            sender=edge,
            snapshots=edge,
            options=self.settings.driver_options(),
            metrics=self.settings.metrics,
        )

    async def _hand_over(self, _app: Any, _revoked: set[TP], **_: Any) -> None:
        """Rebalances are eager: everything is taken away, and this is the last chance to snapshot."""
        drivers, self._drivers = self._drivers, {}
        await self._close(list(drivers.values()))

    async def _close(self, drivers: list[PartitionDriver]) -> None:
        try:
            await asyncio.gather(*(driver.close(self.settings.stop_timeout) for driver in drivers))
        except LogError as error:
            self.fail(error)

    # --- timers and life -----------------------------------------------------------------------

    async def on_started(self) -> None:
        """Trap: with `noack` streams a snapshot must run in a task of its own."""
        self._spawn(self._flush_regularly())
        self._spawn(self._snapshot_regularly())
        await super().on_started()

    async def _flush_regularly(self) -> None:
        while True:
            await asyncio.sleep(self.settings.flush_interval)
            for driver in list(self._drivers.values()):
                await driver.flush()

    async def _snapshot_regularly(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(0.5, self.settings.snapshot_interval / 4))
            for driver in list(self._drivers.values()):
                if driver.snapshot_due(loop.time()):
                    await driver.snapshot()

    async def on_stop(self) -> None:
        """Trap: SIGTERM takes no snapshot by itself; the producer still runs here."""
        drivers, self._drivers = self._drivers, {}
        await self._close(list(drivers.values()))
        for task in list(self._jobs):
            task.cancel()
        await super().on_stop()


class _FaustEdge:
    """A driver's input, output and snapshots by way of one agent's Faust app."""

    def __init__(self, app: WorkerApp, shape: AgentShape) -> None:
        self._app = app
        self._shape = shape

    @property
    def _consumer(self) -> BatchConsumer:
        return cast("BatchConsumer", self._app.consumer)

    async def seek(self, partition: int, offset: int) -> None:
        await self._consumer.seek_to(TP(self._shape.source, partition), offset)

    async def log_start(self, partition: int) -> int:
        tp = TP(self._shape.source, partition)
        offsets: Mapping[TP, int] = await self._consumer.earliest_offsets(tp)
        return offsets[tp]

    async def commit(self, partition: int, offset: int) -> str:
        return await self._consumer.commit_position(TP(self._shape.source, partition), offset)

    async def send(self, record: OutRecord) -> Awaitable[object]:
        headers = list(record.headers) or None
        acknowledged: Awaitable[object] = await self._app.producer.send(
            record.topic, record.key, record.value, record.partition, None, headers
        )
        return acknowledged

    async def read(self, partition: int) -> SnapshotIndex:
        async with self._app.reading:
            return await read_snapshots(self._app.settings.broker, self._shape.snapshots, partition)


def fetch_bytes(partitions: int) -> int:
    """Bytes of one partition in one fetch, for a worker that may get all of so many partitions."""
    return max(256 * 1024, min(FETCH_BYTES, FETCHED_BYTES // partitions))


def _faust_settings(settings: WorkerSettings) -> dict[str, Any]:
    """Faust's settings. The defaults of those named here lose data, time or bounds."""
    return {
        "broker": [f"kafka://{address}" for address in settings.broker.split(",")],
        "datadir": str(settings.data_dir),
        "store": "memory://",
        "autodiscover": False,
        "web_enabled": bool(settings.web_port),
        "web_port": settings.web_port or 6066,
        "web_bind": "127.0.0.1",
        "topic_disable_leader": True,
        "topic_allow_declare": False,
        "table_standby_replicas": 0,
        "stream_wait_empty": False,
        "stream_buffer_maxsize": STREAM_BUFFER,
        "stream_recovery_delay": 0.0,
        "consumer_auto_offset_reset": "earliest",
        "consumer_max_fetch_size": fetch_bytes(settings.partitions),
        "consumer_group_instance_id": settings.member_id or None,
        "broker_session_timeout": settings.session_timeout,
        "broker_rebalance_timeout": 5.0 + settings.stop_timeout,
        "broker_heartbeat_interval": min(1.0, settings.session_timeout / 4),
        "broker_request_timeout": 30.0,
        "producer_acks": -1,
        "producer_linger": 0.0,
        "producer_max_batch_size": 256 * 1024,
        "producer_max_request_size": MAX_RECORD_BYTES + 64 * 1024,
        "producer_request_timeout": 60.0,
    }


def create_app(settings: WorkerSettings, cores: Cores) -> faust.App:
    """The engine's Faust app with its agents ``count``, ``judge`` and ``correlate``."""
    return WorkerApp(settings, cores.shapes())
