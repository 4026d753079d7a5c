"""Reading a partition of a compacted topic to its end, without a consumer group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from schemas.errors import BrokerAway

Take = Callable[[bytes | None, bytes | None], None]

FETCH_BYTES = 8 * 1024 * 1024
RETRY_SECONDS = 0.2


def _consumer(broker: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        bootstrap_servers=broker,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=20,
        max_partition_fetch_bytes=FETCH_BYTES,
    )


async def read_to_end(broker: str, topic: str, partition: int, take: Take, *, timeout: float = 60.0) -> int:
    """Give ``take`` each record's key and value from the log's start to its present end.

    Returns the end offset. A broker that goes away meanwhile is waited for; ``take`` then gets the
    records again from the start. Trap: where the end is, only the answer to a fetch tells. On the
    embedded broker ListOffsets(latest) answers the base offset of the last batch plus one, so a
    reader that trusts it stops inside the last batch.

    Raises:
        BrokerAway: the broker did not answer within ``timeout`` seconds.
    """
    away: BaseException | None = None
    try:
        async with asyncio.timeout(timeout):
            while True:
                try:
                    return await _read(broker, TopicPartition(topic, partition), take)
                except KafkaError as error:
                    away = error
                await asyncio.sleep(RETRY_SECONDS)
    except TimeoutError as error:
        text = f"{topic}[{partition}] could not be read to its end from {broker} in {timeout:g} s"
        raise BrokerAway(text) from (away or error)


async def _read(broker: str, tp: TopicPartition, take: Take) -> int:
    consumer = _consumer(broker)
    try:
        await consumer.start()
        consumer.assign([tp])
        consumer.seek(tp, 0)
        return await _drain(consumer, tp, take)
    finally:
        await consumer.stop()


async def _drain(consumer: AIOKafkaConsumer, tp: TopicPartition, take: Take) -> int:
    while True:
        for records in (await consumer.getmany(tp, timeout_ms=50)).values():
            for record in records:
                take(record.key, record.value)
        end = consumer.highwater(tp)
        if end is not None and await consumer.position(tp) >= end:
            return int(end)
