"""The on-call roster and the decisions that are made with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Policy = Literal["push", "digest"]
"""What happens with an alert of a severity: told at once, or collected for the digest."""

ChannelKind = Literal["webhook", "apprise"]
Language = Literal["vi", "en"]
Phase = Literal["opening", "held", "closing", "quiet"]
"""``opening``: the alert fires. ``held``: it fires, and another alert speaks for it. ``closing``: it
ends. ``quiet``: any other state, or only something about the alert was said again."""

Outcome = Literal["pushed", "joined", "inhibited", "shadow", "digest", "not_due", "gone"]
"""``pushed``: a push is due and stands in the outbox. ``joined``: belongs to the push ``push``.
``inhibited``: another alert speaks for it. ``shadow``: the rule is not active. ``digest``: collected.
``not_due``: nothing to tell. ``gone``: was told of the alert and has since left the roster, or the
channel has."""

SEVERITIES = ("P1", "P2", "P3", "P4")


class Recipient(NamedTuple):
    """A person's code and the name of one of their channels."""

    person: str
    channel: str


@dataclass(frozen=True, slots=True)
class Channel:
    """A way to a person. ``name`` is unique for the person; ``url`` and ``secret`` are never printed."""

    name: str
    kind: ChannelKind
    url: str = field(repr=False)
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can be told. ``languages`` in order of preference, at least one."""

    code: str
    name: str
    channels: tuple[Channel, ...]
    languages: tuple[Language, ...] = ("vi", "en")


@dataclass(frozen=True, slots=True)
class Assignment:
    """People who answer for a target, where ``only`` and ``severities`` hold (empty: always)."""

    people: tuple[str, ...]
    only: Mapping[str, frozenset[str]] = field(default_factory=dict)
    severities: frozenset[str] = frozenset()

    def holds(self, group: Mapping[str, str], severity: str) -> bool:
        """Does it hold for an alert of this group and severity? A dimension the group lacks never does."""
        if self.severities and severity not in self.severities:
            return False
        return all(group.get(dimension) in values for dimension, values in self.only.items())


@dataclass(frozen=True, slots=True)
class Target:
    """A name rules use in ``notify`` (``principal``, ``duty-officer``) and who stands behind it."""

    name: str
    assignments: tuple[Assignment, ...]

    def people(self, group: Mapping[str, str], severity: str) -> tuple[str, ...]:
        """Codes of the people who answer for the target here, each once, in the file's order."""
        held = (item for item in self.assignments if item.holds(group, severity))
        return tuple(dict.fromkeys(code for item in held for code in item.people))


@dataclass(frozen=True, slots=True)
class OncallRoster:
    """``oncall.yaml`` as read: people and targets by name, all references resolved."""

    people: Mapping[str, Person]
    targets: Mapping[str, Target]
    default: str
    severities: Mapping[str, Policy]

    def policy(self, severity: str) -> Policy:
        """What is done with alerts of ``severity``; an unknown one is pushed rather than lost."""
        return self.severities.get(severity, "push")

    def channel(self, person: str, channel: str) -> Channel | None:
        """The channel of that name, or None where the person or the channel is not (any more) there."""
        known = self.people.get(person)
        if known is None:
            return None
        return next((item for item in known.channels if item.name == channel), None)


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about one transition for one person and channel, and why.

    ``push`` is the id of the push that was decided, or of the one it joined; else empty.
    ``at`` is when it was decided, ms since the Unix epoch.
    """

    transition: str
    alert: str
    ordinal: int
    rule: str
    episode: str
    window_start: int
    severity: str
    person: str
    channel: str
    phase: Phase
    outcome: Outcome
    reason: str
    push: str
    at: int

    @property
    def recipient(self) -> Recipient:
        """Whom it concerns."""
        return Recipient(self.person, self.channel)
