"""The embedded engine behind ClickHouse's HTTP interface, as one process.

Every answer is complete before its first byte is sent, so an error is never in the middle of one.
Reads and inserts have threads of their own: a wall full of slow panels does not hold the archiver up.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import errno
import json
import os
import signal
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import structlog
from aiohttp import web

from schemas.errors import SupervisionError
from store.clickhouse import blocks, encoding
from store.clickhouse.credentials import Credentials, address_file, load_credentials, write_address
from store.clickhouse.engine import Answer, Engine
from store.clickhouse.errors import (
    AUTHENTICATION_FAILED,
    CANNOT_SCHEDULE_TASK,
    TOO_MANY_QUERIES,
    EngineError,
    refuse,
)
from store.clickhouse.request import External, Request, read_request

_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "Native": "application/octet-stream",
}


STOP_SECONDS = 5.0
"""How long a stop waits for answers that are still being sent."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the server."""

    body: int = 256 << 20
    """Bytes of a request, before and after unpacking."""
    readers: int = 4
    """Reading statements that run at a time."""
    writers: int = 2
    """Inserts that run at a time."""
    waiting: int = 200
    """Statements that run or wait; more are refused with code 202."""


class Gate:
    """aiohttp handlers over an `Engine`."""

    def __init__(self, engine: Engine, credentials: Credentials, limits: Limits) -> None:
        self._engine = engine
        self._credentials = credentials
        self._limits = limits
        self._readers = ThreadPoolExecutor(limits.readers, "read")
        self._writers = ThreadPoolExecutor(limits.writers, "write")
        self._pending = 0
        self._reading: set[str] = set()
        self._stopping = False

    def application(self) -> web.Application:
        """The web application: ``/ping``, ``/`` and ``/DATABASE``."""
        app = web.Application(client_max_size=self._limits.body)
        for path in ("/ping", "/replicas_status"):
            app.router.add_get(path, self.ping)
        for path in ("/", "/{database:[A-Za-z_][A-Za-z0-9_]*}"):
            app.router.add_get(path, self.query)
            app.router.add_post(path, self.query)
        return app

    async def cancel_reads(self) -> None:
        """Stop every reading statement: their clients are about to be cut off anyway."""
        self._stopping = True
        for mark in list(self._reading):
            await asyncio.to_thread(self._engine.cancel, mark)

    def close(self) -> None:
        """Wait for what runs, then let the threads go."""
        self._readers.shutdown(cancel_futures=True)
        self._writers.shutdown(cancel_futures=True)

    async def ping(self, _: web.Request) -> web.Response:
        """`Ok.` to anybody."""
        return web.Response(text="Ok.\n")

    async def query(self, http: web.Request) -> web.Response:
        """One statement, or ``Ok.`` where there is none."""
        mark = uuid.uuid4().hex
        try:
            self._authenticate(http)
            request = await self._read(http)
            if not request.sql and http.method == "GET":
                return await self.ping(http)
            answer = await self._execute(request, mark)
            return await self._respond(http, answer, mark)
        except EngineError as error:
            return self._refusal(http, error, mark)

    def _authenticate(self, http: web.Request) -> None:
        user, password = offered(http)
        if not self._credentials.admit(user, password):
            raise refuse(
                AUTHENTICATION_FAILED,
                "AUTHENTICATION_FAILED",
                f"{user}: Authentication failed: password is incorrect, or there is no user with such name.",
            )

    async def _read(self, http: web.Request) -> Request:
        arguments = dict(http.query)
        external: tuple[External, ...] = ()
        body = b""
        if http.content_type == "multipart/form-data":
            fields, external = await self._form(http, arguments)
            arguments.update(fields)
        else:
            body = await self._body(http)
        return read_request(
            body,
            arguments,
            http.headers,
            path_database=http.match_info.get("database", ""),
            external=external,
            writable=http.method == "POST",
        )

    async def _body(self, http: web.Request) -> bytes:
        data = await self._bounded(http)
        packed = http.headers.get("Content-Encoding", "")
        if packed:
            data = await asyncio.to_thread(encoding.unpack, data, packed, self._limits.body)
        if asked(http, "decompress"):
            data = await asyncio.to_thread(blocks.unpack_blocks, data, self._limits.body)
        return data

    async def _bounded(self, http: web.Request) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in http.content.iter_any():
            size += len(part)
            if size > self._limits.body:
                raise encoding.too_large(self._limits.body)
            parts.append(part)
        return b"".join(parts)

    async def _form(
        self, http: web.Request, arguments: dict[str, str]
    ) -> tuple[dict[str, str], tuple[External, ...]]:
        form = await http.post()
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        tables = tuple(
            External(
                name,
                structure=arguments.get(f"{name}_structure", ""),
                format=arguments.get(f"{name}_format", "TabSeparated"),
                data=value.file.read(),
            )
            for name, value in form.items()
            if isinstance(value, web.FileField)
        )
        return fields, tables

    async def _execute(self, request: Request, mark: str) -> Answer:
        if self._pending >= self._limits.waiting:
            raise refuse(
                TOO_MANY_QUERIES,
                "TOO_MANY_SIMULTANEOUS_QUERIES",
                f"Too many simultaneous queries. Maximum: {self._limits.waiting}.",
            )
        inserts = self._engine.is_insert(request)
        pool = self._writers if inserts else self._readers
        loop = asyncio.get_running_loop()
        self._pending += 1
        if not inserts:
            self._reading.add(mark)
        running = loop.run_in_executor(pool, self._run, request, mark)
        running.add_done_callback(lambda done: self._ended(done, mark))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:  # the client went away
            loop.run_in_executor(None, self._engine.cancel, mark)
            raise

    def _run(self, request: Request, mark: str) -> Answer:
        if self._stopping:
            raise refuse(CANNOT_SCHEDULE_TASK, "CANNOT_SCHEDULE_TASK", "The server is stopping.")
        return self._engine.execute(request, mark)

    def _ended(self, running: asyncio.Future[Answer], mark: str) -> None:
        self._pending -= 1
        self._reading.discard(mark)
        if not running.cancelled():
            running.exception()  # an abandoned statement's error has no reader: that is no fault

    async def _respond(self, http: web.Request, answer: Answer, mark: str) -> web.Response:
        headers = self._headers(mark) | {"X-ClickHouse-Summary": summary(answer)}
        body = answer.body
        if answer.format:
            headers["X-ClickHouse-Format"] = answer.format
        chosen = encoding.choose(http.headers.get("Accept-Encoding", ""))
        if asked(http, "compress"):
            body = await asyncio.to_thread(blocks.pack_blocks, body)
        elif chosen and len(body) >= encoding.SMALLEST:
            body = await asyncio.to_thread(encoding.pack, body, chosen)
            headers["Content-Encoding"] = chosen
        headers["Content-Type"] = _TYPES.get(answer.format, "text/plain; charset=UTF-8")
        return web.Response(body=body, headers=headers)

    def _headers(self, mark: str) -> dict[str, str]:
        return {
            "X-ClickHouse-Query-Id": mark,
            "X-ClickHouse-Server-Display-Name": self._engine.name,
            "X-ClickHouse-Timezone": self._engine.timezone,
        }

    def _refusal(self, http: web.Request, error: EngineError, mark: str) -> web.Response:
        headers = self._headers(mark) | {"X-ClickHouse-Exception-Code": str(error.code)}
        text = error.text.encode("utf-8", "surrogateescape") + b"\n"
        return web.Response(
            status=error.status,
            body=blocks.pack_blocks(text) if asked(http, "compress") else text,
            headers=headers | {"Content-Type": "text/plain; charset=UTF-8"},
        )


