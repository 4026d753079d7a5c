"""The typed tree of an expression.

Nodes are equal when they mean the same text; the ``offset`` where they begin is not compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal as Word
from typing import TypeAlias

Type = Word["number", "text", "bool", "null", "any"]
"""``null``: the literal null; ``any``: a name of which nothing is known. Both go with every other."""

ArithmeticOp = Word["+", "-", "*", "/", "%"]
ComparisonOp = Word["=", "<>", "<", "<=", ">", ">="]
FunctionName = Word["coalesce", "greatest", "least", "abs", "round", "nullif"]


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a text, true, false or null."""

    value: int | float | str | bool | None
    type: Type
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A column or a measure; dotted for the parts of a baseline."""

    name: str
    type: Type
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Negative:
    """``-x``"""

    operand: Node
    offset: int = field(default=0, compare=False)
    type: Type = "number"


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """``left op right`` on numbers."""

    op: ArithmeticOp
    left: Node
    right: Node
    offset: int = field(default=0, compare=False)
    type: Type = "number"


@dataclass(frozen=True, slots=True)
class Comparison:
    """``left op right`` on two values of one type."""

    op: ComparisonOp
    left: Node
    right: Node
    offset: int = field(default=0, compare=False)
    type: Type = "bool"


@dataclass(frozen=True, slots=True)
class Logical:
    """``left and right`` or ``left or right``."""

    op: Word["and", "or"]
    left: Node
    right: Node
    offset: int = field(default=0, compare=False)
    type: Type = "bool"


@dataclass(frozen=True, slots=True)
class Not:
    """``not x``"""

    operand: Node
    offset: int = field(default=0, compare=False)
    type: Type = "bool"


@dataclass(frozen=True, slots=True)
class In:
    """``subject in (items)``"""

    subject: Node
    items: tuple[Node, ...]
    offset: int = field(default=0, compare=False)
    type: Type = "bool"


@dataclass(frozen=True, slots=True)
class Between:
    """``subject between low and high``, both ends included."""

    subject: Node
    low: Node
    high: Node
    offset: int = field(default=0, compare=False)
    type: Type = "bool"


@dataclass(frozen=True, slots=True)
class IsNull:
    """``subject is null``"""

    subject: Node
    offset: int = field(default=0, compare=False)
    type: Type = "bool"


@dataclass(frozen=True, slots=True)
class Case:
    """``case when … then … else … end``; ``if(c, a, b)`` becomes one too."""

    branches: tuple[tuple[Node, Node], ...]
    default: Node
    type: Type
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the language."""

    function: FunctionName
    args: tuple[Node, ...]
    type: Type
    offset: int = field(default=0, compare=False)


Node: TypeAlias = (
    Literal | Name | Negative | Arithmetic | Comparison | Logical | Not | In | Between | IsNull | Case | Call
)


def children(node: Node) -> tuple[Node, ...]:
    """The direct parts of a node, in the order of the text."""
    match node:
        case Literal() | Name():
            return ()
        case Negative(operand=operand) | Not(operand=operand):
            return (operand,)
        case Arithmetic(left=left, right=right) | Comparison(left=left, right=right):
            return (left, right)
        case Logical(left=left, right=right):
            return (left, right)
        case In(subject=subject, items=items):
            return (subject, *items)
        case Between(subject=subject, low=low, high=high):
            return (subject, low, high)
        case IsNull(subject=subject):
            return (subject,)
        case Case(branches=branches, default=default):
            return (*(part for branch in branches for part in branch), default)
        case Call(args=args):
            return args


def walk(node: Node) -> Iterator[Node]:
    """The node and everything under it, outermost first."""
    yield node
    for child in children(node):
        yield from walk(child)


def names_in(node: Node) -> frozenset[str]:
    """All names an expression reads."""
    return frozenset(part.name for part in walk(node) if isinstance(part, Name))
