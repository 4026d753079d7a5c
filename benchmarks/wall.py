"""``python -m benchmarks.wall``: the wall's first byte with a city's 2,800 schools against a district's 100.

A thread makes a new wall each half second, as the feed does, and a browser's stream is open. Each
request follows a new wall: its page is rendered, not one that was kept.
Give ``--limit MS`` to fail where the median with 2,800 schools is slower.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import threading
import time

from aiohttp import ClientSession, web
from prometheus_client import CollectorRegistry

from console.feed import PUBLISH_SECONDS
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
    stop = threading.Event()
    publisher = threading.Thread(target=_publish, args=(feed, stop))
    publisher.start()
    async with ClientSession() as session, session.get(url + "events"):
        for _ in range(REQUESTS):
            await asyncio.to_thread(_await_wall, feed, feed.number)
            began = time.perf_counter()
            async with session.get(url) as answer:
                taken.append(time.perf_counter() - began)
                await answer.read()
    stop.set()
    publisher.join()
    await runner.cleanup()
    return taken


def _await_wall(feed: StillFeed, known: int) -> None:
    while feed.number == known:
        time.sleep(0.005)


def _publish(feed: StillFeed, stop: threading.Event) -> None:
    while not stop.wait(PUBLISH_SECONDS):
        feed.publish()


def main() -> int:
    """Print both; 1 if the city's is slower than the limit."""
    parser = argparse.ArgumentParser(description="The wall's first byte.")
    parser.add_argument("--limit", type=float, default=float("inf"), metavar="MS")
    limit = parser.parse_args().limit
    district, city = (asyncio.run(first_bytes(schools)) for schools in (100, 2800))
    for name, taken in (("100 schools", district), ("2,800 schools", city)):
        print(f"{name}: median {statistics.median(taken) * 1000:.1f} ms, worst {max(taken) * 1000:.1f} ms")
    return 1 if statistics.median(city) * 1000 > limit else 0


if __name__ == "__main__":
    sys.exit(main())
