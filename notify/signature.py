"""The signature of a webhook: what a receiver checks before it believes a push.

``X-Trucban-Signature: sha256=HEX`` is HMAC-SHA256, with the channel's secret as key, over the
value of ``X-Trucban-Timestamp`` (seconds since the Unix epoch, at the time of sending), a full
stop, and the body's bytes as they came.
"""

from __future__ import annotations

import hashlib
import hmac

SIGNATURE = "X-Trucban-Signature"
TIMESTAMP = "X-Trucban-Timestamp"
IDEMPOTENCY_KEY = "Idempotency-Key"
TOLERANCE_SECONDS = 300


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """Value of ``X-Trucban-Signature``."""
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"sha256={digest.hexdigest()}"


def verify(secret: str, timestamp: str, signature: str, body: bytes, *, now: float) -> bool:
    """Is a request ours, unaltered, and at most `TOLERANCE_SECONDS` old (or early)?"""
    if not (timestamp.isascii() and timestamp.isdigit()):
        return False
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    return hmac.compare_digest(sign(secret, int(timestamp), body).encode(), signature.encode())
