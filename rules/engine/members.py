"""How many schools or classes of a unit could have an alert: the dated tree, as a rule's `where` sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rules.model import Rule
from rules.sql import compile_scalar, names_in, parse_expression
from schemas.dated import SCHOOL_DIMENSIONS, traits
from schemas.reference import Reference

REMEMBERED = 20_000
Group = tuple[tuple[str, str], ...]
Place = dict[str, str | None]


class Members:
    """Counts the members of groups on a day, and knows the names of units."""

    def __init__(self, reference: Reference | None) -> None:
        self._reference = reference
        self._places: dict[tuple[int, bool], list[tuple[Place, frozenset[str]]]] = {}
        self._counts: dict[tuple[str, Group, int], int] = {}
        self._names: dict[int, dict[str, str]] = {}

    def count(self, rule: Rule, group: Group, day: int) -> int | None:
        """Members of ``group`` that ``rule`` can have an alert for; None: nothing is known of them.

        Classes where the rule is grouped by class, else schools. A condition of the rule that reads more
        than dimensions of schools leaves nobody out.
        """
        if self._reference is None:
            return None
        key = (rule.hash, group, day)
        if key not in self._counts:
            if len(self._counts) >= REMEMBERED:
                self._counts.clear()
            self._counts[key] = sum(1 for _ in self._matching(rule, dict(group), day))
        return self._counts[key] or None

    def name(self, code: str, day: int) -> str:
        """The name a unit has on a day; its code where there is none."""
        if self._reference is None:
            return code
        if day not in self._names:
            self._names.clear()
            self._names[day] = {unit.code: unit.name for unit in self._reference.units if unit.holds(day)}
        return self._names[day].get(code) or code

    def _matching(self, rule: Rule, group: Mapping[str, str], day: int) -> Iterator[Place]:
        wanted = parse_expression(rule.query.where) if rule.query.where else None
        if wanted is not None and not set(names_in(wanted)) <= {"school", "class", *SCHOOL_DIMENSIONS}:
            wanted = None
        holds = compile_scalar(wanted) if wanted is not None else None
        session = group.get("session")
        for place, sessions in self._all(day, by_class="class" in rule.query.group_by):
            known = all(name == "session" or place.get(name) == value for name, value in group.items())
            meets = not session or not sessions or session in sessions
            if known and meets and (holds is None or holds(place) is True):
                yield place

    def _all(self, day: int, *, by_class: bool) -> list[tuple[Place, frozenset[str]]]:
        """Every school or class of the day with its dimensions and sessions."""
        if (day, by_class) not in self._places and self._reference is not None:
            if len(self._places) >= 16:
                self._places.clear()
            self._places[day, by_class] = list(_places(self._reference, day, by_class=by_class))
        return self._places.get((day, by_class), [])


def _places(reference: Reference, day: int, *, by_class: bool) -> Iterator[tuple[Place, frozenset[str]]]:
    schools: dict[str, Place] = {
        code: {"school": code, **dict(zip(SCHOOL_DIMENSIONS, row, strict=True))}
        for code, row in traits(reference.units, day).items()
    }
    sessions: dict[str, set[str]] = {}
    for entry in reference.classes:
        if entry.holds(day) and entry.school in schools:
            sessions.setdefault(entry.school, set()).update(entry.sessions)
            if by_class:
                place = {**schools[entry.school], "class": entry.code, "grade": entry.grade or None}
                yield place, frozenset(entry.sessions)
    if not by_class:
        for code, place in schools.items():
            yield place, frozenset(sessions.get(code, ()))
