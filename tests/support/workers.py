"""A small world for worker processes: topics, a sender that counts, workers that can be hurt."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.errors import BrokerAway
from streams.consumer import KafkaReader
from streams.log import TopicBatch
from streams.producer import KafkaWriter

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class ToyWorker:
    """One worker process and its log file."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(20)

    def wait_for(self, text: str, timeout: float = 40.0) -> None:
        deadline = time.monotonic() + timeout
        while text not in self.log.read_text():
            if time.monotonic() > deadline or self.process.poll() is not None:
                pytest.fail(f"no {text!r} in the worker's log:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.05)


@dataclass
class ToyWorld:
    """Topics of one test on one broker, what was sent, and what came out."""

    broker: str
    directory: Path
    partitions: int = 4
    name: str = field(default_factory=lambda: f"toy-{uuid.uuid4().hex[:8]}")
    sent: Counter[str] = field(default_factory=Counter)
    rng: random.Random = field(default_factory=lambda: random.Random(7))
    workers: list[ToyWorker] = field(default_factory=list)

    def __post_init__(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.broker, "log_level": 0})
        policies = {"in": "delete", "out": "delete", "snapshots": "compact"}
        new = [
            NewTopic(f"{self.name}.{kind}", self.partitions, 1, config={"cleanup.policy": policy})
            for kind, policy in policies.items()
        ]
        for future in admin.create_topics(new).values():
            future.result()
        self.writer = KafkaWriter(self.broker)
        self.best: dict[tuple[int, str], tuple[int, int]] = {}
        self._reader = KafkaReader(self.broker, {(f"{self.name}.out", n): 0 for n in range(self.partitions)})

    def start(self, **options: object) -> ToyWorker:
        settings = {"snapshot_interval": 0.8, "session_timeout": 3.0, **options}
        log = self.directory / f"worker-{len(self.workers)}.log"
        command = [sys.executable, "-m", "tests.support.toy", self.broker, self.name]
        command += [str(self.partitions), str(self.directory)]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*command, *(f"{key}={value}" for key, value in settings.items())],
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.workers.append(ToyWorker(process, log))
        return self.workers[-1]

    def send(self, records: int, seconds: float = 0.0) -> None:
        """Send so many records, spread over so many seconds."""
        steps = max(1, int(seconds / 0.05))
        for step in range(steps):
            for _ in range(records * step // steps, records * (step + 1) // steps):
                key = f"k{self.rng.randrange(60)}"
                self.writer.send(f"{self.name}.in", key.encode(), bytes(80))
                self.sent[key] += 1
            if seconds:
                time.sleep(0.05)
        self.writer.flush()

    def results(self) -> Counter[str]:
        """Of each partition and key the state of the highest position, as far as it was written."""
        while found := self._poll():
            for one in found:
                for key, value in zip(one.batch.keys, one.batch.values, strict=True):
                    position, count = json.loads(value or b"")
                    at = (one.batch.partition, (key or b"").decode())
                    before = self.best.get(at, (-1, 0))
                    assert before[0] != position or before[1] == count, "a repeat that differs"
                    self.best[at] = max(before, (position, count))
        return Counter({key: count for (_, key), (_, count) in self.best.items()})

    def _poll(self) -> list[TopicBatch]:
        try:
            return self._reader.poll(10_000, 0.2)
        except BrokerAway:  # it was killed a moment ago
            return []

    def expect_exact(self, timeout: float = 40.0) -> None:
        """Wait until the results equal what was sent, and see that they stay so."""
        deadline = time.monotonic() + timeout
        while (found := self.results()) != self.sent:
            if time.monotonic() > deadline:
                logs = "\n".join(worker.log.read_text()[-3000:] for worker in self.workers)
                difference = found.total() - self.sent.total()
                pytest.fail(f"{difference:+d} of {self.sent.total()} records:\n{logs}")
        time.sleep(0.3)
        assert self.results() == self.sent

    def committed(self) -> dict[int, int]:
        """The group's offsets."""
        from confluent_kafka import Consumer

        consumer = Consumer({"bootstrap.servers": self.broker, "group.id": f"{self.name}.group"})
        asked = [TopicPartition(f"{self.name}.in", number) for number in range(self.partitions)]
        try:
            return {found.partition: found.offset for found in consumer.committed(asked, timeout=10)}
        finally:
            consumer.close()

    def end(self) -> None:
        """Kill what still runs."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()
        self._reader.close()
