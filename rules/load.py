"""Rule files: found, read, parsed, put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rules.compile import compile_rule
from rules.document import read_document
from rules.model import Query, Rule, RuleSet
from rules.nodes import Report, compose
from rules.relating import relation_faults
from schemas.errors import DocumentError, Fault
from schemas.wire import RuleFile

IN_FORCE = ("shadow", "active")

CATALOGUE = Path(__file__).parent / "catalogue"
"""Rules that come with the engine."""


def load_rules(directory: Path) -> list[RuleFile]:
    """All ``*.yaml`` files under a directory, sorted by path. Raises `DocumentError`.

    Hidden ones (``.#x.yaml``, ``._x.yaml``) are editors' own and left out.
    """
    found: list[RuleFile] = []
    faults: list[Fault] = []
    if not directory.is_dir():
        raise DocumentError(
            [Fault(str(directory), 0, 0, "there is no such directory", "a directory of rules")]
        )
    for path in sorted(directory.rglob("*.yaml")):
        relative = path.relative_to(directory)
        if any(part.startswith(".") for part in relative.parts):
            continue
        name = relative.as_posix()
        try:
            found.append(RuleFile(name, path.read_text(encoding="utf-8-sig")))
        except UnicodeDecodeError as error:
            faults.append(Fault(name, 0, 0, f"the file is not UTF-8: byte {error.start} is wrong"))
        except OSError as error:
            faults.append(Fault(name, 0, 0, f"the file cannot be read: {error.strerror}"))
    if faults:
        raise DocumentError(faults)
    return found


def parse_rule(text: str, file: str) -> Rule:
    """One rule. Raises `DocumentError` with all faults of the document."""
    report = Report(file, text)
    document = read_document(compose(text, file), report)
    rule = compile_rule(document, report)
    report.result()
    if rule is None:
        raise DocumentError([Fault(file, 1, 1, "the document is not a rule")])
    return replace(rule, file=file)


def parse_all(files: Sequence[RuleFile]) -> tuple[list[Rule], list[Fault]]:
    """All rules that can be read, sorted by name, and all faults of all files, sorted by place."""
    rules: list[Rule] = []
    faults: list[Fault] = []
    for file in files:
        try:
            rules.append(parse_rule(file.text, file.path))
        except DocumentError as error:
            faults += error.faults
    rules.sort(key=lambda rule: (rule.name, rule.file))
    faults += _repeated(rules)
    return rules, sorted(faults)


def parse_rules(files: Sequence[RuleFile]) -> RuleSet:
    """The set that these files put in force. Raises `DocumentError` with all faults of all files.

    A rule that names one that is not there is in force without it; `check_files` refuses it.
    """
    rules, faults = parse_all(files)
    if faults:
        raise DocumentError(faults)
    return rule_set(rules)


def check_files(files: Sequence[RuleFile]) -> tuple[list[Rule], list[Fault]]:
    """All rules that can be read, and all faults of files and between rules, sorted by place."""
    rules, faults = parse_all(files)
    return rules, sorted([*faults, *(relation_faults(rules) if not faults else ())])


def rule_set(rules: Sequence[Rule]) -> RuleSet:
    """Rules in force, sorted by name, with each distinct query once, sorted by id."""
    live = sorted((rule for rule in rules if rule.status in IN_FORCE), key=lambda rule: rule.name)
    judging = tuple(rule for rule in live if not rule.over)
    queries: dict[str, Query] = {rule.query.id: rule.query for rule in judging}
    composites = tuple(rule for rule in live if rule.over)
    return RuleSet(judging, tuple(queries[id_] for id_ in sorted(queries)), composites)


def _repeated(rules: Sequence[Rule]) -> list[Fault]:
    first: dict[str, Rule] = {}
    faults = []
    for rule in rules:
        if rule.name in first:
            message = f"this name is taken by {first[rule.name].file}"
            faults.append(Fault(rule.file, 1, 1, message, "a name of its own", rule=rule.name))
        first.setdefault(rule.name, rule)
    return faults
