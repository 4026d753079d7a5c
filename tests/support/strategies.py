"""Hypothesis strategies for events: valid ones of each type, and what senders make of them."""

# ruff: noqa: E501 -- the lists of junk are tables
from __future__ import annotations

import datetime as dt
import json
from typing import Any, Final

from hypothesis import strategies as st

from schemas.civil import parse_time
from schemas.events import EVENT_TYPES
from schemas.fields import Field
from schemas.registry import EventType

ARRIVED: Final = parse_time("2026-09-07T09:00:00+07:00")
FIRST: Final = dt.date(2000, 1, 2)
LAST: Final = dt.date(2026, 9, 9)

Pairs = list[tuple[str, Any]]


class Token(str):
    """JSON text that is written as it is."""

    __slots__ = ()


names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
codes = st.one_of(st.from_regex(r"[0-9]{2}[A-Z][0-9]{3}", fullmatch=True), names)
dates = st.dates(FIRST, LAST).map(dt.date.isoformat)


@st.composite
def times(draw: st.DrawFn) -> str:
    """RFC 3339 times in the forms that senders use."""
    offset = draw(st.sampled_from([0, 420, -300, 345]))
    naive = dt.datetime.combine(draw(st.dates(FIRST, dt.date(2026, 9, 7))), draw(st.times()))
    zone = dt.timezone(dt.timedelta(minutes=offset))
    digits = draw(st.sampled_from(["seconds", "milliseconds", "microseconds"]))
    text = naive.replace(tzinfo=zone).isoformat(timespec=digits)
    return text.replace("+00:00", "Z") if draw(st.booleans()) else text


def _value(field: Field) -> st.SearchStrategy[Any]:
    known: dict[str, st.SearchStrategy[Any]] = {
        "integer": st.integers(field.low, field.high),
        "choice": st.sampled_from(field.choices or ("",)),
        "date": dates,
        "text": codes,
    }
    return st.one_of(st.none(), known[field.kind]) if field.nullable else known[field.kind]


@st.composite
def documents(draw: st.DrawFn, kind: EventType) -> dict[str, Any]:
    """A valid event of a type."""
    data = {field.name: draw(_value(field)) for field in kind.fields}
    for rule in kind.sums:
        for part in rule.parts:
            data[part] = draw(st.integers(0, 30_000))
        data[rule.total] = sum(data[part] for part in rule.parts)
    for field in kind.fields:
        if not field.required and data[field.name] is None and draw(st.booleans()):
            del data[field.name]
    document = {
        "specversion": "1.0",
        "id": draw(names),
        "source": draw(names),
        "type": kind.name,
        "time": draw(times()),
        "data": data,
    }
    optional = {"datacontenttype": "application/json", "subject": draw(names), "traceparent": "00-1"}
    chosen = draw(st.lists(st.sampled_from(sorted(optional)), unique=True))
    return document | {name: optional[name] for name in chosen}


any_document = st.sampled_from(sorted(EVENT_TYPES)).flatmap(lambda name: documents(EVENT_TYPES[name]))


def pairs_of(value: Any) -> Any:
    """A document in which objects are lists of pairs, so that keys can occur twice."""
    return [(key, pairs_of(item)) for key, item in value.items()] if isinstance(value, dict) else value


def _text(draw: st.DrawFn, text: str, escapes: bool) -> str:
    written = json.dumps(text, ensure_ascii=escapes and draw(st.booleans()))
    if escapes and text and draw(st.booleans()):
        return f'"\\u{ord(text[0]):04x}' + json.dumps(text[1:])[1:] if ord(text[0]) < 0x10000 else written
    return written


def write(draw: st.DrawFn, value: Any, *, blanks: bool, escapes: bool, shuffle: bool) -> str:
    """JSON text of pairs, with the liberties that JSON gives a writer."""

    def blank() -> str:
        return draw(st.sampled_from(["", " ", "\n", "\t\r\n  "])) if blanks else ""

    def written(item: Any) -> str:
        if isinstance(item, Token):
            return str(item)
        if isinstance(item, str):
            return _text(draw, item, escapes)
        if isinstance(item, list):
            pairs = draw(st.permutations(item)) if shuffle else item
            inner = [
                f"{blank()}{_text(draw, key, escapes)}{blank()}:{blank()}{written(part)}{blank()}"
                for key, part in pairs
            ]
            return "{" + ",".join(inner) + "}"
        return json.dumps(item)

    return blank() + written(value) + blank()


