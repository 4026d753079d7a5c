"""Intake, sender and publisher together, on memory: what is decided is delivered and published."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from notify import Notifier, NotifierSettings
from notify.carriers import Answer, Message
from notify.message import words
from notify.notifier import real_now
from notify.rosters import RosterFile
from notify.source import MemoryAlerts, MemorySink
from oncall import push_id
from schemas.errors import DocumentError, StoreAway, StoreError
from schemas.topics import ALERTS
from schemas.wire import LogBatch, Transition
from store.desk import LogPlace, Receipt, Unreadable
from store.desk_memory import MemoryDesk
from tests.support.alerts import ROSTER, roster, transition
from tests.support.carriers import MemoryCarrier

SETTINGS = NotifierSettings(
    "", "", lease_seconds=5, send_seconds=0.2, retry_seconds=0.01, retry_cap_seconds=0.05,
    poll_seconds=0.01, stop_seconds=1, seed=1, gather_seconds=0,
)  # fmt: skip


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; whoever calls sets the bound."""
    while not condition():  # noqa: ASYNC110 - what is waited for knows no events
        await asyncio.sleep(0.005)


class AwayDesk(MemoryDesk):
    """A desk that does not answer while ``away``; it may also lose an answer after it has worked."""

    away = False
    lose = 0

    def _answer(self, work: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if self.away:
            raise StoreAway("PostgreSQL does not answer: x")
        result = work(*args, **named)
        if self.lose:
            self.lose -= 1
            raise StoreAway("PostgreSQL does not answer: lost")
        return result

    def position(self, *args: Any, **named: Any) -> Any:
        return self._answer(super().position, *args, **named)

    def take(self, *args: Any, **named: Any) -> Any:
        return self._answer(super().take, *args, **named)

    def lease(self, *args: Any, **named: Any) -> Any:
        return self._answer(super().lease, *args, **named)

    def receipt(self, *args: Any, **named: Any) -> Any:
        return self._answer(super().receipt, *args, **named)

    def unpublished(self, *args: Any, **named: Any) -> Any:
        return self._answer(super().unpublished, *args, **named)


class Stack:
    """A notifier on fakes."""

    def __init__(self, carrier: MemoryCarrier | None = None, settings: NotifierSettings = SETTINGS) -> None:
        self.desk = AwayDesk()
        self.alerts = MemoryAlerts()
        self.sink = MemorySink()
        self.webhook = carrier or MemoryCarrier()
        self.apprise = MemoryCarrier()
        self.settings = settings

    def write(self, *transitions: Transition) -> None:
        self.alerts.append(*(msgspec.json.encode(item) for item in transitions))

    async def run(
        self,
        done: Callable[[], bool],
        meanwhile: Callable[[], Awaitable[None]] | None = None,
        *,
        drill: bool = False,
    ) -> None:
        """Run until a condition holds (with a bound), then stop cleanly."""
        stop = asyncio.Event()
        notifier = Notifier(
            self.settings,
            self.desk,
            self.alerts,
            self.sink,
            {"webhook": self.webhook, "apprise": self.apprise},
            roster=roster,
            drill=lambda: drill,
        )
        running = asyncio.create_task(notifier.run(stop))
        try:
            async with asyncio.timeout(20):
                if meanwhile:
                    await meanwhile()
                await until(lambda: done() or running.done())
        finally:
            stop.set()
            await running

    def delivered(self, count: int) -> Callable[[], bool]:
        return lambda: sum(row.state == "delivered" for row in self.desk.rows.values()) == count

    def outcomes(self) -> list[tuple[int, str]]:
        return [(delivery.attempt, delivery.outcome) for delivery in self.sink.deliveries]


async def test_a_firing_alert_reaches_everybody_concerned_once() -> None:
    stack = Stack()
    item = transition(notify=["duty-officer", "principal"])
    stack.write(item)
    await stack.run(stack.delivered(3))
    assert sorted((m.key, m.channel.url) for m in stack.webhook.sent) == sorted(
        (push_id(item.alert, item.id, person, "webhook"), f"http://127.0.0.1:9/{person}")
        for person in ("an", "binh")
    )
    assert [m.key for m in stack.apprise.sent] == [push_id(item.alert, item.id, "binh", "apprise")]
    assert stack.outcomes() == [(1, "delivered")] * 3


async def test_an_alert_that_comes_while_running_is_pushed() -> None:
    stack = Stack()

    async def write() -> None:
        await asyncio.sleep(0.05)
        stack.write(transition())

    await stack.run(stack.delivered(1), write)
    assert len(stack.webhook.sent) == 1


async def test_the_end_follows_the_firing_push_even_when_that_fails_first() -> None:
    stack = Stack(MemoryCarrier(Answer("retry", "HTTP 500"), Answer("retry", "HTTP 500")))
    stack.write(transition(), transition(ordinal=2, state="resolved"))
    await stack.run(stack.delivered(2))
    assert [msgspec.json.decode(m.body)["state"] for m in stack.webhook.sent] == ["firing"] * 3 + ["resolved"]
    assert len({m.key for m in stack.webhook.sent}) == 2
    assert sorted(stack.outcomes()) == [(1, "delivered"), (1, "retry"), (2, "retry"), (3, "delivered")]


async def test_a_failure_for_good_is_recorded_and_not_repeated() -> None:
    stack = Stack(MemoryCarrier(Answer("failed", "HTTP 404")))
    stack.write(transition())
    await stack.run(lambda: bool(stack.sink.deliveries))
    assert len(stack.webhook.sent) == 1
    assert [(d.outcome, d.detail) for d in stack.sink.deliveries] == [("failed", "HTTP 404")]


async def test_a_push_that_never_succeeds_is_given_up_and_said() -> None:
    settings = replace(SETTINGS, give_up_seconds=0.0)
    stack = Stack(MemoryCarrier(Answer("retry", "HTTP 500")), settings)
    stack.write(transition())
    await stack.run(lambda: bool(stack.sink.deliveries))
    assert [(d.outcome, d.detail) for d in stack.sink.deliveries] == [
        ("failed", "HTTP 500; given up after 0 s")
    ]


async def test_retry_after_is_honoured() -> None:
    stack = Stack(MemoryCarrier(Answer("retry", "HTTP 429", 600.0)))
    stack.write(transition())
    await stack.run(lambda: bool(stack.sink.deliveries))
    row = next(iter(stack.desk.rows.values()))
    assert row.next_try_at - stack.sink.deliveries[0].at == 600_000


async def test_a_channel_that_hangs_is_left_and_tried_again() -> None:
    class Hanging(MemoryCarrier):
        async def send(self, message: Message) -> Answer:
            if not self.sent:
                self.sent.append(message)
                await asyncio.Event().wait()
            return await super().send(message)

    stack = Stack(Hanging())
    stack.write(transition())
    await stack.run(stack.delivered(1))
    assert [(d.outcome, d.detail) for d in stack.sink.deliveries] == [
        ("retry", "no answer within 0.2 s"),
        ("delivered", "memory"),
    ]


async def test_a_fault_in_a_channel_does_not_end_the_notifier() -> None:
    stack = Stack(MemoryCarrier(ValueError("a bug")))
    stack.write(transition())
    with capture_logs() as logs:
        await stack.run(stack.delivered(1))
    assert [d.detail for d in stack.sink.deliveries] == ["unforeseen: ValueError", "memory"]
    assert "a channel failed in an unforeseen way" in [line["event"] for line in logs]


async def test_who_has_left_the_roster_is_not_sent_to() -> None:
    stack = Stack()
    stack.write(transition())
    await stack.run(stack.delivered(1))
    row = next(iter(stack.desk.rows.values()))
    row.push, row.state = replace(row.push, person="nobody"), "waiting"
    await stack.run(lambda: row.state == "failed")
    assert stack.sink.deliveries[-1].detail == "the person or the channel is no longer in the roster"


async def test_the_store_away_is_said_once_and_nothing_is_lost() -> None:
    stack = Stack()
    stack.desk.away = True
    stack.write(transition())

    async def back() -> None:
        await asyncio.sleep(0.1)
        stack.desk.away = False

    with capture_logs() as logs:
        await stack.run(stack.delivered(1), back)
    lines = [line["event"] for line in logs if "PostgreSQL" in line["event"]]
    assert sorted(lines) == sorted(
        [
            "PostgreSQL does not answer: waiting, nothing is lost",  # intake
            "PostgreSQL answers again",
            "PostgreSQL does not answer: waiting, nothing is lost",  # sender
            "PostgreSQL answers again",
            "PostgreSQL (deliveries) does not answer: waiting, nothing is lost",
            "PostgreSQL (deliveries) answers again",
        ]
    )
    assert len(stack.webhook.sent) == 1


@pytest.mark.parametrize("lost", range(1, 6))
async def test_answers_of_the_store_that_are_lost_change_nothing(lost: int) -> None:
    settings = replace(SETTINGS, lease_seconds=0.3)
    stack = Stack(settings=settings)
    stack.desk.lose = lost
    stack.write(transition(), transition(ordinal=2, state="resolved"))
    await stack.run(stack.delivered(2))
    assert len({m.key for m in stack.webhook.sent}) == 2
    assert len(stack.webhook.sent) <= 2 + lost


async def test_a_receipt_is_kept_while_the_store_is_away_and_nothing_is_sent_twice() -> None:
    class Cutting(MemoryCarrier):
        async def send(self, message: Message) -> Answer:
            stack.desk.away = True
            return await super().send(message)

    stack = Stack(Cutting(), replace(SETTINGS, lease_seconds=0.05))
    stack.write(transition())

    async def back() -> None:
        await until(lambda: bool(stack.webhook.sent))
        await asyncio.sleep(0.2)  # past the lease
        stack.desk.away = False

    await stack.run(stack.delivered(1), back)
    assert len(stack.webhook.sent) == 1


async def test_kafka_away_is_said_once_and_deliveries_wait() -> None:
    stack = Stack()
    stack.alerts.away = stack.sink.away = True
    stack.write(transition())

    async def back() -> None:
        await asyncio.sleep(0.1)
        stack.alerts.away = False
        await until(stack.delivered(1))
        await asyncio.sleep(0.05)
        stack.sink.away = False

    with capture_logs() as logs:
        await stack.run(lambda: bool(stack.sink.deliveries), back)
    assert [line["event"] for line in logs if line["event"].startswith("Kafka")] == [
        "Kafka does not answer: waiting, nothing is lost",
        "Kafka answers again",
        "Kafka (deliveries) does not answer: waiting, nothing is lost",
        "Kafka (deliveries) answers again",
    ]


async def test_a_log_of_another_epoch_is_read_from_its_start_and_pushes_nothing_twice() -> None:
    stack = Stack()
    stack.write(transition())
    await stack.run(stack.delivered(1))
    stack.alerts.name = "epoch-2"
    stack.write(transition(alert="new"))
    await stack.run(stack.delivered(2))
    assert len(stack.webhook.sent) == 2
    assert stack.desk.position(LogPlace(ALERTS, 0, "epoch-2")) == 2


async def test_a_record_that_is_no_alert_is_kept_aside() -> None:
    stack = Stack()
    stack.alerts.append(b"{", None)
    stack.write(transition())
    await stack.run(stack.delivered(1))
    assert stack.desk.unreadable == {
        (LogPlace(ALERTS, 0, "epoch-1"), 0): Unreadable(0, "Input data was truncated", b"{")
    }


async def test_without_a_roster_alerts_pass_and_nobody_is_told() -> None:
    stack = Stack()
    stack.write(transition())
    stop = asyncio.Event()
    notifier = Notifier(SETTINGS, stack.desk, stack.alerts, stack.sink, {}, roster=None)
    running = asyncio.create_task(notifier.run(stop))
    async with asyncio.timeout(5):
        await until(lambda: stack.desk.position(LogPlace(ALERTS, 0, "epoch-1")) == 1)
    stop.set()
    await running
    assert stack.desk.decisions == {}


async def test_a_stop_lets_attempts_end_and_publishes_their_receipts() -> None:
    class Slow(MemoryCarrier):
        async def send(self, message: Message) -> Answer:
            answer = await super().send(message)
            await asyncio.sleep(0.1)
            return answer

    stack = Stack(Slow())
    stack.write(transition())
    await stack.run(lambda: bool(stack.webhook.sent))
    assert stack.outcomes() == [(1, "delivered")]


async def test_one_slow_person_does_not_hold_up_the_others() -> None:
    class Slow(MemoryCarrier):
        async def send(self, message: Message) -> Answer:
            if message.channel.url.endswith("/an"):
                await asyncio.Event().wait()
            return await super().send(message)

    settings = replace(SETTINGS, sending=8, sending_per_recipient=2, send_seconds=10, stop_seconds=0.1)
    stack = Stack(Slow(), settings)
    stack.write(*(transition(alert=f"a{n}", rule=f"r{n}") for n in range(50)))
    stack.write(
        *(transition(alert=f"b{n}", rule=f"r{n}", notify=["leader"], severity="P1") for n in range(50))
    )
    await stack.run(stack.delivered(50))
    assert {m.channel.url for m in stack.webhook.sent} == {"http://127.0.0.1:9/chi"}


async def test_many_at_once_are_one_push_also_where_they_come_in_several_reads() -> None:
    class Dripping(MemoryAlerts):
        async def read(self, limit: int, timeout: float) -> LogBatch:
            return await super().read(min(limit, 2), timeout)

    stack = Stack(settings=replace(SETTINGS, gather_seconds=5, batch=12))
    stack.alerts = Dripping()
    stack.write(*(transition(alert=f"a{n}", group={"school": f"{n:03}"}) for n in range(12)))
    await stack.run(stack.delivered(1))
    assert len(stack.webhook.sent) == 1
    assert words(stack.webhook.sent[0].body).title == "[P2] Vắng học bất thường: 12 nơi"


async def test_a_p1_does_not_wait_for_what_may_come_with_it() -> None:
    stack = Stack(settings=replace(SETTINGS, gather_seconds=60))
    stack.write(transition(severity="P1"))
    await stack.run(stack.delivered(1))


async def test_in_a_drill_every_push_says_so() -> None:
    stack = Stack()
    stack.write(transition(), transition(ordinal=2, state="resolved"))
    await stack.run(stack.delivered(2), drill=True)
    assert [words(message.body).title for message in stack.webhook.sent] == [
        "DIỄN TẬP: [P2] Vắng học bất thường: 001",
        "DIỄN TẬP: [P2] Đã hết: Vắng học bất thường: 001",
    ]


async def test_a_store_that_refuses_ends_the_notifier() -> None:
    class Refusing(AwayDesk):
        def receipt(self, receipt: Receipt) -> Any:
            raise StoreError("the outbox has no push x")

    stack = Stack()
    stack.desk = Refusing()
    stack.write(transition())
    with pytest.raises(StoreError) as raised:
        await stack.run(lambda: False)
    assert str(raised.value) == "the outbox has no push x"


def test_the_roster_is_read_again_and_a_bad_one_never_replaces_a_good_one(tmp_path: Path) -> None:
    path = tmp_path / "oncall.yaml"
    path.write_text(ROSTER)
    current = RosterFile(path)
    assert set(current().people) == {"an", "binh", "chi"}
    with capture_logs() as logs:
        path.write_text("people: []\n")
        assert set(current().people) == {"an", "binh", "chi"}
        assert set(current().people) == {"an", "binh", "chi"}
        path.write_text(ROSTER.replace("chi", "dung"))
        assert set(current().people) == {"an", "binh", "dung"}
    assert [line["event"] for line in logs] == [
        "the on-call roster is wrong; the one before stays in force",
        "the on-call roster was read anew",
    ]
    path.unlink()
    assert set(current().people) == {"an", "binh", "dung"}
    with pytest.raises(DocumentError):
        RosterFile(path)


def test_real_time_is_in_milliseconds() -> None:
    assert real_now() > 1_700_000_000_000
