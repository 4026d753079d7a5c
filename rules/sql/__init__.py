"""SQL scalar expressions of rules: parsed and typed once, run in Polars and in plain Python.

Semantics (both back ends, and what `docs/rules.md` tells authors):

* Types are number, text and bool; nothing converts silently. Numbers are IEEE doubles.
* Null is SQL's: arithmetic and comparisons with null are null, ``and``/``or``/``not`` are
  Kleene's, a condition that is null does not hold, ``x in (…)`` is an ``or`` of equalities.
* ``greatest`` and ``least`` of a null are null (not "ignored", as some databases have it).
* ``/`` is real division; ``x / 0`` and ``x % 0`` are null; ``%`` keeps the dividend's sign.
* A result that is not a finite number (overflow) is null.
* ``round`` rounds halves away from zero, as school arithmetic does.
* Text compares by Unicode code points, so case matters.
"""

from __future__ import annotations

from rules.sql.columns import to_polars
from rules.sql.decimals import decimals_of
from rules.sql.parse import parse_expression
from rules.sql.problems import ExpressionError, Problem
from rules.sql.scalar import Value, compile_scalar
from rules.sql.text import to_sql
from rules.sql.tree import Node, Type, names_in

__all__ = [
    "ExpressionError",
    "Node",
    "Problem",
    "Type",
    "Value",
    "compile_scalar",
    "decimals_of",
    "names_in",
    "parse_expression",
    "to_polars",
    "to_sql",
]
