"""The micro-batch transport: Faust hands an agent one message for each partition and fetch.

For the topics that ask for it (`MicroBatchApp.batch_topics`) the message's value is a `Fetched`:
everything the log holds between two offsets, as a `schemas.wire.LogBatch`. Other topics are left
as Faust delivers them.

What faust-streaming 0.15.3 and aiokafka 0.14 do that is worked around here, each in its place:
`BatchConsumerThread._create_worker_consumer` (fetch wait), `BatchConsumerThread.on_thread_stop`
(leaving the group), `_fetch_ranges` (positions), `_columns` (cost of a record),
`BatchConsumer.getmany` (hold), `_NoReadOffset` (read offsets and gaps), `commit_position`
(acknowledgements), `RawBatchSchema` (decoding).
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import faust
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import ConsumerStoppedError, CorruptRecordException, IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition
from faust.serializers.schemas import Schema
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from schemas.wire import LogBatch

FETCH_MAX_WAIT_MS = 20
"""How long a broker may hold an empty fetch open. Faust fixes 1500; see `_create_worker_consumer`."""

FETCH_MAX_BYTES = 16 * 1024 * 1024
"""Bound of one fetch answer over all partitions (one larger record still passes)."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """All records of the log in ``[start, end)``.

    Offsets missing inside are transaction markers or compacted records: the fetch began at
    ``start`` and the next one begins at ``end``. ``batch`` may be empty.
    """

    start: int
    end: int
    highwater: int
    """End of the log when this was fetched (ListOffsets is not right on the embedded broker)."""
    batch: LogBatch


@dataclass(frozen=True, slots=True)
class _Range:
    """What one drain of one partition gave, and the fetch positions around it: a batch, or single records."""

    start: int
    end: int
    highwater: int
    batch: LogBatch
    records: list[ConsumerRecord[bytes, bytes]]


class RawBatchSchema(Schema[Any, Any]):
    """Passes keys and values on as they are.

    Faust's decoders expect bytes; the value of a micro-batch is a `Fetched` already.
    """

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:  # noqa: ARG002
        """The message's key, untouched."""
        return message.key

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:  # noqa: ARG002
        """The message's value, untouched."""
        return message.value


