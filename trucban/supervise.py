"""Supervision of the processes of `trucban up`.

Children are started in order, a later one when the earlier ones are ready; one that dies is started
again with a growing pause; at SIGTERM or SIGINT they are ended in reverse order. The kernel kills
them when the supervisor dies, however it dies.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import BinaryIO, Literal

import structlog

from schemas.errors import SupervisionError
from store.lifeline import lifeline
from trucban.rundir import (
    OWNER_VARIABLE,
    ChildStatus,
    Exit,
    PortClaim,
    State,
    Status,
    check_ports,
    end_leftovers,
    locked,
    write_status,
)

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
STEADY_SECONDS = 30.0
"""A child that ran this long starts again after the first, short pause."""
LOG_BYTES = 10 * 1024 * 1024
"""A log file larger than this is put aside (as ``.1``) when its child is started."""
KEPT_EXITS = 10
_BUSY_TICK = 0.05
_QUIET_TICK = 1.0


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One process to keep running."""

    name: str
    """Names ``D/run/NAME.pid`` and ``D/log/NAME.log``."""
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the supervisor's environment."""
    ready: Callable[[], bool] | None = None
    """Quick probe; None: ready as soon as it runs."""
    ready_seconds: float = 60.0
    """After this long the later children are started anyway."""
    restart: Literal["always", "on_failure", "never"] = "always"
    stop_signal: int = signal.SIGTERM
    stop_seconds: float = 15.0
    """Time between ``stop_signal`` and SIGKILL."""
    order: int = 0
    """Small ones start first and stop last; equal ones together."""
    says: str = ""
    """Told when it is ready."""


