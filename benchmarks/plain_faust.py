"""The baseline: a plain Faust agent that keeps one count in a table, as Faust's own guide writes it.

    python -m benchmarks.plain_faust BROKER TOPIC PARTITIONS EVENTS RESULT

It stops after EVENTS events and writes when the first and the last of them were counted, in seconds
of the process's monotonic clock, to the file RESULT.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import faust


def make_app(broker: str, topic: str, partitions: int, events: int, result: Path) -> faust.App:
    """The app. Everything is Faust's default but the in-memory store and the first offset."""
    app = faust.App(
        f"plain-{os.getpid()}",
        broker=f"kafka://{broker}",
        store="memory://",
        topic_partitions=partitions,
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
        datadir=str(result.parent / "faust"),
        processing_guarantee="at_least_once",
    )
    source = app.topic(topic, key_type=bytes, value_serializer="json", partitions=partitions)
    counts = app.Table("counts", key_type=str, value_type=int, default=int, partitions=partitions)
    seen: dict[str, float] = {"events": 0.0, "first": 0.0}

    async def count(stream: Any) -> None:
        async for event in stream:
            if not seen["events"]:
                seen["first"] = time.monotonic()
            counts[event["data"]["school"]] += 1
            seen["events"] += 1
            if seen["events"] == events:
                times = {"first": seen["first"], "last": time.monotonic(), "events": events}
                result.write_text(json.dumps(times))  # noqa: ASYNC240 - the last thing it does
                os.kill(os.getpid(), signal.SIGTERM)

    app.agent(source)(count)
    return app


if __name__ == "__main__":
    broker, topic, partitions, events, result = sys.argv[1:]
    app = make_app(broker, topic, int(partitions), int(events), Path(result))
    faust.Worker(app, loglevel="WARN").execute_from_commandline()
