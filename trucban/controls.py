"""Rules and reference data as they are in their files, and when a new version is to be published.

A version with a fault is told and never published: what is in force stays in force.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from rules.load import check_files, load_rules
from schemas.errors import DocumentError, Fault
from schemas.reference import load_reference
from schemas.wire import Config, RuleFile

Watched = dict[str, tuple[int, int]]


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
            files = self._rules()
            _, wrong = check_files(files)
            if wrong:
                raise DocumentError(wrong)
            rules, hashes["rules"] = files, hash_rules(files)
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

    def acknowledge(self, change: Change) -> dict[str, str]:
        """``change`` is on the log; gives all hashes that are published now."""
        self._published |= change.hashes
        return dict(self._published)


def hash_rules(files: list[RuleFile]) -> str:
    """A hash of rule files: of a delimited form, so that moving text between files changes it."""
    return hashlib.sha256(msgspec.json.encode([(file.path, file.text) for file in files])).hexdigest()


def watch(rules: Path, reference: Path | None, published: dict[str, str]) -> Controls:
    """Controls of two directories."""
    if reference is None:
        return Controls(lambda: load_rules(rules), None, published)
    directory = reference
    return Controls(lambda: load_rules(rules), lambda: load_reference(directory).to_json(), published)


def look(*directories: Path | None) -> Watched:
    """Names, sizes and times of the files below: equal as long as nobody changed anything."""
    found: Watched = {}
    for directory in directories:
        if directory is None or not directory.is_dir():
            continue
        for path in sorted(directory.rglob("*")):
            try:
                state = path.stat()
            except FileNotFoundError:
                continue  # just removed: the next look sees it gone
            found[str(path)] = (state.st_mtime_ns, state.st_size)
    return found
