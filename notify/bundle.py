"""Many pushes to one person at once become one: who is told of twenty things in a row reads none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from notify.message import compose_many, state_of
from oncall import Recipient
from store.desk import Bundle, Planned

BUNDLED_OVER = 5
"""Up to so many pushes of one rule in a batch go out one by one."""

TOGETHER = 10 * 60
"""Only what happened within so many seconds of business time is told together."""

Kind = tuple[str, str, int, Recipient]
"""Rule, state with which it opens or ends, about when, and to whom."""


def bundler(public_url: str) -> Bundle:
    """Gives the pushes of one rule and recipient in a batch as one, where they are many.

    The first one goes, under its own id and key, and tells of all; the others join it.
    """

    def bundle(planned: Sequence[Planned]) -> Sequence[Planned]:
        made = list(planned)
        moved: dict[str, str] = {}
        for places in _alike(planned):
            first, *others = places
            pushes = [planned[place] for place in places]
            made[first] = _telling(pushes, public_url)
            for place in others:
                made[place] = _joining(planned[place], pushes[0].decision.push, len(pushes))
                moved[planned[place].decision.push] = pushes[0].decision.push
        return [_renamed(item, moved) for item in made] if moved else made

    return bundle


def _alike(planned: Sequence[Planned]) -> list[list[int]]:
    """Places of pushes that become one."""
    found: dict[Kind, list[int]] = {}
    for place, item in enumerate(planned):
        decision = item.decision
        if decision.outcome == "pushed":
            state, at = state_of(item.payload)
            kind = (decision.rule, state, int(at) // TOGETHER, decision.recipient)
            found.setdefault(kind, []).append(place)
    return [places for places in found.values() if len(places) > BUNDLED_OVER]


def _telling(pushes: Sequence[Planned], public_url: str) -> Planned:
    first = pushes[0]
    reason = f"{first.decision.reason}; it tells of {len(pushes)} alerts at once"
    return Planned(
        replace(first.decision, reason=reason),
        compose_many([push.payload for push in pushes], public_url),
        tuple(push for each in pushes for push in each.after),
    )


def _joining(item: Planned, push: str, count: int) -> Planned:
    reason = f"{item.decision.reason}; one of {count} that are told in one push"
    return Planned(replace(item.decision, outcome="joined", reason=reason, push=push))


def _renamed(item: Planned, moved: dict[str, str]) -> Planned:
    """What named a push that has joined another names that one."""
    decision = item.decision
    if decision.push in moved:
        decision = replace(decision, push=moved[decision.push])
    return Planned(decision, item.payload, tuple(dict.fromkeys(moved.get(push, push) for push in item.after)))
