"""Typed columns of event types: one table and one view for each type, made when first seen.

Table ``typed_attendance_marked`` holds the fields that rules read (``f_…``) and the dimensions that
were joined (``d_…``) beside each event's identity; view ``attendance_marked`` shows them one row for
each event, under the names that rules use.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from store.clickhouse.client import ClickHouse

_ZONE = "'Asia/Ho_Chi_Minh'"
_IDENTITY = {
    "source": "String",
    "id": "String",
    "time": f"DateTime64(3, {_ZONE})",
    "arrived": f"DateTime64(3, {_ZONE})",
    "school": "LowCardinality(String)",
    "mark": "LowCardinality(String)",
    "log_epoch": "LowCardinality(String)",
    "log_partition": "Int32",
    "log_offset": "Int64",
    "rank": "UInt64",
}
_SHOWN = ("source", "id", "time", "arrived", "school", "mark")


def table_of(event_type: str) -> str:
    """The typed table of an event type."""
    return "typed_" + view_of(event_type)


def view_of(event_type: str) -> str:
    """The view of an event type: its name with underscores for dots."""
    return event_type.replace(".", "_")


def column_type(name: str, kind: pa.DataType) -> str:
    """ClickHouse's type for a typed column: always nullable, as fields may be absent."""
    if pa.types.is_integer(kind):
        return "Nullable(Int64)"
    if pa.types.is_floating(kind):
        return "Nullable(Float64)"
    if pa.types.is_boolean(kind):
        return "Nullable(Bool)"
    if pa.types.is_date32(kind):
        return "Nullable(Date32)"
    if pa.types.is_timestamp(kind):
        return f"Nullable(DateTime64(3, {_ZONE}))"
    return "LowCardinality(Nullable(String))" if name.startswith("d_") else "Nullable(String)"


def create_table(event_type: str) -> str:
    """The statement that makes a type's table, without typed columns yet."""
    columns = ", ".join(f"{name} {kind}" for name, kind in _IDENTITY.items())
    return (
        f"CREATE TABLE IF NOT EXISTS trucban.{table_of(event_type)} ({columns}) "
        "ENGINE = ReplacingMergeTree(rank) PARTITION BY toYYYYMM(time) ORDER BY (source, id) "
        "SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
    )


def create_view(event_type: str, columns: list[str]) -> str:
    """The statement that makes a type's view; fields come before dimensions of the same name."""
    shown = {name: name for name in _SHOWN}
    for column in sorted(columns, key=lambda name: (name[0] != "f", name)):
        shown.setdefault(column[2:], column)
    names = ", ".join(f"`{column}` AS `{name}`" for name, column in shown.items())
    view, table = view_of(event_type), table_of(event_type)
    # Names are checked when records are read (`store.archive_rows`).
    return f"CREATE OR REPLACE VIEW trucban.{view} AS SELECT {names} FROM trucban.{table} FINAL"  # noqa: S608


class TypeConflict(ValueError):
    """A field comes with another type than its column has: ClickHouse would store null and say nothing."""


class TypedTables:
    """Makes typed tables and columns as they are first needed, and remembers what there is."""

    def __init__(self, client: ClickHouse) -> None:
        self._client = client
        self._known: dict[str, dict[str, str]] = {}

    def ensure(self, event_type: str, schema: Mapping[str, pa.DataType]) -> str:
        """Make the type's table hold all typed columns of ``schema``; returns the table's name.

        Raises `TypeConflict` where a column is there with another type.
        """
        wanted = {name: column_type(name, kind) for name, kind in schema.items() if name[:2] in ("f_", "d_")}
        known = self._known.get(event_type)
        if known is None or not wanted.keys() <= known.keys():
            known = self._known[event_type] = self._make(event_type, wanted)
        for name, kind in wanted.items():
            if known[name] != kind:
                raise TypeConflict(
                    f"{event_type}: {name} is {known[name]} in the archive, and comes as {kind}"
                )
        return table_of(event_type)

    def _make(self, event_type: str, columns: Mapping[str, str]) -> dict[str, str]:
        table = table_of(event_type)
        self._client.command(create_table(event_type))
        for name in sorted(columns):
            self._client.command(
                f"ALTER TABLE trucban.{table} ADD COLUMN IF NOT EXISTS `{name}` {columns[name]}"
            )
        rows = self._client.query(
            "SELECT name, type FROM system.columns WHERE database = 'trucban' AND table = {table:String}",
            {"table": table},
        )
        present = {str(name): str(kind) for name, kind in rows if name not in _IDENTITY}
        self._client.command(create_view(event_type, sorted(present)))
        return present
