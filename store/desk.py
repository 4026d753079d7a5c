"""The desk: decisions, the outbox and its receipts, and how far the log of alerts was read.

`Desk` is what the notifier works with. `store.desk_postgres.PostgresDesk` keeps it in PostgreSQL,
`store.desk_memory.MemoryDesk` in memory; one contract suite runs on both. Every call is one
transaction. Instants are milliseconds since the Unix epoch and come from the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from oncall import Decision, History, Recipient
from schemas.errors import StoreError
from schemas.wire import Delivery, Transition

OutboxState = Literal["waiting", "leased", "delivered", "failed"]
AttemptOutcome = Literal["delivered", "retry", "failed"]

LOST = "no answer was recorded: the sender ended or stood still"
"""Detail of an attempt whose lease ran out before its receipt came."""


class StalePosition(StoreError):
    """Another notifier has taken these records: read the position again and go on from there."""


class LogPlace(NamedTuple):
    """One log partition: a position in it means nothing in another epoch of the topic."""

    topic: str
    partition: int
    epoch: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record of the log that is no transition."""

    offset: int
    reason: str
    value: bytes


@dataclass(frozen=True, slots=True)
class AlertBatch:
    """Consecutive records ``start`` ≤ offset < ``next`` of the log of alerts, in order."""

    place: LogPlace
    start: int
    next: int
    transitions: tuple[Transition, ...]
    unreadable: tuple[Unreadable, ...] = ()


@dataclass(frozen=True, slots=True)
class Planned:
    """A decision, and what is to be sent where it is ``pushed`` (else empty).

    ``after``: pushes that must have been delivered, or have failed, before this one may go.
    """

    decision: Decision
    payload: bytes = b""
    after: tuple[str, ...] = ()


Plan = Callable[[Transition, History], Sequence[Planned]]
"""Decides one transition, knowing what was decided before. Pure: it may be called again."""

Bundle = Callable[[Sequence[Planned]], Sequence[Planned]]
"""Makes one push of many in a batch: as many decisions, with the same keys, in the same order. Pure."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a batch led to. ``repeated``: transitions that had been decided before."""

    decisions: tuple[Decision, ...]
    pushes: int
    repeated: int


@dataclass(frozen=True, slots=True)
class Push:
    """A leased row of the outbox. ``id`` is the idempotency key; ``attempt`` counts from 1."""

    id: str
    alert: str
    transition: str
    person: str
    channel: str
    severity: str
    payload: bytes
    attempt: int
    lease_until: int
    created_at: int

    @property
    def recipient(self) -> Recipient:
        """Where it goes."""
        return Recipient(self.person, self.channel)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of one attempt. ``next_try_at`` counts where the outcome is ``retry``."""

    id: str
    attempt: int
    outcome: AttemptOutcome
    detail: str
    at: int
    next_try_at: int = 0


@dataclass(frozen=True, slots=True)
class Unpublished:
    """A delivery that does not yet stand in the topic, at the revision that was read."""

    delivery: Delivery
    revision: int


@dataclass(frozen=True, slots=True)
class OutboxSummary:
    """Rows of the outbox by state, the oldest open one, the last one delivered (ms; None: none)."""

    waiting: int
    leased: int
    delivered: int
    failed: int
    oldest_open: int | None
    last_delivered: int | None
    unpublished: int


class Desk(Protocol):
    """Decisions, outbox, receipts and positions. Each call is one transaction.

    All raise `StoreAway` while the store does not answer: nothing has happened then, or, where
    the answer was lost, all of it has, and the call may be repeated.
    """

    def position(self, place: LogPlace) -> int:
        """Offset of the next record to take; 0 for a log that was never read."""

    def take(self, batch: AlertBatch, plan: Plan, *, now: int, bundle: Bundle = tuple) -> Taken:
        """Decide a batch, fill the outbox and move the position on, all or nothing.

        ``bundle`` sees all that was planned before it is written. Transitions that have decisions
        already are not planned again. Raises `StalePosition` if the stored position is not the
        batch's start.
        """

    def lease(
        self,
        *,
        now: int,
        until: int,
        limit: int,
        per_recipient: int,
        holding: Collection[str] = (),
        busy: Collection[Recipient] = (),
    ) -> list[Push]:
        """Take up to ``limit`` due pushes (``per_recipient`` each), the most severe and oldest first.

        Due are waiting rows whose time has come and leased ones whose lease ran out, except those
        the caller is ``holding`` and those to ``busy`` recipients. A push waits for earlier ones of
        its alert to the same recipient and for those it comes ``after``. Each lease is a new attempt;
        one that ran out gets a delivery with the detail `LOST`.
        """

    def receipt(self, receipt: Receipt) -> OutboxState:
        """Record what came of an attempt, and give the row's state then.

        ``delivered`` always wins; any other outcome of an attempt that is not the row's
        latest only adds its delivery. Raises `StoreError` for an id that is not there.
        """

    def next_due(self) -> int | None:
        """When the next push can be leased (may be in the past: at once); None: none is open."""

    def unpublished(self, limit: int) -> list[Unpublished]:
        """Deliveries that do not yet stand in the topic, oldest first."""

    def published(self, items: Sequence[Unpublished]) -> None:
        """Mark deliveries as standing in the topic, unless they were revised since."""

    def summary(self) -> OutboxSummary:
        """Present state of the outbox, for ``status`` and metrics."""


def plan_batch(
    batch: AlertBatch, plan: Plan, bundle: Bundle, history: History
) -> tuple[Sequence[Planned], int]:
    """What a batch leads to, and how many of its transitions had been decided before."""
    planned: list[Planned] = []
    repeated = 0
    for transition in batch.transitions:
        if history.decided(transition.id):
            repeated += 1
            continue
        made = plan(transition, history)
        planned.extend(made)
        for item in made:
            history.note(item.decision)
    return bundle(planned), repeated
