"""The archived topics, read with confluent-kafka: every partition assigned by hand."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import BrokerAway, LogError, LogLost
from schemas.topics import MAX_RECORD_BYTES
from schemas.wire import Headers, LogBatch
from store.archive import TOPICS, Place, Slice
from streams.archiver import BatchBounds
from streams.topics import read_epoch

ANSWER_SECONDS = 10.0
_AWAY = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE})  # noqa: SLF001

_log = structlog.get_logger(__name__)


class KafkaArchiveSource:
    """An `ArchiveSource` over Kafka.

    After the broker was away the epoch is read again: offsets of one log mean nothing in another.
    """

    def __init__(self, broker: str) -> None:
        self._broker = broker
        self._epoch = ""
        self._lost = False
        self._consumer = Consumer(
            {
                "bootstrap.servers": broker,
                "group.id": "trucban-archiver",  # librdkafka insists; nothing is stored under it
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
                "fetch.message.max.bytes": MAX_RECORD_BYTES,
                "queued.max.messages.kbytes": 64 * 1024,
                "queued.min.messages": 1000,
                "reconnect.backoff.max.ms": 1000,
                "log_level": 0,  # what matters comes through the callback
                "error_cb": self._note,
            }
        )

    def epoch(self) -> str:
        """The log's epoch. Raises BrokerAway also while the topics are not made yet."""
        try:
            self._epoch = read_epoch(self._broker, timeout=ANSWER_SECONDS)
        except BrokerAway:
            raise
        except LogError as error:
            raise BrokerAway(str(error)) from error
        return self._epoch

    def assign(self, positions: Mapping[Place, int]) -> None:
        """Read every partition from its position on, and say what retention took before it was read."""
        self._consumer.assign(
            [
                TopicPartition(topic, partition, self._start(topic, partition, positions))
                for topic in TOPICS
                for partition in range(self._partitions(topic))
            ]
        )
        self._lost = False

    def poll(self, bounds: BatchBounds) -> Sequence[Slice]:
        """The next batch."""
        if self._lost:
            self._check_epoch()
        parts: dict[Place, LogBatch] = {}
        deadline = time.monotonic() + bounds.seconds
        records = size = 0
        while records < bounds.records and size < bounds.bytes:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            messages = self._consumer.consume(min(500, bounds.records - records), min(left, 0.05))
            for message in messages:
                size += self._take(message, parts)
            records += len(messages)
        return [Slice(topic, batch) for (topic, _), batch in parts.items()]

    def close(self) -> None:
        """Leave."""
        self._consumer.close()

    def _note(self, error: KafkaError) -> None:
        self._lost = True
        if error.code() not in _AWAY:
            _log.warning("Kafka reports an error", error=error.str())

    def _check_epoch(self) -> None:
        known = self._epoch
        if self.epoch() != known:
            raise LogLost(f"the log at {self._broker} is {self._epoch}, no longer {known}")
        self._lost = False

    def _partitions(self, topic: str) -> int:
        try:
            found = self._consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
        except KafkaException as error:
            raise BrokerAway(f"Kafka does not answer at {self._broker}: {error}") from error
        if found.error is not None or not found.partitions:
            raise BrokerAway(f"the topic {topic} is not there yet")
        return len(found.partitions)

    def _start(self, topic: str, partition: int, positions: Mapping[Place, int]) -> int:
        wanted = positions.get((topic, partition), 0)
        try:
            low, _ = self._consumer.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=ANSWER_SECONDS
            )
        except KafkaException as error:
            raise BrokerAway(f"Kafka does not answer at {self._broker}: {error}") from error
        if low > wanted:
            _log.error(
                "records lost before archiving", topic=topic, partition=partition, records=low - wanted
            )
        return max(low, wanted)

    def _take(self, message: Message, parts: dict[Place, LogBatch]) -> int:
        error = message.error()
        if error is not None:
            self._note(error)  # not raised: what was taken before it must not be lost
            return 0
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if topic is None or partition is None or offset is None:
            raise LogError(f"Kafka at {self._broker} sent a record without its address")
        batch = parts.setdefault((topic, partition), LogBatch(partition, [], [], [], [], []))
        value = message.value()
        batch.offsets.append(offset)
        batch.keys.append(message.key())
        batch.values.append(value)
        batch.headers.append(_headers(message))
        batch.timestamps.append(message.timestamp()[1])
        return len(value or b"")


def _headers(message: Message) -> Headers:
    pairs = message.headers() or ()
    return [(str(name), value) for name, value in pairs if isinstance(value, bytes)]  # type: ignore[str-unpack]
