"""The desk in PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from typing import Any, cast

from sqlalchemy import Connection, Engine, Row, func, select, update
from sqlalchemy.dialects.postgresql import insert

from oncall import Decision, History, Recipient
from oncall.decisions import CLOSING_STATES, WINDOW_CONTINUED
from oncall.identity import episode_of
from schemas.errors import StoreError
from schemas.wire import Delivery, Transition
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
    plan_batch,
)
from store.desk_sql import (
    LEASE,
    LOST_ATTEMPTS,
    NEXT_DUE,
    PUBLISHED,
    SUMMARY,
    TOLD_AFTER,
    TOLD_BEFORE,
    UNPUBLISHED,
)
from store.desk_tables import decisions, deliveries, outbox, positions, unreadable
from store.postgres_engine import transaction


class PostgresDesk:
    """`Desk` in PostgreSQL. Safe to use from several threads and processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def position(self, place: LogPlace) -> int:
        """See `Desk.position`."""
        with transaction(self._engine) as connection:
            found = connection.execute(_at(select(positions.c.next_offset), place)).scalar()
        return found or 0

    def take(self, batch: AlertBatch, plan: Plan, *, now: int, bundle: Bundle = tuple) -> Taken:
        """See `Desk.take`."""
        with transaction(self._engine) as connection:
            _hold_position(connection, batch)
            history = _history(connection, batch.transitions)
            planned, repeated = plan_batch(batch, plan, bundle, history)
            pushes = _insert(connection, planned, now)
            _insert_unreadable(connection, batch)
            connection.execute(_at(update(positions), batch.place).values(next_offset=batch.next))
        return Taken(tuple(item.decision for item in planned), pushes, repeated)

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
        values = {
            "now": now,
            "until": until,
            "limit": limit,
            "per_recipient": per_recipient,
            "holding": list(holding),
            "busy_people": [recipient.person for recipient in busy],
            "busy_channels": [recipient.channel for recipient in busy],
        }
        with transaction(self._engine) as connection:
            rows = connection.execute(LEASE, values).all()
            lost = [{"id": row.id, "attempt": row.attempts - 1} for row in rows if row.ran_out]
            if lost:
                connection.execute(LOST_ATTEMPTS, [{**item, "detail": LOST, "at": now} for item in lost])
        return [_push(row) for row in sorted(rows, key=lambda row: (row.severity, row.seq))]

    def receipt(self, receipt: Receipt) -> OutboxState:
        """See `Desk.receipt`."""
        with transaction(self._engine) as connection:
            found = (
                select(outbox.c.state, outbox.c.attempts).where(outbox.c.id == receipt.id).with_for_update()
            )
            row = connection.execute(found).first()
            if row is None:
                raise StoreError(f"the outbox has no push {receipt.id}")
            changes = _changes(row.state, row.attempts, receipt)
            if changes:
                connection.execute(update(outbox).where(outbox.c.id == receipt.id).values(**changes))
            _record(connection, receipt)
        return cast(OutboxState, changes.get("state", row.state))

    def next_due(self) -> int | None:
        """See `Desk.next_due`."""
        with transaction(self._engine) as connection:
            return cast("int | None", connection.execute(NEXT_DUE).scalar())

    def unpublished(self, limit: int) -> list[Unpublished]:
        """See `Desk.unpublished`."""
        with transaction(self._engine) as connection:
            rows = connection.execute(UNPUBLISHED, {"limit": limit}).mappings().all()
        return [
            Unpublished(Delivery(**{key: row[key] for key in Delivery.__struct_fields__}), row["revision"])
            for row in rows
        ]

    def published(self, items: Sequence[Unpublished]) -> None:
        """See `Desk.published`."""
        if not items:
            return
        values = [
            {"id": item.delivery.id, "attempt": item.delivery.attempt, "revision": item.revision}
            for item in items
        ]
        with transaction(self._engine) as connection:
            connection.execute(PUBLISHED, values)

    def summary(self) -> OutboxSummary:
        """See `Desk.summary`."""
        with transaction(self._engine) as connection:
            return OutboxSummary(**connection.execute(SUMMARY).mappings().one())


def _at(statement: Any, place: LogPlace) -> Any:
    return statement.where(
        positions.c.topic == place.topic,
        positions.c.partition == place.partition,
        positions.c.epoch == place.epoch,
    )


