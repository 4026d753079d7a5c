"""Text → sqlglot's tree → our typed tree, with every problem at its place.

sqlglot (its plain dialect) does the SQL grammar. What it gives is narrowed to the words of the
rule language; everything else is refused rather than passed on.
"""

from __future__ import annotations

from collections.abc import Mapping

from rules.sql.problems import ExpressionError
from rules.sql.source import Source
from rules.sql.tree import Node, Type
from rules.sql.typing import Typing


def parse_expression(text: str, names: Mapping[str, Type] | None = None, *, want: Type | None = None) -> Node:
    """Parse and type one expression that may read ``names``; None: any name, of any type.

    ``want`` is the type the result must have. Raises `ExpressionError` with all problems found.
    """
    source = Source(text)
    typing = Typing(source, names)
    node = typing.node(source.tree())
    typing.want(node, want)
    if typing.problems:
        raise ExpressionError(typing.problems)
    return node
