"""``trucban notify test``: does a push reach this person?"""

from __future__ import annotations

import argparse
import asyncio
import logging

import structlog

from notify.notifier import all_carriers, real_now
from notify.settings import NotifierSettings
from notify.trial import Tried, find_channels, try_channels
from oncall import load_roster
from schemas.errors import SettingsError
from trucban.addresses import console_url
from trucban.settings import Settings

ONCE = 3600.0
"""Seconds to a second attempt: nobody waits for it."""


def test(settings: Settings, args: argparse.Namespace) -> int:
    """Print for each channel what came of a test push; 1 where one was not delivered."""
    if settings.oncall is None:
        raise SettingsError("say with --oncall which file names the people and their channels")
    logging.getLogger("apprise").propagate = False  # what is said is in the report
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    roster = load_roster(settings.oncall)
    person, channels = find_channels(roster, args.person, args.channel)
    chosen = NotifierSettings(
        broker="", database="", public_url=console_url(settings), retry_seconds=ONCE, retry_cap_seconds=ONCE
    )
    tried = asyncio.run(try_channels(roster, person, channels, chosen, all_carriers(), now=real_now))
    print(render(person.code, tried))
    return 0 if all(each.outcome == "delivered" for each in tried) else 1


def render(person: str, tried: list[Tried]) -> str:
    """The report for people."""
    lines = []
    for each in tried:
        what = "delivered" if each.outcome == "delivered" else "NOT delivered"
        lines.append(f"{person}/{each.channel} ({each.kind}): {what}: {each.detail}")
        if each.look_at:
            lines.append(f"    look at {each.look_at}")
    return "\n".join(lines)
