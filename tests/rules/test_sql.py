# ruff: noqa: E501  (messages stand whole)
from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rules.sql import (
    ExpressionError,
    Type,
    compile_scalar,
    decimals_of,
    names_in,
    parse_expression,
    to_polars,
    to_sql,
)
from tests.support.expressions import NAMES, any_kind, rows

SCHEMA: dict[str, Any] = {
    name: {"number": pl.Float64, "text": pl.String, "bool": pl.Boolean}[kind] for name, kind in NAMES.items()
}


def scalar(text: str, **row: Any) -> Any:
    return compile_scalar(parse_expression(text))(row)


def in_polars(text: str, table: Sequence[dict[str, Any]]) -> list[Any]:
    frame = pl.DataFrame(table, schema=SCHEMA)
    return frame.with_columns(to_polars(parse_expression(text, NAMES)).alias("_"))["_"].to_list()


def same(left: Any, right: Any) -> bool:
    if isinstance(left, float) or isinstance(right, float):
        return left is not None and right is not None and float(left) == float(right)
    return (type(left) is type(right) and bool(left == right)) or (left == right and left is not None)


@given(any_kind(), st.lists(rows, min_size=1, max_size=4))
@settings(max_examples=500, deadline=None)
@example(("number", "a % b"), [dict.fromkeys(NAMES) | {"a": -7, "b": 3}])
@example(("number", "round(a)"), [dict.fromkeys(NAMES) | {"a": 2.5}])
@example(("number", "round(a, 1)"), [dict.fromkeys(NAMES) | {"a": 64.125}])
@example(("number", "a / 10"), [dict.fromkeys(NAMES) | {"a": 641}])
@example(("number", "a * a - a * a"), [dict.fromkeys(NAMES) | {"a": 1e300}])
@example(("bool", "s in ('a', null)"), [dict.fromkeys(NAMES) | {"s": "b"}])
def test_polars_and_python_agree(typed: tuple[str, str], table: list[dict[str, Any]]) -> None:
    _, text = typed
    node = parse_expression(text, NAMES)
    run = compile_scalar(node)
    for row, vectorised in zip(table, in_polars(text, table), strict=True):
        one = run(row)
        if one is None or vectorised is None:
            assert one is vectorised, (text, row, one, vectorised)
        else:
            assert same(one, vectorised), (text, row, one, vectorised)
        if isinstance(one, float):
            assert math.isfinite(one)


@pytest.mark.parametrize("text", ["a / 10", "a / 3", "round(a, 2)", "a % 7", "10 / a", "a / b", "a * 1.1"])
@pytest.mark.parametrize("rows_", [1, 2, 1000])
def test_division_rounds_once_however_many_rows_there_are(text: str, rows_: int) -> None:
    chance = random.Random(7)
    table = [dict.fromkeys(NAMES) | {"a": chance.uniform(-1e4, 1e4), "b": 7.3} for _ in range(1000)]
    run = compile_scalar(parse_expression(text, NAMES))
    for start in range(0, 1000, rows_):
        part = table[start : start + rows_]
        assert in_polars(text, part) == [run(row) for row in part]
        if rows_ == 1 and start > 50:
            return


@given(any_kind())
@settings(max_examples=500, deadline=None)
def test_canonical_text_parses_back_to_the_same_tree(typed: tuple[str, str]) -> None:
    _, text = typed
    node = parse_expression(text, NAMES)
    again = parse_expression(to_sql(node), NAMES)
    assert again == node
    assert to_sql(again) == to_sql(node)


@given(any_kind())
@settings(max_examples=200, deadline=None)
def test_types_are_what_was_asked_for(typed: tuple[str, str]) -> None:
    kind, text = typed
    assert parse_expression(text, NAMES).type in (kind, "null")


