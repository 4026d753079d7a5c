"""`run_notifier` itself, as ``trucban notifier`` runs it, on the embedded broker with its journal."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from structlog.testing import capture_logs

from notify import NotifierSettings, run_notifier
from notify.kafka import KafkaAlerts, KafkaDeliveries
from oncall import push_id
from schemas.errors import BrokerAway, DocumentError, LogLost, SettingsError
from schemas.topics import ALERTS, DELIVERIES, META
from schemas.wire import Delivery, Transition
from store.desk import AlertBatch, LogPlace
from store.desk_postgres import PostgresDesk
from streams.topics import ensure_topics, read_epoch
from tests.support.alerts import transition
from tests.support.broker import BrokerProcess
from tests.support.postgres import TestServer, engine, running_server
from tests.support.webhook import WebhookReceiver

pytestmark = pytest.mark.slow
BOUND = 40.0


@pytest.fixture(scope="module")
def server() -> Iterator[TestServer]:
    with running_server() as made:
        yield made


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    made = BrokerProcess(tmp_path)
    made.start()
    try:
        ensure_topics(made.address, 1)
        yield made
    finally:
        made.kill()


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver(secrets={"/an": "a"}) as made:
        yield made


@pytest.fixture
def settings(
    server: TestServer, broker: BrokerProcess, receiver: WebhookReceiver, tmp_path: Path
) -> Iterator[NotifierSettings]:
    roster = tmp_path / "oncall.yaml"
    channel = f"{{kind: webhook, url: '{receiver.url('/an')}', secret: a}}"
    roster.write_text(
        f"people: [{{code: an, name: An, channels: [{channel}]}}]\ntargets: {{duty-officer: an}}\n"
    )
    with server.database() as url:
        yield NotifierSettings(broker.address, url, roster, poll_seconds=0.1)


def write(broker: BrokerProcess, *transitions: Transition) -> None:
    producer = Producer({"bootstrap.servers": broker.address})
    for item in transitions:
        producer.produce(ALERTS, msgspec.json.encode(item), partition=0)
    assert producer.flush(20) == 0


def due(*transitions: Transition) -> set[str]:
    return {push_id(item.alert, item.id, "an", "webhook") for item in transitions}


@asynccontextmanager
async def running(settings: NotifierSettings) -> AsyncIterator[asyncio.Task[None]]:
    """A notifier that is stopped by SIGTERM, as its supervisor does it."""
    task = asyncio.create_task(run_notifier(settings))
    try:
        yield task
    finally:
        await asyncio.sleep(0)
        if not task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(BOUND):
            await task


async def receives(receiver: WebhookReceiver, count: int) -> list[str]:
    found = await asyncio.to_thread(receiver.wait_for, count, BOUND)
    return [request.key for request in found]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND):
        while not condition():  # noqa: ASYNC110 - what is waited for is in other processes
            await asyncio.sleep(0.02)


async def test_alerts_become_pushes_and_deliveries_and_a_stop_is_clean(
    settings: NotifierSettings, broker: BrokerProcess, receiver: WebhookReceiver
) -> None:
    items = [transition(alert=f"a{n}") for n in range(5)]
    with capture_logs() as logs:
        async with running(settings):
            write(broker, *items)
            assert set(await receives(receiver, 5)) == due(*items)
        async with running(settings):  # started again: nothing is pushed twice
            write(broker, transition(alert="b"))
            assert set(await receives(receiver, 6)) == due(*items, transition(alert="b"))
    assert len(receiver.requests) == 6
    assert all(request.verified for request in receiver.requests)
    names = [line["event"] for line in logs]
    assert names.count("notifier started") == names.count("notifier stopped") == 2
    assert {item.id for item in deliveries(broker, 6)} == due(*items, transition(alert="b"))


def deliveries(broker: BrokerProcess, count: int) -> list[Delivery]:
    consumer = Consumer(
        {"bootstrap.servers": broker.address, "group.id": "t", "auto.offset.reset": "earliest"}
    )
    consumer.assign([TopicPartition(DELIVERIES, 0, 0)])
    found = [message.value() or b"" for message in consumer.consume(count, BOUND)]
    consumer.close()
    return [msgspec.json.decode(value, type=Delivery) for value in found]


async def test_the_broker_killed_and_started_again_loses_nothing(
    settings: NotifierSettings, broker: BrokerProcess, receiver: WebhookReceiver
) -> None:
    with capture_logs() as logs:
        async with running(settings):
            write(broker, transition(alert="a"))
            await receives(receiver, 1)
            broker.kill()
            await until(lambda: any(line["event"].startswith("Kafka does not answer") for line in logs))
            broker.start()
            write(broker, transition(alert="b"))
            await receives(receiver, 2)
    assert len(receiver.requests) == 2
    assert [line["event"] for line in logs if line["event"].startswith("Kafka ")][:2] == [
        "Kafka does not answer: waiting, nothing is lost",
        "Kafka answers again",
    ]


async def test_a_log_that_ends_before_the_position_is_an_error(
    settings: NotifierSettings, broker: BrokerProcess
) -> None:
    write(broker, transition())
    async with running(settings) as task:
        with engine(settings.database) as made:
            desk = PostgresDesk(made)
            place = LogPlace(ALERTS, 0, read_epoch(broker.address))
            await until(lambda: task.done() or _position(desk, place) == 1)
    with engine(settings.database) as made:
        PostgresDesk(made).take(AlertBatch(place, 1, 500, ()), lambda *_: (), now=1)
    with pytest.raises(LogLost) as raised:
        async with asyncio.timeout(BOUND):
            await run_notifier(settings)
    assert str(raised.value) == "alerting.alerts ends before 500, up to which it was read"


def _position(desk: PostgresDesk, place: LogPlace) -> int:
    try:
        return desk.position(place)
    except Exception:  # noqa: BLE001 - its tables are being made
        return 0


async def test_a_bad_roster_or_address_is_said_at_once(settings: NotifierSettings, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("people: []\n")
    with pytest.raises(DocumentError) as raised:
        await run_notifier(replace(settings, oncall=bad))
    assert str(raised.value) == f"{bad}:1:1: the roster lacks 'targets'"
    with pytest.raises(SettingsError):
        await run_notifier(replace(settings, database="mysql://x/y"))


async def test_a_stop_comes_through_while_postgres_is_away(settings: NotifierSettings) -> None:
    with capture_logs() as logs:
        async with running(replace(settings, database="postgresql://u@127.0.0.1:9/d")):
            await until(lambda: any("PostgreSQL" in line["event"] for line in logs))
    assert [line["event"] for line in logs] == ["PostgreSQL does not answer: waiting, nothing is lost"]


async def test_a_broker_that_is_not_there_is_away() -> None:
    source, sink = KafkaAlerts("127.0.0.1:9"), KafkaDeliveries("127.0.0.1:9", ack_seconds=0.5)
    with pytest.raises(BrokerAway) as raised:
        await source.epoch()
    assert str(raised.value) == "no Kafka broker answers at 127.0.0.1:9"
    with pytest.raises(BrokerAway) as raised:
        await source.seek(0)
    assert str(raised.value) == "Kafka does not answer at 127.0.0.1:9"
    with pytest.raises(BrokerAway) as raised:
        await sink.publish([Delivery("i", 1, "a", "t", "p", "c", "delivered", "", 1)])
    assert str(raised.value) == ("Kafka does not take deliveries at 127.0.0.1:9: Local: Message timed out")
    await source.close()
    await sink.close()


async def test_a_log_without_an_epoch_is_not_there_yet(tmp_path: Path) -> None:
    fresh = BrokerProcess(tmp_path)
    fresh.start()
    try:
        admin = AdminClient({"bootstrap.servers": fresh.address})
        admin.create_topics([NewTopic(META, 1)])[META].result()
        source = KafkaAlerts(fresh.address)
        with pytest.raises(BrokerAway) as raised:
            await source.epoch()
        assert str(raised.value) == (
            f"the log at {fresh.address} has no epoch in alerting.meta: its topics were not made by trucban"
        )
        await source.close()
    finally:
        fresh.kill()
