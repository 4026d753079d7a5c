"""Random mornings of two partitions, with rules that change: restoring every core after every record
changes no transition, and every life is legal."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from rules.engine.life import NEXT
from schemas.civil import DAY_MS
from schemas.wire import RuleFile, Transition
from tests.support.engine import MINUTE, MONDAY, Station, at, organisation, rule, school_of

SCHOOLS = (school_of(0, 2), school_of(1, 2))
COUNTED = """\
from: attendance.marked
group_by: [school]
window: {window}
measures:
  marked: count(*)
  absent: count(*) filter (where status = 'absent_unexcused')
  rate: absent / marked
"""
ROLL = """\
expect: {{every: class, event: attendance.marked, by: "07:{minute:02d}", on: school_day}}
group_by: [school, session]
"""


def rules(version: int) -> list[RuleFile]:
    """Three sets that have something in common; all but one expect marks of every class."""
    day, half_hour = COUNTED.format(window="1 school_day"), COUNTED.format(window="30m")
    commune = day.replace("[school]", "[commune]")
    found = [
        rule("ratio", f"{day}when: rate > 0.{4 + version}\nrecover: rate < 0.3\ncomplete: marked >= 2\n"),
        rule("many", f"{half_hour if version == 2 else day}when: absent >= {1 + version}\nfor: 2m\n"),
        rule("silent", f"from: source.heartbeat\ngroup_by: [school]\nsilence: {4 + version}m\n"),
    ]
    if version != 1:  # comes, goes and comes again
        found.append(rule("roll", ROLL.format(minute=6 + 4 * version)))
    return [*found, rule("commune", f"{commune}when: rate > 0.5\n")] if version else found


STEP = st.tuples(
    st.sampled_from(
        ["mark", "mark", "mark", "correct", "heartbeat", "pulse", "pulse", "alone", "control", "day"]
    ),
    st.integers(0, 1),
    st.integers(0, 2),
    st.sampled_from(["present", "absent_unexcused"]),
)


def played(steps: list[tuple[str, int, int, str]], *, restarts: bool) -> Station:
    station = Station(partitions=2, restarts=restarts)
    station.control(rules=rules(0), reference=organisation(SCHOOLS))
    clock, day = at("07:00"), MONDAY
    for what, where, number, status in steps:
        tape, school = station.tapes[where], SCHOOLS[where]
        clock += 7000
        match what:
            case "mark":
                tape.mark(school, f"P{number}", status, clock, day=day)
            case "correct":
                tape.correct(school, f"P{number}", status, clock, day=day)
            case "heartbeat":
                tape.heartbeat(school, clock)
            case "pulse":
                clock += number * MINUTE
                station.pulse(clock, every=MINUTE)
            case "alone":
                tape.pulse(clock + MINUTE, every=MINUTE)
                station.go()
            case "control":
                station.control(rules=rules(number))
            case "day":
                clock += DAY_MS * (1 + 10 * number)
                day = MONDAY + (clock - at("00:00")) // DAY_MS
    station.pulse(clock + 3 * DAY_MS)
    return station


def lives(steps: list[Transition]) -> dict[str, list[Transition]]:
    found: dict[str, list[Transition]] = {}
    for step in steps:
        found.setdefault(step.alert, []).append(step)
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(STEP, max_size=40))
def test_promise_1_a_restored_judge_goes_on_as_if_nothing_had_been(
    steps: list[tuple[str, int, int, str]],
) -> None:
    through, restored = played(steps, restarts=False), played(steps, restarts=True)
    assert lives(restored.steps) == lives(through.steps)
    assert sorted(map(repr, restored.aggregates)) == sorted(map(repr, through.aggregates))
    for life in lives(through.steps).values():
        assert [step.ordinal for step in life] == [*range(1, len(life) + 1)]
        states = ["", *(step.state for step in life)]
        assert all(after in NEXT[before] for before, after in pairwise(states))
        today = life[0].window_start > through.tape.clock - DAY_MS  # a roll missing on the very last day
        assert states[-1] not in NEXT or life[0].rule == "silent" or (life[0].rule == "roll" and today)
    for row in through.aggregates:
        assert (row.measures.get("marked") or 0) >= (row.measures.get("absent") or 0) >= 0
