"""``trucban status``: every process, lag, last event, last push; not zero when something is wrong."""

from __future__ import annotations

import argparse
import json
import logging
import re
import time
import urllib.request
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil
from confluent_kafka import Consumer, KafkaException, TopicPartition

from feeds.outlet import count_partitions
from schemas.errors import LogError, SettingsError, StoreAway, StoreError
from schemas.topics import EVENTS
from trucban.addresses import METRICS_FILE, broker_address, clickhouse_url, database_url, run_directory
from trucban.rundir import read_status
from trucban.settings import Settings

LAG_SECONDS = 5.0
_POSITION = re.compile(r'^trucban_worker_position\{agent="count",partition="(\d+)"\} (\S+)$', re.MULTILINE)

_INSERT_AGE = re.compile(r"^trucban_archiver_insert_age_seconds (\S+)$", re.MULTILINE)


@dataclass(slots=True)
class Process:
    """One process: ``state`` as its supervisor last wrote it, ``alive`` as it is now."""

    name: str
    state: str
    pid: int | None
    alive: bool
    restarts: int


@dataclass(slots=True)
class Report:
    """Everything that is shown. ``wrong`` holds a sentence for each thing that is."""

    processes: list[Process] = field(default_factory=list)
    lag: int | None = None
    """Records of school.events that no running worker has applied."""
    events: int | None = None
    last_event: str | None = None
    """When the archive last took something in (UTC)."""
    last_push: str | None = None
    pushes_open: int | None = None
    outbox_age: float | None = None
    """Seconds since the oldest push that is open was decided; 0: none is open."""
    insert_age: float | None = None
    """Seconds since everything that the archiver had read stood in ClickHouse."""
    unknown: list[str] = field(default_factory=list)
    """A sentence for each thing that cannot be known here."""
    wrong: list[str] = field(default_factory=list)


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Print the report; 1 if something is wrong."""
    report = look(settings)
    if args.json:
        print(json.dumps(asdict(report), ensure_ascii=False, indent=2))
    else:
        print(render(report))
    return 1 if report.wrong else 0


def look(settings: Settings) -> Report:
    """Ask everybody. Whoever does not answer is noted as wrong."""
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)  # what it says is in the report
    report = Report()
    _look_at_processes(settings.data_dir, report)
    _look_at_log(settings, report)
    _look_at_archive(settings, report)
    _look_at_outbox(settings, report)
    return report


def _look_at_processes(data_dir: Path, report: Report) -> None:
    status = read_status(data_dir)
    if status is None:
        report.wrong.append(f"`trucban up` has not run in {data_dir}")
        return
    if not psutil.pid_exists(status.supervisor):
        report.wrong.append(f"`trucban up` (pid {status.supervisor}) is not running")
    for child in status.children:
        alive = child.pid is not None and psutil.pid_exists(child.pid)
        report.processes.append(Process(child.name, child.state, child.pid, alive, child.restarts))
        if not alive:
            last = f": {child.exits[-1].reason}" if child.exits else ""
            report.wrong.append(f"{child.name} is not running ({child.state}){last}")
        elif child.state != "ready":
            report.wrong.append(f"{child.name} is {child.state}")


def _look_at_log(settings: Settings, report: Report) -> None:
    broker = broker_address(settings)
    try:
        ends = _ends(broker, count_partitions(broker))
    except LogError as error:
        report.wrong.append(str(error))
        return
    except KafkaException as error:
        report.wrong.append(f"the broker at {broker} does not answer: {error.args[0].str()}")
        return
    file = run_directory(settings) / METRICS_FILE
    ports = _worker_ports(file)
    if ports and not any(ports):
        report.unknown.append("the lag is not known: the workers give no metrics (--metrics-port 0)")
        return
    positions = _positions(ports)
    missing = sorted(set(ends) - set(positions))
    if missing:
        report.wrong.append(f"no worker has partitions {', '.join(map(str, missing))} of {EVENTS}")
    else:
        report.lag = sum(max(0, end - positions[partition]) for partition, end in ends.items())


def _ends(broker: str, partitions: int) -> dict[int, int]:
    consumer = Consumer(
        {"bootstrap.servers": broker, "group.id": "trucban-status", "log_level": 0, "socket.timeout.ms": 5000}
    )
    try:
        return {
            number: consumer.get_watermark_offsets(TopicPartition(EVENTS, number), timeout=LAG_SECONDS)[1]
            for number in range(partitions)
        }
    finally:
        consumer.close()


def _worker_ports(file: Path) -> list[int]:
    """Metrics port of each worker; 0 where it has none."""
    if not file.exists():
        return []
    ports = json.loads(file.read_text(encoding="utf-8"))
    return [port for name, port in ports.items() if name.startswith("worker-")]


def _positions(ports: list[int]) -> dict[int, int]:
    """Newest position of `count` in each partition, from the workers' metrics."""
    found: dict[int, int] = {}
    for port in filter(None, ports):
        for partition, value in _POSITION.findall(_scrape(port)):
            found[int(partition)] = max(found.get(int(partition), 0), int(float(value)))
    return found


