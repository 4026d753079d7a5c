"""The simulated school day: a seeded pure function of reference data, date and scenario."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from feeds.merging import FeedEvent, in_order
from feeds.scenarios import Cause, cause_of, schools_on
from feeds.school import SchoolDay
from schemas.organisation import Reference
from schemas.units import SchoolClass

HISTORY_WEEKS: Final = 4
HISTORY_CLASSES: Final = 6

__all__ = ["HISTORY_WEEKS", "FeedEvent", "day_events", "history_days", "history_events"]


def day_events(
    reference: Reference, day: int, scenario: str = "ordinary", seed: int = 1
) -> Iterator[FeedEvent]:
    """All events of a civil day (days since 1970-01-01) by arrival. Raises `SettingsError`.

    On a day off only the heartbeats remain. Only the parts of the day that are under way are in memory.
    """
    cause = cause_of(scenario)
    return in_order(part for school in _schools(reference, day, cause, seed) for part in school.parts())


def history_days(day: int) -> list[int]:
    """The same weekdays before ``day`` that baselines need, oldest first."""
    return [day - 7 * weeks for weeks in range(HISTORY_WEEKS, 0, -1)]


def history_events(reference: Reference, day: int, seed: int = 1) -> Iterator[FeedEvent]:
    """Marks of an ordinary day at the schools above preschool, whose absences have a baseline.

    Only each `HISTORY_CLASSES`-th class of a school is in it: its share of absent pupils stands for the
    school's, and a demo need not wait for 430,000 marks.
    """
    schools = _schools(reference, day, Cause(), seed, HISTORY_CLASSES)
    return in_order(part for s in schools if s.unit.level != "preschool" for part in s.marks())


def _schools(reference: Reference, day: int, cause: Cause, seed: int, stride: int = 1) -> Iterator[SchoolDay]:
    classes: dict[str, list[SchoolClass]] = {}
    for entry in reference.classes:
        if entry.holds(day):
            classes.setdefault(entry.school, []).append(entry)
    for code, unit in schools_on(reference, day).items():
        open_today = reference.is_school_day(day, unit.level, (code, unit.parent))
        yield SchoolDay((unit, classes.get(code, [])[::stride], open_today), day, cause, seed)
