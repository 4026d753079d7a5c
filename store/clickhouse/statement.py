"""Just enough of SQL's tokens to separate an INSERT from its data and a query from its FORMAT.

Only bytes before the data are read as SQL; the data itself may be anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from store.clickhouse.errors import INTO_OUTFILE_NOT_ALLOWED, UNKNOWN_TYPE_OF_QUERY, refuse

_TOKEN = re.compile(
    rb"""(?P<skip>\s+|--[^\n]*|\#[ !][^\n]*|/\*.*?\*/)
    |(?P<quoted>'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.)*`|"(?:[^"\\]|\\.)*")
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_AFTER_FORMAT = re.compile(rb"[ \t\f]*\r?\n?")
_NAMES_FOLLOW = {"INTO", "TABLE", "FUNCTION", "."}


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT whose rows come as data: the statement up to FORMAT or VALUES, the format, the bytes."""

    head: str
    format: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Query:
    """A statement without data: its text without the FORMAT clause, and the format it names ('' if none)."""

    text: str
    bare: str
    format: str


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int
    end: int


def _top_level(sql: bytes) -> Iterator[_Token]:
    """Tokens outside brackets; words in upper case, anything quoted as an empty text."""
    depth = 0
    for match in _TOKEN.finditer(sql):
        if match.lastgroup == "skip":
            continue
        raw = match[0]
        depth -= raw in (b")", b"]", b"}")
        if depth == 0:
            quoted = match.lastgroup == "quoted"
            text = "" if quoted else raw.decode("latin-1").upper()
            yield _Token(text, match.start(), match.end())
        depth += raw in (b"(", b"[", b"{")


def split_insert(sql: bytes) -> Insert | None:
    """The parts of ``INSERT … FORMAT x`` or ``INSERT … VALUES`` and its data; None for anything else.

    Raises `EngineError` 78 for ``FROM INFILE``, which a server must not read.
    """
    tokens = _top_level(sql)
    first = next(tokens, None)
    if first is None or first.text != "INSERT":
        return None
    before = first.text
    for token in tokens:
        if token.text in ("SELECT", "WITH", "WATCH"):
            return None
        if token.text == "INFILE" and before == "FROM":
            raise refuse(UNKNOWN_TYPE_OF_QUERY, "UNKNOWN_TYPE_OF_QUERY", "FROM INFILE is not allowed.")
        if token.text == "VALUES" and before not in _NAMES_FOLLOW:
            return Insert(_text(sql[: token.start]), "Values", sql[token.end :])
        if token.text == "FORMAT" and before not in _NAMES_FOLLOW:
            return _with_format(sql, token, tokens)
        before = token.text
    return None


def _with_format(sql: bytes, keyword: _Token, tokens: Iterator[_Token]) -> Insert | None:
    name = next(tokens, None)
    if name is None:
        return None
    data = _AFTER_FORMAT.match(sql, name.end)
    start = data.end() if data else name.end
    return Insert(_text(sql[: keyword.start]), _text(sql[name.start : name.end]), sql[start:])


def read_query(sql: bytes) -> Query:
    """A statement that carries no data. Raises `EngineError` 113 for ``INTO OUTFILE``."""
    tokens = [token for token in _top_level(sql) if token.text != ";"]
    for before, token in pairwise(tokens):
        if before.text == "INTO" and token.text == "OUTFILE":
            raise refuse(INTO_OUTFILE_NOT_ALLOWED, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed.")
    text = _text(sql[: tokens[-1].end]) if tokens else ""
    clause = _format_clause(tokens)
    if clause is None:
        return Query(text, text, "")
    keyword, name = clause
    bare = sql[: keyword.start] + sql[name.end : tokens[-1].end]
    return Query(text, _text(bare).rstrip(), _text(sql[name.start : name.end]))


def _format_clause(tokens: list[_Token]) -> tuple[_Token, _Token] | None:
    """``FORMAT name`` at the end of the statement, or just before a last SETTINGS clause."""
    for at in range(len(tokens) - 2, 0, -1):
        if tokens[at].text == "FORMAT":
            last = at + 2 == len(tokens) or tokens[at + 2].text == "SETTINGS"
            return (tokens[at], tokens[at + 1]) if last else None
    return None


def _text(sql: bytes) -> str:
    """SQL as the engine's binding takes it: any byte survives the round trip."""
    return sql.decode("utf-8", "surrogateescape")
