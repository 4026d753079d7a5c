"""Panes: merging in any order, and aggregates against a recount in plain Python."""

from __future__ import annotations

from collections import Counter
from functools import reduce
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.compile import with_id
from rules.engine.aggregate import ORIGINAL, SIGN, contribute
from rules.engine.panes import EVIDENCE, MULTISET_BOUND, Pane, Panes, initial, merge, target_of
from rules.model import Agg, Query, Window
from schemas.topics import MAX_BLOCK_BYTES
from schemas.wire import PaneValue
from tests.support.engine import HOUR, MONDAY, at

AGGS = (
    Agg("count"),
    Agg("count", filter="status = 'late'"),
    Agg("last"),
    Agg("sum", value="amount"),
    Agg("sum", value="amount", filter="amount > 2"),
    Agg("values", value="pupil"),
    Agg("values", value="amount", filter="status <> 'late'"),
)
STATE = st.tuples(
    st.integers(-5, 5), st.integers(-5, 5), st.none() | st.integers(0, 9), st.integers(), st.integers(-9, 9),
    st.dictionaries(st.sampled_from("abc"), st.integers(-2, 2).filter(bool)),
    st.dictionaries(st.integers(0, 3), st.integers(-2, 2).filter(bool)),
).map(list)  # fmt: skip
States = list[PaneValue]


def together(states: list[States]) -> States:
    return reduce(lambda left, right: merge(AGGS, left, right), states, initial(AGGS))


@given(st.lists(STATE, max_size=6), st.randoms(use_true_random=False), st.integers(0, 6))
def test_merging_is_commutative_and_associative(states: list[States], random: Any, cut: int) -> None:
    shuffled = random.sample(states, len(states))
    assert together(shuffled) == together(states)
    assert merge(AGGS, together(states[:cut]), together(states[cut:])) == together(states)


@given(STATE, STATE)
def test_what_was_put_in_can_be_taken_out(left: States, right: States) -> None:
    def negative(value: PaneValue) -> PaneValue:
        if isinstance(value, dict):
            return {key: -count for key, count in value.items()}
        return -value if value is not None else None

    inverse = [None if agg.kind == "last" else negative(v) for agg, v in zip(AGGS, right, strict=True)]
    back = merge(AGGS, merge(AGGS, left, right), inverse)
    kept = [i for i, agg in enumerate(AGGS) if agg.kind != "last"]
    assert [back[i] for i in kept] == [left[i] for i in kept]


def test_a_multiset_beyond_its_bound_is_unknown_and_stays_so() -> None:
    aggs = (Agg("values", "x"),)
    large = merge(aggs, [{}], [dict.fromkeys(range(MULTISET_BOUND + 1), 1)])
    assert large == [None]
    assert merge(aggs, large, [{1: 1}]) == merge(aggs, [{1: 1}], large) == [None]
    assert merge(aggs, [{}], [dict.fromkeys(range(MULTISET_BOUND), 1)]) != [None]


# --- aggregates against a recount -----------------------------------------------------------------

