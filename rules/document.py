"""A rule document: its keys and values with their places, before they are compiled."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from rules.nodes import Report, Scalar, entries, place_of, scalar, scalars

KEYS = (
    "rule",
    "title",
    "severity",
    "status",
    "owner",
    "description",
    "from",
    "where",
    "group_by",
    "window",
    "measures",
    "complete",
    "evidence",
    "when",
    "recover",
    "for",
    "silence",
    "expect",
    "over",
    "inhibited_by",
    "rollup",
    "notify",
    "message",
    "tests",
)
SEVERITIES = ("P1", "P2", "P3", "P4")
STATUSES = ("draft", "shadow", "active", "retired")

_REQUIRED = {
    "rule": "a name such as absence-spike",
    "title": "title: {vi: …, en: …}",
    "severity": "P1, P2, P3 or P4",
    "status": "draft, shadow, active or retired",
    "owner": "who answers for the rule",
    "from": "a type of event",
    "group_by": "a list such as [school]",
    "notify": "a list such as [principal]",
    "message": "message: {vi: …, en: …}",
}
_COUNTING = {
    "window": "1 school_day or a length such as 30m",
    "measures": "at least one measure",
    "when": "a condition over the measures",
}
_NOT_IN_SILENCE = ("window", "measures", "complete", "evidence", "when", "recover")
_NOT_IN_EXPECT = ("from", "where", *_NOT_IN_SILENCE, "for", "silence")
_NOT_IN_OVER = (
    "from",
    "where",
    "window",
    "measures",
    "complete",
    "evidence",
    "for",
    "silence",
    "expect",
    "rollup",
)
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

Entries = Mapping[str, tuple[Scalar, yaml.Node]]


@dataclass(frozen=True, slots=True)
class LocatedText:
    """Vietnamese and English text with their places."""

    vi: Scalar
    en: Scalar


@dataclass(frozen=True, slots=True)
class Document:
    """What an author wrote. Its parts that are None or empty were not written or are faults."""

    root: yaml.Node
    name: Scalar | None
    title: LocatedText | None
    severity: Scalar | None
    status: Scalar | None
    owner: Scalar | None
    description: Scalar | None
    event_type: Scalar | None
    where: Scalar | None
    group_by: tuple[Scalar, ...]
    window: Scalar | None
    measures: tuple[tuple[Scalar, Scalar | None], ...]
    """Names and texts; a text that is None is a fault already told."""
    complete: Scalar | None
    evidence: Scalar | None
    when: Scalar | None
    recover: Scalar | None
    hold: Scalar | None
    silence: Scalar | None
    expect: yaml.Node | None
    over: Scalar | None
    inhibited_by: tuple[Scalar, ...]
    rollup: yaml.Node | None
    notify: tuple[Scalar, ...]
    message: LocatedText | None
    tests: yaml.Node | None

    @property
    def group_by_is_wrong(self) -> bool:
        """Nothing that could be told from the groups is worth telling then."""
        return not self.group_by


def read_document(root: yaml.Node, report: Report) -> Document:
    """Take a rule document apart. What is wrong goes into ``report``, whose ``rule`` is set."""
    report.rule = _name_of(root)
    keys = entries(root, report, "a rule", KEYS)
    name = _one(keys, "rule", report)
    _check_name(name, report)
    _check_presence(keys, root, report)
    return Document(
        root=root,
        name=name,
        title=_text(keys, "title", report),
        severity=_choice(keys, "severity", SEVERITIES, report),
        status=_choice(keys, "status", STATUSES, report),
        owner=_one(keys, "owner", report),
        description=_one(keys, "description", report),
        event_type=_event(keys, report),
        where=_one(keys, "where", report),
        group_by=_list(keys, "group_by", report),
        window=_one(keys, "window", report),
        measures=_measures(keys, report),
        complete=_one(keys, "complete", report),
        evidence=_one(keys, "evidence", report),
        when=_one(keys, "when", report),
        recover=_one(keys, "recover", report),
        hold=_one(keys, "for", report),
        silence=_one(keys, "silence", report),
        expect=keys["expect"][1] if "expect" in keys else None,
        over=_one(keys, "over", report),
        inhibited_by=_list(keys, "inhibited_by", report),
        rollup=keys["rollup"][1] if "rollup" in keys else None,
        notify=_list(keys, "notify", report),
        message=_text(keys, "message", report),
        tests=keys["tests"][1] if "tests" in keys else None,
    )


def _name_of(root: yaml.Node) -> str:
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    found = [str(value.value) for key, value in pairs if key.value == "rule" and value.id == "scalar"]
    return found[0] if found else ""


def _check_name(name: Scalar | None, report: Report) -> None:
    if name is not None and not _NAME.fullmatch(name.text):
        expected = "small letters, digits and single hyphens, such as absence-spike"
        report.fault(name.place(), f"{name.text!r} is not a rule name", expected)


def _check_presence(keys: Entries, root: yaml.Node, report: Report) -> None:
    if not keys:
        return
    if "over" in keys:
        needed = {**_REQUIRED, "when": "a condition such as live >= 5"}
        _check_kind("over", keys, root, report, (needed, _NOT_IN_OVER, "'over' with 'group_by' and 'when'"))
    elif "expect" in keys:
        instead = "'expect' alone, with its 'every', 'event' and 'by'"
        _check_kind("expect", keys, root, report, (_REQUIRED, _NOT_IN_EXPECT, instead))
    elif "silence" in keys:
        instead = "'silence' alone, or 'when' with its measures"
        _check_kind("silence", keys, root, report, (_REQUIRED, _NOT_IN_SILENCE, instead))
    else:
        _check_kind("when", keys, root, report, (_REQUIRED | _COUNTING, (), ""))


def _check_kind(
    kind: str,
    keys: Entries,
    root: yaml.Node,
    report: Report,
    wanted: tuple[Mapping[str, str], Sequence[str], str],
) -> None:
    """``wanted``: keys that a rule of the kind needs, those it may not have, and what it has instead."""
    needed, refused, instead = wanted
    for key, expected in needed.items():
        if key not in keys and not (key == "from" and kind in ("over", "expect")):
            report.fault(place_of(root), f"{key!r} is missing", expected)
    for key in refused:
        if key in keys:
            report.fault(keys[key][0].place(), f"a rule with {kind!r} has no {key!r}", instead)


def _event(keys: Entries, report: Report) -> Scalar | None:
    """The type of event: ``from``, or the ``event`` that is expected."""
    if "expect" not in keys:
        return _one(keys, "from", report)
    node = keys["expect"][1]
    inside = (
        {str(key.value): value for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}
    )
    if "event" in inside:
        return scalar(inside["event"], report, "'event'")
    if inside:
        report.fault(place_of(node), "'expect' has no 'event'", "event: a type of event")
    return None


def _one(keys: Entries, key: str, report: Report) -> Scalar | None:
    if key not in keys:
        return None
    found = scalar(keys[key][1], report, repr(key))
    if found is not None and not found.text.strip():
        report.fault(keys[key][0].place(), f"{key!r} has no value")
        return None
    return found


def _choice(keys: Entries, key: str, choices: Sequence[str], report: Report) -> Scalar | None:
    found = _one(keys, key, report)
    if found is None or found.text in choices:
        return found
    report.unknown(found.place(), f"{found.text!r} is not a {key}", found.text, choices)
    return None


def _list(keys: Entries, key: str, report: Report) -> tuple[Scalar, ...]:
    if key not in keys:
        return ()
    found = scalars(keys[key][1], report, repr(key))
    if isinstance(keys[key][1], yaml.SequenceNode) and not found:
        report.fault(place_of(keys[key][1]), f"{key!r} is an empty list", "at least one name")
    seen: set[str] = set()
    for item in found:
        if not item.text:
            report.fault(item.place(), f"an entry of {key!r} is empty", "a name")
        elif item.text in seen:
            report.fault(item.place(), f"{item.text!r} is here for the second time")
        seen.add(item.text)
    return found


def _measures(keys: Entries, report: Report) -> tuple[tuple[Scalar, Scalar | None], ...]:
    if "measures" not in keys:
        return ()
    found: list[tuple[Scalar, Scalar | None]] = []
    for name, node in entries(keys["measures"][1], report, "'measures'").values():
        value = scalar(node, report, f"measure {name.text!r}")
        if value is not None and not value.text.strip():
            report.fault(name.place(), f"measure {name.text!r} has no value", "an aggregate or a formula")
            value = None
        found.append((name, value))
    return tuple(found)


def _text(keys: Entries, key: str, report: Report) -> LocatedText | None:
    if key not in keys:
        return None
    parts = entries(keys[key][1], report, repr(key), ("vi", "en"))
    vi = _one(parts, "vi", report)
    if vi is None:
        if isinstance(keys[key][1], yaml.MappingNode) and "vi" not in parts:
            report.fault(place_of(keys[key][1]), f"{key!r} has no Vietnamese text", "vi: …")
        return None
    return LocatedText(vi, _one(parts, "en", report) or vi)
