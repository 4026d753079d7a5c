"""Sends a day's events when the business clock reaches them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from feeds.merging import FeedEvent
from feeds.outlet import Outlet
from schemas.topics import ARRIVED, EVENTS, partition_of

FLUSH_EVERY = 5_000


def send_paced(
    events: Iterable[FeedEvent], outlet: Outlet, now: Callable[[], int], wait: Callable[[int], bool]
) -> int:
    """Send each event not before its arrival; gives how many were sent, all acknowledged.

    ``now``: business time, ms. ``wait(until)`` sleeps towards a business time and says whether to go
    on. What a record says of its arrival is the event's own, so a day that is begun again after a
    kill sends the same records and its repeats count once.
    """
    sent = 0
    for event in events:
        while event.arrived > now():
            outlet.flush()
            if not wait(event.arrived):
                return sent
        put(outlet, event)
        sent += 1
        if sent % FLUSH_EVERY == 0:
            outlet.flush()
    outlet.flush()
    return sent


def put(outlet: Outlet, event: FeedEvent) -> None:
    """An event into its school's partition, with its arrival."""
    headers = [(ARRIVED, str(event.arrived).encode())]
    partition = partition_of(event.school, outlet.partitions)
    outlet.send(EVENTS, partition, event.school.encode(), event.value, headers)
