"""How many decimals a value can have: what makes exact integer sums possible."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from rules.sql.tree import Arithmetic, Call, Case, Literal, Name, Negative, Node

MAX_DECIMALS = 9


def decimals_of(node: Node, fields: Mapping[str, int]) -> int | None:
    """Most decimals a numeric expression over ``fields`` can have, or None where it has no bound."""
    match node:
        case Literal(value=None):
            return 0
        case Literal(value=value):
            return max(0, -int(Decimal(repr(value)).normalize().as_tuple().exponent))
        case Name(name=name):
            return fields.get(name)
        case Negative(operand=operand):
            return decimals_of(operand, fields)
        case Arithmetic(op="/"):
            return None
        case Arithmetic(op=op, left=left, right=right):
            sides = decimals_of(left, fields), decimals_of(right, fields)
            if sides[0] is None or sides[1] is None:
                return None
            return sides[0] + sides[1] if op == "*" else max(sides[0], sides[1])
        case Call(function="round", args=(_, Literal(value=int(places)))):
            return places
        case Call(args=args):
            return _most(args, fields)
        case Case(branches=branches, default=default):
            return _most((*(value for _, value in branches), default), fields)
    return None


def _most(nodes: tuple[Node, ...], fields: Mapping[str, int]) -> int | None:
    most = 0
    for node in nodes:
        decimals = decimals_of(node, fields)
        if decimals is None:
            return None
        most = max(most, decimals)
    return most
