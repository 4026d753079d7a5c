"""`PartitionDriver` on a log in memory: contiguity, snapshots torn at each step, zombies, bounds."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import LogError, LogLost
from schemas.topics import MAX_BLOCK_BYTES
from schemas.wire import LogBatch, OutRecord, Snapshot
from streams.driver import AgentShape, DriverOptions, PartitionDriver, split
from streams.metrics import Count, Gauge
from streams.snapshots import SnapshotIndex
from streams.transport import Fetched
from tests.support.toy import ToyCore


@dataclass
class World:
    """The log as one partition's driver sees it."""

    keys: list[str] = field(default_factory=list)
    sent: list[OutRecord] = field(default_factory=list)
    oldest: int = 0
    seeks: list[int] = field(default_factory=list)
    committed: int = -1
    sends_left: int = -1
    """How many sends still arrive before the process "dies"; -1: all."""
    refuse_commit: str = ""

    async def seek(self, partition: int, offset: int) -> None:
        self.seeks.append(offset)

    async def log_start(self, partition: int) -> int:
        return self.oldest

    async def commit(self, partition: int, offset: int) -> str:
        if not self.refuse_commit:
            self.committed = offset
        return self.refuse_commit

    async def send(self, record: OutRecord) -> Awaitable[object]:
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if self.sends_left == 0:
            done.set_exception(ConnectionError("dead"))
            return done
        self.sends_left -= 1
        self.sent.append(record)
        done.set_result(None)
        return done

    async def read(self, partition: int) -> SnapshotIndex:
        index = SnapshotIndex()
        for record in self.sent:
            if record.topic == "snapshots":
                index.add(record.key, record.value)
        return index

    def fetch(self, start: int, end: int) -> Fetched:
        size = end - start
        batch = LogBatch(
            0,
            list(range(start, end)),
            [key.encode() for key in self.keys[start:end]],
            [b"v"] * size,
            [()] * size,
            [0] * size,
        )
        return Fetched(start, end, len(self.keys), batch)

    def results(self) -> dict[str, int]:
        best: dict[str, tuple[int, int]] = {}
        for record in self.sent:
            if record.topic == "out" and record.key is not None:
                position, count = json.loads(record.value or b"")
                name = record.key.decode()
                best[name] = max(best.get(name, (-1, 0)), (position, count))
        return {name: count for name, (_, count) in best.items()}


@dataclass
class Recorded:
    """Metrics that remember."""

    counts: Counter[Count] = field(default_factory=Counter)
    gauges: dict[Gauge, float] = field(default_factory=dict)

    def count(self, what: Count, agent: str, partition: int, by: int = 1) -> None:
        self.counts[what] += by

    def gauge(self, what: Gauge, agent: str, partition: int, value: float) -> None:
        self.gauges[what] = value


SHAPE = AgentShape("toy", "in", "snapshots", lambda partition: ToyCore(partition, "out"))


def driver(world: World, **options: Any) -> PartitionDriver:
    chosen = DriverOptions(**options)
    return PartitionDriver(
        SHAPE, 0, source=world, sender=world, snapshots=world, options=chosen, metrics=Recorded()
    )


async def started(world: World, **options: Any) -> PartitionDriver:
    one = driver(world, **options)
    await one.restore()
    await one.begin()
    return one


KEYS = ["a", "b", "a", "c", "b", "a", "d", "a", "e", "b"]


async def test_contiguous_batches_are_counted_and_sent() -> None:
    world = World(KEYS)
    one = await started(world)
    await one.take(world.fetch(0, 4))
    await one.take(world.fetch(4, 10))
    assert world.seeks == [0]
    assert one.position == 10
    assert world.results() == Counter(KEYS)


async def test_a_batch_after_a_hole_is_dropped_and_the_input_sought_back() -> None:
    world = World(KEYS)
    one = await started(world)
    await one.take(world.fetch(0, 3))
    await one.take(world.fetch(5, 10))
    assert world.seeks == [0, 3]
    assert one.position == 3
    await one.take(world.fetch(3, 10))
    assert world.results() == Counter(KEYS)


