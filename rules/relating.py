"""How rules stand to each other: ``over``, ``inhibited_by``, ``rollup``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import yaml

from rules.columns import REFERENCE_DIMENSIONS
from rules.compiled import Compiled
from rules.counting import condition, sql
from rules.document import Document
from rules.listing import listing
from rules.model import LEAST, SHARE, Rollup, Rule, Window
from rules.nodes import Report, Scalar, entries, scalar, scalars
from rules.sql import Type
from schemas.errors import Fault
from schemas.events import EVENT_TYPES
from schemas.nearest import nearest

OVER_NUMBERS: Final = ("live", "pending", "firing", "members")
"""What a composite may count: alerts that are pending or firing, each of both, and all that could be."""
OVER_LISTS: Final = ("live",)
LEVELS: Final = ("class", "school", "commune", "district", "city")
"""The tree from below: what a rule may roll up along."""
ROLLUP_KEYS: Final = ("along", "share", "least")
_PERCENT: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")


def read_over(document: Document, report: Report) -> Compiled:
    """The part of a composite that says when it fires. Faults go into ``report``."""
    types: dict[str, Type] = dict.fromkeys(OVER_NUMBERS, "number")
    when = condition(document.when, report, types)
    recover = condition(document.recover, report, types)
    dimensions = sorted({name for kind in EVENT_TYPES.values() for name in kind.dimensions})
    places = [name for name in REFERENCE_DIMENSIONS if name != "school_name"]
    known = list(dict.fromkeys((*LEVELS, *places, *dimensions)))
    for group in document.group_by:
        if group.text not in known:
            message = f"alerts cannot be grouped by {group.text!r}"
            report.unknown(group.place(), message, group.text, known)
    return Compiled(
        Window("none"), (), "", (), OVER_NUMBERS, when=sql(when), recover=sql(recover), lists=OVER_LISTS
    )


def read_rollup(document: Document, report: Report) -> Rollup | None:
    """``rollup: [commune, city]`` or ``{along: […], share: 20%, least: 3}``. Faults go into ``report``."""
    node = document.rollup
    if node is None:
        return None
    if not isinstance(node, yaml.MappingNode):
        return Rollup(_along(scalars(node, report, "'rollup'"), document, report))
    keys = entries(node, report, "'rollup'", ROLLUP_KEYS)
    if keys and "along" not in keys:
        report.fault(
            next(iter(keys.values()))[0].place(), "'rollup' has no 'along'", "along: [commune, city]"
        )
    along = scalars(keys["along"][1], report, "'along'") if "along" in keys else ()
    return Rollup(
        _along(along, document, report) if "along" in keys else (),
        _share(_value(keys, "share", report), report),
        _least(_value(keys, "least", report), report),
    )


def _value(keys: Mapping[str, tuple[Scalar, yaml.Node]], key: str, report: Report) -> Scalar | None:
    return scalar(keys[key][1], report, repr(key)) if key in keys else None


def _along(words: Sequence[Scalar], document: Document, report: Report) -> tuple[str, ...]:
    """Units from below; those the rule is grouped by itself may be named and mean nothing."""
    groups = {group.text for group in document.group_by}
    if words and "school" not in groups:
        report.fault(words[0].place(), "only a rule grouped by school rolls up", "group_by: [school, …]")
    found: list[str] = []
    for word in words:
        if word.text not in LEVELS:
            report.unknown(word.place(), f"{word.text!r} is no unit of the tree", word.text, LEVELS)
        elif found and LEVELS.index(word.text) <= LEVELS.index(found[-1]):
            report.fault(
                word.place(), f"{word.text!r} is not above {found[-1]!r}", "units from below upwards"
            )
        else:
            found.append(word.text)
    own = {"class", *(("school",) if "class" not in groups else ())}
    above = tuple(name for name in found if name not in own)
    if found and not above:
        report.fault(words[0].place(), "nothing is above these units", "such as [commune, city]")
    return above


def _share(text: Scalar | None, report: Report) -> float:
    if text is None:
        return SHARE
    found = _PERCENT.fullmatch(text.text)
    if found is None or not 0 <= float(found.group(1)) < 100:
        report.fault(text.place(), f"{text.text!r} is not a share", "a share such as 20%")
        return 0.0
    return float(found.group(1)) / 100


def _least(text: Scalar | None, report: Report) -> int:
    if text is None:
        return LEAST
    if not text.text.isdecimal() or not 2 <= int(text.text) <= 10_000:
        report.fault(text.place(), f"{text.text!r} is not a number of members", "a whole number from 2 on")
        return 2
    return int(text.text)


# --- between rules ------------------------------------------------------------------------------------


def relation_faults(rules: Sequence[Rule]) -> list[Fault]:
    """What is wrong between rules that are to be in force together."""
    by_name = {rule.name: rule for rule in rules}
    return [fault for rule in rules for fault in (*_unknown(rule, by_name), *_over(rule, by_name))] + [
        Fault(rule.file, 1, 1, f"'inhibited_by' comes back to this rule: {' → '.join(round_)}",
              "rules that do not inhibit each other in a ring", rule=rule.name)
        for rule in rules if (round_ := _ring(rule, by_name))
    ]  # fmt: skip


def _unknown(rule: Rule, by_name: Mapping[str, Rule]) -> Iterator[Fault]:
    for key, names in (("over", (rule.over,) if rule.over else ()), ("inhibited_by", rule.inhibited_by)):
        for name in names:
            if name not in by_name:
                close = nearest(name, list(by_name))
                expected = "" if close else "the name of a rule"
                yield Fault(
                    rule.file, 1, 1, f"{key!r}: no rule is named {name!r}", expected, close, rule=rule.name
                )


def _over(rule: Rule, by_name: Mapping[str, Rule]) -> Iterator[Fault]:
    below = by_name.get(rule.over)
    if below is None:
        return
    if below.over:
        message = f"'over': {below.name} is itself over {below.over}"
        yield Fault(rule.file, 1, 1, message, "a rule that judges events", rule=rule.name)
        return
    groups = below.query.group_by
    known = {*groups, *(REFERENCE_DIMENSIONS if "school" in groups else ())}
    lacking = [name for name in rule.query.group_by if name not in known]
    if lacking:
        message = f"alerts of {below.name} have no {listing(lacking)}"
        yield Fault(rule.file, 1, 1, message, f"groups of {listing(sorted(known))}", rule=rule.name)


def _ring(rule: Rule, by_name: Mapping[str, Rule]) -> list[str]:
    """The way from a rule along ``inhibited_by`` back to it; empty: there is none."""
    ways = [[rule.name]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        for name in by_name[way[-1]].inhibited_by:
            if name == rule.name:
                return [*way, name]
            if name in by_name and name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []
