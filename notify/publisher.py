"""From the desk's deliveries to their topic: at least once, unique by (id, attempt)."""

from __future__ import annotations

import asyncio

from notify.outage import Outage, pause
from notify.settings import NotifierSettings
from notify.source import DeliverySink
from schemas.errors import BrokerAway, StoreAway
from store.desk import Desk

AT_ONCE = 500


class Publisher:
    """Publishes what the desk has recorded, and notes what was acknowledged."""

    def __init__(self, desk: Desk, sink: DeliverySink, settings: NotifierSettings) -> None:
        self._desk = desk
        self._sink = sink
        self._settings = settings
        self._wake = asyncio.Event()
        self._broker = Outage("Kafka (deliveries)")
        self._store = Outage("PostgreSQL (deliveries)")

    def wake(self) -> None:
        """A receipt was recorded."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``, and once more after it: the last receipts come with it."""
        while not stop.is_set():
            self._wake.clear()
            if not await self._try():
                await self._rest(stop)

    async def finish(self) -> None:
        """Publish what is left, where that is possible at once."""
        while await self._try():
            continue

    async def _try(self) -> bool:
        """Publish some; is there possibly more?"""
        try:
            return await self.step() == AT_ONCE
        except BrokerAway as error:
            self._broker.begins(error)
        except StoreAway as error:
            self._store.begins(error)
        return False

    async def step(self) -> int:
        """Publish up to `AT_ONCE` deliveries, and give their number."""
        items = await asyncio.to_thread(self._desk.unpublished, AT_ONCE)
        self._store.ended()
        if items:
            await self._sink.publish([item.delivery for item in items])
            self._broker.ended()
            await asyncio.to_thread(self._desk.published, items)
        return len(items)

    async def _rest(self, stop: asyncio.Event) -> None:
        if self._broker.away or self._store.away:
            await pause(stop, self._settings.poll_seconds)
            return
        waits = [asyncio.ensure_future(self._wake.wait()), asyncio.ensure_future(stop.wait())]
        await asyncio.wait(waits, timeout=self._settings.poll_seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
