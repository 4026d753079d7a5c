"""One school's dimensions on a day, for messages and calendars."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from schemas.reference import DIMENSIONS, Reference

REMEMBERED = 50_000
UNITS = ("commune", "district", "city")


class Places:
    """Looks schools up in reference data and remembers them."""

    def __init__(self, reference: Reference | None) -> None:
        self._reference = reference
        self._known: dict[tuple[str, int], dict[str, str]] = {}

    def of(self, school: str, day: int) -> dict[str, str]:
        """Dimensions that the school has on the day (days since 1970-01-01)."""
        if self._reference is None:
            return {}
        found = self._known.get((school, day))
        if found is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            found = self._known[school, day] = self._look_up(self._reference, school, day)
        return found

    def _look_up(self, reference: Reference, school: str, day: int) -> dict[str, str]:
        frame = pl.DataFrame({"school": [school], "_day": [day]}, schema_overrides={"_day": pl.Int32})
        row = reference.join(frame).to_dicts()[0]
        return {name: row[name] for name in DIMENSIONS if row.get(name) is not None}

    def is_school_day(self, group: Mapping[str, str], day: int) -> bool:
        """Whether the calendar has a school day for a group; without reference data always.

        A group without a school has the units it names, and closures of those hold for it.
        """
        if self._reference is None:
            return True
        school = group.get("school", "")
        found = {**group, **self.of(school, day)} if school else group
        units = {found[kind] for kind in ("school", *UNITS) if found.get(kind)}
        return self._reference.is_school_day(day, found.get("level") or None, units)
