"""The roster in force: ``oncall.yaml``, read again when it changes."""

from __future__ import annotations

from pathlib import Path

import structlog

from oncall import OncallRoster, load_roster
from schemas.errors import DocumentError


class RosterFile:
    """Gives the newest good roster. A bad file never replaces a good one; it is said once.

    Raises `DocumentError` where the file is bad from the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger("notify")
        self._stamp = self._look()
        self._roster = load_roster(path)

    def __call__(self) -> OncallRoster:
        """The roster, after a look whether the file has changed."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._roster = load_roster(self._path)
                self._log.info("the on-call roster was read anew", people=len(self._roster.people))
            except DocumentError as error:
                self._log.error(
                    "the on-call roster is wrong; the one before stays in force", faults=str(error)
                )
        return self._roster

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
