"""A whole installation for the acceptance tests: `trucban up` as users start it, watched from outside.

What is waited for is a condition with a bound: every record of the log was applied, archived and
decided, no push is open, and none of it changes between two looks.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.errors import StoreError
from schemas.topics import ALERTS, EVENTS, PANES, TRANSITIONS, layout
from store.archive import TOPICS as ARCHIVED
from store.clickhouse.client import ClickHouse
from tests.support.kafka import missing_for_apache, run_apache
from tests.support.webhook import WebhookReceiver

REPOSITORY = Path(__file__).resolve().parents[2]
NYC = REPOSITORY.parent / "shared" / "data" / "nyc-attendance-2018-19.csv"
PARTITIONS = 8
SECRETS = {"/an": "secret of the duty officer", "/binh": "secret of a principal"}
PRINCIPALS_SCHOOLS = ("01M015", "05M499", "13K003", "75X012")
"""Schools whose principal is known: their alerts concern two people."""

AGENTS = {"count": EVENTS, "judge": PANES, "correlate": TRANSITIONS}
_POSITION = re.compile(r'^trucban_worker_position\{agent="(\w+)",partition="(\d+)"\} (\S+)$', re.MULTILINE)

Rows = list[tuple[Any, ...]]
Tables = dict[str, Rows]
Place = tuple[str, int]

VIEWS = {
    "events": "SELECT source, id, type, time, arrived, school, data, mark, position FROM trucban.events",
    "rejected": "SELECT position, reason, field FROM trucban.rejected",
    "aggregates": "SELECT rule, rule_hash, group['school'], toString(toDate(window_start)), window_end, "
    "toString(measures) FROM trucban.aggregates",
    "transitions": "SELECT alert, ordinal, id, rule, rule_hash, group['school'], window_start, state, at, "
    "decided_at, reason, toString(measures), event_ids, text['vi'] FROM trucban.transitions",
    "alerts": "SELECT alert, state, at, transition, ordinal, first_firing_at FROM trucban.alerts",
    "told": "SELECT alert, ordinal, revision, id, rule, group['school'], state, reason, held_by, held_how, "
    "holds, at FROM trucban.alert_log FINAL",
    "deliveries": "SELECT id, attempt, alert, transition, person, channel, outcome FROM trucban.deliveries",
}


def need_data() -> Path:
    """The real file; the test is skipped where it is not."""
    if not NYC.exists():
        pytest.skip("the shared data is not beside the checkout")
    return NYC


def wait_for(condition: Callable[[], object], what: Callable[[], str], timeout: float) -> None:
    """Wait for a condition with a bound."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout:g} s in vain: {what()}")
        time.sleep(0.05)


def free_range(count: int) -> int:
    """First of so many loopback ports in a row that were free a moment ago."""
    while True:
        first = random.SystemRandom().randrange(20_000, 30_000)
        with_sockets = [socket.socket() for _ in range(count)]
        try:
            for number, probe in enumerate(with_sockets):
                probe.bind(("127.0.0.1", first + number))
        except OSError:
            continue
        else:
            return first
        finally:
            for probe in with_sockets:
                probe.close()


