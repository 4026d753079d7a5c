"""The life of an alert: inactive → pending → firing → recovering → resolved, retracted or retired.

An alert begins and ends once. Its identity is the rule's name, the group, the window and, where
the same window gives rise to several, the number of the episode; never the rule's hash.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import xxhash

from schemas.wire import PaneValue, State

AlertKey = tuple[str, tuple[str, ...], int]
"""Rule, group, start of the window (0: a rule without windows)."""

LIVE: frozenset[State] = frozenset({"pending", "firing", "recovering"})
NEXT: dict[str, frozenset[str]] = {
    "": frozenset({"pending", "firing"}),
    "pending": frozenset({"firing", "inactive", "retired"}),
    "firing": frozenset({"recovering", "resolved", "retracted", "retired"}),
    "recovering": frozenset({"firing", "resolved", "retracted", "retired"}),
}
"""Legal steps; states that are not a key are final."""

Reason = Literal[
    "condition_met",
    "condition_ended",
    "held",
    "recovered",
    "recovery_ended",
    "window_ended",
    "window_continued",
    "corrected",
    "rule_changed",
    "rule_removed",
    "silent",
    "event_seen",
    "missing",
    "roster_changed",
]


class Alert(msgspec.Struct):
    """A live alert."""

    id: str
    rule: str
    hash: str
    group: tuple[str, ...]
    start: int
    """Start of its window; for silence the time of the last event."""
    state: State
    ordinal: int = 0
    since: int = 0
    """When it became pending, ms."""
    recovers_at: int | None = None
    """Instant whose input must be complete before it resolves."""
    fired: list[PaneValue] = []
    """Merged states when it fired."""
    fired_at: dict[int, int] = {}
    """Source partition → position when it fired."""
    continued: bool = False
    """The alert of the next window has taken its episode over: that one's end is told, not its own."""


def alert_id(rule: str, group: dict[str, str], start: int, episode: int) -> str:
    """Identity of an alert: a hash of a delimited canonical form."""
    canonical = msgspec.json.encode([rule, sorted(group.items()), start, episode])
    return xxhash.xxh3_128_hexdigest(canonical)


def transition_id(alert: str, ordinal: int) -> str:
    """Identity of a transition: its alert and its ordinal."""
    return xxhash.xxh3_128_hexdigest(f"{alert}\x1f{ordinal}".encode())


def silent_from(last: int, after: int, gaps: list[tuple[int, int]]) -> int:
    """When an event seen last at ``last`` has been missing for ``after`` ms that pulses covered."""
    due = last + after
    for begin, end in sorted(gaps):
        if end > last and begin < due:
            due += end - max(begin, last)
    return due
