"""Telegram, ntfy, mail and all else that the library Apprise reaches."""

from __future__ import annotations

import asyncio
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from urllib.parse import quote

import apprise

from notify.carriers import Answer, Message
from notify.message import STATE_WORDS, Words, words

THREADS = 8
NTFY_PRIORITY = {"P1": "max", "P2": "high", "P3": "default", "P4": "low"}
NOTIFY_TYPE = {"P1": apprise.NotifyType.FAILURE, "P4": apprise.NotifyType.INFO}
LOUD = frozenset({"P1", "P2"})

_ADDRESS = re.compile(r"\b[\w+]*:?[a-z]+://\S+")
# No picture from the library's own site: a push asks nobody's server for anything but its own delivery.
_ASSET = apprise.AppriseAsset(app_id="trucban", app_desc="Trực ban", image_url_mask="")


class AppriseCarrier:
    """Apprise is synchronous: each attempt takes a thread of a small pool.

    It tells only whether it went well, so a refusal is tried again like a fault on the way. Most
    of its services know no idempotency key: the text ends with the push's short id instead.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="apprise")

    async def send(self, message: Message) -> Answer:
        """One attempt."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _send, message)

    async def close(self) -> None:
        """Let the threads end by themselves: one that hangs must not hold up a stop."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _send(message: Message) -> Answer:
    said = words(message.body)
    service = apprise.Apprise(asset=_ASSET)
    if not service.add(fitted(message.channel.url, said)):
        return Answer("failed", "the address is not usable: Apprise does not know it")
    complaints: list[str] = []
    token = _SAID.set(complaints)
    try:
        sent = service.notify(
            body=said.text, title=said.title, notify_type=_kind(said), body_format=apprise.NotifyFormat.TEXT
        )
    finally:
        _SAID.reset(token)
    if sent:
        return Answer("delivered", "Apprise")
    return Answer("retry", ": ".join(["Apprise could not deliver it", *complaints[:1]]))


def _kind(said: Words) -> apprise.NotifyType:
    if said.state in STATE_WORDS:
        return apprise.NotifyType.SUCCESS
    return NOTIFY_TYPE.get(said.severity, apprise.NotifyType.WARNING)


def fitted(url: str, said: Words) -> str:
    """An Apprise address with what its service knows beyond title and text, where it says nothing of it.

    ntfy: how urgent it is, and where a tap leads. Mail: that a P1 or P2 is important.
    """
    service, over = url.partition("://")[0].lower(), said.state in STATE_WORDS
    wanted: dict[str, str] = {}
    if service in ("ntfy", "ntfys"):
        urgency = "P3" if over else said.severity
        wanted = {"priority": NTFY_PRIORITY.get(urgency, "default"), "click": said.link}
    elif service in ("mailto", "mailtos") and said.severity in LOUD and not over:
        wanted = {"+X-Priority": "1", "+Importance": "high"}
    added = [f"{name}={quote(value, safe='')}" for name, value in wanted.items() if f"{name}=" not in url]
    return url + ("&" if "?" in url else "?") + "&".join(added) if added else url


class _Complaints(logging.Handler):
    """Keeps what Apprise logs as wrong for the push it says it of, without addresses.

    Apprise works in threads of its own, to which it hands its caller's context.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        said = _SAID.get(None)
        if said is not None:
            said.append(_ADDRESS.sub("(address)", record.getMessage()))


_SAID: ContextVar[list[str]] = ContextVar("said")
logging.getLogger("apprise").addHandler(_Complaints(logging.WARNING))
