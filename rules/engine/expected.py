"""What the roster of a day expects: groups, their members, and when the deadline of each is.

Nothing here depends on events, so a school or class that was never seen is missing all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from rules.engine.measures import Values
from rules.engine.panes import target_of
from rules.engine.places import Places
from rules.model import Rule
from schemas.reference import Reference
from schemas.topics import partition_of
from schemas.wire import PaneValue

Group = tuple[str, ...]
LISTED = 10
"""Members that a message lists by name; of others it says how many."""
DAYS_KEPT = 4
_DIGITS = re.compile(r"(\d+)")


class _Day:
    """Schools and classes of one day."""

    def __init__(self, reference: Reference, day: int) -> None:
        self.levels = {u.code: u.level for u in reference.units if u.kind == "school" and u.holds(day)}
        classes: dict[tuple[str, str], list[str]] = {}
        for entry in reference.classes:
            if entry.holds(day) and entry.school in self.levels:
                for session in entry.sessions:
                    classes.setdefault((entry.school, session), []).append(entry.code)
        self.classes = {key: tuple(sorted(names, key=in_order)) for key, names in classes.items()}


class Expected:
    """Looks the roster up, by day, for one judge partition."""

    def __init__(self, reference: Reference | None, places: Places, judge: tuple[int, int], sources: int):
        self._reference = reference
        self._places = places
        self._judge = judge
        """This partition and how many there are."""
        self._sources = sources
        self._days: dict[int, _Day] = {}
        self._owned: dict[tuple[str, int], dict[tuple[int, int], list[Group]]] = {}

    def members(self, rule: Rule, group: Group, day: int) -> tuple[str, ...]:
        """Classes or schools expected of a group on a day; none where it has no school day."""
        named = dict(zip(rule.query.group_by, group, strict=True))
        known = self._on(day)
        if known is None or rule.expect is None or named["school"] not in known.levels:
            return ()
        if rule.expect.deadline(known.levels[named["school"]], named.get("session", "")) is None:
            return ()
        found = _members(rule.expect.every, named, known)
        return found if found and self._places.is_school_day(named, day) else ()

    def due(self, rule: Rule, day: int, source: int, time: int) -> list[Group]:
        """Groups of a source partition that this judge owns and whose deadline is ``time``, sorted."""
        key = (rule.hash, day)
        if key not in self._owned:
            if len(self._owned) >= DAYS_KEPT * 8:
                self._owned.clear()
            self._owned[key] = self._own(rule, day)
        return self._owned[key].get((source, time), [])

    def values(self, rule: Rule, group: Group, day: int, states: list[PaneValue]) -> Values:
        """``expected`` and ``missing``, and the missing ones as text; null where they are not known."""
        members = self.members(rule, group, day)
        seen = states[0]
        if not isinstance(seen, dict):
            return {"expected": len(members), "missing": None}
        missing = [name for name in members if seen.get(name, 0) <= 0]
        return {"expected": len(members), "missing": len(missing), "missing:list": listed(missing)}

    def _on(self, day: int) -> _Day | None:
        if self._reference is None:
            return None
        found = self._days.get(day)
        if found is None:
            if len(self._days) >= DAYS_KEPT:
                self._days.clear()
            found = self._days[day] = _Day(self._reference, day)
        return found

    def _own(self, rule: Rule, day: int) -> dict[tuple[int, int], list[Group]]:
        found: dict[tuple[int, int], list[Group]] = {}
        number, count = self._judge
        known = self._on(day)
        for level, named in _groups(rule, known) if known else ():
            time = rule.expect.deadline(level, named.get("session", "")) if rule.expect else None
            group = tuple(named[name] for name in rule.query.group_by)
            if time is not None and target_of(rule.query.id, group, count) == number:
                found.setdefault((partition_of(named["school"], self._sources), time), []).append(group)
        return {key: sorted(groups) for key, groups in found.items()}


def _groups(rule: Rule, known: _Day) -> Iterator[tuple[str, dict[str, str]]]:
    """The level and the names of each group that a rule expects something of."""
    if rule.expect is not None and rule.expect.every == "school":
        for school, level in known.levels.items():
            yield level, {"school": school}
        return
    for (school, session), classes in known.classes.items():
        for name in classes if "class" in rule.query.group_by else classes[:1]:
            yield known.levels[school], {"school": school, "session": session, "class": name}


def _members(every: str, named: Mapping[str, str], known: _Day) -> tuple[str, ...]:
    if every == "school":
        return (named["school"],)
    classes = known.classes.get((named["school"], named["session"]), ())
    return classes if "class" not in named else tuple(name for name in classes if name == named["class"])


def in_order(name: str) -> list[tuple[int, str]]:
    """Sorts 9A before 10A."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in _DIGITS.split(name) if part]


def listed(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f", … (+{more})" if more > 0 else "")
