"""Scenarios of the simulated day: what is injected into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from schemas.errors import SettingsError
from schemas.nearest import did_you_mean

if TYPE_CHECKING:  # the command line knows the names without loading Polars
    from schemas.organisation import Reference
    from schemas.units import Unit

Span = tuple[int, int]
"""From a minute of the day until before another."""
NEVER: Final = (0, 0)
LATE_BY: Final = 35
"""How many minutes after the others late classes close their roll."""


def clock(text: str) -> int:
    """Minute of the day of ``HH:MM``."""
    return int(text[:2]) * 60 + int(text[3:])


@dataclass(frozen=True, slots=True)
class Cause:
    """What is injected. An empty code: nowhere."""

    ill_commune: str = ""
    """In each class of its schools above preschool, in each session, `ill` pupils are absent."""
    ill: int = 4
    ill_class: tuple[str, str] = ("", "")
    """A class (school, class) with eight absent in each session."""
    silent_vendor: str = ""
    silent: Span = NEVER
    """Nothing at all comes from its schools. Afterwards what waited comes within `CATCH_UP` minutes,
    with its own times; heartbeats that were not sent are lost."""
    late_schools: tuple[str, ...] = ()
    """Each third class closes its morning roll `LATE_BY` minutes late."""
    failing_vendor: str = ""
    failing: Span = NEVER
    """A fifth of each batch to the ministry is refused, and every ten minutes it is tried again."""


CLASS_ILL: Final = 8
CATCH_UP: Final = 3
_LATE: Final = ("TT-TH-03", "TT-TH-11", "TT-THCS-05")

SCENARIOS: Final[Mapping[str, Cause]] = MappingProxyType(
    {
        "ordinary": Cause(),
        "flu": Cause(ill_commune="00679", ill_class=("TT-TH-05", "3A")),
        "silent-vendor": Cause(silent_vendor="hocba", silent=(clock("07:36"), clock("08:40"))),
        "late-rolls": Cause(late_schools=_LATE),
        "sync-trouble": Cause(failing_vendor="anlanh", failing=(clock("08:30"), clock("10:00"))),
        "demo": Cause(
            ill_commune="00679",
            silent_vendor="hocba",
            silent=(clock("07:03"), clock("07:35")),
            late_schools=_LATE,
        ),
    }
)


def cause_of(scenario: str) -> Cause:
    """The cause of a scenario. Raises `SettingsError` with the nearest name."""
    try:
        return SCENARIOS[scenario]
    except KeyError:
        raise SettingsError(f'there is no scenario "{scenario}"{did_you_mean(scenario, SCENARIOS)}') from None


def schools_on(reference: Reference, day: int) -> dict[str, Unit]:
    """Schools by code as they are on a day (days since 1970-01-01)."""
    return {unit.code: unit for unit in reference.units if unit.kind == "school" and unit.holds(day)}
