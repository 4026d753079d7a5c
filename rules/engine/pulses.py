"""Business time as pulses bring it, and the spans that no pulse covered."""

from __future__ import annotations

import msgspec

from rules.engine.intake import NEVER
from schemas.wire import Pulse

PULSES_MISSED = 5
"""So many missing pulses make a gap that silence does not count."""
GAPS_KEPT = 16
"""Beyond this the two oldest become one, with what lies between: better late than falsely silent."""
LATEST_MS = 10**14
"""No clock goes beyond this (year 5138): a broken stamp must not break the engine's arithmetic."""


class Pulses(msgspec.Struct):
    """Newest pulse and recent gaps, ms."""

    newest: int = NEVER
    gaps: list[tuple[int, int]] = []

    def beat(self, pulse: Pulse) -> bool:
        """Take a pulse; False where its time was there before.

        What lies before the very first pulse is a gap too: nobody watched the clock then.
        """
        if pulse.clock <= self.newest:
            return False
        if pulse.every and pulse.clock - self.newest > PULSES_MISSED * pulse.every:
            self.gaps = _bounded([*self.gaps, (self.newest, pulse.clock)])
        self.newest = pulse.clock
        return True


def _bounded(gaps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return gaps if len(gaps) <= GAPS_KEPT else [(gaps[0][0], gaps[1][1]), *gaps[2:]]


def pulse_of(value: bytes) -> Pulse:
    """A pulse record's value. Raises ValueError where it is not one."""
    try:
        pulse = msgspec.json.decode(value, type=Pulse)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a pulse: {error}") from error
    if not 0 <= pulse.clock < LATEST_MS:
        raise ValueError(f"not a pulse: the clock {pulse.clock} is not a time in milliseconds since 1970")
    return pulse
