"""``trucban send``, ``trucban replay`` and ``trucban feed``."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from feeds.clock import Anchor
from feeds.outlet import KafkaOutlet, Meta, read_meta
from schemas.civil import day_text
from schemas.errors import BrokerAway, SettingsError
from trucban.addresses import CLOCK_FILE, FED_FILE, broker_address, read_clock, run_directory, wait_until
from trucban.commands.processes import PATIENCE, begin, stop_at_signals
from trucban.settings import Settings

if TYPE_CHECKING:
    from schemas.organisation import Reference

LOOK_SECONDS = 0.5
ANCHOR_SECONDS = 5.0
AHEAD_SECONDS = 2.0
"""A feed may be so far ahead of the newest business time that was told, in real seconds."""


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
    """Send what was before a demo's start, then each civil day's events at the business clock until SIGTERM.

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
    outlet = KafkaOutlet(broker)
    prepared = _prepare(settings, reference, outlet, stop)
    if prepared is None:
        return 0
    clock = RunningClock(broker, run_directory(settings) / CLOCK_FILE)
    (run_directory(settings) / FED_FILE).write_text("", encoding="ascii")
    marker = run_directory(settings) / "feed.day"

    def wait(until: int) -> bool:
        return not stop.wait(min(1.0, max(0.0, (until - clock.now()) / 1000 / clock.anchor.rate)))

    current = resume_day(day_of(clock.now()), read_marker(marker))
    while not stop.is_set():
        write_marker(marker, current)
        events = day_events(reference, current, settings.scenario, settings.seed)
        send_paced((event for event in events if event.arrived > prepared), outlet, clock.now, wait)
        current += 1
    return 0


def _prepare(
    settings: Settings, reference: Reference, outlet: KafkaOutlet, stop: threading.Event
) -> int | None:
    """Send what was before the start that the pulse process holds.

    Gives up to which instant (ms) all is sent, 0 where no start is held; None: it was stopped.
    """
    from feeds.history import prepare, tell_prepared, wait_until_counted

    broker = broker_address(settings)
    if not wait_until(lambda: _says_anything(read_meta(broker)) or stop.is_set(), PATIENCE):
        raise SettingsError(f"the stack at {broker} tells no clock: start `trucban pulse` first")
    meta = read_meta(broker)
    hold, prepared = meta.hold or 0, meta.prepared or 0
    steps = prepare(reference, outlet, hold, prepared, scenario=settings.scenario, seed=settings.seed)
    for reached in steps:
        if reached == hold and not wait_until_counted(broker, outlet.partitions, hold, stop):
            return None
        tell_prepared(outlet, reached)
        if stop.is_set():
            return None
    return hold


class RunningClock:
    """The stack's business clock, never far ahead of what was told last: it stands while nobody tells it."""

    def __init__(self, broker: str, file: Path) -> None:
        self._broker, self._file = broker, file
        self.anchor = _running_clock(broker)
        self._anchored = self._looked = time.monotonic()
        self._limit = self._told()

    def now(self) -> int:
        """Business time, ms."""
        real = time.monotonic()
        if real - self._looked > LOOK_SECONDS:
            self._looked, self._limit = real, self._told()
        if real - self._anchored > ANCHOR_SECONDS:
            self._anchored = real
            with suppress(BrokerAway):
                self.anchor = read_meta(self._broker).clock or self.anchor
        return min(self._limit, self.anchor.now(time.time_ns() // 1_000_000))

    def _told(self) -> int:
        """How far it can be: nowhere is it said where the pulse process runs on another machine."""
        told = read_clock(self._file)
        return 2**62 if told is None else told + round(AHEAD_SECONDS * 1000 * self.anchor.rate)


def _says_anything(meta: Meta) -> bool:
    return meta.clock is not None or meta.hold is not None


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
