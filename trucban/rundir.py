"""What one `trucban up` holds of its machine: the lock of its directory, its ports, and its status file."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import psutil

from schemas.errors import SettingsError, SupervisionError

OWNER_VARIABLE = "SUPERVISED_BY_TRUCBAN"
"""Environment variable of every child: the data directory it works for."""
LEFTOVER_SECONDS = 10.0
PORT_SECONDS = 2.0
_STATUS = "status.json"
OURS = frozenset({"run", "log", "broker", "clickhouse", "postgres", "faust"})
"""What `trucban up` and its children put into a data directory."""

State = Literal["waiting", "starting", "ready", "backing_off", "stopping", "ended"]


class Exit(msgspec.Struct, frozen=True):
    """One end of a child: when (seconds since the epoch), and how."""

    at: float
    reason: str


class ChildStatus(msgspec.Struct, frozen=True):
    """One supervised process as `trucban status` shows it."""

    name: str
    state: State
    pid: int | None
    since: float
    """When it got into this state, seconds since the epoch."""
    restarts: int
    exits: tuple[Exit, ...]
    """The last ends, newest last."""


class Status(msgspec.Struct, frozen=True):
    """What the supervisor of a directory last wrote."""

    supervisor: int
    """Its pid."""
    started: float
    children: tuple[ChildStatus, ...]


@dataclass(frozen=True, slots=True)
class PortClaim:
    """A port that a child will listen on, and the option that chooses another."""

    port: int
    option: str
    host: str = "127.0.0.1"


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold ``D/run/lock``. Raises SupervisionError naming the pid that holds it already."""
    run = data_dir / "run"
    run.mkdir(parents=True, exist_ok=True)
    with (run / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            pid = file.read().strip() or "not known"
            raise SupervisionError(
                f"{data_dir} is in use by another `trucban up` (pid {pid}); "
                "stop it, or choose another --data-dir"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
        file.truncate(0)


def check_ours(data_dir: Path) -> None:
    """Raise SettingsError unless the directory is empty, not there, or one that `trucban up` made."""
    if not data_dir.exists():
        return
    if not data_dir.is_dir():
        raise SettingsError(f"--fresh: {data_dir} is not a directory")
    found = {path.name for path in data_dir.iterdir()}
    strange = sorted(found - OURS)
    if strange or (found and not (data_dir / "run" / "lock").is_file()):
        what = f"it holds {strange[0]}" if strange else "it has no run/lock"
        raise SettingsError(
            f"--fresh empties only a data directory that `trucban up` made, and {data_dir} is none: {what}"
        )


def empty(data_dir: Path) -> None:
    """Remove everything but the lock. Only under the lock, and after `check_ours`."""
    for path in [*data_dir.iterdir(), *(data_dir / "run").iterdir()]:
        if path.name == "run" or path == data_dir / "run" / "lock":
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def end_leftovers(data_dir: Path) -> None:
    """End children of a supervisor that was killed, by their pid files. Only under the lock."""
    left = [process for process in _named(data_dir) if _works_for(process, data_dir)]
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    _, left = psutil.wait_procs(left, timeout=LEFTOVER_SECONDS)
    if left:
        pids = ", ".join(str(process.pid) for process in left)
        raise SupervisionError(f"processes of an earlier `trucban up` do not end: {pids}")
    for path in (data_dir / "run").glob("*.pid"):
        path.unlink(missing_ok=True)


def _named(data_dir: Path) -> Iterator[psutil.Process]:
    for path in (data_dir / "run").glob("*.pid"):
        text = path.read_text().strip()
        if text.isdigit():
            try:
                yield psutil.Process(int(text))
            except psutil.NoSuchProcess:
                continue


def _works_for(process: psutil.Process, data_dir: Path) -> bool:
    try:
        return process.environ().get(OWNER_VARIABLE) == str(data_dir.resolve())
    except psutil.Error:
        return False


def check_ports(claims: Iterable[PortClaim], patience: float = PORT_SECONDS) -> None:
    """Raises SupervisionError for the first port that stays taken."""
    for claim in claims:
        deadline = time.monotonic() + patience
        while not _is_free(claim):
            if time.monotonic() >= deadline:
                raise SupervisionError(f"port {claim.port} is taken; choose another with {claim.option}")
            time.sleep(0.05)


def _is_free(claim: PortClaim) -> bool:
    family = socket.AF_INET6 if ":" in claim.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((claim.host, claim.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise SupervisionError(
                f"nothing can listen on {claim.host}:{claim.port} ({os.strerror(error.errno or 0)}); "
                f"choose another port with {claim.option}"
            ) from error
    return True


def write_status(data_dir: Path, status: Status) -> None:
    """Replace ``D/run/status.json`` at once."""
    path = data_dir / "run" / _STATUS
    fresh = path.with_name(f"{_STATUS}.new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(status)))
    fresh.replace(path)


def read_status(data_dir: Path) -> Status | None:
    """What the supervisor last wrote; None if nothing is there or it cannot be read.

    It may be of a supervisor that is gone: compare its pid.
    """
    try:
        return msgspec.json.decode((data_dir / "run" / _STATUS).read_bytes(), type=Status)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
