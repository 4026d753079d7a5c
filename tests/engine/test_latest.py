"""The latest row of each thing, against a naive reading of the whole log."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.engine.aggregate import ORIGINAL, SIGN
from rules.engine.latest import CORRECTS, EXPIRES, MANY, ORDER, POSITION, Latest
from rules.engine.signed import Effects


@dataclass(frozen=True)
class Said:
    """A mark or a correction of one pupil's morning: what arrived, in order of position."""

    pupil: int
    time: int
    status: str
    corrects: bool


STATUSES = st.sampled_from(["present", "absent_excused", "late"])
SAID = st.builds(Said, st.integers(0, 2), st.integers(0, 5), STATUSES, st.booleans())


def new() -> Latest:
    return Effects().latest["attendance.marked"]


def frame(first: int, said: list[Said]) -> pl.DataFrame:
    """Rows as `Effects` prepares them; the class tells which mark a row comes from."""
    rows = [
        {
            "id": f"e{first + n}", "time": one.time, "_day": 1, POSITION: first + n, "school": "A",
            "pupil": str(one.pupil), "date": "d", "session": "morning", "status": one.status,
            "class": None if one.corrects else f"c{first + n}", ORDER: one.time, EXPIRES: 100,
            CORRECTS: one.corrects,
        }
        for n, one in enumerate(said)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"class": pl.String, "_day": pl.Int32})


def naive(log: list[Said]) -> Counter[tuple[str, ...]]:
    """One thing after the other: (pupil, class, status, id) of the rows in force."""
    marks: dict[int, tuple[int, str, str, str] | None] = {}
    waiting: dict[int, tuple[int, str, str]] = {}
    for position, one in enumerate(log):
        name, mark = f"e{position}", marks.get(one.pupil)
        if one.corrects and mark is None:
            if one.pupil not in waiting or waiting[one.pupil][0] <= one.time:
                waiting[one.pupil] = (one.time, one.status, name)
        elif mark is None:
            order, status, by = one.time, one.status, name
            if one.pupil in waiting and waiting[one.pupil][0] > one.time:
                order, status, by = waiting[one.pupil]
            marks[one.pupil] = (order, f"c{position}", status, by)
        elif mark[0] <= one.time:
            marks[one.pupil] = (one.time, mark[1] if one.corrects else f"c{position}", one.status, name)
    return Counter((str(pupil), *mark[1:]) for pupil, mark in marks.items() if mark)


def pieces(log: list[Said], cuts: list[int]) -> list[pl.DataFrame]:
    places = sorted({0, len(log), *(c for c in cuts if c < len(log))})
    return [frame(a, log[a:b]) for a, b in pairwise(places) if a < b]


def summed(frames: list[pl.DataFrame]) -> Counter[tuple[str, ...]]:
    """The signed rows of all batches added up."""
    total: Counter[tuple[str, ...]] = Counter()
    latest = new()
    for rows in frames:
        for row in latest.replace(rows).select("pupil", "class", "status", "id", SIGN).iter_rows():
            total[row[:-1]] += row[-1]
    return Counter({key: n for key, n in total.items() if n})


@settings(deadline=None)
@given(st.lists(SAID, max_size=40), st.lists(st.integers(1, 39)))
def test_promise_3_the_sum_of_signed_rows_is_the_naive_latest_state(log: list[Said], cuts: list[int]) -> None:
    assert summed(pieces(log, cuts)) == naive(log)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(SAID, max_size=3),
    st.sampled_from(["marks", "corrections", "both"]),
    st.lists(st.integers(0, 9), min_size=MANY + 2, max_size=2 * MANY),
    st.lists(SAID, max_size=3),
)
def test_promise_3_many_rows_of_one_pupil_in_one_batch(
    before: list[Said], what: str, times: list[int], after: list[Said]
) -> None:
    many = [
        Said(
            0, time, "late" if n % 2 else "present", what == "corrections" or (what == "both" and n % 3 == 0)
        )
        for n, time in enumerate(times)
    ]
    log = before + many + after
    expected = naive(log)
    assert summed(pieces(log, [])) == expected
    assert summed(pieces(log, [len(before)])) == expected
    assert summed(pieces(log, list(range(len(log))))) == expected


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ([("m", 1, "present"), ("c", 2, "late")], ("c0", "late", "e1")),
        ([("c", 2, "late"), ("m", 1, "present")], ("c1", "late", "e0")),
        ([("c", 1, "late"), ("m", 2, "present")], ("c1", "present", "e1")),
        ([("c", 1, "late"), ("m", 1, "present")], ("c1", "present", "e1")),
        ([("m", 2, "present"), ("c", 1, "late")], ("c0", "present", "e0")),
        ([("m", 1, "present"), ("m", 1, "late")], ("c1", "late", "e1")),
        (
            [("c", 1, "late"), ("c", 3, "present"), ("c", 2, "late"), ("m", 1, "late")],
            ("c3", "present", "e1"),
        ),
    ],
    ids=["corrected", "correction first", "older one first", "equal times", "older", "re-marked", "several"],
)  # fmt: skip
@pytest.mark.parametrize("cuts", [[], [1], [1, 2, 3]])
def test_promise_3_who_wins(log: list[Any], expected: tuple[str, ...], cuts: list[int]) -> None:
    said = [Said(0, time, status, kind == "c") for kind, time, status in log]
    assert summed(pieces(said, cuts)) == {("0", *expected): 1}


def test_a_correction_without_its_mark_counts_nothing() -> None:
    assert summed([frame(0, [Said(0, 1, "late", corrects=True)])]) == {}


def test_signed_rows_name_the_position_that_is_corrected() -> None:
    latest = new()
    latest.replace(frame(0, [Said(0, 1, "present", corrects=False)]))
    rows = latest.replace(frame(5, [Said(0, 2, "late", corrects=True)]))
    assert rows.select(SIGN, ORIGINAL, "id").rows() == [(-1, 0, "e0"), (1, 0, "e5")]
