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
SEGMENT = "_segment"
"""Where rows of several segments of a batch are summed at once: which one a row belongs to. Optional."""


@dataclass(frozen=True, slots=True)
class Delta:
    """Change of one group and window, within a segment."""

    group: Group
    start: int
    rows: int
    states: list[PaneValue]
    added: list[tuple[int, str]]
    removed: list[tuple[int, str]]
    segment: int = 0
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
    for delta in deltas(query, rows, corrected=corrected):
        add(panes, query, delta, position)


def add(panes: Panes, query: Query, delta: Delta, position: int) -> None:
    """Add one of `deltas` to its pane, which is then true at ``position``."""
    if delta.original is None:
        _apply(panes, query, delta, position)
    else:
        _note_correction(panes, query, delta, position)


def deltas(query: Query, rows: pl.DataFrame, *, corrected: bool) -> Iterator[Delta]:
    """What signed ``rows`` change: by group, window and `SEGMENT`, then also by `ORIGINAL`."""
    compiled = plan(query)
    segment = pl.col(SEGMENT) if SEGMENT in rows.columns else pl.lit(0, dtype=pl.Int64).alias(SEGMENT)
    lazy = rows.lazy()
    if compiled.where is not None:
        lazy = lazy.filter(compiled.where)
    lazy = lazy.with_columns(compiled.start, segment, *compiled.groups)
    negative = bool((rows[SIGN] < 0).any())
    yield from _summed(compiled, lazy, (), negative=negative)
    if corrected:
        yield from _summed(compiled, lazy.filter(pl.col(ORIGINAL).is_not_null()), (ORIGINAL,), negative=True)


def _summed(compiled: Plan, rows: pl.LazyFrame, extra: Sequence[str], *, negative: bool) -> Iterator[Delta]:
    """Sum signed rows by group, window, segment and ``extra`` columns, all in one evaluation."""
    query = compiled.query
    keys = [*_parts(query), START, SEGMENT, *extra]
    evidence = _evidence(compiled.evidence, negative=negative)
    grouped = rows.group_by(keys, maintain_order=True).agg(
        pl.col(SIGN).sum().alias("_rows"), *evidence, *compiled.scalars
    )
    multisets = _multisets(compiled, rows, keys)
    width, ends = len(query.group_by), len(keys)
    for row in grouped.collect().iter_rows():
        key = row[:ends]
        yield Delta(
            row[:width],
            row[width],
            row[ends],
            _states(query, iter(row[ends + 3 :]), key, multisets),
            [(item["time"], item["id"]) for item in row[ends + 1]],
            [(item["time"], item["id"]) for item in row[ends + 2] or ()],
            row[width + 1],
            row[width + 2] if extra else None,
        )


def _evidence(matching: pl.Expr, *, negative: bool) -> tuple[pl.Expr, pl.Expr]:
    """Events that are evidence and enter, and those that go, where there may be such."""
    event = pl.struct("time", "id")
    entered = event.filter(matching & (pl.col(SIGN) > 0))
    gone = event.filter(matching & (pl.col(SIGN) < 0)) if negative else pl.lit(None)
    if negative:
        entered = entered.filter(~entered.is_in(gone.implode()))
    return entered.sort().head(EVIDENCE_TRACKED).alias("_first"), gone.alias("_gone")


Multisets = dict[int, dict[tuple[Any, ...], dict[str | int | float, int]]]


def _multisets(compiled: Plan, rows: pl.LazyFrame, keys: list[str]) -> Multisets:
    out: Multisets = {}
    for index, value, condition in compiled.multisets:
        found: dict[tuple[Any, ...], dict[str | int | float, int]] = {}
        counted = (
            rows.with_columns(value.alias("_value"))
            .filter(condition & pl.col("_value").is_not_null())
            .group_by([*keys, "_value"], maintain_order=True)
            .agg(pl.col(SIGN).sum())
            .collect()
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


def _note_correction(panes: Panes, query: Query, delta: Delta, position: int) -> None:
    pane = panes.change(query, delta.start, delta.group)
    correction = Correction(delta.original or 0, position, delta.rows, delta.states)
    pane.corrections = [*pane.corrections, correction][-CORRECTIONS:]
