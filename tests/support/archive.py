"""Log records as the engine writes them, for tests of the archive."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

import msgspec
import polars as pl

from schemas.topics import ACCEPTED, AGGREGATES, ALERTS, DELIVERIES, REJECTED, TRANSITIONS
from schemas.wire import Aggregate, Delivery, LogBatch, Rejected, State, Transition
from store.archive import Slice

MORNING = 1_788_741_600_000
"""2026-09-07 07:40 in Hanoi, ms."""
DAY = 86_400_000
SOURCE = "/school/HN-001"


def part(topic: str, partition: int, first: int, values: Sequence[bytes | None]) -> Slice:
    """Records of one partition from offset ``first`` on."""
    count = len(values)
    batch = LogBatch(
        partition,
        list(range(first, first + count)),
        [None] * count,
        list(values),
        [()] * count,
        [MORNING] * count,
    )
    return Slice(topic, batch)


def accepted(
    ids: Sequence[str],
    *,
    first: int = 0,
    status: str = "absent",
    time: int = MORNING,
    event_type: str = "attendance.marked",
    columns: dict[str, list[object]] | None = None,
) -> bytes:
    """A record of accepted events, as the agent ``count`` writes it."""
    count = len(ids)
    raw = [
        json.dumps({"id": name, "source": SOURCE, "data": {"school": "HN-001", "status": status}}).encode()
        for name in ids
    ]
    frame = pl.DataFrame(
        {
            "position": range(first, first + count),
            "id": list(ids),
            "source": [SOURCE] * count,
            "type": [event_type] * count,
            "time": [time] * count,
            "arrived": [time + 500] * count,
            "school": ["HN-001"] * count,
            "mark": [""] * count,
            "raw": raw,
            "f_status": [status] * count,
            "f_minutes": list(range(count)),
            "d_level": ["primary"] * count,
            **(columns or {}),
        }
    )
    out = io.BytesIO()
    frame.write_ipc_stream(out, compression="zstd")
    return out.getvalue()


def events(
    ids: Sequence[str],
    *,
    first: int = 0,
    offset: int = 0,
    partition: int = 0,
    status: str = "absent",
    time: int = MORNING,
) -> Slice:
    """One record of accepted events as a slice."""
    return part(ACCEPTED, partition, offset, [accepted(ids, first=first, status=status, time=time)])


def aggregate(absent: float, version: int, *, school: str = "HN-001", offset: int = 0) -> Slice:
    """One aggregate of one school's day."""
    row = Aggregate(
        "absence",
        "h1",
        {"school": school},
        MORNING,
        MORNING + DAY,
        {"absent": absent, "usual": None},
        version,
    )
    return part(AGGREGATES, 0, offset, [msgspec.json.encode([row])])


def transition(ordinal: int, state: State, *, alert: str = "a1") -> bytes:
    """One change of an alert's state."""
    return msgspec.json.encode(
        Transition(
            id=f"{alert}-{ordinal}",
            alert=alert,
            ordinal=ordinal,
            rule="absence",
            rule_hash="h1",
            severity="P2",
            status="active",
            group={"school": "HN-001"},
            window_start=MORNING,
            window_end=MORNING + DAY,
            state=state,
            at=MORNING + ordinal,
            decided_at=MORNING + ordinal + 1,
            reason="threshold",
            measures={"absent": 12.0, "usual": None},
            limits={"absent": "> 8"},
            positions={"0": 4},
            event_ids=["e1", "e2"],
            title={"vi": "Vắng học", "en": "Absence"},
            text={"vi": "vắng 12", "en": "12 absent"},
            notify=["principal"],
        )
    )


def transitions(*values: bytes, offset: int = 0) -> Slice:
    """Records of transitions."""
    return part(TRANSITIONS, 0, offset, values)


def alerts(*values: bytes, offset: int = 0) -> Slice:
    """Records of alerts."""
    return part(ALERTS, 0, offset, values)


def rejected(position: int, *, partition: int = 0, offset: int = 0) -> Slice:
    """One rejected record; partition -1: the sender refused it."""
    record = Rejected(partition, position, MORNING, "not_json", "", "no JSON", b'\xff{"')
    return part(REJECTED, 0, offset, [msgspec.json.encode(record)])


def delivery(attempt: int, *, offset: int = 0) -> Slice:
    """One attempt of one push."""
    record = Delivery("push-1", attempt, "a1", "a1-1", "principal", "webhook", "delivered", "", MORNING)
    return part(DELIVERIES, 0, offset, [msgspec.json.encode(record)])
