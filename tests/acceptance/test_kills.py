"""``kill -9`` at random moments while a city's attendance is replayed: the tables come out the same.

A third of the file's schools, to keep the CI short; ``TRUCBAN_WHOLE=1`` takes the whole file. Another
seed is chosen with ``TRUCBAN_SEED``.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.stack import Stack, Tables, need_data, running, wait_for
from tests.acceptance.verdict import (
    check_counts,
    check_decisions,
    check_lives,
    check_pushes,
    complete,
    difference,
    due,
)
from tests.recount.recount import Expected, recount_nyc

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SEED = int(os.environ.get("TRUCBAN_SEED", "20180905"))
SESSION_SECONDS = 10.0
KILLS = {
    "embedded": {
        "worker-1": 3,
        "worker-2": 3,
        "archiver": 4,
        "notifier": 4,
        "pulse": 3,
        "broker": 3,
        "clickhouse": 4,
        "postgres": 4,
        "supervisor": 2,
    },
    "apache": {"worker-1": 4, "worker-2": 4, "archiver": 4, "notifier": 4, "supervisor": 1},
}
PAUSE = (0.0, 0.8)
"""Least and most seconds between the moment from which a kill interrupts work, and the kill."""
SLICE = 0.08
"""Seconds for which the first replay runs between two kills: its work lasts as long as they do."""
WORK_SECONDS = {"worker-1": 15.0, "worker-2": 15.0, "notifier": 5.0}
"""How long is waited for a process to have done something since it was last killed.

On the embedded broker a worker needs seven seconds to join the group again: the broker waits three
seconds each for members to join and to be told their partitions.
"""
HISTORY = 0.6
"""Share of the file that is sent before the first kill: alerts need four weeks."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is replayed."""
    whole = need_data()
    if os.environ.get("TRUCBAN_WHOLE") == "1":
        return whole
    part = tmp_path_factory.mktemp("file") / "nyc.csv"
    header, *rows = whole.read_text().splitlines()
    schools = set(sorted({row[:6] for row in rows})[::3])
    part.write_text("\n".join([header, *(row for row in rows if row[:6] in schools)]) + "\n")
    return part


@pytest.fixture(scope="module")
def expected(file: Path) -> Expected:
    """The naive recount."""
    return recount_nyc(file)


