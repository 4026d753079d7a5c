"""Where feeds put records: the log, behind a small protocol, and Kafka behind that."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from feeds.clock import Anchor
from schemas.errors import BrokerAway, LogError
from schemas.topics import EVENTS, META
from streams.producer import KafkaWriter

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
    """`streams.producer.KafkaWriter`, with explicit partitions of a log whose topics exist.

    ``patience``: seconds that a record may wait for its acknowledgement.
    """

    def __init__(self, broker: str, *, patience: float = 60.0) -> None:
        self.partitions = count_partitions(broker)
        self._writer = KafkaWriter(broker, timeout=patience)

    def send(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers) -> None:
        """Take a record; waits while too much is under way."""
        self._writer.send(topic, key, value, partition=partition, headers=headers)

    def flush(self) -> None:
        """Wait until everything is acknowledged."""
        self._writer.flush()


class Meta(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record of ``alerting.meta`` after the first: what feeds need to know about the stack."""

    clock: Anchor | None = None
    published: dict[str, str] | None = None
    """Part of the configuration → hash of what the pulse process published last."""
    hold: int | None = None
    """Business time (ms) at which a demo's clock starts, once what was before it is prepared."""
    prepared: int | None = None
    """Up to which business time (ms) the feed has sent what was before; less than ``hold``: under way."""

    def then(self, newer: Meta) -> Meta:
        """Each part as the newer record has it, if it does."""
        told = {name: value for name in self.__struct_fields__ if (value := getattr(newer, name)) is not None}
        return msgspec.structs.replace(self, **told)


def read_meta(broker: str, *, timeout: float = 10.0) -> Meta:
    """The newest of each part that ``alerting.meta`` tells. Raises `BrokerAway`, `LogError`."""
    consumer = Consumer(
        _connection(broker)
        | {"group.id": "trucban-meta", "enable.auto.commit": False, "enable.partition.eof": True}
        | {"auto.offset.reset": "earliest", "fetch.wait.max.ms": 20}
    )
    found = Meta()
    deadline = time.monotonic() + timeout
    try:
        consumer.assign([TopicPartition(META, 0, 0)])
        while time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if error is None:
                found = found.then(decode_meta(message.value() or b""))
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name for it
                return found
            elif not error.retriable():
                raise LogError(f"{META} cannot be read from {broker}: {error.str()}")
    finally:
        consumer.close()
    raise BrokerAway(f"no Kafka broker answers at {broker}")


def is_drill(broker: str) -> bool:
    """Is the stack's clock that of a demo? Raises `BrokerAway` while that is not told either."""
    try:
        return tells_of_drill(read_meta(broker), broker)
    except LogError as error:  # its topics are about to be made by another process
        raise BrokerAway(str(error)) from error


def tells_of_drill(meta: Meta, broker: str) -> bool:
    """Is the clock in ``meta`` that of a demo? Raises `BrokerAway` where none was told yet."""
    if meta.clock is None:
        raise BrokerAway(f"no clock is told at {broker} yet: `trucban pulse` does that")
    return meta.clock.mode == "demo"


def decode_meta(value: bytes) -> Meta:
    """Read a record of ``alerting.meta``; the first one, the epoch, says nothing of these."""
    return msgspec.json.decode(value, type=Meta)


def count_partitions(broker: str) -> int:
    """Partitions of ``school.events``. Raises `BrokerAway`, or `LogError` where the topics are not made."""
    try:
        topic = AdminClient(_connection(broker)).list_topics(EVENTS, timeout=10.0).topics[EVENTS]
    except KafkaException as error:
        raise BrokerAway(f"no Kafka broker answers at {broker}") from error
    if topic.error is not None or not topic.partitions:
        raise LogError(
            f"the broker at {broker} has no topic {EVENTS}: start `trucban up` (or `trucban pulse`) first"
        )
    return len(topic.partitions)


def _connection(broker: str) -> dict[str, str | int | float | bool]:
    return {"bootstrap.servers": broker, "log_level": 0, "socket.timeout.ms": 10_000}
