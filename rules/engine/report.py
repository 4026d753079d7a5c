"""What the judge says: transitions with their reasons, and aggregates."""

from __future__ import annotations

import msgspec

from rules.engine.life import NEXT, Alert, Reason, transition_id
from rules.engine.measures import Values, numbers
from rules.engine.places import Places
from rules.engine.windows import window_end
from rules.message import render
from rules.model import Rule
from schemas.civil import day_of
from schemas.events import EVENT_TYPES
from schemas.topics import CONTROL, KIND, TRANSITIONS
from schemas.wire import Aggregate, OutRecord, State, Transition


class Reporter:
    """Collects transitions until they are sent."""

    def __init__(self) -> None:
        self.places = Places(None)
        self.counted_by: dict[str, list[str]] = {}
        """Rule → rules that count its alerts."""
        self._out: list[OutRecord] = []

    def take(self) -> list[OutRecord]:
        """Transitions since the last call."""
        out, self._out = self._out, []
        return out

    def step(
        self,
        rule: Rule,
        alert: Alert,
        state: State,
        reason: Reason,
        *,
        at: int,
        decided_at: int,
        values: Values,
        positions: dict[int, int],
        evidence: list[str],
    ) -> None:
        """Move an alert on and record it."""
        before = alert.state if alert.ordinal else ""
        if state not in NEXT[before]:
            raise RuntimeError(f"alert {alert.id}: {before or 'nothing'} → {state} is not a legal step")
        alert.state = state
        alert.ordinal += 1
        group = dict(zip(rule.query.group_by, alert.group, strict=True))
        transition = Transition(
            id=transition_id(alert.id, alert.ordinal),
            alert=alert.id,
            ordinal=alert.ordinal,
            rule=rule.name,
            rule_hash=rule.hash,
            severity=rule.severity,
            status=rule.status,
            group=group,
            window_start=alert.start,
            window_end=window_end(rule.query.window, alert.start),
            state=state,
            at=at,
            decided_at=decided_at,
            reason=reason,
            measures=numbers(values),
            limits=_limits(rule),
            positions={str(number): position for number, position in positions.items()},
            event_ids=evidence,
            title={"vi": rule.title.vi, "en": rule.title.en},
            text=self._text(rule, alert, group, values, at),
            notify=list(rule.notify),
            places=self._places(alert, group, at),
            due=min(decided_at, at + EVENT_TYPES[rule.query.type].delay),
            inhibited_by=list(rule.inhibited_by),
            counted_by=self.counted_by.get(rule.name, []),
        )
        self.tell(transition)

    def _places(self, alert: Alert, group: dict[str, str], at: int) -> dict[str, str]:
        return dict(self.places.of(group["school"], day_of(alert.start or at))) if "school" in group else {}

    def tell(self, transition: Transition) -> None:
        """Record a transition as it is."""
        self._out.append(
            OutRecord(TRANSITIONS, 0, transition.alert.encode(), msgspec.json.encode(transition))
        )

    def configured(self, content: bytes) -> None:
        """Tell `correlate` the configuration in force."""
        self._out.append(OutRecord(TRANSITIONS, 0, None, content, ((KIND, CONTROL),)))

    def _text(
        self, rule: Rule, alert: Alert, group: dict[str, str], values: Values, at: int
    ) -> dict[str, str]:
        shown: dict[str, float | int | str | None] = {**values, **group}
        if "school" in group:
            dimensions = self.places.of(group["school"], day_of(alert.start or at))
            shown = {"school_name": group["school"], **dimensions, **shown}
        shown["at"] = at
        shown["since"] = alert.start if rule.silence is not None else (alert.since or at)
        return render(rule.message, shown)

    def aggregate(
        self, rule: Rule, group: tuple[str, ...], start: int, values: Values, version: int
    ) -> Aggregate:
        """The measures of one group and window as they are archived."""
        return Aggregate(
            rule=rule.name,
            rule_hash=rule.hash,
            group=dict(zip(rule.query.group_by, group, strict=True)),
            window_start=start,
            window_end=window_end(rule.query.window, start),
            measures=numbers(values),
            version=version,
        )


def _limits(rule: Rule) -> dict[str, str]:
    """What the measures were held against, as text."""
    by = "" if rule.expect is None else ", ".join(f"{who} {_clock(at)}".strip() for who, at in rule.expect.by)
    return {name: text for name, text in (("when", rule.when), ("recover", rule.recover), ("by", by)) if text}


def _clock(time: int) -> str:
    return f"{time // 3_600_000:02d}:{time // 60_000 % 60:02d}"
