"""Words in a row, as a sentence needs them."""

from __future__ import annotations

from collections.abc import Iterable


def listing(words: Iterable[str]) -> str:
    """``a, b or c``: the words in order."""
    items = list(words)
    if len(items) < 2:
        return "".join(items)
    return ", ".join(items[:-1]) + " or " + items[-1]
