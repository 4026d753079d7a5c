"""Scenarios of the simulated day: what is injected, and which alerts must come of it.

The expected alerts are written down by hand from the injected cause and the schedule in `feeds.day`;
they are not computed by the engine. Minutes are civil minutes since midnight and may be one off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from schemas.errors import SettingsError
from schemas.nearest import did_you_mean
from schemas.organisation import Reference
from schemas.units import Unit

ILL: Final = 0.33
"""Share of a class that is absent in `flu`."""
SILENT_FROM: Final = 7 * 60 + 36
SILENT_TO: Final = 8 * 60 + 40
"""Heartbeats at 07:40 to 08:35 are missing; the last before is within a minute of 07:35."""
SYNC_FROM: Final = 8 * 60 + 30
SYNC_TO: Final = 10 * 60
SPIKE: Final = MappingProxyType({"morning": 7 * 60 + 52, "afternoon": 13 * 60 + 52})
"""Absentees are entered until :35; 60 % of the roster is marked 27/67 of 30 minutes later; 5 min held."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What is injected. An empty code: nowhere."""

    ill_commune: str = ""
    silent_vendor: str = ""
    late_schools: tuple[str, ...] = ()
    failing_vendor: str = ""


@dataclass(frozen=True, slots=True)
class ExpectedAlert:
    """An alert that must begin at ``minute`` (since civil midnight), give or take one."""

    rule: str
    group: tuple[tuple[str, str], ...]
    minute: int


SCENARIOS: Final[Mapping[str, Cause]] = MappingProxyType(
    {
        "ordinary": Cause(),
        "flu": Cause(ill_commune="00679"),
        "silent-vendor": Cause(silent_vendor="hocba"),
        "late-rolls": Cause(late_schools=("TT-TH-03", "TT-TH-11", "TT-THCS-05")),
        "sync-trouble": Cause(failing_vendor="anlanh"),
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


def expected_alerts(reference: Reference, day: int, scenario: str) -> list[ExpectedAlert]:
    """The alerts of ``flu``, ``silent-vendor`` and ``late-rolls`` on a school day; ``ordinary`` has none.

    Class clusters of ``flu`` and the instant of ``sync-failing`` hang on rules whose thresholds are not
    part of this module; `sync-trouble` therefore states its vendor from the first failing minute.
    """
    cause = cause_of(scenario)
    found = list(_spikes(reference, day, cause.ill_commune)) if cause.ill_commune else []
    if cause.silent_vendor:
        found.append(ExpectedAlert("vendor-outage", (("vendor", cause.silent_vendor),), 7 * 60 + 50))
    found += [
        ExpectedAlert("class-roll-not-closed", (("school", code),), 8 * 60 + 15)
        for code in cause.late_schools
    ]
    if cause.failing_vendor:
        found.append(ExpectedAlert("sync-failing", (("vendor", cause.failing_vendor),), SYNC_FROM))
    return found


def _spikes(reference: Reference, day: int, commune: str) -> Iterator[ExpectedAlert]:
    for code, unit in schools_on(reference, day).items():
        if unit.parent != commune or unit.level == "preschool":
            continue
        sessions = {s for c in reference.classes if c.school == code and c.holds(day) for s in c.sessions}
        for session in sorted(sessions):
            yield ExpectedAlert("absence-spike", (("school", code), ("session", session)), SPIKE[session])