def _scrape(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2.0) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""  # a worker that does not answer has no partitions: that is reported


def _look_at_archive(settings: Settings, report: Report) -> None:
    from store.clickhouse.client import ClickHouse
    from store.query import summarise

    try:
        summary = summarise(ClickHouse(clickhouse_url(settings), timeout=5))
    except StoreAway:
        report.wrong.append("ClickHouse does not answer")
        return
    except (StoreError, SettingsError) as error:
        report.wrong.append(str(error))
        return
    report.insert_age = _insert_age(run_directory(settings) / METRICS_FILE)
    report.events = summary.rows["events"]
    report.last_event = summary.last_stored.isoformat() if summary.last_stored else None


def _insert_age(file: Path) -> float | None:
    """From the archiver's metrics; None where it gives none."""
    ports = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    found = _INSERT_AGE.search(_scrape(ports["archiver"])) if ports.get("archiver") else None
    return float(found[1]) if found else None


def _look_at_outbox(settings: Settings, report: Report) -> None:
    from store.desk_postgres import PostgresDesk
    from store.postgres_engine import connect

    try:
        engine = connect(database_url(settings))
        try:
            summary = PostgresDesk(engine).summary()
        finally:
            engine.dispose()
    except (StoreError, SettingsError) as error:
        report.wrong.append(str(error))
        return
    report.pushes_open = summary.waiting + summary.leased
    report.outbox_age = 0.0
    if summary.oldest_open is not None:
        report.outbox_age = max(0.0, time.time() - summary.oldest_open / 1000)
    if summary.last_delivered is not None:
        report.last_push = datetime.fromtimestamp(summary.last_delivered / 1000, UTC).isoformat()
    if report.outbox_age > 60:
        report.wrong.append(f"{report.pushes_open} pushes are open, the oldest for more than a minute")


def render(report: Report) -> str:
    """The report for people."""
    lines = [
        f"{process.name:<12} {process.state:<12} pid {process.pid or '-':<8} restarts {process.restarts}"
        for process in report.processes
    ]
    lines += [
        f"lag          {_shown(report.lag)} records",
        (
            f"events       {_shown(report.events)} archived, last {_shown(report.last_event)}, "
            f"archiver behind {_seconds(report.insert_age)}"
        ),
        (
            f"pushes       {_shown(report.pushes_open)} open, oldest {_seconds(report.outbox_age)}, "
            f"last delivered {_shown(report.last_push)}"
        ),
    ]
    lines += report.unknown
    if report.wrong:
        lines.append("wrong:")
        lines += [f"  {sentence}" for sentence in report.wrong]
    else:
        lines.append("all is well")
    return "\n".join(lines)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def _shown(value: object) -> str:
    return "-" if value is None else str(value)
