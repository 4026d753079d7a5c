"""A test push to one person: through the sender and the carriers that real pushes go through."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from notify.carriers import Carrier
from notify.intake import Now
from notify.message import Body, Window, encode
from notify.sender import Sender
from notify.settings import NotifierSettings
from oncall import Channel, Decision, OncallRoster, Person, push_id
from schemas.errors import SettingsError
from schemas.nearest import did_you_mean
from schemas.wire import Transition
from store.desk import AlertBatch, AttemptOutcome, LogPlace, Planned
from store.desk_memory import MemoryDesk

RULE = "notify-test"
TITLE = {"vi": "TIN THỬ, không phải cảnh báo", "en": "TEST, not an alert"}
TEXT = {
    "vi": "Trực ban gửi thử một tin tới {}. Nếu đọc được tin này thì kênh hoạt động tốt.",
    "en": "Trực ban sends a test to {}. If you can read this, the channel works.",
}


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of the one attempt over a channel. ``look_at`` is empty where it was delivered."""

    channel: str
    kind: str
    outcome: AttemptOutcome
    detail: str
    look_at: str


def find_channels(roster: OncallRoster, code: str, channel: str = "") -> tuple[Person, list[Channel]]:
    """The person and the channels to try. Raises `SettingsError` where one is not in the roster."""
    person = roster.people.get(code)
    if person is None:
        raise SettingsError(f'there is no person "{code}" in the roster{did_you_mean(code, roster.people)}')
    names = [each.name for each in person.channels]
    if channel and channel not in names:
        raise SettingsError(f'{code} has no channel "{channel}"{did_you_mean(channel, names)}')
    return person, [each for each in person.channels if not channel or each.name == channel]


async def try_channels(
    roster: OncallRoster,
    person: Person,
    channels: Sequence[Channel],
    settings: NotifierSettings,
    carriers: Mapping[str, Carrier],
    *,
    now: Now,
) -> list[Tried]:
    """Send a test push over each channel, once, and say what came of it."""
    desk = MemoryDesk()
    alert = f"test-{uuid.uuid4().hex}"
    planned = [_planned(alert, person, channel, settings, now()) for channel in channels]
    batch = AlertBatch(LogPlace(RULE, 0, alert), 0, 1, (_transition(alert),))
    desk.take(batch, lambda _transition, _history: planned, now=now())
    stop = asyncio.Event()

    def recorded() -> None:
        if len({push for push, _ in desk.attempts}) == len(planned):
            stop.set()

    sender = Sender(desk, carriers, roster=lambda: roster, settings=settings, now=now, recorded=recorded)
    try:
        await sender.run(stop)
    finally:
        for carrier in carriers.values():
            await carrier.close()
    found = {attempt.delivery.channel: attempt.delivery for attempt in desk.attempts.values()}
    return [
        Tried(
            channel.name,
            channel.kind,
            found[channel.name].outcome,
            found[channel.name].detail,
            look_at(channel.kind, found[channel.name].outcome, found[channel.name].detail),
        )
        for channel in channels
    ]


def look_at(kind: str, outcome: AttemptOutcome, detail: str) -> str:
    """What to look at first when a channel did not deliver; empty when it did."""
    if outcome == "delivered":
        return ""
    if "not usable" in detail:
        return "the channel's url in the on-call file"
    if "no answer" in detail:
        return "whether something listens at the url's host and port, and what lies between (proxy, firewall)"
    if kind == "webhook":
        return "the url's path, the secret, and the receiver's own log"
    return "the url's user, password or token, whether the service answers, and its limits"


def _planned(alert: str, person: Person, channel: Channel, settings: NotifierSettings, now: int) -> Planned:
    push = push_id(alert, alert, person.code, channel.name)
    body = Body(
        id=push,
        alert=alert,
        transition=alert,
        ordinal=1,
        rule=RULE,
        severity="P3",
        state="firing",
        at=None,
        title={"vi": TITLE["vi"], "en": TITLE["en"]},
        text={"vi": TEXT["vi"].format(person.name), "en": TEXT["en"].format(person.name)},
        group={},
        place="",
        window=Window(None, None),
        link=f"{settings.public_url.rstrip('/')}/",
        languages=person.languages,
    )
    decision = Decision(
        transition=alert,
        alert=alert,
        ordinal=1,
        rule=RULE,
        episode=alert,
        window_start=0,
        severity="P3",
        person=person.code,
        channel=channel.name,
        phase="opening",
        outcome="pushed",
        reason="a test was asked for",
        push=push,
        at=now,
    )
    return Planned(decision, encode(body))


def _transition(alert: str) -> Transition:
    return Transition(
        id=alert, alert=alert, ordinal=1, rule=RULE, rule_hash="", severity="P3", status="active",
        group={}, window_start=0, window_end=0, state="firing", at=0, decided_at=0, reason="", measures={},
        limits={}, positions={}, event_ids=[], title=TITLE, text=TEXT, notify=[],
    )  # fmt: skip
