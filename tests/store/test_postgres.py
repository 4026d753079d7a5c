"""The embedded PostgreSQL, started, stopped and killed as a real process."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from schemas.errors import StoreAway, StoreError, SupervisionError
from store.postgres import end_leftovers, locate, run_postgres, write_private

pytestmark = [pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (
    "import sys; from pathlib import Path; from store.postgres import run_postgres; "
    "sys.exit(run_postgres(Path(sys.argv[1]), int(sys.argv[2])))"
)


class Server:
    """``run_postgres`` in a process of its own."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.url_file = data_dir / "run" / "database.url"

    def start(self) -> None:
        self.url_file.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(self.data_dir), "0"], cwd=ROOT, stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + 60
        while not self.url_file.exists():
            assert self.process.poll() is None, self.process.communicate()[1].decode()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.log = threading.Thread(target=self.process.communicate, daemon=True)
        self.log.start()

    @property
    def url(self) -> str:
        return self.url_file.read_text()

    def postmaster(self) -> psutil.Process:
        return psutil.Process(int((self.data_dir / "postgres/data/postmaster.pid").read_text().split()[0]))

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="trucban-pg-"))
    one = Server(folder)
    one.start()
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.end()
        shutil.rmtree(folder, ignore_errors=True)


def count(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
        assert row is not None
        return int(row[0])


def write_until_it_ends(url: str, acknowledged: list[int]) -> None:
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            while True:
                connection.execute("INSERT INTO kept VALUES (%s)", (len(acknowledged),))
                acknowledged.append(len(acknowledged))
    except psycopg.OperationalError:
        return


def killed_under_writes(server: Server, victim: psutil.Process) -> list[int]:
    """Kill ``victim`` while rows are written; the numbers whose commit was acknowledged."""
    with psycopg.connect(server.url) as connection:
        connection.execute("DROP TABLE IF EXISTS kept")
        connection.execute("CREATE TABLE kept (number integer)")
    acknowledged: list[int] = []
    writer = threading.Thread(target=write_until_it_ends, args=(server.url, acknowledged))
    writer.start()
    while len(acknowledged) < 100 and writer.is_alive():
        time.sleep(0.005)
    victim.kill()
    writer.join(30)
    server.process.wait(30)
    return acknowledged


@pytest.mark.parametrize("whom", ["postmaster", "parent"])
def test_acknowledged_rows_survive_a_kill_and_the_next_start_works_at_once(server: Server, whom: str) -> None:
    victim = server.postmaster() if whom == "postmaster" else psutil.Process(server.process.pid)
    acknowledged = killed_under_writes(server, victim)
    assert len(acknowledged) >= 100
    server.start()
    assert len(acknowledged) <= count(server.url) <= len(acknowledged) + 1


def test_the_address_is_private_and_stays_the_same(server: Server) -> None:
    before = server.url
    assert server.url_file.stat().st_mode & 0o777 == 0o600
    assert server.end() == 0
    server.start()
    assert server.url == before
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(before.replace(before.split(":")[2].split("@")[0], "wrong"))


def test_a_stopped_server_leaves_no_process(server: Server) -> None:
    family = [server.postmaster(), *server.postmaster().children(recursive=True)]
    with psycopg.connect(server.url):
        assert server.end() == 0
    assert [process for process in family if process.is_running()] == []
    server.start()


def test_a_pid_file_that_names_a_living_stranger_is_no_obstacle(server: Server) -> None:
    assert server.end() == 0
    stale = server.data_dir / "postgres/data/postmaster.pid"
    stale.write_text(f"{os.getpid()}\n{stale.parent}\n1\n5432\n\n127.0.0.1\n")
    server.start()
    assert server.postmaster().pid != os.getpid()


def test_orphans_of_a_killed_server_are_ended(server: Server) -> None:
    """A stopped (frozen) server cannot react to its parent's death: the next start ends it."""
    postmaster = server.postmaster()
    postmaster.suspend()
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    end_leftovers(locate(server.data_dir))
    assert not postmaster.is_running() or postmaster.status() == psutil.STATUS_ZOMBIE
    server.start()


def test_one_directory_one_server(server: Server) -> None:
    with pytest.raises(SupervisionError) as caught:
        run_postgres(server.data_dir, 0)
    assert (
        str(caught.value)
        == f"{server.data_dir.resolve() / 'postgres'} is in use by another PostgreSQL of ours"
    )


def test_a_taken_port_is_named(server: Server) -> None:
    assert server.end() == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SupervisionError) as caught:
            run_postgres(server.data_dir, port)
    assert str(caught.value) == f"port {port} is taken; choose another for PostgreSQL, or 0 for any free one"


def test_a_cluster_of_another_version_is_refused(server: Server, tmp_path: Path) -> None:
    cluster = tmp_path / "postgres" / "data"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("16\n")
    with pytest.raises(StoreError) as caught:
        run_postgres(tmp_path, 0)
    assert str(caught.value) == f"{cluster.resolve()} was made by PostgreSQL 16; this one is 18"


def test_a_server_that_ends_by_itself_is_an_error(tmp_path: Path) -> None:
    cluster = tmp_path / "postgres" / "data"
    cluster.mkdir(parents=True)
    cluster.chmod(0o777)  # refused by PostgreSQL
    (cluster / "PG_VERSION").write_text("18\n")
    write_private(tmp_path / "postgres" / "password", "secret")
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with pytest.raises(StoreAway) as caught:
            run_postgres(tmp_path, 0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert str(caught.value) == "PostgreSQL ended with status 2; its log says why"
