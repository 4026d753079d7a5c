"""The one way into the log for senders: confluent-kafka, idempotent, bounded, in order."""

from __future__ import annotations

import time
from functools import partial as bind

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.errors import BrokerAway, LogError
from schemas.topics import MAX_RECORD_BYTES
from schemas.wire import Headers
from streams.log import Acknowledged

BUFFER_KBYTES = 32 * 1024


class KafkaWriter:
    """`streams.log.Writer` on Kafka.

    ``timeout`` is how long a record may wait for its acknowledgement, in seconds; the broker may be
    away for that long without a loss. Records of one partition keep their order and, with an
    idempotent producer, none is written twice by a retry.
    """

    def __init__(self, broker: str, *, timeout: float = 120.0, linger_ms: float = 5.0) -> None:
        self._broker = broker
        self._timeout = timeout
        self._failure: KafkaError | None = None
        self._where = ""
        self._producer = Producer(
            {
                "bootstrap.servers": broker,
                "partitioner": "murmur2_random",  # what the Java client and `partition_of` do
                "enable.idempotence": True,
                "linger.ms": linger_ms,
                "batch.size": 1024 * 1024,
                "message.max.bytes": MAX_RECORD_BYTES,
                "message.timeout.ms": int(timeout * 1000),
                "queue.buffering.max.kbytes": BUFFER_KBYTES,
                "queue.buffering.max.messages": 1_000_000,
                "reconnect.backoff.max.ms": 1000,
                "log_level": 0,
            }
        )

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        partition: int | None = None,
        headers: Headers = (),
        acknowledged: Acknowledged | None = None,
    ) -> None:
        """See `streams.log.Writer.send`.

        Raises:
            LogError: this record cannot be sent, or an earlier one was refused.
            BrokerAway: the buffer stayed full for as long as a record may wait.
        """
        report = bind(self._delivered, acknowledged)
        where = -1 if partition is None else partition
        deadline = time.monotonic() + self._timeout
        while True:
            self._check()
            try:
                self._producer.produce(
                    topic, value, key, partition=where, headers=list(headers), on_delivery=report
                )
            except BufferError:
                if time.monotonic() > deadline:
                    raise self._away() from None
                self._producer.poll(0.1)
            except KafkaException as error:
                raise LogError(f"a record for {topic} cannot be sent: {error.args[0].str()}") from error
            else:
                self._producer.poll(0)
                return

    def poll(self) -> None:
        """Run what is due for acknowledged records. Sending does so too."""
        self._producer.poll(0)

    def flush(self) -> None:
        """See `streams.log.Writer.flush`."""
        if self._producer.flush(self._timeout + 5):
            raise self._away()
        self._check()

    def _delivered(
        self, acknowledged: Acknowledged | None, error: KafkaError | None, message: Message
    ) -> None:
        if error is not None:
            if self._failure is None:
                self._failure = error
                self._where = f"{message.topic()}[{message.partition()}]"
        elif acknowledged is not None:
            acknowledged(message.partition() or 0, message.offset() or 0)

    def _check(self) -> None:
        if self._failure is None:
            return
        if self._failure.code() == KafkaError._MSG_TIMED_OUT:  # noqa: SLF001 - librdkafka's name for it
            raise self._away()
        raise LogError(f"a record for {self._where} was refused: {self._failure.str()}")

    def _away(self) -> BrokerAway:
        return BrokerAway(
            f"the Kafka broker at {self._broker} did not acknowledge a record in {self._timeout:g} s"
        )
