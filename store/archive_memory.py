"""The archive in memory: the same rows, kept once by the same keys. For tests and trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from schemas.errors import StoreAway
from store.archive import Place, Slice, Written
from store.archive_rows import EVENTS_TABLE, Log, Row, rows_of

KEYS: Final[dict[str, tuple[str, ...]]] = {
    EVENTS_TABLE: ("source", "id"),
    "rejected_log": ("log_epoch", "partition", "position", "refusal"),
    "aggregate_log": ("rule", "rule_hash", "group_key", "window_start", "window_end"),
    "transition_log": ("id",),
    "alert_log": ("alert", "ordinal", "revision"),
    "delivery_log": ("id", "attempt"),
    "quarantine_log": ("log_epoch", "topic", "log_partition", "log_offset"),
}
"""What makes a row the same thing as another, by table; ClickHouse's sorting keys."""


class MemoryArchive:
    """An `Archive` that forgets everything when it goes, and can be ``away``."""

    def __init__(self) -> None:
        self.away = False
        self.lost_before_positions = False
        """The next write stores its rows, then fails before its positions: a crash between the two."""
        self._kept: dict[str, dict[tuple[Any, ...], Row]] = {table: {} for table in KEYS}
        self._positions: dict[str, dict[Place, int]] = {}
        self._log: Log | None = None

    def open(self, epoch: str) -> Mapping[Place, int]:
        """Give the epoch its ordinal."""
        self._check()
        known = self._positions.setdefault(epoch, {})
        self._log = Log(epoch, list(self._positions).index(epoch) + 1)
        return dict(known)

    def write(self, slices: Sequence[Slice]) -> Written:
        """Keep the rows of highest rank, then the positions."""
        self._check()
        if self._log is None:
            raise RuntimeError("the archive was not opened")
        rows = rows_of(slices, self._log)
        counts: dict[str, int] = {}
        for table, data in rows.tables():
            counts[table] = data.num_rows
            for row in data.to_pylist():
                self._keep(table, row)
        if self.lost_before_positions:
            self.lost_before_positions = False
            raise StoreAway("ClickHouse does not answer: lost before positions")
        reached = self._positions[self._log.epoch]
        for part in slices:
            reached[part.place] = max(part.next, reached.get(part.place, 0))
        return Written(sum(len(part.batch) for part in slices), rows.quarantined, counts)

    def close(self) -> None:
        """Nothing to let go."""

    def rows(self, table: str) -> list[Row]:
        """What is kept of a table, in the order of its key."""
        return [row for _, row in sorted(self._kept[table].items())]

    def _keep(self, table: str, row: Row) -> None:
        key = tuple(row[name] for name in KEYS[table])
        before = self._kept[table].get(key)
        if before is None or row.get("rank", 0) >= before.get("rank", 0):
            self._kept[table][key] = row

    def _check(self) -> None:
        if self.away:
            raise StoreAway("ClickHouse does not answer: away")
