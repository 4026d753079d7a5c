"""A strict reader of JSON: what RFC 8259 leaves open is refused, and every fault has a place.

Refused: invalid UTF-8, repeated keys, NaN and Infinity, integers beyond 64 bits, numbers too great
for a double, unpaired surrogates, nesting deeper than 32.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Final

MAX_DEPTH: Final = 32
INT64: Final = range(-(2**63), 2**63)

# A string may lack its end: it is taken whole nevertheless, so that no text is looked at twice.
_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


class JsonFault(Exception):
    """A document is not strict JSON.

    ``value`` is what could be read of it (None when nothing could), so that a reject can still name
    the event.
    """

    def __init__(self, reason: str, field: str, message: str, value: Any = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field
        self.message = message
        self.value = value


@dataclass(frozen=True, slots=True)
class _Flaw:
    """Stands in the tree for a value that must not be there."""

    reason: str
    message: str
    key: str = ""
    value: Any = None


def read_json(raw: bytes) -> Any:
    """The value of a JSON document. Raises `JsonFault` for anything that is not strict JSON."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        message = f"byte {error.start} is not valid UTF-8; expected UTF-8 text"
        raise JsonFault("not_utf8", "", message) from None
    _check_depth(text)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise JsonFault("not_json", "", f"not JSON at {at}: {error.msg}") from None
    flaws: list[tuple[str, _Flaw]] = []
    clean = _cleaned(value, "", flaws)
    if flaws:
        path, flaw = flaws[0]
        raise JsonFault(flaw.reason, path, flaw.message, clean)
    return value


def _check_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for token in _STRUCTURE.finditer(text):
        char = token.group()
        if char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
        if depth > MAX_DEPTH:
            raise JsonFault("too_deep", "", f"nested deeper than {MAX_DEPTH} levels")


def _pairs(pairs: list[tuple[str, Any]]) -> Any:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    return _Flaw("duplicate_key", f"the key {shown(twice)} occurs more than once in one object", twice, found)


def _constant(name: str) -> Any:
    return _Flaw("not_json", f"{name} is not a JSON number")


def _integer(digits: str) -> Any:
    if len(digits) <= 20 and (value := int(digits)) in INT64:
        return value
    return _Flaw("invalid", f"the integer {_cut(digits)} does not fit in 64 bits")


def _float(digits: str) -> Any:
    value = float(digits)
    return value if math.isfinite(value) else _Flaw("invalid", f"the number {_cut(digits)} is too great")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_constant=_constant, parse_int=_integer, parse_float=_float
)


def _cleaned(value: Any, path: str, flaws: list[tuple[str, _Flaw]]) -> Any:
    """``value`` without the flaws in it, which are appended to ``flaws`` with their places."""
    match value:
        case _Flaw():
            flaws.append((_join(path, value.key) if value.key else path, value))
            return _cleaned(value.value, path, flaws)
        case str() if _SURROGATE.search(value):
            flaws.append((path, _Flaw("not_json", "an unpaired surrogate is not a character")))
            return None
        case dict():
            return {
                _cleaned(key, path, flaws): _cleaned(item, _join(path, key), flaws)
                for key, item in value.items()
            }
        case list():
            return [_cleaned(item, f"{path}[{index}]", flaws) for index, item in enumerate(value)]
    return value


def _join(path: str, key: str) -> str:
    name = _cut(_SURROGATE.sub("\ufffd", key), 64)
    return f"{path}.{name}" if path else name


def _cut(text: str, length: int = 40) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def shown(value: Any) -> str:
    """A value as it is quoted in a message: JSON, cut to 60 characters, safe to print."""
    text = json.dumps(value, ensure_ascii=False)
    return _cut(_SURROGATE.sub("\ufffd", text), 60)
