"""Where feeds put records: the log, behind a small protocol, and Kafka behind that."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from feeds.clock import Anchor
from schemas.errors import BrokerAway, LogError
from schemas.topics import EVENTS, MAX_RECORD_BYTES, META

Headers = list[tuple[str, bytes]]


class Outlet(Protocol):
    """Takes records in order; for each partition they stand in the log in that order, once."""

    @property
    def partitions(self) -> int:
        """Partitions of ``school.events``."""

    def send(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers) -> None:
        """Take a record; waits while too much is under way. Raises `LogError`, `BrokerAway`."""

    def flush(self) -> None:
        """Wait until everything taken is acknowledged. Raises `LogError`, `BrokerAway`."""


@dataclass(slots=True)
class MemoryOutlet:
    """An outlet that keeps what it takes, for tests."""

    partitions: int = 2
    records: list[tuple[str, int, bytes | None, bytes, Headers]] = field(default_factory=list)

    def send(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers) -> None:
        """Keep a record."""
        self.records.append((topic, partition, key, value, headers))

    def flush(self) -> None:
        """Nothing is under way."""


class KafkaOutlet:
    """An idempotent producer: acknowledged means on the log, once and in order.

    ``patience``: seconds that a record may wait for its acknowledgement.
    """

    def __init__(self, broker: str, *, patience: float = 60.0) -> None:
        self._broker = broker
        self._patience = patience
        self._failed: KafkaError | None = None
        self._producer = Producer(
            _connection(broker)
            | {
                "enable.idempotence": True,
                "linger.ms": 10,
                "message.max.bytes": MAX_RECORD_BYTES + 64 * 1024,
                "queue.buffering.max.kbytes": 64 * 1024,
                "delivery.timeout.ms": int(patience * 1000),
            }
        )
        self.partitions = _count_partitions(self._producer, broker)

    def send(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers) -> None:
        """Take a record; waits while 64 MiB are under way."""
        deadline = time.monotonic() + self._patience
        while True:
            self._check()
            try:
                self._producer.produce(
                    topic, value, key, partition, on_delivery=self._delivered, headers=list(headers)
                )
            except BufferError:
                if time.monotonic() > deadline:
                    raise BrokerAway(self._away()) from None
                self._producer.poll(0.2)
            else:
                self._producer.poll(0)
                return

    def flush(self) -> None:
        """Wait until everything is acknowledged."""
        left = self._producer.flush(self._patience + 5.0)
        self._check()
        if left:
            raise BrokerAway(self._away())

    def _delivered(self, error: KafkaError | None, _message: Any) -> None:
        if error is not None and self._failed is None:
            self._failed = error

    def _check(self) -> None:
        error = self._failed
        if error is None:
            return
        if error.code() in (KafkaError._MSG_TIMED_OUT, KafkaError._ALL_BROKERS_DOWN):  # noqa: SLF001
            raise BrokerAway(self._away())
        raise LogError(f"the broker at {self._broker} refused a record: {error.str()}")

    def _away(self) -> str:
        return f"the broker at {self._broker} did not answer for {self._patience:g} s"


def read_anchor(broker: str, *, timeout: float = 10.0) -> Anchor | None:
    """The newest business clock told in ``alerting.meta``, None if none was."""
    consumer = Consumer(
        _connection(broker)
        | {"group.id": "trucban-clock", "enable.auto.commit": False, "enable.partition.eof": True}
        | {"auto.offset.reset": "earliest", "fetch.wait.max.ms": 20}
    )
    found: Anchor | None = None
    deadline = time.monotonic() + timeout
    try:
        consumer.assign([TopicPartition(META, 0, 0)])
        while time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if error is None:
                found = decode_meta(message.value() or b"").clock or found
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name for it
                return found
            elif not error.retriable():
                raise LogError(f"{META} cannot be read from {broker}: {error.str()}")
    finally:
        consumer.close()
    raise BrokerAway(f"no Kafka broker answers at {broker}")


class Meta(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record of ``alerting.meta`` after the first: what feeds need to know about the stack."""

    clock: Anchor | None = None
    published: dict[str, str] | None = None
    """Part of the configuration → hash of what the pulse process published last."""


def decode_meta(value: bytes) -> Meta:
    """Read a record of ``alerting.meta``; the first one, the epoch, says nothing of these."""
    return msgspec.json.decode(value, type=Meta)


def _count_partitions(producer: Producer, broker: str) -> int:
    try:
        topic = producer.list_topics(EVENTS, timeout=10.0).topics[EVENTS]
    except KafkaException as error:
        raise BrokerAway(f"no Kafka broker answers at {broker}") from error
    if topic.error is not None or not topic.partitions:
        raise LogError(
            f"the broker at {broker} has no topic {EVENTS}: start `trucban up` (or `trucban pulse`) first"
        )
    return len(topic.partitions)


def _connection(broker: str) -> dict[str, str | int | float | bool | Callable[..., None] | None]:
    return {"bootstrap.servers": broker, "log_level": 0, "socket.timeout.ms": 10_000}
