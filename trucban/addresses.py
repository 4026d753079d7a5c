"""Where the servers of an installation are: from the settings, else from what `up` wrote under ``run``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from schemas.errors import SettingsError
from trucban.settings import Settings

CLICKHOUSE_FILE = "clickhouse.url"
DATABASE_FILE = "database.url"
BROKER_FILE = "broker.address"
METRICS_FILE = "metrics.json"
TOPICS_FILE = "topics"
CLOCK_FILE = "clock"
"""The newest business time told, ms."""
FED_FILE = "fed"
"""Is there when what was before the simulated day's start is sent and counted."""
RULES_FILE = "rules.json"
"""What became of the rule and reference files, as pulse last read them."""


def run_directory(settings: Settings) -> Path:
    """Where pid files and addresses are."""
    return settings.data_dir / "run"


def broker_address(settings: Settings) -> str:
    """HOST:PORT of Kafka: the setting, the broker of `up` with this data directory, or the usual port."""
    written = _text(run_directory(settings) / BROKER_FILE)
    return settings.broker or written or f"127.0.0.1:{settings.broker_port}"


def clickhouse_url(settings: Settings, patience: float = 0.0) -> str:
    """URL of ClickHouse, with credentials. Waits up to ``patience`` seconds for `up` to write it."""
    return settings.clickhouse or _written(settings, CLICKHOUSE_FILE, "--clickhouse", patience)


def database_url(settings: Settings, patience: float = 0.0) -> str:
    """URL of PostgreSQL, with credentials. Waits up to ``patience`` seconds for `up` to write it."""
    return settings.database or _written(settings, DATABASE_FILE, "--database", patience)


def console_url(settings: Settings) -> str:
    """Where people reach the console: the root of the links in pushes."""
    return settings.public_url.rstrip("/") or f"http://{settings.host}:{settings.console_port}"


def process_ports(settings: Settings) -> dict[str, int]:
    """Metrics port of each process of `up` with this data directory; 0: it has none."""
    text = _text(run_directory(settings) / METRICS_FILE)
    ports: dict[str, int] = json.loads(text) if text else {}
    return ports


def _written(settings: Settings, name: str, option: str, patience: float) -> str:
    path = run_directory(settings) / name
    if wait_until(lambda: bool(_text(path)), patience):
        return _text(path)
    raise SettingsError(f"{path} is not there: run `trucban up` with this data directory, or give {option}")


def wait_until(holds: Callable[[], bool], patience: float, step: float = 0.1) -> bool:
    """Whether something comes true within ``patience`` seconds of real time."""
    deadline = time.monotonic() + patience
    while not holds():
        if time.monotonic() >= deadline:
            return False
        time.sleep(step)
    return True


def read_clock(path: Path) -> int | None:
    """The newest business time told (ms) as its file holds it, None before the first."""
    text = _text(path)
    return int(text) if text else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
