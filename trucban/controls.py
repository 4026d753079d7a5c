"""Rules and reference data as they are in their files, and when a new version is to be published.

A version with a fault is told and never published: what is in force stays in force. Files that
somebody is still writing are not read: they are when two looks in a row find them the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from rules.check import check
from rules.load import load_rules
from schemas.errors import DocumentError, Fault
from schemas.reference import load_reference
from schemas.reference_files import CALENDAR_FILE, CLASSES_FILE
from schemas.wire import Config, RuleFile

Watched = dict[str, tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be published (``config`` None: nothing), and the hash of each part in it."""

    config: Config | None = None
    hashes: dict[str, str] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


class Controls:
    """Watches the files. ``published``: part → hash of what the log holds already."""

    def __init__(
        self,
        rules: Callable[[], list[RuleFile]],
        reference: Callable[[], bytes] | None,
        published: dict[str, str],
    ) -> None:
        self._rules = rules
        self._reference = reference
        self._published = dict(published)

    def poll(self) -> Change:
        """Read all files: what is new and good, and every fault there is."""
        faults: list[Fault] = []
        hashes: dict[str, str] = {}
        rules = reference = None
        try:
            rules = _checked(self._rules())
            hashes["rules"] = hash_rules(rules)
        except DocumentError as error:
            faults += error.faults
        if self._reference is not None:
            try:
                reference = self._reference()
                hashes["reference"] = hashlib.sha256(reference).hexdigest()
            except DocumentError as error:
                faults += error.faults
        new = {part: value for part, value in hashes.items() if self._published.get(part) != value}
        if not new:
            return Change(faults=tuple(faults))
        config = Config(
            rules=rules if "rules" in new else None, reference=reference if "reference" in new else None
        )
        return Change(config, new, tuple(faults))

    @property
    def published(self) -> dict[str, str]:
        """Part → hash of what the log holds."""
        return dict(self._published)

    def acknowledge(self, change: Change) -> dict[str, str]:
        """``change`` is on the log; gives all hashes that are published now."""
        self._published |= change.hashes
        return dict(self._published)


def hash_rules(files: list[RuleFile]) -> str:
    """A hash of rule files: of a delimited form, so that moving text between files changes it."""
    return hashlib.sha256(msgspec.json.encode([(file.path, file.text) for file in files])).hexdigest()


def watch(rules: Path, reference: Path | None, published: dict[str, str]) -> Controls:
    """Controls of two directories."""
    read = None if reference is None else ReferenceFiles(reference).read
    return Controls(lambda: load_rules(rules), read, published)


class ReferenceFiles:
    """A directory of reference data, in which a file that was there must stay.

    Rosters and the calendar may be left out from the beginning. Were they left out because somebody
    is just replacing a file, every class would be gone until it is back.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._had: frozenset[str] = frozenset()

    def read(self) -> bytes:
        """What a control record holds of it. Raises `DocumentError`."""
        there = {name for name in (CLASSES_FILE, CALENDAR_FILE) if (self._directory / name).exists()}
        if gone := sorted(self._had - there):
            raise DocumentError([_gone(name) for name in gone])
        content = load_reference(self._directory).to_json()
        self._had |= there
        return content


class Settling:
    """When files are to be read: they are not as they were read last, and nobody writes them."""

    def __init__(self, look: Callable[[], Watched]) -> None:
        self._look = look
        self._before: Watched | None = None
        self._read: Watched | None = None

    def is_due(self) -> bool:
        """Look again. The first time there is nothing to wait for."""
        now, before = self._look(), self._before
        self._before = now
        return now != self._read and before in (None, now)

    def read(self, poll: Callable[[], Change]) -> Change | None:
        """Read what the last look saw; None where it was changed meanwhile, and it is due again."""
        change = poll()
        if self._look() != self._before:
            return None
        self._read = self._before
        return change


class Reading:
    """Files that are read beside the pulses: a city's rosters take seconds."""

    def __init__(self, settling: Settling, poll: Callable[[], Change], threads: Executor) -> None:
        self._settling = settling
        self._poll = poll
        self._threads = threads
        self._under_way: Future[Change | None] | None = None

    def changed(self, patience: float | None = 0.0) -> Change | None:
        """What was found in changed files. Waits for a reading ``patience`` seconds (None: to its end)."""
        if self._under_way is None and self._settling.is_due():
            self._under_way = self._threads.submit(self._settling.read, self._poll)
        if self._under_way is None:
            return None
        done, _ = wait([self._under_way], timeout=patience)
        if not done:
            return None
        change = self._under_way.result()
        self._under_way = None
        return change


def look(*directories: Path | None) -> Watched:
    """Each file below with its inode, time of change and size: equal as long as nobody changed anything."""
    found: Watched = {}
    for directory in directories:
        if directory is None or not directory.is_dir():
            continue
        for path in sorted(directory.rglob("*")):
            try:
                state = path.stat()
            except FileNotFoundError:
                continue  # just removed: the next look sees it gone
            found[str(path)] = (state.st_ino, state.st_ctime_ns, state.st_size)
    return found


def _checked(files: list[RuleFile]) -> list[RuleFile]:
    """The files, if they can be put in force. Raises `DocumentError`."""
    if not files:
        raise DocumentError([Fault("rules", 0, 0, "there is no rule", "at least one file NAME.yaml")])
    if faults := check(files):
        raise DocumentError(faults)
    return files


def _gone(name: str) -> Fault:
    return Fault(name, 0, 0, "the file was there and is gone", "the file, or one without entries")
