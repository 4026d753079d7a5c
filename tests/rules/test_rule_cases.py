# ruff: noqa: E501  (messages stand whole)
from __future__ import annotations

import re
from pathlib import Path

import pytest

from rules.cases import Case
from rules.load import CATALOGUE, load_rules, parse_rule
from rules.testing import TestResult, run_all, run_tests
from schemas.errors import DocumentError
from schemas.wire import RuleFile

RULE = """rule: many-absent
title: {vi: Vắng nhiều}
severity: P3
status: STATUS
owner: o
from: attendance.day_reported
group_by: [school]
window: 1 school_day
measures:
  absent: sum(absent)
  rate: absent / sum_enrolled
  sum_enrolled: sum(enrolled)
complete: absent >= 0
when: rate > 0.1
notify: [a]
message: {vi: "{school_name} vắng {absent}"}
tests:
"""


def run(tests: str, status: str = "active") -> list[str]:
    lines = "\n".join(f"  {line}" if line else line for line in tests.splitlines())
    results = run_tests(RuleFile("many.yaml", RULE.replace("STATUS", status) + lines + "\n"))
    return [line for result in results for line in str(result).splitlines()]


def case(expect: str, *, absent: int = 30, school: str = "A") -> str:
    return f"""- name: thirty of a hundred
  schools: {{A: {{name: Tiểu học A}}}}
  events:
    - {{at: "16:30", data: {{school: {school}, enrolled: 100, present: {100 - absent}, absent: {absent}, released: 0}}}}
  expect: {expect}
"""


def test_all_rules_of_the_catalogue_do_what_their_tests_say() -> None:
    results = run_all(load_rules(CATALOGUE))
    assert "\n".join(str(result) for result in results if not result.passed) == ""
    assert len(results) >= 11


@pytest.mark.parametrize("status", ["active", "shadow", "draft", "retired"])
def test_a_case_that_passes(status: str) -> None:
    expect = '[{state: firing, at: "16:30:00", group: {school: A}, reason: condition_met, measures: {absent: 30, rate: 0.3}, says: Tiểu học A vắng 30}]'
    assert run(case(expect), status) == ["many.yaml:18: many-absent: thirty of a hundred: ok"]


def test_a_case_that_must_not_fire() -> None:
    assert run(case("[]", absent=5)) == ["many.yaml:18: many-absent: thirty of a hundred: ok"]


def test_it_fires_although_it_must_not() -> None:
    assert run(case("[]")) == [
        "many.yaml:18: many-absent: thirty of a hundred: FAILED",
        (
            "    fired although nothing expects it: firing at 2026-09-07 16:30:00 for school A (condition_met)"
            " with absent 30, sum_enrolled 100, rate 0.3"
        ),
    ]


def test_it_does_not_fire_although_it_must() -> None:
    assert run(case("[{state: firing, group: {school: A}}]", absent=5)) == [
        "many.yaml:18: many-absent: thirty of a hundred: FAILED",
        "    line 22: expected firing for school A",
        "             but nothing came",
    ]


def test_differences_are_told_one_by_one() -> None:
    expect = (
        '[{state: firing, at: "16:31", group: {school: B}, reason: held, measures: {absent: 31}, says: ốm}]'
    )
    assert run(case(expect)) == [
        "many.yaml:18: many-absent: thirty of a hundred: FAILED",
        "    line 22: expected firing at 2026-09-07 16:31:00 for school B (held) with absent 31",
        (
            "             but there was firing at 2026-09-07 16:30:00 for school A (condition_met)"
            " with absent 30, sum_enrolled 100, rate 0.3"
        ),
        "             at: expected 2026-09-07 16:31:00, got 2026-09-07 16:30:00",
        "             group school: expected 'B', got 'A'",
        "             reason: expected held, got condition_met",
        "             measure absent: expected 31, got 30",
        "             says: expected 'ốm' in 'Tiểu học A vắng 30'",
    ]


