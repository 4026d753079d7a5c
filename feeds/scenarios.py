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


def _class(session: str) -> dict[str, str]:
    return {"school": "TT-TH-05", "class": "3A", "session": session}


_ILL_PARENT: Final = {"commune": "00679"}

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


@dataclass(frozen=True, slots=True)
class Stated:
    """An alert of which people must be told: rule, group, and when (``HH:MM``, give or take a minute).

    ``schools``: of how many schools it holds alerts; None: not said.
    """

    rule: str
    group: Mapping[str, str]
    at: str
    schools: int | None = None


def _rolls(*schools: str) -> tuple[Stated, ...]:
    """By hand: a third of the morning's classes closes at 08:42 and later; due is 08:15."""
    return tuple(
        Stated("class-roll-not-closed", {"school": school, "session": "morning"}, "08:15")
        for school in schools
    )


_FLU: Final = (
    # By hand: the roll begins at 07:25, absentees first; 60 % of the roster are marked some 22 minutes later,
    # and it must hold for five. Of Xã Ngọc Hồi's thirteen schools above preschool ten have afternoons.
    Stated("absence-spike", {**_ILL_PARENT, "session": "morning"}, "07:56", 13),
    Stated("absence-spike", {**_ILL_PARENT, "session": "afternoon"}, "13:26", 10),
)

STATED: Final[Mapping[str, tuple[Stated, ...]]] = MappingProxyType(
    {
        "ordinary": (),
        "flu": (
            *_FLU,
            # Eight of its 28 pupils marked first, 60 % of the roster after some 22 minutes, and five more.
            Stated("class-absence-cluster", _class("morning"), "07:54"),
            Stated("class-absence-cluster", _class("afternoon"), "13:24"),
        ),
        # Last heartbeats in the first minute after 07:35; ten minutes without one at 07:45. None of its forty
        # schools is told of, nor those of their rolls that are missing at 08:15.
        "silent-vendor": (Stated("vendor-outage", {"vendor": "hocba"}, "07:45", 40),),
        "late-rolls": _rolls(*_LATE),
        # Every ten minutes from 08:30 on a batch is refused: the third at 08:50, for all its schools.
        "sync-trouble": (Stated("vendor-sync-failing", {"vendor": "anlanh", "target": "moet"}, "08:50"),),
        "demo": (
            Stated("vendor-outage", {"vendor": "hocba"}, "07:10", 40),
            *_rolls(*_LATE),
            *_FLU,
        ),
    }
)
"""What must come of each scenario on an ordinary Monday of the example district, and nothing else. Written by
hand from the cause; `tests/feeds/test_scenarios.py` plays them through the engine."""


def cause_of(scenario: str) -> Cause:
    """The cause of a scenario. Raises `SettingsError` with the nearest name."""
    try:
        return SCENARIOS[scenario]
    except KeyError:
        raise SettingsError(f'there is no scenario "{scenario}"{did_you_mean(scenario, SCENARIOS)}') from None


def schools_on(reference: Reference, day: int) -> dict[str, Unit]:
    """Schools by code as they are on a day (days since 1970-01-01)."""
    return {unit.code: unit for unit in reference.units if unit.kind == "school" and unit.holds(day)}
