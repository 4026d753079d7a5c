"""What happened before a simulated day's clock starts: four earlier same weekdays, and the early morning.

The clock is moved by what is fed (clock mode ``data``), so that nobody waits for days to go by. The
pulse process holds its clock's START until all of it is sent and counted; how far that has come
stands in ``alerting.meta``, so it goes on where a kill cut it off, and is never done twice.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from feeds.day import FeedEvent, day_events, history_days, history_events
from feeds.outlet import Meta, Outlet
from feeds.pace import put
from schemas.civil import day_of, day_start
from schemas.errors import BrokerAway
from schemas.organisation import Reference
from schemas.topics import ARRIVED, EVENTS, KIND, META, PANES, PULSE
from schemas.wire import Pulse

EVERY: Final = 60_000
"""Pulses before the start stand so far apart, ms. A longer span is one that nobody watched: in it
no deadline is missed and no school falls silent."""
WATCHED: Final = 35 * EVERY
"""So long before the start the clock is watched, ms."""


def prepare(
    reference: Reference, outlet: Outlet, start: int, prepared: int, *, scenario: str, seed: int
) -> Iterator[int]:
    """Send what happened before ``start`` (ms) and is later than ``prepared``; gives how far it has come.

    Each step is acknowledged before it is given, and small enough that repeating one is harmless.
    """
    if start <= prepared:
        return
    for earlier in history_days(day_of(start)):
        end = day_start(earlier + 1)
        if prepared < end:
            for event in history_events(reference, earlier, seed):
                put(outlet, event)
            pulse(outlet, end)
            outlet.flush()
            yield end
    _early_morning(day_events(reference, day_of(start), scenario, seed), outlet, start)
    outlet.flush()
    yield start


def _early_morning(events: Iterator[FeedEvent], outlet: Outlet, start: int) -> None:
    clock = start - WATCHED
    for event in events:
        while clock < min(event.arrived, start):
            pulse(outlet, clock)
            clock += EVERY
        if event.arrived > start:
            break
        put(outlet, event)
    pulse(outlet, start)


def pulse(outlet: Outlet, clock: int) -> None:
    """The business time, in every partition."""
    value = msgspec.json.encode(Pulse(clock, "demo", every=EVERY))
    headers = [(KIND, PULSE), (ARRIVED, str(clock).encode())]
    for partition in range(outlet.partitions):
        outlet.send(EVENTS, partition, None, value, headers)


def tell_prepared(outlet: Outlet, prepared: int) -> None:
    """Note for everybody, and for the next life of this process, how far it has come."""
    outlet.send(META, 0, None, msgspec.json.encode(Meta(prepared=prepared)), [])
    outlet.flush()


class _Clock(msgspec.Struct, frozen=True):
    """Of a `PanesRecord` only what is needed here."""

    source: int
    clock: int


def wait_until_counted(broker: str, partitions: int, clock: int, stop: threading.Event) -> bool:
    """Wait until every source partition is counted up to ``clock`` (ms); False: it was stopped."""
    consumer = Consumer(
        {"bootstrap.servers": broker, "group.id": "trucban-history", "log_level": 0}
        | {"enable.auto.commit": False, "auto.offset.reset": "earliest", "socket.timeout.ms": 10_000}
    )
    missing = set(range(partitions))
    decoder = msgspec.msgpack.Decoder(_Clock)
    try:
        consumer.assign([TopicPartition(PANES, 0, 0)])
        while missing:
            if stop.is_set():
                return False
            for message in consumer.consume(200, 0.2):
                if message.error() is None:
                    told = decoder.decode(message.value() or b"")
                    missing -= {told.source} if told.clock >= clock else set()
    except KafkaException as error:
        raise BrokerAway(f"no Kafka broker answers at {broker}") from error
    finally:
        consumer.close()
    return True
