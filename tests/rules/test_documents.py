# ruff: noqa: E501  (messages stand whole)
from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.compile import content_hash, with_id
from rules.lengths import length_text, parse_length
from rules.load import CATALOGUE, load_rules, parse_rule, parse_rules
from rules.model import Agg, Baseline, Complete, Direct, Formula, Query, Rule, Silence, Window
from schemas.errors import DocumentError
from schemas.wire import RuleFile

HERE = Path(__file__).parent
BAD = sorted((HERE / "bad").glob("*.yaml"))
BASE = (HERE / "good" / "base.yaml").read_text(encoding="utf-8")


def rule(text: str = BASE, **changes: str) -> Rule:
    """The base rule with whole lines replaced by key; an empty value removes the line."""
    for key, value in changes.items():
        name = key.rstrip("_")
        line = f"{name}: {value}\n" if value else ""
        text, count = re.subn(rf"(?m)^{name}: .*\n", line.replace("\\", r"\\"), text)
        assert count == 1, key
    return parse_rule(text, "base.yaml")


def measured(lines: str, when: str = "marked > 1") -> Rule:
    text = re.sub(r"(?s)measures:\n.*?complete: .*?\n", f"measures:\n{lines}\n", BASE)
    text = re.sub(r"(?m)^(when|recover): .*\n", "", text)
    text = re.sub(r"(?s)tests:.*", "", text)
    text = re.sub(r"(?m)^message: .*", 'message: {vi: "{school}"}', text)
    return parse_rule(text + f"when: {when}\n", "measured.yaml")


def faults(text: str, file: str = "bad.yaml") -> str:
    with pytest.raises(DocumentError) as error:
        parse_rule(text, file)
    return str(error.value)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_each_bad_document_has_its_one_fault(path: Path) -> None:
    found = faults(path.read_text(encoding="utf-8"), path.name)
    assert found + "\n" == path.with_suffix(".txt").read_text(encoding="utf-8")
    assert len(found.splitlines()) == 1


def test_there_are_enough_bad_documents_and_each_has_its_text() -> None:
    assert len(BAD) >= 30
    assert {path.stem for path in BAD} == {path.stem for path in (HERE / "bad").glob("*.txt")}


@pytest.mark.parametrize("path", sorted((HERE / "good").glob("*.yaml")), ids=lambda path: path.stem)
def test_good_documents_are_rules(path: Path) -> None:
    assert parse_rule(path.read_text(encoding="utf-8"), path.name).file == path.name


def test_all_faults_come_at_once_in_the_order_of_the_document() -> None:
    text = """rule: Bad
title: {vi: a, en: b, fr: c}
severity: P7
status: active
status: draft
from: attendance.markd
where: statu = 'x' and
group_by: [schol]
window: 1 day
measures:
  rate: absent / markd
  absent: >
    count(*) filter
    (where status = "x")
when: rate > '8'
notify: []
message: {vi: "{x} {rate:#}"}
"""
    numbers = (
        "{rate}, {rate:%}, {rate:%0}, {rate:%1}, {rate:%2}, {rate:.0}, {rate:.1}, {rate:.2} or {rate:.3}"
    )
    name = "small letters, digits and single hyphens, such as absence-spike"
    assert faults(text).splitlines() == [
        "bad.yaml:1:1: rule Bad: 'owner' is missing; expected who answers for the rule",
        f"bad.yaml:1:7: rule Bad: 'Bad' is not a rule name; expected {name}",
        "bad.yaml:2:23: rule Bad: 'fr' is not a key of 'title'; expected vi or en",
        "bad.yaml:3:11: rule Bad: 'P7' is not a severity; expected P1, P2, P3 or P4",
        "bad.yaml:5:1: rule Bad: 'status' is here for the second time (first in line 4)",
        "bad.yaml:6:7: rule Bad: 'attendance.markd' is not a type of event; did you mean 'attendance.marked'?",
        "bad.yaml:7:20: rule Bad: something is missing after 'and'; expected a value",
        "bad.yaml:9:9: rule Bad: '1 day' is not a window; expected 1 school_day or a length such as 30m or 1h",
        "bad.yaml:11:18: rule Bad: 'markd' is not known here; expected absent or rate",
        "bad.yaml:14:21: rule Bad: \"x\" in double quotes is a name in SQL; expected 'x' for text",
        "bad.yaml:15:7: rule Bad: rate is a number and '8' is text: they cannot be compared",
        "bad.yaml:16:9: rule Bad: 'notify' is an empty list; expected at least one name",
        "bad.yaml:17:17: rule Bad: placeholder 'x' is not known; expected absent, at, rate, schol or since",
        f"bad.yaml:17:21: rule Bad: '#' is not a format for {{rate}}; expected {numbers}",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.yaml:1:1: the document is empty; expected a rule: its keys and values"),
        ("- a\n", "x.yaml:1:1: 'a rule' is not a group of keys; expected key: value"),
        ("just text\n", "x.yaml:1:1: 'a rule' is not a group of keys; expected key: value"),
        ("# x\n" * 70_000, "x.yaml:1:1: the file has more than 256 KiB"),
        ("[" * 2000, "x.yaml:1:1: the document is nested too deeply"),
        (
            "a: \x01\n",
            "x.yaml:1:1: this is not YAML: unacceptable character #x0001: special characters are not allowed",
        ),
    ],
)
def test_what_is_not_a_document(text: str, message: str) -> None:
    with pytest.raises(DocumentError) as error:
        parse_rule(text, "x.yaml")
    assert str(error.value) == message.replace("'a rule'", "a rule")


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("where: 'level = ''a'' and foo = 1'", "1:27"),
        ("where: \"level = 'a' and foo = 1\"", "1:25"),
        ("where: \"level = '\\u0061' and foo = 1\"", "1:30"),
        ("where: >\n  level = 'a'\n  and foo = 1", "3:7"),
        ("where: |\n  level = 'a'\n    and foo = 1", "3:9"),
        ("where: level = 'a'\n  and foo = 1", "2:7"),
        ("where: >-\n\n  level = 'a' and\n\n  foo = 1", "5:3"),
    ],
)
def test_places_inside_every_style_of_scalar(written: str, place: str) -> None:
    text = written + "\n" + re.sub(r"(?m)^where: .*\n", "", BASE)
    assert faults(text).startswith(f"bad.yaml:{place}: rule too-many-absent: 'foo' is not known here")


