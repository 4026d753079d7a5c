"""One contract for every carrier, against a real receiver, and what is HTTP's own."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import httpx
import pytest

from notify.apprise_carrier import AppriseCarrier
from notify.carriers import Answer, Carrier, Message
from notify.message import compose
from notify.webhook import WebhookCarrier, judge, read_retry_after
from oncall import Channel, decide
from tests.support.alerts import roster, transition
from tests.support.carriers import MemoryCarrier
from tests.support.webhook import Close, Hang, Status, WebhookReceiver

NOW = 1_700_000_000

# Apprise loads its plug-ins at first use; one of them imports a deprecated module of Python 3.11.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver(secrets={"/an": "an-secret"}) as made:
        yield made


def body() -> bytes:
    decision = decide(transition(), roster(), 0)[0]
    return compose(transition(), decision, roster().people["an"], "http://desk")


def message(receiver: WebhookReceiver, kind: str = "webhook") -> Message:
    url = receiver.url("/an") if kind != "apprise" else f"json://127.0.0.1:{receiver.port}/an?rto=2&cto=2"
    channel = Channel(kind, "apprise" if kind == "apprise" else "webhook", url, "an-secret")
    return Message("key-1", channel, body(), NOW)


class Case:
    """A carrier with its messages, and how its receiver is made to fail."""

    def __init__(self, kind: str, receiver: WebhookReceiver) -> None:
        self.kind, self.receiver = kind, receiver
        self.memory = MemoryCarrier()
        made: dict[str, Carrier] = {"memory": self.memory}
        self.carrier: Carrier = made.get(kind) or (
            AppriseCarrier() if kind == "apprise" else WebhookCarrier(httpx.AsyncClient(timeout=2.0))
        )
        self.message = message(receiver, kind)

    def fail(self) -> None:
        self.receiver.plan("/an", Status(500))
        self.memory.plan.append(Answer("retry", "HTTP 500"))

    def seen(self) -> list[bytes]:
        if self.kind == "memory":
            return [each.body for each in self.memory.sent]
        return [each.body for each in self.receiver.requests]


@pytest.fixture(params=["memory", "webhook", "apprise"])
async def case(request: pytest.FixtureRequest, receiver: WebhookReceiver) -> AsyncIterator[Case]:
    made = Case(request.param, receiver)
    yield made
    await made.carrier.close()


async def test_a_message_is_delivered(case: Case) -> None:
    answer = await case.carrier.send(case.message)
    assert answer.outcome == "delivered"
    assert len(case.seen()) == 1


async def test_a_fault_on_the_other_side_is_tried_again(case: Case) -> None:
    case.fail()
    assert (await case.carrier.send(case.message)).outcome == "retry"
    assert (await case.carrier.send(case.message)).outcome == "delivered"
    first, second = case.seen()
    assert first == second


async def test_messages_go_side_by_side(case: Case) -> None:
    answers = await asyncio.gather(*(case.carrier.send(replace(case.message, key=str(n))) for n in range(5)))
    assert [answer.outcome for answer in answers] == ["delivered"] * 5
    assert len(case.seen()) == 5


async def test_a_webhook_is_signed(receiver: WebhookReceiver) -> None:
    carrier = WebhookCarrier()
    sent = replace(message(receiver), sent_at=int(time.time()))
    assert await carrier.send(sent) == Answer("delivered", "HTTP 200")
    await carrier.close()
    request = receiver.requests[0]
    assert request.verified
    assert request.key == "key-1"
    assert request.headers["content-type"] == "application/json"
    assert request.body == sent.body


def test_a_request_cut_off_in_its_body_is_none(receiver: WebhookReceiver) -> None:
    with socket.create_connection(("127.0.0.1", receiver.port)) as connection:
        connection.sendall(b"POST /an HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (Status(204), Answer("delivered", "HTTP 204")),
        (Status(302), Answer("failed", "HTTP 302")),
        (Status(400), Answer("failed", "HTTP 400")),
        (Status(404, "5"), Answer("failed", "HTTP 404")),
        (Status(408), Answer("retry", "HTTP 408")),
        (Status(425), Answer("retry", "HTTP 425")),
        (Status(429, "7"), Answer("retry", "HTTP 429", 7.0)),
        (Status(500, "7"), Answer("retry", "HTTP 500")),
        (Status(503, "7"), Answer("retry", "HTTP 503", 7.0)),
        (Close(), Answer("retry", "no answer: RemoteProtocolError")),
        (Hang(5), Answer("retry", "no answer: ReadTimeout")),
    ],
)
async def test_what_a_receiver_does_and_what_it_means(
    receiver: WebhookReceiver, status: Status | Close | Hang, answer: Answer
) -> None:
    receiver.plan("/an", status)
    carrier = WebhookCarrier(httpx.AsyncClient(timeout=0.3))
    assert await carrier.send(message(receiver)) == answer
    await carrier.close()


async def test_a_receiver_that_is_not_there(receiver: WebhookReceiver) -> None:
    carrier = WebhookCarrier()
    dead = Channel("webhook", "webhook", "http://127.0.0.1:9/x", "s")
    assert await carrier.send(replace(message(receiver), channel=dead)) == Answer(
        "retry", "no answer: ConnectError"
    )
    bad = Channel("webhook", "webhook", "ftp://127.0.0.1/x", "s")
    assert await carrier.send(replace(message(receiver), channel=bad)) == Answer(
        "failed", "the address is not usable: UnsupportedProtocol"
    )
    await carrier.close()


async def test_an_address_apprise_does_not_know(receiver: WebhookReceiver) -> None:
    carrier = AppriseCarrier()
    bad = Channel("apprise", "apprise", "nothing://x")
    assert await carrier.send(replace(message(receiver), channel=bad)) == Answer(
        "failed", "the address is not usable: Apprise does not know it"
    )
    await carrier.close()


async def test_apprise_sends_words_and_says_when_it_cannot(receiver: WebhookReceiver) -> None:
    carrier = AppriseCarrier()
    receiver.plan("/an", Status(200), Status(400))
    sent = message(receiver, "apprise")
    assert await carrier.send(sent) == Answer("delivered", "Apprise")
    assert await carrier.send(sent) == Answer(
        "retry",
        "Apprise could not deliver it: Failed to send JSON POST notification: "
        "Bad Request - Unsupported Parameters., error=400.",
    )
    await carrier.close()
    assert receiver.requests[0].json()["title"] == "[P2] Vắng học bất thường: 001"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 0 ", 0.0),
        ("99999999", 3600.0),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        ("Tue, 14 Nov 2023 22:13:50 -0000", 30.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("soon", None),
        ("-3", None),
        ("1.5", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert read_retry_after(value, NOW) == seconds


def test_only_429_and_503_may_ask_for_a_wait() -> None:
    assert [judge(code, "3", NOW).retry_after for code in (200, 429, 500, 502, 503)] == [
        None,
        3.0,
        None,
        None,
        3.0,
    ]
