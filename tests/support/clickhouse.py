"""A real embedded ClickHouse in a process of its own, for tests."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit

from store.clickhouse.client import ClickHouse
from store.clickhouse.credentials import address_file
from tests.support.broker import free_port

ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = (
    "import sys; from pathlib import Path; from store.clickhouse.server import Limits, run_clickhouse; "
    "run_clickhouse(Path(sys.argv[1]), int(sys.argv[2]), limits=Limits(body=64 << 20))"
)


class ClickHouseProcess:
    """Starts, kills and starts again a server on one directory and one port."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address with credentials and database, as the server wrote it."""
        return address_file(self.data_dir).read_text(encoding="utf-8").strip()

    @property
    def base(self) -> str:
        """``http://127.0.0.1:PORT``, without credentials."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def credentials(self) -> tuple[str, str]:
        """User and password."""
        parts = urlsplit(self.url)
        return unquote(parts.username or ""), unquote(parts.password or "")

    def client(self) -> ClickHouse:
        """Our own client."""
        return ClickHouse(self.url)

    def start(self, bound: float = 30.0) -> None:
        """Start and wait until it answers."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(self.data_dir), str(self.port)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + bound
        while not (self._answers() and address_file(self.data_dir).exists()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("ClickHouse did not start")
            time.sleep(0.02)

    def kill(self) -> None:
        """``kill -9``."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; gives the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(20)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base}/ping", timeout=1) as answer:
                return bool(answer.read() == b"Ok.\n")
        except (urllib.error.URLError, OSError):
            return False
