"""clickhouse-go, which Grafana's data source is made of, against the embedded server."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.archive_clickhouse import ClickHouseArchive
from tests.support.archive import (
    aggregate,
    alerts,
    delivery,
    events,
    rejected,
    transition,
    transitions,
)
from tests.support.clickhouse import ROOT, ClickHouseProcess

SOURCE = ROOT / "tests" / "clickhouse_go"
VIEWS = ("events", "rejected", "aggregates", "transitions", "alerts", "deliveries")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("go") is None, reason="needs the Go tool chain"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("go") / "trial"
    built = subprocess.run(
        ["go", "build", "-mod=readonly", "-o", str(target), "."],
        cwd=SOURCE,
        capture_output=True,
        text=True,
        check=False,
    )
    offline = "no such host" in built.stderr or "dial tcp" in built.stderr
    if built.returncode and offline:
        pytest.skip("clickhouse-go is not in the module cache and the network does not answer")
    assert built.returncode == 0, built.stderr
    return target


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseProcess]:
    process = ClickHouseProcess(tmp_path_factory.mktemp("clickhouse"))
    process.start()
    archive = ClickHouseArchive(process.url)
    archive.open("e1")
    archive.write([
        events(["x", "y"]),
        rejected(3),
        aggregate(4, 1),
        transitions(transition(1, "firing"), transition(2, "resolved")),
        alerts(transition(1, "firing"), transition(2, "resolved")),
        delivery(1),
    ])  # fmt: skip
    archive.close()
    yield process
    process.stop()


@pytest.mark.parametrize("method", ["none", "gzip", "deflate", "lz4", "zstd"])
def test_clickhouse_go_reads_writes_and_is_refused(
    program: Path, server: ClickHouseProcess, method: str
) -> None:
    user, password = server.credentials
    run = subprocess.run(
        [str(program), f"127.0.0.1:{server.port}", user, password, method],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    got: dict[str, Any] = {line["what"]: line for line in lines}
    expected_errors = {"error", "syntax", "wrong password"}
    assert [line for line in lines if "error" in line and line["what"] not in expected_errors] == []

    assert got["version"]["value"] is True
    assert [len(got[view]["value"]["rows"]) for view in VIEWS] == [2, 1, 1, 2, 1, 1]
    for view in VIEWS:
        assert got[f"no {view}"]["value"] == {"columns": got[view]["value"]["columns"], "rows": []}
    event = dict(zip(got["events"]["value"]["columns"], got["events"]["value"]["rows"][0], strict=True))
    assert json.loads(event["data"]) == {"school": "HN-001", "status": "absent"}
    assert event["time"] == "2026-09-07T07:40:00+07:00"
    row = dict(zip(got["aggregates"]["value"]["columns"], got["aggregates"]["value"]["rows"][0], strict=True))
    assert (row["group"], row["measures"]) == ({"school": "HN-001"}, {"absent": 4, "usual": None})
    state = dict(zip(got["alerts"]["value"]["columns"], got["alerts"]["value"]["rows"][0], strict=True))
    assert (state["state"], state["first_firing_at"]) == ("resolved", "2026-09-07T07:40:00.001+07:00")
    assert got["many"]["value"]["rows"] == [[100000, 4999950000]]
    assert got["show"]["value"] == {"columns": ["name"], "rows": []}
    assert got["parameter"]["value"]["rows"] == [["Trường 'A'", 42]]
    assert "Code: 47. DB::Exception: Unknown expression identifier `nothing`" in got["error"]["error"]
    assert "[HTTP 400]" in got["syntax"]["error"]
    assert got["inserted"]["value"]["rows"] == [
        [1000, "2026-09-07T07:40:00+07:00", "Trường 999", 249750]
    ]  # fmt: skip
    assert got["big"]["value"] == 300000
    assert "[HTTP 403]" in got["wrong password"]["error"]
    assert "Code: 516. DB::Exception: trucban: Authentication failed" in got["wrong password"]["error"]
    assert run.returncode == 0
