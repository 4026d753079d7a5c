"""What a request asks of the engine, read from its query string, headers and body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from store.clickhouse.errors import BAD_ARGUMENTS, refuse

TRANSPORT = frozenset({
    "add_http_cors_header", "buffer_size", "cancel_http_readonly_queries_on_client_close",
    "client_protocol_version", "compress", "database", "decompress", "default_format",
    "enable_http_compression", "http_headers_progress_interval_ms", "http_response_headers",
    "http_write_exception_in_output_format", "http_zlib_compression_level", "password", "query",
    "query_id", "quota_key", "role", "send_progress_in_http_headers", "session_check", "session_id",
    "session_timeout", "stacktrace", "user", "wait_end_of_query",
})  # fmt: skip
"""Names in a query string that HTTP's side of ClickHouse consumes: the embedded engine knows few of them.

Sessions are accepted and have no memory: each request has a handle of its own.
"""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


@dataclass(frozen=True, slots=True)
class External:
    """A table that travels with a query (multipart): its name, structure, format and bytes."""

    name: str
    structure: str
    format: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """One statement with everything that changes its result."""

    sql: bytes
    database: str = ""
    format: str = "TabSeparated"
    """Where the statement names none."""
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    external: tuple[External, ...] = ()
    revision: int = 0
    """``client_protocol_version``: what clickhouse-go decodes its first answer by."""
    writable: bool = True


def read_request(
    body: bytes,
    arguments: Mapping[str, str],
    headers: Mapping[str, str],
    *,
    path_database: str = "",
    external: tuple[External, ...] = (),
    writable: bool = True,
) -> Request:
    """A request from its parts; ``arguments`` is the query string with a form's fields over it.

    The statement is the argument ``query``, a line feed, and the body, as ClickHouse joins them.
    Raises `EngineError` 36 for a setting or a number that cannot be one.
    """
    text = arguments.get("query", "").encode()
    names = {f"{table.name}_{part}" for table in external for part in ("format", "structure", "types")}
    settings = {
        name: value
        for name, value in arguments.items()
        if name not in TRANSPORT and name not in names and not name.startswith("param_")
    }
    for name in settings:
        if not _NAME.fullmatch(name):
            raise refuse(BAD_ARGUMENTS, "BAD_ARGUMENTS", f"{name!r} cannot be a setting's name.")
    return Request(
        sql=text + b"\n" + body if text and body else text or body,
        database=arguments.get("database") or headers.get("X-ClickHouse-Database") or path_database,
        format=arguments.get("default_format") or headers.get("X-ClickHouse-Format") or "TabSeparated",
        settings=settings,
        parameters={name[6:]: value for name, value in arguments.items() if name.startswith("param_")},
        external=external,
        revision=_number(arguments, "client_protocol_version"),
        writable=writable,
    )


def _number(arguments: Mapping[str, str], name: str) -> int:
    text = arguments.get(name, "") or "0"
    if not text.isascii() or not text.isdigit():
        raise refuse(BAD_ARGUMENTS, "BAD_ARGUMENTS", f"{name} is not a number: {text!r}.")
    return int(text)