class _NoReadOffset(defaultdict[TP, "int | None"]):
    """Faust's read offsets, blind for batch topics.

    `Consumer._drain_messages` drops a message below the last offset it saw and registers what
    lies between two messages as a gap, one int per record. Batches carry the last offset of many
    records and are re-read after a seek, so both are wrong for them; the driver checks contiguity.
    """

    def __init__(self, batch_topics: frozenset[str]) -> None:
        super().__init__(lambda: None)
        self._batch_topics = batch_topics

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        if tp.topic not in self._batch_topics:
            super().__setitem__(tp, offset)

    def __delitem__(self, tp: TP) -> None:
        self.pop(tp, None)


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """aiokafka's consumer in its own thread and loop, with fetches that say where they began."""

    app: Any

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        """Trap: ``fetch_max_wait_ms`` is fixed at 1500 and ``fetch_max_bytes`` at 50 MB.

        On the embedded broker a waiting fetch is not woken by a produce, so 1500 is the latency.
        Both are read when the consumer starts, so setting them before that is enough.
        """
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS  # noqa: SLF001
        consumer._fetch_max_bytes = FETCH_MAX_BYTES  # noqa: SLF001
        return consumer

    async def on_thread_stop(self) -> None:
        """Trap: aiokafka leaves the group only above generation 0, where the embedded broker begins.

        LeaveGroup does not carry the generation. Static members (`member_id`) never leave: they
        are expected back under their name.
        """
        if self._consumer is not None:
            coordinator = self._consumer._coordinator  # noqa: SLF001
            if getattr(coordinator, "generation", None) == 0:
                coordinator.generation = 1
        await super().on_thread_stop()

    async def fetch_ranges(self, active: set[TP], timeout: float) -> dict[TP, _Range]:
        """Drain what was fetched for ``active``, waiting up to ``timeout`` seconds for something."""
        return cast(
            "dict[TP, _Range]",
            await self.call_thread(self._fetch_ranges, self._ensure_consumer(), active, timeout),
        )

    async def _fetch_ranges(
        self, consumer: AIOKafkaConsumer, active: set[TP], timeout: float
    ) -> dict[TP, _Range]:
        """`Fetcher.fetched_records`, but with the position before and after each drain.

        Seeks run in this thread too, and the fetcher throws away what was fetched for another
        position, so ``[start, end)`` is exact. The records alone do not tell a hole that a seek
        left from one that a transaction marker left.
        """
        if not self.consumer.flow_active:
            return {}
        subscriptions = consumer._fetcher._subscriptions  # noqa: SLF001
        deadline = time.monotonic() + timeout
        with subscriptions.fetch_context():  # keeps max_poll_interval from expelling us
            return await self._wait_and_drain(consumer, active, deadline)

    async def _wait_and_drain(
        self, consumer: AIOKafkaConsumer, active: set[TP], deadline: float
    ) -> dict[TP, _Range]:
        fetcher = consumer._fetcher  # noqa: SLF001
        while True:
            if consumer._closed or fetcher._closed:  # noqa: SLF001
                raise ConsumerStoppedError
            if fetcher._subscriptions.reassignment_in_progress:  # noqa: SLF001
                return {}
            drained = _drain(fetcher, active, self.app.batch_topics)
            remaining = deadline - time.monotonic()
            if drained or remaining <= 0:
                return drained
            waiter = fetcher._create_fetch_waiter()  # noqa: SLF001
            done, _ = await asyncio.wait([waiter], timeout=remaining)
            if done:
                waiter.result()  # a fatal coordination error is raised here
            else:
                waiter.cancel()

    async def seek_to(self, tp: TP, offset: int) -> None:
        """Seek one partition, if it is still ours."""
        await self.call_thread(self._seek_to, tp, offset)

    async def _seek_to(self, tp: TP, offset: int) -> None:
        try:
            self._ensure_consumer().seek(TopicPartition(tp.topic, tp.partition), offset)
        except IllegalStateError:
            self.log.info("%s[%d] was taken away before a seek", tp.topic, tp.partition)

    async def commit_position(self, tp: TP, offset: int) -> str:
        """Commit one input position to the group; the refusal's text, or empty.

        Faust's own commit crashes the app where a zombie's commit is refused. For the engine the
        snapshot is the position, and the group's offset only what lag tools read.
        """
        return cast(str, await self.call_thread(self._commit_position, tp, offset))

    async def _commit_position(self, tp: TP, offset: int) -> str:
        try:
            await self._ensure_consumer().commit(
                {TopicPartition(tp.topic, tp.partition): OffsetAndMetadata(offset, "")}
            )
        except (KafkaError, IllegalStateError) as error:
            return " ".join(repr(error).split())
        return ""


def _drain(fetcher: Any, active: set[TP], batch_topics: frozenset[str]) -> dict[TP, _Range]:
    drained: dict[TP, _Range] = {}
    for tp in list(fetcher._records):  # noqa: SLF001
        if tp not in active:
            if not fetcher._subscriptions.is_assigned(tp):  # noqa: SLF001
                del fetcher._records[tp]  # noqa: SLF001
            continue
        result = fetcher._records.pop(tp)  # noqa: SLF001
        fetcher._notify(fetcher._wait_consume_future)  # noqa: SLF001
        if not isinstance(result, FetchResult):
            if not drained:
                result.check_raise()
            fetcher._records[tp] = result  # noqa: SLF001
            return drained
        assignment = result._assignment  # noqa: SLF001
        if not assignment.active or not assignment.state_value(tp).has_valid_position:
            continue
        state = assignment.state_value(tp)
        start = state.position
        records = [] if tp.topic in batch_topics else result.getall(None)
        batch = _columns(result, tp)
        if state.position > start:
            at = TP(tp.topic, tp.partition)
            drained[at] = _Range(start, state.position, state.highwater or state.position, batch, records)
    return drained


