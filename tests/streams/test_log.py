"""The contract of `streams.log` on the fake, the embedded broker and Apache Kafka."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from schemas.errors import BrokerAway, LogError, LogLost
from schemas.topics import partition_of
from schemas.wire import LogBatch
from streams.consumer import KafkaReader, partitions_of
from streams.log import MemoryLog, Partition, Reader, Writer
from streams.producer import KafkaWriter
from tests.support.kafka import free_port, make_topic

PARTITIONS = 3


@dataclass
class Edge:
    """One implementation of the log's edge, with a fresh topic."""

    topic: str
    writer: Writer
    reader: Callable[[Mapping[Partition, int]], Reader]


@pytest.fixture(params=["memory", "embedded", "apache"])
def edge(request: pytest.FixtureRequest) -> Edge:
    topic = f"log-{uuid.uuid4().hex}"
    if request.param == "memory":
        log = MemoryLog({topic: PARTITIONS})
        return Edge(topic, log, log.reader)
    address = request.getfixturevalue(f"{request.param}_broker")
    make_topic(address, topic, PARTITIONS)
    return Edge(topic, KafkaWriter(address), lambda positions: KafkaReader(address, positions))


def read(reader: Reader, records: int) -> dict[Partition, list[LogBatch]]:
    found: dict[Partition, list[LogBatch]] = {}
    try:
        for _ in range(400):
            for one in reader.poll(100, 0.1):
                found.setdefault((one.topic, one.batch.partition), []).append(one.batch)
            if sum(len(batch) for batches in found.values() for batch in batches) >= records:
                return found
    finally:
        reader.close()
    pytest.fail(f"{records} records were expected, found {found}")


def start(edge: Edge) -> dict[Partition, int]:
    return {(edge.topic, number): 0 for number in range(PARTITIONS)}


def test_records_come_back_in_order_with_everything_they_carried(edge: Edge) -> None:
    acknowledged: list[tuple[int, int]] = []
    for number in range(5):
        edge.writer.send(
            edge.topic,
            b"k%d" % number,
            b"v%d" % number,
            partition=1,
            headers=[("kind", b"pulse")],
            acknowledged=lambda *where: acknowledged.append(where),
        )
    edge.writer.send(edge.topic, None, None, partition=1)
    edge.writer.flush()

    (batches,) = read(edge.reader(start(edge)), 6).values()
    assert [offset for batch in batches for offset in batch.offsets] == [0, 1, 2, 3, 4, 5]
    assert [key for batch in batches for key in batch.keys] == [b"k0", b"k1", b"k2", b"k3", b"k4", None]
    assert [v for batch in batches for v in batch.values] == [b"v0", b"v1", b"v2", b"v3", b"v4", None]
    assert [list(headers) for batch in batches for headers in batch.headers] == [[("kind", b"pulse")]] * 5 + [
        []
    ]
    assert acknowledged == [(1, offset) for offset in range(5)]


def test_the_key_decides_the_partition(edge: Edge) -> None:
    keys = [f"school-{number}" for number in range(20)]
    for key in keys:
        edge.writer.send(edge.topic, key.encode(), b"")
    edge.writer.flush()

    found = read(edge.reader(start(edge)), len(keys))
    placed = {key: at[1] for at, batches in found.items() for batch in batches for key in batch.keys}
    assert placed == {key.encode(): partition_of(key, PARTITIONS) for key in keys}


def test_reading_starts_where_it_is_told_and_positions_move(edge: Edge) -> None:
    for number in range(4):
        edge.writer.send(edge.topic, b"k", b"%d" % number, partition=0)
    edge.writer.flush()

    reader = edge.reader({(edge.topic, 0): 2})
    found = read(reader, 2)
    assert [v for batch in found[edge.topic, 0] for v in batch.values] == [b"2", b"3"]
    assert reader.positions() == {(edge.topic, 0): 4}


def test_a_limit_is_kept(edge: Edge) -> None:
    for number in range(4):
        edge.writer.send(edge.topic, b"k", b"%d" % number, partition=0)
    edge.writer.flush()

    reader = edge.reader({(edge.topic, 0): 0})
    sizes = []
    for _ in range(200):
        sizes += [len(one.batch) for one in reader.poll(3, 0.05)]
        if sum(sizes) == 4:
            break
    reader.close()
    assert sum(sizes) == 4
    assert max(sizes) <= 3


def test_a_lost_record_is_an_error_in_memory() -> None:
    log = MemoryLog({"t": 1})
    for _ in range(3):
        log.send("t", b"", b"")
    log.forget("t", 0, 2)
    with pytest.raises(LogLost) as caught:
        log.reader({("t", 0): 1}).poll(10, 0)
    assert str(caught.value) == "t[0]: the log no longer holds position 1"


def test_a_position_past_the_logs_end_is_an_error(apache_broker: str) -> None:
    topic = f"log-{uuid.uuid4().hex}"
    make_topic(apache_broker, topic, 1)
    reader = KafkaReader(apache_broker, {(topic, 0): 7})
    with pytest.raises(LogLost) as caught:
        read(reader, 1)
    assert str(caught.value) == f"{topic}[0]: the log no longer holds position 7"


def test_a_broker_that_is_away_is_named() -> None:
    address = f"127.0.0.1:{free_port()}"
    writer = KafkaWriter(address, timeout=0.5)
    writer.send("t", b"", b"", partition=0)
    with pytest.raises(BrokerAway) as refused:
        writer.flush()
    assert str(refused.value) == f"the Kafka broker at {address} did not acknowledge a record in 0.5 s"

    reader = KafkaReader(address, {("t", 0): 0})
    with pytest.raises(BrokerAway) as away:
        read(reader, 1)
    assert str(away.value) == f"no Kafka broker answers at {address}"
    with pytest.raises(BrokerAway) as unknown:
        partitions_of(address, ["t"], timeout=0.5)
    assert str(unknown.value) == f"no Kafka broker answers at {address}"


def test_partitions_are_counted_and_missing_topics_named(broker: str) -> None:
    topic = f"log-{uuid.uuid4().hex}"
    make_topic(broker, topic, PARTITIONS)
    assert partitions_of(broker, [topic]) == {topic: PARTITIONS}
    with pytest.raises(LogError) as caught:
        partitions_of(broker, [topic, "absent-topic"])
    assert str(caught.value) == f"the log at {broker} has no topic absent-topic"


def test_a_record_that_is_too_large_is_refused(embedded_broker: str) -> None:
    writer = KafkaWriter(embedded_broker)
    with pytest.raises(LogError) as caught:
        writer.send("t", b"", bytes(9 * 1024 * 1024), partition=0)
    assert (
        str(caught.value)
        == "a record for t cannot be sent: Unable to produce message: Broker: Message size too large"
    )
