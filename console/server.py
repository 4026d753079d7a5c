"""The console's web server: pages from memory, server-sent events, `/healthz` and `/metrics`."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from console.feed import Feed, Published
from console.files import UNKNOWN, FilesState
from console.pages import Pages
from console.words import Lang, lang_of

STATIC: Final = Path(__file__).parent / "static"
TICK_SECONDS: Final = 1.0
STALE_SECONDS: Final = 5.0
"""Without a pulse for this long (real time) the engine is said to have stopped."""
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ASSETS: Final = {
    "app.css": "text/css", "app.js": "text/javascript", "icon.svg": "image/svg+xml",
}  # fmt: skip

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """What the console needs to know."""

    broker: str
    clickhouse: Callable[[], str]
    """Address of ClickHouse; raises SettingsError where none is known."""
    process_ports: Callable[[], Mapping[str, int]]
    """Metrics ports of the processes of this installation; 0: it has none."""
    files: Callable[[], FilesState] = lambda: UNKNOWN
    """What became of the rule and reference files."""
    data_dir: str = ""
    """Data directory of this installation, for the commands that a page shows."""
    host: str = "127.0.0.1"
    port: int = 8600


class Console:
    """Pages and streams over one feed. Streams end when `close` is called."""

    def __init__(self, settings: ConsoleSettings, feed: Feed, registry: CollectorRegistry) -> None:
        self._feed = feed
        self._registry = registry
        self._pages = Pages(settings, feed)
        self._instance = uuid.uuid4().hex[:8]
        self._closing = asyncio.Event()
        self.streams = 0
        """Browsers that listen."""

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[_guarded])
        app.add_routes(
            [
                web.get("/", self._html(self._pages.wall)),
                web.get("/phone", self._html(self._pages.phone)),
                web.get("/engine", self._html(self._pages.engine, thread=True)),
                web.get("/rejected", self._html(self._pages.rejected, thread=True)),
                web.get("/school/{code}", self._html(self._pages.school)),
                web.get("/school/{code}/{class}", self._html(self._pages.group, thread=True)),
                web.get("/commune/{code}", self._html(self._pages.commune)),
                web.get("/alert/{id}", self._html(self._pages.alert, thread=True)),
                web.get("/events", self._events),
                web.get("/healthz", self._healthz),
                web.get("/metrics", self._metrics),
                web.get("/static/{name}", _asset),
            ]
        )
        app.on_shutdown.append(self._close)
        return app

    async def _close(self, _app: web.Application) -> None:
        self._closing.set()

    def _html(self, page: Callable[[Lang, str], tuple[int, str]], *, thread: bool = False) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            lang = lang_of(request.query.get("lang"))
            about = "/".join(request.match_info.values())
            if thread:
                status, text = await asyncio.to_thread(page, lang, about)
            else:
                status, text = page(lang, about)
            return web.Response(status=status, text=text, content_type="text/html")

        return handle

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """A full wall first (unless the browser has it), then each new one, and a tick every second."""
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        await response.write(b"retry: 1000\n\n")
        last = request.headers.get("Last-Event-ID", "")
        sent: tuple[str, bytes] = (last, b"")
        lang = lang_of(request.query.get("lang"))
        self.streams += 1
        try:
            while not self._closing.is_set():
                sent = await self._tell(response, lang, sent)
                try:
                    await asyncio.wait_for(self._closing.wait(), TICK_SECONDS)
                except TimeoutError:
                    continue
        except ConnectionResetError:
            return response  # the browser went away
        finally:
            self.streams -= 1
        return response

    async def _tell(
        self, response: web.StreamResponse, lang: Lang, sent: tuple[str, bytes]
    ) -> tuple[str, bytes]:
        now = self._feed.published
        name = f"{self._instance}-{now.number}"
        if name != sent[0]:
            body = self._pages.live(now, lang)
            if body != sent[1]:
                await response.write(f"id: {name}\nevent: wall\ndata: ".encode() + body + b"\n\n")
            sent = name, body
        await response.write(b"event: tick\ndata: " + msgspec.json.encode(health(now)) + b"\n\n")
        return sent

    async def _healthz(self, _request: web.Request) -> web.StreamResponse:
        told = health(self._feed.published)
        failed = self._feed.failure is not None
        well = not (failed or told["away"])
        return web.json_response({**told, "ok": well}, status=200 if well else 503)

    async def _metrics(self, _request: web.Request) -> web.StreamResponse:
        body = generate_latest(self._registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def health(now: Published) -> dict[str, bool | int | str]:
    """What the browser is told each second about those before it.

    ``age``: how old what is shown is, in seconds of real time.
    """
    moment = time.monotonic()
    begun = math.isfinite(now.read_at)
    unread = moment - now.read_at
    silent = moment - now.pulse_at if now.wall.beating else unread
    away = now.away or unread > STALE_SECONDS
    return {
        "away": away,
        "stopped": now.wall.beating and silent > STALE_SECONDS,
        "catching_up": now.catching_up,
        "loading": now.wall.loading and not away if begun else now.young,
        "prepared": now.wall.prepared,
        "age": int(silent) if math.isfinite(silent) else 0,
    }


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    if not response.prepared:
        response.headers["Content-Security-Policy"] = CSP
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers.setdefault("Cache-Control", "no-store")
    return response


async def _asset(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    if name not in _ASSETS:
        raise web.HTTPNotFound
    body = (STATIC / name).read_bytes()
    return web.Response(body=body, content_type=_ASSETS[name], headers={"Cache-Control": "no-cache"})


async def run_console(
    settings: ConsoleSettings,
    registry: CollectorRegistry,
    stop: asyncio.Event,
    *,
    report: Callable[[int, int], None] = lambda _records, _streams: None,
) -> None:
    """Serve until ``stop``. ``report`` is told records read since the last call, and open streams."""
    read = [0]

    def counted(records: int) -> None:
        read[0] += records

    feed = Feed(settings.broker, counted=counted)
    feed.start()
    console = Console(settings, feed, registry)
    runner = web.AppRunner(console.application(), shutdown_timeout=2.0, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
        told = 0
        while not stop.is_set():
            now = read[0]
            report(now - told, console.streams)
            told = now
            try:
                await asyncio.wait_for(stop.wait(), TICK_SECONDS)
            except TimeoutError:
                continue
    finally:
        await runner.cleanup()
        await asyncio.to_thread(feed.stop)