def _columns(result: FetchResult, tp: TopicPartition) -> LogBatch:
    """What `FetchResult.getall` does, in columns: an object for each record costs as much as the rest.

    Aborted transactions are not left out (``read_uncommitted``, as Faust asks for); transaction
    markers are, like there.
    """
    batch = LogBatch(tp.partition, [], [], [], [], [])
    if not result.has_more() or not result.check_assignment(tp):
        return batch
    found = result._partition_records  # noqa: SLF001
    position = found.next_fetch_offset
    records = found._records  # noqa: SLF001
    while records.has_next():
        stored = records.next_batch()
        if found._check_crcs and not stored.validate_crc():  # noqa: SLF001
            raise CorruptRecordException(f"{tp.topic}[{tp.partition}]: wrong checksum after {position}")
        for record in () if stored.is_control_batch else stored:
            if record.offset >= position:  # a compressed batch may begin before what was asked for
                batch.offsets.append(record.offset)
                batch.keys.append(record.key)
                batch.values.append(record.value)
                batch.headers.append(record.headers)
                batch.timestamps.append(record.timestamp)
        position = stored.next_offset
    found.next_fetch_offset = position
    result._update_position()  # noqa: SLF001
    result._partition_records = None  # noqa: SLF001
    return batch


class BatchConsumer(driver.Consumer):
    """Delivers a `Fetched` for batch topics; holds everything while a rebalance is under way."""

    app: Any
    _thread: BatchConsumerThread

    def on_init(self) -> None:
        """Trap: `on_restart` calls this again, so it must leave a fresh consumer."""
        super().on_init()
        self.batch_topics: frozenset[str] = self.app.batch_topics
        self.ready: Callable[[TP], bool] = self.app.partition_ready
        self._read_offset = _NoReadOffset(self.batch_topics)

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """One message for each partition and fetch; nothing while the app rebalances.

        Traps: Faust resumes partitions, then seeks, then clears its queues while its fetcher
        already runs, so records come twice and others never; and it passes its live set of
        partitions to the consumer's thread. Here nothing is fetched while rebalancing or before
        the driver is ready for a partition, and the set is a copy. A fetch of an earlier
        generation is dropped: the driver seeks back for what it misses.
        """
        active = self._fetchable()
        if not active or not self.flow_active:
            await self.sleep(0.01)
            return
        generation = self.app.consumer_generation_id
        for tp, fetched in (await self._thread.fetch_ranges(active, min(timeout, 0.2))).items():
            if self.app.consumer_generation_id != generation or not self._flowing():
                return
            for message in self._messages(tp, fetched):
                yield tp, message

    def _fetchable(self) -> set[TP]:
        if not self._flowing():
            return set()
        return {
            tp for tp in self._get_active_partitions() if tp.topic not in self.batch_topics or self.ready(tp)
        }

    def _flowing(self) -> bool:
        return self.flow_active and not self.app.rebalancing and not self.should_stop

    def _messages(self, tp: TP, fetched: _Range) -> Iterable[ConsumerMessage]:
        if tp.topic not in self.batch_topics:
            return [self._to_message(tp, record) for record in fetched.records]
        value = Fetched(fetched.start, fetched.end, fetched.highwater, fetched.batch)
        return [
            ConsumerMessage(
                tp.topic,
                tp.partition,
                fetched.end - 1,
                time.time(),
                0,
                [],
                None,
                cast(Any, value),
                None,
                0,
                0,
                tp,
                generation_id=self.app.consumer_generation_id,
            )
        ]

    async def seek_to(self, tp: TP, offset: int) -> None:
        """Seek in the consumer's thread. A partition that was just taken away is no error.

        Trap: Faust's `Consumer.seek` touches the other thread's loop without waking it.
        """
        await self._thread.seek_to(tp, offset)

    async def commit_position(self, tp: TP, offset: int) -> str:
        """See `BatchConsumerThread.commit_position`."""
        return await self._thread.commit_position(tp, offset)


class MicroBatchTransport(driver.Transport):
    """Faust's aiokafka transport with `BatchConsumer`."""

    Consumer = BatchConsumer


class MicroBatchApp(faust.App):
    """A Faust app on the micro-batch transport."""

    batch_topics: frozenset[str] = frozenset()

    def partition_ready(self, tp: TP) -> bool:
        """Whether records of a batch topic's partition may be fetched now."""
        return tp.topic in self.batch_topics

    def _new_transport(self) -> MicroBatchTransport:
        return MicroBatchTransport(self.conf.broker_consumer, self)
