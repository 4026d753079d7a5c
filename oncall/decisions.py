"""One recorded decision for each person and channel a transition concerns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from oncall.identity import episode_of, push_id
from oncall.model import Decision, OncallRoster, Outcome, Phase, Recipient
from schemas.wire import Transition

WINDOW_CONTINUED = "window_continued"
CHILDREN_CHANGED = "children_changed"
CLOSING_STATES = frozenset({"resolved", "retracted", "retired"})
TELLING = frozenset({"pushed", "joined"})

Told = dict[Recipient, str]
"""Recipient → id of the push by which they were told."""


class Ruling(NamedTuple):
    """The part of a decision that is decided."""

    outcome: Outcome
    reason: str
    push: str = ""


class History:
    """What earlier decisions told whom, for the alerts at hand.

    Decisions may be noted in any order within different alerts, and must come by ascending
    ordinal within one.
    """

    def __init__(self, decisions: Iterable[Decision] = ()) -> None:
        self._open: dict[str, Told] = {}
        self._ever: dict[str, Told] = {}
        self._over: set[tuple[str, Recipient]] = set()
        """Alerts whose end was the end of the episode too, for a recipient."""
        self._windows: dict[str, dict[int, str]] = {}
        self._decided: set[str] = set()
        for decision in decisions:
            self.note(decision)

    def note(self, decision: Decision) -> None:
        """Take a decision into account for those that follow."""
        self._decided.add(decision.transition)
        if decision.phase == "opening" and decision.outcome in TELLING:
            self._open.setdefault(decision.alert, {})[decision.recipient] = decision.push
            self._ever.setdefault(decision.alert, {})[decision.recipient] = decision.push
            self._windows.setdefault(decision.episode, {})[decision.window_start] = decision.alert
        elif decision.phase == "closing":
            self._open.get(decision.alert, {}).pop(decision.recipient, None)
            told = self._ever.get(decision.alert, {}).get(decision.recipient)
            if decision.outcome != "joined" or decision.push != told:  # else the episode goes on
                self._over.add((decision.alert, decision.recipient))

    def decided(self, transition: str) -> bool:
        """Was this transition decided before? Then it is not decided again."""
        return transition in self._decided

    def told(self, alert: str) -> Mapping[Recipient, str]:
        """Who was told that the alert fires, and not yet that it ended."""
        return self._open.get(alert, {})

    def told_before(self, episode: str, window_start: int) -> Mapping[Recipient, str]:
        """Who was told of the episode's alert in the latest earlier window, and not that it is over."""
        windows = self._windows.get(episode, {})
        earlier = [start for start in windows if start < window_start]
        if not earlier:
            return {}
        alert = windows[max(earlier)]
        return {who: push for who, push in self._ever[alert].items() if (alert, who) not in self._over}

    def told_after(self, episode: str, window_start: int) -> Mapping[Recipient, str]:
        """Who was told of the episode's alert in the earliest later window: by its own push or a former."""
        windows = self._windows.get(episode, {})
        later = [start for start in windows if start > window_start]
        return self._ever[windows[min(later)]] if later else {}


def decide(
    transition: Transition, roster: OncallRoster, now: int, history: History | None = None
) -> list[Decision]:
    """One decision for each person and channel, sorted by them; never empty.

    ``now`` is ms since the Unix epoch and only becomes ``Decision.at``. ``history`` is what the
    earlier transitions of this alert, and of the same rule and group in the windows before and after,
    led to.
    """
    past = history or History()
    if transition.reason == CHILDREN_CHANGED:
        what = f"now holds {transition.holds} alerts, which wakes nobody again"
        made = _quiet(transition, roster, now, what)
    elif transition.state in CLOSING_STATES:
        made = _closing(transition, roster, now, past)
    elif transition.held_by and transition.revision:
        made = _quiet(transition, roster, now, f"now {_holder(transition)}, which wakes nobody")
    elif transition.state != "firing":
        made = _quiet(transition, roster, now, f"{transition.state} wakes nobody")
    elif transition.held_by:
        made = _held(transition, roster, now, past)
    else:
        made = _opening(transition, roster, now, past)
    return sorted(made, key=lambda decision: decision.recipient)


def concerned(transition: Transition, roster: OncallRoster) -> dict[Recipient, str]:
    """Every person and channel a transition concerns, and as what. Never empty.

    A target that is unknown or has nobody for this group falls to the roster's default target.
    """
    found: dict[str, str] = {}
    for name in transition.notify:
        people = _answering(name, transition, roster)
        why = f"is {name}"
        if not people:
            people = _answering(roster.default, transition, roster)
            why = f"is {roster.default}, as {name} has nobody for {_group_text(transition)}"
        for code in people:
            found.setdefault(code, why)
    if not transition.notify:
        for code in _answering(roster.default, transition, roster):
            found[code] = f"is {roster.default}, as the rule names nobody"
    return {
        Recipient(code, channel.name): why
        for code, why in found.items()
        for channel in roster.people[code].channels
    }


def _answering(name: str, transition: Transition, roster: OncallRoster) -> tuple[str, ...]:
    target = roster.targets.get(name)
    return target.people(transition.group, transition.severity) if target else ()


