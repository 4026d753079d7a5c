"""The archive in ClickHouse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pyarrow as pa

from store.archive import Place, Slice, Written
from store.archive_rows import TABLES, Log, Rows, arrow_table, quarantine_row, rows_of
from store.archive_typed import TypeConflict, TypedTables
from store.clickhouse.client import ClickHouse, Refused
from store.clickhouse.migrate import load_migrations, migrate
from store.query import positions

IN_THE_DATA = frozenset({6, 27, 33, 38, 41, 53, 69, 70, 72, 117, 131, 190, 321, 349, 407, 650})
"""Refusals that lie in what is written and will not pass: cannot parse, convert, or hold it."""


class ClickHouseArchive:
    """An `Archive` behind a ClickHouse URL (``http://USER:PASSWORD@HOST:PORT/trucban``)."""

    def __init__(self, url: str) -> None:
        self._client = ClickHouse(url)
        self._typed = TypedTables(self._client)
        self._log: Log | None = None
        self._rows = Counter[str]()
        """Rows of the write under way, by table."""

    def open(self, epoch: str) -> Mapping[Place, int]:
        """Migrate, give the epoch its ordinal, and read the positions."""
        migrate(self._client, load_migrations())
        self._log = Log(epoch, self._ordinal(epoch))
        return positions(self._client, epoch)

    def write(self, slices: Sequence[Slice]) -> Written:
        """Rows first, then positions: a crash between them repeats rows, which changes nothing."""
        self._rows = Counter[str]()
        quarantined = self._store(slices)
        self._advance(slices)
        return Written(sum(len(part.batch) for part in slices), quarantined, dict(self._rows))

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    @property
    def log(self) -> Log:
        """The log that was opened."""
        if self._log is None:
            raise RuntimeError("the archive was not opened")
        return self._log

    def _ordinal(self, epoch: str) -> int:
        rows = self._client.query("SELECT log_epoch, min(ordinal) FROM trucban.epoch_log GROUP BY log_epoch")
        known = {str(name): int(ordinal) for name, ordinal in rows}
        if epoch in known:
            return known[epoch]
        ordinal = max(known.values(), default=0) + 1
        row = pa.table({"log_epoch": [epoch], "ordinal": pa.array([ordinal], pa.uint32())})
        self._insert("epoch_log", row)
        return ordinal

    def _store(self, slices: Sequence[Slice]) -> int:
        rows = rows_of(slices, self.log)
        try:
            self._insert_all(rows)
        except (pa.ArrowException, TypeConflict) as refusal:  # columns that do not go together
            return self._isolate(slices, refusal)
        except Refused as refusal:
            if refusal.code not in IN_THE_DATA:
                raise
            return self._isolate(slices, refusal)
        return rows.quarantined

    def _isolate(self, slices: Sequence[Slice], refusal: Exception) -> int:
        """Narrow a refusal down to single records, and put those into quarantine."""
        if len(slices) > 1:
            return sum(self._store([part]) for part in slices)
        part = slices[0]
        if len(part.batch) > 1:
            return sum(self._store([half]) for half in part.halves())
        row = quarantine_row(part, 0, self.log, str(refusal))
        self._insert("quarantine_log", arrow_table([row], TABLES["quarantine_log"]))
        self._rows["quarantine_log"] += 1
        return 1

    def _insert_all(self, rows: Rows) -> None:
        for table, data in rows.tables():
            self._insert(table, data)
            self._rows[table] += data.num_rows
        for event_type, parts in rows.typed.items():
            data = pa.concat_tables(parts, promote_options="permissive")
            schema = dict(zip(data.schema.names, data.schema.types, strict=True))
            self._insert(self._typed.ensure(event_type, schema), data)

    def _insert(self, table: str, data: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, data.schema) as writer:
            writer.write_table(data.combine_chunks())  # one block: small ones cost the engine dearly
        body = sink.getvalue().to_pybytes()
        self._client.insert(f"trucban.{table}", data.column_names, body, "ArrowStream")

    def _advance(self, slices: Sequence[Slice]) -> None:
        reached: dict[Place, int] = {}
        for part in slices:
            reached[part.place] = max(part.next, reached.get(part.place, 0))
        if not reached:
            return
        rows = pa.table({
            "log_epoch": [self.log.epoch] * len(reached),
            "topic": [topic for topic, _ in reached],
            "log_partition": pa.array([partition for _, partition in reached], pa.int32()),
            "next": pa.array(reached.values(), pa.int64()),
        })  # fmt: skip
        self._insert("position_log", rows)
