"""The nearest right spelling of a word, for error messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word most like ``word``, or an empty string when none is close.

    Letters of the other case count as equal. Of equally close words the first in sorted order wins.
    """
    by_lower = {name.lower(): name for name in sorted(known, reverse=True)}
    matches = get_close_matches(word[:80].lower(), sorted(by_lower), n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean "x"?`` to append to a message, or an empty string."""
    found = nearest(word, known)
    return f'; did you mean "{found}"?' if found else ""
