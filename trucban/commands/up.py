"""``trucban up``: everything on one machine, supervised."""

from __future__ import annotations

import argparse
import json
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from schemas.errors import SettingsError
from store.clickhouse.credentials import write_address
from trucban.addresses import (
    BROKER_FILE,
    CLICKHOUSE_FILE,
    DATABASE_FILE,
    FED_FILE,
    METRICS_FILE,
    TOPICS_FILE,
    console_url,
    run_directory,
)
from trucban.commands.table import COMMANDS
from trucban.logs import configure_logs
from trucban.rundir import PortClaim, check_ours, check_ports, empty, end_leftovers, locked
from trucban.settings import Settings, option_of, variable_of
from trucban.supervise import ChildSpec, Supervisor

SECRET = ("clickhouse", "database")
"""Go to children by the environment: everybody may read a process's arguments."""
_SINGLE = ("broker", "clickhouse", "postgres", "pulse", "archiver", "notifier", "console", "feed")
_FIRST_WORKER_PORT = 9
PROBE_SECONDS = 0.2


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Supervise until SIGTERM or SIGINT."""
    if settings.feed == "day" and (settings.reference is None or settings.clock == "data"):
        raise SettingsError("--feed day needs --reference, and a clock that runs by itself (not data)")
    _check_files(settings)
    configure_logs(process="up", form=settings.log_format, level=settings.log_level)
    settings = settings.model_copy(update={"data_dir": settings.data_dir.resolve()})
    specs = plan(settings)
    if args.fresh:
        check_ours(settings.data_dir)
    with locked(settings.data_dir):
        end_leftovers(settings.data_dir)
        check_ports(claims(settings))
        if args.fresh:
            empty(settings.data_dir)
        # What the children write afresh must not be there from the last time.
        for name in (TOPICS_FILE, FED_FILE):
            (run_directory(settings) / name).unlink(missing_ok=True)
        write_addresses(settings)
        print(_greeting(settings), flush=True)
        Supervisor(settings.data_dir, specs).run()
    return 0


def names(settings: Settings) -> list[str]:
    """Names of the processes that these settings ask for."""
    left_out = {
        name
        for name, outside in (
            ("broker", settings.broker),
            ("clickhouse", settings.clickhouse),
            ("postgres", settings.database),
            ("feed", settings.feed == "none"),
        )
        if outside
    }
    single = [name for name in _SINGLE if name not in left_out]
    return [*single, *(f"worker-{number}" for number in range(1, settings.workers + 1))]


def metrics_port(settings: Settings, name: str) -> int:
    """Port of a process's metrics: 8601… for the single ones, from 8611 on for the workers."""
    if settings.metrics_port == 0:
        return 0
    if name in _SINGLE:
        return settings.metrics_port + _SINGLE.index(name)
    return settings.metrics_port + _FIRST_WORKER_PORT + int(name.removeprefix("worker-"))


def plan(settings: Settings) -> list[ChildSpec]:
    """The processes to run. Servers first, then the topics, then those who use them."""
    run = run_directory(settings)
    ready: Mapping[str, Callable[[], bool]] = {
        "broker": lambda: _listens(settings.host, settings.broker_port),
        "clickhouse": lambda: _listens(settings.host, settings.clickhouse_port),
        "postgres": lambda: _answers_at(run / DATABASE_FILE),
        "pulse": (run / TOPICS_FILE).exists,
        "console": lambda: _listens(settings.host, settings.console_port),
        "feed": (run / FED_FILE).exists,
    }
    order = {"broker": 0, "clickhouse": 0, "postgres": 0, "pulse": 1}
    says = {
        "console": f"the wall is at {console_url(settings)}/",
        "feed": "what was before the simulated day's start is counted, its clock goes",
    }
    secrets = {variable_of(name): value for name in SECRET if (value := getattr(settings, name))}
    return [
        ChildSpec(
            name=name,
            argv=arguments(settings, name),
            env=secrets,
            ready=ready.get(name),
            order=order.get(name, 2),
            says=says.get(name, ""),
        )
        for name in names(settings)
    ]


def arguments(settings: Settings, name: str) -> list[str]:
    """Command line of a child: every setting it takes, said out loud."""
    kind = name.partition("-")[0]
    command = next(command for command in COMMANDS if command.name == kind)
    values = {setting: getattr(settings, setting) for setting in command.settings if setting not in SECRET}
    if "broker" in values:
        values["broker"] = settings.broker or f"{settings.host}:{settings.broker_port}"
    values["metrics_port"] = metrics_port(settings, name)
    argv = [sys.executable, "-m", "trucban", kind, "--name", name]
    for setting, value in values.items():
        if value not in (None, ""):
            shown = value.resolve() if isinstance(value, Path) else value
            argv += [option_of(setting), str(shown)]
    return argv


def claims(settings: Settings) -> list[PortClaim]:
    """Ports that must be free."""
    wanted = names(settings)
    found = []
    if "broker" in wanted:
        found.append(PortClaim(settings.broker_port, option_of("broker_port"), settings.host))
    if "clickhouse" in wanted:
        found.append(PortClaim(settings.clickhouse_port, option_of("clickhouse_port"), settings.host))
    found.append(PortClaim(settings.console_port, option_of("console_port"), settings.host))
    if settings.metrics_port:
        found += [PortClaim(metrics_port(settings, name), option_of("metrics_port")) for name in wanted]
    return found


def write_addresses(settings: Settings) -> None:
    """Tell the other commands where everything is."""
    run = run_directory(settings)
    run.mkdir(parents=True, exist_ok=True)
    broker = settings.broker or f"{settings.host}:{settings.broker_port}"
    (run / BROKER_FILE).write_text(broker + "\n", encoding="utf-8")
    ports = {name: metrics_port(settings, name) for name in names(settings)}
    (run / METRICS_FILE).write_text(json.dumps(ports) + "\n", encoding="utf-8")
    for name, url in ((CLICKHOUSE_FILE, settings.clickhouse), (DATABASE_FILE, settings.database)):
        if url:
            write_address(run / name, url)


def _check_files(settings: Settings) -> None:
    for name in ("rules", "reference", "oncall"):
        path = getattr(settings, name)
        if path is not None and not path.exists():
            raise SettingsError(f"setting {name}: there is no {path}")


def _greeting(settings: Settings) -> str:
    outside = "outside: " + settings.broker if settings.broker else f"{settings.host}:{settings.broker_port}"
    lines = [
        f"Trực ban: data in {settings.data_dir}, clock {settings.clock}",
        f"  Console     {console_url(settings)}/",
        f"  Kafka       {outside}",
    ]
    if not settings.clickhouse:
        where = f"http://{settings.host}:{settings.clickhouse_port}"
        lines.append(f"  ClickHouse  {where}, credentials in {run_directory(settings) / CLICKHOUSE_FILE}")
    lines += [
        f"  logs        {settings.data_dir / 'log'}",
        f"  feed        the simulated day, scenario {settings.scenario}, seed {settings.seed}"
        if settings.feed == "day"
        else "  No events are fed: use --feed day, `trucban send FILE` or `trucban replay`.",
        "  Ctrl-C stops everything cleanly.",
    ]
    return "\n".join(lines)


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), PROBE_SECONDS).close()
    except OSError:
        return False
    return True


def _answers_at(address: Path) -> bool:
    try:
        url = urlsplit(address.read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return False
    return url.hostname is not None and url.port is not None and _listens(url.hostname, url.port)
