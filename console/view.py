"""What the wall shows at an instant, as plain frozen values that travel as JSON. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from console.roll import SchoolPlan, SchoolRoll, closed_of, closing_minutes, hides, minute_of, state_of
from console.state import WatchState
from console.words import STATES
from schemas.civil import OFFSET_MS, day_of, day_text
from schemas.wire import Transition

SHOWN_ALERTS = 60
TILES_AT_MOST = 300
"""With more schools than this the wall shows one tile for each commune: nobody reads smaller names."""
_LEVELS = (
    ("Mầm non", "MN"), ("mầm non", "MN"), ("Tiểu học", "TH"), ("tiểu học", "TH"),
    ("Trung học cơ sở", "THCS"), ("Trung học phổ thông", "THPT"), ("THCS", "THCS"), ("THPT", "THPT"),
)  # fmt: skip
_SHORT = (("Trường ", ""), *_LEVELS)
_UNITS = ("Thị trấn ", "Phường ", "Xã ")


class Tile(msgspec.Struct, frozen=True):
    """One school on the wall."""

    code: str
    name: str
    """Without the level, where the name begins with it."""
    level: str
    """Short: MN, TH, THCS, THPT; empty where the name does not begin with one."""
    state: str
    closed: int
    due: int
    since: str
    """Since when it is not judged, HH:MM; else empty."""


class Commune(msgspec.Struct, frozen=True):
    """A commune's schools."""

    code: str
    name: str
    schools: tuple[Tile, ...]
    totals: dict[str, int]
    """Schools by state, for those states that occur."""
    closed: int
    due: int
    since: str
    """Since when some of its schools are not judged, HH:MM; else empty."""

    @property
    def state(self) -> str:
        """The gravest state among its schools."""
        return next((name for name in STATES if self.totals.get(name)), "no_session")


class Alert(msgspec.Struct, frozen=True):
    """One alert in a list."""

    id: str
    severity: str
    state: str
    since: str
    title: dict[str, str]
    text: dict[str, str]
    place: str
    reason: str
    holds: int
    """How many alerts it holds."""
    of_schools: bool
    """Whether each of those is about another school: then they are counted as schools."""
    held_how: str
    held_by: str


class Wall(msgspec.Struct, frozen=True):
    """The whole wall. Times are civil: HH:MM or HH:MM:SS."""

    clock: str
    date: str
    mode: str
    beating: bool
    """Whether pulses are promised (not with clock `data`)."""
    known: bool
    """Whether there is reference data."""
    loading: bool
    """Whether nothing can be told yet: no pulse has come, or a demo is still being prepared."""
    prepared: str
    """Up to when a demo is prepared (YYYY-MM-DD); else empty."""
    communes: tuple[Commune, ...]
    totals: dict[str, int]
    closed: int
    due: int
    progress: tuple[tuple[int, int], ...]
    """Minute of the day and classes closed by then, rising."""
    minute: int
    deadline: int | None
    """Minute of the day by which most schools' rolls have to be closed; None: the calendar names none."""
    alerts: tuple[Alert, ...]
    firing: int
    """All alerts that are firing and not held, those about pupils left out."""
    pupil_alerts: int
    rate: float


def clock_text(ms: int, *, seconds: bool = False) -> str:
    """Civil time of an instant."""
    second = (ms + OFFSET_MS) // 1000 % 86_400
    text = f"{second // 3600:02}:{second // 60 % 60:02}"
    return f"{text}:{second % 60:02}" if seconds else text


def short_name(name: str) -> str:
    """A school's name as it fits a tile."""
    for long, short in _SHORT:
        name = name.replace(long, short)
    return name


@lru_cache(maxsize=10_000)
def level_of(name: str) -> tuple[str, str]:
    """A school's level in short, if its name begins with it, and the rest of the name."""
    rest = name.removeprefix("Trường ")
    for long, short in _LEVELS:
        if rest.startswith(long + " "):
            return short, rest[len(long) + 1 :]
    return "", rest


def wall_of(state: WatchState, second: int) -> Wall:
    """The wall. ``second``: real time, for the event rate only."""
    communes = _communes(state)
    totals = Counter(tile.state for commune in communes for tile in commune.schools)
    alerts, pupils = _alerts(state)
    asked = [tile for commune in communes for tile in commune.schools if tile.state != "no_session"]
    return Wall(
        clock=clock_text(state.clock, seconds=True) if state.clock else "--:--:--",
        date=day_text(state.day) if state.clock else "",
        mode=mode_of(state),
        beating=state.every > 0,
        known=state.plan() is not None,
        loading=state.loading,
        prepared=day_text(day_of(state.prepared)) if state.loading and state.prepared else "",
        communes=communes,
        totals={name: totals.get(name, 0) for name in STATES},
        closed=sum(tile.closed for tile in asked),
        due=sum(tile.due for tile in asked),
        progress=_progress(state),
        minute=minute_of(state.clock),
        deadline=_deadline(state),
        alerts=tuple(alerts[:SHOWN_ALERTS]),
        firing=len(alerts),
        pupil_alerts=pupils,
        rate=round(state.rate(second), 1),
    )


