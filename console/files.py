"""What the pulse process says of the rule and reference files, read from a file beside its pid."""

from __future__ import annotations

from pathlib import Path

import msgspec


class FilesState(msgspec.Struct, frozen=True):
    """What became of the files as they were last read. Other parts of the file are skipped."""

    at: int = 0
    """When they were read, real time, ms; 0: nobody has said so yet."""
    hash: str = ""
    """Hash of the rules that are in force."""
    errors: list[str] = []
    """``file:line:column: …`` of each fault; what is in force stays in force."""


UNKNOWN = FilesState()


def read_files_state(path: Path) -> FilesState:
    """The newest state; `UNKNOWN` before the first, or where it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=FilesState)
    except (OSError, msgspec.DecodeError):
        return UNKNOWN
