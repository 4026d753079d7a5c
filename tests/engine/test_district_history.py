"""Dated dimensions through the count core, on the example district."""

from __future__ import annotations

from pathlib import Path

from rules.engine.count import CountCore
from schemas.civil import parse_day
from schemas.reference_files import load_reference
from tests.support.engine import ONE, Tape, at, panes_of, rule, run

REFERENCE = load_reference(Path(__file__).parents[2] / "examples" / "thanh-tri")
BEFORE, AFTER = parse_day("2026-10-30"), parse_day("2026-11-02")
COUNTS = rule(
    "by-commune",
    """\
from: attendance.marked
group_by: [commune]
window: 1 school_day
measures:
  absent: count(*) filter (where status = 'absent_unexcused')
when: absent >= 100
""",
)


def absent_of(tape: Tape) -> dict[tuple[str, ...], list[object]]:
    _, out = run(CountCore(0, ONE), [tape.batch()])
    found: dict[tuple[str, ...], list[object]] = {}
    for (_, _, group), pane in panes_of(out).items():
        found.setdefault(group, []).append((pane.rows, list(pane.states)))
    return found


def test_a_correction_after_the_move_stays_with_the_commune_of_that_day() -> None:
    tape = Tape()
    tape.control(rules=[COUNTS], reference=REFERENCE, clock_mode="data")
    tape.mark("TT-TH-07", "p", "present", at("07:30", BEFORE), day=BEFORE)
    tape.mark("TT-TH-07", "q", "present", at("07:30", AFTER), day=AFTER)
    tape.correct("TT-TH-07", "p", "absent_unexcused", at("09:00", AFTER), day=BEFORE)
    tape.pulse(at("09:01", AFTER))
    found = absent_of(tape)
    assert set(found) == {("00664",), ("00640",)}
    assert found["00664",] == [(1, [1])]
    assert found["00640",] == [(1, [0])]


def test_a_closed_class_leaves_the_roster() -> None:
    group = {"school": "TT-TH-02", "class": "5E"}
    assert REFERENCE.roster_size(group, parse_day("2026-10-31")) is not None
    assert REFERENCE.roster_size(group, parse_day("2026-11-01")) is None
