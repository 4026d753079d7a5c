from __future__ import annotations

import argparse
import datetime as dt
import os
import re
import sys
from pathlib import Path

import pytest

from feeds.clock import ClockSpec
from schemas.errors import SettingsError, SupervisionError
from trucban.addresses import console_url
from trucban.cli import build_parser
from trucban.commands.up import arguments, claims, metrics_port, names, plan, run, write_addresses
from trucban.rundir import PortClaim, check_ours, empty, locked
from trucban.settings import Settings, make_settings

FRESH = {fresh: argparse.Namespace(fresh=fresh) for fresh in (False, True)}


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
        run(settings(tmp_path, feed="day"), FRESH[False])
    assert str(caught.value) == ("--feed day needs --reference, and a clock that runs by itself (not data)")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        run(settings(tmp_path, rules=tmp_path / "none"), FRESH[False])
    assert str(caught.value) == f"setting rules: there is no {tmp_path}/none"


@pytest.mark.parametrize("fresh", [False, True])
def test_a_second_up_in_the_same_directory_changes_nothing_there(tmp_path: Path, fresh: bool) -> None:
    running = settings(tmp_path, broker_port=1234)
    with locked(tmp_path):
        write_addresses(running)
        with pytest.raises(SupervisionError) as caught:
            run(settings(tmp_path, broker_port=5678), FRESH[fresh])
    assert str(caught.value) == (
        f"{tmp_path} is in use by another `trucban up` (pid {os.getpid()}); "
        "stop it, or choose another --data-dir"
    )
    assert (tmp_path / "run" / "broker.address").read_text() == "127.0.0.1:1234\n"


def test_fresh_empties_what_trucban_made_and_keeps_the_lock(tmp_path: Path) -> None:
    mine = tmp_path / "demo"
    check_ours(mine)  # not there yet
    with locked(mine):
        write_addresses(settings(mine))
        (mine / "broker" / "deep").mkdir(parents=True)
        (tmp_path / "elsewhere").mkdir()
        (mine / "log").symlink_to(tmp_path / "elsewhere")
    check_ours(mine)
    with locked(mine):
        empty(mine)
        assert [str(path.relative_to(mine)) for path in sorted(mine.rglob("*"))] == ["run", "run/lock"]
        with pytest.raises(SupervisionError):
            locked(mine).__enter__()
    assert (tmp_path / "elsewhere").is_dir()


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ({"letters/a.txt": ""}, "it holds letters"),
        ({"run/lock": "", "thesis.odt": ""}, "it holds thesis.odt"),
        ({"log/a.log": ""}, "it has no run/lock"),
    ],
)
def test_fresh_leaves_other_peoples_directories_alone(tmp_path: Path, made: dict[str, str], why: str) -> None:
    for name, text in made.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(SettingsError) as caught:
        run(settings(tmp_path), FRESH[True])
    assert str(caught.value) == (
        f"--fresh empties only a data directory that `trucban up` made, and {tmp_path} is none: {why}"
    )
    assert all((tmp_path / name).is_file() for name in made)


def test_fresh_on_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError) as caught:
        check_ours(tmp_path / "file")
    assert str(caught.value) == f"--fresh: {tmp_path}/file is not a directory"


def test_make_up_shows_the_simulated_day_of_the_example_district(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    line = re.search(r"^UP_ARGS \?= (.*)$", (root / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert line is not None
    args = build_parser().parse_args(["up", *line.group(1).split()])
    given = {name: value for name in args.command.settings if (value := getattr(args, name)) is not None}
    chosen = make_settings(given)
    assert args.fresh
    assert (chosen.data_dir, chosen.scenario) == (Path(".trucban/demo"), "demo")
    assert chosen.clock_spec == ClockSpec("demo", 425, 10.0, dt.date(2026, 10, 5))
    assert chosen.clock_spec.day is not None
    assert chosen.clock_spec.day.isoweekday() == 1
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
