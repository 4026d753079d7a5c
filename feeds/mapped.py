"""An event that named a school which nobody knows, with the code that it should have named. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from schemas.errors import SettingsError

_KEY = "school"


def parse_map(texts: Iterable[str]) -> dict[str, str]:
    """Read ``OLD=NEW`` pairs. Raises SettingsError."""
    found: dict[str, str] = {}
    for text in texts:
        old, _, new = text.partition("=")
        if not old or not new:
            raise SettingsError(f"--map {text!r} is not OLD=NEW, two school codes")
        if found.get(old, new) != new:
            raise SettingsError(f"--map names {old} twice: {found[old]} and {new}")
        found[old] = new
    return found


def map_schools(values: Iterable[bytes], codes: Mapping[str, str]) -> Iterator[bytes]:
    """Those events that name a school of ``codes``, with its new code; without ``codes`` all, as they are."""
    for value in values:
        if not codes:
            yield value
        elif (changed := map_school(value, codes)) is not None:
            yield changed


def map_school(value: bytes, codes: Mapping[str, str]) -> bytes | None:
    """The event with its school's new code, otherwise the same; None where it names none of ``codes``."""
    try:
        event = json.loads(value)
    except ValueError:
        return None
    changed = _mapped(event, codes)
    if changed == event:
        return None
    return json.dumps(changed, ensure_ascii=False, separators=(",", ":")).encode()


def _mapped(part: Any, codes: Mapping[str, str]) -> Any:
    """A JSON value in which each ``school`` has its new code (a Debezium envelope has it deep inside)."""
    if isinstance(part, list):
        return [_mapped(one, codes) for one in part]
    if not isinstance(part, dict):
        return part
    return {
        key: codes.get(one, one) if key == _KEY and isinstance(one, str) else _mapped(one, codes)
        for key, one in part.items()
    }
