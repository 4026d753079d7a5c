"""Log to ClickHouse for real: the embedded broker, the embedded server, the archiver, and kill -9."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer

from schemas.topics import ACCEPTED, AGGREGATES, TRANSITIONS
from store.query import events_by_type, positions, summarise
from streams.archive_source import KafkaArchiveSource
from streams.archiver import BatchBounds
from streams.topics import ensure_topics
from tests.support.archive import accepted, aggregate, transition
from tests.support.broker import BrokerProcess
from tests.support.clickhouse import ROOT, ClickHouseProcess

pytestmark = pytest.mark.slow

_PROGRAM = "import sys; from streams.archiver import run_archiver; run_archiver(sys.argv[1], sys.argv[2])"


def start_archiver(broker: str, url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _PROGRAM, broker, url], cwd=ROOT)


def until(true: Callable[[], bool], bound: float = 40.0) -> None:
    deadline = time.monotonic() + bound
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


class Log:
    """Writes accepted events, 10 a record, over four partitions."""

    def __init__(self, broker: str) -> None:
        self._producer = Producer({"bootstrap.servers": broker, "enable.idempotence": True})
        self.events = 0

    def add(self, records: int) -> None:
        for _ in range(records):
            names = [f"e{self.events + n}" for n in range(10)]
            partition = self.events // 10 % 4
            self._producer.produce(ACCEPTED, accepted(names, first=self.events), partition=partition)
            self.events += 10
        self._producer.flush(30)

    def send(self, topic: str, value: bytes | None) -> None:
        self._producer.produce(topic, value, partition=0)
        self._producer.flush(30)


def test_killed_and_left_alone_the_archive_ends_up_exact(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path / "broker")
    broker.start()
    server = ClickHouseProcess(tmp_path / "clickhouse")
    server.start()
    archiver = start_archiver(broker.address, server.url)  # before there are topics: it waits
    try:
        epoch = ensure_topics(broker.address, 4)
        log = Log(broker.address)
        log.add(40)
        until(lambda: archived(server) > 0)
        for round_ in range(3):
            log.add(60)
            if round_ == 1:
                server.kill()
                log.add(40)
                server.start()
            archiver.kill()
            archiver.wait()
            archiver = start_archiver(broker.address, server.url)
        log.send(AGGREGATES, aggregate(3, 1).batch.values[0])
        log.send(TRANSITIONS, transition(1, "firing"))
        log.send(AGGREGATES, b"broken")
        until(lambda: archived(server) == log.events)
        until(lambda: summarise(server.client()).rows["quarantine"] == 1)
        summary = summarise(server.client())
        assert (summary.rows["aggregates"], summary.rows["transitions"]) == (1, 1)
        assert summary.last_stored is not None
        assert events_by_type(server.client()) == {"attendance.marked": log.events}
        reached = positions(server.client(), epoch)
        assert sum(reached[ACCEPTED, partition] for partition in range(4)) == log.events // 10
        archiver.terminate()
        assert archiver.wait(20) == 0
    finally:
        archiver.kill()
        archiver.wait()
        server.stop()
        broker.stop()


def archived(server: ClickHouseProcess) -> int:
    rows = server.client().query(
        "SELECT count() FROM system.tables WHERE database = 'trucban' AND name = 'quarantine'"
    )
    return summarise(server.client()).rows["events"] if rows[0][0] else 0


def test_batches_are_bounded_and_in_order(broker: str) -> None:
    source = KafkaArchiveSource(broker)
    try:
        epoch = ensure_topics(broker, 8)
        log = Log(broker)
        log.add(100)
        assert source.epoch() == epoch
        source.assign({(ACCEPTED, 1): 20})
        seen: dict[int, list[int]] = {}
        while sum(map(len, seen.values())) < 80:
            slices = source.poll(BatchBounds(records=30, seconds=2.0))
            assert sum(len(part.batch) for part in slices) <= 30
            for part in slices:
                seen.setdefault(part.batch.partition, []).extend(part.batch.offsets)
        assert seen == {0: [*range(25)], 1: [*range(20, 25)], 2: [*range(25)], 3: [*range(25)]}
        assert source.poll(BatchBounds(seconds=0.1)) == []
    finally:
        source.close()