async def test_records_applied_before_are_skipped() -> None:
    world = World(KEYS)
    one = await started(world)
    await one.take(world.fetch(0, 6))
    await one.take(world.fetch(2, 8))
    await one.take(world.fetch(7, 10))
    assert world.results() == Counter(KEYS)


async def test_offsets_missing_inside_a_fetch_are_no_hole() -> None:
    """Transaction markers and compaction leave offsets out; the fetch covers them."""
    world = World(KEYS)
    one = await started(world)
    whole = world.fetch(0, 2)
    await one.take(replace(whole, end=5))  # 2, 3 and 4 are markers
    await one.take(world.fetch(5, 10))
    await one.take(replace(world.fetch(10, 10), end=12))  # a fetch of markers only
    assert world.seeks == [0]
    assert world.results() == Counter(KEYS[:2] + KEYS[5:])


async def test_a_position_before_the_logs_start_is_an_error() -> None:
    world = World(KEYS, oldest=5)
    one = await started(world)
    with pytest.raises(LogLost) as caught:
        await one.take(world.fetch(5, 10))
    assert str(caught.value) == (
        "in[0]: records 0 to 4 are gone from the log before toy processed them; restore the log from "
        "the archive or raise the topic's retention"
    )


async def test_a_log_shorter_than_the_snapshot_is_an_error() -> None:
    world = World(KEYS)
    one = await started(world)
    await one.take(world.fetch(0, 10))
    for _ in range(3):
        await one.take(world.fetch(0, 4))
    with pytest.raises(LogError) as caught:
        await one.take(world.fetch(0, 4))
    assert str(caught.value) == (
        "in[0] does not reach position 10, to which toy has a snapshot (the log gives 0 to 3): log and "
        "snapshots do not belong together"
    )


async def test_nothing_is_taken_before_the_seek_or_after_the_loss() -> None:
    world = World(KEYS)
    one = driver(world)
    await one.take(world.fetch(0, 4))
    assert one.position == 0
    await one.restore()
    await one.begin()
    await one.take(world.fetch(0, 4))
    await one.close(1)
    await one.take(world.fetch(4, 10))
    await one.flush()
    assert one.position == 4


async def test_a_successor_goes_on_from_the_snapshot() -> None:
    world = World(KEYS)
    one = await started(world)
    await one.take(world.fetch(0, 6))
    await one.snapshot()
    assert world.committed == 6
    two = await started(world)
    assert (two.position, world.seeks) == (6, [0, 6])
    await two.take(world.fetch(6, 10))
    assert world.results() == Counter(KEYS)


@pytest.mark.parametrize("step", range(14))
async def test_a_snapshot_torn_at_any_step_changes_nothing(step: int) -> None:
    """Dead after so many sends of the second snapshot: whichever is the newest whole one, results agree."""
    world = World(KEYS)
    one = await started(world)
    await one.take(world.fetch(0, 5))
    await one.snapshot()
    await one.take(world.fetch(5, 8))
    world.sends_left = step
    with suppress(LogError):
        await one.snapshot()
    world.sends_left = -1
    two = await started(world)
    assert two.position in {5, 8}
    await two.take(world.fetch(two.position, 10))
    await two.snapshot()
    assert world.results() == Counter(KEYS)
    three = await started(world)
    assert three.position == 10
    assert three._core.counts == Counter(KEYS)  # type: ignore[attr-defined]


async def test_a_snapshot_is_committed_only_behind_its_outputs() -> None:
    world = World(KEYS)
    one = await started(world, flush_interval=1e9)
    await one.take(replace(world.fetch(0, 6), highwater=100))  # under load: nothing is flushed yet
    await one.snapshot()
    topics = [record.topic for record in world.sent]
    assert "out" in topics
    assert topics.index("snapshots") > max(i for i, topic in enumerate(topics) if topic == "out")


