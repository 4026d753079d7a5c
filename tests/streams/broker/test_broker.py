"""The embedded broker as Kafka's clients see it, also when it is killed."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import ConsumerRecord
from confluent_kafka import Consumer, KafkaError, Message, Producer
from confluent_kafka import TopicPartition as Assigned

from schemas.errors import SupervisionError
from streams.broker import frames
from streams.broker.journal import Journal
from streams.broker.process import run_broker
from tests.support.broker import BrokerProcess

pytestmark = [pytest.mark.slow]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    process = BrokerProcess(tmp_path)
    process.start()
    try:
        yield process
    finally:
        process.stop()


async def create(broker: BrokerProcess, topic: str, partitions: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, partitions, 1)])
    finally:
        await admin.close()


@asynccontextmanager
async def producer(broker: BrokerProcess, **options: object) -> AsyncIterator[AIOKafkaProducer]:
    one = AIOKafkaProducer(bootstrap_servers=broker.address, **options)
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


async def read_all(broker: BrokerProcess, topic: str, partitions: int) -> dict[int, list[ConsumerRecord]]:
    """Every record of a topic, up to the end that ListOffsets names."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.address, enable_auto_commit=False)
    await consumer.start()
    try:
        parts = [TopicPartition(topic, p) for p in range(partitions)]
        consumer.assign(parts)
        await consumer.seek_to_beginning(*parts)
        ends = await consumer.end_offsets(parts)
        found: dict[int, list[ConsumerRecord]] = {p: [] for p in range(partitions)}
        async with asyncio.timeout(30):
            while [part for part in parts if await consumer.position(part) < ends[part]]:
                for part, records in (await consumer.getmany(timeout_ms=200)).items():
                    found[part.partition] += records
        return found
    finally:
        await consumer.stop()


@pytest.mark.parametrize("compression", [None, "gzip"])
async def test_records_offsets_times_and_headers_survive_a_restart(
    broker: BrokerProcess, compression: str | None
) -> None:
    await create(broker, "t", 2)
    async with producer(broker, compression_type=compression, linger_ms=5) as one:
        for number in range(50):
            await one.send(
                "t",
                b"%d" % number,
                key=b"k",
                partition=number % 2,
                timestamp_ms=1_700_000_000_000 + number,
                headers=[("h", b"%d" % number)],
            )
        await one.flush()
    before = await read_all(broker, "t", 2)
    assert [len(records) for records in before.values()] == [25, 25]
    broker.kill()
    broker.start()
    assert await read_all(broker, "t", 2) == before


async def test_an_idempotent_librdkafka_producer_goes_on_after_a_restart(broker: BrokerProcess) -> None:
    await create(broker, "t", 1)
    delivered: list[int | None] = []
    errors: list[KafkaError] = []

    def heard(error: KafkaError | None, message: Message) -> None:
        if error is None:
            delivered.append(message.offset())
        else:
            errors.append(error)

    one = Producer(
        {"bootstrap.servers": broker.address, "enable.idempotence": True, "linger.ms": 0, "log_level": 0}
    )
    for number in range(20):
        one.produce("t", b"%d" % number, on_delivery=heard)
    one.flush(10)
    broker.kill()
    for number in range(20, 40):
        one.produce("t", b"%d" % number, on_delivery=heard)
    broker.start()
    assert one.flush(30) == 0
    assert (delivered, errors) == (list(range(40)), [])
    values = [record.value for record in (await read_all(broker, "t", 1))[0]]
    assert values == [b"%d" % number for number in range(40)]


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_a_librdkafka_consumer_goes_on_after_a_restart(broker: BrokerProcess, codec: str) -> None:
    await create(broker, "t", 1)
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "unused", "log_level": 0})
    consumer.assign([Assigned("t", 0, 0)])
    found: list[tuple[int | None, str | bytes | None]] = []
    try:
        for life in range(2):
            one = Producer({"bootstrap.servers": broker.address, "compression.type": codec, "log_level": 0})
            for number in range(100):
                one.produce("t", b"%d" % (life * 100 + number))
            assert one.flush(10) == 0
            async with asyncio.timeout(20):
                while len(found) < (life + 1) * 100:
                    messages = await asyncio.to_thread(consumer.consume, 100, 0.2)
                    found += [
                        (message.offset(), message.value()) for message in messages if not message.error()
                    ]
            broker.kill()
            broker.start()
    finally:
        consumer.close()
    assert found == [(number, b"%d" % number) for number in range(200)]


