"""`trucban notify test` against local doubles of ntfy, Telegram, mail and a webhook's receiver."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
import structlog

from notify.apprise_carrier import AppriseCarrier
from notify.carriers import Answer, Message
from notify.message import compose
from notify.trial import look_at
from oncall import Channel, decide
from tests.support.alerts import roster, transition
from tests.support.services import MailDouble, TelegramDouble
from tests.support.webhook import Status, WebhookReceiver
from trucban.cli import main

# Apprise loads its plug-ins at first use; one of them imports a deprecated module of Python 3.11.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

TOKEN = "123456789:abcdefghijklmnopqrstuvwxyz-ABCDEFGH"
URL = "https://desk.example"


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """What the command does to logs ends with the test."""
    yield
    structlog.reset_defaults()
    logging.getLogger("apprise").propagate = True


def oncall(tmp_path: Path, *channels: str) -> str:
    path = tmp_path / "oncall.yaml"
    listed = "\n".join(f"      - {channel}" for channel in channels)
    path.write_text(
        f"people:\n  - code: an\n    name: Trần Thị An\n    channels:\n{listed}\n"
        "targets:\n  duty-officer: an\n"
    )
    return str(path)


def run(*arguments: str) -> int:
    return main(["notify", "test", *arguments, "--public-url", URL])


async def push(channel: Channel, **changes: object) -> Answer:
    """A real alert's push over a channel."""
    item = transition(places={"school_name": "Tiểu học Ngọc Hồi"}, **changes)
    body = compose(item, decide(item, roster(), 0)[0], roster().people["an"], URL)
    carrier = AppriseCarrier()
    try:
        return await carrier.send(Message("key", channel, body, 1_700_000_000))
    finally:
        await carrier.close()


ALERT = f"{URL}/alert/absence-spike%7Cschool%3D001%7C2018-09-05"
TITLE = "[P2] Vắng học bất thường: Tiểu học Ngọc Hồi"
TEST_TITLE = "[P3] TIN THỬ, không phải cảnh báo"
TEST_TEXT = "Trực ban gửi thử một tin tới Trần Thị An. Nếu đọc được tin này thì kênh hoạt động tốt."


def test_a_test_goes_over_every_channel_and_each_says_what_came_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with WebhookReceiver({"/an": "s"}) as receiver, MailDouble() as mail, TelegramDouble() as telegram:
        for name, value in telegram.environment.items():
            monkeypatch.setenv(name, value)
        file = oncall(
            tmp_path,
            f'{{kind: webhook, url: "{receiver.url("/an")}", secret: s}}',
            f'{{kind: apprise, name: ntfy, url: "ntfy://127.0.0.1:{receiver.port}/truc-ban"}}',
            f'{{kind: apprise, name: telegram, url: "tgram://{TOKEN}/4711/"}}',
            f'{{kind: apprise, name: mail, url: "mailto://127.0.0.1:{mail.port}?from=tb@example.vn&to=an@example.vn"}}',
        )
        assert run("an", "--oncall", file) == 0
    assert capsys.readouterr().out == (
        "an/webhook (webhook): delivered: HTTP 200\n"
        "an/ntfy (apprise): delivered: Apprise\n"
        "an/telegram (apprise): delivered: Apprise\n"
        "an/mail (apprise): delivered: Apprise\n"
    )
    hook = next(request for request in receiver.requests if request.path == "/an")
    assert hook.verified
    assert (hook.json()["rule"], hook.json()["link"]) == ("notify-test", f"{URL}/")
    note = next(request for request in receiver.requests if request.path == "/").json()
    assert (note["topic"], note["title"]) == ("truc-ban", TEST_TITLE)
    assert note["message"].startswith(f"{TEST_TEXT}\n{URL}/ #")
    (path, call), *more = telegram.calls
    assert (path, more) == (f"/bot{TOKEN}/sendMessage", [])
    assert call["chat_id"] == 4711
    assert TEST_TITLE in call["text"]
    assert f"{URL}/ #" in call["text"]
    (letter,) = mail.mails
    assert (letter.sender, letter.recipients) == ("tb@example.vn", ["an@example.vn"])
    assert letter.message["Subject"] == TEST_TITLE
    assert letter.message.get_content().startswith(TEST_TEXT)


async def test_ntfy_gets_title_text_priority_and_where_a_tap_leads() -> None:
    with WebhookReceiver() as receiver:
        channel = Channel("ntfy", "apprise", f"ntfy://127.0.0.1:{receiver.port}/truc-ban")
        for severity in ("P1", "P2", "P3", "P4"):
            assert await push(channel, severity=severity) == Answer("delivered", "Apprise")
        await push(channel, state="resolved", severity="P1")
        own = Channel("ntfy", "apprise", f"{channel.url}?priority=low&click=https://x.example/")
        await push(own, severity="P1")
    assert [request.headers.get("x-priority") for request in receiver.requests] == [
        "max", "high", None, "low", None, "low",
    ]  # fmt: skip
    second, last = receiver.requests[1], receiver.requests[-1]
    assert second.json()["title"] == TITLE
    assert second.json()["message"].startswith(f"001: vắng 21/100\n{ALERT} #")
    assert unquote(second.headers["x-click"]) == unquote(ALERT)
    assert "x-icon" not in second.headers
    assert last.headers["x-click"] == "https://x.example/"


