"""Running a worker: signals, the end, and what is said about it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from aiokafka.errors import KafkaConnectionError

from schemas.errors import BrokerAway, LogError, TrucbanError
from streams.app import Cores, WorkerApp, WorkerSettings

log = logging.getLogger(__name__)

PATIENCE = 15.0
"""Seconds for a clean stop; then the process ends without one, which loses nothing."""


def run_worker(settings: WorkerSettings, cores: Cores, *, on_ready: Callable[[], None] | None = None) -> None:
    """Run a worker until SIGTERM or SIGINT; then snapshot, leave the group and return.

    Raises:
        TrucbanError: the worker cannot go on; its text says why in one sentence.
        Exception: a fault of a core, as it was raised.
    """
    _collect_rarely()
    asyncio.run(serve(WorkerApp(settings, cores.shapes()), on_ready=on_ready, leave=leave_process))


def _collect_rarely() -> None:
    """Look for cycles less often: batches make many objects, all without cycles and all short-lived,
    and looking through them took more time than taking them out of Kafka's format."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


async def serve(
    app: WorkerApp,
    *,
    on_ready: Callable[[], None] | None = None,
    leave: Callable[[], None] | None = None,
) -> None:
    """Run an app until a signal, a failure of a driver or a crash of Faust.

    ``leave`` ends the process where the app cannot be stopped within `PATIENCE`, see `_end`.
    """
    loop = asyncio.get_running_loop()
    app.failure = loop.create_future()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    running = loop.create_task(_run(app, on_ready))
    stopping = loop.create_task(stop.wait())
    waits: set[asyncio.Future[Any]] = {app.failure, stopping, running}
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    ended = running.exception() if running.done() else None
    if (error := _error(app, ended)) is not None:
        log.error("the worker ends: %s", error)  # said before anything can hang
    await _end(app, running, PATIENCE if stop.is_set() else 2.0, leave)
    if (error := error or _error(app, ended)) is not None:
        raise error


async def _run(app: WorkerApp, on_ready: Callable[[], None] | None) -> None:
    await app.start()
    if on_ready is not None:
        on_ready()
    await app.wait_until_stopped()


async def _end(
    app: WorkerApp, running: asyncio.Task[None], patience: float, leave: Callable[[], None] | None
) -> None:
    """Stop the app. Trap: mode's threads are waited for with a call that blocks the event loop, and
    aiokafka's may wait for ever for a broker that is away; so a timer outside of the loop watches."""
    last_resort = threading.Timer(PATIENCE + 1.0, leave or (lambda: None))
    last_resort.daemon = True
    last_resort.start()
    try:
        async with asyncio.timeout(patience):
            await app.stop()
        last_resort.cancel()
    except TimeoutError:
        log.warning("the worker did not stop in %g s", patience)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def leave_process() -> None:
    """End the process at once. What was not in a snapshot is replayed by whoever takes over."""
    log.error("the worker did not stop in %g s and is ended: does its broker answer?", PATIENCE)
    logging.shutdown()
    os._exit(1)


def _error(app: WorkerApp, ended: BaseException | None) -> BaseException | None:
    """Why the app ended, if not by a signal: a driver's failure as it is, else what Faust crashed with."""
    if app.failure is not None and app.failure.done():
        return app.failure.result()
    reason = ended or app.crash_reason
    return None if reason is None else _as_error(app, reason)


def _as_error(app: WorkerApp, reason: BaseException) -> BaseException:
    """Faust crashes with whatever its parts raised: one sentence for each kind."""
    if isinstance(reason, TrucbanError):
        return reason
    error = LogError(f"the worker cannot go on: {reason!r}")
    if isinstance(reason, KafkaConnectionError):
        error = BrokerAway(f"no Kafka broker answers at {app.settings.broker}")
    error.__cause__ = reason
    return error