async def test_an_idempotent_aiokafka_producer_goes_on_after_a_restart(broker: BrokerProcess) -> None:
    await create(broker, "t", 1)
    async with producer(broker, enable_idempotence=True) as one:
        for number in range(5):
            await one.send_and_wait("t", b"%d" % number)
        broker.kill()
        late = asyncio.create_task(one.send_and_wait("t", b"5"))
        broker.start()
        assert (await late).offset == 5


async def test_without_acknowledgement_nothing_gets_out_of_step(broker: BrokerProcess) -> None:
    await create(broker, "t", 1)
    async with producer(broker, acks=0) as one:
        for _ in range(20):
            await one.send_and_wait("t", b"quiet")
        assert (await one.client.fetch_all_metadata()).partitions_for_topic("t") == {0}
    assert len((await read_all(broker, "t", 1))[0]) == 20


async def test_a_topic_made_again_starts_at_zero_also_after_a_restart(broker: BrokerProcess) -> None:
    await create(broker, "t", 1)
    async with producer(broker) as one:
        await one.send_and_wait("t", b"old")
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    await admin.delete_topics(["t"])
    await admin.close()
    await create(broker, "t", 1)
    async with producer(broker) as one:
        assert (await one.send_and_wait("t", b"new")).offset == 0
    broker.kill()
    broker.start()
    assert [record.value for record in (await read_all(broker, "t", 1))[0]] == [b"new"]


async def test_a_group_reads_and_keeps_its_offsets(broker: BrokerProcess) -> None:
    await create(broker, "t", 4)
    async with producer(broker) as one:
        for number in range(40):
            await one.send_and_wait("t", b"%d" % number, partition=number % 4)
    consumer = AIOKafkaConsumer(
        "t",
        bootstrap_servers=broker.address,
        group_id="g",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        seen = 0
        async with asyncio.timeout(30):
            while seen < 40:
                seen += sum(map(len, (await consumer.getmany(timeout_ms=500)).values()))
        await consumer.commit()
        assert [await consumer.committed(TopicPartition("t", p)) for p in range(4)] == [10, 10, 10, 10]
    finally:
        await consumer.stop()


async def test_a_waiting_fetch_gets_a_record_at_once(broker: BrokerProcess) -> None:
    await create(broker, "t", 8)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker.address, enable_auto_commit=False, fetch_max_wait_ms=5000
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition("t", p) for p in range(8)])
        await consumer.seek_to_beginning()
        async with producer(broker) as one:
            took = []
            for number in range(20):
                waiting = asyncio.create_task(consumer.getone())
                began = asyncio.get_running_loop().time()
                await one.send_and_wait("t", b"%d" % number, partition=number % 8)
                assert (await asyncio.wait_for(waiting, 10)).value == b"%d" % number
                took.append(asyncio.get_running_loop().time() - began)
        assert sorted(took)[10] < 0.5  # half of 5 s would be Tansu's own
    finally:
        await consumer.stop()


def exchange(broker: BrokerProcess, frame: bytes) -> bytes:
    """Send one frame over a fresh connection; the answer, or nothing where the connection is closed."""
    with socket.create_connection(("127.0.0.1", broker.port), 5) as connection:
        connection.sendall(struct.pack(">i", len(frame)) + frame)
        with connection.makefile("rb") as answers:
            head = answers.read(4)
            return answers.read(struct.unpack(">i", head)[0]) if head else b""


async def test_what_cannot_be_stored_is_refused_and_not_journalled(broker: BrokerProcess) -> None:
    await create(broker, "t", 1)
    journal = broker.data_dir / "broker" / "journal"
    size = sum(path.stat().st_size for path in journal.iterdir())
    head = struct.pack(">hhih", 0, 8, 1, -1)
    bad = head + struct.pack(">hhiih", -1, -1, 1000, 1, 1) + b"t" + struct.pack(">iii", 1, 0, 7) + b"garbage"
    assert struct.unpack_from(">iihsiih", exchange(broker, bad))[-1] == frames.CORRUPT_MESSAGE
    for rest in (
        head + b"\xff" * 30,
        struct.pack(">hhih", 21, 0, 1, -1),
        struct.pack(">hhih", 0, 9, 1, -1),
        b"x",
    ):
        assert exchange(broker, rest) == b""
    assert sum(path.stat().st_size for path in journal.iterdir()) == size
    async with producer(broker) as one:
        assert (await one.send_and_wait("t", b"fine")).offset == 0