def test_a_rule_is_compiled_to_a_query_and_measures() -> None:
    compiled = rule()
    late = "status <> 'present'"
    assert compiled.query.type == "attendance.marked"
    assert compiled.query.where == "level = 'primary'"
    assert compiled.query.group_by == ("school", "session")
    assert compiled.query.window == Window("school_day")
    assert compiled.query.aggs == (Agg("count"), Agg("count", filter=late))
    assert compiled.query.evidence == late
    assert compiled.measures == (
        Direct("marked", "count", 0),
        Direct("absent", "count", 1),
        Formula("rate", "absent / marked"),
        Baseline("usual", "rate", "same_weekday", 4, 0.0, "marked"),
    )
    assert compiled.when == "marked >= 15 and rate > usual.mean + 3 * usual.sd"
    assert compiled.complete == Complete(0.6, "marked")
    assert compiled.hold == 300_000
    assert compiled.school_in_group
    assert not compiled.monotone
    assert compiled.title.en == "Many absent"
    assert compiled.message.en == compiled.message.vi
    assert len(compiled.tests) == 2


def test_silence() -> None:
    compiled = parse_rule((HERE / "good" / "silent.yaml").read_text(encoding="utf-8"), "s.yaml")
    assert compiled.silence == Silence(900_000)
    assert compiled.query.window == Window("none")
    assert compiled.query.aggs == (Agg("last"),)
    assert compiled.measures == (Direct("last", "last", 0),)
    assert (compiled.when, compiled.recover, compiled.complete) == ("", "", None)


def test_measures_come_after_what_they_are_computed_from() -> None:
    compiled = measured(
        "  c: a + b\n  b: a * 2\n  a: marked\n  marked: count(*)\n  u: baseline(c, same_weekday, 2, 0.5)"
    )
    assert [measure.name for measure in compiled.measures] == ["marked", "a", "b", "c", "u"]
    assert compiled.measures[-1] == Baseline("u", "c", "same_weekday", 2, 0.5, "")


def test_aggregates_are_sorted_and_shared() -> None:
    compiled = measured(
        "  marked: count(*)\n"
        "  pupils: distinct(pupil)\n"
        "  same: COUNT(DISTINCT pupil)\n"
        "  few: count(*) filter (where  status='late')\n"
        "  few_again: count(*) FILTER (WHERE status = 'late')"
    )
    assert compiled.query.aggs == (
        Agg("count"),
        Agg("count", filter="status = 'late'"),
        Agg("values", "pupil"),
    )
    assert [m.index for m in compiled.measures if isinstance(m, Direct)] == [0, 2, 2, 1, 1]


def test_a_baseline_of_a_baseline_is_refused() -> None:
    with pytest.raises(DocumentError) as error:
        measured(
            "  marked: count(*)\n"
            "  usual: baseline(marked, same_weekday, 4)\n"
            "  more: marked - usual.mean\n"
            "  twice: baseline(more, same_weekday, 4)"
        )
    expected = "measured.yaml:14:19: rule too-many-absent: 'more' is computed from a baseline itself; expected a measure without one"
    assert str(error.value) == expected


