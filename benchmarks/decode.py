"""Time of the batch decoder for an event, by kind of batch: ``python -m benchmarks.decode``."""

from __future__ import annotations

import json
import time
from typing import Any

from schemas.civil import parse_time
from schemas.decode import decode

ROWS = 4000
ROUNDS = 15
ARRIVED = parse_time("2026-11-23T09:00:00+07:00")


def event(number: int, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    """An event of a type, as a sender writes it."""
    clock = f"07:{number // 100 % 60:02d}:{number % 60:02d}.{number % 1000:03d}"
    return {
        "specversion": "1.0",
        "id": f"evt-{number:012d}",
        "source": "/vnedu/thanh-tri/attendance",
        "type": kind,
        "time": f"2026-11-23T{clock}+07:00",
        "datacontenttype": "application/json",
        "data": {"school": f"01{number % 100:05d}", **data},
    }


def marked(number: int, **more: Any) -> dict[str, Any]:
    """A mark of one pupil."""
    pupil = {"class": f"{number % 9 + 1}A{number % 5}", "pupil": f"0100{number:08d}", "date": "2026-11-23"}
    return event(number, "attendance.marked", {**pupil, "session": "morning", "status": "present", **more})


def reported(number: int) -> dict[str, Any]:
    """A school's day."""
    counts = {"enrolled": number, "present": number, "absent": 0, "released": 0}
    return event(number, "attendance.day_reported", {"date": "2026-11-23", **counts})


def heartbeat(number: int) -> dict[str, Any]:
    """A sign of life."""
    return event(number, "source.heartbeat", {"vendor": "v1"})


def measure(name: str, documents: list[dict[str, Any]], *, escapes: bool = False) -> None:
    """Decode a batch several times and print the best time for one event."""
    values = [json.dumps(one, ensure_ascii=escapes, separators=(",", ":")).encode() for one in documents]
    arrived = [ARRIVED] * len(values)
    decoded = decode(values, arrived)
    spent = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        decode(values, arrived)
        spent.append(time.perf_counter() - start)
    size = sum(map(len, values)) // len(values)
    print(
        f"{name:24s} {size:4d} bytes  {min(spent) / len(values) * 1e6:6.2f} µs/event  "
        f"checked singly {decoded.checked_singly}, rejected {len(decoded.rejects)}"
    )


def main() -> None:
    """Measure each kind of batch."""
    numbers = range(ROWS)
    reason = 'Bị ốm, có phép "38,5°C"'
    measure("attendance.marked", [marked(n) for n in numbers])
    measure("attendance.day_reported", [reported(n) for n in numbers])
    measure("source.heartbeat", [heartbeat(n) for n in numbers])
    measure("mixture", [(marked, reported, heartbeat)[n % 3](n) for n in numbers])
    measure("Vietnamese reason", [marked(n, reason="Bị ốm, có phép") for n in numbers])
    measure("reason in escapes", [marked(n, reason=reason) for n in numbers], escapes=True)
    measure("unknown field", [marked(n, resaon="x") for n in numbers])


if __name__ == "__main__":
    main()
