"""Sends a day's events when the business clock reaches them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from feeds.day import FeedEvent
from feeds.outlet import Outlet
from schemas.topics import ARRIVED, EVENTS, partition_of

FLUSH_EVERY = 5_000


def send_paced(
    events: Iterable[FeedEvent], outlet: Outlet, now: Callable[[], int], wait: Callable[[int], bool]
) -> int:
    """Send each event not before its time; gives how many were sent, all acknowledged.

    ``now``: business time, ms. ``wait(until)`` sleeps towards a business time and says whether to go
    on. An event's arrival is its own time, so a day that is begun again after a kill sends the same
    records and its repeats count once.
    """
    sent = 0
    for event in events:
        while event.time > now():
            outlet.flush()
            if not wait(event.time):
                return sent
        headers = [(ARRIVED, str(event.time).encode())]
        partition = partition_of(event.school, outlet.partitions)
        outlet.send(EVENTS, partition, event.school.encode(), event.value, headers)
        sent += 1
        if sent % FLUSH_EVERY == 0:
            outlet.flush()
    outlet.flush()
    return sent
