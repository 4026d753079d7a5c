"""One ``trucban worker`` on the loaded topic, watched from outside until its aggregates are right."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.measured import PYTHON, Gauge, Run
from benchmarks.morning import Expected
from schemas.topics import AGGREGATES, judge_partitions
from schemas.wire import Aggregate
from streams.consumer import KafkaReader

STARTED: Final = "count["
PATIENCE: Final = 600.0
_AGGREGATES = msgspec.json.Decoder(list[Aggregate])
Row = tuple[str, tuple[str, ...], int]


class BenchmarkError(Exception):
    """The benchmark cannot be finished; its text says why."""


class Watch:
    """Reads ``alerting.aggregates`` and keeps, of each row, the newest version."""

    def __init__(self, broker: str, partitions: int) -> None:
        self._reader = KafkaReader(
            broker, {(AGGREGATES, number): 0 for number in range(judge_partitions(partitions))}
        )
        self._rows: dict[Row, Aggregate] = {}
        self.records = 0

    def poll(self, timeout: float) -> bool:
        """Read what is there; whether there was anything."""
        found = self._reader.poll(10_000, timeout)
        for one in found:
            self.records += len(one.batch)
            for value in one.batch.values:
                for row in _AGGREGATES.decode(value or b"[]"):
                    key = (row.rule, tuple(row.group.values()), row.window_start)
                    if key not in self._rows or self._rows[key].version <= row.version:
                        self._rows[key] = row
        return bool(found)

    def totals(self) -> Expected:
        """The measures, summed over all schools."""
        total = Expected()
        for row in self._rows.values():
            if row.rule == "absence-spike":
                total.marked += int(row.measures["marked"] or 0)
                total.absent += int(row.measures["absent"] or 0)
            elif row.rule == "school-day-absence":
                total.enrolled += int(row.measures["enrolled"] or 0)
        return total

    def close(self) -> None:
        """Let go of the broker."""
        self._reader.close()


def run_worker(broker: str, partitions: int, events: int, expected: Expected, directory: Path) -> Run:
    """Measure from the moment the agents take their partitions up to the last right aggregate.

    Raises:
        BenchmarkError: the worker ended, or its aggregates do not become right.
    """
    log = directory / "worker.log"
    command = [PYTHON, "-m", "trucban", "worker", "--data-dir", str(directory), "--broker", broker]
    command += ["--partitions", str(partitions), "--metrics-port", "0"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    watch = Watch(broker, partitions)
    try:
        _wait_for_start(process, log)
        gauge = Gauge(process.pid)
        deadline = time.monotonic() + PATIENCE
        while watch.totals() != expected:
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkError(f"{watch.totals()} is not {expected}: {log.read_text()[-2000:]}")
            if watch.poll(0.05):
                gauge.note()
        return gauge.run(events)
    finally:
        watch.close()
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_for_start(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while STARTED not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchmarkError(f"the worker does not start: {log.read_text()[-2000:]}")
        time.sleep(0.005)
