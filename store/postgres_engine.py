"""One way to reach PostgreSQL, and to tell *away* from *refused*; the numbered migrations."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from schemas.errors import SettingsError, StoreAway, StoreError

CONNECT_SECONDS = 5
IDLE_SECONDS = 5
"""How long a transaction may stand still: a process frozen inside one must not hold its locks for ever."""
TRANSACTION_SECONDS = 10
"""How long a transaction may take in all (PostgreSQL 17 on); migrations take what they need."""
MIGRATION_LOCK = 7_224_863_301
"""Key of the advisory lock under which one process at a time migrates."""


def connect(url: str) -> Engine:
    """An engine for ``postgresql://…``; it connects when first used. Raises `SettingsError`."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise SettingsError("the database's address is not usable; expected postgresql://…") from error
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        message = f"the database is {parsed.get_backend_name()}; expected postgresql://…"
        raise SettingsError(message)
    engine = create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        pool_size=4,
        max_overflow=4,
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "trucban",
            "options": f"-c idle_in_transaction_session_timeout={IDLE_SECONDS}s",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
    )
    event.listen(engine, "connect", _bound_transactions)
    return engine


def _bound_transactions(connection: psycopg.Connection[Any], _record: object) -> None:
    """Bound whole transactions too, where PostgreSQL can (from 17 on).

    The bound on idleness does not see a client that froze in the middle of a pipeline of
    statements, as psycopg sends many rows.
    """
    if connection.info.server_version >= 170000:
        connection.autocommit = True
        connection.execute(f"SET transaction_timeout = '{TRANSACTION_SECONDS}s'")
        connection.autocommit = False


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction. Raises `StoreAway` where PostgreSQL does not answer, else `StoreError`."""
    try:
        with engine.begin() as connection:
            yield connection
    except OperationalError as error:
        raise StoreAway(f"PostgreSQL does not answer: {_first_line(error)}") from error
    except DBAPIError as error:
        away = StoreAway if error.connection_invalidated else StoreError
        raise away(f"PostgreSQL refused: {_first_line(error)}") from error
    except SQLAlchemyError as error:
        raise StoreError(f"PostgreSQL: {_first_line(error)}") from error


def _first_line(error: SQLAlchemyError) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return next(iter(str(cause).splitlines()), type(cause).__name__)


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step: its file name and its SQL."""

    name: str
    sql: str

    @property
    def digest(self) -> str:
        """SHA-256 of the SQL: a step that was applied must not change any more."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def load_migrations() -> list[Migration]:
    """The steps that come with this version, in order."""
    folder = files("store") / "migrations" / "postgres"
    steps = [item for item in folder.iterdir() if item.name.endswith(".sql")]
    return sorted((Migration(item.name, item.read_text("utf-8")) for item in steps), key=lambda m: m.name)


def migrate(engine: Engine, steps: list[Migration] | None = None) -> list[str]:
    """Apply the steps that are missing, one process at a time, all or none; gives their names.

    Raises `StoreError` if a step was changed after it was applied, or if the database has steps
    this version does not know (it belongs to a newer one).
    """
    known = load_migrations() if steps is None else steps
    with transaction(engine) as connection:
        if (connection.dialect.server_version_info or (0,)) >= (17,):
            connection.execute(text("SET LOCAL transaction_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        applied = _applied(connection)
        _check(known, applied)
        missing = [step for step in known if step.name not in applied]
        for step in missing:
            connection.exec_driver_sql(step.sql)
            connection.execute(
                text("INSERT INTO schema_migrations (name, digest) VALUES (:name, :digest)"),
                {"name": step.name, "digest": step.digest},
            )
    return [step.name for step in missing]


def _applied(connection: Connection) -> dict[str, str]:
    connection.execute(
        text(
            "CREATE TABLE IF NOT EXISTS schema_migrations ("
            "name text PRIMARY KEY, digest text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
    )
    rows = connection.execute(text("SELECT name, digest FROM schema_migrations"))
    return {row.name: row.digest for row in rows}


def _check(known: list[Migration], applied: dict[str, str]) -> None:
    names = {step.name for step in known}
    for name in sorted(applied.keys() - names):
        raise StoreError(f"the database has the migration {name}, which this version does not know")
    for step in known:
        if applied.get(step.name, step.digest) != step.digest:
            raise StoreError(f"the migration {step.name} was changed after it was applied")
