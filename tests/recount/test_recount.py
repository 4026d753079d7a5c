from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.recount.recount import recount_events, recount_nyc

HERE = Path(__file__).parent
NYC = HERE.parents[2] / "shared" / "data" / "nyc-attendance-2018-19.csv"


def event(kind: str, id: str, time: str, **data: Any) -> str:
    return json.dumps(
        {
            "specversion": "1.0",
            "id": id,
            "source": "s",
            "type": f"attendance.{kind}",
            "time": f"2026-09-07T{time}:00+07:00",
            "data": {"school": "A", "date": "2026-09-07"} | data,
        }
    )


def mark(id: str, time: str, pupil: str, status: str) -> str:
    rest = {"class": "6A", "pupil": pupil, "session": "morning", "status": status}
    return event("marked", id, time, **rest)


def correction(id: str, time: str, pupil: str, new: str) -> str:
    return event("corrected", id, time, pupil=pupil, session="morning", old="present", new=new, by="t")


def report(id: str, time: str, enrolled: int, absent: int) -> str:
    present = enrolled - absent
    return event("day_reported", id, time, enrolled=enrolled, present=present, absent=absent, released=0)


CELL = ("A", "morning", "2026-09-07")


def test_marks_are_counted_once_a_pupil() -> None:
    lines = [mark("1", "07:20", "p", "present"), mark("2", "07:21", "q", "absent_excused")]
    assert recount_events(lines).sessions == {CELL: {"marked": 2, "absent": 1}}


def test_a_repeat_counts_once_and_another_content_is_refused() -> None:
    first = mark("1", "07:20", "p", "present")
    expected = recount_events([first, first, mark("1", "07:20", "p", "absent_excused")])
    assert expected.sessions == {CELL: {"marked": 1, "absent": 0}}
    assert [(refused.line, refused.reason) for refused in expected.refused] == [(3, "id_reused")]
    assert expected.events == 1


def test_the_later_mark_by_event_time_holds_whatever_the_order() -> None:
    early, late = mark("1", "07:20", "p", "absent_unexcused"), mark("2", "07:40", "p", "late")
    for lines in ([early, late], [late, early]):
        assert recount_events(lines).sessions == {CELL: {"marked": 1, "absent": 0}}


def test_of_equal_times_the_one_sent_last_holds() -> None:
    lines = [mark("1", "07:20", "p", "absent_excused"), mark("2", "07:20", "p", "present")]
    assert recount_events(lines).sessions == {CELL: {"marked": 1, "absent": 0}}
    assert recount_events(lines[::-1]).sessions == {CELL: {"marked": 1, "absent": 1}}


def test_a_correction_changes_the_mark_even_if_it_comes_first() -> None:
    marked, corrected = mark("1", "07:20", "p", "present"), correction("2", "08:00", "p", "absent_excused")
    for lines in ([marked, corrected], [corrected, marked]):
        assert recount_events(lines).sessions == {CELL: {"marked": 1, "absent": 1}}


def test_a_correction_without_a_mark_counts_nothing() -> None:
    assert recount_events([correction("2", "08:00", "p", "absent_excused")]).sessions == {}


def test_a_mark_after_a_correction_replaces_it() -> None:
    lines = [
        mark("1", "07:20", "p", "present"),
        correction("2", "08:00", "p", "absent_excused"),
        mark("3", "08:30", "p", "late"),
    ]
    assert recount_events(lines).sessions == {CELL: {"marked": 1, "absent": 0}}


def test_a_later_report_of_a_day_replaces_the_earlier() -> None:
    expected = recount_events([report("2", "16:00", 100, 5), report("1", "15:00", 100, 9)])
    assert expected.days == {
        ("A", "2026-09-07"): {"enrolled": 100, "absent": 5, "present": 95, "released": 0, "reported": 1}
    }


def test_a_school_nobody_knows() -> None:
    expected = recount_events([report("1", "15:00", 100, 5)], known_schools={"B"})
    assert [refused.reason for refused in expected.refused] == ["unknown_school"]
    assert expected.days == {}


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"\xff",
        b"[]",
        b'{"specversion": "1.0", "specversion": "1.0"}',
        report("1", "15:00", 100, 5).replace('"absent": 5', '"absent": NaN').encode(),
        report("1", "15:00", 100, 5).replace('"absent": 5', '"absent": 6').encode(),
        report("1", "15:00", 100, 5).replace('"absent": 5', '"absent": "5"').encode(),
        report("1", "15:00", 100, 5).replace("day_reported", "day_report").encode(),
        report("1", "15:00", 100, 5).replace("+07:00", "").encode(),
    ],
)
def test_what_is_no_event(line: bytes) -> None:
    expected = recount_events([line])
    assert [refused.reason for refused in expected.refused] == ["invalid"]


def test_the_real_file() -> None:
    if not NYC.exists():
        pytest.skip("the shared data is not beside the checkout")
    expected = recount_nyc(NYC)
    assert expected.events == len(expected.days) == 59_399
    assert expected.days["01M015", "2018-09-05"] == {
        "enrolled": 172, "absent": 19, "present": 153, "released": 0, "reported": 1
    }  # fmt: skip
    assert all(
        day["enrolled"] == day["absent"] + day["present"] + day["released"] for day in expected.days.values()
    )


def test_the_recount_imports_the_standard_library_only() -> None:
    tree = ast.parse((HERE / "recount.py").read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= set(sys.stdlib_module_names)
