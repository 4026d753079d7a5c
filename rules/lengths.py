"""Lengths of time as rules write them: ``30s``, ``15m``, ``1h``, ``1h 30m``, ``2d``."""

from __future__ import annotations

import re

_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000}
_LENGTH = re.compile(r"(?:(\d+)d)?\s*(?:(\d+)h)?\s*(?:(\d+)m)?\s*(?:(\d+)s)?")
EXAMPLES = "a length such as 30s, 15m, 1h or 1h 30m"


def parse_length(text: str) -> int | None:
    """Milliseconds, or None when ``text`` is not a length."""
    found = _LENGTH.fullmatch(text.strip())
    if not text.strip() or found is None:
        return None
    return sum(int(part) * size for part, size in zip(found.groups(), _UNITS.values(), strict=True) if part)


def length_text(length: int) -> str:
    """The shortest spelling of a length of whole seconds."""
    parts = []
    for unit, size in _UNITS.items():
        count, length = divmod(length, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"
