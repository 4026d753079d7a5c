"""ClickHouse's engine inside this process (chDB): one data directory, a handle of its own per request.

Facts this rests on (chdb 4.4.0, engine 26.9; tried): a handle costs about 0.4 ms and isolates SET, USE
and temporary tables; handles run in parallel threads with the interpreter's lock released; an INSERT's
data goes through `send_insert`, because long Native data inside a query's text is cut off; only one
process can open a path.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import SupervisionError
from store.clickhouse import framing
from store.clickhouse.errors import SYNTAX_ERROR, EngineError, parse, refuse
from store.clickhouse.request import External, Request
from store.clickhouse.statement import Insert, Query, read_query, split_insert

DEFAULTS: Mapping[str, str] = {
    "async_insert": "0",  # acknowledged means written
    "implicit_select": "0",  # the engine alone would read `selec` as an expression
    "max_execution_time": "300",
    "max_memory_usage": str(4 << 30),  # bytes of one statement; the engine itself has no bound
    "max_result_bytes": str(512 << 20),
    "result_overflow_mode": "throw",
}
"""Settings of a request that does not say otherwise."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A statement's whole result and what it cost. ``format`` is empty where there is no result."""

    body: bytes
    format: str = ""
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    elapsed: float = 0.0
    """Seconds."""


