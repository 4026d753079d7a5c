"""docs/oncall.md says what is so: its roster is read, its verification verifies, its fields are there."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import msgspec

from notify.carriers import Message
from notify.message import Body
from notify.settings import NotifierSettings
from notify.webhook import WebhookCarrier
from oncall import Channel, parse_roster
from oncall.model import Outcome
from tests.support.webhook import WebhookReceiver

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "oncall.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_roster_on_the_page_is_read() -> None:
    roster = parse_roster(block("yaml"))
    assert set(roster.targets) == {"duty-officer", "principal", "leader"}
    assert roster.targets["principal"].people({"school": "002"}, "P2") == ("binh",)


async def test_the_verification_on_the_page_verifies_what_is_sent() -> None:
    page: dict[str, Any] = {}
    exec(block("python"), page)
    with WebhookReceiver() as receiver:
        carrier = WebhookCarrier()
        channel = Channel("webhook", "webhook", receiver.url("/x"), "the secret")
        await carrier.send(Message("k", channel, '{"à": 1}'.encode(), int(time.time())))
        await carrier.send(Message("k", channel, b"{}", int(time.time()) - 301))
        await carrier.close()
        recent, old = receiver.requests
    names = ("X-Trucban-Timestamp", "X-Trucban-Signature")
    headers = {name: recent.headers[name.lower()] for name in names}
    assert page["is_genuine"]("the secret", headers, recent.body)
    assert not page["is_genuine"]("another", headers, recent.body)
    assert not page["is_genuine"]("the secret", headers, recent.body + b" ")
    assert not page["is_genuine"]("the secret", {name: old.headers[name.lower()] for name in names}, old.body)


def test_every_field_and_outcome_is_described() -> None:
    for name in (field.encode_name for field in msgspec.structs.fields(Body)):
        assert f"`{name}`" in PAGE, name
    for outcome in Outcome.__args__:  # type: ignore[attr-defined]
        assert f"| `{outcome}` |" in PAGE, outcome


def test_the_durations_on_the_page_are_the_defaults() -> None:
    settings = NotifierSettings("", "")
    assert (settings.send_seconds, settings.lease_seconds, settings.retry_seconds) == (6.0, 8.0, 1.0)
    assert (settings.retry_cap_seconds, settings.give_up_seconds) == (300.0, 86_400.0)