def test_another_state_than_expected() -> None:
    assert run(case("[{state: resolved}]")) == [
        "many.yaml:18: many-absent: thirty of a hundred: FAILED",
        "    line 22: expected resolved",
        (
            "             but there was firing at 2026-09-07 16:30:00 for school A (condition_met)"
            " with absent 30, sum_enrolled 100, rate 0.3"
        ),
        "             state: expected resolved, got firing",
    ]


def test_an_event_that_the_engine_refuses_fails_the_test() -> None:
    text = case("[]").replace("present: 70", "present: 71")
    assert run(text) == [
        "many.yaml:18: many-absent: thirty of a hundred: FAILED",
        (
            "    the event of line 21 was refused: data.enrolled: expected enrolled = present + absent + released,"
            " got 100 and 71 + 30 + 0 = 101 (invalid)"
        ),
    ]


def test_time_goes_on_until_the_end_of_the_test() -> None:
    held = RULE.replace("STATUS", "active").replace("when:", "for: 20m\nwhen:")
    text = case('[{state: pending, at: "16:30"}, {state: firing, at: "16:50"}]')
    lines = "\n".join(f"  {line}" for line in text.splitlines())
    short = run_tests(RuleFile("many.yaml", f"{held}{lines}\n"))
    assert [result.passed for result in short] == [False]
    longer = lines.replace("    expect:", '    until: "16:55"\n    expect:')
    assert [result.passed for result in run_tests(RuleFile("many.yaml", f"{held}{longer}\n"))] == [True]


def test_repetitions_and_weeks() -> None:
    text = """rule: pupils
title: {vi: t}
severity: P4
status: draft
owner: o
from: attendance.marked
group_by: [school]
window: 1 school_day
measures:
  pupils: distinct(pupil)
  usual: baseline(pupils, same_weekday, 3)
when: pupils >= 5
notify: [a]
message: {vi: "{pupils}"}
tests:
  - name: five pupils at intervals
    day: 2026-10-05
    history:
      weeks: 3
      events:
        - {at: "07:30", repeat: 2, data: {school: A, class: 1A, pupil: ["a{n}", "b{n}", "c"], session: morning, status: late}}
    events:
      - {at: "07:30:10", repeat: 5, every: 1m, data: {school: A, class: 1A, pupil: "P{n}", session: morning, status: late}}
    expect:
      - {state: firing, at: "07:34:10", measures: {pupils: 5, usual.mean: 1.6666667, usual.days: 3}}
"""
    results = run_tests(RuleFile("pupils.yaml", text))
    assert [str(result) for result in results] == ["pupils.yaml:16: pupils: five pupils at intervals: ok"]


def test_cases_are_typed_values() -> None:
    rule = parse_rule(RULE.replace("STATUS", "active") + "  " + case("[]").replace("\n", "\n  "), "many.yaml")
    (one,) = rule.tests
    assert isinstance(one, Case)
    assert (one.name, one.line, one.fires, one.until) == ("thirty of a hundred", 18, False, None)
    assert one.events[0].data["absent"] == 30


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("  expect: []", "  expct: []"),
            "22:5: rule many-absent: 'expct' is not a key of a test; did you mean 'expect'?",
        ),
        (
            ("- name: thirty of a hundred", "- day: monday\n  name: x"),
            "18:10: rule many-absent: 'monday' is not a day: expected a date such as 2026-09-07",
        ),
        (
            ("  expect: []", '  until: "25"\n  expect: []'),
            '22:13: rule many-absent: \'25\' is not a time of day; expected "07:30" or "07:30:15"',
        ),
        (
            ("  expect: []", '  until: "48:00"\n  expect: []'),
            "22:13: rule many-absent: there is no 48:00; expected up to 47:59 (24:00 and later: the next day)",
        ),
        (
            ("  expect: []", "  expect: [{at: '07:30'}]"),
            "22:14: rule many-absent: an expectation has no 'state'; expected state: firing",
        ),
        (
            ("  expect: []", "  expect: [{state: firing, measures: {rate: high}}]"),
            "22:47: rule many-absent: measure 'rate' is 'high'; expected a number or null",
        ),
        (
            ("  expect: []", "  history: {weeks: 99, events: []}\n  expect: []"),
            "22:22: rule many-absent: 'weeks' is '99'; expected a whole number from 1 to 60",
        ),
        (
            ('{at: "16:30", data', '{at: "16:30", every: soon, data'),
            "21:30: rule many-absent: 'soon' is not a length of time; expected a length such as 30s, 15m, 1h or 1h 30m",
        ),
        (
            ('{at: "16:30", data', '{at: "16:30", type: attendance.mark, data'),
            "21:29: rule many-absent: 'attendance.mark' is not a type of event; did you mean 'attendance.marked'?",
        ),
        (
            ('{at: "16:30", data', "{data"),
            "21:9: rule many-absent: an event has no 'at'; expected at: \"07:30\"",
        ),
        (
            ("{A: {name", "{A: {nme"),
            "19:19: rule many-absent: 'nme' is not a key of a school; did you mean 'name'?",
        ),
    ],
)
def test_what_is_wrong_with_a_test(change: tuple[str, str], message: str) -> None:
    text = case("[]")
    assert change[0] in text
    lines = "\n".join(f"  {line}" for line in text.replace(*change).splitlines())
    with pytest.raises(DocumentError) as error:
        parse_rule(RULE.replace("STATUS", "active") + lines, "many.yaml")
    assert f"many.yaml:{message}" in str(error.value).splitlines()


