"""``make bench``: one worker with the catalogue's rules against plain Faust, on one machine and broker.

Both read the same loaded topic. Start-up is in neither number: plain Faust is measured between two
events in steady state, the worker from the moment its agents take their partitions up (before the
first event) until ``alerting.aggregates`` shows the last right number. Other topics' outputs leave
the worker in the same flush. The order is plain, worker, plain.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from benchmarks import measured
from benchmarks.measured import PYTHON, Result, Run
from benchmarks.morning import Expected, events, reference
from benchmarks.report import markdown
from benchmarks.worker import BenchmarkError, run_worker
from rules.engine.configured import encode_config
from rules.load import CATALOGUE, load_rules
from schemas.topics import ARRIVED, CONTROL, EVENTS, KIND
from schemas.wire import Config, RuleFile
from streams.producer import KafkaWriter
from streams.topics import TopicOptions, ensure_topics
from tests.support.broker import BrokerProcess
from tests.support.kafka import missing_for_apache, run_apache

RESULTS = Path(__file__).resolve().parent / "results"
NEEDED = 15.0
RULES = ("school-day-absence", "absence-spike", "school-silent")
"""What the worker judges by, unless ``--whole-catalogue``: always the same, so that results compare."""
WARM = 5_000
"""Events of plain Faust that are not measured: its first ones are slower."""


def main() -> int:
    """Run, print, write; 1 if the worker is less than fifteen times plain Faust."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, _broker(options.broker, Path(name)) as where:
        address, kind = where
        result = _measure(options, address, kind, Path(name))
    text = markdown(result)
    print(text)
    if options.write:
        RESULTS.mkdir(exist_ok=True)
        stem = RESULTS / f"{'whole-catalogue' if options.whole else 'worker'}-against-faust-{result.date}"
        stem.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
        stem.with_suffix(".md").write_text(text)
    return 0 if result.ratio >= NEEDED else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="loaded for the worker")
    parser.add_argument("--plain-events", type=int, default=50_000, help="measured with plain Faust")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--broker", choices=["apache", "embedded"], help="default: apache where a JVM is")
    parser.add_argument("--whole-catalogue", dest="whole", action="store_true", help="not only three rules")
    parser.add_argument("--plain-runs", type=int, default=2, help="0: only the worker")
    parser.add_argument(
        "--no-write", dest="write", action="store_false", help="print only, leave results/ as it is"
    )
    return parser


@contextmanager
def _broker(wanted: str | None, directory: Path) -> Iterator[tuple[str, str]]:
    reason = missing_for_apache()
    if wanted == "apache" and reason:
        raise BenchmarkError(reason)
    if wanted != "embedded" and not reason:
        running = run_apache(directory)
        try:
            yield next(running), "Apache Kafka 4.1.0"
        finally:
            running.close()  # type: ignore[attr-defined]
        return
    broker = BrokerProcess(directory / "broker")
    broker.start()
    try:
        yield broker.address, "embedded broker"
    finally:
        broker.stop()


def _measure(options: argparse.Namespace, broker: str, kind: str, directory: Path) -> Result:
    rules = [rule for rule in load_rules(CATALOGUE) if options.whole or Path(rule.path).stem in RULES]
    expected, size = load(broker, options.partitions, options.events, rules)
    plain = [_plain(broker, options)] if options.plain_runs else []
    worker = run_worker(broker, options.partitions, options.events, expected, directory)
    _say(f"worker: {worker.rate:,.0f} events/s")
    plain.extend(_plain(broker, options) for _ in range(options.plain_runs - 1))
    return Result(
        date=measured.today(),
        commit=measured.commit(),
        machine=measured.machine(),
        broker=kind,
        partitions=options.partitions,
        priority=os.nice(0),
        loaded=options.events,
        rules=[Path(rule.path).stem for rule in rules],
        event_bytes=size,
        plain=plain or [worker],
        worker=[worker],
    )


def load(broker: str, partitions: int, count: int, rules: list[RuleFile]) -> tuple[Expected, float]:
    """Make the topics, publish rules and reference data, then the events; their mean size in bytes."""
    ensure_topics(broker, partitions, TopicOptions(clock="demo"))
    writer = KafkaWriter(broker)
    control = encode_config(Config(rules=rules, reference=reference().to_json(), clock_mode="wall"))
    for partition in range(partitions):
        writer.send(EVENTS, None, control, partition=partition, headers=[(KIND, CONTROL)])
    expected, size, begin = Expected(), 0, time.monotonic()
    for event in events(count, expected):
        size += len(event.value)
        arrived = [(ARRIVED, str(event.arrived).encode())]
        writer.send(EVENTS, event.school.encode(), event.value, headers=arrived)
    writer.flush()
    _say(f"loaded {count:,} events of {size / count:.0f} bytes in {time.monotonic() - begin:.1f} s")
    return expected, size / count


def _plain(broker: str, options: argparse.Namespace) -> Run:
    load_before = measured.load()
    numbers = (options.partitions, WARM, WARM + options.plain_events)
    done = subprocess.run(
        [PYTHON, "-m", "benchmarks.plain", broker, *map(str, numbers)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"events"')]
    if not lines:
        raise BenchmarkError(f"plain Faust did not end well: {(done.stdout + done.stderr)[-2000:]}")
    found = Run(**json.loads(lines[0]), load=load_before)
    _say(f"plain Faust: {found.rate:,.0f} events/s")
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
