"""Creating the topics before anything runs, and the log's epoch."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.errors import BrokerAway, LogError
from schemas.topics import MAX_RECORD_BYTES, META, Topic, layout

DAY_MS = 86_400_000


class Epoch(msgspec.Struct, frozen=True):
    """Value of the first record of ``alerting.meta``: names this log among all that ever were."""

    epoch: str


@dataclass(frozen=True, slots=True)
class TopicOptions:
    """How topics are created where they do not exist. None of it changes existing topics."""

    clock: Literal["wall", "demo", "data"] = "wall"
    """In ``data`` and ``demo`` the broker's clock says nothing about arrival."""
    replication: int = 1
    retention_ms: int = 7 * DAY_MS


def ensure_topics(
    broker: str, partitions: int, options: TopicOptions = TopicOptions(), *, timeout: float = 60.0
) -> str:
    """Create what is missing, wait until every partition has a leader, and return the log's epoch.

    Must have ended before a worker starts: a consumer that subscribes to a topic its broker does
    not know yet ignores it until the next metadata refresh (61 s were seen).

    Raises:
        BrokerAway: no answer within ``timeout`` seconds.
        LogError: a topic exists with another number of partitions, or cannot be created.
    """
    admin = AdminClient(_connection(broker))
    deadline = time.monotonic() + timeout
    topics = layout(partitions)
    _wait_for_broker(admin, broker, deadline)
    _create(admin, topics, options, deadline)
    _wait_for_leaders(admin, broker, topics, deadline)
    return _epoch(broker, deadline)


def read_epoch(broker: str, *, timeout: float = 30.0) -> str:
    """The log's epoch.

    Raises:
        BrokerAway: no answer within ``timeout`` seconds.
        LogError: `ensure_topics` has not run against this log.
    """
    epoch = _read_epoch(broker, time.monotonic() + timeout)
    if epoch is None:
        raise LogError(f"the log at {broker} has no epoch in {META}: its topics were not made by trucban")
    return epoch


def _connection(broker: str) -> dict[str, str | int | float | bool]:
    return {"bootstrap.servers": broker, "log_level": 0, "socket.timeout.ms": 10_000}


def _wait_for_broker(admin: AdminClient, broker: str, deadline: float) -> None:
    while True:
        try:
            admin.list_topics(timeout=min(2.0, max(0.1, deadline - time.monotonic())))
        except KafkaException as error:
            if time.monotonic() >= deadline:
                raise BrokerAway(f"no Kafka broker answers at {broker}") from error
        else:
            return


def _create(admin: AdminClient, topics: list[Topic], options: TopicOptions, deadline: float) -> None:
    existing = admin.list_topics(timeout=10).topics
    missing = [topic for topic in topics if topic.name not in existing]
    if not missing:
        return
    new = [
        NewTopic(topic.name, topic.partitions, options.replication, config=topic_config(topic, options))
        for topic in missing
    ]
    futures = admin.create_topics(new, operation_timeout=max(1.0, deadline - time.monotonic()))
    for name, future in futures.items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise LogError(f"topic {name} cannot be created: {error.args[0].str()}") from error


def topic_config(topic: Topic, options: TopicOptions) -> dict[str, str]:
    """Configuration of a new topic. The embedded broker takes and ignores all of it."""
    config = {
        "max.message.bytes": str(MAX_RECORD_BYTES),
        "cleanup.policy": topic.cleanup,
    }
    if topic.cleanup == "compact":
        config["segment.ms"] = str(DAY_MS // 24)
        config["min.cleanable.dirty.ratio"] = "0.2"
        config["delete.retention.ms"] = str(DAY_MS)
    else:
        config["retention.ms"] = str(options.retention_ms if topic.name != META else -1)
    if topic.append_time and options.clock == "wall":
        config["message.timestamp.type"] = "LogAppendTime"
    return config


def _wait_for_leaders(admin: AdminClient, broker: str, topics: list[Topic], deadline: float) -> None:
    while True:
        known = admin.list_topics(timeout=10).topics
        waiting = [topic.name for topic in topics if not _led(known, topic)]
        if not waiting:
            return
        if time.monotonic() >= deadline:
            raise BrokerAway(f"the broker at {broker} names no leader for {', '.join(waiting)}")
        time.sleep(0.05)


def _led(known: Mapping[str, object], topic: Topic) -> bool:
    found = getattr(known.get(topic.name), "partitions", None)
    if not found:
        return False
    if len(found) != topic.partitions:
        raise LogError(
            f"topic {topic.name} has {len(found)} partitions, this installation has {topic.partitions}: "
            "start it with the number it was made with"
        )
    return all(partition.leader >= 0 for partition in found.values())


def _epoch(broker: str, deadline: float) -> str:
    """Trap: two processes may come here at once, so what counts is the first record in the topic."""
    found = _read_epoch(broker, deadline)
    if found is not None:
        return found
    producer = Producer(_connection(broker) | {"acks": "all"})
    producer.produce(META, value=msgspec.json.encode(Epoch(uuid.uuid4().hex)), partition=0)
    if producer.flush(max(1.0, deadline - time.monotonic())):
        raise BrokerAway(f"the broker at {broker} did not take the log's epoch")
    found = _read_epoch(broker, deadline)
    if found is None:
        raise LogError(f"the epoch written to {META} cannot be read back from {broker}")
    return found


def _read_epoch(broker: str, deadline: float) -> str | None:
    """The first record of META, or None when the partition's end is reached without one."""
    consumer = Consumer(
        _connection(broker)
        | {"group.id": "trucban-epoch", "enable.auto.commit": False, "enable.partition.eof": True}
        | {"auto.offset.reset": "earliest", "fetch.wait.max.ms": 20}
    )
    try:
        consumer.assign([TopicPartition(META, 0, 0)])
        while time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if error is None:
                return msgspec.json.decode(message.value() or b"", type=Epoch).epoch
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name for it
                return None
            if not error.retriable():
                raise LogError(f"{META} cannot be read from {broker}: {error.str()}")
        raise BrokerAway(f"no Kafka broker answers at {broker}")
    finally:
        consumer.close()
