from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from sqlalchemy import inspect, text

from schemas.errors import SettingsError, StoreAway, StoreError
from store.desk_tables import METADATA
from store.postgres_engine import Migration, connect, load_migrations, migrate, transaction
from tests.support.postgres import TestServer, engine, running_server


@pytest.fixture(scope="module")
def server() -> Iterator[TestServer]:
    with running_server() as made:
        yield made


@pytest.fixture
def url(server: TestServer) -> Iterator[str]:
    with server.database() as made:
        yield made


def test_migrations_are_applied_once(url: str) -> None:
    with engine(url) as made:
        names = [step.name for step in load_migrations()]
        assert migrate(made) == names
        assert migrate(made) == []


def test_processes_that_start_together_migrate_one_after_the_other(url: str) -> None:
    results: list[list[str]] = []

    def start() -> None:
        with engine(url) as made:
            results.append(migrate(made))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, results)) == [0, 0, 0, len(load_migrations())]


def test_the_tables_in_the_code_are_those_in_the_database(url: str) -> None:
    with engine(url) as made:
        migrate(made)
        found = inspect(made)
        for table in METADATA.tables.values():
            columns = found.get_columns(table.name)
            assert [c["name"] for c in columns if c["name"] in table.c] == [c["name"] for c in columns], (
                table.name
            )
            assert {c["name"] for c in columns} == set(table.c.keys())
            assert found.get_pk_constraint(table.name)["constrained_columns"] == [
                c.name for c in table.primary_key
            ]


def test_a_step_that_fails_leaves_nothing(url: str) -> None:
    steps = [Migration("0001.sql", "CREATE TABLE a (x int)"), Migration("0002.sql", "CREATE TABLE a (x int)")]
    with engine(url) as made:
        with pytest.raises(StoreError) as raised:
            migrate(made, steps)
        assert str(raised.value) == 'PostgreSQL refused: relation "a" already exists'
        assert inspect(made).get_table_names() == []


def test_a_step_that_was_changed_is_refused(url: str) -> None:
    step = Migration("0001.sql", "CREATE TABLE a (x int)")
    with engine(url) as made:
        migrate(made, [step])
        with pytest.raises(StoreError) as raised:
            migrate(made, [replace(step, sql="CREATE TABLE b (x int)")])
        assert str(raised.value) == "the migration 0001.sql was changed after it was applied"


def test_a_database_of_a_newer_version_is_refused(url: str) -> None:
    step = Migration("0009.sql", "CREATE TABLE a (x int)")
    with engine(url) as made:
        migrate(made, [step])
        with pytest.raises(StoreError) as raised:
            migrate(made, [])
        assert (
            str(raised.value) == "the database has the migration 0009.sql, which this version does not know"
        )


def test_a_refusal_is_said_in_one_line(url: str) -> None:
    with engine(url) as made, pytest.raises(StoreError) as raised, transaction(made) as connection:
        connection.execute(text("SELECT nothing FROM nowhere"))
    assert str(raised.value) == 'PostgreSQL refused: relation "nowhere" does not exist'


def test_a_process_frozen_between_two_statements_of_a_pipeline_does_not_hold_its_locks_for_ever(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.postgres_engine.TRANSACTION_SECONDS", 1)
    with engine(url) as frozen, engine(url) as other:
        with transaction(other) as connection:
            connection.execute(text("CREATE TABLE a (x int)"))
            connection.execute(text("INSERT INTO a VALUES (1)"))
        held = frozen.connect()
        held.execute(text("SELECT * FROM a FOR UPDATE"))
        raw = held.connection.driver_connection
        assert raw is not None
        raw.pgconn.enter_pipeline_mode()
        raw.pgconn.send_query_params(b"SELECT 1", None)
        raw.pgconn.send_flush_request()
        raw.pgconn.flush()
        with psycopg.connect(url) as second:  # waits for the lock, which the server takes back
            second.execute("UPDATE a SET x = 2")
        held.invalidate()
        held.close()


def test_a_process_frozen_inside_a_transaction_does_not_hold_its_locks_for_ever(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.postgres_engine.IDLE_SECONDS", 1)
    with engine(url) as frozen, engine(url) as other:
        with transaction(other) as connection:
            connection.execute(text("CREATE TABLE a (x int)"))
            connection.execute(text("INSERT INTO a VALUES (1)"))

        def stand_still() -> None:
            with transaction(frozen) as connection:
                connection.execute(text("SELECT * FROM a FOR UPDATE"))
                with transaction(other) as second:  # waits for the lock, which the server takes back
                    second.execute(text("UPDATE a SET x = 2"))
                connection.execute(text("SELECT 1"))

        with pytest.raises(StoreAway) as raised:
            stand_still()
        assert str(raised.value) == (
            "PostgreSQL refused: terminating connection due to idle-in-transaction timeout"
        )


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("no address", "the database's address is not usable; expected postgresql://…"),
        ("mysql://h/d", "the database is mysql; expected postgresql://…"),
    ],
)
def test_an_address_that_is_not_postgresql(address: str, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        connect(address)
    assert str(raised.value) == message