def mode_of(state: WatchState) -> str:
    """The clock's mode; while a demo is prepared its clock is ``data``, and yet it is a drill."""
    return "demo" if state.hold is not None else state.mode


def _communes(state: WatchState) -> tuple[Commune, ...]:
    plan = state.plan()
    if plan is None:
        return ()
    now = _Now(state.today(), minute_of(state.clock), *state.silenced())
    return tuple(
        _commune(code, name, tuple(_tile(state, now, plan.schools[one]) for one in codes))
        for code, name, codes in plan.communes
    )


def _commune(code: str, name: str, tiles: tuple[Tile, ...]) -> Commune:
    asked = [tile for tile in tiles if tile.state != "no_session"]
    return Commune(
        code,
        next((name.removeprefix(unit) for unit in _UNITS if name.startswith(unit)), name) or code,
        tiles,
        dict(Counter(tile.state for tile in tiles)),
        sum(tile.closed for tile in asked),
        sum(tile.due for tile in asked),
        min((tile.since for tile in tiles if tile.since), default=""),
    )


def _deadline(state: WatchState) -> int | None:
    plan, now = state.plan(), minute_of(state.clock)
    asked = [school.deadline(now) for school in plan.schools.values() if school.open] if plan else []
    found = Counter(minute for minute in asked if minute is not None).most_common(1)
    return found[0][0] if found else None


@dataclass(frozen=True, slots=True)
class _Now:
    """What is the same for all schools."""

    rolls: dict[str, SchoolRoll]
    minute: int
    silent: set[str]
    outages: dict[str, int]
    """Vendor → since when it is out, ms."""


def _tile(state: WatchState, now: _Now, known: SchoolPlan) -> Tile:
    school = known.code
    roll = now.rolls.get(school)
    behind = state.unjudged_since(school)
    outage = now.outages.get(known.vendor)  # a school that sends although its vendor is out is not silent
    found = state_of(
        known,
        roll,
        state.clock,
        judged=behind is None,
        silent=school in now.silent or (outage is not None and state.seen.get(school, -1) < outage),
        seen=school in state.seen,
    )
    due = known.due(now.minute) if known.open else frozenset()
    since = clock_text(behind) if found == "unjudged" and behind else ""
    level, name = level_of(known.name)
    return Tile(school, name, level, found, closed_of(roll, due), len(due), since)


def _progress(state: WatchState) -> tuple[tuple[int, int], ...]:
    plan = state.plan()
    if plan is None:
        return ()
    now, rolls = minute_of(state.clock), state.today()
    minutes: Counter[int] = Counter()
    for code, school in plan.schools.items():
        if school.open:
            minutes.update(closing_minutes(rolls.get(code), school.due(now)))
    total = 0
    points = []
    for minute in sorted(minutes):
        total += minutes[minute]
        points.append((minute, total))
    return tuple(points)


def _alerts(state: WatchState) -> tuple[list[Alert], int]:
    firing = state.firing()
    shown = [alert_of(state, change, since) for change, since in firing if "pupil" not in change.group]
    return shown, len(firing) - len(shown)


def alert_of(state: WatchState, change: Transition, since: int) -> Alert:
    """An alert as lists show it."""
    return Alert(
        id=change.alert,
        severity=change.severity,
        state=change.state,
        since=_since_text(since, state.clock),
        title=change.title,
        text={} if hides(change.measures) else change.text,
        place=place_of(state, change.group),
        reason=change.reason,
        holds=change.holds,
        of_schools=_of_schools(state, change) if change.holds else False,
        held_how=change.held_how,
        held_by=change.held_by,
    )


def _since_text(since: int, now: int) -> str:
    """HH:MM, with the day before it (DD/MM) where that is another."""
    year_month_day = day_text(day_of(since)).split("-")
    day = "" if day_of(since) == day_of(now) else f"{year_month_day[2]}/{year_month_day[1]} "
    return day + clock_text(since)


def _of_schools(state: WatchState, holder: Transition) -> bool:
    schools = [held.group.get("school") for held, _ in state.held(holder.alert)]
    return bool(schools) and None not in schools and len(set(schools)) == len(schools)


def place_of(state: WatchState, group: dict[str, str]) -> str:
    """An alert's group in words: names where the reference data has them."""
    plan = state.plan()
    parts = []
    for key, value in group.items():
        name = value
        if plan is not None and key == "school" and value in plan.schools:
            name = short_name(plan.schools[value].name)
        elif plan is not None and key == "commune":
            name = next((found for code, found, _ in plan.communes if code == value), value)
        if key != "session":
            parts.append(name)
    return " · ".join(part for part in parts if part)
