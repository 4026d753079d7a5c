from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from trucban.cli import main
from trucban.commands import status
from trucban.commands.status import Process, Report, render
from trucban.metrics import INSERT_AGE, Meter, serve_metrics
from trucban.rundir import ChildStatus, Exit, Status, write_status
from trucban.settings import Settings


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_report_for_people() -> None:
    report = Report([Process("pulse", "ready", 12, alive=True, restarts=0)], lag=0, events=5, pushes_open=0)
    report.last_event, report.insert_age = "2026-09-07T08:00:00+07:00", 0.21
    assert render(report) == (
        "pulse        ready        pid 12       restarts 0\n"
        "lag          0 records\n"
        "events       5 archived, last 2026-09-07T08:00:00+07:00, archiver behind 0.2 s\n"
        "pushes       0 open, oldest -, last delivered -\n"
        "all is well"
    )


def test_whatever_is_away_is_told_and_the_status_is_not_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    broker, clickhouse, database = closed_port(), closed_port(), closed_port()
    (run / "clickhouse.url").write_text(f"http://u:p@127.0.0.1:{clickhouse}/trucban")
    (run / "database.url").write_text(f"postgresql://u:p@127.0.0.1:{database}/trucban")
    gone = ChildStatus("pulse", "backing_off", None, 0.0, 3, (Exit(0.0, "killed by SIGKILL"),))
    late = ChildStatus("worker-1", "starting", os.getpid(), 0.0, 0, ())
    write_status(tmp_path, Status(os.getpid(), 0.0, (gone, late)))
    assert main(["status", "--json", "--data-dir", str(tmp_path), "--broker", f"127.0.0.1:{broker}"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["wrong"][:4] == [
        "pulse is not running (backing_off): killed by SIGKILL",
        "worker-1 is starting",
        f"no Kafka broker answers at 127.0.0.1:{broker}",
        "ClickHouse does not answer",
    ]
    assert report["wrong"][4].startswith("PostgreSQL does not answer: ")
    assert len(report["wrong"]) == 5


def test_where_nothing_has_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    broker = f"127.0.0.1:{closed_port()}"
    assert main(["status", "--data-dir", str(tmp_path / "d"), "--broker", broker]) == 1
    assert f"`trucban up` has not run in {tmp_path}/d" in capsys.readouterr().out


def test_workers_without_metrics_are_not_said_to_be_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.json").write_text('{"worker-1": 0, "worker-2": 0}')
    monkeypatch.setattr(status, "count_partitions", lambda _broker: 1)
    monkeypatch.setattr(status, "_ends", lambda _broker, _partitions: {0: 5})
    report = Report()
    status._look_at_log(Settings(data_dir=tmp_path), report)
    assert (report.lag, report.wrong) == (None, [])
    assert report.unknown == ["the lag is not known: the workers give no metrics (--metrics-port 0)"]


def test_how_far_the_archiver_is_behind_is_read_from_its_metrics(tmp_path: Path) -> None:
    meter, port = Meter(), closed_port()
    meter.follow(INSERT_AGE, lambda: 3.5)
    serve_metrics(meter, port)
    file = tmp_path / "metrics.json"
    assert status._insert_age(file) is None
    file.write_text('{"archiver": 0}')
    assert status._insert_age(file) is None
    file.write_text(f'{{"archiver": {port}}}')
    assert status._insert_age(file) == 3.5
