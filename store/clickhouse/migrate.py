"""Numbered migrations of the archive: ``store/migrations/clickhouse/NNNN_name.sql``, in order, once each.

ClickHouse has no transactional DDL, so every statement in a file may be run again: a crash in the
middle of a file is repaired by running it from its start.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import StoreError
from store.clickhouse.client import ClickHouse

FOLDER = Path(__file__).parent.parent / "migrations" / "clickhouse"

_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_RECORD = """
CREATE TABLE IF NOT EXISTS trucban.migrations
(
    number UInt32,
    name String,
    digest String,
    applied_at DateTime64(3, 'Asia/Ho_Chi_Minh') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree
ORDER BY number
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, name, statements, and the hash of its text."""

    number: int
    name: str
    statements: tuple[str, ...]
    digest: str


def parse_migration(file: str, text: str) -> Migration:
    """A migration from its file's name and text; statements end with ``;`` at the end of a line.

    Raises StoreError for a name that is not ``NNNN_name.sql``.
    """
    match = _NAME.fullmatch(file)
    if match is None:
        raise StoreError(f"{file}: a migration is called NNNN_name.sql")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    parts = re.split(r";[ \t]*(?:\n|$)", "\n".join(lines))
    statements = tuple(part.strip() for part in parts if part.strip())
    return Migration(int(match[1]), match[2], statements, hashlib.sha256(text.encode()).hexdigest())


def load_migrations(folder: Path = FOLDER) -> list[Migration]:
    """All migrations of a folder in order. Raises StoreError where numbers are not 1, 2, 3 …"""
    found = [
        parse_migration(path.name, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.sql"))
    ]
    numbers = [migration.number for migration in found]
    if numbers != list(range(1, len(found) + 1)):
        raise StoreError(f"migrations are not numbered 1 to {len(found)}: {numbers}")
    return found


def migrate(client: ClickHouse, migrations: list[Migration]) -> int:
    """Apply what was not applied yet; returns how many. Safe to repeat, and from two processes.

    Raises StoreError where an applied migration's text is not the one that is here, or the archive
    was made by a newer version; StoreAway while ClickHouse is away.
    """
    client.command("CREATE DATABASE IF NOT EXISTS trucban")
    client.command(_RECORD)
    rows = client.query("SELECT number, digest FROM trucban.migrations FINAL ORDER BY number")
    applied = {int(number): str(digest) for number, digest in rows}
    _check(applied, migrations)
    due = [migration for migration in migrations if migration.number not in applied]
    for migration in due:
        for statement in migration.statements:
            client.command(statement)
        record = f"{migration.number}\t{migration.name}\t{migration.digest}\n".encode()
        client.insert("trucban.migrations", ["number", "name", "digest"], record, "TabSeparated")
    return len(due)


def _check(applied: dict[int, str], migrations: list[Migration]) -> None:
    known = {migration.number: migration for migration in migrations}
    for number, digest in sorted(applied.items()):
        if number not in known:
            raise StoreError(f"the archive has migration {number}, which this version does not know")
        if known[number].digest != digest:
            raise StoreError(f"migration {number} ({known[number].name}) was changed after it was applied")