ROW = st.tuples(
    st.sampled_from(["A", "B", None]),
    st.sampled_from(["late", "present", None]),
    st.sampled_from(["p", "q", None]),
    st.none() | st.integers(-3, 6),
    st.integers(at("00:00"), at("00:00", MONDAY + 2) - 1).map(lambda ms: ms // 600_000 * 600_000),
)
WINDOWS = [Window("school_day"), Window("fixed", HOUR // 2), Window("fixed", 7 * HOUR), Window("none")]


def query(window: Window, where: str = "", evidence: str = "") -> Query:
    return with_id(Query("", "attendance.marked", where, ("school", "status"), window, AGGS, evidence))


def signed(log: list[tuple[int, tuple[Any, ...]]]) -> list[dict[str, Any]]:
    """Rows enter; a number that comes again takes its row out."""
    rows, present = [], dict[int, tuple[Any, ...]]()
    for number, row in log:
        sign, values = (-1, present.pop(number)) if number in present else (1, row)
        if sign > 0:
            present[number] = row
        names = ("school", "status", "pupil", "amount", "time")
        rows.append(
            dict(zip(names, values, strict=True))
            | {"id": f"e{number}", SIGN: sign, "_day": (values[4] + 7 * HOUR) // (24 * HOUR)}
        )
    return rows


def start_of(window: Window, time: int) -> int:
    midnight = (time + 7 * HOUR) // (24 * HOUR) * 24 * HOUR - 7 * HOUR
    if window.kind == "none":
        return 0
    return (
        midnight
        if window.kind == "school_day"
        else midnight + (time - midnight) // window.length * window.length
    )


def recount(window: Window, rows: list[dict[str, Any]]) -> dict[Any, Any]:
    out: dict[Any, Any] = {}
    for row in rows:
        key = (start_of(window, row["time"]), (row["school"] or "", row["status"] or ""))
        pane = out.setdefault(key, [0, 0, None, 0, 0, {}, {}])
        sign, amount = row[SIGN], row["amount"]
        pane[0] += sign
        pane[1] += sign * (row["status"] == "late")
        if sign > 0:
            pane[2] = max(pane[2] or 0, row["time"])
        pane[3] += sign * (amount or 0)
        pane[4] += sign * (amount if amount is not None and amount > 2 else 0)
        values = [(5, row["pupil"])]
        values += [(6, amount)] if row["status"] not in (None, "late") else []
        for place, value in values:
            if value is not None:
                pane[place][value] = pane[place].get(value, 0) + sign
    for pane in out.values():
        for place in (5, 6):
            pane[place] = {value: count for value, count in pane[place].items() if count}
    return out


def contributed(asked: Query, rows: list[dict[str, Any]], cuts: list[int]) -> dict[Any, Pane]:
    panes, found = Panes(1), {}
    places = sorted({0, len(rows), *(c for c in cuts if c < len(rows))})
    for a, b in pairwise(places):
        schema = {"amount": pl.Int64, "_day": pl.Int32, SIGN: pl.Int64}
        frame = pl.DataFrame(
            rows[a:b], schema_overrides=schema | dict.fromkeys(["school", "status", "pupil"], pl.String())
        )
        contribute(
            panes, asked, frame.with_columns(pl.lit(None, pl.Int64).alias(ORIGINAL)), b, corrected=False
        )
    for (_, start), changed in panes.take_unsent():
        for pane in changed:
            found[start, pane.group] = pane
    return found


LOG = st.lists(st.tuples(st.integers(0, 12), ROW), max_size=40)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@settings(max_examples=40, deadline=None)
@given(log=LOG, cuts=st.lists(st.integers(1, 39)))
def test_aggregates_equal_a_naive_recount(window: Window, log: Any, cuts: list[int]) -> None:
    rows = signed(log)
    found = contributed(query(window), rows, cuts)
    expected = recount(window, rows)
    assert {key: pane.states for key, pane in found.items()} == expected
    assert {key: pane.rows for key, pane in found.items()} == {key: pane[0] for key, pane in expected.items()}


@settings(max_examples=60, deadline=None)
@given(log=LOG, cuts=st.lists(st.integers(1, 39)))
def test_evidence_is_the_first_events_that_are_still_in_force(log: Any, cuts: list[int]) -> None:
    rows = signed([(number, row) for number, row in log])
    asked = query(Window("school_day"), where="school = 'A'", evidence="amount > 0")
    seen = Counter[str]()
    for row in rows:
        seen[row["id"]] += 1
        row["id"] += "" if seen[row["id"]] < 3 else f"-{(seen[row['id']] + 1) // 2}"  # an id comes once
    found = contributed(asked, rows, cuts)
    gone = {r["id"] for r in rows if r[SIGN] < 0}
    for (start, group), pane in found.items():
        expected = sorted(
            (r["time"], r["id"])
            for r in rows
            if r["id"] not in gone and r["school"] == group[0] == "A" and (r["status"] or "") == group[1]
            and (r["amount"] or 0) > 0 and start_of(Window("school_day"), r["time"]) == start
        )  # fmt: skip
        assert pane.evidence == expected[:EVIDENCE]


def test_a_group_is_text_and_expressions_read_what_the_event_said() -> None:
    aggs = (Agg("count", filter="status is null"),)
    asked = with_id(Query("", "attendance.marked", "", ("status",), Window("none"), aggs, ""))
    rows = [
        {
            "school": "A",
            "status": None,
            "pupil": "p",
            "amount": 1,
            "time": at("07:00"),
            "id": "e",
            SIGN: 1,
            "_day": MONDAY,
        }
    ]
    assert {key: pane.states for key, pane in contributed(asked, rows, []).items()} == {(0, ("",)): [1]}


# --- snapshots ------------------------------------------------------------------------------------


def test_a_shard_of_panes_is_read_back_from_bounded_blocks() -> None:
    aggs = (Agg("values", "x"), Agg("last"))
    asked = with_id(Query("", "attendance.marked", "", ("school",), Window("none"), aggs, ""))
    panes, again = Panes(4), Panes(4)
    for number in range(6000):
        pane = panes.change(asked, 5, (f"S{number}",))
        pane.rows, pane.states, pane.position = number, [{f"{n:050d}": 1 for n in range(20)}, number], number
    blocks = [block for shard in panes.shards() for block in panes.encode_shard(shard)]
    assert max(map(len, blocks)) <= MAX_BLOCK_BYTES
    assert len(blocks) > 8
    for block in blocks:
        again.load_block(block)
    assert len(again) == 6000
    pane = again.change(asked, 5, ("S77",))
    assert (pane.rows, pane.states[1], pane.position) == (77, 77, 77)
    assert pane.target == target_of(asked.id, ("S77",), 4)


def test_panes_of_old_windows_and_of_unasked_queries_are_forgotten() -> None:
    asked = query(Window("none"))
    panes = Panes(1)
    for start in (0, 10, 20):
        panes.change(asked, start, ("A", ""))
    panes.expire(20)
    assert {start for _, start, _ in panes.shards()} == {0, 20}
    assert len(panes.take_stale()) == 2
    panes.keep_queries([])
    assert len(panes) == 0
    assert list(panes.take_unsent()) == []