def _group_text(transition: Transition) -> str:
    pairs = ", ".join(f"{key}={value}" for key, value in sorted(transition.group.items()))
    return pairs or "the whole"


def _opening(transition: Transition, roster: OncallRoster, now: int, past: History) -> list[Decision]:
    told = dict(past.told(transition.alert))
    if transition.reason == WINDOW_CONTINUED:
        told = {
            **past.told_before(episode_of(transition.rule, transition.group), transition.window_start),
            **told,
        }
    made: list[Decision] = []
    for recipient, why in concerned(transition, roster).items():
        ruling = _rule_opening(transition, roster, recipient, why, told)
        made.append(_decision(transition, recipient, "opening", ruling, now))
    return made


def _rule_opening(
    transition: Transition, roster: OncallRoster, recipient: Recipient, why: str, told: Told
) -> Ruling:
    if transition.status != "active":
        return _shadow(transition, why)
    if recipient in told:
        return Ruling("joined", f"{why}; already told of this episode", told[recipient])
    if roster.policy(transition.severity) == "digest":
        return Ruling("digest", f"{why}; {transition.severity} goes into the digest")
    return Ruling("pushed", f"{why}; {transition.severity} is told at once", _push(transition, recipient))


def _held(transition: Transition, roster: OncallRoster, now: int, past: History) -> list[Decision]:
    """It fires while another alert speaks for it. Nobody counts as told of it by that."""
    told, parent = past.told(transition.alert), past.told(transition.held_by)
    made: list[Decision] = []
    for recipient, why in concerned(transition, roster).items():
        if transition.status != "active":
            ruling = _shadow(transition, why)
        elif recipient in told:
            ruling = Ruling("joined", f"{why}; already told of this episode", told[recipient])
        elif transition.held_how == "absorbed" and recipient in parent:
            reason = f"{why}; told of {transition.held_by}, which holds it"
            ruling = Ruling("joined", reason, parent[recipient])
        else:
            ruling = Ruling("inhibited", f"{why}; {_holder(transition)}")
        made.append(_decision(transition, recipient, "held", ruling, now))
    return made


def _holder(transition: Transition) -> str:
    return f"{transition.held_how or 'inhibited'} by {transition.held_by}"


def _shadow(transition: Transition, why: str) -> Ruling:
    return Ruling("shadow", f"{why}; the rule is {transition.status} and wakes nobody")


def _closing(transition: Transition, roster: OncallRoster, now: int, past: History) -> list[Decision]:
    told = past.told(transition.alert)
    after = past.told_after(episode_of(transition.rule, transition.group), transition.window_start)
    made: list[Decision] = []
    for recipient, push in told.items():
        goes_on = transition.reason == WINDOW_CONTINUED or after.get(recipient) == push
        ruling = _rule_closing(transition, roster, recipient, push, goes_on=goes_on)
        made.append(_decision(transition, recipient, "closing", ruling, now))
    for recipient, why in concerned(transition, roster).items():
        if recipient not in told:
            made.append(
                _decision(transition, recipient, "closing", _rule_untold(transition, roster, why), now)
            )
    return made


def _rule_closing(
    transition: Transition, roster: OncallRoster, recipient: Recipient, push: str, *, goes_on: bool
) -> Ruling:
    if goes_on:
        return Ruling("joined", "the episode goes on in the next window", push)
    if roster.channel(*recipient) is None:
        return Ruling("gone", "was told that the alert fires, and is no longer in the roster", push)
    return Ruling(
        "pushed", f"was told that the alert fires; it is {transition.state}", _push(transition, recipient)
    )


def _rule_untold(transition: Transition, roster: OncallRoster, why: str) -> Ruling:
    if transition.status != "active":
        return _shadow(transition, why)
    if roster.policy(transition.severity) == "digest":
        return Ruling("digest", f"{why}; {transition.severity} goes into the digest")
    held = f", which was {_holder(transition)}" if transition.held_by else ""
    return Ruling("not_due", f"{why}; was not told that the alert fires{held}")


def _quiet(transition: Transition, roster: OncallRoster, now: int, what: str) -> list[Decision]:
    outcome: Outcome = "not_due" if transition.status == "active" else "shadow"
    return [
        _decision(transition, recipient, "quiet", Ruling(outcome, f"{why}; {what}"), now)
        for recipient, why in concerned(transition, roster).items()
    ]


def _push(transition: Transition, recipient: Recipient) -> str:
    return push_id(transition.alert, transition.id, recipient.person, recipient.channel)


def _decision(
    transition: Transition,
    recipient: Recipient,
    phase: Phase,
    ruling: Ruling,
    now: int,
) -> Decision:
    return Decision(
        transition=transition.id,
        alert=transition.alert,
        ordinal=transition.ordinal,
        rule=transition.rule,
        episode=episode_of(transition.rule, transition.group),
        window_start=transition.window_start,
        severity=transition.severity,
        person=recipient.person,
        channel=recipient.channel,
        phase=phase,
        outcome=ruling.outcome,
        reason=ruling.reason,
        push=ruling.push,
        at=now,
    )
