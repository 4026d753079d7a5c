"""Reading a partition to its end without a consumer group; the snapshots at take-over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from schemas.errors import BrokerAway
from streams.snapshots import SnapshotIndex

Take = Callable[[bytes | None, bytes | None], None]

FETCH_BYTES = 8 * 1024 * 1024
RETRY_SECONDS = 0.2
TAIL = 2000
"""Offsets at the end of a snapshot partition that are read first."""


def _consumer(broker: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        bootstrap_servers=broker,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=20,
        max_partition_fetch_bytes=FETCH_BYTES,
    )


async def read_snapshots(broker: str, topic: str, partition: int, *, tail: int = TAIL) -> SnapshotIndex:
    """The snapshots of a partition, from as little of it as decides which one is the newest.

    The embedded broker never compacts, so the whole partition is the history of all snapshots.
    """
    while True:
        index = SnapshotIndex()
        if await read_to_end(broker, topic, partition, index.add, tail=tail) or index.conclusive():
            return index
        tail *= 8


async def read_to_end(
    broker: str, topic: str, partition: int, take: Take, *, tail: int = 0, timeout: float = 60.0
) -> bool:
    """Give ``take`` each record's key and value up to the log's present end, in order.

    With ``tail`` only the records of the last so many offsets. Returns whether that was everything.
    A broker that goes away meanwhile is waited for; ``take`` then gets the records again from the
    start. Trap: where the end is, only the answer to a fetch tells. On the embedded broker
    ListOffsets(latest) answers the base offset of the last batch plus one, so a reader that trusts
    it stops inside the last batch.

    Raises:
        BrokerAway: the broker did not answer within ``timeout`` seconds.
    """
    away: BaseException | None = None
    try:
        async with asyncio.timeout(timeout):
            while True:
                try:
                    return await _read(broker, TopicPartition(topic, partition), take, tail)
                except KafkaError as error:
                    away = error
                await asyncio.sleep(RETRY_SECONDS)
    except TimeoutError as error:
        text = f"{topic}[{partition}] could not be read to its end from {broker} in {timeout:g} s"
        raise BrokerAway(text) from (away or error)


async def _read(broker: str, tp: TopicPartition, take: Take, tail: int) -> bool:
    consumer = _consumer(broker)
    try:
        await consumer.start()
        consumer.assign([tp])
        consumer.seek(tp, 0)
        start = await _seek_tail(consumer, tp, tail) if tail else 0
        await _drain(consumer, tp, take)
        return start == 0
    finally:
        await consumer.stop()


async def _seek_tail(consumer: AIOKafkaConsumer, tp: TopicPartition, tail: int) -> int:
    """Seek to the last ``tail`` offsets, or to the start if there are not more."""
    while consumer.highwater(tp) is None:
        await consumer.getmany(tp, timeout_ms=50, max_records=1)
    start = max(0, int(consumer.highwater(tp)) - tail)
    consumer.seek(tp, start)
    return start


async def _drain(consumer: AIOKafkaConsumer, tp: TopicPartition, take: Take) -> None:
    while True:
        for records in (await consumer.getmany(tp, timeout_ms=50)).values():
            for record in records:
                take(record.key, record.value)
        end = consumer.highwater(tp)
        if end is not None and await consumer.position(tp) >= end:
            return
