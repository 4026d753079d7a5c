"""A core small enough to check by hand: exact cumulative counts for each key.

As a program (``python -m tests.support.toy BROKER NAME PARTITIONS DIR [OPTION=VALUE…]``) it is a
worker that drives this core; as a module it makes the names and reads the results.
"""

from __future__ import annotations

import json
import logging
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.wire import LogBatch, OutRecord, Snapshot
from streams.app import WorkerApp, WorkerSettings
from streams.driver import AgentShape
from streams.running import leave_process, serve

BUCKETS = 4


@dataclass(slots=True)
class ToyCore:
    """Counts keys. Its state lies in four blocks, so that snapshots are incremental."""

    partition: int
    output: str
    poison: bytes = b"poison"
    counts: dict[str, int] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    versions: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    touched: set[int] = field(default_factory=lambda: set(range(BUCKETS)))
    _position: int = 0

    @property
    def position(self) -> int:
        return self._position

    def apply(self, batch: LogBatch) -> None:
        for offset, key, value in zip(batch.offsets, batch.keys, batch.values, strict=True):
            if offset < self._position:
                continue
            if value == self.poison:
                raise ValueError(f"poison at {offset}")
            self._position = offset + 1
            name = (key or b"").decode()
            self.counts[name] = self.counts.get(name, 0) + 1
            self.changed.add(name)
            self.touched.add(bucket(name))

    def flush(self) -> list[OutRecord]:
        names, self.changed = sorted(self.changed), set()
        return [
            OutRecord(
                self.output,
                self.partition,
                name.encode(),
                json.dumps([self._position, self.counts[name]]).encode(),
                (("toy", b"1"),),
            )
            for name in names
        ]

    def snapshot(self, *, complete: bool) -> Snapshot:
        for number in self.touched:
            self.versions[number] += 1
        numbers = range(BUCKETS) if complete else sorted(self.touched)
        self.touched = set()
        blocks = {self._name(number): self._block(number) for number in numbers}
        return Snapshot(self._position, blocks, tuple(self._name(number) for number in range(BUCKETS)))

    def _name(self, number: int) -> str:
        return f"bucket{number}@{self.versions[number]}"

    def _block(self, number: int) -> bytes:
        return json.dumps({k: v for k, v in sorted(self.counts.items()) if bucket(k) == number}).encode()

    def restore(self, position: int, blocks: dict[str, bytes]) -> None:
        self._position = position
        for name, value in blocks.items():
            number, _, version = name.removeprefix("bucket").partition("@")
            self.versions[int(number)] = int(version)
            self.counts.update(json.loads(value))
        self.touched = set()


def bucket(name: str) -> int:
    return zlib.crc32(name.encode()) % BUCKETS


def shape(name: str) -> AgentShape:
    """Agent and topics of one test: ``NAME.in``, ``NAME.out``, ``NAME.snapshots``."""
    return AgentShape("toy", f"{name}.in", f"{name}.snapshots", lambda p: ToyCore(p, f"{name}.out"))


def settings(broker: str, name: str, partitions: int, directory: Path, **options: Any) -> WorkerSettings:
    return WorkerSettings(
        broker=broker, partitions=partitions, data_dir=directory, group=f"{name}.group", **options
    )


def main() -> None:
    broker, name, partitions, directory, *rest = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    options: dict[str, Any] = {}
    for option in rest:
        key, _, value = option.partition("=")
        options[key] = value if key == "member_id" else float(value)
    app = WorkerApp(settings(broker, name, int(partitions), Path(directory), **options), [shape(name)])

    async def run() -> None:
        await serve(app, on_ready=lambda: print("ready", flush=True), leave=leave_process)

    import asyncio

    asyncio.run(run())


if __name__ == "__main__":
    main()
