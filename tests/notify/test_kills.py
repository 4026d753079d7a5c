"""A real notifier process, PostgreSQL, broker and receiver; ``kill -9`` between every step."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from oncall import push_id
from schemas.wire import Delivery, Transition
from streams.topics import ensure_topics
from tests.support.alerts import transition
from tests.support.kafka import missing_for_apache, run_apache, run_tansu
from tests.support.notifier_child import STEPS
from tests.support.postgres import TestServer, running_server
from tests.support.webhook import Close, Status, WebhookReceiver

pytestmark = [pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
BOUND = 40.0


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    for address in run_tansu(tmp_path_factory.mktemp("tansu")):
        ensure_topics(address, 1)
        yield address


@pytest.fixture(scope="module")
def apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if missing := missing_for_apache():
        pytest.skip(missing)
    for address in run_apache(tmp_path_factory.mktemp("apache")):
        ensure_topics(address, 1)
        yield address


@pytest.fixture(scope="module")
def server() -> Iterator[TestServer]:
    with running_server() as made:
        yield made


class Stack:
    """Everything around the notifier process of one test."""

    def __init__(self, broker: str, database: str, receiver: WebhookReceiver, folder: Path) -> None:
        name = uuid.uuid4().hex[:8]
        self.broker, self.database, self.receiver = broker, database, receiver
        self.started: list[subprocess.Popen[bytes]] = []
        self.alerts, self.deliveries = f"alerts.{name}", f"deliveries.{name}"
        self.oncall = folder / "oncall.yaml"
        people = "".join(
            f"- code: {code}\n  name: {code}\n"
            f"  channels: [{{kind: webhook, url: '{receiver.url('/' + code)}', secret: {code[0]}}}]\n"
            for code in ("an", "binh")
        )
        self.oncall.write_text(f"people:\n{people}targets: {{duty-officer: [an, binh]}}\n")
        admin = AdminClient({"bootstrap.servers": broker})
        for future in admin.create_topics([NewTopic(self.alerts, 1), NewTopic(self.deliveries, 1)]).values():
            future.result()

    def start(self, step: str = "", count: int = 1, **more: object) -> subprocess.Popen[bytes]:
        options = {
            "broker": self.broker,
            "database": self.database,
            "oncall": str(self.oncall),
            "alerts": self.alerts,
            "deliveries": self.deliveries,
            "step": step,
            "count": count,
            **more,
        }
        command = [sys.executable, "-m", "tests.support.notifier_child", json.dumps(options)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.started.append(process)
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.started:
            if process.returncode is None:
                process.kill()
                process.communicate()

    def write(self, transitions: list[Transition]) -> None:
        producer = Producer({"bootstrap.servers": self.broker})
        for item in transitions:
            producer.produce(self.alerts, msgspec.json.encode(item), partition=0)
        assert producer.flush(20) == 0

    def read_deliveries(self, complete: set[str]) -> list[Delivery]:
        """Records of the topic, once each push in ``complete`` has its ``delivered``."""
        consumer = Consumer(
            {"bootstrap.servers": self.broker, "group.id": "t", "auto.offset.reset": "earliest"}
        )
        consumer.assign([TopicPartition(self.deliveries, 0, 0)])
        found: list[Delivery] = []
        deadline = time.monotonic() + BOUND
        try:
            while not complete <= {item.id for item in found if item.outcome == "delivered"}:
                assert time.monotonic() < deadline, f"{len(found)} deliveries"
                message = consumer.poll(0.2)
                if message is not None and message.error() is None:
                    found.append(msgspec.json.decode(message.value() or b"", type=Delivery))
        finally:
            consumer.close()
        return found


def story() -> tuple[list[Transition], set[str]]:
    """Twelve alerts that fire, half of which end; and the pushes that are due."""
    fired = [transition(alert=f"a{n}") for n in range(12)]
    ended = [transition(alert=f"a{n}", ordinal=2, state="resolved") for n in range(0, 12, 2)]
    due = {
        push_id(item.alert, item.id, person, "webhook") for item in fired + ended for person in ("an", "binh")
    }
    return fired + ended, due


@pytest.fixture
def stack(embedded: str, server: TestServer, tmp_path: Path) -> Iterator[Stack]:
    with (
        server.database() as url,
        WebhookReceiver(secrets={"/an": "a", "/binh": "b"}) as receiver,
        Stack(embedded, url, receiver, tmp_path) as made,
    ):
        yield made


def end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    process.stdout.readline()  # it is ready to be stopped
    process.terminate()
    _, errors = process.communicate(timeout=BOUND)
    assert process.returncode == 0, errors.decode()


def check(stack: Stack, due: set[str], crashes: int) -> Counter[str]:
    """Each due push arrived, signed; no other did; repeats are bounded by crashes. Gives the repeats."""
    requests = stack.receiver.requests
    assert all(request.verified for request in requests)
    times = Counter(request.key for request in requests if request.accepted)
    assert set(times) == due
    assert max(times.values()) <= 1 + crashes
    bodies: dict[str, set[bytes]] = {}
    for request in requests:
        bodies.setdefault(request.key, set()).add(request.body)
    assert all(len(each) == 1 for each in bodies.values())
    first = {request.key: request for request in reversed(requests)}  # a receiver drops repeats by their key
    for alert in {request.json()["alert"] for request in requests}:
        for path in ("/an", "/binh"):
            came = sorted((r for r in first.values() if r.path == path), key=lambda r: r.at)
            states = [r.json()["state"] for r in came if r.json()["alert"] == alert]
            assert states == sorted(states), "an end came before its firing push"
    return times - Counter(due)


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_each_step_nothing_is_lost_and_repeats_have_the_same_key(stack: Stack, step: str) -> None:
    transitions, due = story()
    stack.write(transitions)
    first = stack.start(step, 2)
    _, errors = first.communicate(timeout=BOUND)
    assert first.returncode == -signal.SIGKILL, errors.decode()
    second = stack.start()
    stack.receiver.wait_for(len(due), BOUND)
    deliveries = stack.read_deliveries(due)
    end(second)
    repeats = check(stack, due, crashes=1)
    assert sum(repeats.values()) <= 8  # what two recipients can have under way when the process dies
    outcomes = {(item.id, item.attempt): item.outcome for item in deliveries}
    assert Counter(key for (key, _), outcome in outcomes.items() if outcome == "delivered") == Counter(due)


def test_killed_again_and_again_at_random_moments(stack: Stack) -> None:
    transitions, due = story()
    stack.receiver.plan("/an", Status(500), Close(), Status(429, "0"), Status(503))
    chance = random.Random(20180905)
    crashes = 0
    for part in range(0, len(transitions), 3):
        stack.write(transitions[part : part + 3])
        process = stack.start(batch=2)
        time.sleep(0.8 + chance.random())
        process.kill()
        process.communicate()
        crashes += 1
    last = stack.start()
    stack.receiver.wait_for(len(due), BOUND)
    stack.read_deliveries(due)
    end(last)
    check(stack, due, crashes)


def test_frozen_past_its_lease_while_another_works(stack: Stack) -> None:
    transitions, due = story()
    stack.write(transitions)
    frozen = stack.start(batch=3)
    stack.receiver.wait_for(2, BOUND)
    frozen.send_signal(signal.SIGSTOP)
    other = stack.start()
    stack.receiver.wait_for(len(due), BOUND)
    frozen.send_signal(signal.SIGCONT)
    stack.write([transition(alert="late")])
    due |= {push_id("late", "late#1", person, "webhook") for person in ("an", "binh")}
    stack.receiver.wait_for(len(due), BOUND)
    stack.read_deliveries(due)
    end(frozen)
    end(other)
    check(stack, due, crashes=1)


def test_postgres_killed_meanwhile(embedded: str, tmp_path: Path) -> None:
    transitions, due = story()
    with (
        running_server() as own,
        own.database() as url,
        WebhookReceiver(secrets={"/an": "a", "/binh": "b"}) as receiver,
        Stack(embedded, url, receiver, tmp_path) as stack,
    ):
        stack.write(transitions[:9])
        process = stack.start(batch=2)
        receiver.wait_for(3, BOUND)
        own.stop("immediate")
        stack.write(transitions[9:])
        time.sleep(0.5)
        own.start()
        receiver.wait_for(len(due), BOUND)
        stack.read_deliveries(due)
        end(process)
        check(stack, due, crashes=1)


def test_on_apache_kafka(apache: str, server: TestServer, tmp_path: Path) -> None:
    transitions, due = story()
    with (
        server.database() as url,
        WebhookReceiver(secrets={"/an": "a", "/binh": "b"}) as receiver,
        Stack(apache, url, receiver, tmp_path) as stack,
    ):
        process = stack.start()
        stack.write(transitions)
        receiver.wait_for(len(due), BOUND)
        assert len(stack.read_deliveries(due)) == len(due)
        end(process)
        assert not check(stack, due, crashes=0)
