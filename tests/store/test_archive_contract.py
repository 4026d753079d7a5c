"""One contract of the archive, on the fake and on ClickHouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any, Protocol

import pytest

from schemas.topics import ACCEPTED, AGGREGATES
from store.archive import Archive, Written
from store.archive_clickhouse import ClickHouseArchive
from store.archive_memory import MemoryArchive
from tests.support.archive import (
    MORNING,
    accepted,
    aggregate,
    alerts,
    delivery,
    events,
    part,
    rejected,
    transition,
    transitions,
)
from tests.support.clickhouse import ClickHouseProcess

Row = dict[str, Any]


class Bench(Protocol):
    """An archive and a way to look at what it shows."""

    archive: Archive

    def rows(self, view: str, *columns: str) -> list[tuple[Any, ...]]:
        """Rows of a view, sorted."""


class MemoryBench:
    _tables = {
        "events": "event_log",
        "rejected": "rejected_log",
        "aggregates": "aggregate_log",
        "transitions": "transition_log",
        "deliveries": "delivery_log",
        "quarantine": "quarantine_log",
    }

    def __init__(self) -> None:
        self.archive: Archive = MemoryArchive()

    def rows(self, view: str, *columns: str) -> list[tuple[Any, ...]]:
        assert isinstance(self.archive, MemoryArchive)
        kept = self.archive.rows(self._tables[view])
        maps = {"measures", "group"}
        return sorted(tuple(dict(row[c]) if c in maps else row[c] for c in columns) for row in kept)


class ServerBench:
    def __init__(self, url: str) -> None:
        self.archive: Archive = ClickHouseArchive(url)
        self._server = ClickHouseArchive(url)._client

    def rows(self, view: str, *columns: str) -> list[tuple[Any, ...]]:
        names = ", ".join(f"`{column}`" for column in columns)
        return sorted(self._server.query(f"SELECT {names} FROM trucban.{view}"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseProcess]:
    process = ClickHouseProcess(Path(tmp_path_factory.mktemp("clickhouse")))
    process.start()
    yield process
    assert process.stop() == 0


@pytest.fixture(params=["memory", "clickhouse"])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "memory":
        return MemoryBench()
    server: ClickHouseProcess = request.getfixturevalue("server")
    server.client().command("DROP DATABASE IF EXISTS trucban")
    return ServerBench(server.url)


def test_a_new_archive_stands_at_the_beginning(bench: Bench) -> None:
    assert bench.archive.open("e1") == {}


def test_positions_are_where_writing_ended_and_belong_to_one_epoch(bench: Bench) -> None:
    bench.archive.open("e1")
    written = bench.archive.write([events(["x"], offset=7, partition=3), aggregate(1, 1, offset=4)])
    assert written == Written(2, 0, {"event_log": 1, "aggregate_log": 1})
    assert bench.archive.open("e1") == {(ACCEPTED, 3): 8, (AGGREGATES, 0): 5}
    assert bench.archive.open("e2") == {}


def test_positions_never_go_back(bench: Bench) -> None:
    bench.archive.open("e1")
    bench.archive.write([events(["x"], offset=7)])
    bench.archive.write([events(["x"], offset=3)])
    assert bench.archive.open("e1") == {(ACCEPTED, 0): 8}


def test_repeats_change_nothing(bench: Bench) -> None:
    bench.archive.open("e1")
    batch = [
        events(["x", "y"]),
        rejected(5),
        aggregate(3, 2),
        transitions(transition(1, "firing")),
        delivery(1),
    ]
    bench.archive.write(batch)
    views = {
        "events": ("source", "id", "log_offset"),
        "rejected": ("reason", "field", "message"),
        "aggregates": ("rule", "rule_hash", "group", "measures", "version"),
        "transitions": ("id", "state", "measures", "event_ids"),
        "deliveries": ("id", "attempt", "outcome"),
    }
    before = {view: bench.rows(view, *columns) for view, columns in views.items()}
    assert [len(rows) for rows in before.values()] == [2, 1, 1, 1, 1]
    for _ in range(3):
        bench.archive.write(batch)
    assert {view: bench.rows(view, *columns) for view, columns in views.items()} == before


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_first_copy_of_an_event_wins_in_any_order(bench: Bench, order: tuple[int, ...]) -> None:
    bench.archive.open("e1")
    copies = [
        events(["x"], first=10),
        events(["x"], first=11, offset=1, time=MORNING + 40 * 86_400_000),  # another month
        events(["x"], first=12, offset=2),
    ]
    for index in order:
        bench.archive.write([copies[index]])
    assert bench.rows("events", "id", "log_offset") == [("x", 10)]


def test_an_earlier_log_comes_before_a_later_one(bench: Bench) -> None:
    bench.archive.open("e1")
    bench.archive.write([events(["x"], first=900), aggregate(1, 900)])
    bench.archive.open("e2")
    bench.archive.write([events(["x"], first=0), aggregate(2, 3)])
    assert bench.rows("events", "id", "log_epoch", "log_offset") == [("x", "e1", 900)]
    assert bench.rows("aggregates", "version") == [(3,)]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_newest_version_of_an_aggregate_wins_in_any_order(bench: Bench, order: tuple[int, ...]) -> None:
    bench.archive.open("e1")
    versions = [aggregate(1, 5), aggregate(2, 7), aggregate(3, 6)]
    bench.archive.write([versions[index] for index in order])
    assert bench.rows("aggregates", "measures", "version") == [({"absent": 2.0, "usual": None}, 7)]


def test_refusals_of_senders_are_kept_one_by_one(bench: Bench) -> None:
    bench.archive.open("e1")
    bench.archive.write([rejected(0, partition=-1), rejected(0, partition=-1, offset=1)])
    bench.archive.write([rejected(0, partition=-1, offset=1)])
    assert len(bench.rows("rejected", "reason")) == 2


BROKEN: list[tuple[str, Callable[[], bytes], str]] = [
    ("no Arrow", lambda: b"junk", "Expected to read 1802401130 metadata bytes, but only read 0"),
    (
        "a type's name that is none",
        lambda: accepted(["x"], event_type="Drop; table"),
        "accepted record is not of one event type: ['Drop; table']",
    ),
]


@pytest.mark.parametrize(("value", "reason"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_what_cannot_be_rows_goes_into_quarantine(
    bench: Bench, value: Callable[[], bytes], reason: str
) -> None:
    bench.archive.open("e1")
    written = bench.archive.write(
        [part(ACCEPTED, 0, 4, [accepted(["x"]), value(), accepted(["y"], first=1)])]
    )
    assert (written.records, written.quarantined) == (3, 1)
    assert [row[0] for row in bench.rows("events", "id")] == ["x", "y"]
    assert bench.rows("quarantine", "reason", "topic") == [(reason, ACCEPTED)]
    assert bench.archive.open("e1") == {(ACCEPTED, 0): 7}


def test_broken_json_goes_into_quarantine(bench: Bench) -> None:
    bench.archive.open("e1")
    assert bench.archive.write([part(AGGREGATES, 0, 0, [b"[{", b'[{"rule": 3}]', None])]).quarantined == 2
    assert bench.rows("quarantine", "reason") == [
        ("Expected `str`, got `int` - at `$[0].rule`",),
        ("Input data was truncated",),
    ]


def test_alerts_and_transitions_are_kept_apart(bench: Bench) -> None:
    bench.archive.open("e1")
    bench.archive.write([transitions(transition(1, "firing")), alerts(transition(2, "resolved"))])
    assert bench.rows("transitions", "id") == [("a1-1",)]
