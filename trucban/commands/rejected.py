"""``trucban rejected``: what was refused, and sending it again."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict

from feeds.clock import Anchor
from feeds.mapped import map_schools, parse_map
from feeds.outlet import KafkaOutlet, read_meta
from feeds.send import send_lines
from schemas.errors import SettingsError
from store.clickhouse.client import ClickHouse
from store.rejected import RejectedGroup, rejected_groups, rejected_values
from trucban.addresses import broker_address, clickhouse_url
from trucban.settings import Settings


def show(settings: Settings, args: argparse.Namespace) -> int:
    """Print rejected events by source and reason, most first."""
    client = ClickHouse(clickhouse_url(settings), timeout=10)
    try:
        groups = rejected_groups(client, args.reason, args.source)
    finally:
        client.close()
    if args.json:
        print(json.dumps([asdict(group) for group in groups], ensure_ascii=False, indent=2))
    else:
        print(render(groups))
    return 0


def render(groups: list[RejectedGroup]) -> str:
    """The list for people."""
    if not groups:
        return "nothing was rejected"
    return "\n".join(
        f"{group.count:>7}  {group.source or '-'}  {group.reason}  {group.field or '-'}  {group.message}"
        for group in groups
    )


def replay(settings: Settings, args: argparse.Namespace) -> int:
    """Send rejected events again, after the reference data were mended or with another school code.

    An event that was counted meanwhile is a repeat: it has the same id. 1 if any is refused at once.
    """
    codes = parse_map(args.map)
    reason = args.reason or ("unknown_school" if codes else "")
    if not reason:
        raise SettingsError("say which: --reason REASON, or --map OLD=NEW for unknown schools")
    broker = broker_address(settings)
    client = ClickHouse(clickhouse_url(settings), timeout=30)
    try:
        sent = send_lines(
            map_schools(rejected_values(client, reason, args.source), codes),
            KafkaOutlet(broker),
            read_meta(broker).clock or Anchor("wall", 0, 0, 1.0),
            lambda: time.time_ns() // 1_000_000,
            lambda text: print(text, file=sys.stderr),
        )
    finally:
        client.close()
    print(f"accepted {sent.accepted}, rejected {sent.rejected}")
    return 1 if sent.rejected else 0
