from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

import pytest

from schemas.errors import SettingsError, SupervisionError
from trucban.addresses import console_url
from trucban.commands.up import arguments, claims, metrics_port, names, plan, run, write_addresses
from trucban.rundir import PortClaim, locked
from trucban.settings import Settings, make_settings


def settings(tmp_path: Path, **values: object) -> Settings:
    return make_settings({"data_dir": tmp_path} | values)


def test_everything_is_embedded_unless_told_otherwise(tmp_path: Path) -> None:
    everything = ["broker", "clickhouse", "postgres", "pulse", "archiver", "notifier", "console", "worker-1"]
    assert names(settings(tmp_path)) == everything
    outside = settings(
        tmp_path, broker="k:9092", clickhouse="http://c:8123", database="postgresql://d/x", workers=2
    )
    assert names(outside) == ["pulse", "archiver", "notifier", "console", "worker-1", "worker-2"]


def test_servers_first_then_the_topics_then_those_who_use_them(tmp_path: Path) -> None:
    orders = {spec.name: spec.order for spec in plan(settings(tmp_path))}
    assert orders["broker"] < orders["pulse"] < orders["worker-1"]


def test_credentials_are_in_no_argument(tmp_path: Path) -> None:
    chosen = settings(tmp_path, clickhouse="http://u:secret@c:8123", database="postgresql://u:secret@d/x")
    for spec in plan(chosen):
        assert "secret" not in " ".join(spec.argv)
        assert spec.env == {
            "TRUCBAN_CLICKHOUSE": "http://u:secret@c:8123",
            "TRUCBAN_DATABASE": "postgresql://u:secret@d/x",
        }


def test_a_child_is_told_every_setting_it_takes(tmp_path: Path) -> None:
    argv = arguments(settings(tmp_path, partitions=4, broker_port=1234), "worker-1")
    assert argv[:6] == [sys.executable, "-m", "trucban", "worker", "--name", "worker-1"]
    told = dict(zip(argv[6::2], argv[7::2], strict=True))
    assert told == {
        "--data-dir": str(tmp_path),
        "--broker": "127.0.0.1:1234",
        "--partitions": "4",
        "--clock": "wall",
        "--metrics-port": "8611",
        "--log-format": "console",
        "--log-level": "info",
    }


def test_ports(tmp_path: Path) -> None:
    chosen = settings(tmp_path, workers=2)
    ports = [metrics_port(chosen, name) for name in names(chosen)]
    assert ports == [8601, 8602, 8603, 8604, 8605, 8606, 8607, 8611, 8612]
    assert claims(settings(tmp_path, metrics_port=0)) == [
        PortClaim(9092, "--broker-port"),
        PortClaim(8123, "--clickhouse-port"),
        PortClaim(8600, "--console-port"),
    ]
    assert len(claims(chosen)) == 12


def test_the_addresses_are_written_for_the_other_commands(tmp_path: Path) -> None:
    write_addresses(settings(tmp_path, clickhouse="http://u:secret@c:8123"))
    assert (tmp_path / "run" / "broker.address").read_text() == "127.0.0.1:9092\n"
    url = tmp_path / "run" / "clickhouse.url"
    assert url.read_text() == "http://u:secret@c:8123\n"
    assert url.stat().st_mode & 0o777 == 0o600


def test_the_simulated_day_is_not_built_yet(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        run(settings(tmp_path, feed="day"), argparse.Namespace())
    assert str(caught.value) == ("--feed day needs --reference, and a clock that runs by itself (not data)")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        run(settings(tmp_path, rules=tmp_path / "none"), argparse.Namespace())
    assert str(caught.value) == f"setting rules: there is no {tmp_path}/none"


def test_a_second_up_in_the_same_directory_changes_nothing_there(tmp_path: Path) -> None:
    running = settings(tmp_path, broker_port=1234)
    with locked(tmp_path):
        write_addresses(running)
        with pytest.raises(SupervisionError) as caught:
            run(settings(tmp_path, broker_port=5678), argparse.Namespace())
    assert str(caught.value) == (
        f"{tmp_path} is in use by another `trucban up` (pid {os.getpid()}); "
        "stop it, or choose another --data-dir"
    )
    assert (tmp_path / "run" / "broker.address").read_text() == "127.0.0.1:1234\n"


def test_make_up_shows_the_simulated_day_of_the_example_district(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    line = re.search(r"^UP_ARGS \?= (.*)$", (root / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert line is not None
    words = re.sub(r"\$\(.*?\)", "now", line.group(1)).split()
    given = dict(zip(words[::2], words[1::2], strict=True))
    chosen = make_settings({name.removeprefix("--").replace("-", "_"): text for name, text in given.items()})
    assert {"feed", "console"} <= set(names(chosen))
    assert chosen.reference is not None
    assert (chosen.reference / "units.csv").is_file()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "http://127.0.0.1:8600"),
        ({"public_url": "https://trucban.example.vn/"}, "https://trucban.example.vn"),
    ],
)
def test_where_links_of_pushes_lead(given: dict[str, str], expected: str) -> None:
    assert console_url(make_settings(given)) == expected
