from __future__ import annotations

import json
from pathlib import Path

import pytest

from rules.check import as_json, as_text, check
from rules.load import CATALOGUE, load_rules
from schemas.wire import RuleFile

BASE = (Path(__file__).parent / "good" / "base.yaml").read_text(encoding="utf-8")


def test_the_catalogue_has_no_faults() -> None:
    files = load_rules(CATALOGUE)
    assert check(files) == []
    assert as_text([], len(files)) == "8 files: no faults"
    assert json.loads(as_json([], 3)) == {"files": 3, "faults": []}


def test_an_active_rule_needs_a_test_of_each_kind() -> None:
    bare = BASE[: BASE.index("tests:")]
    faults = check([RuleFile("a.yaml", bare)])
    assert as_text(faults, 1) == (
        "a.yaml:1:1: rule too-many-absent: no test shows that the rule fires;"
        " expected a test that expects state: firing\n"
        "a.yaml:1:1: rule too-many-absent: no test shows when the rule must not fire;"
        " expected a test with expect: []\n"
        "1 file: 2 faults"
    )
    assert check([RuleFile("a.yaml", bare.replace("status: active", "status: shadow"))]) == []
    fires = BASE[: BASE.index("  - name: silent")]
    assert [fault.message for fault in check([RuleFile("a.yaml", fires)])] == [
        "no test shows when the rule must not fire"
    ]


def test_all_files_are_told_about_at_once_in_order() -> None:
    files = [
        RuleFile("b.yaml", BASE.replace("P2", "P9")),
        RuleFile(
            "a.yaml",
            BASE.replace("too-many-absent", "other").replace("levl", "level").replace("rate <", "rte <"),
        ),
    ]
    faults = check(files)
    assert as_text(faults, 2) == (
        "a.yaml:17:10: rule other: 'rte' is not known here; did you mean 'rate'?\n"
        "b.yaml:3:11: rule too-many-absent: 'P9' is not a severity; expected P1, P2, P3 or P4\n"
        "2 files: 2 faults"
    )
    assert json.loads(as_json(faults, 2))["faults"][0] == {
        "file": "a.yaml",
        "line": 17,
        "column": 10,
        "rule": "other",
        "message": "'rte' is not known here",
        "expected": "",
        "suggestion": "rate",
    }


PLACES = "city, commune, district, grade, level, ownership, school, school_name or vendor"
NO_RING = "rules that do not inhibit each other in a ring"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"over": "silnt"}, "'over': no rule is named 'silnt'; did you mean 'silent'?"),
        ({"over": "xyz"}, "'over': no rule is named 'xyz'; expected the name of a rule"),
        ({"over": "second"}, "'over': second is itself over silent; expected a rule that judges events"),
        (
            {"group_by": "[session]"},
            f"alerts of silent have no session; expected groups of {PLACES}",
        ),
        ({"inhibited_by": "[secnd]"}, "'inhibited_by': no rule is named 'secnd'; did you mean 'second'?"),
        (
            {"inhibited_by": "[second]"},
            f"'inhibited_by' comes back to this rule: outage → second → outage; expected {NO_RING}",
        ),
    ],
)
def test_what_is_wrong_between_rules(changes: dict[str, str], message: str) -> None:
    parts = {"over": "silent", "group_by": "[vendor]", "inhibited_by": "[silent]", "when": "live >= 5"}
    head = 'title: {vi: "x"}\nseverity: P2\nstatus: draft\nowner: o\nnotify: [a]\nmessage: {vi: "{live}"}\n'
    body = "".join(f"{key}: {value}\n" for key, value in (parts | changes).items())
    silent = head.replace("{live}", "x") + "from: source.heartbeat\ngroup_by: [school]\nsilence: 10m\n"
    second = "over: silent\ngroup_by: [vendor]\nwhen: live > 1\ninhibited_by: [outage]\n"
    files = [
        RuleFile("silent.yaml", f"rule: silent\n{silent}"),
        RuleFile("second.yaml", f"rule: second\n{head}{second}"),
        RuleFile("outage.yaml", f"rule: outage\n{head}{body}"),
    ]
    said = [str(fault) for fault in check(files) if fault.file == "outage.yaml"]
    assert said == [f"outage.yaml:1:1: rule outage: {message}"]