def _hold_position(connection: Connection, batch: AlertBatch) -> None:
    """Lock the position's row: of two notifiers the second waits, then finds that it is late."""
    first = insert(positions).values(**batch.place._asdict(), next_offset=0)
    connection.execute(first.on_conflict_do_nothing())
    stored = connection.execute(
        _at(select(positions.c.next_offset), batch.place).with_for_update()
    ).scalar_one()
    if stored != batch.start:
        raise StalePosition(f"the position is {stored}, the batch starts at {batch.start}")


def _history(connection: Connection, transitions: Sequence[Transition]) -> History:
    history = History()
    # Neighbours first, as they may repeat what this batch's own alerts are known for.
    opened = [item for item in transitions if item.state == "firing" and item.reason == WINDOW_CONTINUED]
    closed = [item for item in transitions if item.state in CLOSING_STATES]
    for told, asking in ((TOLD_BEFORE, opened), (TOLD_AFTER, closed)):
        if asking:
            values = {
                "episodes": [episode_of(item.rule, item.group) for item in asking],
                "windows": [item.window_start for item in asking],
            }
            _note(history, connection.execute(told, values))
    alerts = sorted({alert for item in transitions for alert in (item.alert, item.held_by) if alert})
    found = select(decisions).where(decisions.c.alert == func.any(alerts)).order_by(decisions.c.seq)
    _note(history, connection.execute(found))
    return history


def _note(history: History, rows: Iterable[Row[Any]]) -> None:
    for row in rows:
        history.note(_decision(row))


def _decision(row: Row[Any]) -> Decision:
    values = row._asdict()
    values.pop("seq")
    return Decision(**values)


def _insert(connection: Connection, planned: Sequence[Planned], now: int) -> int:
    if not planned:
        return 0
    connection.execute(insert(decisions), [asdict(item.decision) for item in planned])
    due = [_row(item, now) for item in planned if item.decision.outcome == "pushed"]
    if due:
        connection.execute(insert(outbox), due)
    return len(due)


def _row(planned: Planned, now: int) -> dict[str, Any]:
    decision = planned.decision
    return {
        "id": decision.push,
        "alert": decision.alert,
        "transition": decision.transition,
        "person": decision.person,
        "channel": decision.channel,
        "severity": decision.severity,
        "payload": planned.payload,
        "after": list(planned.after),
        "state": "waiting",
        "attempts": 0,
        "next_try_at": now,
        "lease_until": 0,
        "created_at": now,
    }


def _insert_unreadable(connection: Connection, batch: AlertBatch) -> None:
    rows = [{**batch.place._asdict(), **asdict(item)} for item in batch.unreadable]
    if rows:
        connection.execute(insert(unreadable).on_conflict_do_nothing(), rows)


def _push(row: Row[Any]) -> Push:
    values = row._asdict()
    return Push(
        **{key: values[key] for key in Push.__slots__ if key not in ("attempt", "payload")},
        attempt=values["attempts"],
        payload=bytes(values["payload"]),
    )


def _changes(state: str, attempts: int, receipt: Receipt) -> dict[str, object]:
    """What a receipt changes in its row of the outbox."""
    latest = state == "leased" and attempts == receipt.attempt
    if receipt.outcome == "delivered" and state != "delivered":
        return {"state": "delivered", "finished_at": receipt.at}
    if receipt.outcome == "failed" and latest:
        return {"state": "failed", "finished_at": receipt.at}
    if receipt.outcome == "retry" and latest:
        return {"state": "waiting", "next_try_at": receipt.next_try_at}
    return {}


def _record(connection: Connection, receipt: Receipt) -> None:
    values = {
        "id": receipt.id,
        "attempt": receipt.attempt,
        "outcome": receipt.outcome,
        "detail": receipt.detail,
        "at": receipt.at,
        "revision": 1,
        "published": False,
    }
    known = insert(deliveries).values(values)
    connection.execute(
        known.on_conflict_do_update(
            index_elements=["id", "attempt"],
            set_={
                "outcome": known.excluded.outcome,
                "detail": known.excluded.detail,
                "at": known.excluded.at,
                "revision": deliveries.c.revision + 1,
                "published": False,
            },
            where=deliveries.c.detail == LOST,
        )
    )
