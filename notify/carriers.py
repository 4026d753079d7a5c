"""A carrier takes a push to a person over one kind of channel, once, and says what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from oncall import Channel
from store.desk import AttemptOutcome


@dataclass(frozen=True, slots=True)
class Message:
    """What is carried. ``key`` is the same in every attempt; ``sent_at`` is seconds since the epoch."""

    key: str
    channel: Channel
    body: bytes
    sent_at: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt. ``retry_after``: seconds the receiver asked us to wait."""

    outcome: AttemptOutcome
    detail: str
    retry_after: float | None = None


class Carrier(Protocol):
    """One kind of channel."""

    async def send(self, message: Message) -> Answer:
        """One attempt. Whatever goes wrong on the way is an answer, not an exception."""

    async def close(self) -> None:
        """Give connections back."""
