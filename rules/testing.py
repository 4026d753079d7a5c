"""Rule tests: each case of a rule is played on the real engine and compared with what it expects."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rules.cases import Case, Expectation
from rules.load import parse_rule
from rules.model import Rule
from rules.stage import Played, measures_text, play
from schemas.civil import OFFSET_MS
from schemas.errors import DocumentError, Fault
from schemas.wire import RuleFile, Transition


@dataclass(frozen=True, slots=True)
class TestResult:
    """One case: ``differences`` is empty when it passed."""

    __test__ = False  # for pytest

    rule: str
    file: str
    line: int
    case: str
    differences: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether everything came as expected."""
        return not self.differences

    def __str__(self) -> str:
        head = f"{self.file}:{self.line}: {self.rule}: {self.case}: {'ok' if self.passed else 'FAILED'}"
        return "\n".join([head, *(f"    {line}" for line in self.differences)])


def run_tests(file: RuleFile, others: Iterable[RuleFile] = ()) -> list[TestResult]:
    """Play all cases of a rule file. Raises `DocumentError` where it is not a rule.

    A draft or retired rule is tested as if it were active; of the ``others`` those that it names are in
    force beside it.
    """
    rule = parse_rule(file.text, file.path)
    stage = [RuleFile(file.path, _active(file.text, rule)), *_beside(rule, others)]
    return [_result(rule, case, play(stage, case)) for case in rule.tests if isinstance(case, Case)]


def _beside(rule: Rule, others: Iterable[RuleFile]) -> list[RuleFile]:
    """The files of rules that a rule is over or inhibited by, and of those that these are over."""
    by_name = dict(_named(others))
    found: dict[str, RuleFile] = {}
    wanted = [rule.over, *rule.inhibited_by]
    while wanted:
        name = wanted.pop()
        if name in by_name and name not in found and name != rule.name:
            below, found[name] = by_name[name]
            wanted.append(below.over)
    return list(found.values())


def _named(files: Iterable[RuleFile]) -> Iterator[tuple[str, tuple[Rule, RuleFile]]]:
    for file in files:
        try:
            rule = parse_rule(file.text, file.path)
        except DocumentError:
            continue  # told where it is tested itself
        yield rule.name, (rule, RuleFile(file.path, _active(file.text, rule)))


def run_all(files: Iterable[RuleFile]) -> list[TestResult]:
    """Play the cases of many files. Raises `DocumentError` with the faults of all files."""
    results: list[TestResult] = []
    faults: list[Fault] = []
    known = list(files)
    for file in known:
        try:
            results += run_tests(file, known)
        except DocumentError as error:
            faults += error.faults
    if faults:
        raise DocumentError(faults)
    return results


def _active(text: str, rule: Rule) -> str:
    """The document with ``status: active``, so that the engine puts the rule in force."""
    if rule.status in ("active", "shadow"):
        return text
    lines = text.splitlines(keepends=True)
    return "".join("status: active\n" if line.startswith("status:") else line for line in lines)


def _result(rule: Rule, case: Case, played: Played) -> TestResult:
    own = [step for step in played.transitions if step.rule == rule.name]
    rules = {step.alert: step.rule for step in played.transitions}
    differences = (*_refused(played), *_compare(case.expect, own, rules))
    return TestResult(rule.name, rule.file, case.line, case.name, differences)


def _refused(played: Played) -> Iterator[str]:
    seen: set[tuple[int, str, str]] = set()
    for line, why in played.rejected:
        if (line, why.field, why.message) not in seen:
            seen.add((line, why.field, why.message))
            yield f"the event of line {line} was refused: {why.field}: {why.message} ({why.reason})"


