"""``trucban send``, ``trucban replay`` and ``trucban feed``."""

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
from trucban.addresses import broker_address, run_directory, wait_until
from trucban.commands.processes import PATIENCE, begin, stop_at_signals
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


def day(settings: Settings, args: argparse.Namespace) -> int:
    """Send each civil day's events at the business clock until SIGTERM.

    After a kill the day under way is sent again from its beginning: its ids make repeats count once.
    """
    from feeds.day import day_events
    from feeds.pace import send_paced
    from schemas.civil import day_of
    from schemas.reference_files import load_reference

    if settings.reference is None:
        raise SettingsError("trucban feed needs --reference")
    begin(settings, args.name or "feed")
    stop = stop_at_signals()
    reference = load_reference(settings.reference)
    broker = broker_address(settings)
    anchor = _running_clock(broker)
    outlet = KafkaOutlet(broker)
    marker = run_directory(settings) / "feed.day"

    def now() -> int:
        return anchor.now(time.time_ns() // 1_000_000)

    def wait(until: int) -> bool:
        return not stop.wait(min(1.0, max(0.0, (until - now()) / 1000 / anchor.rate)))

    current = resume_day(day_of(now()), read_marker(marker))
    while not stop.is_set():
        write_marker(marker, current)
        send_paced(day_events(reference, current, settings.scenario, settings.seed), outlet, now, wait)
        current += 1
    return 0


def resume_day(today: int, begun: int | None) -> int:
    """The day to send first: yesterday where its sending was cut off, else today."""
    return today - 1 if begun == today - 1 else today


def read_marker(path: Path) -> int | None:
    """The day whose sending was begun last; None before the first."""
    try:
        return int(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return None


def write_marker(path: Path, current: int) -> None:
    """Note the day under way, all of it or nothing."""
    part = path.with_suffix(".part")
    part.write_text(str(current), encoding="ascii")
    part.replace(path)


def _running_clock(broker: str) -> Anchor:
    found: list[Anchor] = []

    def told() -> bool:
        clock = read_meta(broker).clock
        found.extend([clock] if clock else [])
        return clock is not None

    if not wait_until(told, PATIENCE):
        raise SettingsError(f"the stack at {broker} tells no clock: start `trucban pulse` first")
    if found[-1].mode == "data":
        raise SettingsError(f"the clock of the stack at {broker} is data: nothing would move it")
    return found[-1]


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
