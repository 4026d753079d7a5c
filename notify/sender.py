"""Delivering what is due: lease, send, receipt."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping

import structlog

from notify.backoff import Backoff
from notify.carriers import Answer, Carrier, Message
from notify.intake import Now
from notify.outage import Outage, pause
from notify.settings import NotifierSettings
from notify.watch import Measures, NoMeasures
from oncall import OncallRoster, Recipient
from schemas.errors import StoreAway
from store.desk import Desk, Push, Receipt

SECOND = 1000


class Sender:
    """Leases due pushes and sends each in a task of its own, until stopped.

    A push it holds, it does not lease again, however long its receipt takes to be stored.
    """

    def __init__(
        self,
        desk: Desk,
        carriers: Mapping[str, Carrier],
        *,
        roster: Callable[[], OncallRoster],
        settings: NotifierSettings,
        now: Now,
        recorded: Callable[[], None],
        measures: Measures | None = None,
    ) -> None:
        self._desk = desk
        self._carriers = carriers
        self._roster = roster
        self._settings = settings
        self._now = now
        self._recorded = recorded
        self._measures = measures or NoMeasures()
        self._backoff = Backoff(settings.retry_seconds, settings.retry_cap_seconds, settings.seed)
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger("notify")
        self._store = Outage("PostgreSQL")
        self._held: dict[str, Push] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault: BaseException | None = None
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something new stands in the outbox."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``; then attempts under way get `NotifierSettings.stop_seconds` to end.

        Raises what the store refuses for good (`StoreError`).
        """
        try:
            while not stop.is_set():
                self._wake.clear()
                if self._fault is not None:
                    raise self._fault
                if not await self._lease(stop):
                    await self._rest(stop)
        finally:
            await self._finish()

    async def _lease(self, stop: asyncio.Event) -> int:
        free = self._settings.sending - len(self._held)
        if free <= 0:
            return 0
        now = self._now()
        try:
            pushes = await asyncio.to_thread(
                self._desk.lease,
                now=now,
                until=now + round(self._settings.lease_seconds * SECOND),
                limit=free,
                per_recipient=self._settings.sending_per_recipient,
                holding=list(self._held),
                busy=self._busy(),
            )
        except StoreAway as error:
            self._store.begins(error)
            return 0
        self._store.ended()
        for push in pushes:
            self._held[push.id] = push
            task = asyncio.create_task(self._attempt(push, stop))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        return len(pushes)

    def _busy(self) -> list[Recipient]:
        counts = Counter(push.recipient for push in self._held.values())
        most = self._settings.sending_per_recipient
        return [recipient for recipient, count in counts.items() if count >= most]

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._fault = task.exception()
        self._wake.set()

    async def _rest(self, stop: asyncio.Event) -> None:
        """Until something new was written, an attempt has ended, it is time to look again, or a stop."""
        waits = [asyncio.ensure_future(self._wake.wait()), asyncio.ensure_future(stop.wait())]
        await asyncio.wait(waits, timeout=self._settings.poll_seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _attempt(self, push: Push, stop: asyncio.Event) -> None:
        try:
            if self._now() < push.lease_until:  # else it stood still too long and has lost it
                answer = await self._send(push)
                channel = self._roster().channel(push.person, push.channel)
                self._measures.attempted(channel.kind if channel else "gone", answer.outcome)
                await self._record(self._receipt(push, answer), stop)
        finally:
            self._held.pop(push.id, None)

    async def _send(self, push: Push) -> Answer:
        channel = self._roster().channel(push.person, push.channel)
        if channel is None:
            return Answer("failed", "the person or the channel is no longer in the roster")
        message = Message(push.id, channel, push.payload, self._now() // SECOND)
        try:
            async with asyncio.timeout(self._settings.send_seconds):
                return await self._carriers[channel.kind].send(message)
        except TimeoutError:
            return Answer("retry", f"no answer within {self._settings.send_seconds:g} s")
        except Exception as error:  # noqa: BLE001 - a fault in one channel must not end the others
            self._log.exception("a channel failed in an unforeseen way", kind=channel.kind, push=push.id)
            return Answer("retry", f"unforeseen: {type(error).__name__}")

    def _receipt(self, push: Push, answer: Answer) -> Receipt:
        at = self._now()
        if answer.outcome != "retry":
            return Receipt(push.id, push.attempt, answer.outcome, answer.detail, at)
        wait = self._backoff.wait(push.attempt, answer.retry_after)
        age = (at - push.created_at) / SECOND
        if age + wait > self._settings.give_up_seconds:
            detail = f"{answer.detail}; given up after {age:.0f} s"
            return Receipt(push.id, push.attempt, "failed", detail, at)
        return Receipt(push.id, push.attempt, "retry", answer.detail, at, at + round(wait * SECOND))

    async def _record(self, receipt: Receipt, stop: asyncio.Event) -> None:
        while True:
            try:
                await asyncio.to_thread(self._desk.receipt, receipt)
            except StoreAway as error:
                self._store.begins(error)
                if stop.is_set():
                    await asyncio.sleep(self._settings.poll_seconds)  # bounded by the stop's own time
                else:
                    await pause(stop, self._settings.poll_seconds)
            else:
                self._store.ended()
                self._recorded()
                self._report(receipt)
                return

    def _report(self, receipt: Receipt) -> None:
        say = self._log.error if receipt.outcome == "failed" else self._log.info
        say("push " + receipt.outcome, push=receipt.id, attempt=receipt.attempt, detail=receipt.detail)

    async def _finish(self) -> None:
        tasks = set(self._tasks)
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=self._settings.stop_seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
