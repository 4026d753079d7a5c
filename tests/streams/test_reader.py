from __future__ import annotations

import uuid

import pytest

from schemas.errors import BrokerAway
from streams.producer import KafkaWriter
from streams.reader import read_to_end
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
    assert await read_to_end(broker, topic, 1, lambda key, value: keys.append(key)) == 500
    assert keys == [b"%d" % number for number in range(500)]
    assert await read_to_end(broker, topic, 0, lambda key, value: keys.append(key)) == 0


async def test_a_broker_that_is_away_is_named() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(BrokerAway) as caught:
        await read_to_end(address, "t", 3, lambda key, value: None, timeout=0.5)
    assert str(caught.value) == f"t[3] could not be read to its end from {address} in 0.5 s"
