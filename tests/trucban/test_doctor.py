"""What `trucban doctor` says, in full."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from schemas.errors import DocumentError, Fault, StoreAway
from trucban import checkup
from trucban.checkup import GB, Finding
from trucban.cli import main
from trucban.commands.doctor import holder_of, render
from trucban.rundir import locked

NOW = 1_795_000_000_000


def test_an_old_python() -> None:
    assert checkup.python((3, 11, 7)) == Finding("ok", "Python 3.11.7")
    assert checkup.python((3, 10, 2)) == Finding(
        "error", "Python is 3.10.2", "install Python 3.11 or newer, and make .venv anew"
    )


def test_libraries_that_are_missing_or_of_another_version() -> None:
    there = {"a": "1.2", "b": "2.0.0", "c": "3.1rc1", "d": "0.15.3", "psycopg": "3.3.1", "tzdata": "2026.1"}
    requirements = [
        "a<2,>=1.2", "b>=2.0.1,<3", "c<3,>=2", "d==0.15.3", "gone>=1", "psycopg[binary]>=3.3,<4", "tzdata",
        'pytest>=9; extra == "dev"',
    ]  # fmt: skip
    assert list(checkup.libraries(requirements, there.get)) == [
        Finding("error", "b is 2.0.0, not >=2.0.1,<3", "run: make install"),
        Finding("error", "c is 3.1rc1, not <3,>=2", "run: make install"),
        Finding("error", "gone is not installed", "run: make install"),
        Finding("ok", "4 libraries in their versions"),
    ]


@pytest.mark.parametrize(("free", "level"), [(GB - 1, "error"), (4 * GB, "warning"), (5 * GB, "ok")])
def test_room(free: int, level: checkup.Level) -> None:
    do = "" if level == "ok" else "free some space, or choose another --data-dir"
    assert checkup.disk(free, Path("/d")) == Finding(level, f"{free / GB:.1f} GB free at /d", do)


def test_clocks() -> None:
    known = Finding("ok", "civil time of Asia/Ho_Chi_Minh is known")
    right = Finding("ok", "the machine's clock says 2026-11-18 11:06 UTC")
    assert list(checkup.clock(NOW, None, zone_known=True)) == [right, known]
    assert list(checkup.clock(NOW, NOW + 2_000, zone_known=True)) == [right, known]
    assert list(checkup.clock(NOW, NOW + 90_000, zone_known=False)) == [
        Finding(
            "error",
            "the machine's clock is 90 s before the business time told last",
            "set it right if it was set back, or choose another --data-dir if this one was a demo's",
        ),
        Finding("error", "civil time of Asia/Ho_Chi_Minh is not known", "run: make install (package tzdata)"),
    ]
    assert list(checkup.clock(0, None, zone_known=True)) == [
        Finding("error", "the machine's clock says 1970-01-01", "set it, with NTP if possible"),
        known,
    ]


def test_programs_that_only_tests_need() -> None:
    assert checkup.program("Java", "/bin/java", "x") == Finding("ok", "Java at /bin/java")
    assert checkup.program("Java", None, "the tests on Apache Kafka") == Finding(
        "warning", "Java is not there", "install it for the tests on Apache Kafka; nothing else needs it"
    )


def test_the_data_directory() -> None:
    where = Path("/d")
    assert checkup.directory(where, "Permission denied", "") == Finding(
        "error",
        "/d cannot be written to: Permission denied",
        "change its owner or mode, or choose another --data-dir",
    )
    assert checkup.directory(where, "", "7").what == "/d is in use by `trucban up` (pid 7)"
    assert checkup.directory(where, "", "").what == "/d can be written to, and nobody holds it"


def test_ports_that_cannot_be_had() -> None:
    taken = "port 9092 is taken; choose another with --broker-port"
    assert list(checkup.ports([taken], 11)) == [
        Finding(
            "error", "port 9092 is taken", "stop what listens there, or choose another with --broker-port"
        )
    ]
    assert list(checkup.ports([], 11)) == [Finding("ok", "11 ports are free")]


def test_servers() -> None:
    def away() -> str:
        raise StoreAway("does not answer: refused")

    assert checkup.server("Kafka", lambda: "8 partitions") == Finding("ok", "Kafka answers: 8 partitions")
    assert checkup.server("PostgreSQL", away) == Finding(
        "error",
        "PostgreSQL: does not answer: refused",
        "look at `trucban status` and the logs in the data directory, or give another address",
    )


def test_documents_with_faults() -> None:
    def wrong() -> str:
        raise DocumentError([Fault("a.yaml", 1, 2, "x"), Fault("b.yaml", 3, 4, "y")])

    finding = checkup.documents("rules", wrong)
    assert finding == Finding(
        "error",
        "rules: a.yaml:1:2: x\nb.yaml:3:4: y",
        "correct it; what was in force stays in force until then",
    )
    assert render([finding, Finding("warning", "w", "do that"), Finding("ok", "fine")]) == (
        "error    rules: a.yaml:1:2: x\n"
        "         b.yaml:3:4: y\n"
        "         → correct it; what was in force stays in force until then\n"
        "warning  w\n"
        "         → do that\n"
        "ok       fine\n"
        "errors: 1, warnings: 1"
    )
    assert render([Finding("ok", "fine")]) == "ok       fine\nall is well"


def test_who_holds_a_data_directory(tmp_path: Path) -> None:
    assert holder_of(tmp_path) == ""
    with locked(tmp_path):
        assert holder_of(tmp_path) == str(os.getpid())
    assert holder_of(tmp_path) == ""


def test_the_whole_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = tmp_path / "oncall.yaml"
    bad.write_text("people: []\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = ["--oncall", str(bad), "--database", "postgresql://127.0.0.1:1/x", "--metrics-port", "0"]
        ports = [f"--{name}-port={taken.getsockname()[1]}" for name in ("broker", "clickhouse", "console")]
        assert main(["doctor", "--json", "--data-dir", str(tmp_path / "d"), *options, *ports]) == 1
    report = json.loads(capsys.readouterr().out)
    said = {finding["what"]: finding for finding in report["findings"]}
    assert said[f"{tmp_path}/d can be written to, and nobody holds it"]["level"] == "ok"
    assert said[f"port {port} is taken"]["level"] == "error"
    assert said[next(what for what in said if what.startswith("rules: "))]["level"] == "ok"
    assert said[f"on-call file: {bad}:1:1: the roster lacks 'targets'"]["level"] == "error"
    away = [what for what in said if what.startswith("PostgreSQL: does not answer: ")]
    assert len(away) == 1
    assert report["errors"] == sum(finding["level"] == "error" for finding in report["findings"])
    assert not [what for what in said if what.startswith(("Kafka", "ClickHouse"))]  # no stack runs here
