"""What `trucban doctor` looks at: each check takes what was found out and gives findings.

The checks do not ask the machine themselves (`trucban.commands.doctor` does), so each sentence has
its test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from schemas.errors import TrucbanError

Level = Literal["ok", "warning", "error"]

GB: Final = 1 << 30
LEAST_FREE: Final = 1 * GB
"""Less free space than this, and the embedded servers may stop in the middle of a day."""
GOOD_FREE: Final = 5 * GB
FIRST_YEAR: Final = 2026
"""A machine's clock that shows an earlier year was never set."""
BEHIND_MS: Final = 2_000
ZONE: Final = "Asia/Ho_Chi_Minh"
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*([^;]*)(;.*)?")
_BOUND = re.compile(r"(==|>=|<)\s*([0-9.]+)")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. ``do``: what to do about it; empty where all is well."""

    level: Level
    what: str
    do: str = ""


def python(version: tuple[int, ...]) -> Finding:
    """Is this Python new enough?"""
    shown = ".".join(map(str, version[:3]))
    if version[:2] < (3, 11):
        return Finding("error", f"Python is {shown}", "install Python 3.11 or newer, and make .venv anew")
    return Finding("ok", f"Python {shown}")


def libraries(requirements: Iterable[str], version_of: Callable[[str], str | None]) -> Iterator[Finding]:
    """Are the libraries there, in the versions that this was tried with? ``version_of`` None: not there."""
    right = 0
    for requirement in requirements:
        found = _REQUIREMENT.fullmatch(requirement)
        if found is None or "extra ==" in (found[3] or ""):
            continue  # only for development
        name, bounds = found[1], found[2].strip()
        version = version_of(name)
        if version is None:
            yield Finding("error", f"{name} is not installed", "run: make install")
        elif not _within(version, bounds):
            yield Finding("error", f"{name} is {version}, not {bounds}", "run: make install")
        else:
            right += 1
    yield Finding("ok", f"{right} libraries in their versions")


def _within(version: str, bounds: str) -> bool:
    mine = _numbers(version)
    for how, text in _BOUND.findall(bounds):
        other = _numbers(text)
        holds = {"==": mine == other, ">=": mine >= other, "<": mine < other}[how]
        if not holds:
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    plain = re.match(r"[0-9.]+", version)
    numbers = [int(part) for part in (plain[0] if plain else "0").strip(".").split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def disk(free: int, where: Path) -> Finding:
    """Is there room? ``free`` in bytes."""
    what = f"{free / GB:.1f} GB free at {where}"
    do = "free some space, or choose another --data-dir"
    if free < LEAST_FREE:
        return Finding("error", what, do)
    return Finding("warning", what, do) if free < GOOD_FREE else Finding("ok", what)


def clock(now: int, told: int | None, *, zone_known: bool) -> Iterator[Finding]:
    """Is the machine's clock sane? ``told``: the business time a wall clock told last; both ms."""
    shown = datetime.fromtimestamp(now / 1000, UTC)
    if shown.year < FIRST_YEAR:
        yield Finding("error", f"the machine's clock says {shown:%Y-%m-%d}", "set it, with NTP if possible")
    elif told is not None and told - now > BEHIND_MS:
        behind = (told - now) / 1000
        yield Finding(
            "error",
            f"the machine's clock is {behind:.0f} s before the business time told last",
            "set it right if it was set back, or choose another --data-dir if this one was a demo's",
        )
    else:
        yield Finding("ok", f"the machine's clock says {shown:%Y-%m-%d %H:%M} UTC")
    if zone_known:
        yield Finding("ok", f"civil time of {ZONE} is known")
    else:
        yield Finding("error", f"civil time of {ZONE} is not known", "run: make install (package tzdata)")


def program(name: str, path: str | None, what_for: str) -> Finding:
    """A program that is not needed for running."""
    if path is None:
        return Finding("warning", f"{name} is not there", f"install it for {what_for}; nothing else needs it")
    return Finding("ok", f"{name} at {path}")


def directory(where: Path, fault: str, holder: str) -> Finding:
    """Can the data directory be written to, and who holds its lock (pid; empty: nobody)?"""
    if fault:
        do = "change its owner or mode, or choose another --data-dir"
        return Finding("error", f"{where} cannot be written to: {fault}", do)
    if holder:
        return Finding("ok", f"{where} is in use by `trucban up` (pid {holder})")
    return Finding("ok", f"{where} can be written to, and nobody holds it")


def ports(faults: Iterable[str], count: int) -> Iterator[Finding]:
    """``faults``: the sentences of those that cannot be had, "port N is taken; choose another with …"."""
    found = list(faults)
    for fault in found:
        what, _, do = fault.partition("; ")
        yield Finding("error", what, f"stop what listens there, or {do}")
    if not found:
        yield Finding("ok", f"{count} ports are free")


def server(name: str, answer: Callable[[], str]) -> Finding:
    """A server that should answer; ``answer`` says what it said, or raises."""
    try:
        return Finding("ok", f"{name} answers: {answer()}")
    except TrucbanError as error:
        do = "look at `trucban status` and the logs in the data directory, or give another address"
        return Finding("error", f"{name}: {error}", do)


def documents(what: str, read: Callable[[], str]) -> Finding:
    """Files that people write; ``read`` says what they hold, or raises with all faults."""
    try:
        return Finding("ok", f"{what}: {read()}")
    except TrucbanError as error:
        return Finding("error", f"{what}: {error}", "correct it; what was in force stays in force until then")
