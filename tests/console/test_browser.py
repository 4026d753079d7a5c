"""The pages in a real Chromium: sizes, accessibility, other hosts, a dead engine, a server that restarts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, async_playwright
from prometheus_client import CollectorRegistry

from console.files import FilesState
from console.server import Console, ConsoleSettings
from schemas.errors import StoreAway
from tests.support.broker import free_port
from tests.support.morning_wall import StillFeed, morning

CHROMIUM = Path("/usr/bin/chromium")
FAULT = "absence-spike.yaml:21:7: unknown measure"
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium here (apt-get install chromium)")


def away() -> str:
    raise StoreAway("away")


class Server:
    """The console over a feed that stands still, on one port, to be stopped and started again."""

    def __init__(self, feed: StillFeed, files: FilesState | None = None) -> None:
        self.feed = feed
        self.files = files or FilesState()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        settings = ConsoleSettings("none", away, dict, files=lambda: self.files)
        console = Console(settings, self.feed, CollectorRegistry())  # type: ignore[arg-type]
        self._runner = web.AppRunner(console.application(), shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    running = Server(StillFeed(morning()), FilesState(1, "h", [FAULT]))
    await running.start()
    yield running
    await running.stop()


async def seen(page: Page, condition: str) -> None:
    """Wait until a condition on the page's document holds."""
    for _ in range(150):
        if await page.evaluate(condition):
            return
        await page.wait_for_timeout(100)
    raise AssertionError(f"not within 15 s: {condition}")


DEAD = "document.body.classList.contains('dead')"
LIVE = f"!{DEAD} && /\\d/.test(document.getElementById('updated').textContent)"
BOTTOMS = "[...document.querySelectorAll('[data-tile]')].map((tile) => tile.getBoundingClientRect().bottom)"


async def test_every_page_at_every_size(server: Server, browser: Browser) -> None:
    from axe_playwright_python.async_playwright import Axe

    asked: set[str] = set()
    context = await browser.new_context(bypass_csp=True)
    page = await context.new_page()
    page.on("request", lambda request: asked.add(request.url.split("/")[2]))
    sizes = {
        (1920, 1080): ("/", "/engine", "/rejected", "/school/S0010", "/commune/C1", "/alert/outage"),
        (3840, 2160): ("/",),
        (360, 740): ("/phone", "/?lang=en", "/school/S0010", "/alert/held-2", "/engine"),
    }
    for (width, height), paths in sizes.items():
        await page.set_viewport_size({"width": width, "height": height})
        for path in paths:
            await page.goto(server.url + path)
            await seen(page, LIVE)
            size = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
            wide, high = await page.evaluate(size)
            assert wide <= width, (path, width, wide)
            assert path != "/" or high <= height, (width, high)
            assert "DIỄN TẬP" in await page.inner_text("header")
            assert FAULT in await page.inner_text("#rules")
            result = await Axe().run(page)
            faults = [one["id"] + str([n["html"][:90] for n in one["nodes"][:2]])
                      for one in result.response["violations"]]  # fmt: skip
            assert faults == [], (path, width)
    assert asked == {server.url.removeprefix("http://")}  # nothing is loaded from other hosts


async def test_all_tiles_of_a_district_and_of_a_city_are_seen(browser: Browser) -> None:
    for schools, tiles in ((100, 100), (2800, 127)):
        server = Server(StillFeed(morning(schools)))
        await server.start()
        page = await browser.new_page(viewport={"width": 1920, "height": 1080})
        await page.goto(server.url)
        await seen(page, LIVE)
        lowest = max(await page.evaluate(BOTTOMS))
        assert await page.locator("[data-tile]").count() == tiles
        assert lowest <= 1080
        await page.close()
        await server.stop()


async def test_a_dead_engine_looks_dead_and_a_restarted_server_live_without_a_reload(
    server: Server, browser: Browser
) -> None:
    page = await browser.new_page(viewport={"width": 1920, "height": 1080})
    await page.goto(server.url)
    await seen(page, LIVE)
    await page.evaluate("window.sameDocument = true")

    server.feed.pulsing = False  # the engine stops; the server goes on
    await seen(page, DEAD)
    assert await page.inner_text("#trouble") == "BỘ XỬ LÝ ĐÃ DỪNG · số liệu đã cũ"
    assert "old" in (await page.get_attribute("#updated", "class") or "")
    server.feed.pulsing = True
    await seen(page, LIVE)

    await server.stop()
    await seen(page, DEAD)
    assert await page.inner_text("#trouble") == "MẤT KẾT NỐI MÁY CHỦ · số liệu đã cũ"
    assert "grayscale" in await page.evaluate("getComputedStyle(document.getElementById('main')).filter")
    server.files = FilesState(2, "h2", [])
    await server.start()
    await seen(page, LIVE)
    await seen(page, "document.getElementById('rules').hidden")  # and it shows what is new
    assert await page.evaluate("window.sameDocument") is True


async def test_from_a_tile_to_the_school_and_from_an_alert_to_what_it_holds(
    server: Server, browser: Browser
) -> None:
    page = await browser.new_page(viewport={"width": 1280, "height": 900})
    await page.goto(server.url)
    await page.click("[data-tile=S0010]")
    assert "Ánh Dương 2" in await page.inner_text("h1")
    assert await page.locator("tbody tr").count() == 12
    await page.goto(server.url)
    await page.click("text=Phần mềm ngừng gửi dữ liệu")
    assert "gồm 4 trường" in await page.inner_text("main")
    await page.click("main .plain a >> nth=0")
    text = await page.inner_text("main")
    assert "đã gộp vào Phần mềm ngừng gửi dữ liệu" in text
    assert "gộp vào cảnh báo chung" in text


async def test_while_a_demo_is_prepared_it_says_so(browser: Browser) -> None:
    state = morning()
    state.mode = "data"
    state.preparing(state.clock + 1, state.clock)
    server = Server(StillFeed(state))
    await server.start()
    page = await browser.new_page(viewport={"width": 1920, "height": 1080})
    await page.goto(server.url)
    await seen(page, "!document.getElementById('trouble').hidden")
    assert await page.inner_text("#trouble") == "ĐANG NẠP DỮ LIỆU… 2026-09-07"
    assert "waiting" in (await page.get_attribute("body", "class") or "")
    assert await page.locator("#drill").is_visible()
    await server.stop()
