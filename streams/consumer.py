"""Reading partitions from given offsets, without a group: for the archiver and the like."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import BrokerAway, LogError
from schemas.topics import MAX_RECORD_BYTES
from schemas.wire import Headers
from streams.log import Partition, TopicBatch, grouped, lost

AWAY = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE})  # noqa: SLF001
GONE = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})  # noqa: SLF001

Row = tuple[Partition, int, "bytes | None", "bytes | None", Headers, int]


def partitions_of(broker: str, topics: Iterable[str], *, timeout: float = 30.0) -> dict[str, int]:
    """How many partitions each topic has.

    Raises:
        BrokerAway: no answer within ``timeout`` seconds.
        LogError: a topic does not exist.
    """
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "trucban-reader", "log_level": 0})
    try:
        known = consumer.list_topics(timeout=timeout).topics
    except KafkaException as error:
        raise BrokerAway(f"no Kafka broker answers at {broker}") from error
    finally:
        consumer.close()
    counts = {topic: len(known[topic].partitions) if topic in known else 0 for topic in topics}
    missing = [topic for topic, count in counts.items() if not count]
    if missing:
        raise LogError(f"the log at {broker} has no topic {', '.join(missing)}")
    return counts


class KafkaReader:
    """`streams.log.Reader` on Kafka.

    Never commits to a group: whoever reads keeps the positions next to what it wrote. A position
    that the log no longer holds is `LogLost`, never a silent jump (``auto.offset.reset=error``).
    """

    def __init__(
        self,
        broker: str,
        positions: Mapping[Partition, int],
        *,
        queued_kbytes: int = 16384,
        fetch_wait_ms: int = 50,
    ) -> None:
        """``fetch_wait_ms``: how long the broker may hold an empty fetch. The embedded one does not wake it
        when a record comes, so this is latency there, and each empty fetch costs it CPU."""
        self._broker = broker
        self._positions = dict(positions)
        self._away = False
        self._consumer = Consumer(
            {
                "bootstrap.servers": broker,
                "group.id": "trucban-reader",  # required by librdkafka, never used: no commit, no subscribe
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": fetch_wait_ms,
                "fetch.message.max.bytes": 1024 * 1024,
                "message.max.bytes": MAX_RECORD_BYTES + 64 * 1024,
                "receive.message.max.bytes": 10 * MAX_RECORD_BYTES,
                "queued.max.messages.kbytes": queued_kbytes,
                "reconnect.backoff.max.ms": 1000,
                "log_level": 0,
                "error_cb": self._note,
            }
        )
        self._consumer.assign([TopicPartition(topic, n, at) for (topic, n), at in positions.items()])

    def poll(self, limit: int, timeout: float) -> list[TopicBatch]:
        """See `streams.log.Reader.poll`."""
        messages = self._consumer.consume(1, timeout)
        if messages and limit > 1:
            messages += self._consumer.consume(limit - 1, 0)
        batches = grouped(self._rows(messages))
        for found in batches:
            self._positions[found.topic, found.batch.partition] = found.batch.offsets[-1] + 1
        if batches:
            self._away = False
        elif self._away:
            self._away = False
            raise BrokerAway(f"no Kafka broker answers at {self._broker}")
        return batches

    def _note(self, error: KafkaError) -> None:
        if error.code() in AWAY:
            self._away = True

    def _rows(self, messages: list[Message]) -> Iterator[Row]:
        for message in messages:
            at = (message.topic() or "", message.partition() or 0)
            error = message.error()
            if error is None:
                yield at, message.offset() or 0, *_content(message)
            elif error.code() in GONE:
                raise lost(at, self._positions[at])
            elif error.code() in AWAY or error.retriable():
                self._away = True
            else:
                raise LogError(f"{at[0]}[{at[1]}] cannot be read: {error.str()}")

    def positions(self) -> Mapping[Partition, int]:
        """See `streams.log.Reader.positions`."""
        return dict(self._positions)

    def lag(self) -> dict[Partition, int]:
        """Records between the position and the log's end, by the newest fetch of each partition."""
        behind: dict[Partition, int] = {}
        for (topic, number), position in self._positions.items():
            _, high = self._consumer.get_watermark_offsets(TopicPartition(topic, number), cached=True)
            behind[topic, number] = max(0, high - position)
        return behind

    def close(self) -> None:
        """See `streams.log.Reader.close`."""
        self._consumer.close()


def _content(message: Message) -> tuple[bytes | None, bytes | None, Headers, int]:
    """Key, value, headers and time stamp. (confluent-kafka types keys and headers as text or bytes.)"""
    found = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    headers = [(name, value or b"") for name, value in found]
    return message.key(), message.value(), headers, message.timestamp()[1]
