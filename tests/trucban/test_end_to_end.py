"""The front door as a whole: `up`, `replay`, `status`, a stop and a start, compared with the naive recount.

A small file, so that this runs everywhere; the real one is in tests/acceptance."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from store.clickhouse.client import ClickHouse
from tests.recount.recount import recount_nyc

PATIENCE = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def trucban(*arguments: str, status: int = 0) -> str:
    command = [sys.executable, "-m", "trucban", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@contextmanager
def stack(data_dir: Path, ports: dict[str, int]) -> Iterator[ClickHouse]:
    options = [f"{option}={port}" for option, port in ports.items()]
    command = [
        sys.executable,
        "-m",
        "trucban",
        "up",
        "--data-dir",
        str(data_dir),
        "--clock",
        "data",
        *options,
    ]
    with (data_dir / "up.log").open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        until(lambda: status_of(data_dir)["wrong"] == [], lambda: status_of(data_dir))
        yield ClickHouse((data_dir / "run" / "clickhouse.url").read_text().strip())
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def status_of(data_dir: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "trucban", "status", "--json", "--data-dir", str(data_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def until(holds: Any, say: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, say()
        time.sleep(0.5)


def aggregates(client: ClickHouse) -> dict[tuple[str, ...], dict[str, int]]:
    rows = client.query(
        "SELECT group['school'], toString(toDate(window_start, 'Asia/Ho_Chi_Minh')), measures "
        "FROM trucban.aggregates WHERE rule = 'school-day-absence'"
    )
    names = ("enrolled", "absent", "present", "released", "reported")
    found: dict[tuple[str, ...], dict[str, int]] = {
        (school, day): {name: int(measures[name]) for name in names} for school, day, measures in rows
    }
    assert len(found) == len(rows)
    return found


def everything(client: ClickHouse) -> dict[str, list[tuple[Any, ...]]]:
    return {
        "events": client.query("SELECT count(), sum(cityHash64(id, data)) FROM trucban.events"),
        "rejected": client.query("SELECT count() FROM trucban.rejected"),
        "aggregates": client.query(
            "SELECT count(), sum(cityHash64(toString(group), window_start, toString(measures))) "
            "FROM trucban.aggregates"
        ),
        "transitions": client.query("SELECT id, state FROM trucban.transitions ORDER BY id"),
    }


def settled(client: ClickHouse, data_dir: Path) -> None:
    """Nothing is under way any more: no lag, and the tables have stood still for three seconds."""
    until(lambda: status_of(data_dir)["lag"] == 0, lambda: status_of(data_dir))
    still, since = everything(client), time.monotonic()
    deadline = since + PATIENCE
    while time.monotonic() - since < 3.0:
        assert time.monotonic() < deadline
        if (now := everything(client)) != still:
            still, since = now, time.monotonic()
        time.sleep(0.3)


def small_file(path: Path) -> Path:
    """Three schools and six weeks, one bad Friday."""
    lines = ["School DBN,Date,Enrolled,Absent,Present,Released"]
    days = [f"201809{day:02}" for day in range(3, 29) if (day - 3) % 7 < 5]
    days += [f"201810{day:02}" for day in range(1, 13) if (day - 1) % 7 < 5]
    for school in ("01M015", "02M003", "75X999"):
        for number, day in enumerate(days):
            absent = 90 if (school, day) == ("02M003", "20181005") else 8 + number % 5
            lines.append(f"{school},{day},200,{absent},{199 - absent},1")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_goes_in_comes_out_once_also_replayed_and_after_a_restart(tmp_path: Path) -> None:
    file = small_file(tmp_path / "nyc.csv")
    expected = recount_nyc(file)
    data_dir = tmp_path / "d"
    data_dir.mkdir()
    ports = {"--broker-port": free_port(), "--clickhouse-port": free_port(), "--metrics-port": 20_000}
    ports["--metrics-port"] += os.getpid() % 10_000
    ports["--console-port"] = free_port()
    where = ("--data-dir", str(data_dir))
    with stack(data_dir, ports) as client:
        again = f"accepted {expected.events}, rejected 0\n"
        assert trucban("replay", str(file), "--format", "nyc-attendance", *where) == again
        settled(client, data_dir)
        assert client.query("SELECT type, count() FROM trucban.events GROUP BY type") == [
            ("attendance.day_reported", expected.events)
        ]
        assert aggregates(client) == expected.days
        first = everything(client)
        assert first["rejected"] == [(0,)]
        assert len(first["transitions"]) > 0
        assert trucban("replay", str(file), "--format", "nyc-attendance", *where) == again
        settled(client, data_dir)
        assert everything(client) == first
    with stack(data_dir, ports) as client:
        assert everything(client) == first
        assert trucban("replay", str(file), "--format", "nyc-attendance", *where) == again
        settled(client, data_dir)
        assert everything(client) == first
