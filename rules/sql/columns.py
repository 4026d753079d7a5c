"""Expressions as Polars expressions over event columns: a batch of rows at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import polars as pl

from rules.sql.scalar import compile_scalar
from rules.sql.tree import (
    Arithmetic,
    Between,
    Call,
    Case,
    Comparison,
    In,
    IsNull,
    Literal,
    Logical,
    Name,
    Negative,
    Node,
    Not,
    Type,
    names_in,
)

Column = Callable[[str], pl.Expr]

_DTYPES: dict[Type, pl.DataType] = {
    "number": pl.Float64(),
    "text": pl.String(),
    "bool": pl.Boolean(),
    "null": pl.Null(),
}
"""A node of type ``any`` has no entry: its column stays as it is."""


def to_polars(node: Node, column: Column = pl.col) -> pl.Expr:  # noqa: C901  (one arm for each kind of node)
    """A Polars expression; ``column`` turns a name into the column that holds it.

    What reads no name is computed here: Polars 2.1 gives one row for some constants. Numbers come
    out as Float64. Conditions that are null stay null: ``filter`` drops them.
    """
    if not isinstance(node, Literal) and not names_in(node):
        return pl.lit(compile_scalar(node)({}), dtype=_DTYPES.get(node.type))
    match node:
        case Literal(value=value, type=kind):
            return pl.lit(value, dtype=_DTYPES[kind])
        case Name(name=name, type=kind):
            return _cast(column(name), kind)
        case Negative(operand=operand):
            return -to_polars(operand, column).cast(pl.Float64)
        case Arithmetic(op=op, left=left, right=right):
            return _arithmetic(op, _number(left, column), _number(right, column))
        case Comparison(op=op, left=left, right=right):
            return _comparison(op, left, right, column)
        case Logical(op=op, left=left, right=right):
            return _logical(op, left, right, column)
        case Not(operand=operand):
            return _condition(operand, column).not_()
        case In(subject=subject, items=items):
            return _in(subject, items, column)
        case Between(subject=subject, low=low, high=high):
            return _comparison(">=", subject, low, column) & _comparison("<=", subject, high, column)
        case IsNull(subject=subject):
            return to_polars(subject, column).is_null()
        case Case():
            return _case(node, column)
        case Call():
            return _call(node, column)


def _cast(value: pl.Expr, kind: Type) -> pl.Expr:
    return value if kind == "any" else value.cast(_DTYPES[kind])


def _number(node: Node, column: Column) -> pl.Expr:
    return to_polars(node, column).cast(pl.Float64)


def _condition(node: Node, column: Column) -> pl.Expr:
    return to_polars(node, column).cast(pl.Boolean)


def _arithmetic(op: str, a: pl.Expr, b: pl.Expr) -> pl.Expr:
    if op == "+":
        return _finite(a + b)
    if op == "-":
        return _finite(a - b)
    if op == "*":
        return _finite(a * b)
    if op == "/":
        return _finite(_divide(a, b))
    return _finite(a - b * _divide(a, b).truncate())


def _divide(a: pl.Expr, b: pl.Expr) -> pl.Expr:
    """Polars multiplies by the reciprocal of a constant, which rounds twice; by a column it divides."""
    return a / (b + a * 0.0)


def _finite(result: pl.Expr) -> pl.Expr:
    return pl.when(result.is_finite()).then(result)


def _comparison(op: str, left: Node, right: Node, column: Column) -> pl.Expr:
    if "null" in (left.type, right.type):
        return pl.lit(None, dtype=pl.Boolean)
    if not names_in(left):
        # Polars 2.1 gives one row for `constant < when(…)`; the other way round it is right.
        return _compare(_MIRRORED[op], _operand(right, column), _operand(left, column))
    return _compare(op, _operand(left, column), _operand(right, column))


_MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _operand(node: Node, column: Column) -> pl.Expr:
    """Names keep their own number type here: comparing needs no conversion to doubles."""
    if isinstance(node, Name) and node.type == "number":
        return column(node.name)
    return to_polars(node, column)


def _compare(op: str, a: pl.Expr, b: pl.Expr) -> pl.Expr:
    if op == "=":
        return a == b
    if op == "<>":
        return a != b
    if op == "<":
        return a < b
    if op == "<=":
        return a <= b
    if op == ">":
        return a > b
    return a >= b


def _logical(op: str, left: Node, right: Node, column: Column) -> pl.Expr:
    a, b = _condition(left, column), _condition(right, column)
    return a | b if op == "or" else a & b


def _in(subject: Node, items: Sequence[Node], column: Column) -> pl.Expr:
    """``or`` of equalities; a list of plain values takes the fast path, whose nulls are the same."""
    values = [item.value for item in items if isinstance(item, Literal) and item.value is not None]
    if len(values) == len(items) and subject.type != "null":
        wanted = pl.Series(values, dtype=_DTYPES[items[0].type])
        return _cast(to_polars(subject, column), items[0].type).is_in(wanted.implode())
    equal = [_comparison("=", subject, item, column) for item in items]
    return reduce(lambda a, b: a | b, equal)


def _case(node: Case, column: Column) -> pl.Expr:
    result = _cast(to_polars(node.default, column), node.type)
    for when, then in reversed(node.branches):
        value = _cast(to_polars(then, column), node.type)
        result = pl.when(_condition(when, column)).then(value).otherwise(result)
    return result


def _call(node: Call, column: Column) -> pl.Expr:
    args = [_cast(to_polars(arg, column), node.type) for arg in node.args]
    if node.function == "coalesce":
        return pl.coalesce(args)
    if node.function in ("greatest", "least"):
        return _extreme(node.function, args)
    if node.function == "abs":
        return args[0].abs()
    if node.function == "nullif":
        return _nullif(node, args, column)
    return _round(args[0], node.args[1])


def _extreme(function: str, args: list[pl.Expr]) -> pl.Expr:
    known = pl.all_horizontal([arg.is_not_null() for arg in args])
    chosen = pl.max_horizontal(args) if function == "greatest" else pl.min_horizontal(args)
    return pl.when(known).then(chosen)


def _nullif(node: Call, args: list[pl.Expr], column: Column) -> pl.Expr:
    equal = _comparison("=", node.args[0], node.args[1], column)
    return pl.when(equal).then(None).otherwise(args[0])


def _round(value: pl.Expr, decimals: Node) -> pl.Expr:
    places = decimals.value if isinstance(decimals, Literal) and isinstance(decimals.value, int) else 0
    scale = 10.0**places
    scaled = _finite(value * scale)
    return _divide(scaled.round(0, mode="half_away_from_zero"), pl.lit(scale))