async def test_a_mail_of_p1_and_p2_is_important() -> None:
    with MailDouble() as mail:
        url = f"mailto://127.0.0.1:{mail.port}?from=tb@example.vn&to=an@example.vn"
        for severity in ("P2", "P3"):
            await push(Channel("mail", "apprise", url), severity=severity)
    urgent, other = (each.message for each in mail.mails)
    assert (urgent["Subject"], urgent["X-Priority"], urgent["Importance"]) == (TITLE, "1", "high")
    assert f"{ALERT} #" in urgent.get_content()
    assert other["X-Priority"] is None


async def test_telegram_gets_title_text_and_link_and_says_why_it_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channel = Channel("telegram", "apprise", f"tgram://{TOKEN}/4711/")
    with TelegramDouble() as telegram:
        for name, value in telegram.environment.items():
            monkeypatch.setenv(name, value)
        assert await push(channel) == Answer("delivered", "Apprise")
        telegram.status, telegram.answer = 403, {"ok": False, "description": "bot was blocked by the user"}
        refused = await push(channel)
    text = telegram.calls[0][1]["text"]
    assert all(part in text for part in (TITLE, "001: vắng 21/100", f"{ALERT} #"))
    assert refused.outcome == "retry"
    assert refused.detail.startswith("Apprise could not deliver it: Failed to send Telegram notification")
    assert "bot was blocked by the user" in refused.detail
    assert TOKEN not in refused.detail


def test_what_went_wrong_is_said_with_what_to_look_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = probe.getsockname()[1]
    with WebhookReceiver() as receiver, MailDouble() as mail:
        mail.refuse = "550 no such user"
        receiver.plan("/an", Status(401))
        receiver.plan("/", Status(403))
        file = oncall(
            tmp_path,
            f'{{kind: webhook, url: "{receiver.url("/an")}", secret: s}}',
            f'{{kind: webhook, name: dead, url: "http://127.0.0.1:{closed}/", secret: s}}',
            f'{{kind: apprise, name: ntfy, url: "ntfy://127.0.0.1:{receiver.port}/truc-ban"}}',
            f'{{kind: apprise, name: mail, url: "mailto://127.0.0.1:{mail.port}?from=tb@example.vn&to=x@example.vn"}}',
            '{kind: apprise, name: typo, url: "telegramm://x"}',
        )
        assert run("an", "--oncall", file) == 1
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    credentials = "    look at the url's user, password or token, whether the service answers, and its limits"
    assert lines[:5] == [
        "an/webhook (webhook): NOT delivered: HTTP 401",
        "    look at the url's path, the secret, and the receiver's own log",
        "an/dead (webhook): NOT delivered: no answer: ConnectError",
        (
            "    look at whether something listens at the url's host and port, and what lies between "
            "(proxy, firewall)"
        ),
        (
            "an/ntfy (apprise): NOT delivered: Apprise could not deliver it: "
            "Failed to send ntfy notification to topic 'truc-ban': error=403."
        ),
    ]
    assert lines[5] == lines[7] == credentials
    assert lines[6].startswith("an/mail (apprise): NOT delivered: Apprise could not deliver it: ")
    assert lines[8:] == [
        "an/typo (apprise): NOT delivered: the address is not usable: Apprise does not know it",
        "    look at the channel's url in the on-call file",
    ]


def test_one_channel_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with WebhookReceiver() as receiver:
        hooks = [
            f'{{kind: webhook, name: {name}, url: "{receiver.url(f"/{name}")}", secret: s}}'
            for name in ("one", "two")
        ]
        assert run("an", "--channel", "two", "--oncall", oncall(tmp_path, *hooks)) == 0
    assert [request.path for request in receiver.requests] == ["/two"]
    assert capsys.readouterr().out == "an/two (webhook): delivered: HTTP 200\n"
    assert json.loads(receiver.requests[0].body)["title"]["vi"] == "TIN THỬ, không phải cảnh báo"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["ann"], 'there is no person "ann" in the roster; did you mean "an"?'),
        (["an", "--channel", "webhok"], 'an has no channel "webhok"; did you mean "webhook"?'),
    ],
)
def test_who_is_not_there_is_said_with_the_nearest_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    file = oncall(tmp_path, '{kind: webhook, url: "http://127.0.0.1:9/", secret: s}')
    assert run(*arguments, "--oncall", file) == 2
    assert capsys.readouterr().err == f"trucban notify test: {sentence}\n"


def test_without_a_roster_there_is_nobody(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("an") == 2
    assert capsys.readouterr().err == (
        "trucban notify test: say with --oncall which file names the people and their channels\n"
    )


def test_what_to_look_at_where_nothing_answers_in_time() -> None:
    assert look_at("apprise", "retry", "no answer within 6 s") == (
        "whether something listens at the url's host and port, and what lies between (proxy, firewall)"
    )
