"""The process ``trucban notifier``: alerts in, pushes and deliveries out."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Mapping

import structlog

from notify.apprise_carrier import AppriseCarrier
from notify.carriers import Carrier
from notify.intake import Intake, Now
from notify.kafka import KafkaAlerts, KafkaDeliveries
from notify.outage import Outage, pause
from notify.publisher import Publisher
from notify.rosters import RosterFile
from notify.sender import Sender
from notify.settings import NotifierSettings
from notify.source import AlertSource, DeliverySink
from notify.watch import Fitness, Measures, NoMeasures, watch
from notify.webhook import WebhookCarrier
from oncall import OncallRoster
from schemas.errors import StoreAway
from store.desk import Desk
from store.desk_postgres import PostgresDesk
from store.postgres_engine import connect, migrate

NOBODY = OncallRoster({}, {}, "", {})


def real_now() -> int:
    """Milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def all_carriers() -> dict[str, Carrier]:
    """A carrier for each kind of channel."""
    return {"webhook": WebhookCarrier(), "apprise": AppriseCarrier()}


class Notifier:
    """Intake, sender and publisher on one desk."""

    def __init__(
        self,
        settings: NotifierSettings,
        desk: Desk,
        source: AlertSource,
        sink: DeliverySink,
        carriers: Mapping[str, Carrier],
        *,
        roster: Callable[[], OncallRoster] | None,
        now: Now = real_now,
        drill: Callable[[], bool] = lambda: False,
        measures: Measures | None = None,
    ) -> None:
        self.fitness = Fitness(now)
        self._desk = desk
        self._measures = measures or NoMeasures()
        self._source = source
        self._sink = sink
        self._carriers = carriers
        self._publisher = Publisher(desk, sink, settings)
        self._sender = Sender(
            desk,
            carriers,
            roster=roster or (lambda: NOBODY),
            settings=settings,
            now=now,
            recorded=self._publisher.wake,
            measures=measures,
        )
        self._intake = Intake(
            desk,
            source,
            roster=roster,
            settings=settings,
            now=now,
            written=self._sender.wake,
            drill=drill,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``: attempts under way end, their receipts are stored and published.

        An error in one part ends all of them, and is raised: the process is started again.
        """
        try:
            async with asyncio.TaskGroup() as parts:
                parts.create_task(self._intake.run(stop))
                parts.create_task(self._sender.run(stop))
                parts.create_task(self._publisher.run(stop))
                parts.create_task(watch(self._desk, self.fitness, self._measures, stop))
            await self._publisher.finish()
        except ExceptionGroup as group:  # what went wrong first; the others were told to end
            raise group.exceptions[0] from None
        finally:
            await self._source.close()
            await self._sink.close()
            for carrier in self._carriers.values():
                await carrier.close()


async def run_notifier(
    settings: NotifierSettings,
    stop: asyncio.Event | None = None,
    *,
    drill: Callable[[], bool] = lambda: False,
    measures: Measures | None = None,
    begun: Callable[[Fitness], object] = lambda _fitness: None,
) -> None:
    """Run the notifier until SIGTERM or SIGINT (or ``stop``).

    ``begun`` is given what can be asked how it fares, before it runs.
    ``drill`` tells, when the log is there, whether the stack is a demo; it may raise `BrokerAway`.

    Raises `DocumentError` if ``oncall.yaml`` is bad from the start, `SettingsError` for an address
    that cannot be used, `StoreError` if the database belongs to a newer version, `LogLost` if the
    log of alerts ends before the stored position.
    """
    log: structlog.stdlib.BoundLogger = structlog.get_logger("notify")
    ending = stop or asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    roster = RosterFile(settings.oncall) if settings.oncall else None
    if roster is None:
        log.warning("no on-call roster is given: nobody is told of anything")
    engine = connect(settings.database)
    try:
        if not await _migrated(lambda: migrate(engine), settings, ending):
            return
        notifier = Notifier(
            settings,
            PostgresDesk(engine),
            KafkaAlerts(settings.broker),
            KafkaDeliveries(settings.broker),
            all_carriers(),
            roster=roster,
            drill=drill,
            measures=measures,
        )
        begun(notifier.fitness)
        log.info("notifier started")
        await notifier.run(ending)
        log.info("notifier stopped")
    finally:
        engine.dispose()


async def _migrated(apply: Callable[[], list[str]], settings: NotifierSettings, stop: asyncio.Event) -> bool:
    """Wait for PostgreSQL and bring its tables up to date; False if a stop came first."""
    store = Outage("PostgreSQL")
    while not stop.is_set():
        try:
            await asyncio.to_thread(apply)
        except StoreAway as error:
            store.begins(error)
            await pause(stop, settings.poll_seconds)
        else:
            store.ended()
            return True
    return False
