"""Alerts from Kafka and deliveries to it, by confluent-kafka on threads of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from schemas.errors import BrokerAway, LogError, LogLost
from schemas.topics import ALERTS, DELIVERIES, MAX_RECORD_BYTES
from schemas.wire import Delivery, LogBatch
from streams.topics import read_epoch

T = TypeVar("T")

PROBE_SECONDS = 2.0
ACK_SECONDS = 10.0
AWAY = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE})  # noqa: SLF001


class KafkaAlerts:
    """`AlertSource` on Kafka: one partition, assigned, with positions kept elsewhere."""

    def __init__(self, broker: str, topic: str = ALERTS) -> None:
        self._broker = broker
        self._topic = topic
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="alerts")
        self._sought = 0
        self._fresh = True
        self._away: KafkaError | None = None
        self._consumer = self._connect()

    def _connect(self) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._broker,
                "group.id": "trucban-notifier",  # required by librdkafka, never used
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
                "fetch.message.max.bytes": MAX_RECORD_BYTES,
                "reconnect.backoff.max.ms": 1000,
                "log_level": 0,
                "error_cb": self._note,
            }
        )

    def _note(self, error: KafkaError) -> None:
        if error.code() in AWAY:
            self._away = error

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def epoch(self) -> str:
        """See `AlertSource.epoch`."""
        try:
            return await self._call(lambda: read_epoch(self._broker, timeout=PROBE_SECONDS * 2))
        except BrokerAway:
            raise
        except LogError as error:  # its topics are about to be made by another process
            raise BrokerAway(str(error)) from error

    async def seek(self, offset: int) -> None:
        """See `AlertSource.seek`."""
        await self._call(lambda: self._seek(offset))

    def _seek(self, offset: int) -> None:
        self._consumer.close()
        self._consumer = self._connect()  # afresh: what the old one knew of the log's end is old too
        self._probe()
        self._sought, self._fresh = offset, True
        self._consumer.assign([TopicPartition(self._topic, 0, offset)])

    def _probe(self) -> None:
        try:
            self._consumer.list_topics(self._topic, timeout=PROBE_SECONDS)
        except KafkaException as error:
            raise BrokerAway(f"Kafka does not answer at {self._broker}") from error
        self._away = None

    async def read(self, limit: int, timeout: float) -> LogBatch:
        """See `AlertSource.read`."""
        return await self._call(lambda: self._read(limit, timeout))

    def _read(self, limit: int, timeout: float) -> LogBatch:
        first = self._consumer.poll(timeout)
        if first is None:
            if self._away is not None:
                self._probe()
            self._check_end()
            return LogBatch(0, [], [], [], [], [])
        rest = self._consumer.consume(limit - 1, timeout=0) if limit > 1 else []
        return self._batch([first, *rest])

    def _batch(self, messages: list[Message]) -> LogBatch:
        records: list[Message] = []
        for message in messages:
            error = message.error()
            if error is None:
                records.append(message)
            elif error.code() in AWAY or error.retriable():
                self._away = error
            else:
                raise LogError(f"{self._topic} cannot be read: {error.str()}")
        offsets = [message.offset() or 0 for message in records]
        if records and self._fresh:
            self._fresh = False
            if offsets[0] < self._sought:  # sent back to the beginning
                raise self._ended()
        return LogBatch(
            0,
            offsets,
            [message.key() for message in records],
            [message.value() for message in records],
            [()] * len(records),
            [message.timestamp()[1] for message in records],
        )

    def _check_end(self) -> None:
        """A broker that answers a fetch beyond the log's end with nothing still says where the end is."""
        _, end = self._consumer.get_watermark_offsets(TopicPartition(self._topic, 0), cached=True)
        if self._fresh and 0 <= end < self._sought:
            raise self._ended()

    def _ended(self) -> LogLost:
        return LogLost(f"{self._topic} ends before {self._sought}, up to which it was read")

    async def close(self) -> None:
        """Close the consumer."""
        await self._call(self._consumer.close)
        self._thread.shutdown(wait=False)


class KafkaDeliveries:
    """`DeliverySink` on Kafka, with an idempotent producer."""

    def __init__(self, broker: str, topic: str = DELIVERIES, *, ack_seconds: float = ACK_SECONDS) -> None:
        self._broker = broker
        self._ack_seconds = ack_seconds
        self._topic = topic
        self._producer = Producer(
            {
                "bootstrap.servers": broker,
                "enable.idempotence": True,
                "message.timeout.ms": int(ack_seconds * 1000),
                "reconnect.backoff.max.ms": 1000,
                "linger.ms": 2,
                "log_level": 0,
                "error_cb": lambda _error: None,  # each record's own acknowledgement tells
            }
        )

    async def publish(self, deliveries: Sequence[Delivery]) -> None:
        """See `DeliverySink.publish`."""
        await asyncio.to_thread(self._publish, deliveries)

    def _publish(self, deliveries: Sequence[Delivery]) -> None:
        faults: list[KafkaError] = []

        def acknowledged(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                faults.append(error)

        for delivery in deliveries:
            self._producer.produce(
                self._topic,
                msgspec.json.encode(delivery),
                key=delivery.id.encode(),
                partition=0,
                on_delivery=acknowledged,
            )
        left = self._producer.flush(self._ack_seconds + 5)
        if left or faults:
            what = faults[0].str() if faults else f"{left} records without acknowledgement"
            raise BrokerAway(f"Kafka does not take deliveries at {self._broker}: {what}")

    async def close(self) -> None:
        """Nothing is under way between calls: nothing to wait for."""