class Engine:
    """The engine over one directory. Thread-safe: each call opens its own handle.

    Raises SupervisionError where the directory cannot be opened, `EngineError` where a statement fails.
    """

    def __init__(self, path: Path) -> None:
        import chdb

        self._path = str(path)
        self._chdb: Any = chdb  # its functions carry no types
        path.mkdir(parents=True, exist_ok=True)
        try:
            self._keeper = self._chdb.connect(self._path)  # holds the engine open between requests
        except RuntimeError as error:
            raise _cannot_open(path, error) from error
        facts = self._keeper.query("SELECT version(), timezone(), displayName()", "JSONCompactEachRow")
        self.version, self.timezone, self.name = json.loads(facts.bytes())

    def close(self) -> None:
        """Let the directory go."""
        self._keeper.close()

    def is_insert(self, request: Request) -> bool:
        """Whether the statement's rows come as data. Raises as `split_insert`."""
        return split_insert(request.sql) is not None

    def execute(self, request: Request, mark: str = "") -> Answer:
        """Run one statement to its end. ``mark`` names it for `cancel`."""
        insert = split_insert(request.sql)
        with self._handle() as handle:
            if insert is not None:
                self._prepare(handle, request, mark)
                return self._insert(handle, insert, request)
            query = read_query(request.sql)
            reads = self._reads(handle, query)
            self._prepare(handle, request, mark)
            return self._read(handle, query, request) if reads else self._command(handle, query, request)

    def cancel(self, mark: str) -> None:
        """Stop the reading statement that was started with ``mark``, if it still runs."""
        with self._handle() as handle:
            sql = f"KILL QUERY WHERE Settings['log_comment'] = {quote(mark)} AND query_kind = 'Select'"
            self._run(handle, sql, "Null")

    @contextmanager
    def _handle(self) -> Iterator[Any]:
        handle = self._chdb.connect(self._path)
        try:
            yield handle
        finally:
            handle.close()

    def _run(self, handle: Any, sql: str, format: str, parameters: Mapping[str, str] | None = None) -> Any:
        try:
            return handle.query(sql.encode("utf-8", "surrogateescape"), format, params=dict(parameters or {}))
        except (RuntimeError, self._chdb.ChdbError) as error:
            raise parse(str(error)) from error

    def _reads(self, handle: Any, query: Query) -> bool:
        """Whether the statement only reads, and so has a result. Several statements are refused."""
        if not query.text:
            raise refuse(SYNTAX_ERROR, "SYNTAX_ERROR", "Syntax error: Empty query")
        # The binding offers classification on its inner handle only.
        kind = handle._conn.classify_query(query.text.encode("utf-8", "surrogateescape"))  # noqa: SLF001
        if kind["statement_count"] > 1:
            raise refuse(SYNTAX_ERROR, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed)")
        return str(kind["query_class"]) == "query_class.READ_ONLY"

    def _prepare(self, handle: Any, request: Request, mark: str) -> None:
        if request.database:
            self._run(handle, f"USE {identifier(request.database)}", "Null")
        for table in request.external:
            self._load(handle, table)
        settings = {**DEFAULTS, **request.settings, "log_comment": mark}
        readonly = settings.pop("readonly", "0")
        assignments = ", ".join(f"{name} = {quote(value)}" for name, value in settings.items())
        self._run(handle, f"SET {assignments}", "Null")
        if not request.writable and readonly == "0":
            readonly = "2"
        if readonly != "0":  # last: it forbids changes of settings, or of itself
            self._run(handle, f"SET readonly = {quote(readonly)}", "Null")

    def _load(self, handle: Any, table: External) -> None:
        name = identifier(table.name)
        self._run(handle, f"CREATE TEMPORARY TABLE {name} ({table.structure})", "Null")
        self._feed(handle, f"INSERT INTO {name}", table.format, table.data)

    def _feed(self, handle: Any, head: str, format: str, data: bytes) -> Any:
        try:
            with handle.send_insert(head.encode("utf-8", "surrogateescape"), format) as stream:
                stream.append(data)
                return stream.finish()
        except RuntimeError as error:
            raise parse(str(error)) from error

    def _insert(self, handle: Any, insert: Insert, request: Request) -> Answer:
        for name, value in request.parameters.items():
            self._run(handle, f"SET {identifier('param_' + name)} = {quote(value)}", "Null")
        done = self._feed(handle, insert.head, insert.format, insert.data)
        return Answer(
            b"", written_rows=done.rows_written, written_bytes=done.bytes_written, elapsed=done.elapsed
        )

    def _command(self, handle: Any, query: Query, request: Request) -> Answer:
        result = self._run(handle, query.text, query.format or request.format, request.parameters)
        body = result.bytes()
        return Answer(
            body,
            format=(query.format or request.format) if body else "",
            written_rows=result.rows_written(),
            written_bytes=result.bytes_written(),
            elapsed=result.elapsed(),
        )

    def _read(self, handle: Any, query: Query, request: Request) -> Answer:
        format = query.format or request.format
        if format.upper() == "NATIVE" and framing.is_hello(query.bare, request.revision):
            block = framing.hello_block(self.name, self.version, self.timezone, request.revision)
            return Answer(block, format=format, read_rows=1)
        result = self._run(handle, query.text, format, request.parameters)
        body = result.bytes()
        if not body and format.upper() == "NATIVE":
            body = framing.header_block(self._columns(handle, query.bare, request.parameters))
        return Answer(
            body,
            format=format,
            read_rows=result.storage_rows_read(),
            read_bytes=result.storage_bytes_read(),
            elapsed=result.elapsed(),
        )

    def _columns(self, handle: Any, sql: str, parameters: Mapping[str, str]) -> list[tuple[str, str]]:
        """Names and types of a statement's columns, without running it where it is a SELECT."""
        try:
            lines = self._run(handle, f"DESCRIBE ({sql}\n)", "JSONCompactEachRow", parameters).bytes()
        except EngineError:  # SHOW, DESCRIBE, EXPLAIN …: not a subquery, and cheap
            result = self._run(handle, sql, "JSONCompactEachRowWithNamesAndTypes", parameters)
            names, types = result.bytes().splitlines()[:2]
            return list(zip(json.loads(names), json.loads(types), strict=True))
        return [(row[0], row[1]) for row in map(json.loads, lines.splitlines())]


def _cannot_open(path: Path, error: RuntimeError) -> SupervisionError:
    """The engine says why on standard error only: whether its lock is free tells it here."""
    try:
        with (path / "status").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return SupervisionError(f"{path} is in use by another ClickHouse process")
    return SupervisionError(f"ClickHouse cannot open {path}: {error}")


def quote(text: str) -> str:
    """A string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def identifier(text: str) -> str:
    """A quoted identifier."""
    escaped = text.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"
