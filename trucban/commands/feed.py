"""``trucban send`` and ``trucban replay``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import BinaryIO

from feeds.clock import Anchor
from feeds.outlet import KafkaOutlet, read_meta
from schemas.civil import day_text
from schemas.errors import SettingsError
from trucban.addresses import broker_address
from trucban.settings import Settings


def send(settings: Settings, args: argparse.Namespace) -> int:
    """Publish a file's events; 1 if any was refused."""
    from feeds.send import read_lines, send_lines

    with _open(args.file) as stream:
        broker = broker_address(settings)
        outlet = KafkaOutlet(broker)
        sent = send_lines(
            read_lines(stream),
            outlet,
            read_meta(broker).clock or Anchor("wall", 0, 0, 1.0),
            lambda: time.time_ns() // 1_000_000,
            lambda text: print(text, file=sys.stderr),
        )
    print(f"accepted {sent.accepted}, rejected {sent.rejected}")
    return 1 if sent.rejected else 0


def replay(settings: Settings, args: argparse.Namespace) -> int:
    """Publish a foreign file into a stack whose clock is ``data``."""
    from feeds.nyc import load_index
    from feeds.nyc import replay as replay_nyc

    path = Path(args.file)
    index = load_index(path)
    broker = broker_address(settings)
    outlet = KafkaOutlet(broker)
    clock = read_meta(broker).clock
    if clock is None or clock.mode != "data":
        mode = "not known yet" if clock is None else clock.mode
        raise SettingsError(
            f"the clock of the stack at {broker} is {mode}: history goes only into one that was "
            "started with --clock data"
        )
    sent = replay_nyc(path, index, outlet, _progress)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(f"accepted {sent}, rejected 0")
    return 0


def _progress(day: int, sent: int, rows: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{day_text(day)}  {sent} of {rows} events", end="", file=sys.stderr, flush=True)


def _open(name: str) -> BinaryIO:
    if name == "-":
        return sys.stdin.buffer
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise SettingsError(f"{name} cannot be read: {error.strerror}") from error
