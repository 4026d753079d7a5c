"""The business clock: how real time becomes the time that the pulses carry.

Three modes. `wall`: real time. `demo` (`START@RATE`): begins at START, civil time of a given day or of
today in Asia/Ho_Chi_Minh, and runs RATE times faster than real time. `data`: moved only by what is
fed, so nobody asks it. Pure: real time is an argument, in milliseconds since the Unix epoch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from schemas.errors import SettingsError

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
_SPEC = re.compile(
    r"((?P<day>\d{4}-\d\d-\d\d)T)?(?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d)@(?P<rate>\d{1,4}(\.\d{1,3})?)"
)
EXPECTED = "wall, data or [YYYY-MM-DDT]HH:MM@RATE (such as 07:05@10)"

Mode = Literal["wall", "demo", "data"]


@dataclass(frozen=True, slots=True)
class ClockSpec:
    """What was asked for. ``start``: minutes since civil midnight; ``rate``: business per real second."""

    mode: Mode
    start: int = 0
    rate: float = 1.0
    day: date | None = None
    """Civil day of the start; None: the day on which it is begun."""


class Anchor(msgspec.Struct, frozen=True):
    """Where a running clock stands: at real time ``real`` the business time was ``business`` (both ms).

    Travels as JSON in ``alerting.meta``, so that senders anywhere stamp the same time.
    """

    mode: Mode
    real: int
    business: int
    rate: float

    def now(self, real: int) -> int:
        """Business time at real time ``real``; stands still where the machine's clock was set back."""
        return self.business + max(0, round((real - self.real) * self.rate))


def parse_clock(text: str) -> ClockSpec:
    """Read ``wall``, ``data`` or ``[YYYY-MM-DDT]HH:MM@RATE``."""
    if text == "wall":
        return ClockSpec("wall")
    if text == "data":
        return ClockSpec("data")
    match = _SPEC.fullmatch(text)
    try:
        if match is None or float(match["rate"]) <= 0:
            raise ValueError(text)
        day = date.fromisoformat(match["day"]) if match["day"] else None
    except ValueError:
        raise SettingsError(f"clock {text!r} is not {EXPECTED}") from None
    return ClockSpec("demo", int(match["hour"]) * 60 + int(match["minute"]), float(match["rate"]), day)


def start_of(spec: ClockSpec, real: int) -> int:
    """Business time (ms) at which a demo that is begun at ``real`` starts."""
    day = spec.day or datetime.fromtimestamp(real / 1000, UTC).astimezone(ZONE).date()
    begin = datetime.combine(day, time(spec.start // 60, spec.start % 60), ZONE)
    return int(begin.timestamp() * 1000)


def start_clock(spec: ClockSpec, *, real: int, last: int | None) -> Anchor:
    """Anchor a clock at ``real``, never before ``last``, the newest business time that was told.

    A demo that is stopped stands still and goes on where it stopped, or at its START if that is later.
    The wall clock is what the machine says, but waits where the machine's was set back.
    """
    floor = last if last is not None else 0
    if spec.mode != "demo":
        return Anchor(spec.mode, real, max(real, floor) if spec.mode == "wall" else floor, 1.0)
    return Anchor("demo", real, max(start_of(spec, real), floor), spec.rate)


class BusinessClock:
    """A clock whose readings never go back. `tick` gives the time to tell, in ms."""

    def __init__(self, spec: ClockSpec, *, real: int, last: int | None = None) -> None:
        self.spec = spec
        self.anchor = start_clock(spec, real=real, last=last)
        self.last = self.anchor.business

    def tick(self, real: int) -> int:
        """Business time at ``real``, at least what was said before."""
        if self.spec.mode == "wall":
            self.last = max(self.last, real)
        else:
            self.last = max(self.last, self.anchor.now(real))
        return self.last
