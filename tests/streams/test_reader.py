from __future__ import annotations

import uuid

import pytest

from schemas.errors import BrokerAway
from schemas.wire import Snapshot
from streams.producer import KafkaWriter
from streams.reader import read_snapshots, read_to_end
from streams.snapshots import SnapshotWriter
from tests.support.kafka import free_port, make_topic


async def test_a_partition_is_read_to_its_very_end(broker: str) -> None:
    """Also inside the last batch, which the embedded broker's ListOffsets does not tell."""
    topic = f"read-{uuid.uuid4().hex}"
    make_topic(broker, topic, 2)
    writer = KafkaWriter(broker, linger_ms=50)
    for number in range(500):
        writer.send(topic, b"%d" % number, b"v" * 200, partition=1)
    writer.flush()
    keys: list[bytes | None] = []
    assert await read_to_end(broker, topic, 1, lambda key, value: keys.append(key))
    assert keys == [b"%d" % number for number in range(500)]
    assert await read_to_end(broker, topic, 0, lambda key, value: keys.append(key))
    assert len(keys) == 500
    keys.clear()
    assert not await read_to_end(broker, topic, 1, lambda key, value: keys.append(key), tail=7)
    assert keys == [b"%d" % number for number in range(493, 500)]
    assert await read_to_end(broker, topic, 1, lambda key, value: keys.append(key), tail=500)


async def test_as_much_is_read_as_decides_which_snapshot_is_the_newest(broker: str) -> None:
    topic = f"read-{uuid.uuid4().hex}"
    make_topic(broker, topic, 1)
    snapshots = SnapshotWriter("i", [])
    writer = KafkaWriter(broker)

    def write(state: Snapshot) -> None:
        for key, value in [*snapshots.blocks(state), snapshots.commit(state)]:
            writer.send(topic, key, value, partition=0)
        for key in snapshots.committed():
            writer.send(topic, key, None, partition=0)
        writer.flush()

    assert (await read_snapshots(broker, topic, 0)).newest() is None
    write(Snapshot(1, {"old@1": b"o", "a@1": b"a"}, ("old@1", "a@1")))
    for position in range(2, 30):  # the newest snapshot needs the very first block
        write(Snapshot(position, {f"a@{position}": b"a"}, ("old@1", f"a@{position}")))
    found = (await read_snapshots(broker, topic, 0, tail=5)).newest()
    assert found is not None
    assert (found.commit.position, sorted(found.blocks)) == (29, ["a@29", "old@1"])
    write(Snapshot(30, {"new@30": b"n", "a@30": b"a"}, ("new@30", "a@30")))
    index = await read_snapshots(broker, topic, 0, tail=6)
    assert index.conclusive()
    assert len(index.keys()) == 3  # the tail was enough


async def test_a_broker_that_is_away_is_named() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(BrokerAway) as caught:
        await read_to_end(address, "t", 3, lambda key, value: None, timeout=0.5)
    assert str(caught.value) == f"t[3] could not be read to its end from {address} in 0.5 s"
