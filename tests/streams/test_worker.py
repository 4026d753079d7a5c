"""Worker processes on both brokers: killed, moved, frozen; the counts stay exact."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

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
