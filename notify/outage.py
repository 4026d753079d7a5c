"""Saying once that something is away, and once that it is back; waiting that ends with a stop."""

from __future__ import annotations

import asyncio

import structlog

Log = structlog.stdlib.BoundLogger


class Outage:
    """Presence of one thing the notifier works with."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.away = False
        self._log: Log = structlog.get_logger("notify")

    def begins(self, error: Exception) -> None:
        """It does not answer."""
        if not self.away:
            self.away = True
            self._log.warning(f"{self.what} does not answer: waiting, nothing is lost", error=str(error))

    def ended(self) -> None:
        """It answered."""
        if self.away:
            self.away = False
            self._log.info(f"{self.what} answers again")


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait, but not beyond a stop."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
