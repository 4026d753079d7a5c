from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from schemas.errors import LogError
from schemas.wire import OutRecord
from streams.outbox import RECORD_OVERHEAD, Outbox


class Held:
    """A broker that acknowledges when told to."""

    def __init__(self) -> None:
        self.records: list[OutRecord] = []
        self.open: list[asyncio.Future[object]] = []

    async def send(self, record: OutRecord) -> Awaitable[object]:
        self.records.append(record)
        self.open.append(asyncio.get_running_loop().create_future())
        return self.open[-1]


def record(size: int, topic: str = "t") -> OutRecord:
    return OutRecord(topic, 0, None, bytes(size - RECORD_OVERHEAD))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_sending_waits_while_the_bound_is_in_flight() -> None:
    broker = Held()
    outbox = Outbox(broker, 250)
    sending = asyncio.create_task(outbox.send([record(100), record(100), record(100)]))
    await settle()
    assert (len(broker.records), outbox.in_flight) == (2, 200)
    broker.open[0].set_result(None)
    await sending
    assert (len(broker.records), outbox.in_flight, outbox.total_bytes) == (3, 200, 300)


async def test_one_record_larger_than_the_bound_still_passes() -> None:
    broker = Held()
    await Outbox(broker, 80).send([record(500)])
    assert len(broker.records) == 1


async def test_draining_waits_for_what_was_sent_before_only() -> None:
    broker = Held()
    outbox = Outbox(broker, 1000)
    await outbox.send([record(100)])
    draining = asyncio.create_task(outbox.drain())
    await settle()
    await outbox.send([record(100)])
    assert not draining.done()
    broker.open[0].set_result(None)
    await draining
    assert outbox.in_flight == 100


async def test_a_refusal_is_raised_at_every_later_call() -> None:
    broker = Held()
    outbox = Outbox(broker, 1000)
    await outbox.send([record(100), record(100)])
    broker.open[0].set_exception(ConnectionError("gone"))
    broker.open[1].set_result(None)
    text = "a record for t[0] was not accepted by the broker: ConnectionError('gone')"
    with pytest.raises(LogError) as first:
        await outbox.drain()
    with pytest.raises(LogError) as second:
        await outbox.send([record(100)])
    assert [str(first.value), str(second.value)] == [text, text]


async def test_a_record_that_cannot_be_handed_over_is_a_refusal() -> None:
    class Closed:
        async def send(self, record: OutRecord) -> Awaitable[object]:
            raise ConnectionError("closed")

    outbox = Outbox(Closed(), 1000)
    with pytest.raises(LogError) as caught:
        await outbox.send([record(100, "x")])
    assert str(caught.value) == "a record for x[0] was not accepted by the broker: ConnectionError('closed')"