def offered(http: web.Request) -> tuple[str, str]:
    """User and password as ClickHouse looks for them: headers, then Basic, then the query string."""
    if "X-ClickHouse-User" in http.headers or "X-ClickHouse-Key" in http.headers:
        return http.headers.get("X-ClickHouse-User", "default"), http.headers.get("X-ClickHouse-Key", "")
    scheme, _, token = http.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(token, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "default", ""
        return user or "default", password
    return http.query.get("user", "default"), http.query.get("password", "")


def asked(http: web.Request, name: str) -> bool:
    """Whether a switch in the query string is on."""
    return http.query.get(name, "0") not in ("0", "")


def summary(answer: Answer) -> str:
    """The X-ClickHouse-Summary header: numbers as texts, as ClickHouse writes them."""
    return json.dumps(
        {
            "read_rows": str(answer.read_rows),
            "read_bytes": str(answer.read_bytes),
            "written_rows": str(answer.written_rows),
            "written_bytes": str(answer.written_bytes),
            "elapsed_ns": str(int(answer.elapsed * 1e9)),
        }
    )


async def serve(
    engine: Engine, credentials: Credentials, host: str, port: int, limits: Limits
) -> web.AppRunner:
    """Start to answer on ``host:port``. Raises SupervisionError where the port is taken."""
    gate = Gate(engine, credentials, limits)
    app = gate.application()

    async def cancel(_: web.Application) -> None:
        await gate.cancel_reads()

    async def close(_: web.Application) -> None:
        gate.close()

    app.on_shutdown.append(cancel)
    app.on_cleanup.append(close)
    runner = web.AppRunner(
        app, handler_cancellation=True, auto_decompress=False, access_log=None, shutdown_timeout=STOP_SECONDS
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        if error.errno == errno.EADDRINUSE:
            raise SupervisionError(f"port {port} on {host} is taken") from error
        raise SupervisionError(f"ClickHouse cannot listen on {host}:{port}: {error}") from error
    return runner


def run_clickhouse(
    data_dir: Path, port: int, *, host: str = "127.0.0.1", limits: Limits | None = None
) -> None:
    """Serve ``data_dir``/clickhouse until SIGTERM or SIGINT; writes ``data_dir``/run/clickhouse.url.

    ``port`` 0 takes a free one. Raises SupervisionError where the directory is in use or the port is taken.
    """
    os.environ.setdefault("TZ", "Asia/Ho_Chi_Minh")  # civil time; read by the engine when it is loaded
    engine = Engine(data_dir / "clickhouse")
    try:
        asyncio.run(_until_stopped(engine, data_dir, host, port, limits or Limits()))
    finally:
        engine.close()


async def _until_stopped(engine: Engine, data_dir: Path, host: str, port: int, limits: Limits) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    path = address_file(data_dir)
    credentials = load_credentials(path)
    runner = await serve(engine, credentials, host, port, limits)
    try:
        write_address(path, credentials.url(host, runner.addresses[0][1]))
        _log.info("ClickHouse answers", host=host, port=runner.addresses[0][1], version=engine.version)
        await stop.wait()
    finally:
        await runner.cleanup()
