"""Document → `Rule`: every part checked, aggregates gathered into one query."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from hashlib import blake2b
from typing import Any, Final, Literal, cast

from rules import message
from rules.cases import Case, Known, read_cases
from rules.columns import REFERENCE_DIMENSIONS, groupable, rows_of
from rules.compiled import Compiled
from rules.counting import read_counting, read_length, row_condition, sql
from rules.document import Document, LocatedText
from rules.expecting import read_expecting
from rules.measures import Rows
from rules.model import Agg, Direct, Query, Rule, Silence, Text, Window
from rules.nodes import Report
from rules.relating import read_over, read_rollup
from rules.sql import ExpressionError, Node
from schemas.events import CONTROL_RECORDS, EVENT_TYPES
from schemas.registry import EventType

LAST: Final = "last"
"""The one measure of a silence rule: when the newest event was, in ms."""

LATER: Final = ("expect", "inhibited_by", "rollup", "over")
"""Parts that came later: rules written before them keep their hashes."""

Severity = Literal["P1", "P2", "P3", "P4"]
Status = Literal["draft", "shadow", "active", "retired"]


def compile_rule(
    document: Document, report: Report, types: Mapping[str, EventType] = EVENT_TYPES
) -> Rule | None:
    """The rule, or None with the reasons in ``report``."""
    if document.over is not None:
        return _composite(document, report, types)
    kind = _event_type(document, report, types)
    rows = rows_of(kind) if kind else None
    where = row_condition(document.where, report, rows)
    if kind is not None:
        _check_groups(document, report, kind)
    compiled = _compiled(document, report, kind, rows)
    compiled = replace(compiled, rollup=read_rollup(document, report))
    _check_messages(document, report, compiled)
    tests = _tests(document, report, types, compiled.numbers)
    if report.faults or kind is None:
        return None
    return _rule(document, kind.name, where, compiled, tests)


def _composite(document: Document, report: Report, types: Mapping[str, EventType]) -> Rule | None:
    compiled = read_over(document, report)
    _check_messages(document, report, compiled)
    tests = _tests(document, report, types, compiled.numbers)
    return None if report.faults else _rule(document, "", None, compiled, tests)


def _compiled(document: Document, report: Report, kind: EventType | None, rows: Rows | None) -> Compiled:
    if document.expect is not None:
        return read_expecting(document, report, kind)
    return _silence(document, report, kind) if document.silence else read_counting(document, report, rows)


def _tests(
    document: Document, report: Report, types: Mapping[str, EventType], numbers: Collection[str]
) -> tuple[Case, ...]:
    if document.tests is None:
        return ()
    name = document.event_type.text if document.event_type else ""
    known = Known(name, tuple(group.text for group in document.group_by), tuple(numbers), types)
    return read_cases(document.tests, report, known)


def _event_type(document: Document, report: Report, types: Mapping[str, EventType]) -> EventType | None:
    name = document.event_type
    if name is None:
        return None
    if name.text not in types:
        what = "is a record of the engine" if name.text in CONTROL_RECORDS else "is not a type of event"
        report.unknown(name.place(), f"{name.text!r} {what}", name.text, sorted(types))
        return None
    kind = types[name.text]
    if kind.corrects is not None:
        target = kind.corrects.type
        report.fault(
            name.place(), f"{kind.name} only corrects {target}, where it is counted", f"from: {target}"
        )
        return None
    return kind


def _check_groups(document: Document, report: Report, kind: EventType) -> None:
    known = groupable(kind)
    for group in document.group_by:
        if group.text and group.text not in known:
            report.unknown(
                group.place(), f"{kind.name} cannot be grouped by {group.text!r}", group.text, known
            )


def _silence(document: Document, report: Report, kind: EventType | None) -> Compiled:
    after = read_length(document.silence, report, "silence", least=1000) if document.silence else 0
    if kind is not None and kind.identity and document.event_type:
        message = f"silence is not judged on {kind.name}, whose events replace or correct others"
        report.fault(document.event_type.place(), message, "a type such as source.heartbeat")
    hold = read_length(document.hold, report, "'for'") if document.hold else 0
    aggs = (Agg(LAST),)
    measures = (Direct(LAST, "last", 0),)
    return Compiled(Window("none"), aggs, "", measures, (), silence=Silence(after), hold=hold)


def _check_messages(document: Document, report: Report, compiled: Compiled) -> None:
    groups = {group.text for group in document.group_by}
    if "school" in groups:
        groups |= set(REFERENCE_DIMENSIONS) - {"grade"}
    if document.group_by_is_wrong:
        return
    if document.message is not None:
        _check_text(document.message, report, compiled, groups)
    if document.title is not None:
        _check_title(document.title, report)


def _check_title(title: LocatedText, report: Report) -> None:
    for part in dict.fromkeys((title.vi, title.en)):
        for placeholder in message.placeholders(part.text):
            place = part.place(placeholder.offset)
            report.fault(place, "a title has no placeholders", f"{{{placeholder.name}}} in the message")


def _check_text(text: LocatedText, report: Report, compiled: Compiled, groups: Collection[str]) -> None:
    for part in dict.fromkeys((text.vi, text.en)):
        problems = message.check(part.text, compiled.numbers, groups, compiled.lists)
        if problems:
            report.problems(part, ExpressionError(problems))


def _rule(
    document: Document, event_type: str, where: Node | None, compiled: Compiled, tests: tuple[object, ...]
) -> Rule:
    rule = Rule(
        name=_text(document.name),
        hash="",
        file="",
        title=_both(document.title),
        severity=cast("Severity", _text(document.severity)),
        status=cast("Status", _text(document.status)),
        owner=_text(document.owner),
        query=with_id(
            Query(
                id="",
                type=event_type,
                where=sql(where),
                group_by=tuple(group.text for group in document.group_by),
                window=compiled.window,
                aggs=compiled.aggs,
                evidence=compiled.evidence,
            )
        ),
        measures=compiled.measures,
        when=compiled.when,
        recover=compiled.recover,
        monotone=compiled.monotone,
        complete=compiled.complete,
        silence=compiled.silence,
        hold=compiled.hold,
        notify=tuple(name.text for name in document.notify),
        message=_both(document.message),
        school_in_group=any(group.text == "school" for group in document.group_by),
        expect=compiled.expect,
        inhibited_by=tuple(name.text for name in document.inhibited_by),
        rollup=compiled.rollup,
        over=_text(document.over),
    )
    content = asdict(rule) | {"description": _text(document.description)}
    for name in LATER:
        if not content[name]:
            del content[name]
    return replace(rule, hash=content_hash(content), tests=tests)


def _text(scalar: Any) -> str:
    return scalar.text if scalar is not None else ""


def _both(text: LocatedText | None) -> Text:
    return Text(text.vi.text, text.en.text) if text else Text("", "")


def with_id(query: Query) -> Query:
    """The query with its id: equal content, equal id. Its aggregates are sorted already."""
    return replace(query, id=content_hash(asdict(replace(query, id=""))))


def content_hash(content: Mapping[str, Any]) -> str:
    """128-bit hash in hex of a canonical form (JSON: sorted keys, every part delimited and quoted)."""
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return blake2b(canonical.encode(), digest_size=16).hexdigest()
