"""Is a condition one that more input can only make truer?"""

from __future__ import annotations

from collections.abc import Collection

from rules.sql.tree import Comparison, Literal, Logical, Name, Negative, Node


def is_monotone(condition: Node, growing: Collection[str]) -> bool:
    """Whether ``condition`` is built by ``and``/``or`` from ``m >= c`` and ``m > c`` only.

    ``growing`` are measures that more rows can only make greater: counts, sums of what is never
    negative, maxima, distinct counts. Then the condition, once true, stays true however much is
    still to come; where rows can also be taken back (corrections) it can become false again, and
    the alert is retracted.
    """
    match condition:
        case Logical(left=left, right=right):
            return is_monotone(left, growing) and is_monotone(right, growing)
        case Comparison(op=">=" | ">", left=Name(name=name), right=right):
            return name in growing and _constant(right)
        case Comparison(op="<=" | "<", left=left, right=Name(name=name)):
            return name in growing and _constant(left)
    return False


def _constant(node: Node) -> bool:
    if isinstance(node, Negative):
        return _constant(node.operand)
    return isinstance(node, Literal) and node.type == "number"
