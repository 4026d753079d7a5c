"""What was measured of one process, and of the machine around it."""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

LIBRARIES: Final = ("faust-streaming", "aiokafka", "polars", "msgspec", "numpy", "pyarrow")


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One measured run. ``load``: the machine's one-minute load average just before it."""

    events: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    load: float = 0.0

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def cost(self) -> float:
        """CPU microseconds an event."""
        return self.cpu_seconds / self.events * 1e6


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A whole benchmark, as it is written to ``benchmarks/results``."""

    date: str
    commit: str
    machine: dict[str, Any]
    broker: str
    partitions: int
    priority: int
    """Niceness of everything measured, the broker included: 0 is ordinary, negative is preferred."""
    loaded: int
    rules: list[str]
    event_bytes: float
    plain: list[Run]
    worker: list[Run]

    @property
    def best_plain(self) -> Run:
        """The faster of the plain runs: the comparison is not won by a slow moment."""
        return max(self.plain, key=lambda run: run.rate)

    @property
    def typical_worker(self) -> Run:
        """The slowest of the worker's runs."""
        return min(self.worker, key=lambda run: run.rate)

    @property
    def ratio(self) -> float:
        """Events a second: slowest run of the worker over fastest run of plain Faust."""
        return self.typical_worker.rate / self.best_plain.rate

    @property
    def cost_ratio(self) -> float:
        """CPU an event: cheapest plain run over dearest run of the worker."""
        return min(run.cost for run in self.plain) / max(run.cost for run in self.worker)


def machine() -> dict[str, Any]:
    """The machine, without its name and without any of its paths."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """The checkout's commit, or nothing outside of one."""
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def today() -> str:
    """Today's date in UTC."""
    return dt.datetime.now(dt.UTC).date().isoformat()


def load() -> float:
    """The machine's one-minute load average."""
    return round(os.getloadavg()[0], 2)


class Gauge:
    """CPU, time and memory of a running process, from outside."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._begin = self._now()
        self._end = self._begin
        self._load = load()

    def _now(self) -> tuple[float, float]:
        used = self._process.cpu_times()
        return time.monotonic(), used.user + used.system

    def note(self) -> None:
        """The run lasts at least until now."""
        self._end = self._now()

    def run(self, events: int) -> Run:
        """The run from the beginning to the last `note`."""
        (begun, cpu_begun), (ended, cpu_ended) = self._begin, self._end
        return Run(
            events=events,
            seconds=ended - begun,
            cpu_seconds=cpu_ended - cpu_begun,
            peak_bytes=_peak(self._process.pid),
            load=self._load,
        )


def _peak(pid: int) -> int:
    """Highest resident memory of a process so far, in bytes (Linux; elsewhere what it is now)."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return int(psutil.Process(pid).memory_info().rss)


PYTHON: Final = sys.executable
