"""What the notifier can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class NotifierSettings:
    """Settings of one notifier process. Durations are in seconds of real time."""

    broker: str
    """Kafka, HOST:PORT."""
    database: str = field(repr=False)
    """PostgreSQL, postgresql://…"""
    oncall: Path | None = None
    """``oncall.yaml``. None: nobody is told, and what passes meanwhile is not made up for."""
    public_url: str = "http://127.0.0.1:8600"
    """Where people reach the desk: the root of the links in pushes."""
    lease_seconds: float = 8.0
    """How long a sender may hold a push. Longer than ``send_seconds``, and short enough that a push
    whose sender was killed goes out again within 10 s."""
    send_seconds: float = 6.0
    """How long one attempt may take in all."""
    batch: int = 500
    """Most transitions decided in one transaction."""
    gather_seconds: float = 0.25
    """How long what came is held for what comes with it, unless it is a P1: many become one push."""
    sending: int = 32
    """Most pushes under way at once."""
    sending_per_recipient: int = 4
    """Most pushes begun at once to one person over one channel."""
    retry_seconds: float = 1.0
    """Wait after the first attempt that failed; it doubles with each."""
    retry_cap_seconds: float = 300.0
    give_up_seconds: float = 24 * 3600.0
    """Age at which a push that still meets failures is marked failed."""
    poll_seconds: float = 0.5
    """How often the outbox is looked at when nothing new was written into it."""
    stop_seconds: float = 10.0
    """How long a clean stop waits for attempts that are under way."""
    seed: int | None = None
    """Seed of the jitter; None: another one each time."""
