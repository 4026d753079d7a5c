"""What the wall shows at an instant, as plain frozen values that travel as JSON. Pure."""

from __future__ import annotations

from collections import Counter

import msgspec

from console.roll import SchoolPlan, closed_of, minute_of, state_of
from console.state import WatchState
from console.words import STATES
from schemas.civil import OFFSET_MS, day_text
from schemas.wire import Transition

SHOWN_ALERTS = 60
_SHORT = (
    ("Trường ", ""), ("Mầm non", "MN"), ("mầm non", "MN"), ("Tiểu học", "TH"), ("tiểu học", "TH"),
    ("Trung học cơ sở", "THCS"), ("Trung học phổ thông", "THPT"),
)  # fmt: skip


class Tile(msgspec.Struct, frozen=True):
    """One school on the wall."""

    code: str
    name: str
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


class Wall(msgspec.Struct, frozen=True):
    """The whole wall. Times are civil: HH:MM or HH:MM:SS."""

    clock: str
    date: str
    mode: str
    beating: bool
    """Whether pulses are promised (not with clock `data`)."""
    known: bool
    """Whether there is reference data."""
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
    """All alerts that are firing, those about pupils left out."""
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


def wall_of(state: WatchState, second: int) -> Wall:
    """The wall. ``second``: real time, for the event rate only."""
    communes = _communes(state)
    totals = Counter(tile.state for commune in communes for tile in commune.schools)
    alerts, pupils = _alerts(state)
    asked = [tile for commune in communes for tile in commune.schools if tile.state != "no_session"]
    return Wall(
        clock=clock_text(state.clock, seconds=True) if state.clock else "--:--:--",
        date=day_text(state.day) if state.clock else "",
        mode=state.mode,
        beating=state.every > 0,
        known=state.plan() is not None,
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


def _communes(state: WatchState) -> tuple[Commune, ...]:
    plan = state.plan()
    if plan is None:
        return ()
    schools, vendors = state.silenced()
    return tuple(
        Commune(
            code, name or code, tuple(_tile(state, plan.schools[code_], schools, vendors) for code_ in codes)
        )
        for code, name, codes in plan.communes
    )


def _deadline(state: WatchState) -> int | None:
    plan, now = state.plan(), minute_of(state.clock)
    asked = [school.deadline(now) for school in plan.schools.values() if school.open] if plan else []
    found = Counter(minute for minute in asked if minute is not None).most_common(1)
    return found[0][0] if found else None


def _tile(state: WatchState, known: SchoolPlan, silent: set[str], vendors: set[str]) -> Tile:
    school = known.code
    roll = state.roll(school)
    behind = state.unjudged_since(school)
    found = state_of(
        known,
        roll,
        state.clock,
        judged=behind is None,
        silent=school in silent or known.vendor in vendors,
        seen=school in state.seen,
    )
    due = known.due(minute_of(state.clock)) if known.open else frozenset()
    since = clock_text(behind) if found == "unjudged" and behind else ""
    return Tile(school, short_name(known.name), found, closed_of(roll, due), len(due), since)


def _progress(state: WatchState) -> tuple[tuple[int, int], ...]:
    plan = state.plan()
    if plan is None:
        return ()
    now = minute_of(state.clock)
    minutes: Counter[int] = Counter()
    for code, school in plan.schools.items():
        roll = state.roll(code)
        if roll is not None and school.open:
            due = school.due(now)
            minutes.update(minute_of(closing.at) for pair, closing in roll.closed.items() if pair in due)
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
        since=clock_text(since),
        title=change.title,
        text=change.text,
        place=place_of(state, change.group),
        reason=change.reason,
    )


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
