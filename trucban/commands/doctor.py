"""``trucban doctor``: what this machine and this installation lack, and what to do about it."""

from __future__ import annotations

import argparse
import fcntl
import importlib.metadata
import json
import os
import shutil
import sys
import tempfile
import time
import zoneinfo
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from schemas.errors import DocumentError, StoreAway, SupervisionError
from trucban import checkup
from trucban.addresses import broker_address, clickhouse_url, database_url, run_directory
from trucban.checkup import Finding
from trucban.commands.up import claims
from trucban.rundir import check_ports
from trucban.settings import Settings

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Print the findings; 1 where one is an error."""
    findings = list(look(settings))
    errors = sum(finding.level == "error" for finding in findings)
    if args.json:
        shown = [asdict(finding) for finding in findings]
        print(json.dumps({"findings": shown, "errors": errors}, ensure_ascii=False, indent=2))
    else:
        print(render(findings))
    return 1 if errors else 0


def render(findings: list[Finding]) -> str:
    """The report for people."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<8} " + finding.what.replace("\n", f"\n{'':9}"))
        if finding.do:
            lines.append(f"{'':8} → {finding.do}")
    errors = sum(finding.level == "error" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    counted = [f"errors: {errors}"] * bool(errors) + [f"warnings: {warnings}"] * bool(warnings)
    lines.append(", ".join(counted) or "all is well")
    return "\n".join(lines)


def look(settings: Settings) -> Iterator[Finding]:
    """Ask the machine, and the servers where a stack runs."""
    yield checkup.python(sys.version_info[:3])
    yield from checkup.libraries(importlib.metadata.requires("trucban") or [], _version_of)
    yield from _data_directory(settings)
    yield from checkup.clock(time.time_ns() // 1_000_000, _told(settings), zone_known=_zone_known())
    yield from _documents(settings)
    yield from _servers(settings)
    yield checkup.program("Java", shutil.which("java"), "the tests on Apache Kafka")
    yield checkup.program("Maven", shutil.which("mvn"), "the tests on Apache Kafka")
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    yield checkup.program("Chromium", chromium, "the tests of the console's pages")


def _version_of(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _data_directory(settings: Settings) -> Iterator[Finding]:
    where = settings.data_dir.absolute()
    existing = next(path for path in (where, *where.parents) if path.exists())
    holder = holder_of(where)
    yield checkup.directory(where, _write_fault(existing), holder)
    yield checkup.disk(shutil.disk_usage(existing).free, existing)
    if not holder:
        wanted = claims(settings)
        faults = []
        for claim in wanted:
            try:
                check_ports([claim], patience=0)
            except SupervisionError as error:
                faults.append(str(error))
        yield from checkup.ports(faults, len(wanted))


def _write_fault(directory: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=directory):
            return ""
    except OSError as error:
        return os.strerror(error.errno or 0)


def holder_of(data_dir: Path) -> str:
    """Pid of the `trucban up` that holds a data directory; empty: none does."""
    try:
        with (data_dir / "run" / "lock").open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return ""
    except BlockingIOError:
        return (data_dir / "run" / "lock").read_text(encoding="utf-8").strip() or "not known"
    except OSError:
        return ""


def _told(settings: Settings) -> int | None:
    """The business time that a wall clock told last, ms; None where there is none to compare with."""
    if settings.clock != "wall":
        return None
    try:
        return int((run_directory(settings) / "clock").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _zone_known() -> bool:
    try:
        zoneinfo.ZoneInfo(checkup.ZONE)
    except zoneinfo.ZoneInfoNotFoundError:
        return False
    return True


def _documents(settings: Settings) -> Iterator[Finding]:
    yield checkup.documents("rules", lambda: _rules(settings))
    if settings.reference is not None:
        yield checkup.documents("reference data", lambda: _reference(settings))
    if settings.oncall is not None:
        yield checkup.documents("on-call file", lambda: _oncall(settings))
    else:
        do = "give --oncall; docs/oncall.md describes the file"
        yield Finding("warning", "no on-call file is given: nobody is told of anything", do)


def _rules(settings: Settings) -> str:
    from rules.check import check
    from rules.load import CATALOGUE, load_rules

    files = load_rules(settings.rules or CATALOGUE)
    if faults := check(files):
        raise DocumentError(faults)
    return f"{len(files)} files without fault"


def _reference(settings: Settings) -> str:
    from schemas.reference import load_reference

    assert settings.reference is not None
    load_reference(settings.reference)
    return f"{settings.reference} without fault"


def _oncall(settings: Settings) -> str:
    from oncall import load_roster

    assert settings.oncall is not None
    roster = load_roster(settings.oncall)
    return f"{len(roster.people)} people, {len(roster.targets)} targets"


def _servers(settings: Settings) -> Iterator[Finding]:
    """Those of a stack that runs here, and those whose address was given."""
    up = bool(holder_of(settings.data_dir.absolute()))
    if up or settings.broker:
        yield checkup.server("Kafka", lambda: _broker(settings))
    if up or settings.clickhouse:
        yield checkup.server("ClickHouse", lambda: _clickhouse(settings))
    if up or settings.database:
        yield checkup.server("PostgreSQL", lambda: _postgres(settings))


def _broker(settings: Settings) -> str:
    from feeds.outlet import count_partitions

    address = broker_address(settings)
    return f"{count_partitions(address)} partitions at {address}"


def _clickhouse(settings: Settings) -> str:
    import logging

    from store.clickhouse.client import ClickHouse

    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)  # what it says is in the report
    client = ClickHouse(clickhouse_url(settings), timeout=5)
    try:
        return f"version {client.query('SELECT version()')[0][0]}"
    finally:
        client.close()


def _postgres(settings: Settings) -> str:
    from sqlalchemy import text

    from store.postgres_engine import connect, transaction

    engine = connect(database_url(settings))
    try:
        with transaction(engine) as connection:
            return f"version {connection.execute(text('SHOW server_version')).scalar()}"
    except StoreAway as error:
        raise StoreAway(str(error).removeprefix("PostgreSQL ")) from error
    finally:
        engine.dispose()
