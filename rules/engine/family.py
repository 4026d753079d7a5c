"""Live alerts and who holds whom: parents hold their children, rules hold those they inhibit.

A held alert is told to nobody; when its holder has ended it is *given back*, if it still lives
`GIVEN_BACK_AFTER` later.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from rules.engine.configured import UNCONFIGURED, Configured
from rules.engine.definitions import FIRING, ParentKey, fits, labels_of
from rules.engine.life import LIVE, transition_id
from rules.engine.live import Live
from rules.engine.parents import Now, Parents
from rules.model import Rule
from schemas.wire import Transition

GIVEN_BACK_AFTER = 5 * 60_000
"""How long a child that lives longer than its holder stays quiet after the holder's end, ms of business
time: of forty schools that come back, the last few are not worth a push each."""

How = Literal["", "inhibited", "absorbed"]


class Family:
    """All live alerts. What is to be said comes back in order."""

    def __init__(self) -> None:
        self.live: dict[str, Live] = {}
        self.configured: Configured = UNCONFIGURED
        self.parents = Parents(self.live)
        self._rules: dict[str, Rule] = {}
        self._alerts: dict[str, set[str]] = {}
        """Rule → its live alerts."""
        self._held: dict[str, set[str]] = {}
        """Holder → those it holds."""
        self._touched: set[str] = set()
        """Holders that hold others than when that was last told."""

    def install(self, new: Configured) -> None:
        """Judge by ``new`` from now on, with the live alerts as they are."""
        self.configured = new
        self._rules = {rule.name: rule for rule in (*new.rules.rules, *new.rules.composites)}
        self.parents.install(new)
        for live in self.live.values():
            self._put(live, live.step)
        self._touched = set()

    # --- what happens ---

    def switch(self, new: Configured, at: int) -> list[Transition]:
        """Take a new configuration."""
        self.configured = new
        self._rules = {rule.name: rule for rule in (*new.rules.rules, *new.rules.composites)}
        news = self.parents.switch(new, (at, at))
        for step in news:
            self._keep(step)
        return self._tell(news, self.live, (at, at), set(self.parents.alerts.values()))

    def take(self, steps: list[Transition]) -> list[Transition]:
        """Steps of one instant: gives them with who holds them, and what follows from them."""
        now = max(step.at for step in steps), max(step.decided_at for step in steps)
        turned: list[Transition] = []
        keys: list[ParentKey] = []
        for step in steps:
            if self._keep(step):
                turned.append(step)
            keys += self.parents.enter(step) if step.state in LIVE else self.parents.leave(step)
        closed = all(step.reason == "window_ended" for step in steps)
        news = self.parents.judge(keys, "window_ended" if closed else "recovered", now)
        for step in news:
            self._keep(step)
        counting = {self.parents.alerts[key] for key in keys if key in self.parents.alerts}
        return self._tell([*news, *steps], self._affected(turned, news), now, counting)

    def give_back(self, clock: int) -> list[Transition]:
        """Alerts that outlived their holder for long enough are told by themselves."""
        due = [(live.returns_at, alert) for alert, live in self.live.items() if live.returns_at is not None]
        return [
            self._again(alert, ("", ""), "given_back", (at, max(at, self.live[alert].step.decided_at)))
            for at, alert in sorted(due)
            if at <= clock
        ]

    # --- live alerts ---

    def _keep(self, step: Transition) -> bool:
        """Note an alert's newest step; whether it began or ceased to fire."""
        known = self.live.get(step.alert)
        fired = known is not None and known.step.state in FIRING
        if known is None:
            known = self.live[step.alert] = Live(step, self._since(step))
        before, holds = known.step, known.step.holds if step.state in LIVE else 0
        self._put(
            known,
            msgspec.structs.replace(step, held_by=before.held_by, held_how=before.held_how, holds=holds),
        )
        return fired != (step.state in FIRING)

    def _since(self, step: Transition) -> int:
        if self.parents.is_parent(step.alert):
            return self.parents.since(step.alert)
        rule = self._rules.get(step.rule)
        return step.window_start if rule is not None and rule.silence is not None else step.at

    def _put(self, live: Live, step: Transition) -> None:
        """Enter an alert's newest step into the live ones and the indices."""
        alert, before = step.alert, live.step.held_by
        live.step = step
        self._alerts.setdefault(step.rule, set()).add(alert)
        after = step.held_by if step.state in LIVE else ""
        if before and before != after:
            self._held.get(before, set()).discard(alert)
            self._touched.add(before)
        if after and alert not in self._held.setdefault(after, set()):
            self._held[after].add(alert)
            self._touched.add(after)

    def _drop(self, step: Transition) -> None:
        """Forget an alert that has ended."""
        self.live.pop(step.alert, None)
        self._alerts[step.rule].discard(step.alert)
        self._held.pop(step.alert, None)

    # --- who holds whom ---

    def _affected(self, turned: list[Transition], news: list[Transition]) -> Iterator[str]:
        """Live alerts that may be held by what began or ceased to fire."""
        rules = {step.rule for step in (*turned, *news)}
        parents = {step.rule for step in news}
        for rule, alerts in self._alerts.items():
            if alerts and (rule in parents or not rules.isdisjoint(self._inhibitors(rule))):
                yield from alerts

    def _inhibitors(self, rule: str) -> Sequence[str]:
        """Rules that hold a rule's alerts back: as it says now, else as its alerts said themselves."""
        known = self._rules.get(rule)
        if known is not None:
            return known.inhibited_by
        return sorted({name for alert in self._alerts[rule] for name in self.live[alert].step.inhibited_by})

    def _holder(self, step: Transition) -> tuple[str, How]:
        """The alert that holds another, and how; two empty texts: none."""
        if step.state not in FIRING:
            return "", ""
        if parent := self.parents.above(step):
            return parent, "absorbed"
        labels = labels_of(step)
        for name in self._inhibitors(step.rule):
            for other in sorted(self._alerts.get(name, ())):
                if self.live[other].step.state in FIRING and fits(self.live[other].step, labels):
                    return other, "inhibited"
        return "", ""

    def _tell(
        self, steps: list[Transition], affected: Iterable[str], now: Now, counting: Collection[str] = ()
    ) -> list[Transition]:
        """Steps with their holders, alerts whose holder changed, then those that hold or count others.

        ``counting``: parents whose children changed.
        """
        said = list(dict.fromkeys(step.alert for step in steps))
        others = sorted(set(affected).difference(said))
        for alert in said:
            self._hold(alert)
        moved = [alert for alert in others if self._move(alert, now)]
        grown = self._count({*said, *moved}, counting, now)
        out = [self.live[alert].step for alert in dict.fromkeys((*said, *moved, *grown))]
        for step in steps:
            if step.state not in LIVE:
                self._drop(step)
        return out

    def _hold(self, alert: str) -> None:
        """Enter the holder of an alert that is about to be told."""
        live = self.live[alert]
        holder, how = self._holder(live.step)
        if holder:
            self._put(live, msgspec.structs.replace(live.step, held_by=holder, held_how=how))
            live.returns_at = None

    def _move(self, alert: str, now: Now) -> bool:
        """Ask again who holds an alert; whether that is to be said."""
        live = self.live[alert]
        holder, how = self._holder(live.step)
        if holder == live.step.held_by:
            live.returns_at = None
            return False
        if not holder:
            live.returns_at = live.returns_at or now[0] + GIVEN_BACK_AFTER
            return False
        self._again(alert, (holder, how), how, now)
        return True

    def _again(self, alert: str, holder: tuple[str, How], reason: str, now: Now) -> Transition:
        """Say an alert's newest step once more, with another holder."""
        live = self.live[alert]
        revision = live.step.revision + 1
        live.returns_at = None
        again = msgspec.structs.replace(
            live.step,
            id=f"{transition_id(alert, live.step.ordinal)}-{revision}",
            revision=revision,
            at=max(now[0], live.step.at),
            decided_at=max(now[1], live.step.decided_at),
            reason=reason,
            held_by=holder[0],
            held_how=holder[1],
        )
        self._put(live, again)
        return again

    def _count(self, said: Collection[str], counting: Collection[str], now: Now) -> list[str]:
        """Enter how many alerts each one holds; those of which that, or what they count, is to be said."""
        grown = []
        for alert in sorted(self._touched.union(counting)):
            live = self.live.get(alert)
            if live is None or live.step.state not in LIVE:
                continue
            holds = len(self._held.get(alert, ()))
            step = self._renewed(msgspec.structs.replace(live.step, holds=holds), live.since, now)
            if alert in said:
                live.step = step
            elif (step.holds, step.measures) != (live.step.holds, live.step.measures):
                live.step = step
                self._again(alert, (step.held_by, step.held_how), "children_changed", now)
                grown.append(alert)
        self._touched.clear()
        return grown

    def _renewed(self, step: Transition, since: int, now: Now) -> Transition:
        if not self.parents.is_parent(step.alert):
            return step
        measures, text = self.parents.renewed(step, since, now)
        return msgspec.structs.replace(step, measures=measures, text=text)
