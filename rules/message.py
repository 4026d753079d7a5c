"""Texts of alerts in Vietnamese and English, with numbers as each language writes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from rules.listing import listing
from rules.model import Text
from rules.sql import Problem
from schemas.civil import OFFSET_MS
from schemas.nearest import nearest

Language = Literal["vi", "en"]

MISSING = "–"
TIMES = ("at", "since")
"""Placeholders that are instants (ms since the epoch)."""
WORDS: dict[str, dict[str, dict[Language, str]]] = {
    "session": {
        "morning": {"vi": "buổi sáng", "en": "morning"},
        "afternoon": {"vi": "buổi chiều", "en": "afternoon"},
        "full_day": {"vi": "cả ngày", "en": "full day"},
    }
}
"""Values that people read in words: placeholder → value → language → words."""
FORMATS = ("%", "%0", "%1", "%2", ".0", ".1", ".2", ".3", "time", "date")

Value = float | int | str | None

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_ZONE = timezone(timedelta(milliseconds=OFFSET_MS))


@dataclass(frozen=True, slots=True)
class Placeholder:
    """``{name}`` or ``{name:format}`` at an offset of the template."""

    name: str
    format: str
    offset: int


def placeholders(template: str) -> Iterator[Placeholder]:
    """The placeholders of a template, in order. ``{{`` and ``}}`` are plain braces."""
    for found in _PLACEHOLDER.finditer(template):
        if found.group(1) is not None:
            name, _, format_ = found.group(1).partition(":")
            yield Placeholder(name.strip(), format_.strip(), found.start())


def check(
    template: str, numbers: Collection[str], texts: Collection[str], lists: Collection[str] = ()
) -> list[Problem]:
    """What is wrong with a template whose placeholders may be these names or `TIMES`.

    ``lists``: numbers whose members ``{name:list}`` lists.
    """
    found = [
        Problem(
            brace.start(),
            f"a single {brace.group()!r} stands here",
            f"{brace.group() * 2} for a brace itself",
        )
        for brace in _PLACEHOLDER.finditer(template)
        if brace.group() in ("{", "}")
    ]
    for placeholder in placeholders(template):
        found += _check_placeholder(placeholder, numbers, texts, lists)
    return found


def _check_placeholder(
    placeholder: Placeholder, numbers: Collection[str], texts: Collection[str], lists: Collection[str]
) -> Iterator[Problem]:
    name, offset = placeholder.name, placeholder.offset + 1
    known = [*numbers, *texts, *TIMES]
    if name not in known:
        close = nearest(name, known)
        expected = "" if close else listing(sorted(known))
        yield Problem(offset, f"placeholder {name!r} is not known", expected, close)
        return
    if name in TIMES:
        allowed: tuple[str, ...] = ("", "time", "date")
    else:
        allowed = ("", *FORMATS[:-2]) if name in numbers else ("",)
        allowed = (*allowed, "list") if name in lists else allowed
    if placeholder.format not in allowed:
        message = f"{placeholder.format!r} is not a format for {{{name}}}"
        names = [f"{{{name}:{format_}}}" if format_ else f"{{{name}}}" for format_ in allowed]
        yield Problem(offset, message, listing(names))


def render(template: Text, values: Mapping[str, Value]) -> dict[str, str]:
    """Both languages' texts. ``at`` and ``since`` are ms since the epoch; what is missing shows as –.

    ``school_name`` falls back to ``school``.
    """
    return {"vi": _fill(template.vi, values, "vi"), "en": _fill(template.en, values, "en")}


def _fill(template: str, values: Mapping[str, Value], language: Language) -> str:
    def fill(found: re.Match[str]) -> str:
        if found.group(1) is None:
            return found.group()[0]
        name, _, format_ = found.group(1).partition(":")
        if format_.strip() == "list":
            return str(values.get(f"{name.strip()}:list") or MISSING)
        return format_value(_look_up(values, name.strip()), name.strip(), format_.strip(), language)

    return _PLACEHOLDER.sub(fill, template)


def _look_up(values: Mapping[str, Value], name: str) -> Value:
    value = values.get(name)
    return values.get("school") if value in (None, "") and name == "school_name" else value


def format_value(value: Value, name: str, format_: str, language: Language) -> str:
    """One value as text of a language."""
    if value is None or value == "":
        return MISSING
    if isinstance(value, str):
        return WORDS.get(name, {}).get(value, {}).get(language, value)
    if name in TIMES:
        return _TIME_FORMATS[format_](datetime.fromtimestamp(value / 1000, UTC).astimezone(_ZONE))
    if format_.startswith("%"):
        share = _digits(Decimal(repr(value)) * 100, int(format_[1:] or 1), language, fixed=len(format_) > 1)
        return f"{share} %" if language == "vi" else f"{share}%"
    if format_.startswith("."):
        return _digits(Decimal(repr(value)), int(format_[1:]), language, fixed=True)
    return _digits(Decimal(repr(value)), 2, language, fixed=False)


_TIME_FORMATS: dict[str, Callable[[datetime], str]] = {
    "": lambda at: at.strftime("%H:%M %d/%m/%Y"),
    "time": lambda at: at.strftime("%H:%M"),
    "date": lambda at: at.strftime("%d/%m/%Y"),
}


def _digits(value: Decimal, decimals: int, language: Language, *, fixed: bool) -> str:
    rounded = value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    text = f"{rounded:,f}"
    if not fixed and "." in text:
        text = text.rstrip("0").rstrip(".")
    if text.strip("-0.,") == "":
        text = text.lstrip("-")
    return text.translate(_VIETNAMESE) if language == "vi" else text


_VIETNAMESE = str.maketrans({",": ".", ".": ","})