@dataclass
class Stack:
    """One data directory and whoever runs in it. ``broker`` empty: the embedded one."""

    directory: Path
    receiver: WebhookReceiver
    broker: str = ""
    workers: int = 1
    supervisor: subprocess.Popen[bytes] | None = None
    starts: int = 0
    options: Mapping[str, object] = field(default_factory=dict)
    """More options of `trucban up`, or others than the usual."""
    _replays: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data_dir = self.directory / "data"
        self._first_port = free_range(14 + self.workers)
        self._oncall = self.directory / "oncall.yaml"
        people = [
            {
                "code": path.removeprefix("/"),
                "name": path.removeprefix("/"),
                "channels": [{"kind": "webhook", "url": self.receiver.url(path), "secret": secret}],
            }
            for path, secret in SECRETS.items()
        ]
        principal = [{"people": "binh", "only": {"school": list(PRINCIPALS_SCHOOLS)}}]
        roster = {"people": people, "targets": {"duty-officer": ["an"], "principal": principal}}
        self._oncall.write_text(json.dumps(roster))  # JSON is YAML

    @property
    def address(self) -> str:
        """``host:port`` of the broker."""
        return self.broker or f"127.0.0.1:{self._first_port}"

    # --- processes -----------------------------------------------------------------------------

    def up(self) -> None:
        """Start `trucban up`."""
        options: dict[str, object] = {
            "--data-dir": self.data_dir,
            "--clock": "data",
            "--feed": "none",
            "--oncall": self._oncall,
            "--workers": self.workers,
            "--partitions": PARTITIONS,
            "--broker-port": self._first_port,
            "--clickhouse-port": self._first_port + 1,
            "--metrics-port": self._first_port + 2,
            "--console-port": self._first_port + 13 + self.workers,
        }
        if self.broker:
            options["--broker"] = self.broker
        options |= self.options
        arguments = [str(part) for pair in options.items() for part in pair]
        with (self.directory / "up.log").open("ab") as out:
            self.supervisor = subprocess.Popen(
                [sys.executable, "-m", "trucban", "up", *arguments], stdout=out, stderr=out, cwd=REPOSITORY
            )
        self.starts += 1

    def ready(self) -> bool:
        """Does every process run, as the supervisor says that now runs?"""
        assert self.supervisor is not None
        if (status := self.supervisor.poll()) is not None:
            log = (self.directory / "up.log").read_text()
            pytest.fail(f"`trucban up` ended with status {status}: {log[-3000:]}")
        try:
            found = json.loads((self.data_dir / "run" / "status.json").read_text())
        except FileNotFoundError:
            return False
        states = {child["state"] for child in found["children"]}
        return bool(found["supervisor"] == self.supervisor.pid and states == {"ready"})

    def wait_ready(self, timeout: float = 90.0) -> None:
        """Wait until everything runs."""
        wait_for(self.ready, lambda: (self.directory / "up.log").read_text()[-3000:], timeout)

    def pid(self, name: str) -> int | None:
        """Process id of a child, or of the supervisor, if it runs now."""
        if name == "supervisor":
            return self.supervisor.pid if self.supervisor and self.supervisor.poll() is None else None
        try:
            pid = int((self.data_dir / "run" / f"{name}.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if psutil.pid_exists(pid) and pid in self.processes() else None

    def stop(self) -> None:
        """Ctrl-C; everything must be gone afterwards."""
        assert self.supervisor is not None
        self.supervisor.send_signal(signal.SIGINT)
        assert self.supervisor.wait(60) == 0, (self.directory / "up.log").read_text()[-3000:]
        assert self.processes() == {}

    def end(self) -> None:
        """Kill what is left."""
        if self.supervisor is not None and self.supervisor.poll() is None:
            self.supervisor.kill()
            self.supervisor.wait(10)
        for replay in self._replays:
            if replay.poll() is None:
                replay.kill()
            replay.communicate()
        wait_for(lambda: not self.processes(), lambda: f"left behind: {self.processes()}", 20)

    def processes(self) -> dict[int, str]:
        """Living processes of this directory (PostgreSQL's own too), by their environment."""
        found = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # it has just ended
                if _owner(process) == str(self.data_dir.resolve()):
                    found[process.pid] = " ".join(process.cmdline()[:6])
        return found

    def start_replay(self, file: Path) -> subprocess.Popen[str]:
        """Begin to replay a file."""
        command = [sys.executable, "-m", "trucban", "replay", str(file), "--format", "nyc-attendance"]
        command += ["--broker", self.address, "--data-dir", str(self.data_dir)]
        replay = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
        )
        self._replays.append(replay)
        return replay

    def replay(self, file: Path, rows: int) -> None:
        """Replay a whole file."""
        out, errors = self.start_replay(file).communicate(timeout=180)
        assert (out, errors) == (f"accepted {rows}, rejected 0\n", "")

    # --- what it says --------------------------------------------------------------------------

    @contextmanager
    def clickhouse(self) -> Iterator[ClickHouse]:
        """A client of the archive."""
        client = ClickHouse((self.data_dir / "run" / "clickhouse.url").read_text().strip(), timeout=20)
        try:
            yield client
        finally:
            client.close()

    def tables(self) -> Tables:
        """All rows that people see, sorted."""
        with self.clickhouse() as client:
            return {view: sorted(client.query(sql), key=repr) for view, sql in VIEWS.items()}

    def decisions(self) -> Rows:
        """(alert, transition, person, channel, phase, outcome, push) of every decision, sorted."""
        columns = "alert, transition, person, channel, phase, outcome, push"
        return self._database(f"SELECT {columns} FROM decisions ORDER BY 1, 2, 3, 4")

    def _database(self, sql: str) -> Rows:
        import psycopg

        url = (self.data_dir / "run" / "database.url").read_text().strip()
        url = url.replace("postgresql+psycopg://", "postgresql://")
        with psycopg.connect(url, connect_timeout=5) as connection:
            return list(connection.execute(sql.encode()).fetchall())

    # --- is there anything left to do? ----------------------------------------------------------

    def wait_drained(self, complete: Callable[[], bool] = lambda: True, timeout: float = 180.0) -> None:
        """Wait until nothing is under way, twice in a row with the same log, and ``complete`` says yes."""
        seen: dict[Place, int] | None = None
        why = "nothing was looked at"

        def quiet() -> bool:
            nonlocal seen, why
            try:
                ends = self._ends()
                why = self._pending(ends)
            except (KafkaException, StoreError, OSError) as error:
                why, seen = f"somebody does not answer: {error}", None
                return False
            if why or ends != seen:
                seen = None if why else ends
                return False
            if not complete():
                why, seen = "all is quiet, and the tables are not as expected", None
                return False
            return True

        wait_for(quiet, lambda: why, timeout)

    def _ends(self) -> dict[Place, int]:
        topics = {*AGENTS.values(), *ARCHIVED}
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": "acceptance", "log_level": 0})
        try:
            return {
                (topic.name, number): consumer.get_watermark_offsets(
                    TopicPartition(topic.name, number), timeout=5
                )[1]
                for topic in layout(PARTITIONS)
                if topic.name in topics
                for number in range(topic.partitions)
            }
        finally:
            consumer.close()

    def _pending(self, ends: dict[Place, int]) -> str:
        """What is still to be done; empty if nothing is."""
        import psycopg

        applied = self._applied()
        for agent, topic in AGENTS.items():
            for (name, partition), end in ends.items():
                if name == topic and end and applied.get((agent, partition), 0) < end:
                    return f"{agent} of {topic}[{partition}] is at {applied.get((agent, partition))} of {end}"
        with self.clickhouse() as client:
            sql = "SELECT topic, log_partition, max(next) FROM trucban.position_log GROUP BY 1, 2"
            archived = {(topic, partition): at for topic, partition, at in client.query(sql)}
        for place, end in ends.items():
            if place[0] in ARCHIVED and end and archived.get(place, 0) < end:
                return f"the archive of {place} is at {archived.get(place)} of {end}"
        try:
            decided = self._database("SELECT max(next_offset) FROM positions")[0][0] or 0
            unsent = self._database("SELECT count(*) FROM outbox WHERE finished_at IS NULL")[0][0]
            untold = self._database("SELECT count(*) FROM deliveries WHERE NOT published")[0][0]
        except psycopg.Error as error:
            return f"PostgreSQL does not answer: {error}"
        if decided < ends[ALERTS, 0]:
            return f"the notifier is at {decided} of {ends[ALERTS, 0]}"
        return f"{unsent} pushes and {untold} receipts are open" if unsent or untold else ""

    def sent(self) -> int:
        """Records in school.events."""
        return sum(end for (topic, _), end in self._ends().items() if topic == EVENTS)

    def applied_by(self, name: str) -> dict[Place, int]:
        """(agent, partition) → position that a worker tells; nothing where it does not answer."""
        try:
            return self._told(name)
        except OSError:
            return {}

    def _told(self, name: str) -> dict[Place, int]:
        port = json.loads((self.data_dir / "run" / "metrics.json").read_text())[name]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
            text = answer.read().decode()
        return {
            (agent, int(partition)): int(float(value)) for agent, partition, value in _POSITION.findall(text)
        }

    def _applied(self) -> dict[Place, int]:
        found: dict[Place, int] = {}
        for number in range(1, self.workers + 1):
            for place, position in self._told(f"worker-{number}").items():
                found[place] = max(found.get(place, 0), position)
        return found


def _owner(process: psutil.Process) -> str | None:
    try:
        if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
            return None
        owner: str | None = process.environ().get("SUPERVISED_BY_TRUCBAN")
    except psutil.Error:
        return None
    return owner


@contextmanager
def running(
    kind: str, directory: Path, workers: int = 1, options: Mapping[str, object] | None = None
) -> Iterator[Stack]:
    """A started stack on a broker of this kind (``embedded``, ``apache``) and its webhook receiver."""
    if kind == "apache" and (missing := missing_for_apache()):
        pytest.skip(missing)
    with WebhookReceiver(secrets=SECRETS) as receiver, _broker(kind, directory) as broker:
        stack = Stack(directory / "stack", receiver, broker, workers, options=options or {})
        try:
            stack.up()
            stack.wait_ready()
            yield stack
        finally:
            stack.end()


@contextmanager
def _broker(kind: str, directory: Path) -> Iterator[str]:
    if kind == "embedded":
        yield ""
        return
    (directory / "kafka").mkdir(parents=True)
    yield from run_apache(directory / "kafka")
