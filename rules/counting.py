"""Rules that count in windows: ``window``, ``measures``, ``complete``, ``when``, ``recover``, ``for``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rules.choices import wrong_choices
from rules.compiled import Compiled
from rules.document import Document
from rules.lengths import EXAMPLES, length_text, parse_length
from rules.listing import listing
from rules.measured import Measured, build_measures, read_measures
from rules.measures import Aggregate, Compared, Rows
from rules.model import Complete, Window
from rules.monotone import is_monotone
from rules.nodes import Report, Scalar
from rules.sql import ExpressionError, Node, Type, parse_expression, to_sql
from schemas.dated import Rosters

DAY = 86_400_000

_ROSTER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*of\s+roster\s*", re.IGNORECASE)
_SCHOOL_DAY = re.compile(r"\s*1\s+school_day\s*")


def row_condition(text: Scalar | None, report: Report, rows: Rows | None) -> Node | None:
    """A condition over rows (None: of an unknown type), or None when there is none or it is wrong."""
    node = condition(text, report, rows.types if rows else None)
    problems = wrong_choices(node, rows.choices) if node is not None and rows else []
    if text is not None and problems:
        report.problems(text, ExpressionError(problems))
    return node


def condition(text: Scalar | None, report: Report, names: Mapping[str, Type] | None) -> Node | None:
    """A condition over ``names`` (None: any), or None when there is none or it is wrong."""
    if text is None:
        return None
    try:
        return parse_expression(text.text, names, want="bool")
    except ExpressionError as error:
        report.problems(text, error)
        return None


def sql(node: Node | None) -> str:
    """Canonical text; empty for no expression."""
    return to_sql(node) if node is not None else ""


def read_counting(document: Document, report: Report, rows: Rows | None) -> Compiled:
    """The counting part of a rule. What is wrong goes into ``report``."""
    window = _window(document.window, report)
    measured = read_measures(document, report, rows)
    when = condition(document.when, report, measured.types)
    recover = condition(document.recover, report, measured.types)
    evidence = row_condition(document.evidence, report, rows)
    complete = _complete(document.complete, report, measured)
    if complete is not None and complete.roster_share is not None:
        _check_roster(document, report)
    hold = read_length(document.hold, report, "'for'") if document.hold else 0
    _check_windows(document, report, measured, window)
    numbers = tuple(measured.types)
    if report.faults:
        return Compiled(window, (), "", (), numbers)
    aggs, measures = build_measures(measured)
    return Compiled(
        window,
        aggs,
        sql(evidence) if evidence is not None else _default_evidence(measured, when),
        measures,
        numbers,
        when=sql(when),
        recover=sql(recover),
        monotone=when is not None and is_monotone(when, measured.growing),
        complete=complete,
        hold=hold,
    )


def read_length(text: Scalar, report: Report, what: str, *, least: int = 0, most: int = 7 * DAY) -> int:
    """Milliseconds of a length between two bounds; 0 after a fault."""
    length = parse_length(text.text)
    if length is None:
        report.fault(text.place(), f"{text.text!r} is not a length of time", EXAMPLES)
        return 0
    if not least <= length <= most:
        bounds = f"a length from {length_text(least)} to {length_text(most)}"
        report.fault(text.place(), f"{what} of {text.text} is out of bounds", bounds)
        return 0
    return length


def _window(text: Scalar | None, report: Report) -> Window:
    if text is None or _SCHOOL_DAY.fullmatch(text.text):
        return Window("school_day")
    length = parse_length(text.text)
    if length is None:
        report.fault(
            text.place(), f"{text.text!r} is not a window", "1 school_day or a length such as 30m or 1h"
        )
        return Window("school_day")
    return Window("fixed", read_length(text, report, "a window", least=1000, most=DAY))


def _check_windows(document: Document, report: Report, measured: Measured, window: Window) -> None:
    if window.kind == "school_day":
        return
    for name, text in document.measures:
        if text is not None and isinstance(measured.parsed.get(name.text), Compared):
            report.fault(text.place(), "'same_weekday' compares whole days", "window: 1 school_day")


def _complete(text: Scalar | None, report: Report, measured: Measured) -> Complete | None:
    if text is None:
        return None
    share = _ROSTER.fullmatch(text.text)
    if share is None:
        return _complete_condition(text, report, measured)
    percent = float(share.group(1))
    if not 0 < percent <= 100:
        report.fault(
            text.place(), f"{share.group(1)}% of the roster cannot be reached", "more than 0% to 100%"
        )
    counting = _row_count(measured)
    if not counting and len(measured.parsed) == measured.written:
        message = "'of roster' needs a measure that counts all rows or pupils"
        report.fault(text.place(), message, "a measure count(*) or distinct(pupil) without a filter")
    return Complete(percent / 100, counting)


def _check_roster(document: Document, report: Report) -> None:
    for group in document.group_by:
        if group.text not in Rosters.KEYS and not report.has_fault_at(group.place()):
            expected = f"groups of {listing(Rosters.KEYS)}, or a condition such as marked >= 10"
            report.fault(group.place(), f"no roster knows how many pupils each {group.text!r} has", expected)


def _complete_condition(text: Scalar, report: Report, measured: Measured) -> Complete | None:
    if "%" in text.text and "roster" in text.text.lower():
        report.fault(text.place(), f"{text.text!r} is not a share of the roster", "60% of roster")
        return None
    node = condition(text, report, measured.types)
    return Complete(condition=to_sql(node)) if node is not None else None


def _row_count(measured: Measured) -> str:
    plain = [
        (name, measure.how)
        for name, measure in measured.parsed.items()
        if isinstance(measure, Aggregate) and not measure.agg.filter
    ]
    for wanted in ("count", "distinct"):
        for name, how in plain:
            if how == wanted:
                return name
    return ""


def _default_evidence(measured: Measured, when: Node | None) -> str:
    """The filter of the first filtered measure that ``when`` depends on."""
    behind = measured.behind(when)
    for name, measure in measured.parsed.items():
        if name in behind and isinstance(measure, Aggregate) and measure.agg.filter:
            return measure.agg.filter
    return ""
