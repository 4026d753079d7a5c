"""Where alerts come from and where deliveries go: two small edges to Kafka, and their fakes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from schemas.errors import BrokerAway
from schemas.wire import Delivery, LogBatch


class AlertSource(Protocol):
    """The log of alerts (one partition). All methods raise `BrokerAway` while it does not answer."""

    async def epoch(self) -> str:
        """Epoch of the log as it is now."""

    async def seek(self, offset: int) -> None:
        """Read from this offset on."""

    async def read(self, limit: int, timeout: float) -> LogBatch:
        """The next records, up to ``limit``; none if none came within ``timeout`` seconds.

        Raises `LogLost` if the log ends before the offset that was sought.
        """

    async def close(self) -> None:
        """Give the connection back."""


class DeliverySink(Protocol):
    """The topic of deliveries."""

    async def publish(self, deliveries: Sequence[Delivery]) -> None:
        """Write all of them; returns when they are acknowledged, else raises `BrokerAway`."""

    async def close(self) -> None:
        """Give the connection back."""


class MemoryAlerts:
    """`AlertSource` in memory. ``away`` makes it not answer."""

    def __init__(self, epoch: str = "epoch-1") -> None:
        self.records: list[bytes | None] = []
        self.away = False
        self.name = epoch
        self._offset = 0
        self._more = asyncio.Event()

    def append(self, *values: bytes | None) -> None:
        """Write records."""
        self.records.extend(values)
        self._more.set()

    def _check(self) -> None:
        if self.away:
            raise BrokerAway("the broker does not answer")

    async def epoch(self) -> str:
        """See `AlertSource.epoch`."""
        self._check()
        return self.name

    async def seek(self, offset: int) -> None:
        """See `AlertSource.seek`."""
        self._check()
        self._offset = offset

    async def read(self, limit: int, timeout: float) -> LogBatch:
        """See `AlertSource.read`."""
        self._check()
        if self._offset >= len(self.records):
            self._more.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._more.wait()
            except TimeoutError:
                return LogBatch(0, [], [], [], [], [])
        values = self.records[self._offset : self._offset + limit]
        offsets = list(range(self._offset, self._offset + len(values)))
        self._offset += len(values)
        count = len(values)
        return LogBatch(0, offsets, [None] * count, values, [()] * count, [0] * count)

    async def close(self) -> None:
        """Nothing to give back."""


class MemorySink:
    """`DeliverySink` in memory. ``away`` makes it not answer."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.away = False

    async def publish(self, deliveries: Sequence[Delivery]) -> None:
        """See `DeliverySink.publish`."""
        if self.away:
            raise BrokerAway("the broker does not answer")
        self.deliveries.extend(deliveries)

    async def close(self) -> None:
        """Nothing to give back."""
