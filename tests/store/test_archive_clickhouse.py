"""What only the archive in ClickHouse has: typed columns, refusals narrowed down, kill -9."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.errors import StoreAway
from schemas.topics import ACCEPTED
from store.archive_clickhouse import ClickHouseArchive
from store.query import ArchiveSummary, events_by_type, positions, summarise
from tests.support.archive import (
    MORNING,
    SOURCE,
    accepted,
    aggregate,
    alerts,
    delivery,
    events,
    part,
    transition,
    transitions,
)
from tests.support.clickhouse import ClickHouseProcess


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseProcess]:
    server = ClickHouseProcess(tmp_path_factory.mktemp("clickhouse"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(process: ClickHouseProcess) -> ClickHouseProcess:
    process.client().command("DROP DATABASE IF EXISTS trucban")
    return process


@pytest.fixture
def archive(server: ClickHouseProcess) -> Iterator[ClickHouseArchive]:
    made = ClickHouseArchive(server.url)
    made.open("e1")
    yield made
    made.close()


def ask(server: ClickHouseProcess, sql: str) -> list[tuple[Any, ...]]:
    return server.client().query(sql)


def test_an_event_is_shown_with_its_data_and_place(
    server: ClickHouseProcess, archive: ClickHouseArchive
) -> None:
    archive.write([events(["x"], first=12, partition=3)])
    names = "id, source, type, school, mark, position, data, toString(time), toString(arrived)"
    row = ask(server, f"SELECT {names} FROM trucban.events")[0]
    assert row[:6] == ("x", SOURCE, "attendance.marked", "HN-001", "", "e1/school.events/3/12")
    assert json.loads(row[6]) == {"school": "HN-001", "status": "absent"}
    assert row[7:] == ("2026-09-07 07:40:00.000", "2026-09-07 07:40:00.500")


def test_fields_and_dimensions_have_types_and_the_names_of_rules(
    server: ClickHouseProcess, archive: ClickHouseArchive
) -> None:
    archive.write([events(["x", "y"])])
    rows = ask(server, "SELECT id, status, minutes, level FROM trucban.attendance_marked ORDER BY id")
    assert rows == [("x", "absent", 0, "primary"), ("y", "absent", 1, "primary")]
    where = "database = 'trucban' AND table = 'attendance_marked'"
    kinds = dict(ask(server, f"SELECT name, type FROM system.columns WHERE {where}"))
    assert kinds["minutes"] == "Nullable(Int64)"
    assert kinds["level"] == "LowCardinality(Nullable(String))"
    assert not any("JSON" in kind or "Dynamic" in kind or "Variant" in kind for kind in kinds.values())


def test_a_new_field_becomes_a_column_also_after_a_restart(
    server: ClickHouseProcess, archive: ClickHouseArchive
) -> None:
    archive.write([events(["x"])])
    again = ClickHouseArchive(server.url)
    again.open("e1")
    value = accepted(["y"], first=1, columns={"f_late": [7], "d_ward": ["Ba Đình"], "f_nothing": [None]})
    again.write([part(ACCEPTED, 0, 1, [value])])
    rows = ask(server, "SELECT id, late, ward, status FROM trucban.attendance_marked ORDER BY id")
    assert rows == [("x", None, None, "absent"), ("y", 7, "Ba Đình", "absent")]


def test_a_record_that_clickhouse_refuses_is_narrowed_down(
    server: ClickHouseProcess, archive: ClickHouseArchive
) -> None:
    archive.write([events(["a"])])
    good = [accepted([f"g{n}"], first=10 + n) for n in range(6)]
    odd = accepted(["odd"], first=9, columns={"f_minutes": ["many"]})
    written = archive.write([part(ACCEPTED, 0, 1, [*good[:3], odd, *good[3:]]), events(["z"], partition=1)])
    assert written.quarantined == 1
    shown = {row[0] for row in ask(server, "SELECT id FROM trucban.attendance_marked")}
    assert shown == {"a", "z", *(f"g{n}" for n in range(6))}
    assert {row[0] for row in ask(server, "SELECT id FROM trucban.events")} >= shown
    place, reason = ask(server, "SELECT position, reason FROM trucban.quarantine")[0]
    assert place == "e1/school.events.accepted/0/4"
    assert reason == (
        "attendance.marked: f_minutes is Nullable(Int64) in the archive, and comes as Nullable(String)"
    )


def test_times_outside_the_tables_bounds_do_not_stop_it(
    server: ClickHouseProcess, archive: ClickHouseArchive
) -> None:
    months = [MORNING - n * 31 * 86_400_000 for n in range(150)]  # more partitions than one insert may make
    batch = [events([f"m{n}"], first=n, offset=n, time=time) for n, time in enumerate(months)]
    batch += [events(["past"], first=900, offset=900, time=-(1 << 62))]
    batch += [events(["future"], first=901, offset=901, time=(1 << 62) - 1000)]
    assert archive.write(batch).quarantined == 0
    assert ask(server, "SELECT count() FROM trucban.events") == [(152,)]


def test_an_alert_is_its_newest_state_and_knows_when_it_first_fired(
    server: ClickHouseProcess, archive: ClickHouseArchive
) -> None:
    archive.write([alerts(transition(3, "resolved"), transition(2, "firing"))])
    archive.write(
        [alerts(transition(1, "pending"), transition(2, "firing"), transition(1, "pending", alert="b"))]
    )
    sql = (
        "SELECT alert, state, ordinal, transition, toUnixTimestamp64Milli(first_firing_at), measures "
        "FROM trucban.alerts ORDER BY alert"
    )
    assert ask(server, sql) == [
        ("a1", "resolved", 3, "a1-3", MORNING + 2, {"absent": 12.0, "usual": None}),
        ("b", "pending", 1, "b-1", None, {"absent": 12.0, "usual": None}),
    ]


def test_views_stay_exact_while_parts_are_merged(
    server: ClickHouseProcess, archive: ClickHouseArchive
) -> None:
    batch = [
        events(["x", "y"]),
        aggregate(1, 4),
        transitions(transition(1, "firing")),
        alerts(transition(1, "firing")),
        delivery(1),
    ]
    for _ in range(5):
        archive.write(batch)
    before = summarise(server.client()).rows
    for table in ("event_log", "aggregate_log", "transition_log", "alert_log", "delivery_log"):
        server.client().command(f"OPTIMIZE TABLE trucban.{table} FINAL")
    assert summarise(server.client()).rows == before
    assert before == {
        "events": 2, "rejected": 0, "aggregates": 1, "transitions": 1, "alerts": 1, "deliveries": 1,
        "quarantine": 0,
    }  # fmt: skip


def test_the_command_lines_questions(server: ClickHouseProcess, archive: ClickHouseArchive) -> None:
    assert summarise(server.client()) == ArchiveSummary(
        dict.fromkeys(
            ("events", "rejected", "aggregates", "transitions", "alerts", "deliveries", "quarantine"), 0
        ),
        None,
    )
    archive.write([events(["x", "y"], offset=5)])
    assert summarise(server.client()).last_stored is not None
    assert events_by_type(server.client()) == {"attendance.marked": 2}
    assert positions(server.client(), "e1") == {(ACCEPTED, 0): 6}
    assert positions(server.client(), "e2") == {}


@pytest.mark.slow
def test_kill_9_between_and_during_inserts_keeps_each_thing_once(server: ClickHouseProcess) -> None:
    archive = ClickHouseArchive(server.url)
    reached = dict(archive.open("e1"))
    total, size = 60, 50
    for round_ in range(5):
        killer = threading.Timer(0.15 + 0.05 * round_, server.kill)
        killer.start()
        try:
            for record in range(reached.get((ACCEPTED, 0), 0), total):
                names = [f"e{record}-{n}" for n in range(size)]
                archive.write([events(names, first=record * size, offset=record)])
        except StoreAway:
            pass
        killer.join()
        server.start()
        archive = ClickHouseArchive(server.url)
        reached = dict(archive.open("e1"))
        rows = ask(server, "SELECT count(), uniqExact(id) FROM trucban.events")[0]
        assert rows[0] == rows[1] >= reached.get((ACCEPTED, 0), 0) * size
    for record in range(reached.get((ACCEPTED, 0), 0), total):
        names = [f"e{record}-{n}" for n in range(size)]
        archive.write([events(names, first=record * size, offset=record)])
    assert ask(server, "SELECT count(), uniqExact(id) FROM trucban.events") == [(total * size, total * size)]
    assert ask(server, "SELECT count() FROM trucban.attendance_marked") == [(total * size,)]