@pytest.mark.parametrize(
    ("text", "row", "value"),
    [
        ("1 / 4", {}, 0.25),
        ("a / 0", {"a": 5}, None),
        ("a % 0", {"a": 5}, None),
        ("-7 % 3", {}, -1.0),
        ("7 % -3", {}, 1.0),
        ("a + null", {"a": 1}, None),
        ("a > 1 and false", {"a": None}, False),
        ("a > 1 and true", {"a": None}, None),
        ("a > 1 or true", {"a": None}, True),
        ("not (a > 1)", {"a": None}, None),
        ("greatest(a, 1)", {"a": None}, None),
        ("least(3, a, 2)", {"a": 1}, 1.0),
        ("coalesce(a, 7)", {}, 7),
        ("nullif(a, 0)", {"a": 0}, None),
        ("nullif(a, null)", {"a": 3}, 3),
        ("s in ('x', null)", {"s": "y"}, None),
        ("s in ('x', null)", {"s": "x"}, True),
        ("s not in ('x', 'y')", {"s": "z"}, True),
        ("a between 1 and 3", {"a": 3}, True),
        ("a not between 1 and null", {"a": 0}, True),
        ("a is null", {"a": None}, True),
        ("a is not null", {"a": 1}, True),
        ("case when a > 1 then 'big' end", {"a": None}, None),
        ("case s when 'x' then 1 else 2 end", {"s": "x"}, 1),
        ("if(a > 1, 'y', 'n')", {"a": 2}, "y"),
        ("round(2.5)", {}, 3.0),
        ("round(-2.5)", {}, -3.0),
        ("round(0.125, 2)", {}, 0.13),
        ("abs(-3)", {}, 3.0),
        ("1e308 * 10", {}, None),
        ("'a' < 'b'", {}, True),
        ("'Z' < 'a'", {}, True),
        ("a.b + 1", {"a.b": 1}, 2.0),
        ("2 + 3 * 4 - 1", {}, 13.0),
        ("10 - 3 - 2", {}, 5.0),
        ("not true or true", {}, True),
        ("- - 3", {}, 3.0),
    ],
)
def test_semantics(text: str, row: dict[str, Any], value: Any) -> None:
    found = scalar(text, **row)
    assert found == value
    assert (found is None) == (value is None)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("A>=15 AND b<>2", "A >= 15 and b <> 2"),
        ("a != 1.50", "a <> 1.5"),
        ("((a)) + (b * 2)", "a + b * 2"),
        ("(a + b) * 2", "(a + b) * 2"),
        ("a - (b - 1)", "a - (b - 1)"),
        ("s NOT IN ('x','y')", "s not in ('x', 'y')"),
        ("not a between 1 and 2", "a not between 1 and 2"),
        ("a is not null", "a is not null"),
        ("if(f, 1)", "case when f then 1 else null end"),
        ("s = 'it''s'", "s = 'it''s'"),
        ("(f or f) and not (f and f)", "(f or f) and not (f and f)"),
        ("-(-a)", "-(-a)"),
        ("usual.mean+3*usual.sd", "usual.mean + 3 * usual.sd"),
        ("Coalesce(a,0)", "coalesce(a, 0)"),
        ("a > 60\n  and b > 1", "a > 60 and b > 1"),
    ],
)
def test_canonical_text(text: str, canonical: str) -> None:
    assert to_sql(parse_expression(text)) == canonical


