"""The few questions that the command line asks of the archive."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from store.clickhouse.client import ClickHouse

VIEWS = ("events", "rejected", "aggregates", "transitions", "alerts", "deliveries", "quarantine")
"""What people read, one row for each thing."""


@dataclass(frozen=True, slots=True)
class ArchiveSummary:
    """How much each view holds, and when something was last stored (None: never)."""

    rows: dict[str, int]
    last_stored: datetime | None
    """Aware, to the millisecond."""


def summarise(client: ClickHouse) -> ArchiveSummary:
    """Counts of every view and the last insert. Raises StoreAway, or Refused before the migrations ran."""
    counts = ", ".join(f"(SELECT count() FROM trucban.{view})" for view in VIEWS)  # noqa: S608
    last = "(SELECT maxOrNull(stored_at) FROM trucban.position_log)"
    row = client.query(f"SELECT {counts}, {last}")[0]
    return ArchiveSummary({view: int(row[i]) for i, view in enumerate(VIEWS)}, row[len(VIEWS)])


def events_by_type(client: ClickHouse) -> dict[str, int]:
    """Archived events of each type."""
    rows = client.query("SELECT type, count() FROM trucban.events GROUP BY type ORDER BY type")
    return {str(name): int(count) for name, count in rows}


def positions(client: ClickHouse, epoch: str) -> dict[tuple[str, int], int]:
    """Next offset to archive, by topic and partition, in the log of ``epoch``."""
    rows = client.query(
        "SELECT topic, log_partition, max(next) FROM trucban.position_log "
        "WHERE log_epoch = {epoch:String} GROUP BY topic, log_partition",
        {"epoch": epoch},
    )
    return {(str(topic), int(partition)): int(offset) for topic, partition, offset in rows}