async def test_a_zombies_snapshot_and_tombstones_harm_nobody() -> None:
    world = World(KEYS)
    zombie = await started(world)
    await zombie.take(world.fetch(0, 3))
    await zombie.snapshot()
    await zombie.take(world.fetch(3, 5))
    owner = await started(world)  # the zombie lost the partition and does not know
    await owner.take(world.fetch(3, 9))
    await owner.snapshot()  # removes what the zombie wrote
    world.refuse_commit = "not a member"
    await zombie.snapshot()  # incremental, on blocks that are gone
    await zombie.take(world.fetch(5, 7))
    await zombie.snapshot()
    world.refuse_commit = ""
    third = await started(world)
    assert third.position == 9
    await third.take(world.fetch(9, 10))
    assert world.results() == Counter(KEYS)


async def test_snapshots_are_incremental_and_leave_only_live_records() -> None:
    world = World(KEYS)
    one = await started(world)
    for end in range(1, 11):
        await one.take(world.fetch(end - 1, end))
        await one.snapshot()
    index = await world.read(0)
    assert len(index.keys()) == 5  # four blocks and the newest commit
    blocks = [
        r
        for r in world.sent
        if r.topic == "snapshots" and r.value is not None and b"commit" not in (r.key or b"")
    ]
    assert len(blocks) == 4 + 9


async def test_a_refused_commit_of_the_position_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    world = World(KEYS, refuse_commit="not a member")
    one = await started(world)
    await one.take(world.fetch(0, 10))
    await one.snapshot()
    assert "toy[0] position not committed: not a member" in caplog.messages
    assert (await started(world)).position == 10


async def test_a_last_snapshot_that_takes_too_long_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    class Silent(World):
        async def send(self, record: OutRecord) -> Awaitable[object]:
            if record.topic == "snapshots":
                return asyncio.get_running_loop().create_future()
            return await super().send(record)

    world = Silent(KEYS)
    one = await started(world)
    await one.take(world.fetch(0, 10))
    await one.close(0.05)
    assert "toy[0] left without a last snapshot: no time" in caplog.messages
    assert (await started(world)).position == 0


async def test_a_block_that_is_too_large_is_an_error() -> None:
    class Large(ToyCore):
        def snapshot(self, *, complete: bool) -> Snapshot:
            return Snapshot(self.position, {"huge@1": bytes(MAX_BLOCK_BYTES + 1)}, ("huge@1",))

    world = World(KEYS)
    one = PartitionDriver(
        replace(SHAPE, make=lambda partition: Large(partition, "out")),
        0,
        source=world,
        sender=world,
        snapshots=world,
        options=DriverOptions(),
        metrics=Recorded(),
    )
    await one.restore()
    await one.begin()
    await one.take(world.fetch(0, 10))
    with pytest.raises(LogError) as caught:
        await one.snapshot()
    assert str(caught.value) == "toy made snapshot blocks that are too large: huge@1"


async def test_a_snapshot_is_due_by_time_or_output() -> None:
    world = World(KEYS)
    one = await started(world, snapshot_interval=1e9, snapshot_bytes=300)
    loop = asyncio.get_running_loop()
    assert not one.snapshot_due(loop.time())
    await one.take(world.fetch(0, 1))
    assert not one.snapshot_due(loop.time())
    assert one.snapshot_due(loop.time() + 2e9)
    await one.take(world.fetch(1, 10))
    assert one.snapshot_due(loop.time())
    await one.snapshot()
    assert not one.snapshot_due(loop.time() + 2e9)


@given(
    sizes=st.lists(st.integers(0, 50), max_size=30),
    max_records=st.integers(1, 8),
    max_bytes=st.integers(1, 100),
)
def test_split_keeps_order_and_bounds(sizes: list[int], max_records: int, max_bytes: int) -> None:
    count = len(sizes)
    values: list[bytes | None] = [bytes(size) for size in sizes]
    batch = LogBatch(3, list(range(count)), [None] * count, values, [()] * count, [0] * count)
    parts = split(batch, max_records, max_bytes)
    assert [offset for part in parts for offset in part.offsets] == batch.offsets
    for part in parts:
        assert 0 < len(part) <= max_records
        assert len(part) == 1 or sum(len(value or b"") for value in part.values) <= max_bytes
