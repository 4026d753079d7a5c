"""Fields that have only certain values: a comparison with another text can never hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from rules.listing import listing
from rules.sql import Node, Problem
from rules.sql.tree import Comparison, In, Literal, Name, walk

Choices = Mapping[str, Sequence[str]]


def wrong_choices(node: Node, choices: Choices) -> list[Problem]:
    """Texts that a name with ``choices`` is compared with and never has."""
    return [problem for part in walk(node) for problem in _wrong(part, choices)]


def _wrong(part: Node, choices: Choices) -> Iterator[Problem]:
    match part:
        case Comparison(op="=" | "<>", left=Name(name=name), right=Literal() as value):
            yield from _check(name, value, choices)
        case Comparison(op="=" | "<>", left=Literal() as value, right=Name(name=name)):
            yield from _check(name, value, choices)
        case In(subject=Name(name=name), items=items):
            for item in items:
                if isinstance(item, Literal):
                    yield from _check(name, item, choices)


def _check(name: str, value: Literal, choices: Choices) -> Iterator[Problem]:
    known = choices.get(name)
    if known and isinstance(value.value, str) and value.value not in known:
        close = get_close_matches(value.value, known, n=1, cutoff=0.8)  # of few words one is always near
        expected = "" if close else listing(known)
        yield Problem(value.offset, f"{name} is never {value.value!r}", expected, "".join(close))
