"""One contract for every desk: in memory and in a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from oncall import History, Recipient, decide, push_id
from schemas.errors import StoreAway, StoreError
from schemas.wire import Transition
from store.desk import (
    LOST,
    AlertBatch,
    Desk,
    LogPlace,
    OutboxSummary,
    Plan,
    Planned,
    Push,
    Receipt,
    StalePosition,
    Taken,
    Unreadable,
)
from store.desk_memory import MemoryDesk
from store.desk_postgres import PostgresDesk
from store.postgres_engine import migrate
from tests.support.alerts import roster, transition
from tests.support.postgres import TestServer, engine, running_server

PLACE = LogPlace("alerting.alerts", 0, "epoch-1")
NOW = 1_700_000_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[TestServer]:
    with running_server() as made:
        yield made


@pytest.fixture(params=["memory", "postgres"])
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    if request.param == "memory":
        yield MemoryDesk()
        return
    server: TestServer = request.getfixturevalue("server")
    with server.database() as url, engine(url) as made:
        migrate(made)
        yield PostgresDesk(made)


def plan(item: Transition, history: History) -> Sequence[Planned]:
    decisions = decide(item, roster(), NOW, history)
    return [
        Planned(decision, f"{decision.push}".encode() if decision.outcome == "pushed" else b"")
        for decision in decisions
    ]


def take(desk: Desk, *transitions: Transition, planner: Plan = plan, now: int = NOW) -> Taken:
    start = desk.position(PLACE)
    return desk.take(AlertBatch(PLACE, start, start + len(transitions), transitions), planner, now=now)


def lease(desk: Desk, now: int = NOW, limit: int = 100, per_recipient: int = 100, **more: Any) -> list[Push]:
    return desk.lease(now=now, until=now + 60_000, limit=limit, per_recipient=per_recipient, **more)


def alert(name: str, **changes: object) -> Transition:
    return transition(alert=name, group={"school": name}, **changes)


def test_a_log_never_read_starts_at_zero_and_each_epoch_is_its_own(desk: Desk) -> None:
    assert desk.position(PLACE) == 0
    take(desk, transition())
    assert desk.position(PLACE) == 1
    assert desk.position(LogPlace("alerting.alerts", 0, "epoch-2")) == 0


def test_a_batch_gives_decisions_and_pushes(desk: Desk) -> None:
    taken = take(desk, transition(notify=["duty-officer", "principal"]))
    assert [d.outcome for d in taken.decisions] == ["pushed", "pushed", "pushed"]
    assert (taken.pushes, taken.repeated) == (3, 0)
    assert desk.summary() == OutboxSummary(3, 0, 0, 0, NOW, None, 0)


def test_an_empty_batch_moves_the_position(desk: Desk) -> None:
    taken = desk.take(AlertBatch(PLACE, 0, 5, ()), plan, now=NOW)
    assert taken == Taken((), 0, 0)
    assert desk.position(PLACE) == 5


def test_a_batch_from_another_position_changes_nothing(desk: Desk) -> None:
    take(desk, transition())
    with pytest.raises(StalePosition) as raised:
        desk.take(AlertBatch(PLACE, 0, 1, (alert("002"),)), plan, now=NOW)
    assert str(raised.value) == "the position is 1, the batch starts at 0"
    assert desk.summary().waiting == 1


def test_a_plan_that_fails_leaves_nothing(desk: Desk) -> None:
    def broken(item: Transition, history: History) -> Sequence[Planned]:
        if item.alert == "002":
            raise ValueError("no")
        return plan(item, history)

    with pytest.raises(ValueError, match=r"^no$"):
        take(desk, transition(), alert("002"), planner=broken)
    assert desk.position(PLACE) == 0
    assert desk.summary().waiting == 0
    assert take(desk, transition(), alert("002")).pushes == 2


def test_what_was_decided_is_not_decided_again_in_another_epoch(desk: Desk) -> None:
    take(desk, transition(), transition(ordinal=2, state="resolved"))
    again = desk.take(
        AlertBatch(
            LogPlace("alerting.alerts", 0, "epoch-2"),
            0,
            3,
            (transition(), transition(ordinal=2, state="resolved"), transition(ordinal=2, state="resolved")),
        ),
        plan,
        now=NOW,
    )
    assert again == Taken((), 0, 3)
    assert desk.summary().waiting == 2


def test_what_was_told_in_an_earlier_batch_is_known(desk: Desk) -> None:
    take(desk, transition())
    taken = take(desk, transition(ordinal=2), transition(ordinal=3, state="resolved"))
    assert [d.outcome for d in taken.decisions] == ["joined", "pushed"]


def test_an_episode_goes_on_across_batches_and_windows(desk: Desk) -> None:
    day = 86_400_000
    first = transition()
    windows = [
        transition(
            alert=f"a{n}", window_start=first.window_start + n * day, reason="window_continued" if n else ""
        )
        for n in range(3)
    ]
    ends = [
        replaced(window, ordinal=2, state="resolved", reason="window_continued") for window in windows[:2]
    ]
    take(desk, windows[0])
    taken = take(desk, ends[0], windows[1])
    assert [d.outcome for d in taken.decisions] == ["joined", "joined"]
    taken = take(desk, ends[1], windows[2])
    assert [(d.outcome, d.push) for d in taken.decisions] == [
        ("joined", push_id("a0", windows[0].id, "an", "webhook"))
    ] * 2
    last = take(desk, replaced(windows[2], ordinal=2, state="resolved", reason="recover"))
    assert [d.outcome for d in last.decisions] == ["pushed"]


def test_a_window_that_handed_its_episode_on_ends_without_a_push_whatever_the_reason(desk: Desk) -> None:
    former = transition()
    following = transition(
        alert="next", window_start=former.window_start + 86_400_000, reason="window_continued"
    )
    take(desk, former)
    take(desk, following)
    taken = take(desk, replaced(former, ordinal=2, state="retracted", reason="corrected"))
    assert [d.outcome for d in taken.decisions] == ["joined"]
    taken = take(desk, replaced(following, ordinal=2, state="resolved", reason="recovered"))
    assert [d.outcome for d in taken.decisions] == ["pushed"]


def test_an_episode_whose_end_was_told_is_told_anew(desk: Desk) -> None:
    former = transition()
    take(desk, former)
    take(desk, replaced(former, ordinal=2, state="resolved", reason="window_ended"))
    taken = take(
        desk, transition(alert="next", window_start=former.window_start + 1, reason="window_continued")
    )
    assert [d.outcome for d in taken.decisions] == ["pushed"]


def test_what_its_parent_was_told_of_in_an_earlier_batch_is_joined(desk: Desk) -> None:
    take(desk, alert("parent"))
    held: dict[str, object] = {"held_by": "parent", "held_how": "absorbed"}
    taken = take(desk, alert("child", **held), alert("other", held_by="x", held_how="inhibited"))
    assert [(d.phase, d.outcome) for d in taken.decisions] == [("held", "joined"), ("held", "inhibited")]
    assert taken.decisions[0].push == lease(desk)[0].id
    back = take(desk, alert("child", revision=1, id="child#1.1", reason="given_back"))
    assert [(d.phase, d.outcome) for d in back.decisions] == [("opening", "pushed")]


def first_tells_all(planned: Sequence[Planned]) -> list[Planned]:
    """The shortest bundle there is."""
    push = planned[0].decision.push
    return [planned[0], *(Planned(replace(p.decision, outcome="joined", push=push)) for p in planned[1:])]


def test_many_are_one_row_of_the_outbox_and_each_has_its_decision(desk: Desk) -> None:
    batch = AlertBatch(PLACE, 0, 3, (alert("a"), alert("b"), alert("c")))
    taken = desk.take(batch, plan, now=NOW, bundle=first_tells_all)
    assert [d.outcome for d in taken.decisions] == ["pushed", "joined", "joined"]
    assert (taken.pushes, desk.summary().waiting) == (1, 1)
    ended = take(desk, alert("b", ordinal=2, state="resolved"))
    assert ended.decisions[0].outcome == "pushed"


def test_a_push_waits_for_those_it_comes_after(desk: Desk) -> None:
    take(desk, alert("a"))
    first = push_id("a", "a#1", "an", "webhook")

    def after(item: Transition, history: History) -> Sequence[Planned]:
        return [replace(planned, after=(first, "gone")) for planned in plan(item, history)]

    take(desk, alert("b"), planner=after)
    assert [push.id for push in lease(desk)] == [first]
    assert lease(desk) == []
    desk.receipt(Receipt(first, 1, "delivered", "ok", NOW))
    assert [push.alert for push in lease(desk)] == ["b"]


def replaced(item: Transition, **changes: object) -> Transition:
    values = {name: getattr(item, name) for name in item.__struct_fields__ if name != "id"}
    return transition(**{**values, **changes})


def test_unreadable_records_are_kept_once(desk: Desk) -> None:
    batch = AlertBatch(PLACE, 0, 1, (), (Unreadable(0, "not JSON", b"\xff"),))
    desk.take(batch, plan, now=NOW)
    assert desk.position(PLACE) == 1


def test_a_lease_carries_what_is_sent(desk: Desk) -> None:
    item = transition()
    take(desk, item)
    key = push_id(item.alert, item.id, "an", "webhook")
    assert lease(desk) == [
        Push(key, item.alert, item.id, "an", "webhook", "P2", key.encode(), 1, NOW + 60_000, NOW)
    ]
    assert lease(desk) == []
    assert desk.summary() == OutboxSummary(0, 1, 0, 0, NOW, None, 0)


def test_the_most_severe_then_the_oldest_first_and_bounded(desk: Desk) -> None:
    take(
        desk, alert("a"), alert("b"), alert("c", severity="P1"), alert("d", notify=["leader"], severity="P1")
    )
    first = lease(desk, limit=3, per_recipient=2)
    assert [(p.alert, p.person) for p in first] == [("c", "an"), ("d", "chi"), ("a", "an")]
    assert [p.alert for p in lease(desk, limit=3)] == ["b"]


def test_busy_recipients_are_passed_over(desk: Desk) -> None:
    take(desk, alert("a"), alert("b", notify=["leader"], severity="P1"))
    assert [p.person for p in lease(desk, busy=[Recipient("chi", "webhook")])] == ["an"]
    assert [p.person for p in lease(desk)] == ["chi"]


def test_an_end_waits_for_the_push_before_it(desk: Desk) -> None:
    take(desk, transition(), transition(ordinal=2, state="resolved"))
    first = lease(desk)
    assert [p.transition for p in first] == [transition().id]
    assert desk.next_due() == NOW + 60_000
    desk.receipt(Receipt(first[0].id, 1, "retry", "500", NOW + 10, NOW + 5_000))
    assert desk.next_due() == NOW + 5_000
    assert lease(desk, NOW + 4_999) == []
    second = lease(desk, NOW + 5_000)
    assert [(p.id, p.attempt) for p in second] == [(first[0].id, 2)]
    desk.receipt(Receipt(first[0].id, 2, "delivered", "200", NOW + 5_100))
    assert [p.transition for p in lease(desk, NOW + 5_200)] == [transition(ordinal=2).id]


def test_a_failed_push_lets_the_next_one_go(desk: Desk) -> None:
    take(desk, transition(), transition(ordinal=2, state="resolved"))
    assert desk.receipt(Receipt(lease(desk)[0].id, 1, "failed", "404", NOW)) == "failed"
    assert [p.transition for p in lease(desk)] == [transition(ordinal=2).id]
    assert desk.next_due() == NOW + 60_000


def test_a_lease_that_ran_out_is_leased_again_with_the_same_key_and_recorded(desk: Desk) -> None:
    take(desk, transition())
    first = lease(desk)[0]
    assert lease(desk, first.lease_until - 1) == []
    assert lease(desk, first.lease_until, holding=[first.id]) == []
    again = lease(desk, first.lease_until)[0]
    assert again == replace(first, attempt=2, lease_until=first.lease_until + 60_000)
    assert [(u.delivery.attempt, u.delivery.outcome, u.delivery.detail) for u in desk.unpublished(10)] == [
        (1, "retry", LOST)
    ]


def test_a_late_receipt_revises_what_was_taken_for_lost(desk: Desk) -> None:
    take(desk, transition())
    first = lease(desk)[0]
    lease(desk, first.lease_until)
    lost = desk.unpublished(10)
    assert desk.receipt(Receipt(first.id, 1, "delivered", "200", NOW + 70_000)) == "delivered"
    desk.published(lost)
    revised = desk.unpublished(10)
    assert [(u.delivery.attempt, u.delivery.outcome, u.delivery.detail, u.revision) for u in revised] == [
        (1, "delivered", "200", 2)
    ]
    desk.published(revised)
    assert desk.unpublished(10) == []


def test_a_late_failure_leaves_the_newer_attempt_alone(desk: Desk) -> None:
    take(desk, transition())
    first = lease(desk)[0]
    second = lease(desk, first.lease_until)[0]
    assert desk.receipt(Receipt(first.id, 1, "failed", "404", NOW + 70_000)) == "leased"
    assert desk.receipt(Receipt(first.id, 1, "retry", "500", NOW + 70_000, NOW)) == "leased"
    assert lease(desk, NOW + 80_000) == []
    assert desk.receipt(Receipt(first.id, 2, "delivered", "200", NOW + 80_000)) == "delivered"
    assert desk.receipt(Receipt(second.id, 2, "failed", "404", NOW + 90_000)) == "delivered"
    assert desk.summary() == OutboxSummary(0, 0, 1, 0, None, NOW + 80_000, 2)


def test_delivered_wins_over_failed(desk: Desk) -> None:
    take(desk, transition())
    first = lease(desk)[0]
    lease(desk, first.lease_until)
    assert desk.receipt(Receipt(first.id, 2, "failed", "404", NOW + 70_000)) == "failed"
    assert desk.receipt(Receipt(first.id, 1, "delivered", "200", NOW + 71_000)) == "delivered"


def test_a_receipt_may_be_repeated(desk: Desk) -> None:
    take(desk, transition())
    first = lease(desk)[0]
    receipt = Receipt(first.id, 1, "retry", "500", NOW, NOW + 9)
    assert [desk.receipt(receipt), desk.receipt(receipt)] == ["waiting", "waiting"]
    assert len(desk.unpublished(10)) == 1


def test_a_receipt_for_nothing_is_refused(desk: Desk) -> None:
    with pytest.raises(StoreError) as raised:
        desk.receipt(Receipt("none", 1, "delivered", "", NOW))
    assert str(raised.value) == "the outbox has no push none"


def test_deliveries_carry_alert_person_and_channel(desk: Desk) -> None:
    item = transition()
    take(desk, item)
    first = lease(desk)[0]
    desk.receipt(Receipt(first.id, 1, "delivered", "200", NOW + 5))
    delivery = desk.unpublished(10)[0].delivery
    assert (delivery.id, delivery.attempt, delivery.alert, delivery.transition) == (
        first.id,
        1,
        item.alert,
        item.id,
    )
    assert (delivery.person, delivery.channel, delivery.outcome) == ("an", "webhook", "delivered")
    assert (delivery.detail, delivery.at) == ("200", NOW + 5)


def test_publishing_nothing_is_nothing(desk: Desk) -> None:
    desk.published([])
    assert desk.next_due() is None


def test_two_senders_never_hold_the_same_push(desk: Desk) -> None:
    take(desk, *(alert(f"{n:03}") for n in range(60)))
    found: list[str] = []
    barrier = threading.Barrier(4)

    def send() -> None:
        barrier.wait()
        while got := lease(desk, limit=3):
            found.extend(push.id for push in got)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A row that another sender holds locked is skipped: what was left over is found by the next look.
    found.extend(push.id for push in lease(desk))
    assert sorted(found) == sorted(set(found))
    assert len(found) == 60


def test_two_notifiers_take_each_record_once(desk: Desk) -> None:
    items = [alert(f"{n:03}") for n in range(40)]
    made: list[Taken] = []

    def read() -> None:
        while (start := desk.position(PLACE)) < len(items):
            batch = AlertBatch(PLACE, start, min(start + 3, 40), tuple(items[start : start + 3]))
            try:
                made.append(desk.take(batch, plan, now=NOW))
            except StalePosition:
                continue

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken.pushes for taken in made) == 40
    assert sum(taken.repeated for taken in made) == 0


class OutboxMachine(RuleBasedStateMachine):
    """The outbox under senders that answer, fail, stop or come late, in any order.

    Every push stays open until it is delivered or failed, no push has two holders within a lease,
    and a push is only overtaken once it is closed.
    """

    @initialize()
    def start(self) -> None:
        self.desk = MemoryDesk()
        self.now = NOW
        self.count = 0
        self.held: list[Push] = []
        self.open: set[str] = set()
        self.closed: dict[str, str] = {}

    @rule(state=st.sampled_from(["firing", "resolved", "recovering"]), name=st.sampled_from(["a", "b"]))
    def take(self, state: str, name: str) -> None:
        self.count += 1
        taken = take(self.desk, alert(name, ordinal=self.count, state=state), now=self.now)
        self.open |= {d.push for d in taken.decisions if d.outcome == "pushed"}

    @rule(seconds=st.integers(0, 90))
    def wait(self, seconds: int) -> None:
        self.now += seconds * 1000

    @rule(limit=st.integers(1, 3))
    def lease(self, limit: int) -> None:
        for push in lease(self.desk, self.now, limit):
            assert push.id in self.open
            assert all(other.id != push.id or other.lease_until <= self.now for other in self.held)
            self.held.append(push)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), outcome=st.sampled_from(["delivered", "retry", "failed"]))
    def answer(self, data: st.DataObject, outcome: str) -> None:
        push = data.draw(st.sampled_from(self.held))
        self.held.remove(push)
        state = self.desk.receipt(
            Receipt(push.id, push.attempt, outcome, "x", self.now, self.now + 1_000)  # type: ignore[arg-type]
        )
        if outcome == "delivered":
            assert state == "delivered"
        if state in ("delivered", "failed"):
            self.open.discard(push.id)
            assert self.closed.get(push.id) != "delivered" or state == "delivered"
            self.closed[push.id] = state

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        self.held.remove(data.draw(st.sampled_from(self.held)))

    @rule()
    def publish(self) -> None:
        self.desk.published(self.desk.unpublished(2))

    @invariant()
    def nothing_is_lost(self) -> None:
        rows = self.desk.rows
        assert {id for id, row in rows.items() if row.state in ("waiting", "leased")} == self.open
        assert {id: row.state for id, row in rows.items() if id not in self.open} == self.closed
        assert (self.desk.next_due() is None) == (not self.open)

    @invariant()
    def every_ended_attempt_has_its_delivery(self) -> None:
        for id, row in self.desk.rows.items():
            # The latest attempt may be under way, also where an earlier one's late answer closed the row.
            ended = row.push.attempt - (row.state != "waiting")
            recorded = sorted(n for key, n in self.desk.attempts if key == id)
            assert recorded[:ended] == list(range(1, ended + 1))

    def teardown(self) -> None:
        """Whatever happened, senders that answer deliver all that is open."""
        for _ in range(len(getattr(self, "open", ())) + 1):
            self.now += 10 * 60_000
            for push in lease(self.desk, self.now):
                self.desk.receipt(Receipt(push.id, push.attempt, "delivered", "x", self.now))
                self.open.discard(push.id)
        assert not self.open


OutboxMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestOutbox = OutboxMachine.TestCase


def test_postgres_away_is_said_in_words_and_ends_when_it_is_back() -> None:
    with running_server() as own, own.database() as url, engine(url) as made:
        migrate(made)
        desk = PostgresDesk(made)
        take(desk, transition())
        own.stop("immediate")
        with pytest.raises(StoreAway) as raised:
            desk.position(PLACE)
        assert str(raised.value) == (
            "PostgreSQL does not answer: connection is bad: connection to server on socket "
            f'"{own.folder}/.s.PGSQL.5432" failed: No such file or directory'
        )
        own.start()
        assert desk.position(PLACE) == 1
        assert len(lease(desk)) == 1