@st.composite
def encoded(draw: st.DrawFn, document: dict[str, Any], *, escapes: bool = True) -> bytes:
    """The bytes of a document: any order of keys, white space and, if allowed, escapes."""
    blanks, shuffle = draw(st.booleans()), draw(st.booleans())
    text = write(
        draw, pairs_of(document), blanks=blanks, escapes=escapes and draw(st.booleans()), shuffle=shuffle
    )
    return text.encode()


JUNK: Final = st.one_of(
    st.sampled_from(
        [
            *map(Token, ["NaN", "Infinity", "-Infinity", "1e400", "1.0", "1e2", "-0", "-0.0", "01", "+1", "tru"]),
            *map(Token, ["9223372036854775807", "9223372036854775808", "-9223372036854775809", "9" * 5000]),
            *map(Token, ['"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"a\\u0000"', '"\\"\\\\"', '"\\x"']),
            *map(Token, ['"a\x01b"', "[" * 40 + "]" * 40, '{"a":' * 40 + "1" + "}" * 40, "", "[1,]", "{}"]),
            Token('{"a": 1, "a": 2}'), Token("[]"), Token("[1, 2]"), Token("/* */ 1"), Token("'a'"),
            True, False, None, 0, -1, 1, 100_000, 100_001, 1.5, "", " ", "0", "1.0", "true", "present", "full_day",
            "a" * 64, "a" * 65, "é" * 64, "é" * 65, "a" * 256, "a" * 257, "a" * 500, "a" * 501, "a" * 2049,
            "\x7f", "a\x80b", "\x9f", "\u00a0", "\u200b", "\x00", "a\nb", "\u0301", "\U0001d4b3" * 64, '"', "\\", '\\"',
            "2026-02-30", "2026-2-3", "2026-09-07", "2026-09-07 ", "2099-01-01", "1999-12-31", "0000-01-01",
            "2026-09-09", "2026-09-10", "\uff12\uff10\uff12\uff16-09-07", "2026-09-07T07:15:00", "2026-09-07T07:15:00+0700",
            "2026-09-07T07:15:00+07:00", "2026-09-07t07:15:00z", "2026-09-07 07:15:00Z", "2026-09-07T24:00:00Z",
            "2026-09-07T07:60:00Z", "2026-09-07T07:15:60Z", "2026-09-07T07:15:00.1Z", "2026-09-07T07:15:00.123456789Z",
            "2026-09-07T07:15:00.Z", "2026-09-07T07:15:00-00:00", "2026-09-07T07:15:00+24:00",
            "2026-09-07T07:15:00+07:60", "2026-02-29T00:00:00Z", "2024-02-29T00:00:00Z", "2026-09-09T02:00:00Z",
            "2026-09-09T02:00:00.001Z", "1999-12-31T23:59:59.999Z", "2000-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
            "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "2026-09-07T07:15:00.123", "2026-09-07T07:15:00.1234Z",
            "1.0", "application/json", "application/json; charset=utf-8", "text/xml", "trucban.pulse",
            *sorted(EVENT_TYPES), "attendance.market",
        ]
    ),
    st.integers(), st.floats(), st.text(max_size=5),
)  # fmt: skip

EXTRA: Final = st.one_of(
    st.sampled_from(
        ["ID", "Id", "idd", "data_base64", "datacontenttype", "subject", "sequence", "x", "", "reason"]
    ),
    st.sampled_from(["partitionkey", "dataschema", "traceparent", "Time", "enroled", "class_", "vendor"]),
    st.text(max_size=4),
)