def _compare(
    expected: Sequence[Expectation], transitions: Sequence[Transition], rules: Mapping[str, str]
) -> Iterator[str]:
    """Each expectation is met by a transition of its own, in order; nothing else may fire.

    ``rules``: alert → its rule.
    """
    used: set[int] = set()
    begin = 0
    for expectation in expected:
        places = range(begin, len(transitions))
        place = next((at for at in places if not _misses(expectation, transitions[at], rules)), None)
        if place is None:
            yield f"line {expectation.line}: expected {_wanted(expectation)}"
            yield from _nearest(expectation, [transitions[at] for at in places], rules)
        else:
            used.add(place)
            begin = place + 1
    for place, transition in enumerate(transitions):
        told_anew = transition.state == "firing" and transition.revision == 0
        if told_anew and place not in used and not _explained(expected, used):
            yield f"fired although nothing expects it: {_told(transition)}"


def _explained(expected: Sequence[Expectation], used: set[int]) -> bool:
    """A missed expectation is already shown with what came instead."""
    return len(used) < len(expected)


def _nearest(expectation: Expectation, rest: Sequence[Transition], rules: Mapping[str, str]) -> Iterator[str]:
    alike = [transition for transition in rest if transition.state == expectation.state] or list(rest)
    if not alike:
        yield "         but nothing came" if not rest else ""
        return
    best = min(alike, key=lambda transition: len(_misses(expectation, transition, rules)))
    yield f"         but there was {_told(best)}"
    for miss in _misses(expectation, best, rules):
        yield f"         {miss}"


def _misses(expectation: Expectation, transition: Transition, rules: Mapping[str, str]) -> list[str]:
    """In what a transition is not the expected one."""
    found = []
    if transition.state != expectation.state:
        found.append(f"state: expected {expectation.state}, got {transition.state}")
    if expectation.at is not None and not _same_time(expectation, transition.at):
        found.append(f"at: expected {_clock(expectation.at)}, got {_clock(transition.at)}")
    for name, value in expectation.group.items():
        if transition.group.get(name) != value:
            found.append(f"group {name}: expected {value!r}, got {transition.group.get(name)!r}")
    if expectation.reason and transition.reason != expectation.reason:
        found.append(f"reason: expected {expectation.reason}, got {transition.reason}")
    for name, number in expectation.measures.items():
        got = transition.measures.get(name)
        if not _same_number(number, got):
            found.append(f"measure {name}: expected {_number(number)}, got {_number(got)}")
    holder = rules.get(transition.held_by, "")
    if expectation.held_by is not None and holder != expectation.held_by:
        found.append(f"held_by: expected {expectation.held_by or 'nobody'}, got {holder or 'nobody'}")
    if expectation.says and not any(expectation.says in text for text in transition.text.values()):
        found.append(f"says: expected {expectation.says!r} in {transition.text.get('vi', '')!r}")
    return found


def _same_time(expectation: Expectation, at: int) -> bool:
    if expectation.at is None:
        return True
    return at // 60_000 == expectation.at // 60_000 if expectation.to_the_minute else at == expectation.at


def _same_number(expected: float | None, got: float | None) -> bool:
    if expected is None or got is None:
        return expected is got
    return math.isclose(expected, got, rel_tol=1e-6, abs_tol=1e-9)


def _number(value: float | None) -> str:
    return "null" if value is None else f"{value:.10g}"


def _clock(instant: int) -> str:
    zone = dt.timezone(dt.timedelta(milliseconds=OFFSET_MS))
    return f"{dt.datetime.fromtimestamp(instant / 1000, zone):%Y-%m-%d %H:%M:%S}"


def _wanted(expectation: Expectation) -> str:
    parts = [expectation.state]
    if expectation.at is not None:
        parts.append(f"at {_clock(expectation.at)}")
    if expectation.group:
        parts.append("for " + ", ".join(f"{name} {value}" for name, value in expectation.group.items()))
    if expectation.reason:
        parts.append(f"({expectation.reason})")
    if expectation.measures:
        parts.append(f"with {measures_text(expectation.measures)}")
    return " ".join(parts)


def _told(transition: Transition) -> str:
    group = ", ".join(f"{name} {value}" for name, value in transition.group.items())
    head = f"{transition.state} at {_clock(transition.at)} for {group} ({transition.reason})"
    return f"{head} with {measures_text(transition.measures)}" if transition.measures else head