class _Child:
    """A spec and what became of it."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.process: subprocess.Popen[bytes] | None = None
        self.state: State = "waiting"
        self.since = time.time()
        self.was_ready = False
        self.restarts = -1
        self.exits: deque[Exit] = deque(maxlen=KEPT_EXITS)
        self.started_at = 0.0
        self.start_at = 0.0
        self._pause = FIRST_PAUSE

    def enter(self, state: State) -> None:
        self.state = state
        self.since = time.time()
        self.was_ready = self.was_ready or state == "ready"

    def next_pause(self, now: float) -> float:
        """Pause before the next start: it doubles with each short life."""
        if now - self.started_at >= STEADY_SECONDS:
            self._pause = FIRST_PAUSE
        pause = self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        return pause

    def lets_later_start(self, now: float) -> bool:
        return self.was_ready or (self.started_at > 0 and now - self.started_at > self.spec.ready_seconds)

    def status(self) -> ChildStatus:
        pid = self.process.pid if self.process is not None else None
        return ChildStatus(
            self.spec.name, self.state, pid, self.since, max(self.restarts, 0), tuple(self.exits)
        )


class Supervisor:
    """Runs children for one data directory. Use `supervise`, which also takes lock and ports."""

    def __init__(self, data_dir: Path, specs: Iterable[ChildSpec]) -> None:
        self._data_dir = data_dir
        self._children = [_Child(spec) for spec in sorted(specs, key=lambda spec: spec.order)]
        self._signals = 0
        self._started = time.time()
        self._written: Status | None = None
        names = [child.spec.name for child in self._children]
        if len(set(names)) < len(names):
            raise SupervisionError(f"two children have one name: {', '.join(sorted(names))}")
        for folder in ("run", "log"):
            (data_dir / folder).mkdir(parents=True, exist_ok=True)

    def run(self) -> None:
        """Supervise until SIGTERM or SIGINT; then stop the children. In the main thread only.

        The kernel ties children to the thread that starts them.
        """
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        before = {number: signal.signal(number, self._heard) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            while not self._signals:
                self._tick()
                self._sleep(reader)
            self._stop(reader)
        finally:
            self._kill_all()
            self._report()
            signal.set_wakeup_fd(before_fd)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(reader)
            os.close(writer)

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1

    def _tick(self) -> None:
        now = time.monotonic()
        for child in self._children:
            self._reap(child, now)
        for child in self._children:
            if self._is_due(child, now):
                self._start(child)
            elif child.state == "starting":
                self._probe(child)
        self._report()

    def _is_due(self, child: _Child, now: float) -> bool:
        if child.state == "backing_off":
            return now >= child.start_at
        return child.state == "waiting" and all(
            earlier.lets_later_start(now)
            for earlier in self._children
            if earlier.spec.order < child.spec.order
        )

    def _start(self, child: _Child) -> None:
        spec = child.spec
        child.started_at = time.monotonic()
        child.restarts += 1
        environment = {**os.environ, **spec.env, OWNER_VARIABLE: str(self._data_dir.resolve())}
        try:
            with _open_log(self._data_dir / "log" / f"{spec.name}.log") as out:
                child.process = subprocess.Popen(
                    list(spec.argv),
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a terminal's Ctrl-C is for the supervisor
                    preexec_fn=lifeline(),  # noqa: PLW1509 - one prctl call, its library loaded before
                )
        except OSError as error:
            self._ended(child, f"cannot be started: {error}", failed=True)
            return
        self._pid_file(child).write_text(f"{child.process.pid}\n")
        child.enter("starting")
        self._probe(child)

    def _probe(self, child: _Child) -> None:
        if child.spec.ready is None or child.spec.ready():
            first = not child.was_ready
            child.enter("ready")
            told = {"says": child.spec.says} if child.spec.says and first else {}
            seconds = round(time.time() - self._started, 1)
            log.info("up: ready", child=child.spec.name, seconds=seconds, **told)

    def _reap(self, child: _Child, now: float) -> None:
        if child.process is None or child.process.poll() is None:
            return
        status = child.process.returncode
        child.process = None
        self._pid_file(child).unlink(missing_ok=True)
        self._ended(child, _reason(status), failed=status != 0, now=now)

    def _ended(self, child: _Child, reason: str, *, failed: bool, now: float | None = None) -> None:
        child.exits.append(Exit(time.time(), reason))
        policy = child.spec.restart
        if self._signals or policy == "never" or (policy == "on_failure" and not failed):
            child.enter("ended")
            return
        moment = time.monotonic() if now is None else now
        pause = child.next_pause(moment)
        child.start_at = moment + pause
        child.enter("backing_off")
        log.warning("up: a process ended", child=child.spec.name, reason=reason, again_in=pause)

    def _stop(self, reader: int) -> None:
        """End the children, the last ones first; a second signal ends all at once."""
        for child in self._children:
            if child.process is None:
                child.enter("ended")
        for order in sorted({child.spec.order for child in self._children}, reverse=True):
            group = [child for child in self._children if child.spec.order == order and child.process]
            for child in group:
                child.enter("stopping")
                _signal(child, child.spec.stop_signal)
            asked = time.monotonic()
            while any(child.process for child in group):
                now = time.monotonic()
                for child in group:
                    if self._signals > 1 or now - asked > child.spec.stop_seconds:
                        _signal(child, signal.SIGKILL)
                    self._reap(child, now)
                self._report()
                self._sleep(reader)

    def _kill_all(self) -> None:
        for child in self._children:
            if child.process is not None:
                _signal(child, signal.SIGKILL)
                child.process.wait()
                self._reap(child, time.monotonic())

    def _sleep(self, reader: int) -> None:
        """Until a signal or a child's end, at most until there may be something to do."""
        quiet = not self._signals and all(child.state in ("ready", "ended") for child in self._children)
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        fds = [os.pidfd_open(child.process.pid) for child in self._children if child.process is not None]
        for fd in fds:
            poll.register(fd, select.POLLIN)
        try:
            poll.poll((_QUIET_TICK if quiet else _BUSY_TICK) * 1000)
        finally:
            for fd in fds:
                os.close(fd)
        try:
            os.read(reader, 512)
        except BlockingIOError:
            return

    def _report(self) -> None:
        status = Status(os.getpid(), self._started, tuple(child.status() for child in self._children))
        if status != self._written:
            write_status(self._data_dir, status)
            self._written = status

    def _pid_file(self, child: _Child) -> Path:
        return self._data_dir / "run" / f"{child.spec.name}.pid"


def supervise(data_dir: Path, specs: Iterable[ChildSpec], ports: Iterable[PortClaim] = ()) -> None:
    """Take the directory and the ports, run the children until a signal, leave nothing behind.

    Raises SupervisionError, with one sentence for people, when the directory or a port is in use.
    """
    with locked(data_dir):
        end_leftovers(data_dir)
        check_ports(ports)
        Supervisor(data_dir, specs).run()


def _signal(child: _Child, number: int) -> None:
    if child.process is not None:
        child.process.send_signal(number)  # Popen leaves alone what has been reaped


def _reason(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def _open_log(path: Path) -> BinaryIO:
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))
    return path.open("ab")
