"""Brings the parts of a day into one order without planning the day as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

SLICE: Final = 60_000
"""Events are put in order by so many ms at a time."""


class FeedEvent(NamedTuple):
    """A CloudEvent on its way. Its order: by arrival."""

    arrived: int
    """When it reaches the centre, ms."""
    school: str
    """Its key."""
    value: bytes
    time: int
    """When it happened, ms: before ``arrived`` where a school's connection was down."""


class Part(NamedTuple):
    """A stretch of one school's day: ``events`` gives them by arrival, none before ``begin`` (ms)."""

    begin: int
    events: Callable[[], Iterator[FeedEvent]]


def in_order(parts: Iterable[Part]) -> Iterator[FeedEvent]:
    """All events of the parts by arrival. Only parts that have begun and not ended are in memory."""
    waiting = sorted(parts, key=lambda part: part.begin, reverse=True)
    active: list[tuple[FeedEvent, Iterator[FeedEvent]]] = []
    end = 0
    while waiting or active:
        begin = min(event.arrived for event, _ in active) if active else waiting[-1].begin
        end = max(end, begin // SLICE * SLICE) + SLICE
        while waiting and waiting[-1].begin < end:
            events = waiting.pop().events()
            active += [(event, events) for event in _next(events)]
        due: list[FeedEvent] = []
        active = [left for head, events in active for left in _before(end, head, events, due)]
        due.sort()
        yield from due


def _before(
    end: int, head: FeedEvent, events: Iterator[FeedEvent], due: list[FeedEvent]
) -> Iterator[tuple[FeedEvent, Iterator[FeedEvent]]]:
    """Move what arrives before ``end`` into ``due``; gives what is left, if anything."""
    event = head
    while event.arrived < end:
        due.append(event)
        following = next(events, None)
        if following is None:
            return
        event = following
    yield event, events


def _next(events: Iterator[FeedEvent]) -> Iterator[FeedEvent]:
    first = next(events, None)
    if first is not None:
        yield first
