"""Alerts over alerts: composites (``over``) and the units along which rules roll up, as definitions.

A definition says which group an alert counts for, when the parent fires and ends by the alerts that
count, and what it says then.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rules.engine.expected import in_order, listed
from rules.engine.measures import Values, measures_of
from rules.engine.members import Group, Members
from rules.message import render
from rules.model import Rollup, Rule, RuleSet, Text
from rules.relating import LEVELS
from schemas.civil import day_of
from schemas.wire import Transition

FIRING: Final = frozenset({"firing", "recovering"})
ParentKey = tuple[str, Group, int]
"""Rule, group and, where the rule has windows, the window's start."""

_SESSIONS: Final = {
    "morning": ("buổi sáng", "morning"),
    "afternoon": ("buổi chiều", "afternoon"),
    "full_day": ("cả ngày", "full day"),
}
_ROLLED_UP: Final = Text(
    vi="{place}: {live}/{members} {kind} cùng có cảnh báo “{title}” từ {since:time}: {live:list}. "
    "Đề nghị xem xét chung, không xử lý từng nơi.",
    en="{place}: {live} of {members} {kind} have the alert “{title}” since {since:time}: {live:list}. "
    "Please look at them together.",
)


@dataclass(frozen=True, slots=True)
class Definition:
    """One kind of parent. ``level``: the unit a rule rolls up to; empty: a composite."""

    rule: Rule
    below: Rule
    """Whose alerts it counts; of a roll-up the same rule."""
    level: str = ""
    lower: str = ""
    """Of a roll-up the unit it rolls up to before ``level``; empty: none."""

    def key_of(self, labels: Mapping[str, str], window_start: int) -> ParentKey | None:
        """The parent that an alert with these labels counts for; None: none, for it lacks a label."""
        if any(not labels.get(name) for name in self._names()):
            return None
        group = tuple(sorted((name, labels[name]) for name in self._names()))
        return self.rule.name, group, window_start if self.level else 0

    def _names(self) -> tuple[str, ...]:
        if not self.level:
            return self.rule.query.group_by
        return (self.level, *(name for name in self.rule.query.group_by if name not in LEVELS))

    def places(self, labels: Mapping[str, str]) -> dict[str, str]:
        """The units above the parent."""
        above = LEVELS[LEVELS.index(self.level) + 1 :] if self.level else ()
        return {name: labels[name] for name in above if labels.get(name)}

    def values(self, children: Collection[Transition], members: int | None) -> Values:
        """What it judges: how many are pending, firing, both, and how many there could be.

        Schools (or classes) with several alerts count once.
        """
        pending = {_member(step) for step in children if step.state == "pending"}
        firing = {_member(step) for step in children if step.state in FIRING}
        live = pending | firing
        units = {labels_of(step).get(self.lower) for step in children}
        values: Values = {
            "live": len(live),
            "pending": len(live) - len(firing),
            "firing": len(firing),
            "members": members,
        }
        return values | {"units": len(units)} if self.lower else values

    def fires(self, values: Values) -> bool:
        """Does it begin?"""
        if not self.level:
            return measures_of(self.rule).when(values) is True
        live, members, rollup = _counted(values, self.rule.rollup)
        several = not self.lower or _number(values, "units") > 1  # else it is an alert of that unit
        many = live >= rollup.least and live > rollup.share * members
        return bool(members) and several and many and _number(values, "firing") > 0

    def ends(self, values: Values) -> bool:
        """Is it over?"""
        if not values["live"]:
            return True
        if not self.level:
            return measures_of(self.rule).recovers(values)
        live, members, rollup = _counted(values, self.rule.rollup)
        return live * 2 < rollup.least or live * 2 <= rollup.share * members

    def limits(self) -> dict[str, str]:
        """What the measures were held against, as text."""
        rollup = self.rule.rollup
        if self.level and rollup is not None:
            return {"when": f"live >= {rollup.least} and live > {rollup.share:.0%} of members"}
        texts = (("when", self.rule.when), ("recover", self.rule.recover))
        return {name: text for name, text in texts if text}

    def text(
        self, key: ParentKey, children: Collection[Transition], values: Values, now: tuple[int, int, Members]
    ) -> dict[str, str]:
        """What it says in both languages. ``now``: since when and the present, ms, and who knows names."""
        since, at, names = now
        group, day = key[1], day_of(key[2] or at)
        who = {
            step.group.get("class") or step.places.get("school_name") or _member(step)[-1]
            for step in children
        }
        listing = listed(sorted(who, key=in_order))
        shown: dict[str, float | int | str | None] = {
            **values,
            "at": at,
            "since": since,
            "live:list": listing,
        }
        if not self.level:
            shown |= {name: names.name(code, day) if name in LEVELS else code for name, code in group}
            return render(self.rule.message, shown)
        by_class = "class" in self.rule.query.group_by
        words = {
            "vi": ("lớp" if by_class else "trường", self.rule.title.vi, 0),
            "en": ("classes" if by_class else "schools", self.rule.title.en, 1),
        }
        return {
            language: render(_ROLLED_UP, {**shown, "kind": kind, "title": title,
                                          "place": _place(group, self.level, names, day, which)})[language]
            for language, (kind, title, which) in words.items()
        }  # fmt: skip


def definitions(rules: RuleSet) -> dict[str, tuple[Definition, ...]]:
    """Rule → the parents its alerts count for, those of the tree from below."""
    by_name = {rule.name: rule for rule in rules.rules}
    found: dict[str, list[Definition]] = {}
    for rule in rules.rules:
        along = rule.rollup.along if rule.rollup else ()
        for lower, level in zip(("", *along), along, strict=False):
            found.setdefault(rule.name, []).append(Definition(rule, rule, level, lower))
    for rule in rules.composites:
        if rule.over in by_name:
            found.setdefault(rule.over, []).append(Definition(rule, by_name[rule.over]))
    return {name: tuple(parents) for name, parents in found.items()}


def labels_of(step: Transition) -> dict[str, str]:
    """An alert's group and what is known of its place."""
    return {**step.places, **step.group}


def fits(holder: Transition, labels: Mapping[str, str]) -> bool:
    """Is an alert about the place (and session) that another one's labels are of?"""
    return all(labels.get(name) == value for name, value in holder.group.items())


def counted_by(rules: RuleSet) -> dict[str, list[str]]:
    """Rule → names of the rules that count its alerts."""
    return {
        name: sorted({parent.rule.name for parent in parents}) for name, parents in definitions(rules).items()
    }


def _member(step: Transition) -> tuple[str, ...]:
    names: Sequence[str] = [name for name in ("school", "class") if name in step.group]
    return tuple(step.group[name] for name in names) or tuple(sorted(step.group.values()))


def _counted(values: Values, rollup: Rollup | None) -> tuple[int, int, Rollup]:
    return _number(values, "live"), _number(values, "members"), rollup or Rollup(())


def _number(values: Values, name: str) -> int:
    value = values[name]
    return value if isinstance(value, int) else 0


def _place(group: Group, level: str, names: Members, day: int, language: int) -> str:
    found = dict(group)
    others = [value for name, value in group if name != level]
    said = [_SESSIONS.get(value, (value, value))[language] for value in others]
    place = names.name(found[level], day)
    return f"{place} ({', '.join(said)})" if said else place
