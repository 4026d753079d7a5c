"""Plain Faust, as its documentation teaches it: one agent that counts events by school in a table.

``python -m benchmarks.plain BROKER PARTITIONS FIRST LAST`` prints one JSON object when event LAST was
counted: the time and CPU seconds since event FIRST, and the peak memory. What is chosen in its favour:
the fast JSON decoder that the engine uses too, no web server, no leader election, no batches of one
held back; everything else is Faust's default (among it one changelog record for each event, which is
what lets a table survive a restart).
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import tempfile
import time
from typing import Any

import faust
import msgspec

from schemas.topics import EVENTS


class _Data(msgspec.Struct):
    school: str


class _Event(msgspec.Struct):
    data: _Data


def build(broker: str, partitions: int, first: int, last: int) -> faust.App:
    """The app; it ends the process after event ``last``."""
    app = faust.App(
        "plain-faust",
        broker=f"kafka://{broker}",
        store="memory://",
        datadir=tempfile.mkdtemp(prefix="plain-faust-"),
        consumer_auto_offset_reset="earliest",
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
    )
    topic = app.topic(EVENTS, key_type=bytes, value_type=bytes, value_serializer="raw")
    counts = app.Table("counts", default=int, partitions=partitions)
    decode = msgspec.json.Decoder(_Event).decode
    meter = _Meter(first, last)

    @app.agent(topic)
    async def count(stream: Any) -> None:
        async for key, value in stream.items():
            if key is None:
                continue  # a record of the engine
            counts[decode(value).data.school] += 1
            meter.tick()

    return app


class _Meter:
    """Time and CPU between two events."""

    def __init__(self, first: int, last: int) -> None:
        self._seen = 0
        self._first = first
        self._last = last
        self._begin = (0.0, 0.0)

    def tick(self) -> None:
        self._seen += 1
        if self._seen == self._first:
            self._begin = (time.monotonic(), time.process_time())
        elif self._seen == self._last:
            wall, cpu = time.monotonic() - self._begin[0], time.process_time() - self._begin[1]
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            events = self._last - self._first
            found = {"events": events, "seconds": wall, "cpu_seconds": cpu, "peak_bytes": memory}
            os.write(1, json.dumps(found).encode() + b"\n")  # Faust has put its log in place of stdout
            os._exit(0)  # Faust's own stop takes seconds, and nothing is left to save


def main() -> None:
    """Run until event LAST."""
    broker, *numbers = sys.argv[1:]
    partitions, first, last = map(int, numbers)
    logging.disable(logging.WARNING)
    faust.Worker(build(broker, partitions, first, last), loglevel="ERROR").execute_from_commandline()


if __name__ == "__main__":
    main()