@st.composite
def _changed(draw: st.DrawFn, pairs: Pairs) -> Pairs:
    """Pairs with one change: a value replaced, a key dropped, repeated, renamed or added."""
    result = list(pairs)
    at = draw(st.integers(0, len(result) - 1)) if result else 0
    how = draw(st.sampled_from(["value", "value", "value", "drop", "repeat", "repeat", "rename", "add"]))
    if not result or how == "add":
        result.insert(at, (draw(EXTRA), draw(JUNK)))
    elif how == "value":
        result[at] = (result[at][0], draw(JUNK))
    elif how == "drop":
        del result[at]
    elif how == "repeat":
        result.append((result[at][0], result[at][1] if draw(st.booleans()) else draw(JUNK)))
    else:
        result[at] = (draw(EXTRA), result[at][1])
    return result


@st.composite
def mutated(draw: st.DrawFn, kind: EventType) -> bytes:
    """An event of a type after some changes of its content, its text and its bytes. May still be valid."""
    pairs = pairs_of(draw(documents(kind)))
    for _ in range(draw(st.integers(0, 2))):
        inside = [at for at, (_, item) in enumerate(pairs) if isinstance(item, list)]
        deep: bool = draw(st.booleans())
        if inside and deep:
            pairs[inside[0]] = (pairs[inside[0]][0], draw(_changed(pairs[inside[0]][1])))
        else:
            pairs = draw(_changed(pairs))
    blanks: bool = draw(st.booleans())
    escapes: bool = draw(st.booleans())
    shuffle: bool = draw(st.booleans())
    raw = write(draw, pairs, blanks=blanks, escapes=escapes, shuffle=shuffle).encode("utf-8", "replace")
    if draw(st.integers(0, 5)):
        return raw
    at = draw(st.integers(0, len(raw)))
    new = draw(st.one_of(st.sampled_from([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\x7f", b"\xc2\x85", b'"', b"\\", b"\x00", b"\xef\xbb\xbf", b",", b"\x0c"]), st.binary(max_size=2)))  # fmt: skip
    return raw[:at] + new + raw[at + draw(st.integers(0, 3)) :]


@st.composite
def changes(draw: st.DrawFn, kind: EventType) -> dict[str, Any]:
    """A valid event with ``before`` and ``after``: a pair or a Debezium envelope."""
    document = draw(documents(kind))
    after, before = document["data"], dict(draw(documents(kind))["data"])
    before[kind.school_field] = after[kind.school_field]
    if draw(st.booleans()):
        sides = st.sampled_from(["both", "new"] if kind.corrects else ["both", "new", "gone"])
        side: str = draw(sides)
        pair = {"before": None if side == "new" else before, "after": None if side == "gone" else after}
        return document | {"data": pair}
    blind = not kind.identity and not kind.corrects
    op: str = draw(st.sampled_from("cu" if blind or kind.corrects else "cudr"))
    if blind:
        before["time"] = draw(times())
    lacks_before: bool = op in "cr" or (op == "u" and not blind and draw(st.booleans()))
    source = {
        "connector": "postgresql", "db": "d", "table": "t", "lsn": draw(st.integers(0, 2**62)),
        "ts_ms": draw(st.integers(parse_time("2000-01-02T00:00:00Z"), ARRIVED)),
    }  # fmt: skip
    payload = {
        "before": None if lacks_before else before, "after": None if op == "d" else after, "source": source,
        "op": op, "type": kind.name,
    }  # fmt: skip
    return {"schema": {"type": "struct"}, "payload": payload} if draw(st.booleans()) else payload


@st.composite
def mutated_changes(draw: st.DrawFn, kind: EventType) -> bytes:
    """An event with ``before`` and ``after`` with some changes at any depth."""
    pairs = pairs_of(draw(changes(kind)))
    for _ in range(draw(st.integers(0, 2))):
        pairs = draw(_changed_within(pairs))
    return write(draw, pairs, blanks=False, escapes=False, shuffle=draw(st.booleans())).encode(
        "utf-8", "replace"
    )


@st.composite
def _changed_within(draw: st.DrawFn, pairs: Pairs) -> Pairs:
    inside = [at for at, (_, item) in enumerate(pairs) if isinstance(item, list) and item]
    if not inside or draw(st.integers(0, 2)) == 0:
        return draw(_changed(pairs))
    at: int = draw(st.sampled_from(inside))
    result = list(pairs)
    result[at] = (result[at][0], draw(_changed_within(result[at][1])))
    return result
