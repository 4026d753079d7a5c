"""One ClickHouse client for our own code: clickhouse-connect, with our errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError

from schemas.errors import StoreAway, StoreError

_LATER = {159, 202, 209, 210, 241, 242, 243, 252, 279, 319, 439}
"""Codes that say "not now": time, load, memory, disk, too many parts. The same request may succeed."""

_INSERT = {"async_insert": "0", "input_format_null_as_default": "0", "max_partitions_per_insert_block": "0"}
"""Acknowledged means written; a null where none can be is a refusal; old events may fall into any
number of months."""


class Refused(StoreError):
    """ClickHouse understood the request and refused it: ``code`` is its error number, 0 if unknown."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(message)


@contextmanager
def translated() -> Iterator[None]:
    """Turn the client's errors into `StoreAway` (wait and try again) or `Refused`."""
    try:
        yield
    except DatabaseError as error:
        code = int(getattr(error, "code", None) or 0)
        text = f"ClickHouse refused: {error}"
        if code in _LATER or (code == 0 and isinstance(error, OperationalError)):
            raise StoreAway(text) from error
        raise Refused(code, text) from error
    except (ClickHouseError, OSError) as error:
        raise StoreAway(f"ClickHouse does not answer: {error}") from error


class ClickHouse:
    """A lazily connected client. Raises StoreAway while the server is away, `Refused` otherwise."""

    def __init__(self, url: str, *, timeout: int = 60) -> None:
        self._url = url
        self._timeout = timeout
        self._client: Client | None = None

    def query(self, sql: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """All rows of a statement."""
        with translated():
            return [tuple(row) for row in self._connected().query(sql, parameters=parameters).result_rows]

    def command(self, sql: str) -> None:
        """Run a statement that has no result."""
        with translated():
            self._connected().command(sql, use_database=False)

    def insert(self, table: str, columns: list[str], body: bytes, format: str) -> None:
        """Insert ``body``, written in one of ClickHouse's formats."""
        with translated():
            self._connected().raw_insert(table, columns, body, fmt=format, settings=_INSERT)

    def close(self) -> None:
        """Let the connections go."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connected(self) -> Client:
        if self._client is None:
            self._client = clickhouse_connect.get_client(
                dsn=self._url,
                database="default",  # ours may not exist yet; statements name it
                connect_timeout=5,
                send_receive_timeout=self._timeout,
                query_retries=0,
                autogenerate_session_id=False,
            )
        return self._client
