"""Parents: alerts that begin and end by the alerts that count for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from rules.engine.configured import Configured
from rules.engine.definitions import Definition, ParentKey, definitions, labels_of
from rules.engine.life import alert_id, transition_id
from rules.engine.live import Live
from rules.engine.measures import Values, numbers
from rules.engine.members import Members
from rules.engine.windows import window_end
from schemas.civil import day_of
from schemas.wire import State, Transition

Now = tuple[int, int]
"""Business time at which something holds, and at which it was decided, ms."""


class Parents:
    """Which live alerts count for which parent, and which parents live."""

    def __init__(self, live: Mapping[str, Live]) -> None:
        self.alerts: dict[ParentKey, str] = {}
        """Parents that fire."""
        self.episodes: dict[ParentKey, int] = {}
        self._live = live
        self._keys: dict[str, ParentKey] = {}
        self._rules: frozenset[str] = frozenset()
        self._of: dict[str, tuple[Definition, ...]] = {}
        self._by_key: dict[ParentKey, Definition] = {}
        self._children: dict[ParentKey, set[str]] = {}
        self._entered: dict[str, list[ParentKey]] = {}
        self._members = Members(None)

    def install(self, new: Configured) -> None:
        """Take definitions, and count the live alerts anew."""
        self._of = definitions(new.rules)
        self._rules = frozenset(rule.name for rule in (*new.rules.rules, *new.rules.composites))
        self._members = Members(new.reference)
        self._keys = {alert: key for key, alert in self.alerts.items()}
        self._by_key, self._children, self._entered = {}, {}, {}
        for alert, live in self._live.items():
            if alert not in self._keys:
                self.enter(live.step)

    def switch(self, new: Configured, now: Now) -> list[Transition]:
        """Take new definitions: parents that are gone or no longer hold end, others may begin."""
        former = dict(self._by_key)
        self.install(new)
        news = []
        for key, alert in list(self.alerts.items()):
            if key not in self._by_key:
                gone = key[0] not in self._rules
                state: State = "retired" if gone else "resolved"
                self._by_key[key] = former[key]
                news.append(self._end(key, alert, state, "rule_removed" if gone else "rule_changed", now))
                del self._by_key[key]
        return [*news, *self.judge(list(self._by_key), "rule_changed", now)]

    # --- children ---

    def enter(self, step: Transition) -> list[ParentKey]:
        """Count a live alert; parents for which that may make a difference."""
        before = self.leave(step)
        keys = [] if step.alert in self._keys else list(self._keys_of(step))
        self._entered[step.alert] = keys
        for key in keys:
            self._children.setdefault(key, set()).add(step.alert)
        return [*keys, *(key for key in before if key not in keys)]

    def leave(self, step: Transition) -> list[ParentKey]:
        """Count an alert no more; for which parents."""
        keys = self._entered.pop(step.alert, [])
        for key in keys:
            self._children[key].discard(step.alert)
        return keys

    def _keys_of(self, step: Transition) -> Iterator[ParentKey]:
        for definition in self._of.get(step.rule, ()):
            key = definition.key_of(labels_of(step), step.window_start)
            if key is not None:
                self._by_key[key] = definition
                yield key

    def is_parent(self, alert: str) -> bool:
        """Is a live alert a parent?"""
        return alert in self._keys

    def above(self, step: Transition) -> str:
        """The nearest firing parent along the tree; empty: none. A parent's own units are above it."""
        own = self._keys.get(step.alert)
        for definition in self._of.get(step.rule, ()):
            if not definition.level or (own is not None and definition.level not in step.places):
                continue
            key = definition.key_of(labels_of(step), step.window_start)
            if key is not None and key in self.alerts:
                return self.alerts[key]
        return ""

    # --- their life ---

    def judge(self, keys: Iterable[ParentKey], reason: str, now: Now) -> list[Transition]:
        """Parents that begin or end with the children they have now."""
        news = []
        for key in sorted(set(keys)):
            alert, values = self.alerts.get(key), self._values(key, now[0])
            if alert is None and self._by_key[key].fires(values):
                news.append(self._begin(key, now))
            elif alert is not None and self._by_key[key].ends(values):
                news.append(self._end(key, alert, "resolved", reason, now))
            if not self._children.get(key):  # then it fires no more
                self._children.pop(key, None)
                del self._by_key[key]
        return news

    def renewed(
        self, step: Transition, since: int, now: Now
    ) -> tuple[dict[str, float | None], dict[str, str]]:
        """Present measures and text of a firing parent."""
        key = self._keys[step.alert]
        values = self._values(key, now[0])
        return numbers(values), self._text(key, values, (since, now[0]))

    def forget(self, before: int) -> None:
        """Numbers of episodes in windows that began before an instant are forgotten."""
        self.episodes = {key: n for key, n in self.episodes.items() if key[2] >= before or key in self.alerts}

    def since(self, alert: str) -> int:
        """Since when the first of a parent's children lives, ms."""
        return min(self._live[child].since for child in self._children[self._keys[alert]])

    def _values(self, key: ParentKey, at: int) -> Values:
        definition = self._by_key[key]
        members = self._members.count(definition.below, key[1], day_of(key[2] or at))
        return definition.values(self._steps(key), members)

    def _steps(self, key: ParentKey) -> list[Transition]:
        return [self._live[alert].step for alert in self._children.get(key, ())]

    def _text(self, key: ParentKey, values: Values, span: tuple[int, int]) -> dict[str, str]:
        return self._by_key[key].text(key, self._steps(key), values, (*span, self._members))

    def _begin(self, key: ParentKey, now: Now) -> Transition:
        start = key[2] or now[0]
        episode = 0
        if key[2]:
            episode = self.episodes.get(key, 0)
            self.episodes[key] = episode + 1
        alert = alert_id(key[0], dict(key[1]), start, episode)
        self.alerts[key], self._keys[alert] = alert, key
        step = self._step(key, alert, ("firing", "condition_met"), now, (1, start, self.since(alert)))
        labels = labels_of(self._live[min(self._children[key])].step)
        places = self._by_key[key].places(labels)
        step.places.update(places)
        return step

    def _end(self, key: ParentKey, alert: str, state: State, reason: str, now: Now) -> Transition:
        known = self._live[alert]
        numbers_ = (known.step.ordinal + 1, known.step.window_start, known.since)
        step = self._step(key, alert, (state, reason), now, numbers_)
        step.places.update(known.step.places)
        del self.alerts[key], self._keys[alert]
        return step

    def _step(
        self,
        key: ParentKey,
        alert: str,
        turn: tuple[State, str],
        now: Now,
        known: tuple[int, int, int],
    ) -> Transition:
        """``turn``: state and reason. ``known``: ordinal, start of the window, since when."""
        definition, rule = self._by_key[key], self._by_key[key].rule
        (ordinal, start, since), values = known, self._values(key, now[0])
        return Transition(
            id=transition_id(alert, ordinal),
            alert=alert,
            ordinal=ordinal,
            rule=rule.name,
            rule_hash=rule.hash,
            severity=rule.severity,
            status=rule.status,
            group=dict(key[1]),
            window_start=start,
            window_end=window_end(definition.below.query.window, start) if key[2] else start,
            state=turn[0],
            at=now[0],
            decided_at=now[1],
            reason=turn[1],
            measures=numbers(values),
            limits=definition.limits(),
            positions={},
            event_ids=[],
            title={"vi": rule.title.vi, "en": rule.title.en},
            text=self._text(key, values, (since, now[0])),
            notify=list(rule.notify),
            places={},
            inhibited_by=list(rule.inhibited_by),
        )
