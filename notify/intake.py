"""From the log of alerts to decisions and pushes: one transaction for each batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import structlog

from notify.bundle import bundler
from notify.message import compose
from notify.outage import Outage, pause
from notify.settings import NotifierSettings
from notify.source import AlertSource
from oncall import Decision, History, OncallRoster, decide
from schemas.errors import BrokerAway, StoreAway
from schemas.topics import ALERTS
from schemas.wire import LogBatch, Transition
from store.desk import AlertBatch, Desk, LogPlace, Plan, Planned, StalePosition, Taken, Unreadable

READ_SECONDS = 0.5

Now = Callable[[], int]
"""Milliseconds since the Unix epoch, real time."""


class Intake:
    """Reads alerts on from the stored position; whatever interrupts it, it begins there again."""

    def __init__(
        self,
        desk: Desk,
        source: AlertSource,
        *,
        roster: Callable[[], OncallRoster] | None,
        settings: NotifierSettings,
        now: Now,
        written: Callable[[], None],
        drill: Callable[[], bool] = lambda: False,
    ) -> None:
        self._desk = desk
        self._source = source
        self._roster = roster
        self._settings = settings
        self._now = now
        self._written = written
        self._ask_drill = drill
        self._drill = False
        self._bundle = bundler(settings.public_url)
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger("notify")
        self._broker = Outage("Kafka")
        self._store = Outage("PostgreSQL")
        self._place: LogPlace | None = None
        self._position = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``. Raises `LogLost` where the log ends before the stored position."""
        while not stop.is_set():
            try:
                await self.step()
            except StalePosition:
                self._place = None
            except BrokerAway as error:
                self._place = None
                self._broker.begins(error)
                await pause(stop, self._settings.poll_seconds)
            except StoreAway as error:
                self._place = None
                self._store.begins(error)
                await pause(stop, self._settings.poll_seconds)

    async def step(self) -> None:
        """Read one batch and decide it."""
        if self._place is None:
            self._place = await self._begin()
        batch = await self._source.read(self._settings.batch, READ_SECONDS)
        if len(batch):
            batch = await self._gather(batch)
        self._broker.ended()
        if len(batch):
            await self._take(self._place, batch)

    async def _gather(self, batch: LogBatch) -> LogBatch:
        """What comes within a moment belongs together: many alerts at once are then one push.

        Nothing is waited for where a P1 came.
        """
        ends = asyncio.get_running_loop().time() + self._settings.gather_seconds
        while len(batch) < self._settings.batch and not any(map(_is_urgent, batch.values)):
            left = ends - asyncio.get_running_loop().time()
            if left <= 0:
                break
            more = await self._source.read(self._settings.batch - len(batch), left)
            batch = _joined(batch, more)
        return batch

    async def _begin(self) -> LogPlace:
        place = LogPlace(ALERTS, 0, await self._source.epoch())
        self._drill = await asyncio.to_thread(self._ask_drill)
        self._position = await asyncio.to_thread(self._desk.position, place)
        self._store.ended()
        await self._source.seek(self._position)
        return place

    async def _take(self, place: LogPlace, records: LogBatch) -> None:
        if records.offsets[0] > self._position:
            # Only retention takes records away; the epoch tells a new log from an old one.
            self._log.error(
                "alerts are gone from the log before they were decided",
                first=self._position,
                last=records.offsets[0] - 1,
            )
        batch = read_batch(place, self._position, records)
        taken = await asyncio.to_thread(
            self._desk.take, batch, self._plan(), now=self._now(), bundle=self._bundle
        )
        self._store.ended()
        self._position = batch.next
        self._report(batch, taken)
        if taken.pushes:
            self._written()

    def _plan(self) -> Plan:
        if self._roster is None:
            return _tell_nobody
        return planner(self._roster(), self._settings.public_url, self._now(), drill=self._drill)

    def _report(self, batch: AlertBatch, taken: Taken) -> None:
        for item in batch.unreadable:
            self._log.error(
                "an alert cannot be read and is kept aside", offset=item.offset, reason=item.reason
            )
        self._log.info(
            "decided",
            transitions=len(batch.transitions) - taken.repeated,
            repeated=taken.repeated,
            decisions=len(taken.decisions),
            pushes=taken.pushes,
            position=batch.next,
        )


def read_batch(place: LogPlace, start: int, records: LogBatch) -> AlertBatch:
    """Transitions of log records; those that are none are kept as they came."""
    transitions: list[Transition] = []
    unreadable: list[Unreadable] = []
    for offset, value in zip(records.offsets, records.values, strict=True):
        if value is None:
            continue
        try:
            transitions.append(msgspec.json.decode(value, type=Transition))
        except msgspec.MsgspecError as error:
            unreadable.append(Unreadable(offset, str(error), value))
    return AlertBatch(place, start, records.offsets[-1] + 1, tuple(transitions), tuple(unreadable))


def _tell_nobody(_transition: Transition, _history: History) -> Sequence[Planned]:
    return ()


def planner(roster: OncallRoster, public_url: str, now: int, *, drill: bool = False) -> Plan:
    """Decides transitions with a roster, and composes what is due."""

    def planned(transition: Transition, decision: Decision, history: History) -> Planned:
        if decision.outcome != "pushed":
            return Planned(decision)
        person = roster.people[decision.person]
        payload = compose(transition, decision, person, public_url, drill=drill)
        before = history.told(transition.alert).get(decision.recipient)
        return Planned(decision, payload, (before,) if before else ())

    def plan(transition: Transition, history: History) -> Sequence[Planned]:
        decisions = decide(transition, roster, now, history)
        return [planned(transition, decision, history) for decision in decisions]

    return plan


def _is_urgent(value: bytes | None) -> bool:
    return value is not None and b'"severity":"P1"' in value


def _joined(one: LogBatch, other: LogBatch) -> LogBatch:
    return LogBatch(
        one.partition,
        one.offsets + other.offsets,
        one.keys + other.keys,
        one.values + other.values,
        [*one.headers, *other.headers],
        one.timestamps + other.timestamps,
    )
