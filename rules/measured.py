"""``measures:`` of one document: parsed, put in order, and made into aggregates of a query."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from rules.document import Document
from rules.measures import (
    BASELINE_PARTS,
    Aggregate,
    Compared,
    Computed,
    Measure,
    Rows,
    parse_measure,
    ratio_denominator,
    used_measures,
)
from rules.model import Agg, Baseline, Direct, Formula
from rules.nodes import Report, Scalar
from rules.sql import ExpressionError, Node, Type, names_in, parse_expression, to_sql
from rules.sql.tree import Name

_MEASURE_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RESERVED = frozenset({"at", "since", "baseline"})
_BASELINE = re.compile(r"\s*baseline\s*\(", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Measured:
    """Measures by name, in the author's order, and in an order in which each can be computed."""

    parsed: Mapping[str, Measure]
    order: tuple[str, ...]
    types: Mapping[str, Type]
    """What conditions and formulas may read."""
    written: int = 0
    """How many the author wrote; fewer in ``parsed`` are without fault."""

    @property
    def growing(self) -> frozenset[str]:
        """Measures that more rows can only make greater."""
        return frozenset(
            name for name, measure in self.parsed.items() if isinstance(measure, Aggregate) and measure.grows
        )

    def behind(self, condition: Node | None) -> frozenset[str]:
        """All measures that a condition depends on."""
        found: set[str] = set()
        todo = [name.split(".")[0] for name in names_in(condition)] if condition else []
        while todo:
            name = todo.pop()
            if name not in found and name in self.parsed:
                found.add(name)
                todo += used_measures(self.parsed[name])
        return frozenset(found)


def read_measures(document: Document, report: Report, rows: Rows | None) -> Measured:
    """Parse all measures. What is wrong goes into ``report``."""
    places: dict[str, tuple[Scalar, Scalar]] = {}
    for name, text in document.measures:
        _check_name(name, report)
        if text is not None:
            places[name.text] = name, text
    types = _types(document)
    parsed: dict[str, Measure] = {}
    for key, (_, text) in places.items():
        try:
            parsed[key] = parse_measure(text.text, rows, types)
        except ExpressionError as error:
            report.problems(text, error)
    _check_baselines(parsed, places, report)
    return Measured(parsed, _order(parsed, places, report), types, len(document.measures))


def _check_name(name: Scalar, report: Report) -> None:
    if not _MEASURE_NAME.fullmatch(name.text):
        expected = "small letters, digits and _, such as absent_rate"
        report.fault(name.place(), f"{name.text!r} is not a name for a measure", expected)
        return
    try:
        plain = isinstance(parse_expression(name.text), Name)
    except ExpressionError:
        plain = False
    if not plain or name.text in _RESERVED:
        report.fault(name.place(), f"{name.text!r} has a meaning of its own", "another name for this measure")


def _types(document: Document) -> dict[str, Type]:
    types: dict[str, Type] = {}
    for name, text in document.measures:
        if text is not None and _BASELINE.match(text.text):
            types |= {f"{name.text}.{part}": "number" for part in BASELINE_PARTS}
        else:
            types[name.text] = "number"
    return types


def _check_baselines(
    parsed: Mapping[str, Measure], places: Mapping[str, tuple[Scalar, Scalar]], report: Report
) -> None:
    measured = Measured(parsed, (), {})
    for name, measure in parsed.items():
        if not isinstance(measure, Compared):
            continue
        inner = parsed.get(measure.of)
        tree = inner.tree if isinstance(inner, Computed) else None
        if any(isinstance(parsed[other], Compared) for other in measured.behind(tree)):
            place = places[name][1].place(measure.offset)
            report.fault(place, f"{measure.of!r} is computed from a baseline itself", "a measure without one")


def _order(
    parsed: Mapping[str, Measure], places: Mapping[str, tuple[Scalar, Scalar]], report: Report
) -> tuple[str, ...]:
    graph = {name: sorted(used_measures(measure) & parsed.keys()) for name, measure in parsed.items()}
    try:
        return tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        cycle = list(reversed(error.args[1]))
        first = min(cycle[:-1], key=list(places).index)
        start = cycle.index(first)
        path = [*cycle[start:-1], *cycle[:start], first]
        message = f"measure {first!r} depends on itself: {' → '.join(path)}"
        report.fault(places[first][1].place(), message)
        return tuple(parsed)


def build_measures(measured: Measured) -> tuple[tuple[Agg, ...], tuple[Direct | Formula | Baseline, ...]]:
    """The query's aggregates, sorted and each once, and the measures that read them."""
    aggregates = [measure for measure in measured.parsed.values() if isinstance(measure, Aggregate)]
    aggs = tuple(sorted({measure.agg for measure in aggregates}))
    built = (_build(name, measured, aggs) for name in measured.order)
    return aggs, tuple(built)


def _build(name: str, measured: Measured, aggs: Sequence[Agg]) -> Direct | Formula | Baseline:
    measure = measured.parsed[name]
    if isinstance(measure, Aggregate):
        return Direct(name, measure.how, aggs.index(measure.agg))
    if isinstance(measure, Computed):
        return Formula(name, to_sql(measure.tree))
    inner = measured.parsed[measure.of]
    denominator = ratio_denominator(inner.tree) if isinstance(inner, Computed) else ""
    return Baseline(name, measure.of, "same_weekday", measure.days, measure.floor, denominator)
