"""A real PostgreSQL for tests: one server for the session, an empty database for each test."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, create_engine, text

from store.postgres import locate
from store.postgres_engine import connect


def _as_user(name: str) -> list[str]:
    return ["setpriv", f"--reuid={name}", f"--regid={name}", "--clear-groups"]


class TestServer:
    """A PostgreSQL on a Unix socket in a directory of its own, which can be stopped, killed, started."""

    __test__ = False

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.folder = folder
        self._fsync = "on" if durable else "off"
        self._data = folder / "data"
        places = locate(folder)  # makes the system user as which PostgreSQL runs under root
        self._bin, self._user = places.binaries, places.user
        self._run = [] if self._user is None else _as_user(self._user.pw_name)

    def create(self) -> None:
        """Make the cluster: without fsync, as nothing here outlives the machine."""
        if self._user is not None:
            shutil.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
            for folder in self._bin.parents:
                folder.chmod(folder.stat().st_mode | 0o001)
        self._call(
            "initdb", "--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres", "-D", str(self._data)
        )

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = (
            f"-h '' -k {self.folder} -c fsync={self._fsync} -c max_connections=60 -c shared_buffers=32MB"
        )
        log = str(self.folder / "log")
        self._call("pg_ctl", "-w", "-t", "60", "-D", str(self._data), "-l", log, "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it: ``fast``, or ``immediate`` (as if it had been killed: it recovers on its start)."""
        self._call("pg_ctl", "-w", "-t", "60", "-D", str(self._data), "-m", mode, "stop")

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*self._run, str(self._bin / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.decode()}")

    def url(self, database: str = "postgres") -> str:
        """Address of one of its databases."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run a statement outside of a transaction."""
        engine = create_engine(self.url(database).replace("://", "+psycopg://"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()

    @contextmanager
    def database(self) -> Iterator[str]:
        """Address of an empty database, dropped afterwards."""
        name = f"t_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} STRATEGY wal_log")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextmanager
def running_server(*, durable: bool = False) -> Iterator[TestServer]:
    """A server that runs until the end of the block; its directory is removed then.

    ``durable``: with fsync, as it runs in earnest.
    """
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        server = TestServer(folder, durable=durable)
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def engine(url: str) -> Iterator[Engine]:
    """An engine that leaves no connection behind."""
    made = connect(url)
    try:
        yield made
    finally:
        made.dispose()
