"""Supervision, with real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from schemas.errors import SupervisionError
from trucban.rundir import OWNER_VARIABLE, PortClaim, Status, check_ports, end_leftovers, locked, read_status
from trucban.supervise import ChildSpec, Supervisor

pytestmark = [pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import json, sys
from pathlib import Path
from trucban.supervise import ChildSpec, supervise
from trucban.rundir import PortClaim
from schemas.errors import SupervisionError
given = json.loads(sys.argv[1])
def probe(path):
    return None if path is None else Path(path).exists
specs = [ChildSpec(**{**spec, "ready": probe(spec.get("ready"))}) for spec in given["specs"]]
ports = [PortClaim(*claim) for claim in given["ports"]]
try:
    supervise(Path(given["data_dir"]), specs, ports)
except SupervisionError as error:
    sys.exit(f"trucban: {error}")
"""

SLEEPER = "import signal; signal.pause()"
WITH_GRANDCHILD = """
import signal, subprocess, sys
from store.lifeline import lifeline
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], preexec_fn=lifeline())
open(sys.argv[1], "w").write(str(child.pid))
signal.pause()
"""
TELLS_ITS_END = """
import signal, sys
def end(*_):
    with open(sys.argv[1], "a") as file:
        file.write(sys.argv[2] + " ")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
open(sys.argv[1] + "." + sys.argv[2], "w").close()
while True:
    signal.pause()
"""
DEAF = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
while True:
    signal.pause()
"""


def child(name: str, code: str, *arguments: object, **options: Any) -> dict[str, Any]:
    return {"name": name, "argv": [sys.executable, "-c", code, *map(str, arguments)], **options}


def until(holds: Callable[[], object], bound: float = 20.0) -> None:
    deadline = time.monotonic() + bound
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


class Up:
    """`supervise` in a process of its own."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.process: subprocess.Popen[str] | None = None

    def start(
        self, *specs: dict[str, Any], ports: list[tuple[int, str]] | None = None
    ) -> subprocess.Popen[str]:
        given = {"data_dir": str(self.data_dir), "specs": specs, "ports": ports or []}
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(given)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self.process

    def status(self) -> Status | None:
        status = read_status(self.data_dir)
        return (
            status if status is not None and self.process and status.supervisor == self.process.pid else None
        )

    def state(self, name: str) -> str | None:
        status = self.status()
        return next((c.state for c in status.children if c.name == name), None) if status else None

    def pid(self, name: str) -> int:
        return int((self.data_dir / "run" / f"{name}.pid").read_text())

    def finish(self, number: int = signal.SIGTERM, bound: float = 20.0) -> tuple[int, str]:
        assert self.process is not None
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=bound)
        return self.process.returncode, said


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    one = Up(tmp_path)
    yield one
    if one.process is not None and one.process.poll() is None:
        one.process.kill()
        one.process.communicate()


def test_a_killed_child_is_started_again_and_its_end_is_kept(up: Up) -> None:
    up.start(child("one", SLEEPER))
    until(lambda: up.state("one") == "ready")
    first = up.pid("one")
    os.kill(first, signal.SIGKILL)
    until(lambda: up.state("one") == "ready" and up.pid("one") != first)
    status = up.status()
    assert status is not None
    (one,) = status.children
    assert (one.restarts, [end.reason for end in one.exits]) == (1, ["killed by SIGKILL"])
    assert one.pid == up.pid("one")
    assert up.finish()[0] == 0
    assert not (up.data_dir / "run" / "one.pid").exists()
    assert not psutil.pid_exists(one.pid)


def test_pauses_grow_while_a_child_keeps_dying(up: Up) -> None:
    up.start(child("one", "raise SystemExit(3)"))
    until(lambda: (status := up.status()) and len(status.children[0].exits) >= 4)
    status = up.status()
    assert status is not None
    exits = status.children[0].exits
    assert {end.reason for end in exits} == {"ended with status 3"}
    gaps = [later.at - sooner.at for sooner, later in pairwise(exits)]
    assert gaps[0] >= 0.2
    assert gaps[1] >= 0.4
    assert gaps[2] >= 0.8
    assert up.finish()[0] == 0


def test_a_program_that_is_not_there_is_tried_again_and_named(up: Up) -> None:
    up.start({"name": "one", "argv": ["/no/such/program"]})
    until(lambda: (status := up.status()) and status.children[0].exits)
    status = up.status()
    assert status is not None
    assert status.children[0].exits[0].reason == (
        "cannot be started: [Errno 2] No such file or directory: '/no/such/program'"
    )
    assert up.finish()[0] == 0


def test_the_policies_never_and_on_failure(up: Up) -> None:
    up.start(
        child("never", "raise SystemExit(1)", restart="never"),
        child("fine", "pass", restart="on_failure"),
        child("failed", "raise SystemExit(1)", restart="on_failure"),
    )
    until(lambda: up.state("never") == "ended" and up.state("fine") == "ended")
    until(lambda: (status := up.status()) and status.children[2].restarts >= 1)
    assert up.finish()[0] == 0


def test_later_ones_start_when_earlier_ones_are_ready_and_stop_first(up: Up) -> None:
    ends = up.data_dir / "ends"
    specs = [
        child(
            name,
            TELLS_ITS_END,
            ends,
            name,
            order=order,
            ready=f"{ends}.{name}" if order != 1 else str(up.data_dir / "go"),
        )
        for name, order in (("first", 0), ("second", 1), ("third", 2))
    ]
    up.start(*specs)
    until(lambda: Path(f"{ends}.second").exists())
    assert (up.state("first"), up.state("second"), up.state("third")) == ("ready", "starting", "waiting")
    (up.data_dir / "go").touch()
    until(lambda: up.state("third") == "ready")
    assert up.finish(signal.SIGINT)[0] == 0
    assert ends.read_text() == "third second first "


