"""Worker processes on both brokers: killed, moved, frozen; the counts stay exact."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.errors import BrokerAway
from streams.app import WorkerApp
from streams.running import serve
from tests.support.broker import BrokerProcess
from tests.support.kafka import free_port
from tests.support.toy import settings, shape
from tests.support.workers import ToyWorld

pytestmark = [pytest.mark.slow]


@pytest.fixture
def world(broker: str, tmp_path: Path) -> Iterator[ToyWorld]:
    one = ToyWorld(broker, tmp_path)
    try:
        yield one
    finally:
        one.end()


def test_counts_are_exact_while_the_worker_is_killed(world: ToyWorld) -> None:
    worker = world.start(member_id="w1")
    worker.wait_for("ready")
    for _ in range(4):
        world.send(4_000, seconds=world.rng.uniform(0.6, 1.6))
        worker.kill()
        worker = world.start(member_id="w1")
    world.send(4_000, seconds=0.5)
    world.expect_exact()
    assert worker.stop() == 0


def test_partitions_move_between_workers(world: ToyWorld) -> None:
    one = world.start()
    one.wait_for("ready")
    world.send(3_000, seconds=0.5)
    two = world.start()
    world.send(3_000, seconds=1.0)
    two.wait_for("toy[")
    world.send(3_000, seconds=0.5)
    assert one.stop() == 0
    world.send(3_000, seconds=0.5)
    world.expect_exact()


def test_a_frozen_worker_that_wakes_changes_nothing(world: ToyWorld) -> None:
    frozen = world.start()
    frozen.wait_for("toy[")
    world.send(3_000, seconds=1.0)
    other = world.start()
    other.wait_for("toy[")
    frozen.wait_for("Revoking previously assigned")
    world.send(3_000, seconds=0.5)
    frozen.signal(signal.SIGSTOP)
    world.send(6_000, seconds=1.0)
    world.expect_exact()  # the other has everything
    world.send(2_000)
    frozen.signal(signal.SIGCONT)  # its timers fire before it learns that it is out
    world.send(4_000, seconds=3.0)
    world.expect_exact()


def test_a_clean_stop_leaves_snapshots_and_positions_for_the_next(world: ToyWorld) -> None:
    one = world.start(snapshot_interval=1000)
    one.wait_for("toy[")
    world.send(5_000)
    world.expect_exact()
    began = time.monotonic()
    assert one.stop() == 0
    assert time.monotonic() - began < 5
    assert sum(world.committed().values()) == 5_000
    two = world.start()
    for number, position in world.committed().items():
        two.wait_for(f"toy[{number}] starts at {position} (snapshot ")
    world.send(1_000)
    world.expect_exact()


def test_a_record_the_core_fails_on_ends_the_process(world: ToyWorld) -> None:
    world.send(100)
    world.writer.send(f"{world.name}.in", b"k", b"poison", partition=0)
    world.writer.send(f"{world.name}.in", b"k", b"after", partition=0)
    world.writer.flush()
    worker = world.start()
    assert worker.process.wait(40) != 0
    assert "ValueError: poison at " in worker.log.read_text()
    again = world.start()  # and again, at the same record: it is never skipped
    assert again.process.wait(40) != 0
    assert "ValueError: poison at " in again.log.read_text()


def test_a_broker_that_is_away_is_one_sentence(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    app = WorkerApp(settings(address, "away", 2, tmp_path), [shape("away")])
    with pytest.raises(BrokerAway) as caught:
        asyncio.run(serve(app))
    assert str(caught.value) == f"no Kafka broker answers at {address}"


def test_the_embedded_broker_may_be_killed_under_a_worker(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path / "broker")
    broker.start()
    world = ToyWorld(broker.address, tmp_path)
    try:
        world.start().wait_for("toy[")
        for _ in range(2):
            world.send(2_000, seconds=0.5)
            broker.kill()
            broker.start()
        world.send(2_000)
        world.expect_exact()
    finally:
        world.end()
        broker.stop()


def test_a_worker_whose_broker_is_gone_still_ends_on_sigterm(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path / "broker")
    broker.start()
    world = ToyWorld(broker.address, tmp_path)
    try:
        worker = world.start(snapshot_interval=60.0)
        world.send(500)
        world.expect_exact()
        broker.kill()
        worker.signal(signal.SIGTERM)
        assert worker.process.wait(40) in {0, 1}  # by itself: not killed, not hanging
    finally:
        world.end()
        broker.kill()


def test_transaction_markers_are_no_holes(apache_broker: str, tmp_path: Path) -> None:
    """Each commit leaves an offset without a record; none of it is a reason to seek back for ever."""
    world = ToyWorld(apache_broker, tmp_path, partitions=1)
    producer = Producer({"bootstrap.servers": apache_broker, "transactional.id": world.name, "log_level": 0})
    producer.init_transactions(20)
    try:
        world.start().wait_for("toy[")
        for number in range(20):
            producer.begin_transaction()
            producer.produce(f"{world.name}.in", key=f"k{number % 3}", value=b"v", partition=0)
            world.sent[f"k{number % 3}"] += 1
            producer.commit_transaction(20)
        world.expect_exact()
        assert world.workers[0].stop() == 0
        assert world.committed()[0] == 39
    finally:
        world.end()


def test_records_deleted_before_they_were_counted_end_the_worker(apache_broker: str, tmp_path: Path) -> None:
    world = ToyWorld(apache_broker, tmp_path, partitions=1)
    world.send(100)
    admin = AdminClient({"bootstrap.servers": apache_broker, "log_level": 0})
    for future in admin.delete_records([TopicPartition(f"{world.name}.in", 0, 40)]).values():
        future.result()
    try:
        worker = world.start()
        assert worker.process.wait(40) != 0
        assert (
            f"{world.name}.in[0]: records 0 to 39 are gone from the log before toy processed them; restore "
            "the log from the archive or raise the topic's retention"
        ) in worker.log.read_text()
    finally:
        world.end()
