"""A real notifier process that kills itself (SIGKILL) at a chosen step. Run with ``python -m``.

The argument is JSON: ``broker``, ``database``, ``oncall``, ``alerts`` and ``deliveries`` (topics),
``step`` (such as ``take:before``, ``send:after``; empty: never) and ``count`` (at its how-manieth time).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from notify import Notifier, NotifierSettings
from notify.apprise_carrier import AppriseCarrier
from notify.carriers import Answer, Carrier, Message
from notify.kafka import KafkaAlerts, KafkaDeliveries
from notify.rosters import RosterFile
from notify.webhook import WebhookCarrier
from schemas.wire import Delivery
from store.desk_postgres import PostgresDesk
from store.postgres_engine import connect, migrate

STEPS = [
    f"{step}:{when}"
    for step in ("take", "lease", "send", "receipt", "publish", "published")
    for when in ("before", "after")
]


@dataclass
class Death:
    """Kills the process when its step comes for the ``count``-th time."""

    step: str
    count: int

    def comes(self, step: str) -> None:
        """The process is at this step."""
        if step == self.step:
            self.count -= 1
            if self.count <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


class DyingDesk(PostgresDesk):
    """The desk, with a death before and after what counts."""

    death: Death

    def _around(self, step: str, work: Callable[..., Any], *args: Any, **named: Any) -> Any:
        self.death.comes(f"{step}:before")
        result = work(*args, **named)
        if result or step != "lease":  # an empty lease is no step
            self.death.comes(f"{step}:after")
        return result

    def take(self, *args: Any, **named: Any) -> Any:
        return self._around("take", super().take, *args, **named)

    def lease(self, *args: Any, **named: Any) -> Any:
        return self._around("lease", super().lease, *args, **named)

    def receipt(self, *args: Any, **named: Any) -> Any:
        return self._around("receipt", super().receipt, *args, **named)

    def published(self, *args: Any, **named: Any) -> Any:
        return self._around("published", super().published, *args, **named)


class DyingCarrier:
    """A carrier with a death before and after it sends."""

    def __init__(self, carrier: Carrier, death: Death) -> None:
        self._carrier, self._death = carrier, death

    async def send(self, message: Message) -> Answer:
        self._death.comes("send:before")
        answer = await self._carrier.send(message)
        self._death.comes("send:after")
        return answer

    async def close(self) -> None:
        await self._carrier.close()


class DyingSink(KafkaDeliveries):
    """The topic of deliveries with a death before and after its acknowledgement."""

    death: Death

    async def publish(self, deliveries: Sequence[Delivery]) -> None:
        self.death.comes("publish:before")
        await super().publish(deliveries)
        self.death.comes("publish:after")


async def main(options: dict[str, Any]) -> None:
    """Run until SIGTERM, or the chosen death."""
    death = Death(options["step"], options["count"])
    settings = NotifierSettings(
        broker=options["broker"],
        database=options["database"],
        oncall=Path(options["oncall"]),
        batch=options.get("batch", 5),
        lease_seconds=options.get("lease", 2.0),
        send_seconds=0.8,
        retry_seconds=0.05,
        poll_seconds=0.05,
    )
    engine = connect(settings.database)
    migrate(engine)
    desk, sink = DyingDesk(engine), DyingSink(settings.broker, options["deliveries"])
    desk.death = sink.death = death
    carriers: dict[str, Carrier] = {
        "webhook": DyingCarrier(WebhookCarrier(), death),
        "apprise": DyingCarrier(AppriseCarrier(), death),
    }
    notifier = Notifier(
        settings,
        desk,
        KafkaAlerts(settings.broker, options["alerts"]),
        sink,
        carriers,
        roster=RosterFile(Path(options["oncall"])),
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print("ready", flush=True)
    await notifier.run(stop)
    engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
