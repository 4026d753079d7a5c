"""The processes of an installation, each run by one command."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import threading
from pathlib import Path
from types import FrameType

from schemas.errors import SettingsError
from trucban.addresses import (
    CLOCK_FILE,
    RULES_FILE,
    TOPICS_FILE,
    broker_address,
    clickhouse_url,
    console_url,
    database_url,
    process_ports,
    run_directory,
)
from trucban.logs import configure_logs
from trucban.metrics import CONSOLE_RECORDS, CONSOLE_STREAMS, Meter, serve_metrics
from trucban.settings import Settings

PATIENCE = 60.0
"""How long a process waits for `up` to write an address, in seconds."""


def worker(settings: Settings, args: argparse.Namespace) -> int:
    """Run the agents until SIGTERM."""
    # Batches are small for Polars: its threads cost more than they give. More cores: more workers.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    meter = begin(settings, args.name or "worker")
    from rules.engine.correlate import CorrelateCore
    from rules.engine.count import CountCore
    from rules.engine.judge import JudgeCore
    from schemas.topics import judge_partitions
    from schemas.wire import CoreOptions
    from streams.app import Cores, WorkerSettings
    from streams.running import run_worker
    from trucban.core_metrics import CoreWatch

    cores = CoreWatch()
    meter.registry.register(cores)
    options = CoreOptions(settings.partitions, judge_partitions(settings.partitions))
    name = args.name or f"{socket.gethostname()}-{os.getpid()}"
    directory = settings.data_dir / "faust" / name
    directory.mkdir(parents=True, exist_ok=True)
    run_worker(
        WorkerSettings(
            broker=broker_address(settings),
            partitions=settings.partitions,
            data_dir=directory,
            member_id=args.name,
            metrics=meter,
        ),
        Cores(
            count=lambda partition: cores.watch(CountCore(partition, options)),
            judge=lambda partition: JudgeCore(partition, options),
            correlate=lambda partition: CorrelateCore(partition, options),
        ),
    )
    return 0


def notifier(settings: Settings, args: argparse.Namespace) -> int:
    """Decide and deliver until SIGTERM."""
    meter = begin(settings, args.name or "notifier")
    from feeds.outlet import is_drill
    from notify.notifier import run_notifier
    from notify.settings import NotifierSettings
    from trucban.measured import NotifierMeter

    if settings.oncall is not None:
        _must_exist(settings.oncall, "oncall")
    broker = broker_address(settings)
    chosen = NotifierSettings(
        broker=broker,
        database=database_url(settings, PATIENCE),
        oncall=settings.oncall,
        public_url=console_url(settings),
    )
    measured = NotifierMeter(meter)
    asyncio.run(
        run_notifier(chosen, drill=lambda: is_drill(broker), measures=measured, begun=measured.follow)
    )
    return 0


def console(settings: Settings, args: argparse.Namespace) -> int:
    """Serve the wall until SIGTERM."""
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    meter = begin(settings, args.name or "console")
    from console.files import read_files_state
    from console.server import ConsoleSettings, run_console

    def report(records: int, streams: int) -> None:
        meter.add(CONSOLE_RECORDS, records)
        meter.set(CONSOLE_STREAMS, streams)

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        chosen = ConsoleSettings(
            broker=broker_address(settings),
            clickhouse=lambda: clickhouse_url(settings),
            process_ports=lambda: process_ports(settings),
            files=lambda: read_files_state(run_directory(settings) / RULES_FILE),
            data_dir=str(settings.data_dir),
            host=settings.host,
            port=settings.console_port,
        )
        await run_console(chosen, meter.registry, stop, report=report)

    asyncio.run(serve())
    return 0


def pulse(settings: Settings, args: argparse.Namespace) -> int:
    """Tell rules, reference data and time until SIGTERM."""
    meter = begin(settings, args.name or "pulse")
    from rules.load import CATALOGUE
    from trucban.pulse import PulseSettings, run_pulse

    for name in ("rules", "reference"):
        if (path := getattr(settings, name)) is not None:
            _must_exist(path, name)
    run_pulse(
        PulseSettings(
            broker=broker_address(settings),
            partitions=settings.partitions,
            clock=settings.clock_spec,
            rules=settings.rules or CATALOGUE,
            reference=settings.reference,
            clock_file=run_directory(settings) / CLOCK_FILE,
            ready_file=run_directory(settings) / TOPICS_FILE,
            fed=settings.feed == "day",
            state_file=run_directory(settings) / RULES_FILE,
        ),
        meter,
        stop_at_signals(),
    )
    return 0


def archiver(settings: Settings, args: argparse.Namespace) -> int:
    """Write the log into ClickHouse until SIGTERM."""
    meter = begin(settings, args.name or "archiver")
    from streams.archiver import run_archiver
    from trucban.measured import ArchiverMeter

    measured = ArchiverMeter(meter)
    run_archiver(
        broker_address(settings),
        clickhouse_url(settings, PATIENCE),
        wrote=measured.wrote,
        begun=measured.follow,
    )
    return 0


def broker(settings: Settings, args: argparse.Namespace) -> int:
    """Run the embedded broker until SIGTERM."""
    begin(settings, args.name or "broker")
    from streams.broker.process import run_broker

    asyncio.run(run_broker(settings.data_dir, settings.broker_port, host=settings.host))
    return 0


def clickhouse(settings: Settings, args: argparse.Namespace) -> int:
    """Run the embedded ClickHouse until SIGTERM."""
    begin(settings, args.name or "clickhouse")
    from store.clickhouse.server import run_clickhouse

    run_clickhouse(settings.data_dir, settings.clickhouse_port, host=settings.host)
    return 0


def postgres(settings: Settings, args: argparse.Namespace) -> int:
    """Run the embedded PostgreSQL until SIGTERM."""
    begin(settings, args.name or "postgres")
    from store.postgres import run_postgres

    return run_postgres(settings.data_dir)


def stop_at_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    return stop


def begin(settings: Settings, name: str) -> Meter:
    """Logs and metrics of a process."""
    configure_logs(process=name, form=settings.log_format, level=settings.log_level)
    meter = Meter()
    serve_metrics(meter, settings.metrics_port)
    return meter


def _must_exist(path: Path, name: str) -> None:
    if not path.exists():
        raise SettingsError(f"setting {name}: there is no {path}")