@pytest.mark.parametrize(
    ("when", "monotone"),
    [
        ("marked >= 5", True),
        ("marked > 5 and late >= 2 or pupils > 3", True),
        ("5 < marked", True),
        ("marked < 5", False),
        ("marked = 5", False),
        ("not marked < 5", False),
        ("rate > 0.1", False),
        ("marked > late", False),
        ("marked > 5 and rate > 0.1", False),
        ("marked > -1", True),
    ],
)
def test_monotone_conditions(when: str, *, monotone: bool) -> None:
    compiled = measured(
        "  marked: count(*)\n"
        "  late: count(*) filter (where status = 'late')\n"
        "  pupils: distinct(pupil)\n"
        "  rate: late / marked",
        when,
    )
    assert compiled.monotone is monotone


DAY = """rule: day
title: {vi: a}
severity: P3
status: active
owner: o
from: attendance.day_reported
group_by: [school]
window: 1 school_day
measures:
  total: TEXT
when: total > 3
notify: [a]
message: {vi: "{total}"}
"""


@pytest.mark.parametrize(
    ("text", "agg", "monotone"),
    [
        ("sum(absent)", Agg("sum", "absent"), True),
        ("sum(absent + released)", Agg("sum", "absent + released"), True),
        ("sum(absent - released)", Agg("sum", "absent - released"), False),
        ("sum(absent * 0.25)", Agg("sum", "absent * 0.25", "", 2), True),
        ("sum(round(absent / enrolled, 3))", Agg("sum", "round(absent / enrolled, 3)", "", 3), False),
        ("max(absent)", Agg("values", "absent"), True),
        ("min(absent)", Agg("values", "absent"), False),
        ("sum(absent) filter (where absent > 2)", Agg("sum", "absent", "absent > 2"), True),
    ],
)
def test_sums_are_exact_and_know_whether_they_can_fall(text: str, agg: Agg, *, monotone: bool) -> None:
    compiled = parse_rule(DAY.replace("TEXT", text), "day.yaml")
    assert compiled.query.aggs == (agg,)
    assert compiled.monotone is monotone


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "sum(absent / enrolled)",
            (
                "14: the number of decimals of absent / enrolled has no bound, so its sum could not be exact;"
                " expected round(…, 2) around it"
            ),
        ),
        ("sum(absent > 1)", "14: 'sum' needs a number, but absent > 1 is a condition"),
        ("sum(*)", "14: STAR is not part of the rule language"),
        ("max(absent, present)", "10: 'max' takes one value; expected max(x)"),
        ("distinct(absent, present)", "10: 'distinct' takes one value; expected distinct(x)"),
        (
            "avg(absent)",
            "10: 'avg' is an aggregate and stands alone; expected a measure of its own, used here by its name",
        ),
        ("absent + 1", "10: 'absent' is not known here; expected total"),
        ("count(*) filter (where absent)", "33: this is a number; expected a condition"),
    ],
)
def test_what_is_wrong_with_a_measure(text: str, message: str) -> None:
    found = faults(DAY.replace("TEXT", text), "day.yaml").splitlines()[0]
    column, _, rest = message.partition(": ")
    assert found == f"day.yaml:10:{column}: rule day: {rest}"


def test_a_complete_condition_reads_measures() -> None:
    assert rule(complete="marked >= 10").complete == Complete(condition="marked >= 10")


def test_an_evidence_filter_can_be_given() -> None:
    assert rule(complete="marked >= 1\nevidence: status = 'late'").query.evidence == "status = 'late'"


def test_the_hash_is_of_the_meaning() -> None:
    same = re.sub(r"(?s)tests:.*", "", BASE.replace("severity: P2", "severity:   'P2'   # who is woken"))
    assert parse_rule(same, "elsewhere.yaml").hash == rule().hash
    assert parse_rule(BASE.replace("absent / marked", "absent/marked"), "b.yaml").hash == rule().hash
    changed = [rule(severity="P1"), rule(when="marked >= 15"), rule(notify="[a]"), rule(for_="6m")]
    assert len({rule().hash, *(other.hash for other in changed)}) == 5


def test_equal_queries_have_equal_ids_whatever_else_differs() -> None:
    assert rule(severity="P1", for_="9m", when="marked > 3 and absent > 1").query == rule().query
    assert rule(where="level='primary'").query.id == rule().query.id
    assert rule(where="level = 'special'").query.id != rule().query.id


AGGS = st.builds(
    Agg,
    st.sampled_from(["count", "sum", "values", "last"]),
    st.text("ab',| ", max_size=3),
    st.text("ab',| ", max_size=3),
    st.integers(0, 3),
)
QUERIES = st.builds(
    Query,
    st.just(""),
    st.text("ab.", max_size=3),
    st.text("ab',| ", max_size=3),
    st.lists(st.text("ab, ", max_size=2), max_size=2).map(tuple),
    st.builds(Window, st.sampled_from(["school_day", "fixed"]), st.integers(0, 2)),
    st.lists(AGGS, max_size=2).map(tuple),
    st.text("ab',| ", max_size=3),
)


