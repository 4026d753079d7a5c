"""The nearest right spelling of a word, for error messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word most like ``word``, or an empty string when none is close.

    Letters of the other case count as equal. Of equally close words the first in sorted order wins.
    """
    return _nearest(word[:80], tuple(sorted(known)))


@lru_cache(maxsize=256)  # a sender with one wrong word sends it in every event
def _nearest(word: str, known: tuple[str, ...]) -> str:
    by_lower = {name.lower(): name for name in reversed(known)}
    matches = get_close_matches(word.lower(), sorted(by_lower), n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean "x"?`` to append to a message, or an empty string."""
    found = nearest(word, known)
    return f'; did you mean "{found}"?' if found else ""
