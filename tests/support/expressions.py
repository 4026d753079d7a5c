"""Hypothesis strategies for expressions of the rule language and rows to run them on."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from rules.sql.tree import Type

NAMES: dict[str, Type] = {
    "a": "number",
    "b": "number",
    "usual.mean": "number",
    "s": "text",
    "t": "text",
    "f": "bool",
}
_NUMBERS = st.one_of(
    st.none(),
    st.integers(-1000, 1000),
    st.floats(-1e6, 1e6, allow_nan=False),
    st.sampled_from([0, 0.5, -0.5, 1.5, 2.5, 1e300, -1e300, 1e-300]),
)
_TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "b", "Vắng", "it's", "Z"]))

rows = st.fixed_dictionaries(
    {
        "a": _NUMBERS,
        "b": _NUMBERS,
        "usual.mean": _NUMBERS,
        "s": _TEXTS,
        "t": _TEXTS,
        "f": st.sampled_from([None, True, False]),
    }
)
"""One row: a value or null for each of `NAMES`."""

_LEAVES = {
    "number": st.sampled_from(["a", "b", "usual.mean", "0", "1", "2.5", "0.08", "1e300", "null", "100"]),
    "text": st.sampled_from(["s", "t", "'a'", "'it''s'", "'Vắng'", "''", "null"]),
    "bool": st.sampled_from(["f", "true", "false", "null", "a > 1", "s = 'a'"]),
}


@st.composite
def expressions(draw: st.DrawFn, kind: str = "bool", depth: int = 3) -> str:
    """Text of an expression of one type."""
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        return draw(_LEAVES[kind])
    make = {"number": _number, "text": _text, "bool": _bool}[kind]
    return make(draw, depth - 1)


def _common(draw: st.DrawFn, kind: str, depth: int) -> str:
    def inner(of: str = kind) -> str:
        return draw(expressions(of, depth))

    form = draw(st.integers(0, 3))
    if form == 0:
        return (
            f"case when {inner('bool')} then {inner()} when {inner('bool')} then {inner()} else {inner()} end"
        )
    if form == 1:
        return f"if({inner('bool')}, {inner()}, {inner()})"
    if form == 2:
        return f"coalesce({inner()}, {inner()}, {inner()})"
    return f"nullif({inner()}, {inner()})"


def _number(draw: st.DrawFn, depth: int) -> str:
    def inner() -> str:
        return draw(expressions("number", depth))

    form = draw(st.integers(0, 5))
    if form == 0:
        return _common(draw, "number", depth)
    if form == 1:
        return f"-({inner()})"
    if form == 2:
        return f"{draw(st.sampled_from(['greatest', 'least']))}({inner()}, {inner()})"
    if form == 3:
        return f"abs({inner()})"
    if form == 4:
        return f"round({inner()}, {draw(st.integers(0, 3))})"
    return f"({inner()}) {draw(st.sampled_from('+-*/%'))} ({inner()})"


def _text(draw: st.DrawFn, depth: int) -> str:
    return _common(draw, "text", depth)


def _bool(draw: st.DrawFn, depth: int) -> str:
    def inner(of: str) -> str:
        return "(" + draw(expressions(of, depth)) + ")"

    form = draw(st.integers(0, 6))
    side = draw(st.sampled_from(["number", "text"]))
    no = draw(st.sampled_from(["", "not "]))
    if form == 0:
        return _common(draw, "bool", depth)
    if form == 1:
        return f"not {inner('bool')}"
    if form == 2:
        return f"{inner(side)} {no}in ({inner(side)}, {inner(side)}, {draw(_LEAVES[side])})"
    if form == 3:
        return f"{inner(side)} {no}between {inner(side)} and {inner(side)}"
    if form == 4:
        return f"{inner(draw(st.sampled_from(['number', 'text', 'bool'])))} is {no}null"
    if form == 5:
        return f"{inner(side)} {draw(st.sampled_from(['=', '<>', '!=', '<', '<=', '>', '>=']))} {inner(side)}"
    return f"{inner('bool')} {draw(st.sampled_from(['and', 'or']))} {inner('bool')}"


def any_kind() -> st.SearchStrategy[tuple[str, Any]]:
    """(type, text) of an expression of any type."""
    return st.sampled_from(["number", "text", "bool"]).flatmap(
        lambda kind: st.tuples(st.just(kind), expressions(kind))
    )