@given(QUERIES, QUERIES)
def test_ids_differ_exactly_when_queries_do(left: Query, right: Query) -> None:
    assert (with_id(left).id == with_id(right).id) == (left == right)
    assert len(with_id(left).id) == 32
    assert with_id(replace(left, id="other")).id == with_id(left).id


def test_a_hash_keeps_parts_apart() -> None:
    assert content_hash({"a": "bc"}) != content_hash({"ab": "c"})


def test_rules_are_put_together_sorted_without_drafts() -> None:
    named = [
        RuleFile(
            f"{name}.yaml",
            BASE.replace("too-many-absent", name).replace("status: active", f"status: {status}"),
        )
        for name, status in [("b", "active"), ("a", "shadow"), ("c", "draft"), ("d", "retired")]
    ]
    together = parse_rules(named)
    assert [one.name for one in together.rules] == ["a", "b"]
    assert together.queries == (rule().query,)


def test_faults_of_all_files_come_together_and_names_are_taken_once() -> None:
    files = [
        RuleFile("b.yaml", BASE),
        RuleFile("a.yaml", BASE),
        RuleFile("c.yaml", BASE.replace("P2", "P9")),
    ]
    with pytest.raises(DocumentError) as error:
        parse_rules(files)
    assert str(error.value).splitlines() == [
        "b.yaml:1:1: rule too-many-absent: this name is taken by a.yaml; expected a name of its own",
        "c.yaml:3:11: rule too-many-absent: 'P9' is not a severity; expected P1, P2, P3 or P4",
    ]


def test_files_are_found_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.yaml").write_text("x", encoding="utf-8")
    (tmp_path / "a.yaml").write_text("\ufeffa", encoding="utf-8")
    for left_out in ("note.txt", ".#a.yaml", ".idea/y.yaml"):
        (tmp_path / left_out).parent.mkdir(exist_ok=True)
        (tmp_path / left_out).write_text("n", encoding="utf-8")
    assert load_rules(tmp_path) == [RuleFile("a.yaml", "a"), RuleFile("b/x.yaml", "x")]


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(DocumentError) as error:
        load_rules(tmp_path / "none")
    assert (
        str(error.value)
        == f"{tmp_path / 'none'}:0:0: there is no such directory; expected a directory of rules"
    )
    (tmp_path / "a.yaml").write_bytes(b"rule: \xff")
    with pytest.raises(DocumentError) as error:
        load_rules(tmp_path)
    assert str(error.value) == "a.yaml:0:0: the file is not UTF-8: byte 6 is wrong"


def test_the_catalogue_is_in_force() -> None:
    names = [one.name for one in parse_rules(load_rules(CATALOGUE)).rules]
    assert names == [
        "absence-spike",
        "class-absence-cluster",
        "class-roll-not-closed",
        "school-day-absence",
        "school-silent",
        "sync-failing",
    ]


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("30s", 30_000),
        ("15m", 900_000),
        ("1h 30m", 5_400_000),
        ("1h30m", 5_400_000),
        ("2d", 172_800_000),
        ("0s", 0),
    ],
)
def test_lengths(text: str, length: int) -> None:
    assert parse_length(text) == length
    assert parse_length(length_text(length)) == length


@pytest.mark.parametrize("text", ["", "5", "5 minutes", "m", "30m 1h", "-5m", "1.5h"])
def test_not_lengths(text: str) -> None:
    assert parse_length(text) is None


SCRAPS = [
    "{",
    "}",
    "[",
    "'",
    '"',
    ":",
    "\n",
    "  ",
    "- ",
    "%",
    "null",
    "case",
    "(",
    ")",
    "é",
    "\t",
    "&a ",
    "*a",
    "~",
    "0x1",
    "..",
    ";",
]


@given(
    st.lists(
        st.tuples(st.integers(0, len(BASE)), st.integers(0, 6), st.sampled_from(["", *SCRAPS])), max_size=3
    )
)
@settings(max_examples=400, deadline=None)
def test_whatever_is_written_gives_a_rule_or_faults_with_places(edits: list[tuple[int, int, str]]) -> None:
    text = BASE
    for start, length, scrap in edits:
        text = text[:start] + scrap + text[start + length :]
    lines = text.count("\n") + 1
    try:
        assert parse_rule(text, "f.yaml").name
    except DocumentError as error:
        for fault in error.faults:
            assert 1 <= fault.line <= lines
            assert fault.column >= 1
            assert fault.message
