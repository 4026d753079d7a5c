"""The agent `judge`: a function of one partition of ``alerting.panes``.

Keeps, per pane and source partition, the state of the highest position; merges; evaluates; moves
alerts on. Present conditions are judged as panes change; what is judged from absence waits until
the watermark of every source partition that can hold the group has passed the instant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
import numpy as np

from rules.engine.barrier import Barrier
from rules.engine.blocks import Ledger, by_part
from rules.engine.configured import UNCONFIGURED, Configured, compiled
from rules.engine.due import Agenda, Domain
from rules.engine.intake import NEVER
from rules.engine.life import Alert, AlertKey, Reason, alert_id, silent_from
from rules.engine.measures import Values, measures_of
from rules.engine.merged import Merged
from rules.engine.places import Places
from rules.engine.report import Reporter
from rules.engine.sources import Sources
from rules.engine.windows import window_end
from rules.model import Query, Rule
from schemas.civil import day_of
from schemas.events import EVENT_TYPES
from schemas.topics import AGGREGATES, partition_of
from schemas.wire import (
    Aggregate,
    CoreOptions,
    LogBatch,
    OutRecord,
    PanesRecord,
    PaneValue,
    Snapshot,
    State,
)

AGGREGATES_A_RECORD = 500
ENTRIES_A_BLOCK = 1000
Group = tuple[str, ...]


class JudgeState(msgspec.Struct):
    """The part of a snapshot that is not panes."""

    sources: Sources
    reached: dict[int, int]
    forgot: int


class JudgeCore:
    """See the module. Satisfies `schemas.wire.Core`."""

    def __init__(self, partition: int, options: CoreOptions) -> None:
        self.partition = partition
        self.options = options
        self.configured: Configured = UNCONFIGURED
        self.sources = Sources(options.partitions)
        self.alerts: dict[AlertKey, Alert] = {}
        self._episodes: dict[AlertKey, int] = {}
        self._merged = Merged()
        self._barrier = Barrier(options.partitions)
        self._agenda = Agenda()
        self._changed: dict[tuple[str, int, Group], None] = {}
        self._report = Reporter()
        self._ledger = Ledger()
        self._rules: dict[str, tuple[Rule, ...]] = {}
        self._by_name: dict[str, Rule] = {}
        self._queries: dict[str, Query] = {}
        self._forgot = day_of(NEVER)
        self._written = False
        self._position = 0

    @property
    def position(self) -> int:
        """Offset of the next record to apply."""
        return self._position

    # --- the way of a record ---

    def apply(self, batch: LogBatch) -> None:
        """Take a batch; records below ``position`` are skipped."""
        start = int(np.searchsorted(np.array(batch.offsets), self._position))
        for row in range(start, len(batch)):
            value = batch.values[row]
            if value is not None:
                self._record(_RECORD.decode(value))
            self._position = batch.offsets[row] + 1

    def _record(self, record: PanesRecord) -> None:
        if not self._barrier.offer(record):
            return  # everything in it came already
        self._release()
        while (content := self._barrier.next_content()) is not None:
            self._switch(content)
            self._release()

    def _release(self) -> None:
        for record in self._barrier.release(self.configured.hash):
            self._take(record)

    def _take(self, record: PanesRecord) -> None:
        self.sources.take(record)
        changed = [
            (sheet.query, sheet.window_start, pane.group)
            for sheet in record.panes
            for pane in sheet.panes
            if self._merged.put(sheet.query, sheet.window_start, record.source, pane)
        ]
        for query, start, group in changed:
            self._changed[query, start, group] = None
            for rule in self._rules.get(query, ()):
                self._judge(rule, group, start)
        self._pass_time(record.source)
        self._forget()

    def _pass_time(self, source: int) -> None:
        """Judge what became due by the clocks that moved."""
        for domain in (Domain(source, False), Domain(source, True), Domain(-1, False), Domain(-1, True)):
            clock = self.sources.clock(domain)
            for key in self._agenda.due(domain, clock):
                rule = self._by_name.get(key[0])
                if rule is not None:
                    self._judge(rule, key[1], key[2])

    # --- configuration ---

    def _switch(self, content: bytes) -> None:
        """Take the configuration that every source partition has come to."""
        former = self._by_name
        self._install(compiled(content))
        for key, alert in list(self.alerts.items()):
            rule = self._by_name.get(key[0])
            clock = self.sources.newest()
            if rule is None:
                self._end(former[key[0]], key, alert, _final(alert, "retired"), "rule_removed", at=clock)
            elif alert.hash != rule.hash:
                alert.hash = rule.hash
                self._rejudge(rule, key, alert, clock)
        self._merged.keep_queries(self._queries)
        self._plan_everything()

    def _install(self, new: Configured) -> None:
        self._by_name = {rule.name: rule for rule in new.rules.rules}
        grouped: dict[str, list[Rule]] = {}
        for rule in new.rules.rules:
            grouped.setdefault(rule.query.id, []).append(rule)
        self._rules = {query: tuple(rules) for query, rules in grouped.items()}
        self._queries = {query.id: query for query in new.rules.queries}
        self.configured = new
        self._report.places = Places(new.reference)

    def _rejudge(self, rule: Rule, key: AlertKey, alert: Alert, clock: int) -> None:
        if rule.silence is not None:
            holds = True  # judged by its due instant
        else:
            holds = measures_of(rule).when(self._values(rule, key[1], key[2])) is not False
        if not holds:
            self._end(rule, key, alert, _final(alert, "resolved"), "rule_changed", at=clock)

    def _plan_everything(self) -> None:
        self._agenda.clear()
        for query, start, group in self._merged.open_panes():
            self._changed[query, start, group] = None
            for rule in self._rules.get(query, ()):
                self._judge(rule, group, start)

    # --- judging ---

    def _domain(self, rule: Rule, group: Group) -> Domain:
        """Whose clocks decide about a group: one source partition where the group names its school."""
        pulses = rule.silence is not None
        if not rule.school_in_group:
            return Domain(-1, pulses)
        school = group[rule.query.group_by.index("school")]
        return Domain(partition_of(school, self.options.partitions), pulses)

    def _values(self, rule: Rule, group: Group, start: int) -> Values:
        states = self._merged.states(rule.query, start, group)
        return measures_of(rule).compute(states, lambda days: self._earlier(rule, group, start, days))

    def _earlier(self, rule: Rule, group: Group, start: int, days: int) -> Iterable[list[PaneValue]]:
        return self._merged.earlier(rule.query, group, start, days)

    def _judge(self, rule: Rule, group: Group, start: int) -> None:
        if rule.silence is not None:
            self._judge_silence(rule, group, rule.silence.after)
            return
        domain = self._domain(rule, group)
        clock = self.sources.clock(domain)
        watermark = clock - EVENT_TYPES[rule.query.type].delay
        closes = window_end(rule.query.window, start)
        ends = closes + EVENT_TYPES[rule.query.type].lateness
        key = (rule.name, group, start)
        alert = self.alerts.get(key)
        if watermark >= ends:
            if alert is not None:
                self._end(rule, key, alert, _final(alert, "resolved"), "window_ended", at=ends)
            self._agenda.cancel(key)
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
        self._agenda.set(key, domain, instant + EVENT_TYPES[rule.query.type].delay)

    def _begin(self, rule: Rule, key: AlertKey, values: Values, clock: int, *, whole: bool) -> None:
        measures = measures_of(rule)
        if measures.when(values) is not True or not self._is_school_day(rule, key):
            return
        if not (rule.monotone or whole or measures.complete(values, self._roster(rule, key))):
            return
        if not rule.school_in_group and not rule.monotone and not whole:
            return  # several partitions hold the group: only complete input is judged
        if rule.hold:
            alert = self._new(rule, key, key[2], clock)
            self._step(rule, alert, "pending", "condition_met", at=clock, values=values)
        else:
            self._fire(
                rule, self._new(rule, key, key[2], clock), key, values, at=clock, reason="condition_met"
            )

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
        then = self._merged.corrected(rule.query, key[2], key[1], alert.fired, alert.fired_at)
        if then is None:
            return False
        values = measures_of(rule).compute(then, lambda days: self._earlier(rule, key[1], key[2], days))
        return measures_of(rule).when(values) is not True

    def _judge_silence(self, rule: Rule, group: Group, after: int) -> None:
        domain = self._domain(rule, group)
        last = self._merged.states(rule.query, 0, group)[0]
        key = (rule.name, group, 0)
        alert = self.alerts.get(key)
        if not isinstance(last, int):
            return
        if alert is not None and last > alert.start:
            self._end(rule, key, alert, "resolved", "event_seen", at=last)
            alert = None
        if alert is not None:
            return
        due = silent_from(last, after, self.sources.gaps(domain))
        if self.sources.clock(domain) >= due + EVENT_TYPES[rule.query.type].delay:
            new = self._new(rule, key, last, due)
            self._fire(rule, new, key, self._values(rule, group, 0), at=due, reason="silent")
            self._agenda.cancel(key)
        else:
            self._agenda.set(key, domain, due + EVENT_TYPES[rule.query.type].delay)

    # --- alerts ---

    def _new(self, rule: Rule, key: AlertKey, start: int, at: int) -> Alert:
        episode_key = (key[0], key[1], start)
        episode = self._episodes.get(episode_key, 0)
        self._episodes[episode_key] = episode + 1
        group = dict(zip(rule.query.group_by, key[1], strict=True))
        identity = alert_id(rule.name, group, start, episode)
        alert = Alert(identity, rule.name, rule.hash, key[1], start, "pending", since=at)
        self.alerts[key] = alert
        return alert

    def _fire(
        self, rule: Rule, alert: Alert, key: AlertKey, values: Values, *, at: int, reason: Reason
    ) -> None:
        alert.fired = list(self._merged.states(rule.query, key[2], key[1]))
        alert.fired_at = self.sources.positions(self._domain(rule, key[1]))
        self._step(rule, alert, "firing", reason, at=at, values=values)

    def _end(self, rule: Rule, key: AlertKey, alert: Alert, state: State, reason: Reason, *, at: int) -> None:
        del self.alerts[key]
        self._agenda.cancel(key)
        self._step(rule, alert, state, reason, at=at, values=self._values(rule, key[1], key[2]))

    def _step(
        self, rule: Rule, alert: Alert, state: State, reason: Reason, *, at: int, values: Values
    ) -> None:
        domain = self._domain(rule, alert.group)
        start = alert.start if rule.silence is None else 0
        evidence = self._merged.evidence(rule.query.id, start, alert.group)
        self._report.step(
            rule,
            alert,
            state,
            reason,
            at=at,
            decided_at=self.sources.decided(domain),
            values=values,
            positions=self.sources.positions(domain),
            evidence=evidence,
        )

    def _is_school_day(self, rule: Rule, key: AlertKey) -> bool:
        if rule.query.window.kind == "none":
            return True
        school = dict(zip(rule.query.group_by, key[1], strict=True)).get("school", "")
        return self._report.places.is_school_day(school, day_of(key[2]))

    def _roster(self, rule: Rule, key: AlertKey) -> int | None:
        reference = self.configured.reference
        if reference is None or rule.complete is None or rule.complete.roster_share is None:
            return None
        group = dict(zip(rule.query.group_by, key[1], strict=True))
        return reference.roster_size(group, day_of(key[2]))

    # --- output ---

    def flush(self) -> list[OutRecord]:
        """Transitions, then the newest measures of every group that changed."""
        out = self._report.take()
        rows = [row for key in self._changed for row in self._aggregates(*key)]
        self._changed = {}
        for begin in range(0, len(rows), AGGREGATES_A_RECORD):
            value = msgspec.json.encode(rows[begin : begin + AGGREGATES_A_RECORD])
            out.append(OutRecord(AGGREGATES, self.partition, None, value))
        return out

    def _aggregates(self, query_id: str, start: int, group: Group) -> Iterator[Aggregate]:
        for rule in self._rules.get(query_id, ()):
            yield self._report.aggregate(
                rule, group, start, self._values(rule, group, start),
                self._merged.version(query_id, start, group),
            )  # fmt: skip

    def _forget(self) -> None:
        """Move windows that no event can reach any more to the rings that baselines read."""
        oldest = self.sources.oldest()
        if day_of(oldest) == self._forgot:
            return
        self._forgot = day_of(oldest)
        for query, start in self._merged.expire(oldest, self._queries):
            gone = [key for key in self._episodes if key[2] == start and self._query_of(key[0]) == query]
            for key in gone:
                del self._episodes[key]

    def _query_of(self, rule: str) -> str:
        known = self._by_name.get(rule)
        return known.query.id if known else ""

    # --- snapshot ---

    def snapshot(self, *, complete: bool) -> Snapshot:
        """Blocks that changed; everything sent before must have come out of `flush`."""
        complete = complete or not self._written
        self._written = True
        self._ledger.begin(complete=complete)
        self._merged.put_blocks(self._ledger, complete=complete)
        self._ledger.put("config", [self.configured.content])
        state = JudgeState(self.sources, self._barrier.reached(), self._forgot)
        self._ledger.put("state", [_ENCODER.encode(state)])
        self._ledger.put("held", _chunks(self._barrier.held(), 50))
        self._ledger.put("alerts", _chunks(list(self.alerts.items())))
        self._ledger.put("episodes", _chunks(list(self._episodes.items())))
        self._ledger.put("agenda", _chunks(self._agenda.entries()))
        return self._ledger.finish(self._position)

    def restore(self, position: int, blocks: dict[str, bytes]) -> None:
        """Become what `snapshot` described."""
        self._position = position
        parts = by_part(blocks)
        self._install(compiled(parts["config"][0]))
        self._merged.load(parts)
        state = msgspec.msgpack.decode(parts["state"][0], type=JudgeState)
        self.sources, self._forgot = state.sources, state.forgot
        self._barrier.load((r for block in parts["held"] for r in _HELD.decode(block)), state.reached)
        self.alerts = {k: v for block in parts["alerts"] for k, v in _ALERTS.decode(block)}
        self._episodes = {k: v for block in parts["episodes"] for k, v in _EPISODES.decode(block)}
        for block in parts["agenda"]:
            self._agenda.load(_AGENDA.decode(block))
        self._ledger.resume(blocks)


def _chunks(items: Sequence[object], size: int = ENTRIES_A_BLOCK) -> Iterator[bytes]:
    for begin in range(0, max(len(items), 1), size):
        yield _ENCODER.encode(items[begin : begin + size])


def _final(alert: Alert, state: State) -> State:
    """How a live alert ends: one that never fired was nothing."""
    return "inactive" if alert.state == "pending" else state


_RECORD = msgspec.msgpack.Decoder(PanesRecord)
_ENCODER = msgspec.msgpack.Encoder()
_HELD = msgspec.msgpack.Decoder(list[PanesRecord])
_ALERTS = msgspec.msgpack.Decoder(list[tuple[AlertKey, Alert]])
_EPISODES = msgspec.msgpack.Decoder(list[tuple[AlertKey, int]])
_AGENDA = msgspec.msgpack.Decoder(list[tuple[AlertKey, int, bool, int]])