def test_one_that_is_never_ready_holds_the_others_up_only_for_a_while(up: Up) -> None:
    up.start(
        child("first", SLEEPER, ready=str(up.data_dir / "never"), ready_seconds=0.3),
        child("second", SLEEPER, order=1),
    )
    until(lambda: up.state("second") == "ready")
    assert up.state("first") == "starting"
    assert up.finish()[0] == 0


def test_one_that_does_not_listen_is_killed_when_its_time_is_over(up: Up) -> None:
    up.start(child("deaf", DEAF, stop_seconds=0.3))
    until(
        lambda: (
            (up.data_dir / "log" / "deaf.log").exists()
            and "deaf" in (up.data_dir / "log/deaf.log").read_text()
        )
    )
    assert up.finish()[0] == 0
    status = read_status(up.data_dir)
    assert status is not None
    assert status.children[0].exits[-1].reason == "killed by SIGKILL"
    assert status.children[0].state == "ended"


def test_a_second_signal_ends_everything_at_once(up: Up) -> None:
    process = up.start(child("deaf", DEAF, stop_seconds=600))
    until(
        lambda: (
            (up.data_dir / "log" / "deaf.log").exists()
            and "deaf" in (up.data_dir / "log/deaf.log").read_text()
        )
    )
    process.send_signal(signal.SIGTERM)
    until(lambda: up.state("deaf") == "stopping")
    assert up.finish()[0] == 0


def test_nothing_outlives_a_killed_supervisor_and_the_next_one_starts_at_once(up: Up) -> None:
    grandchild = up.data_dir / "grandchild"
    specs = (child("one", WITH_GRANDCHILD, grandchild), child("frozen", SLEEPER))
    up.start(*specs)
    until(lambda: up.state("frozen") == "ready" and grandchild.exists() and grandchild.read_text())
    family = [psutil.Process(pid) for pid in (up.pid("one"), up.pid("frozen"), int(grandchild.read_text()))]
    family[1].suspend()
    assert up.finish(signal.SIGKILL)[0] == -signal.SIGKILL
    up.start(*specs)
    until(lambda: up.state("one") == "ready" and up.state("frozen") == "ready")
    until(lambda: not any(process.is_running() for process in family))
    assert up.finish()[0] == 0


def test_a_second_supervisor_names_the_first(up: Up) -> None:
    first = up.start(child("one", SLEEPER))
    until(lambda: up.state("one") == "ready")
    second = Up(up.data_dir)
    _, said = second.start(child("one", SLEEPER)).communicate(timeout=20)
    assert said == (
        f"trucban: {up.data_dir} is in use by another `trucban up` (pid {first.pid}); "
        "stop it, or choose another --data-dir\n"
    )
    assert up.finish()[0] == 0


def test_a_taken_port_is_one_sentence(up: Up) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        _, said = up.start(child("one", SLEEPER), ports=[(port, "--broker-port")]).communicate(timeout=20)
    assert said == f"trucban: port {port} is taken; choose another with --broker-port\n"
    assert not (up.data_dir / "run" / "one.pid").exists()
    check_ports([PortClaim(port, "--broker-port")])


def test_an_address_of_another_machine_is_one_sentence() -> None:
    with pytest.raises(SupervisionError) as caught:
        check_ports([PortClaim(9092, "--broker-port", "192.0.2.1")])
    assert str(caught.value) == (
        "nothing can listen on 192.0.2.1:9092 (Cannot assign requested address); "
        "choose another port with --broker-port"
    )


def test_a_large_log_is_put_aside_at_a_start(up: Up) -> None:
    log = up.data_dir / "log" / "one.log"
    log.parent.mkdir()
    with log.open("wb") as file:
        file.truncate(11 * 1024 * 1024)
    up.start(child("one", "import signal; print('fresh', flush=True); signal.pause()"))
    until(lambda: log.exists() and log.read_text() == "fresh\n")
    assert log.with_name("one.log.1").stat().st_size == 11 * 1024 * 1024
    assert up.finish()[0] == 0


def test_only_our_own_leftovers_are_ended(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    owner = {**os.environ, OWNER_VARIABLE: str(tmp_path.resolve())}
    ours = subprocess.Popen([sys.executable, "-c", SLEEPER], env=owner)
    stranger = subprocess.Popen([sys.executable, "-c", SLEEPER])
    try:
        (run / "ours.pid").write_text(f"{ours.pid}\n")
        (run / "reused.pid").write_text(f"{stranger.pid}\n")
        (run / "torn.pid").write_text("")
        (run / "gone.pid").write_text("999999999\n")
        until(lambda: psutil.Process(ours.pid).environ().get(OWNER_VARIABLE))
        with locked(tmp_path):
            end_leftovers(tmp_path)
        assert stranger.poll() is None
        assert not psutil.pid_exists(ours.pid)
        assert list(run.glob("*.pid")) == []
    finally:
        for process in (ours, stranger):
            process.kill()
            process.wait()


def test_names_are_unique(tmp_path: Path) -> None:
    with pytest.raises(SupervisionError) as caught:
        Supervisor(tmp_path, [ChildSpec("one", ["true"]), ChildSpec("one", ["true"])])
    assert str(caught.value) == "two children have one name: one, one"


def test_a_broken_status_file_reads_as_none(tmp_path: Path) -> None:
    assert read_status(tmp_path) is None
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "status.json").write_text("{")
    assert read_status(tmp_path) is None
