"""How fast a transition becomes a push: intake, PostgreSQL, sender and a real webhook, one machine.

    python -m benchmarks.notifier [TRANSITIONS]

Prints the time from writing a transition to the receiver having its push (one at a time), and how
long a burst of TRANSITIONS alerts takes until the last push arrived.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from notify import Notifier, NotifierSettings
from notify.source import MemoryAlerts, MemorySink
from notify.webhook import WebhookCarrier
from oncall import parse_roster
from store.desk_postgres import PostgresDesk
from store.postgres_engine import migrate
from tests.support.alerts import transition
from tests.support.postgres import engine, running_server
from tests.support.webhook import WebhookReceiver


async def measure(burst: int) -> None:
    """Run both measurements and print them."""
    with (
        running_server(durable=True) as server,
        server.database() as url,
        engine(url) as made,
        WebhookReceiver(secrets={"/an": "a"}) as receiver,
    ):
        migrate(made)
        channel = f"{{kind: webhook, url: '{receiver.url('/an')}', secret: a}}"
        roster = parse_roster(
            f"people: [{{code: an, name: An, channels: [{channel}]}}]\ntargets: {{duty-officer: an}}\n"
        )
        source, stop = MemoryAlerts(), asyncio.Event()
        settings = NotifierSettings("", url, Path(tempfile.gettempdir()))
        notifier = Notifier(
            settings,
            PostgresDesk(made),
            source,
            MemorySink(),
            {"webhook": WebhookCarrier()},
            roster=lambda: roster,
        )
        running = asyncio.create_task(notifier.run(stop))
        latencies = []
        for n in range(200):
            begun = time.time()
            source.append(msgspec.json.encode(transition(alert=f"one-{n}")))
            found = await asyncio.to_thread(receiver.wait_for, n + 1)
            latencies.append(found[-1].at - begun)
            await asyncio.sleep(0.02)
        cuts = statistics.quantiles(latencies, n=100)
        print(f"one at a time: p50 {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms")
        begun = time.time()
        source.append(*(msgspec.json.encode(transition(alert=f"many-{n}")) for n in range(burst)))
        found = await asyncio.to_thread(receiver.wait_for, burst + 200, 300)
        print(f"burst: {burst} alerts to one person in {found[-1].at - begun:.1f} s")
        stop.set()
        await running


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
