"""Expressions as plain Python closures, for the judge: one call for one group's measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

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
)

Value: TypeAlias = float | int | str | bool | None
Closure: TypeAlias = Callable[[Mapping[str, Value]], Value]


def compile_scalar(node: Node) -> Closure:  # noqa: C901  (one arm for each kind of node)
    """A function from names' values to the expression's value; a missing name is null."""
    match node:
        case Literal(value=value):
            return lambda _row: value
        case Name(name=name):
            return lambda row: row.get(name)
        case Negative(operand=operand):
            return _negative(compile_scalar(operand))
        case Arithmetic(op=op, left=left, right=right):
            return _arithmetic(_ARITHMETIC[op], compile_scalar(left), compile_scalar(right))
        case Comparison(op=op, left=left, right=right):
            return _comparison(_COMPARE[op], compile_scalar(left), compile_scalar(right))
        case Logical(op=op, left=left, right=right):
            return _logical(op == "or", compile_scalar(left), compile_scalar(right))
        case Not(operand=operand):
            return _not(compile_scalar(operand))
        case In(subject=subject, items=items):
            return _in(compile_scalar(subject), [compile_scalar(item) for item in items])
        case Between(subject=subject, low=low, high=high):
            return _between(compile_scalar(subject), compile_scalar(low), compile_scalar(high))
        case IsNull(subject=subject):
            return _is_null(compile_scalar(subject))
        case Case(branches=branches, default=default):
            arms = [(compile_scalar(when), compile_scalar(then)) for when, then in branches]
            return _case(arms, compile_scalar(default))
        case Call(function=function, args=args):
            return _CALLS[function]([compile_scalar(arg) for arg in args])


def number(value: Value) -> float | None:
    """The value as a double, or null."""
    return None if value is None else float(value)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _divide(a: float, b: float) -> float | None:
    return None if b == 0 else _finite(a / b)


def _modulo(a: float, b: float) -> float | None:
    if b == 0 or not math.isfinite(a / b):
        return None
    return _finite(a - b * math.trunc(a / b))


_ARITHMETIC: dict[str, Callable[[float, float], float | None]] = {
    "+": lambda a, b: _finite(a + b),
    "-": lambda a, b: _finite(a - b),
    "*": lambda a, b: _finite(a * b),
    "/": _divide,
    "%": _modulo,
}

# mypy cannot know that both sides have one type; the typing of the tree made sure of it.
_COMPARE: dict[str, Callable[..., bool]] = {
    "=": lambda a, b: bool(a == b),
    "<>": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}


def _negative(operand: Closure) -> Closure:
    def run(row: Mapping[str, Value]) -> Value:
        value = number(operand(row))
        return None if value is None else -value

    return run


def _arithmetic(op: Callable[[float, float], float | None], left: Closure, right: Closure) -> Closure:
    def run(row: Mapping[str, Value]) -> Value:
        a, b = number(left(row)), number(right(row))
        return None if a is None or b is None else op(a, b)

    return run


def _comparison(op: Callable[..., bool], left: Closure, right: Closure) -> Closure:
    def run(row: Mapping[str, Value]) -> Value:
        a, b = left(row), right(row)
        return None if a is None or b is None else op(a, b)

    return run


def _logical(decisive: bool, left: Closure, right: Closure) -> Closure:
    """Kleene's ``or`` (decisive: true) and ``and`` (decisive: false)."""

    def run(row: Mapping[str, Value]) -> Value:
        a = left(row)
        if a is decisive:
            return decisive
        b = right(row)
        if b is decisive:
            return decisive
        return None if a is None or b is None else not decisive

    return run


def _not(operand: Closure) -> Closure:
    def run(row: Mapping[str, Value]) -> Value:
        value = operand(row)
        return None if value is None else not value

    return run


def _in(subject: Closure, items: list[Closure]) -> Closure:
    def run(row: Mapping[str, Value]) -> Value:
        value = subject(row)
        if value is None:
            return None
        found = [item(row) for item in items]
        if any(item is not None and item == value for item in found):
            return True
        return None if any(item is None for item in found) else False

    return run


def _between(subject: Closure, low: Closure, high: Closure) -> Closure:
    at_least = _comparison(_COMPARE[">="], subject, low)
    at_most = _comparison(_COMPARE["<="], subject, high)
    return _logical(False, at_least, at_most)


def _is_null(subject: Closure) -> Closure:
    return lambda row: subject(row) is None


def _case(arms: list[tuple[Closure, Closure]], default: Closure) -> Closure:
    def run(row: Mapping[str, Value]) -> Value:
        for when, then in arms:
            if when(row) is True:
                return then(row)
        return default(row)

    return run


def _coalesce(args: list[Closure]) -> Closure:
    def run(row: Mapping[str, Value]) -> Value:
        for arg in args:
            value = arg(row)
            if value is not None:
                return value
        return None

    return run


def _extreme(choose: Callable[[list[float]], float]) -> Callable[[list[Closure]], Closure]:
    def build(args: list[Closure]) -> Closure:
        def run(row: Mapping[str, Value]) -> Value:
            values = [number(arg(row)) for arg in args]
            known = [value for value in values if value is not None]
            return choose(known) if len(known) == len(values) else None

        return run

    return build


def _abs(args: list[Closure]) -> Closure:
    def run(row: Mapping[str, Value]) -> Value:
        value = number(args[0](row))
        return None if value is None else abs(value)

    return run


def half_away(value: float) -> float:
    """Nearest whole number; halves away from zero."""
    whole = float(math.trunc(value))
    return whole + math.copysign(1.0, value) if abs(value - whole) >= 0.5 else whole


def _round(args: list[Closure]) -> Closure:
    def run(row: Mapping[str, Value]) -> Value:
        value, decimals = number(args[0](row)), number(args[1](row))
        if value is None or decimals is None:
            return None
        scale = 10.0**decimals
        scaled = value * scale
        return half_away(scaled) / scale if math.isfinite(scaled) else None

    return run


def _nullif(args: list[Closure]) -> Closure:
    def run(row: Mapping[str, Value]) -> Value:
        value = args[0](row)
        return None if value is not None and value == args[1](row) else value

    return run


_CALLS: dict[str, Callable[[list[Closure]], Closure]] = {
    "coalesce": _coalesce,
    "greatest": _extreme(max),
    "least": _extreme(min),
    "abs": _abs,
    "round": _round,
    "nullif": _nullif,
}
