"""The console's core: what it has read of the log. Plain and pure; `console.view` makes the pages' data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from console.roll import Closing, DayPlan, Pair, SchoolRoll, plan_day
from schemas.civil import DAY_MS, day_of, day_text
from schemas.reference import Reference
from schemas.topics import partition_of
from schemas.wire import Pulse, Transition

SHOWING = frozenset({"firing", "recovering"})
OPEN = frozenset({"pending", "firing", "recovering", "unknown"})
KEPT_DAYS = 2
KEPT_TRANSITIONS = 200
RATE_SECONDS = 30
SILENCE_RULES = frozenset({"school-silent", "vendor-outage"})
UNJUDGED_PULSES = 20
UNJUDGED_MS = 20_000
"""A partition is not judged when its watermark is this far, and so many pulses, behind the clock."""


class WatchState:
    """Everything that the wall shows, as a function of the records applied so far.

    Records of different topics may come in any order; of one partition, in the log's order. The same
    record twice changes nothing but the event rate.
    """

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.clock = 0
        """Newest business time, ms; 0 before the first pulse."""
        self.mode = "wall"
        self.every = 0
        self.hold: int | None = None
        """Business time at which a demo starts; before it the engine is filled with what was before."""
        self.prepared: int | None = None
        """Up to which business time that is done, ms."""
        self.reference: Reference | None = None
        self.watermarks: dict[int, int] = {}
        """How far each partition of school.events is judged, ms."""
        self.seen: dict[str, int] = {}
        """Newest event of each school, ms."""
        self.rolls: dict[str, dict[str, SchoolRoll]] = {}
        """Date → school → what came."""
        self.alerts: dict[str, list[Transition]] = {}
        self.counted: Counter[int] = Counter()
        self._plan: DayPlan | None = None
        self._partition: dict[str, int] = {}

    # --- records ---------------------------------------------------------------------------------

    def pulse(self, pulse: Pulse) -> None:
        """Take a pulse."""
        if pulse.clock >= self.clock:
            self.clock, self.mode, self.every = pulse.clock, pulse.mode, pulse.every
            self._prune()

    def control(self, reference: Reference | None, mode: str | None) -> None:
        """Take what a control record changes; None: as it was."""
        if mode is not None:
            self.mode = mode
        if reference is not None:
            self.reference, self._plan = reference, None

    def preparing(self, hold: int | None, prepared: int | None) -> None:
        """Take what the feed says of a demo's start; None: as it was."""
        self.hold = hold if hold is not None else self.hold
        self.prepared = prepared if prepared is not None else self.prepared

    def watermark(self, partition: int, clock: int) -> None:
        """A partition is judged up to ``clock``."""
        self.watermarks[partition] = max(clock, self.watermarks.get(partition, 0))

    def arrived(self, second: int, events: int) -> None:
        """``events`` accepted events were read in a second of real time."""
        self.counted[second] += events
        for old in [known for known in self.counted if known < second - RATE_SECONDS]:
            del self.counted[old]

    def alive(self, schools: Sequence[str], times: Sequence[int]) -> None:
        """Events of any type from these schools."""
        for school, time in zip(schools, times, strict=True):
            if time > self.seen.get(school, -1):
                self.seen[school] = time

    def marked(self, school: str, pair: Pair, date: str, count: int) -> None:
        """So many attendance marks of a class."""
        marks = self._roll(school, date).marks
        marks[pair] = marks.get(pair, 0) + count

    def closed(self, school: str, pair: Pair, date: str, closing: Closing) -> None:
        """A class closed its roll; a later closing replaces an earlier one."""
        roll = self._roll(school, date)
        known = roll.closed.get(pair)
        if known is None or closing.at >= known.at:
            roll.closed[pair] = closing
            roll.counted = None

    def transition(self, change: Transition) -> None:
        """An alert changed, or `correlate` says the same step again with another bearing."""
        history = self.alerts.setdefault(change.alert, [])
        if history and (change.ordinal, change.revision) <= (history[-1].ordinal, history[-1].revision):
            return
        history.append(change)
        if len(history) > KEPT_TRANSITIONS:
            del history[1]  # the first says when it began

    # --- what follows from them ------------------------------------------------------------------

    @property
    def loading(self) -> bool:
        """Whether nothing can be told yet: no pulse has come, or a demo has not begun."""
        return not self.clock or (self.hold is not None and self.clock < self.hold)

    @property
    def day(self) -> int:
        """The civil day of the clock."""
        return day_of(self.clock)

    def plan(self) -> DayPlan | None:
        """The day's schools and rolls; None without reference data or clock."""
        if self.reference is None or not self.clock:
            return None
        if self._plan is None or self._plan.day != self.day:
            self._plan = plan_day(self.reference, self.day)
        return self._plan

    def roll(self, school: str) -> SchoolRoll | None:
        """What came of a school today."""
        return self.today().get(school)

    def today(self) -> dict[str, SchoolRoll]:
        """What came today, by school."""
        return self.rolls.get(day_text(self.day), {})

    def unjudged_since(self, school: str) -> int | None:
        """Since when a school's events are not judged (ms; 0: not at all yet); None: they are."""
        partition = self._partition.get(school)
        if partition is None:
            partition = self._partition[school] = partition_of(school, self.partitions)
        return self.partition_behind(partition)

    def partition_behind(self, partition: int) -> int | None:
        """The watermark of a partition that is too far behind the clock, else None."""
        reached = self.watermarks.get(partition, 0)
        patience = DAY_MS if self.mode == "data" else max(UNJUDGED_MS, UNJUDGED_PULSES * self.every)
        return reached if self.clock - reached > patience else None

    def silenced(self) -> tuple[set[str], dict[str, int]]:
        """Schools about whose silence an alert is firing, held or not; vendors, and since when (ms)."""
        schools: set[str] = set()
        vendors: dict[str, int] = {}
        for history in self.alerts.values():
            last = history[-1]
            if last.rule in SILENCE_RULES and is_showing(last):
                group = last.group
                if "school" in group:
                    schools.add(group["school"])
                elif "vendor" in group:
                    vendors[group["vendor"]] = since_of(history)
        return schools, vendors

    def firing(self) -> list[tuple[Transition, int]]:
        """Alerts that people are told of, with since when, gravest and newest first."""
        return self._showing(lambda last: not last.held_by)

    def held(self, holder: str) -> list[tuple[Transition, int]]:
        """The alerts that ``holder`` holds now, with since when."""
        return self._showing(lambda last: last.held_by == holder)

    def about(self, school: str) -> list[tuple[Transition, int]]:
        """All alerts of a school and its classes, held or not, those about a pupil left out."""
        return self._showing(lambda last: last.group.get("school") == school and "pupil" not in last.group)

    def _showing(self, wanted: Callable[[Transition], bool]) -> list[tuple[Transition, int]]:
        found = [
            (history[-1], since_of(history))
            for history in self.alerts.values()
            if is_showing(history[-1]) and wanted(history[-1])
        ]
        return sorted(found, key=lambda entry: (entry[0].severity, -entry[1], entry[0].alert))

    def rate(self, second: int) -> float:
        """Accepted events a second of real time, over the last `RATE_SECONDS`."""
        recent = sum(count for at, count in self.counted.items() if second - RATE_SECONDS <= at < second)
        return recent / RATE_SECONDS

    def _roll(self, school: str, date: str) -> SchoolRoll:
        return self.rolls.setdefault(date, {}).setdefault(school, SchoolRoll())

    def _prune(self) -> None:
        oldest = day_text(self.day - KEPT_DAYS + 1)
        for date in [date for date in self.rolls if date < oldest]:
            del self.rolls[date]
        ended = self.clock - KEPT_DAYS * DAY_MS
        for alert in [
            alert
            for alert, history in self.alerts.items()
            if history[-1].state not in OPEN and history[-1].at < ended
        ]:
            del self.alerts[alert]


def is_showing(last: Transition) -> bool:
    """Whether an alert whose newest step this is concerns somebody now."""
    return last.state in SHOWING and last.status == "active"


def since_of(history: Sequence[Transition]) -> int:
    """When the present episode of an alert began to fire, ms."""
    since = history[-1].at
    for change in reversed(history):
        if change.state not in {"firing", "recovering", "unknown"}:
            break
        since = change.at
    return since
