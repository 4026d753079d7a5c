"""Judging: how the measures of a group and window move its alert on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rules.engine.configured import UNCONFIGURED, Configured
from rules.engine.deadlines import Deadlines
from rules.engine.due import Agenda, Domain
from rules.engine.expected import Expected
from rules.engine.intake import NEVER
from rules.engine.life import Alert, AlertKey, Reason, alert_id, silent_from
from rules.engine.measures import Values, measures_of
from rules.engine.merged import Merged
from rules.engine.places import Places
from rules.engine.report import Reporter
from rules.engine.sources import Sources
from rules.engine.windows import window_end
from rules.model import Query, Rule
from schemas.civil import DAY_MS, day_of, day_start
from schemas.events import EVENT_TYPES
from schemas.topics import partition_of
from schemas.wire import Aggregate, PanesRecord, PaneValue, State

Group = tuple[str, ...]
EPISODES_KEPT = max(kind.correction_horizon + kind.lateness for kind in EVENT_TYPES.values()) + 2 * DAY_MS
"""How long after its window's start an alert's number in it is remembered, ms."""


class Verdicts:
    """The alerts of a judge's groups, moved on by merged panes, clocks and new configurations."""

    def __init__(self, partitions: int, judge: tuple[int, int] = (0, 1)) -> None:
        self.configured: Configured = UNCONFIGURED
        self.sources = Sources(partitions)
        self.merged = Merged()
        self.agenda = Agenda()
        self.alerts: dict[AlertKey, Alert] = {}
        self.episodes: dict[AlertKey, int] = {}
        self.report = Reporter()
        self.queries: dict[str, Query] = {}
        self.deadlines = Deadlines()
        self._partitions = partitions
        self._judge_place = judge
        self._expected = Expected(None, self.report.places, judge, partitions)
        self._expecting: tuple[Rule, ...] = ()
        self._rules: dict[str, tuple[Rule, ...]] = {}
        self._by_name: dict[str, Rule] = {}

    # --- configuration ---

    def install(self, new: Configured) -> None:
        """Judge by ``new`` from now on; live alerts are as they were."""
        self._by_name = {rule.name: rule for rule in new.rules.rules}
        grouped: dict[str, list[Rule]] = {}
        for rule in new.rules.rules:
            grouped.setdefault(rule.query.id, []).append(rule)
        self._rules = {query: tuple(rules) for query, rules in grouped.items()}
        self.queries = {query.id: query for query in new.rules.queries}
        self.configured = new
        self.report.places = Places(new.reference)
        self._expected = Expected(new.reference, self.report.places, self._judge_place, self._partitions)
        self._expecting = tuple(rule for rule in new.rules.rules if rule.expect is not None)
        self.deadlines.keep({rule.name for rule in self._expecting})

    def switch(self, new: Configured, first: Iterable[PanesRecord]) -> None:
        """Take a new configuration: live alerts are judged again or retired.

        ``first`` holds the panes with which new queries begin; changed rules are judged on them.
        """
        former = self._by_name
        self.install(new)
        for record in first:
            self.merged.put_record(record, self.queries)
        clock = self.sources.newest()
        for key, alert in list(self.alerts.items()):
            rule, old = self._by_name.get(key[0]), former[key[0]]
            if rule is None:
                self._end(old, key, alert, _final(alert, "retired"), "rule_removed", at=clock)
            elif not _same_frame(rule, old):
                self._end(old, key, alert, _final(alert, "resolved"), "rule_changed", at=clock)
            elif alert.hash != rule.hash:
                self._rejudge(rule, key, alert, clock)
        self.merged.keep_queries(self.queries)
        self.agenda.clear()
        for key in list(self.alerts):
            if self._by_name[key[0]].expect is not None:
                self._follow(self._by_name[key[0]], key, "roster_changed")

    def _rejudge(self, rule: Rule, key: AlertKey, alert: Alert, clock: int) -> None:
        alert.hash = rule.hash
        if not self._still_holds(rule, key, alert):
            self._end(rule, key, alert, _final(alert, "resolved"), "rule_changed", at=clock)
        elif alert.state != "pending":
            self._found_on(rule, key, alert)  # corrections are held against what the new rule saw

    def _still_holds(self, rule: Rule, key: AlertKey, alert: Alert) -> bool:
        if rule.silence is not None:
            domain = self._domain(rule, key[1])
            due = silent_from(alert.start, rule.silence.after, self.sources.gaps(domain))
            return self.sources.clock(domain) >= due + EVENT_TYPES[rule.query.type].delay
        if rule.expect is not None:
            return self._values(rule, key[1], key[2])["missing"] != 0
        return measures_of(rule).when(self._values(rule, key[1], key[2])) is not False

    # --- what is to be judged ---

    def judge_pane(self, query: str, start: int, group: Group) -> None:
        """A pane changed."""
        for rule in self._rules.get(query, ()):
            self._judge(rule, group, start)

    def judge_due(self, source: int) -> None:
        """Judge what became due by the clocks that a record of ``source`` may have moved."""
        for domain in (Domain(source, False), Domain(source, True), Domain(-1, False), Domain(-1, True)):
            for key in self.agenda.due(domain, self.sources.clock(domain)):
                rule = self._by_name.get(key[0])
                if rule is not None:
                    self._judge(rule, key[1], key[2])
        self._judge_deadlines(source)

    def aggregates(self, query: str, start: int, group: Group) -> Iterator[Aggregate]:
        """The newest measures of a pane, for each rule that reads it."""
        version = self.merged.version(query, start, group)
        for rule in self._rules.get(query, ()):
            yield self.report.aggregate(rule, group, start, self._values(rule, group, start), version)

    def forget(self, clock: int) -> None:
        """Windows that no event can reach go to the ring; numbers of their episodes are forgotten."""
        self.merged.expire(clock, self.queries)
        oldest = clock - EPISODES_KEPT
        self.episodes = {
            key: n for key, n in self.episodes.items() if key[2] >= oldest or self._lives(key)
        }  # fmt: skip

    def _lives(self, key: AlertKey) -> bool:
        """An alert of silence, whose start is no window's, may be older than any window."""
        alert = self.alerts.get((key[0], key[1], 0))
        return alert is not None and alert.start == key[2]

    # --- judging ---

    def _domain(self, rule: Rule, group: Group) -> Domain:
        """Whose clocks decide about a group: one source partition where the group names its school."""
        pulses = rule.silence is not None or rule.expect is not None
        if not rule.school_in_group:
            return Domain(-1, pulses)
        school = group[rule.query.group_by.index("school")]
        return Domain(partition_of(school, self._partitions), pulses)

    def _values(self, rule: Rule, group: Group, start: int) -> Values:
        states = self.merged.states(rule.query, start, group)
        if rule.expect is not None:
            return self._expected.values(rule, group, day_of(start), states)
        return measures_of(rule).compute(states, lambda: self._earlier(rule, group, start))

    def _earlier(self, rule: Rule, group: Group, start: int) -> Iterable[list[PaneValue]]:
        return self.merged.earlier(rule.query, group, start)

    def _judge(self, rule: Rule, group: Group, start: int) -> None:
        if rule.silence is not None:
            self._judge_silence(rule, group, rule.silence.after)
            return
        if rule.expect is not None:
            self._follow(rule, (rule.name, group, start), "event_seen")
            return
        kind = EVENT_TYPES[rule.query.type]
        domain = self._domain(rule, group)
        clock = self.sources.clock(domain)
        watermark = clock - kind.delay
        closes = window_end(rule.query.window, start)
        ends = closes + kind.lateness
        key = (rule.name, group, start)
        alert = self.alerts.get(key)
        if watermark >= ends:
            if alert is not None:
                self._end(rule, key, alert, _final(alert, "resolved"), "window_ended", at=ends)
            self.agenda.cancel(key)
            return
        values = self._values(rule, group, start)
        whole = watermark >= closes
        if alert is None:
            self._begin(rule, key, values, clock, whole=whole)
        else:
            self._go_on(rule, key, alert, values, clock=clock, watermark=watermark)
        self._plan(rule, key, domain, closes if not whole else ends)

    def _plan(self, rule: Rule, key: AlertKey, domain: Domain, instant: int) -> None:
        """When to look at this again although nothing may have changed."""
        alert = self.alerts.get(key)
        if alert is not None and alert.state == "pending":
            instant = min(instant, alert.since + rule.hold)
        if alert is not None and alert.recovers_at is not None:
            instant = min(instant, alert.recovers_at)
        self.agenda.set(key, domain, instant + EVENT_TYPES[rule.query.type].delay)

    def _begin(self, rule: Rule, key: AlertKey, values: Values, clock: int, *, whole: bool) -> None:
        if measures_of(rule).when(values) is not True or not self._is_school_day(rule, key):
            return
        if not (whole or rule.monotone or self._is_complete(rule, key, values)):
            return
        if self.merged.is_quiet(rule.query.id, key[2], key[1]):
            return
        alert = self._new(rule, key, key[2], clock)
        if rule.hold:
            self._step(rule, alert, "pending", "condition_met", at=clock, values=values)
        else:
            self._fire(rule, alert, key, values, at=clock, reason="condition_met")

    def _is_complete(self, rule: Rule, key: AlertKey, values: Values) -> bool:
        """May the window be judged while it fills? Not where several partitions hold the group."""
        if not rule.school_in_group:
            return False
        return measures_of(rule).complete(values, self._roster(rule, key))

    def _go_on(
        self, rule: Rule, key: AlertKey, alert: Alert, values: Values, *, clock: int, watermark: int
    ) -> None:
        measures = measures_of(rule)
        if alert.state == "pending":
            if measures.when(values) is not True:
                self._end(rule, key, alert, "inactive", "condition_ended", at=clock)
            elif watermark >= alert.since + rule.hold:
                self._fire(rule, alert, key, values, at=alert.since + rule.hold, reason="held")
            return
        if self._was_wrong(rule, key, alert):
            self._end(rule, key, alert, "retracted", "corrected", at=clock)
        elif measures.recovers(values):
            self._recover(rule, key, alert, values, clock=clock, watermark=watermark)
        elif alert.recovers_at is not None:
            alert.recovers_at = None
            if alert.state == "recovering":
                self._step(rule, alert, "firing", "recovery_ended", at=clock, values=values)

    def _recover(
        self, rule: Rule, key: AlertKey, alert: Alert, values: Values, *, clock: int, watermark: int
    ) -> None:
        if alert.recovers_at is None:
            alert.recovers_at = clock
        if watermark >= alert.recovers_at:
            self._end(rule, key, alert, "resolved", "recovered", at=alert.recovers_at)
        elif alert.state == "firing":
            self._step(rule, alert, "recovering", "recovered", at=clock, values=values)

    def _was_wrong(self, rule: Rule, key: AlertKey, alert: Alert) -> bool:
        """Would the measures at firing, with later corrections to what was before, not have met `when`?"""
        then = self.merged.corrected(rule.query, key[2], key[1], alert.fired, alert.fired_at)
        if then is None:
            return False
        values = measures_of(rule).compute(then, lambda: self._earlier(rule, key[1], key[2]))
        return measures_of(rule).when(values) is not True

    def _judge_silence(self, rule: Rule, group: Group, after: int) -> None:
        domain = self._domain(rule, group)
        last = self.merged.states(rule.query, 0, group)[0]
        key = (rule.name, group, 0)
        alert = self.alerts.get(key)
        if not isinstance(last, int):
            return
        if alert is not None and last > alert.start:
            self._end(rule, key, alert, "resolved", "event_seen", at=last)
            alert = None
        if alert is not None or self.merged.is_quiet(rule.query.id, 0, group):
            return
        due = silent_from(last, after, self.sources.gaps(domain))
        if self.sources.clock(domain) >= due + EVENT_TYPES[rule.query.type].delay:
            new = self._new(rule, key, last, due)
            self._fire(rule, new, key, self._values(rule, group, 0), at=due, reason="silent")
            self.agenda.cancel(key)
        else:
            self.agenda.set(key, domain, due + EVENT_TYPES[rule.query.type].delay)

    # --- what was expected ---

    def _judge_deadlines(self, source: int) -> None:
        """Judge the groups whose deadline the pulses of a source partition have passed."""
        pulse = self.sources.clock(Domain(source, True))
        if pulse == NEVER:
            return
        for rule in self._expecting:
            watermark = pulse - EVENT_TYPES[rule.query.type].delay
            times = [time for _, time in rule.expect.by] if rule.expect else []
            gaps = self.sources.gaps(Domain(source, True))
            for time, due in self.deadlines.reached(rule.name, times, source, watermark, gaps):
                for group in self._expected.due(rule, day_of(watermark), source, time):
                    self._miss(rule, (rule.name, group, day_start(day_of(watermark))), due)

    def _miss(self, rule: Rule, key: AlertKey, due: int) -> None:
        values = self._values(rule, key[1], key[2])
        if values["missing"] and key not in self.alerts:
            self._fire(rule, self._new(rule, key, key[2], due), key, values, at=due, reason="missing")
            self._follow(rule, key, "event_seen")

    def _follow(self, rule: Rule, key: AlertKey, reason: Reason) -> None:
        """A live alert ends when nothing is missing any more, or with its day."""
        alert = self.alerts.get(key)
        if alert is None:
            return
        domain = self._domain(rule, key[1])
        closes, delay = window_end(rule.query.window, key[2]), EVENT_TYPES[rule.query.type].delay
        if self.sources.clock(domain) - delay >= closes:
            self._end(rule, key, alert, "resolved", "window_ended", at=closes)
        elif self._values(rule, key[1], key[2])["missing"] == 0:
            self._end(rule, key, alert, "resolved", reason, at=max(alert.since, self.sources.decided(domain)))
        else:
            self.agenda.set(key, domain, closes + delay)

    # --- alerts ---

    def _new(self, rule: Rule, key: AlertKey, start: int, at: int) -> Alert:
        episode_key = (key[0], key[1], start)
        episode = self.episodes.get(episode_key, 0)
        self.episodes[episode_key] = episode + 1
        identity = alert_id(rule.name, _named(rule, key[1]), start, episode)
        alert = Alert(identity, rule.name, rule.hash, key[1], start, "pending", since=at)
        self.alerts[key] = alert
        return alert

    def _fire(
        self, rule: Rule, alert: Alert, key: AlertKey, values: Values, *, at: int, reason: Reason
    ) -> None:
        self._found_on(rule, key, alert)
        self._step(rule, alert, "firing", reason, at=at, values=values)

    def _found_on(self, rule: Rule, key: AlertKey, alert: Alert) -> None:
        """Remember the states that the alert stands on, for corrections that come later."""
        alert.fired = list(self.merged.states(rule.query, key[2], key[1]))
        alert.fired_at = self.sources.positions(self._domain(rule, key[1]))

    def _end(self, rule: Rule, key: AlertKey, alert: Alert, state: State, reason: Reason, *, at: int) -> None:
        del self.alerts[key]
        self.agenda.cancel(key)
        self._step(rule, alert, state, reason, at=at, values=self._values(rule, key[1], key[2]))

    def _step(
        self, rule: Rule, alert: Alert, state: State, reason: Reason, *, at: int, values: Values
    ) -> None:
        domain = self._domain(rule, alert.group)
        start = alert.start if rule.silence is None else 0
        self.report.step(
            rule,
            alert,
            state,
            reason,
            at=at,
            decided_at=self.sources.decided(domain),
            values=values,
            positions=self.sources.positions(domain),
            evidence=self.merged.evidence(rule.query.id, start, alert.group),
        )

    def _is_school_day(self, rule: Rule, key: AlertKey) -> bool:
        return self.report.places.is_school_day(_named(rule, key[1]), day_of(key[2]))

    def _roster(self, rule: Rule, key: AlertKey) -> int | None:
        reference = self.configured.reference
        if reference is None or rule.complete is None or rule.complete.roster_share is None:
            return None
        return reference.roster_size(_named(rule, key[1]), day_of(key[2]))


def _named(rule: Rule, group: Group) -> dict[str, str]:
    return dict(zip(rule.query.group_by, group, strict=True))


def _same_frame(new: Rule, old: Rule) -> bool:
    """Do both put the same group and window behind an alert's key?"""
    mine, other = new.query, old.query
    if new.expect is not None or old.expect is not None:  # nothing but the roster says who judges a group
        return mine.id == other.id and new.expect is not None and old.expect is not None
    return (mine.type, mine.group_by, mine.window) == (other.type, other.group_by, other.window)


def _final(alert: Alert, state: State) -> State:
    """How a live alert ends: one that never fired was nothing."""
    return "inactive" if alert.state == "pending" else state