def test_an_outage_needs_both_ends() -> None:
    text = case("[]").replace("  expect:", '  outage: {from: "07:20"}\n  expect:')
    lines = "\n".join(f"  {line}" for line in text.splitlines())
    with pytest.raises(DocumentError) as error:
        parse_rule(RULE.replace("STATUS", "active") + lines, "many.yaml")
    assert str(error.value) == (
        "many.yaml:22:13: rule many-absent: an outage has a beginning and a later end;"
        ' expected {from: "07:20", to: "07:40"}'
    )


def test_a_result_says_where_its_test_stands() -> None:
    assert str(TestResult("r", "f.yaml", 3, "c", ())) == "f.yaml:3: r: c: ok"


def test_documentation_examples_are_rules_that_pass() -> None:
    page = Path(__file__).parents[2] / "docs" / "rules.md"
    blocks = re.findall(r"(?s)```yaml\n(.*?)```", page.read_text(encoding="utf-8"))
    whole = [block for block in blocks if block.startswith("rule:")]
    parts = [block for block in blocks if not block.startswith("rule:")]
    assert whole
    for block in whole:
        results = run_tests(RuleFile("docs.yaml", block))
        assert results
        assert "\n".join(str(result) for result in results if not result.passed) == ""
    for block in parts:
        parse_rule(_with_part(whole[0], block), "docs.yaml")


def _with_part(rule: str, part: str) -> str:
    """The first example with the keys of a part in place of its own, and without its tests."""
    kept = re.split(r"(?m)^(?=\w)", re.sub(r"(?ms)^tests:.*", "", rule))
    keys = {line.split(":")[0] for line in part.splitlines() if line and line[0].isalpha()}
    if "over" in keys:
        keys |= {"from", "window", "measures", "complete", "message", "where"}
        part += 'message: {vi: "{live:list}"}\n'
    elif not keys & {"measures", "silence", "expect"}:
        part += "measures:\n  m: count(*)\n"
        keys.add("measures")
    if "measures" in keys and "when" not in keys:
        keys |= {"when", "recover", "message", "from"} | (set() if "complete" in keys else {"complete"})
        part += "from: attendance.marked\nwhen: m > 0\nmessage: {vi: x}\n"
    if "silence" in keys:
        keys |= {
            "window",
            "measures",
            "complete",
            "when",
            "recover",
            "for",
            "message",
            "where",
            "from",
            "group_by",
        }
        part += "message: {vi: x}\nfrom: source.heartbeat\ngroup_by: [school]\n"
    if "expect" in keys:
        keys |= {"window", "measures", "complete", "when", "recover", "message", "from"}
        part += 'message: {vi: "{missing:list}"}\n'
    return "".join(text for text in kept if text.split(":")[0] not in keys) + part
