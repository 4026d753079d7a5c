"""The texts of ``measures:``: aggregates over rows, baselines, and formulas over other measures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal as Word

from sqlglot import exp

from rules.choices import Choices, wrong_choices
from rules.model import Agg
from rules.sql import ExpressionError, Node, Problem, Type, decimals_of, names_in, to_sql
from rules.sql.source import Source
from rules.sql.tree import Arithmetic, Call, Literal, Name
from rules.sql.typing import Typing

How = Word["count", "sum", "min", "max", "distinct"]
BASELINE_PARTS = ("mean", "sd", "days")
MAX_BASELINE_DAYS = 60

_DISTINCT = re.compile(r"\s*(distinct)\s*\(", re.IGNORECASE)
_STAND_IN = "distincx"  # as long as `distinct`, which sqlglot does not take for a function
_AGGREGATES: dict[type[exp.Expr], How] = {
    exp.Count: "count",
    exp.Sum: "sum",
    exp.Min: "min",
    exp.Max: "max",
}


@dataclass(frozen=True, slots=True)
class Rows:
    """What is known about the rows that aggregates read."""

    types: Mapping[str, Type]
    decimals: Mapping[str, int]
    """Decimals of each numeric column."""
    lows: Mapping[str, int]
    """Smallest value of each numeric column."""
    choices: Choices = field(default_factory=dict)
    """All values of columns that have only certain ones."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """``how`` over rows; ``grows``: more rows can only make it greater."""

    how: How
    agg: Agg
    grows: bool


@dataclass(frozen=True, slots=True)
class Compared:
    """``baseline(of, same_weekday, days[, floor])``; ``offset`` is where ``of`` stands."""

    of: str
    days: int
    floor: float
    offset: int


@dataclass(frozen=True, slots=True)
class Computed:
    """A formula over other measures."""

    tree: Node


Measure = Aggregate | Compared | Computed


def parse_measure(text: str, rows: Rows | None, measures: Mapping[str, Type]) -> Measure:
    """Parse one measure. ``measures`` are the names formulas may use; ``rows`` is
    None when the event type is not known. Raises `ExpressionError`."""
    source = Source(text)
    distinct = _DISTINCT.match(text)
    tree = _with_stand_in(source, distinct).tree() if distinct else source.tree()
    head, condition = _split(tree)
    if distinct or type(head) in _AGGREGATES:
        return _aggregate(source, head, condition, rows, distinct=bool(distinct))
    if isinstance(head, exp.Anonymous) and str(head.this).lower() == "baseline":
        return _baseline(source, head, condition, measures)
    typing = Typing(source, measures)
    if condition is not None:
        typing.problem(source.start(tree), "only an aggregate can have a filter", "count(*) filter (where …)")
        raise ExpressionError(typing.problems)
    node = typing.node(tree)
    typing.want(node, "number")
    if typing.problems:
        raise ExpressionError(typing.problems)
    return Computed(node)


def _with_stand_in(source: Source, found: re.Match[str]) -> Source:
    start, end = found.span(1)
    return Source(source.text[:start] + _STAND_IN + source.text[end:])


def _split(tree: exp.Expr) -> tuple[exp.Expr, exp.Expr | None]:
    """An aggregate and the condition of its filter."""
    if isinstance(tree, exp.Filter):
        return tree.this, tree.expression.this
    return tree, None


# --- aggregates -----------------------------------------------------------------------------------


def _aggregate(
    source: Source, head: exp.Expr, condition: exp.Expr | None, rows: Rows | None, *, distinct: bool
) -> Aggregate:
    how: How = "distinct" if distinct else _AGGREGATES[type(head)]
    typing = Typing(source, rows.types if rows else None)
    value = _value(source, head, how, typing)
    filter_ = typing.node(condition) if condition is not None else None
    if filter_ is not None:
        typing.want(filter_, "bool")
        typing.problems += wrong_choices(filter_, rows.choices) if rows else []
    decimals = _decimals(typing, how, value, rows)
    if typing.problems:
        raise ExpressionError(typing.problems)
    filter_text = to_sql(filter_) if filter_ is not None else ""
    if isinstance(head, exp.Count) and value is not None:
        how = "distinct"
    if value is None:
        return Aggregate("count", Agg("count", filter=filter_text), grows=True)
    if how == "sum":
        grows = rows is not None and _never_negative(value, rows)
        return Aggregate(how, Agg("sum", to_sql(value), filter_text, decimals), grows)
    return Aggregate(how, Agg("values", to_sql(value), filter_text), grows=how != "min")


def _value(source: Source, head: exp.Expr, how: How, typing: Typing) -> Node | None:
    """The aggregated value; None for ``count(*)`` or after a problem."""
    parts = list(head.expressions) if how == "distinct" else [head.this, *head.expressions]
    if isinstance(head, exp.Count):
        if isinstance(head.this, exp.Star):
            return None
        if isinstance(head.this, exp.Distinct):
            parts = list(head.this.expressions)
        else:
            typing.problem(source.start(head), "'count' counts rows", "count(*) or distinct(x)")
            return None
    if len(parts) != 1:
        typing.problem(source.start(head), f"{how!r} takes one value", f"{how}(x)")
        return None
    node = typing.node(parts[0])
    if how in ("sum", "min", "max") and node.type in ("text", "bool"):
        kind = "text" if node.type == "text" else "a condition"
        typing.problem(node.offset, f"{how!r} needs a number, but {to_sql(node)} is {kind}")
    return node


def _decimals(typing: Typing, how: How, value: Node | None, rows: Rows | None) -> int:
    if how != "sum" or value is None or rows is None or typing.problems:
        return 0
    decimals = decimals_of(value, rows.decimals)
    if decimals is None or decimals > 9:
        message = f"the number of decimals of {to_sql(value)} has no bound, so its sum could not be exact"
        typing.problem(value.offset, message, "round(…, 2) around it")
        return 0
    return decimals


def _never_negative(node: Node, rows: Rows) -> bool:
    match node:
        case Literal(value=value):
            return isinstance(value, int | float) and value >= 0
        case Name(name=name):
            return rows.lows.get(name, -1) >= 0
        case Arithmetic(op="+" | "*", left=left, right=right):
            return _never_negative(left, rows) and _never_negative(right, rows)
        case Call(function="abs"):
            return True
    return False


# --- baselines ------------------------------------------------------------------------------------


def _baseline(
    source: Source, head: exp.Expr, condition: exp.Expr | None, measures: Mapping[str, Type]
) -> Compared:
    typing = Typing(source, measures)
    start = source.start(head)
    args = list(head.expressions)
    expected = "baseline(measure, same_weekday, days) or baseline(measure, same_weekday, days, floor)"
    if condition is not None or len(args) not in (3, 4):
        raise ExpressionError([Problem(start, "'baseline' takes three or four values", expected)])
    of = typing.node(args[0])
    if not typing.problems and not isinstance(of, Name):
        typing.problem(
            of.offset, f"{to_sql(of)} is not the name of a measure", "a measure of its own, by name"
        )
    kind = args[1].name if isinstance(args[1], exp.Column) else ""
    if kind != "same_weekday":
        typing.problem(source.start(args[1]), f"{kind or 'this'!r} is not a kind of baseline", "same_weekday")
    days = _number(args[2])
    if days is None or days != int(days) or not 2 <= days <= MAX_BASELINE_DAYS:
        typing.problem(
            source.start(args[2]), "the days of a baseline are a whole number", f"2 to {MAX_BASELINE_DAYS}"
        )
    floor = _number(args[3]) if len(args) == 4 else 0.0
    if floor is None or floor < 0:
        typing.problem(
            source.start(args[3]), "the floor of a baseline is a number", "0 or more, such as 0.01"
        )
    if typing.problems or not isinstance(of, Name):
        raise ExpressionError(typing.problems)
    return Compared(of.name, int(days or 0), float(floor or 0), of.offset)


def _number(tree: exp.Expr) -> float | None:
    return float(tree.this) if isinstance(tree, exp.Literal) and not tree.is_string else None


def used_measures(measure: Measure) -> frozenset[str]:
    """Names of the measures that a measure is computed from."""
    if isinstance(measure, Compared):
        return frozenset({measure.of})
    if isinstance(measure, Computed):
        return frozenset(name.split(".")[0] for name in names_in(measure.tree))
    return frozenset()


def ratio_denominator(tree: Node) -> str:
    """Canonical text of b where the tree is a / b, else empty."""
    return to_sql(tree.right) if isinstance(tree, Arithmetic) and tree.op == "/" else ""
