"""``python -m benchmarks.wall``: the wall's first byte with a city's 2,800 schools against a district's 100.

Each request follows a new wall (as after each record that changes something), so the page is rendered, not
taken from what was rendered before.
"""

from __future__ import annotations

import asyncio
import statistics
import time

from aiohttp import ClientSession, web
from prometheus_client import CollectorRegistry

from console.server import Console, ConsoleSettings
from schemas.errors import StoreAway
from tests.support.morning_wall import StillFeed, morning

REQUESTS = 20


def _away() -> str:
    raise StoreAway("no ClickHouse is needed for the wall")


async def first_bytes(schools: int) -> list[float]:
    """Seconds to the first byte of each request."""
    feed = StillFeed(morning(schools))
    console = Console(ConsoleSettings("none", _away, dict), feed, CollectorRegistry())  # type: ignore[arg-type]
    runner = web.AppRunner(console.application(), shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    taken = []
    async with ClientSession() as session:
        for _ in range(REQUESTS):
            feed.number += 1
            began = time.perf_counter()
            async with session.get(url) as answer:
                taken.append(time.perf_counter() - began)
                await answer.read()
    await runner.cleanup()
    return taken


def main() -> None:
    """Print both and their ratio."""
    district, city = (asyncio.run(first_bytes(schools)) for schools in (100, 2800))
    for name, taken in (("100 schools", district), ("2,800 schools", city)):
        print(f"{name}: median {statistics.median(taken) * 1000:.1f} ms, worst {max(taken) * 1000:.1f} ms")
    print(f"ratio of the medians: {statistics.median(city) / statistics.median(district):.1f}")


if __name__ == "__main__":
    main()
