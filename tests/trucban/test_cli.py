from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.errors import BrokerAway, LogLost, SchemaError, SettingsError, StoreAway, SupervisionError
from trucban.addresses import broker_address, clickhouse_url
from trucban.cli import build_parser, exit_status, find, main
from trucban.commands.table import COMMANDS, EXIT_CODES
from trucban.metrics import METRICS, Meter, serve_metrics
from trucban.settings import Settings, make_settings


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_is_there(command: object) -> None:
    assert command in COMMANDS
    entry = next(known for known in COMMANDS if known is command)
    assert callable(find(entry))
    assert set(entry.settings) <= set(Settings.model_fields)


def test_help_names_every_public_command_and_exit_status() -> None:
    text = build_parser().format_help()
    for command in COMMANDS:
        if not command.internal:
            assert command.name.partition(" ")[0] in text
    for _, meaning in EXIT_CODES:
        assert meaning in text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SettingsError(), 2),
        (BrokerAway(), 3),
        (StoreAway(), 3),
        (SupervisionError(), 4),
        (LogLost(), 5),
        (SchemaError(), 1),
    ],
)
def test_exit_status(error: SettingsError, status: int) -> None:
    assert exit_status(error) == status
    assert status in dict(EXIT_CODES)


def test_one_sentence_for_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["send", "none.jsonl"]) == 2
    assert capsys.readouterr().err == "trucban send: none.jsonl cannot be read: No such file or directory\n"


def test_one_sentence_for_a_type_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "attendance.maked"]) == 2
    assert capsys.readouterr().err == (
        'trucban schema: there is no event type "attendance.maked"; did you mean "attendance.marked"?\n'
    )


def test_one_sentence_for_a_wrong_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--workers", "0"]) == 2
    assert capsys.readouterr().err == (
        "trucban up: setting workers (--workers, TRUCBAN_WORKERS): wrong value '0': "
        "input should be greater than or equal to 1\n"
    )


def test_rules_are_checked_and_tested(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "check"]) == 0
    assert main(["rules", "test"]) == 0
    assert capsys.readouterr().out.endswith(" tests, 0 failed\n")


def test_all_faults_and_a_status_for_bad_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text("rule: x\nrulle: y\n")
    assert main(["rules", "check", "--rules", str(tmp_path)]) == 1
    assert "a.yaml:2:1: " in capsys.readouterr().out


def test_without_a_command_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "COMMAND" in capsys.readouterr().out


def test_where_servers_are(tmp_path: Path) -> None:
    settings = make_settings({"data_dir": tmp_path, "broker_port": 1234})
    assert broker_address(settings) == "127.0.0.1:1234"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "broker.address").write_text("h:1\n")
    assert broker_address(settings) == "h:1"
    assert broker_address(make_settings({"data_dir": tmp_path, "broker": "k:2"})) == "k:2"
    with pytest.raises(SettingsError) as caught:
        clickhouse_url(settings)
    assert str(caught.value) == (
        f"{tmp_path}/run/clickhouse.url is not there: run `trucban up` with this data directory, "
        "or give --clickhouse"
    )


def test_a_taken_metrics_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SupervisionError) as caught:
            serve_metrics(Meter(), port)
    assert str(caught.value) == (
        f"port {port} for metrics is taken; choose another with --metrics-port (0: none)"
    )


def test_metrics_have_names_of_their_own() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert metric.name.startswith("trucban_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")


def test_the_command_line_starts_without_the_machinery() -> None:
    code = (
        "import sys, trucban.cli; "
        "print(sorted({'polars', 'faust', 'chdb', 'sqlalchemy', 'confluent_kafka'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