WORDS: dict[str, Type] = {"marked": "number", "rate": "number", "usual.mean": "number", "status": "text"}
FUNCTIONS = "abs, coalesce, greatest, if, least, nullif or round"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1: the expression is empty"),
        ("   ", "1: the expression is empty"),
        ("status = 3", "1: status is text and 3 is a number: they cannot be compared"),
        ("marked > 1 and 3 < status", "16: 3 is a number and status is text: they cannot be compared"),
        ("status in ('a', 2)", "17: status is text and 2 is a number: they cannot be compared"),
        ("marked + status > 1", "10: '+' needs a number, but status is text"),
        ("markd > 1", "1: 'markd' is not known here; did you mean 'marked'?"),
        ("MARKED > 1", "1: 'MARKED' is not known here; did you mean 'marked'?"),
        ("usual.man > 1", "1: 'usual.man' is not known here; did you mean 'usual.mean'?"),
        ("xyz > 1", "1: 'xyz' is not known here; expected marked, rate, status or usual.mean"),
        ('status = "late"', "10: \"late\" in double quotes is a name in SQL; expected 'late' for text"),
        ("status = 'late", "10: the quote that begins here is not closed; expected a closing '"),
        ("(marked > 1", "1: this bracket is not closed; expected ')'"),
        ("marked > 1)", "11: ')' is not expected here"),
        ("marked >", "8: something is missing after '>'; expected a value"),
        ("rate > 8%", "9: percent signs are not numbers; expected 0.08 for 8%"),
        ("marked > 1 rate", "12: 'rate' is not expected here"),
        ("marked > 1; rate", "11: ';' is not expected here; expected one expression"),
        (
            "marked > 1 -- many",
            "12: comments are not allowed inside an expression; expected a YAML comment with #",
        ),
        (
            "marked /* all */ > 1",
            "8: comments are not allowed inside an expression; expected a YAML comment with #",
        ),
        ("1 < marked < 3", "1: comparisons cannot be chained; expected two comparisons joined by 'and'"),
        ("status like 'a%'", "1: LIKE is not part of the rule language"),
        ("status || 'x' = 'ax'", "1: DPIPE is not part of the rule language"),
        ("marked::text = '1'", "1: CAST is not part of the rule language"),
        ("marked in (select 1)", "1: IN is not part of the rule language"),
        ("marked is true", "1: 'is' only tests for null; expected 'is null', 'is not null' or '='"),
        ("marked in ()", "1: 'in' needs a list with at least one value; expected in ('a', 'b')"),
        ("greates(marked, 1) > 1", "1: function 'greates' is not known; did you mean 'greatest'?"),
        ("upper(status) = 'A'", f"1: function 'upper' is not known; expected {FUNCTIONS}"),
        (
            "sum(marked) > 1",
            "1: 'sum' is an aggregate and stands alone; expected a measure of its own, used here by its name",
        ),
        ("marked and true", "1: 'and' needs a condition, but marked is a number"),
        ("not marked", "5: 'not' needs a condition, but marked is a number"),
        ("marked + 1", "1: this is a number; expected a condition"),
        ("case when marked then 1 end > 0", "11: 'when' needs a condition, but marked is a number"),
        (
            "if(marked > 1, 'a', 2) = 'a'",
            "21: 2 is a number, but 'a' is text: all results need one type",
        ),
        ("if marked > 1", "1: 'if' needs brackets; expected if(condition, a, b)"),
        ("case when marked > 1 then true", "27: 'case' is not closed; expected 'end'"),
        (
            "round(rate, marked) > 1",
            "13: 'round' needs a fixed number of decimals; expected a whole number from 0 to 9",
        ),
        ("round(rate, 1, 2) > 1", "1: 'round' takes one or two values; expected round(x, 1)"),
        (
            "(marked > 1) < (rate > 2)",
            "2: conditions have no order, so '<' has no meaning; expected '=' or '<>'",
        ),
        ("marked between 'a' and 2", "16: marked is a number and 'a' is text: they cannot be compared"),
        ("(marked > 1) between 1 and 2", "2: 'between' needs a number, but marked > 1 is a condition"),
        ("-status = 1", "2: '-' needs a number, but status is text"),
        (
            "greatest(status, 'a') = 'a'",
            "10: 'greatest' needs a number, but status is text\n18: 'greatest' needs a number, but 'a' is text",
        ),
        (
            "marked\n  > 1\n  and foo",
            "20: 'foo' is not known here; expected marked, rate, status or usual.mean",
        ),
        (
            "markd > 1 and statu = 'x'",
            "1: 'markd' is not known here; did you mean 'marked'?\n15: 'statu' is not known here; did you mean 'status'?",
        ),
        ("marked = 1 = 2", "1: comparisons cannot be chained; expected two comparisons joined by 'and'"),
        ("x" * 4001, "1: the expression has more than 4000 characters"),
        ("+".join(["1"] * 400), "1: the expression has more than 600 words and signs"),
        ("(" * 40 + "1" + ")" * 40, "33: brackets are nested more than 32 deep"),
    ],
)
def test_problems_have_places_and_advice(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as error:
        parse_expression(text, WORDS, want="bool")
    assert str(error.value) == message


def test_nothing_known() -> None:
    with pytest.raises(ExpressionError) as error:
        parse_expression("a > 1", {})
    assert str(error.value) == "1: 'a' is not known here; expected no name: none is known here"


def test_nested_negations_end_in_a_problem_not_in_a_crash() -> None:
    with pytest.raises(ExpressionError) as error:
        parse_expression("not " * 590 + "true")
    assert str(error.value) == "1: the expression is nested too deeply"


def test_names_without_types_take_any_value() -> None:
    node = parse_expression("status in ('x', 'y') and n > 3")
    assert names_in(node) == {"status", "n"}
    frame = pl.DataFrame({"status": ["x", "z"], "n": [4, 4]})
    assert frame.select(to_polars(node))["status"].to_list() == [True, False]


def test_columns_can_be_renamed() -> None:
    node = parse_expression("n > 3 and n is not null")
    frame = pl.DataFrame({"f_n": [4, 1]})
    assert frame.select(to_polars(node, lambda name: pl.col(f"f_{name}")))["f_n"].to_list() == [True, False]


@pytest.mark.parametrize(
    ("text", "decimals"),
    [
        ("n", 0),
        ("t", 1),
        ("t * t", 2),
        ("t + 0.25", 2),
        ("round(t / n, 3)", 3),
        ("t / n", None),
        ("-abs(t)", 1),
        ("coalesce(t, 0.005)", 3),
        ("if(n > 1, t, n)", 1),
        ("s", None),
        ("greatest(n, s)", None),
        ("n + s", None),
        ("null", 0),
    ],
)
def test_decimals_have_a_bound_or_not(text: str, decimals: int | None) -> None:
    assert decimals_of(parse_expression(text), {"n": 0, "t": 1}) == decimals
