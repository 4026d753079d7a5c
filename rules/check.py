"""``trucban rules check``: every fault of every file at once, as text or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from rules.cases import Case
from rules.load import check_files
from rules.model import Rule
from schemas.errors import Fault
from schemas.wire import RuleFile


def check(files: Sequence[RuleFile]) -> list[Fault]:
    """All faults, sorted by file and place; empty when the rules can be put in force.

    Beyond what parsing refuses: an active rule has a test in which it fires and one in which it
    does not.
    """
    rules, faults = check_files(files)
    faults += [fault for rule in rules if rule.status == "active" for fault in _untested(rule)]
    return sorted(faults)


def _untested(rule: Rule) -> Iterator[Fault]:
    cases = [case for case in rule.tests if isinstance(case, Case)]
    if not any(case.fires for case in cases):
        yield _fault(rule, "no test shows that the rule fires", "a test that expects state: firing")
    if not any(not case.fires for case in cases):
        yield _fault(rule, "no test shows when the rule must not fire", "a test with expect: []")


def _fault(rule: Rule, message: str, expected: str) -> Fault:
    return Fault(rule.file, 1, 1, message, expected, rule=rule.name)


def as_text(faults: Sequence[Fault], files: int) -> str:
    """One line for each fault and a last line that counts."""
    counted = f"{files} file{'' if files == 1 else 's'}"
    if not faults:
        return f"{counted}: no faults"
    lines = [str(fault) for fault in faults]
    return "\n".join([*lines, f"{counted}: {len(faults)} fault{'' if len(faults) == 1 else 's'}"])


def as_json(faults: Sequence[Fault], files: int) -> str:
    """The same for programs: ``{"files": …, "faults": [{file, line, column, rule, …}]}``."""
    listed = [
        {
            "file": fault.file,
            "line": fault.line,
            "column": fault.column,
            "rule": fault.rule,
            "message": fault.message,
            "expected": fault.expected,
            "suggestion": fault.suggestion,
        }
        for fault in faults
    ]
    return json.dumps({"files": files, "faults": listed}, ensure_ascii=False, indent=2)