@pytest.fixture(scope="module")
def undisturbed(file: Path, expected: Expected, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The tables of a run in which nobody was hurt."""
    with running("embedded", tmp_path_factory.mktemp("undisturbed")) as stack:
        stack.replay(file, expected.events)
        stack.wait_drained(lambda: complete(stack, expected))
        tables = stack.tables()
        stack.stop()
    return tables


class Assassin:
    """Kills at seeded moments, and keeps the file being replayed meanwhile.

    The first replay is let run in slices, so that there is new work for as long as kills go on.
    """

    def __init__(self, stack: Stack, file: Path, history: int, seed: int) -> None:
        self.stack, self.file = stack, file
        self.kills: Counter[str] = Counter()
        self.at_work: Counter[str] = Counter()
        """Kills of processes that had done something since they started."""
        self.replays: Counter[int] = Counter()
        self._chance = random.Random(seed)
        self._replay = stack.start_replay(file)
        before = stack.sent()
        wait_for(lambda: stack.sent() > before + history, lambda: "nothing is replayed", 30)
        self._hold()
        wait_for(lambda: stack.receiver.requests, lambda: "no push comes", 60)
        self._pushes = len(stack.receiver.requests)

    def strike(self, plan: dict[str, int]) -> None:
        """All kills of a plan, in a random order."""
        victims = [name for name, times in plan.items() for _ in range(times)]
        self._chance.shuffle(victims)
        for name in victims:
            self._slice()
            self._wait_for_work(name)
            self._run_for(self._chance.uniform(*PAUSE))
            self.kill(name)

    def kill(self, name: str) -> None:
        """SIGKILL, as soon as there is such a process; a supervisor is started again at once."""
        wait_for(lambda: self.stack.pid(name), lambda: f"{name} never runs", 60)
        if name == "supervisor":
            assert self.stack.supervisor is not None
            self.stack.supervisor.kill()
            self.stack.supervisor.wait(10)
            self.stack.up()
        elif (pid := self.stack.pid(name)) is not None:
            os.kill(pid, signal.SIGKILL)
        self.kills[name] += 1
        self._pushes = len(self.stack.receiver.requests)

    def freeze(self, name: str, seconds: float) -> None:
        """SIGSTOP, time enough for others to take its partitions over, SIGCONT."""
        self._wait_for_work(name)
        pid = self.stack.pid(name)
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        for _ in range(4):
            self._slice()
            self._run_for(seconds / 4)
        os.kill(pid, signal.SIGCONT)

    def wait_for_pushes(self) -> None:
        """Until more was pushed than before the kills: the other half shall interrupt work too."""
        arrived = len(self.stack.receiver.requests)

        def pushed() -> bool:
            self._slice()
            return len(self.stack.receiver.requests) > arrived

        wait_for(pushed, lambda: "no push comes between the kills", 90)

    def finish(self) -> None:
        """One replay must get through, however often it must be started."""
        self._release()
        wait_for(self._got_through, lambda: f"no replay gets through: {dict(self.replays)}", 240)

    def _wait_for_work(self, name: str) -> None:
        """Until the process has done something that a kill interrupts; not for ever."""
        deadline = time.monotonic() + WORK_SECONDS.get(name, 5.0)
        while time.monotonic() < deadline:
            if self._works(name):
                self.at_work[name] += 1
                return
            time.sleep(0.02)

    def _works(self, name: str) -> bool:
        if self.stack.pid(name) is None:
            return False
        if name.startswith("worker-"):
            return bool(self.stack.applied_by(name))
        if name == "notifier":
            return len(self.stack.receiver.requests) > self._pushes
        return True

    def _hold(self) -> None:
        if self._replay.poll() is None:
            self._replay.send_signal(signal.SIGSTOP)

    def _release(self) -> None:
        if self._replay.poll() is None:
            self._replay.send_signal(signal.SIGCONT)

    def _slice(self) -> None:
        """Let the held replay send a little."""
        if not self.replays:
            self._release()
            self._run_for(SLICE)
            if not self.replays:
                self._hold()

    def _got_through(self) -> bool:
        return self._replay.poll() is not None and (self._ended() or self._again())

    def _ended(self) -> bool:
        out, errors = self._replay.communicate()
        status = self._replay.returncode
        self.replays[status] += 1
        assert status in (0, 3), f"replay ended with {status}: {out}{errors}"
        assert "Traceback" not in errors, errors
        return status == 0

    def _again(self) -> bool:
        self._replay = self.stack.start_replay(self.file)
        return False

    def _run_for(self, seconds: float) -> None:
        """Let time pass (that is what a random moment is), replaying anew whenever one replay ended."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                self._replay.wait(left)
            except subprocess.TimeoutExpired:
                return
            self._ended()
            self._again()


@pytest.mark.parametrize("kind", ["embedded", pytest.param("apache", marks=pytest.mark.kafka)])
def test_killed_at_random_moments_everything_comes_out_the_same(
    kind: str, file: Path, expected: Expected, undisturbed: Tables, tmp_path: Path
) -> None:
    began = time.monotonic()
    with running(kind, tmp_path, workers=2) as stack:
        assassin = Assassin(stack, file, int(expected.events * HISTORY), SEED)
        before = len(stack.receiver.requests)
        half = {name: times // 2 for name, times in KILLS[kind].items()}
        rest = {name: times - half[name] for name, times in KILLS[kind].items()}
        assassin.strike(half)
        assassin.wait_for_pushes()
        assassin.freeze("worker-2", SESSION_SECONDS + 2)
        assassin.strike(rest)
        struck = time.monotonic() - began
        print(f"\n{kind}: {dict(assassin.kills)}, at work {dict(assassin.at_work)}, after {struck:.0f} s")
        pushed = len(stack.receiver.requests) - before
        assassin.finish()
        stack.wait_ready()
        stack.wait_drained(lambda: complete(stack, expected))
        drained = time.monotonic() - began
        tables = stack.tables()
        check_counts(stack, expected, tables)
        check_lives(tables)
        differences = difference(undisturbed, tables, ("aggregates", "transitions", "alerts", "told"))
        assert differences == {}
        decisions = stack.decisions()
        check_decisions(tables, decisions)
        repeats = check_pushes(stack, tables, decisions)
        stack.stop()
    print(
        f"\n{kind}: {expected.events} events, {assassin.kills.total()} kills {dict(assassin.kills)} "
        f"(at work: {dict(assassin.at_work)}), "
        f"one worker frozen {SESSION_SECONDS + 2:g} s, replays by exit status {dict(assassin.replays)}, "
        f"{len(due(tables))} pushes ({pushed} while killing), {repeats} repeated, "
        f"struck until {struck:.0f} s, drained at {drained:.0f} s"
    )
