"""Telegram, Teams, mail and all else that the library Apprise reaches."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import apprise

from notify.carriers import Answer, Message
from notify.message import words

THREADS = 8


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
    service = apprise.Apprise()
    if not service.add(message.channel.url):
        return Answer("failed", "the address is not usable: Apprise does not know it")
    text = words(message.body)
    if service.notify(body=text.text, title=text.title, body_format=apprise.NotifyFormat.TEXT):
        return Answer("delivered", "Apprise")
    return Answer("retry", "Apprise could not deliver it")
