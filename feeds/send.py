"""``trucban send``: CloudEvents, one a line, validated as `count` validates them, to the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import msgspec

from feeds.clock import Anchor
from feeds.outlet import Outlet
from schemas.topics import ARRIVED, EVENTS, MAX_EVENT_BYTES, REJECTED, partition_of
from schemas.validate import Event, Reject, validate
from schemas.wire import Rejected

MAX_LINE = 8 * 1024 * 1024
"""Longer lines are cut: they are refused for their size anyway."""
_FAR = 2**62


@dataclass(slots=True)
class Sent:
    """How many lines were published and how many refused."""

    accepted: int = 0
    rejected: int = 0


def read_lines(stream: BinaryIO, limit: int = MAX_LINE) -> Iterator[bytes]:
    """Lines without their ends; of a longer one the first ``limit`` + 1 bytes. Memory stays bounded."""
    while line := stream.readline(limit + 1):
        rest = line
        while len(rest) > limit and not rest.endswith(b"\n"):
            rest = stream.readline(limit + 1)
        yield line.rstrip(b"\r\n")


def arrival(anchor: Anchor, real: int, time: int) -> int:
    """Business time of an arrival: in ``data`` mode the event's own time, never ahead of now."""
    return min(time, real) if anchor.mode == "data" else anchor.now(real)


def send_lines(
    lines: Iterable[bytes],
    outlet: Outlet,
    anchor: Anchor,
    now: Callable[[], int],
    tell: Callable[[str], None],
) -> Sent:
    """Publish valid lines under their school, refused ones as `Rejected`; each refusal is told.

    ``now``: real time in ms. Empty lines are skipped. Everything is acknowledged on return.
    """
    sent = Sent()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        real = now()
        arrived, outcome = _judge(line, anchor, real)
        if isinstance(outcome, Reject):
            sent.rejected += 1
            _refuse(outlet, number, arrived, line, outcome)
            tell(describe(number, outcome))
        else:
            sent.accepted += 1
            school = school_of(outcome)
            partition = partition_of(school, outlet.partitions)
            outlet.send(EVENTS, partition, school.encode(), line, [(ARRIVED, str(arrived).encode())])
    outlet.flush()
    return sent


def school_of(event: Event) -> str:
    """The school an event belongs to: the key of its record."""
    attribute = event.type.field(event.type.school_field).attribute
    return str(getattr(event.data, attribute))


def describe(number: int, reject: Reject) -> str:
    """One line about a refused line."""
    field = f"{reject.field}: " if reject.field else ""
    return f"line {number}: {reject.reason}: {field}{reject.message}"


def _judge(line: bytes, anchor: Anchor, real: int) -> tuple[int, Event | Reject]:
    if anchor.mode != "data":
        arrived = anchor.now(real)
        return arrived, validate(line, arrived)
    ungated = validate(line, _FAR)  # its own time is its arrival, if it has one
    arrived = arrival(anchor, real, ungated.time) if isinstance(ungated, Event) else real
    return arrived, validate(line, arrived)


def _refuse(outlet: Outlet, number: int, arrived: int, line: bytes, reject: Reject) -> None:
    record = Rejected(
        partition=-1,
        position=number,
        arrived=arrived,
        reason=reject.reason,
        field=reject.field,
        message=reject.message,
        value=line[:MAX_EVENT_BYTES],
        source=reject.source,
        event_id=reject.event_id,
        event_type=reject.event_type,
    )
    key = f"{reject.source}/{reject.event_id}"
    outlet.send(REJECTED, partition_of(key, outlet.partitions), key.encode(), msgspec.json.encode(record), [])