async def test_a_request_that_tansu_cannot_answer_is_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "broker" / "journal")
    create_frame = (
        struct.pack(">hhihi", 19, 4, 0, -1, 1)
        + struct.pack(">h", 1)
        + b"t"
        + struct.pack(">ihiii?", 1, 1, 0, 0, 1000, False)
    )
    garbage = struct.pack(">hhih", 0, 8, 1, -1) + struct.pack(">hhiih", -1, -1, 1000, 1, 1) + b"t"
    garbage += struct.pack(">iii", 1, 0, 140) + b"garbage" * 20
    journal.append([create_frame, garbage])
    journal.close()
    broker = BrokerProcess(tmp_path)
    broker.start()
    try:
        async with producer(broker) as one:
            assert (await one.send_and_wait("t", b"fine")).offset == 0
    finally:
        broker.stop()
    assert Journal(tmp_path / "broker" / "journal").void_numbers() == {1}


async def test_tansu_ends_with_a_killed_broker_and_the_broker_with_a_killed_tansu(
    broker: BrokerProcess,
) -> None:
    pid = broker.tansu_pid()
    assert pid is not None
    watch = os.pidfd_open(pid)
    broker.kill()
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(watch, gone.set)
    await asyncio.wait_for(gone.wait(), 5)
    asyncio.get_running_loop().remove_reader(watch)
    os.close(watch)
    broker.start()
    broker.kill_tansu()
    assert broker.process is not None
    assert broker.process.returncode == 1
    broker.start()
    assert broker.stop() == 0


async def test_one_directory_one_broker(broker: BrokerProcess) -> None:
    with pytest.raises(SupervisionError) as caught:
        await run_broker(broker.data_dir, 0, stop=asyncio.Event())
    assert str(caught.value) == f"{broker.data_dir / 'broker'} is in use by another broker"


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SupervisionError) as caught:
            await run_broker(tmp_path, port, stop=asyncio.Event())
    assert str(caught.value) == f"port {port} is taken; choose another with --broker-port"


async def _keep_sending(
    broker: BrokerProcess,
    name: int,
    partitions: int,
    done: asyncio.Event,
    acknowledged: dict[bytes, tuple[int, int]],
) -> None:
    """Send numbered records, each partition's in order; note what was acknowledged, and where."""
    async with producer(
        broker, enable_idempotence=True, retry_backoff_ms=50, request_timeout_ms=60_000
    ) as one:
        number = 0
        while not done.is_set():
            sent = []
            for _ in range(random.randint(1, 40)):
                value = b"%d-%d-" % (name, number) + b"x" * random.choice((10, 300, 20_000))
                sent.append((value, await one.send("t", value, partition=number % partitions)))
                number += 1
            for value, future in sent:
                metadata = await future
                acknowledged[value] = (metadata.partition, metadata.offset)


async def _grown(acknowledged: dict[bytes, tuple[int, int]], size: int) -> None:
    while True:
        await asyncio.sleep(random.uniform(0.001, 0.05))
        if len(acknowledged) >= size:
            return


async def test_nothing_acknowledged_is_lost_moved_or_doubled_by_kills(broker: BrokerProcess) -> None:
    """kill -9 of broker and Tansu at random moments, three idempotent producers."""
    await create(broker, "t", 3)
    acknowledged: dict[bytes, tuple[int, int]] = {}
    done = asyncio.Event()
    senders = [asyncio.create_task(_keep_sending(broker, n, 3, done, acknowledged)) for n in range(3)]
    for round_number in range(8):
        await asyncio.wait_for(_grown(acknowledged, len(acknowledged) + 150), 30)
        await asyncio.to_thread(broker.kill if round_number % 2 else broker.kill_tansu)
        await asyncio.to_thread(broker.start)
    done.set()
    async with asyncio.timeout(60):
        await asyncio.gather(*senders)
    found = await read_all(broker, "t", 3)
    where: dict[bytes, tuple[int, int]] = {}
    for partition, records in found.items():
        assert [record.offset for record in records] == list(range(len(records)))
        last = dict.fromkeys(range(3), -1)
        for record in records:
            assert record.value not in where, "twice"
            where[record.value] = (partition, record.offset)
            name, number, _ = record.value.split(b"-")
            assert int(number) > last[int(name)], "out of order"
            last[int(name)] = int(number)
    misplaced = {
        value[:12]: (place, where.get(value))
        for value, place in acknowledged.items()
        if where.get(value) != place
    }
    assert misplaced == {}
