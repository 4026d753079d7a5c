"""A desk in memory: what the contract of `Desk` means, and the fake that tests work with."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from oncall import Decision, History, Recipient
from schemas.errors import StoreError
from schemas.wire import Delivery
from store.desk import (
    LOST,
    AlertBatch,
    Bundle,
    LogPlace,
    OutboxState,
    OutboxSummary,
    Plan,
    Planned,
    Push,
    Receipt,
    StalePosition,
    Taken,
    Unpublished,
    Unreadable,
    plan_batch,
)

OPEN: tuple[OutboxState, ...] = ("waiting", "leased")


@dataclass(slots=True)
class Row:
    """A row of the outbox. ``push.attempt`` counts attempts so far."""

    push: Push
    seq: int
    state: OutboxState
    next_try_at: int
    finished_at: int | None = None
    after: tuple[str, ...] = ()

    def due_at(self) -> int:
        """When it can be leased, if it is open."""
        return self.push.lease_until if self.state == "leased" else self.next_try_at


@dataclass(slots=True)
class Attempt:
    """What came of an attempt."""

    delivery: Delivery
    revision: int = 1
    published: bool = False


class MemoryDesk:
    """`Desk` in memory. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._positions: dict[LogPlace, int] = {}
        self.decisions: dict[tuple[str, str, str, str], Decision] = {}
        self.rows: dict[str, Row] = {}
        self.attempts: dict[tuple[str, int], Attempt] = {}
        self.unreadable: dict[tuple[LogPlace, int], Unreadable] = {}

    def position(self, place: LogPlace) -> int:
        """See `Desk.position`."""
        with self._lock:
            return self._positions.get(place, 0)

    def take(self, batch: AlertBatch, plan: Plan, *, now: int, bundle: Bundle = tuple) -> Taken:
        """See `Desk.take`."""
        with self._lock:
            stored = self._positions.get(batch.place, 0)
            if stored != batch.start:
                raise StalePosition(f"the position is {stored}, the batch starts at {batch.start}")
            history = History(self.decisions.values())
            planned, repeated = plan_batch(batch, plan, bundle, history)
            pushes = sum(self._insert(item, now) for item in planned)
            self.unreadable.update({(batch.place, item.offset): item for item in batch.unreadable})
            self._positions[batch.place] = batch.next
            return Taken(tuple(item.decision for item in planned), pushes, repeated)

    def _insert(self, planned: Planned, now: int) -> int:
        d = planned.decision
        self.decisions[d.alert, d.transition, d.person, d.channel] = d
        if d.outcome != "pushed":
            return 0
        payload = planned.payload
        push = Push(d.push, d.alert, d.transition, d.person, d.channel, d.severity, payload, 0, 0, now)
        self.rows[d.push] = Row(push, len(self.rows), "waiting", now, after=planned.after)
        return 1

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
        """See `Desk.lease`."""
        with self._lock:
            taken: Counter[Recipient] = Counter()
            leased: list[Push] = []
            for row in sorted(self.rows.values(), key=lambda row: (row.push.severity, row.seq)):
                recipient = row.push.recipient
                if len(leased) >= limit or taken[recipient] >= per_recipient or recipient in busy:
                    continue
                if self._leasable(row, now) and row.push.id not in holding:
                    taken[recipient] += 1
                    leased.append(self._lease(row, now, until))
            return leased

    def _leasable(self, row: Row, now: int) -> bool:
        return row.state in OPEN and row.due_at() <= now and not self._blocked(row)

    def _blocked(self, row: Row) -> bool:
        return any(
            other.seq < row.seq
            and other.state in OPEN
            and (
                other.push.id in row.after
                or (other.push.alert == row.push.alert and other.push.recipient == row.push.recipient)
            )
            for other in self.rows.values()
        )

    def _lease(self, row: Row, now: int, until: int) -> Push:
        if row.state == "leased" and (row.push.id, row.push.attempt) not in self.attempts:
            self._deliver(row, Receipt(row.push.id, row.push.attempt, "retry", LOST, now))
        row.push = replace(row.push, attempt=row.push.attempt + 1, lease_until=until)
        row.state = "leased"
        return row.push

    def receipt(self, receipt: Receipt) -> OutboxState:
        """See `Desk.receipt`."""
        with self._lock:
            row = self.rows.get(receipt.id)
            if row is None:
                raise StoreError(f"the outbox has no push {receipt.id}")
            latest = row.state == "leased" and row.push.attempt == receipt.attempt
            if receipt.outcome == "delivered" and row.state != "delivered":
                row.state, row.finished_at = "delivered", receipt.at
            elif receipt.outcome == "failed" and latest:
                row.state, row.finished_at = "failed", receipt.at
            elif receipt.outcome == "retry" and latest:
                row.state, row.next_try_at = "waiting", receipt.next_try_at
            self._deliver(row, receipt)
            return row.state

    def _deliver(self, row: Row, receipt: Receipt) -> None:
        push = row.push
        delivery = Delivery(
            id=push.id,
            attempt=receipt.attempt,
            alert=push.alert,
            transition=push.transition,
            person=push.person,
            channel=push.channel,
            outcome=receipt.outcome,
            detail=receipt.detail,
            at=receipt.at,
        )
        known = self.attempts.get((push.id, receipt.attempt))
        if known is None:
            self.attempts[push.id, receipt.attempt] = Attempt(delivery)
        elif known.delivery.detail == LOST:
            self.attempts[push.id, receipt.attempt] = Attempt(delivery, known.revision + 1)

    def next_due(self) -> int | None:
        """See `Desk.next_due`."""
        with self._lock:
            due = [r.due_at() for r in self.rows.values() if r.state in OPEN and not self._blocked(r)]
            return min(due, default=None)

    def unpublished(self, limit: int) -> list[Unpublished]:
        """See `Desk.unpublished`."""
        with self._lock:
            waiting = [item for item in self.attempts.values() if not item.published]
            waiting.sort(key=lambda item: (item.delivery.at, item.delivery.id, item.delivery.attempt))
            return [Unpublished(item.delivery, item.revision) for item in waiting[:limit]]

    def published(self, items: Sequence[Unpublished]) -> None:
        """See `Desk.published`."""
        with self._lock:
            for item in items:
                known = self.attempts.get((item.delivery.id, item.delivery.attempt))
                if known is not None and known.revision == item.revision:
                    known.published = True

    def summary(self) -> OutboxSummary:
        """See `Desk.summary`."""
        with self._lock:
            states = Counter(row.state for row in self.rows.values())
            opened = [row.push.created_at for row in self.rows.values() if row.state in OPEN]
            done = [
                row.finished_at
                for row in self.rows.values()
                if row.state == "delivered" and row.finished_at is not None
            ]
            return OutboxSummary(
                waiting=states["waiting"],
                leased=states["leased"],
                delivered=states["delivered"],
                failed=states["failed"],
                oldest_open=min(opened, default=None),
                last_delivered=max(done, default=None),
                unpublished=sum(not item.published for item in self.attempts.values()),
            )
