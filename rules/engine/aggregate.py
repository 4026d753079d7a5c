"""From signed rows to changes of panes: the vectorised half of `count`.

A row enters with ``_sign`` +1 (it holds) or −1 (it no longer holds). Rows that a correction
brought carry ``_original``, the position of the event that was corrected; others null.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import polars as pl

from rules.engine.panes import CORRECTIONS, EVIDENCE_TRACKED, Group, Panes, merge
from rules.engine.windows import window_start_expr
from rules.model import Agg, Query
from rules.sql import parse_expression, to_polars
from schemas.wire import Correction, PaneValue

START = "_start"
SIGN = "_sign"
ORIGINAL = "_original"
QUIET = "_quiet"
"""The row in force comes from a snapshot: it counts, and alone begins no alert. Optional."""


@dataclass(frozen=True, slots=True)
class Delta:
    """Change of one group and window."""

    group: Group
    start: int
    rows: int
    states: list[PaneValue]
    added: list[tuple[int, str]]
    removed: list[tuple[int, str]]
    original: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A query's expressions, compiled once."""

    query: Query
    where: pl.Expr | None
    start: pl.Expr
    groups: tuple[pl.Expr, ...]
    """The group's parts as text (nothing: empty), beside the columns that expressions read."""
    scalars: tuple[pl.Expr, ...]
    """One for each aggregate that is not a multiset."""
    multisets: tuple[tuple[int, pl.Expr, pl.Expr], ...]
    """Index of the aggregate, its value, its filter."""
    evidence: pl.Expr


@lru_cache(maxsize=4096)
def plan(query: Query) -> Plan:
    """Compile a query's SQL to Polars."""
    return Plan(
        query,
        _condition(query.where) if query.where else None,
        window_start_expr(query.window).alias(START),
        tuple(
            pl.col(name).cast(pl.String).fill_null("").alias(part)
            for name, part in zip(query.group_by, _parts(query), strict=True)
        ),
        tuple(_scalar(agg).alias(f"_agg{i}") for i, agg in enumerate(query.aggs) if agg.kind != "values"),
        tuple(
            (i, to_polars(parse_expression(agg.value)), _filter(agg))
            for i, agg in enumerate(query.aggs)
            if agg.kind == "values"
        ),
        _condition(query.evidence) if query.evidence else pl.lit(True),
    )


def _parts(query: Query) -> list[str]:
    return [f"_group{i}" for i in range(len(query.group_by))]


def _condition(sql: str) -> pl.Expr:
    return to_polars(parse_expression(sql)).fill_null(False)


def _filter(agg: Agg) -> pl.Expr:
    return _condition(agg.filter) if agg.filter else pl.lit(True)


def _scalar(agg: Agg) -> pl.Expr:
    sign = pl.col(SIGN)
    if agg.kind == "count":
        return sign.filter(_filter(agg)).sum() if agg.filter else sign.sum()
    if agg.kind == "last":
        return pl.col("time").filter(_filter(agg) & (sign > 0)).max()
    value = to_polars(parse_expression(agg.value))
    if agg.decimals:
        value = (value * 10**agg.decimals).round()
    return (value.cast(pl.Int64) * sign).filter(_filter(agg)).sum()


def contribute(panes: Panes, query: Query, rows: pl.DataFrame, position: int, *, corrected: bool) -> None:
    """Add signed ``rows`` to the panes of ``query``; what results is true at ``position``.

    ``corrected``: some rows may carry an original position.
    """
    compiled = plan(query)
    if compiled.where is not None:
        rows = rows.filter(compiled.where)
    if rows.is_empty():
        return
    rows = rows.with_columns(compiled.start, *compiled.groups)
    for delta in deltas(compiled, rows, ()):
        _apply(panes, query, delta, position)
    if QUIET in rows.columns and rows[QUIET].any():
        _note_quiet(panes, query, rows.filter(QUIET))
    if corrected:
        amended = rows.filter(pl.col(ORIGINAL).is_not_null())
        for delta in deltas(compiled, amended, (ORIGINAL,)):
            _note_correction(panes, query, delta, position)


def deltas(compiled: Plan, rows: pl.DataFrame, extra: Sequence[str]) -> Iterator[Delta]:
    """Sum signed rows by group, window and ``extra`` columns."""
    query = compiled.query
    keys = [*_parts(query), START, *extra]
    matching = compiled.evidence
    sign = pl.col(SIGN)
    event = pl.struct("time", "id")
    entered = event.filter(matching & (sign > 0))
    gone = event.filter(matching & (sign < 0))
    if bool((rows[SIGN] < 0).any()):
        entered = entered.filter(~entered.is_in(gone.implode()))
    first = entered.sort().head(EVIDENCE_TRACKED)
    grouped = rows.group_by(keys, maintain_order=True).agg(
        sign.sum().alias("_rows"), first.alias("_first"), gone.alias("_gone"), *compiled.scalars
    )
    multisets = _multisets(compiled, rows, keys)
    width, ends = len(query.group_by), len(keys)
    for row in grouped.iter_rows():
        key = row[:ends]
        yield Delta(
            row[:width],
            row[width],
            row[ends],
            _states(query, iter(row[ends + 3 :]), key, multisets),
            [(item["time"], item["id"]) for item in row[ends + 1]],
            [(item["time"], item["id"]) for item in row[ends + 2]],
            row[width + 1] if extra else None,
        )


Multisets = dict[int, dict[tuple[Any, ...], dict[str | int | float, int]]]


def _multisets(compiled: Plan, rows: pl.DataFrame, keys: list[str]) -> Multisets:
    out: Multisets = {}
    for index, value, condition in compiled.multisets:
        found: dict[tuple[Any, ...], dict[str | int | float, int]] = {}
        counted = (
            rows.with_columns(value.alias("_value"))
            .filter(condition & pl.col("_value").is_not_null())
            .group_by([*keys, "_value"], maintain_order=True)
            .agg(pl.col(SIGN).sum())
        )
        for row in counted.iter_rows():
            if row[-1]:
                found.setdefault(row[:-2], {})[row[-2]] = row[-1]
        out[index] = found
    return out


def _states(
    query: Query, scalars: Iterator[Any], key: tuple[Any, ...], multisets: Multisets
) -> list[PaneValue]:
    return [
        multisets[i].get(key, {}) if agg.kind == "values" else next(scalars)
        for i, agg in enumerate(query.aggs)
    ]


def _apply(panes: Panes, query: Query, delta: Delta, position: int) -> None:
    pane = panes.change(query, delta.start, delta.group)
    pane.rows += delta.rows
    pane.states = merge(query.aggs, pane.states, delta.states)
    pane.position = position
    if delta.added or delta.removed:
        kept = {*pane.evidence, *delta.added} - set(delta.removed)
        pane.evidence = sorted(kept)[:EVIDENCE_TRACKED]


def _note_quiet(panes: Panes, query: Query, rows: pl.DataFrame) -> None:
    for *group, start, count in rows.group_by([*_parts(query), START]).agg(pl.col(SIGN).sum()).iter_rows():
        panes.change(query, start, tuple(group)).quiet += count


def _note_correction(panes: Panes, query: Query, delta: Delta, position: int) -> None:
    pane = panes.change(query, delta.start, delta.group)
    correction = Correction(delta.original or 0, position, delta.rows, delta.states)
    pane.corrections = [*pane.corrections, correction][-CORRECTIONS:]
