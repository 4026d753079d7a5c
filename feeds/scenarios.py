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

ILL: Final = 0.33
"""Share of a class that is absent in `flu`."""
SILENT_FROM: Final = 7 * 60 + 36
SILENT_TO: Final = 8 * 60 + 40
"""Heartbeats at 07:40 to 08:35 are missing; the last before is within a minute of 07:35."""
SYNC_FROM: Final = 8 * 60 + 30
SYNC_TO: Final = 10 * 60


@dataclass(frozen=True, slots=True)
class Cause:
    """What is injected. An empty code: nowhere."""

    ill_commune: str = ""
    silent_vendor: str = ""
    late_schools: tuple[str, ...] = ()
    failing_vendor: str = ""


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
