"""Signed webhooks over HTTP."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

import httpx

from notify.carriers import Answer, Message
from notify.signature import IDEMPOTENCY_KEY, SIGNATURE, TIMESTAMP, sign
from store.desk import AttemptOutcome

RETRIED = frozenset({408, 425, 429})
"""Client errors that say "later"; every other 4xx says "never"."""
LONGEST_RETRY_AFTER = 3600.0


class WebhookCarrier:
    """POSTs the body, signed. 2xx is delivered; a redirect is not followed, as it may leave the house."""

    def __init__(self, client: httpx.AsyncClient | None = None) -> None:
        self._client = client or httpx.AsyncClient(
            timeout=httpx.Timeout(10.0, connect=5.0), follow_redirects=False
        )

    async def send(self, message: Message) -> Answer:
        """One attempt."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "trucban",
            IDEMPOTENCY_KEY: message.key,
            TIMESTAMP: str(message.sent_at),
            SIGNATURE: sign(message.channel.secret, message.sent_at, message.body),
        }
        try:
            # The answer's body is not read: nobody needs it, and it may have no end.
            async with self._client.stream(
                "POST", message.channel.url, content=message.body, headers=headers
            ) as response:
                return judge(response.status_code, response.headers.get("Retry-After"), message.sent_at)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            return Answer("failed", f"the address is not usable: {type(error).__name__}")
        except httpx.HTTPError as error:
            return Answer("retry", f"no answer: {type(error).__name__}")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def judge(status: int, retry_after: str | None, now: float) -> Answer:
    """What an HTTP status means for a push."""
    outcome: AttemptOutcome
    if 200 <= status < 300:
        outcome = "delivered"
    elif status >= 500 or status in RETRIED:
        outcome = "retry"
    else:
        outcome = "failed"
    wait = read_retry_after(retry_after, now) if status in (429, 503) else None
    return Answer(outcome, f"HTTP {status}", wait)


def read_retry_after(value: str | None, now: float) -> float | None:
    """Seconds a ``Retry-After`` asks for (a number, or an HTTP date), at most an hour; None if unreadable."""
    if value is None:
        return None
    text = value.strip()
    try:
        seconds = float(text) if text.isascii() and text.isdigit() else _until(text, now)
    except ValueError:
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def _until(date: str, now: float) -> float:
    at = parsedate_to_datetime(date)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now
