"""A real embedded broker in a process of its own, for tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = (
    "import asyncio, sys; from pathlib import Path; from streams.broker.process import run_broker; "
    "asyncio.run(run_broker(Path(sys.argv[1]), int(sys.argv[2])))"
)


def free_port() -> int:
    """A loopback port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class BrokerProcess:
    """Starts, kills and starts again a broker on one directory and one port."""

    def __init__(self, data_dir: Path, port: int | None = None) -> None:
        self.data_dir = data_dir
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, bound: float = 30.0) -> None:
        """Start and wait until the public port answers."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(self.data_dir), str(self.port)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + bound
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def tansu_pid(self) -> int | None:
        """Pid of the Tansu below the running broker."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def kill_tansu(self) -> None:
        """``kill -9`` for Tansu; the broker has to end too."""
        assert self.process is not None
        pid = self.tansu_pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(10)

    def kill(self) -> None:
        """``kill -9`` for the broker."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; gives the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(10)
