"""Sending in order, with a bound on the bytes that no broker has acknowledged yet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from functools import partial
from typing import Protocol

from schemas.errors import LogError
from schemas.wire import OutRecord

RECORD_OVERHEAD = 64
"""Bytes a record is counted with beside its key and value."""


class Sender(Protocol):
    """The producer's edge. Records of one partition arrive in the order of the calls."""

    async def send(self, record: OutRecord) -> Awaitable[object]:
        """Hand a record over; what is returned ends when the broker has acknowledged it."""


def size_of(record: OutRecord) -> int:
    """Bytes a record is counted with."""
    return len(record.key or b"") + len(record.value or b"") + RECORD_OVERHEAD


class Outbox:
    """Sends for one partition of one agent and remembers what is in flight.

    A failure is sticky: every later call raises it, so that nothing is acknowledged past a record
    that was lost.
    """

    def __init__(self, sender: Sender, max_bytes: int) -> None:
        self._sender = sender
        self._max_bytes = max_bytes
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None
        self._in_flight = 0
        self._pending: set[asyncio.Future[object]] = set()
        self._where = ""
        self.total_bytes = 0
        """Bytes sent since the beginning."""

    @property
    def in_flight(self) -> int:
        """Bytes sent and not acknowledged."""
        return self._in_flight

    async def send(self, records: Iterable[OutRecord]) -> None:
        """Send in order; waits while more than the bound is in flight.

        Raises:
            LogError: a record, this one or an earlier one, was refused.
        """
        for record in records:
            size = size_of(record)
            await self._wait_for_room(size)
            self._in_flight += size
            self.total_bytes += size
            try:
                acknowledged = asyncio.ensure_future(await self._sender.send(record))
            except Exception as error:
                self._fail(record, error)
                raise LogError(self._text()) from error
            self._pending.add(acknowledged)
            acknowledged.add_done_callback(partial(self._acknowledge, record=record, size=size))

    async def drain(self) -> None:
        """Wait until everything sent before this call is acknowledged; what is sent later does not matter.

        Raises:
            LogError: a record was refused.
        """
        if self._pending:
            await asyncio.wait(set(self._pending))
        self._check()

    async def _wait_for_room(self, size: int) -> None:
        self._check()
        while self._in_flight and self._in_flight + size > self._max_bytes:
            self._changed.clear()
            await self._changed.wait()
            self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise LogError(self._text()) from self._failure

    def _acknowledge(self, done: asyncio.Future[object], *, record: OutRecord, size: int) -> None:
        self._in_flight -= size
        self._pending.discard(done)
        error = asyncio.CancelledError("cancelled") if done.cancelled() else done.exception()
        if error is not None:
            self._fail(record, error)
        self._changed.set()

    def _fail(self, record: OutRecord, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
            self._where = f"{record.topic}[{record.partition}]"
        self._changed.set()

    def _text(self) -> str:
        return f"a record for {self._where} was not accepted by the broker: {self._failure!r}"
