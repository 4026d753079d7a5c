"""Canonical text of an expression: one spelling for each tree, and it parses back to that tree."""

from __future__ import annotations

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

_OR, _AND, _NOT, _COMPARE, _ADD, _MULTIPLY, _NEGATE, _ATOM = range(1, 9)
_RANK = {"or": _OR, "and": _AND, "+": _ADD, "-": _ADD, "*": _MULTIPLY, "/": _MULTIPLY, "%": _MULTIPLY}


def to_sql(node: Node) -> str:
    """SQL text of a tree: lower-case words, ``<>``, single spaces, brackets only where needed."""
    return _write(node)[0]


def _write(node: Node) -> tuple[str, int]:
    match node:
        case Literal(value=value):
            return literal(value), _ATOM
        case Name(name=name):
            return name, _ATOM
        case Negative(operand=operand):
            return f"-{_inside(operand, _ATOM)}", _NEGATE
        case Not(operand=operand):
            return _write_not(operand)
        case Arithmetic(op=op, left=left, right=right) | Logical(op=op, left=left, right=right):
            rank = _RANK[op]
            return f"{_inside(left, rank)} {op} {_inside(right, rank + 1)}", rank
        case Comparison(op=op, left=left, right=right):
            return f"{_inside(left, _ADD)} {op} {_inside(right, _ADD)}", _COMPARE
        case In() | Between() | IsNull():
            return _write_test(node, ""), _COMPARE
        case Case(branches=branches, default=default):
            arms = " ".join(f"when {to_sql(when)} then {to_sql(then)}" for when, then in branches)
            return f"case {arms} else {to_sql(default)} end", _ATOM
        case Call(function=function, args=args):
            return f"{function}({', '.join(to_sql(arg) for arg in args)})", _ATOM


def _write_not(operand: Node) -> tuple[str, int]:
    if isinstance(operand, In | Between | IsNull):
        return _write_test(operand, "not "), _COMPARE
    return f"not {_inside(operand, _COMPARE)}", _NOT


def _write_test(node: In | Between | IsNull, negation: str) -> str:
    subject = _inside(node.subject, _ADD)
    match node:
        case In(items=items):
            return f"{subject} {negation}in ({', '.join(to_sql(item) for item in items)})"
        case Between(low=low, high=high):
            return f"{subject} {negation}between {_inside(low, _ADD)} and {_inside(high, _ADD)}"
        case IsNull():
            return f"{subject} is {negation}null"


def _inside(node: Node, rank: int) -> str:
    text, own = _write(node)
    return text if own >= rank else f"({text})"


def literal(value: float | str | bool | None) -> str:
    """SQL spelling of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)
