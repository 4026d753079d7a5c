"""What a push says: one JSON body, kept in the outbox, which every attempt sends unchanged.

It carries what a person needs to act, and no more: neither measures nor event ids nor anything
else about a pupil leaves the house.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Literal
from urllib.parse import quote

import msgspec

from oncall import Decision, Person
from schemas.civil import OFFSET_MS
from schemas.wire import State, Transition

Language = Literal["vi", "en"]

DRILL = "DIỄN TẬP: "
"""How every push of a demo begins, in both languages: nobody may take it for the real thing."""
TITLE_CHARS = 64
"""More of a title a telephone does not show in one line."""
TEXT_CHARS = 399
"""With the link; more would be cut, or be several short messages."""
PLACES_NAMED = 5
"""How many places the push about many names; of the others it says how many."""
STATE_WORDS: dict[str, dict[Language, str]] = {
    "resolved": {"vi": "Đã hết", "en": "Over"},
    "retracted": {"vi": "Rút lại", "en": "Withdrawn"},
    "retired": {"vi": "Quy tắc đã bỏ", "en": "Rule retired"},
}
_ASK: dict[Language, str] = {"vi": "Đề nghị ", "en": "Please "}
"""How the sentence begins with which a message says what is asked of its reader."""
_HOLDS: dict[Language, str] = {"vi": "Thay cho {} cảnh báo khác.", "en": "Stands for {} other alerts."}
_MANY: dict[Language, str] = {"vi": "{} nơi", "en": "{} places"}
_MORE: dict[Language, str] = {"vi": " và {} nơi khác", "en": " and {} more"}
_SINCE: dict[Language, str] = {"vi": ", từ {}", "en": ", since {}"}
_ENDED: dict[Language, str] = {"vi": "{} lúc {}", "en": "{} at {}"}
_PLACES = ("school", "commune", "district", "city", "vendor", "kitchen")
_ZONE = timezone(timedelta(milliseconds=OFFSET_MS))


class Window(msgspec.Struct, frozen=True):
    """Start and end of the alert's window, RFC 3339 in UTC; None where it has none."""

    start: str | None
    end: str | None


class Body(msgspec.Struct, frozen=True):
    """Body of a webhook; `docs/oncall.md` describes each field."""

    id: str
    alert: str
    transition: str
    ordinal: int
    rule: str
    severity: str
    state: State
    at: str | None
    title: dict[Language, str]
    text: dict[Language, str]
    group: dict[str, str]
    place: str
    window: Window
    link: str
    languages: tuple[Language, ...]
    drill: bool = False
    holds: int = 0
    alerts: tuple[str, ...] = ()


class Words(msgspec.Struct, frozen=True):
    """A push as text, for channels that carry little else."""

    title: str
    text: str
    """Ends with the link."""
    severity: str
    state: State
    link: str


def compose(
    transition: Transition, decision: Decision, person: Person, public_url: str, *, drill: bool = False
) -> bytes:
    """The body of the push that ``decision`` calls for."""
    body = Body(
        id=decision.push,
        alert=transition.alert,
        transition=transition.id,
        ordinal=transition.ordinal,
        rule=transition.rule,
        severity=transition.severity,
        state=transition.state,
        at=_instant(transition.at),
        title={language: _mark(drill) + text for language, text in _both(transition.title)},
        text={language: _text(transition, language, text) for language, text in _both(transition.text)},
        group=transition.group,
        place=place_of(transition),
        window=Window(_instant(transition.window_start), _instant(transition.window_end)),
        link=f"{public_url.rstrip('/')}/alert/{quote(transition.alert, safe='')}",
        languages=person.languages,
        drill=drill,
        holds=transition.holds,
        alerts=(transition.alert,),
    )
    return encode(body)


def encode(body: Body) -> bytes:
    """The bytes that every attempt sends."""
    return msgspec.json.encode(body)


def compose_many(payloads: Sequence[bytes], public_url: str) -> bytes:
    """One body for many of one rule, state and person: under the first one's id, it names the places."""
    bodies = [msgspec.json.decode(payload, type=Body) for payload in payloads]
    first = bodies[0]
    body = msgspec.structs.replace(
        first,
        text={language: _text_of_many(bodies, language) for language in first.text},
        link=f"{public_url.rstrip('/')}/phone",
        holds=sum(each.holds for each in bodies),
        alerts=tuple(alert for each in bodies for alert in each.alerts),
    )
    return msgspec.json.encode(body)


def state_of(payload: bytes) -> tuple[State, float]:
    """The state that a body tells of, and since when, in seconds since the Unix epoch (0: not said)."""
    body = msgspec.json.decode(payload, type=Body)
    return body.state, datetime.fromisoformat(body.at).timestamp() if body.at else 0.0


def words(payload: bytes) -> Words:
    """A body as title and text in the person's first language that has any.

    Ends with the link and the first digits of the push's id, by which a repeat is recognised.
    """
    body = msgspec.json.decode(payload, type=Body)
    language = next((each for each in body.languages if body.text.get(each)), body.languages[0])
    mark = _mark(body.drill)
    title = body.title.get(language, mark + body.rule).removeprefix(mark) or body.rule
    if ended := STATE_WORDS.get(body.state):
        title = f"{ended[language]}: {title}"
    where = _MANY[language].format(len(body.alerts)) if len(body.alerts) > 1 else body.place
    title = f"{mark}[{body.severity}] {title}" + (f": {where}" if where else "")
    end = f"{body.link} #{body.id[:8]}"
    text = _shorten_facts(body.text.get(language, ""), language, TEXT_CHARS - len(end) - 1)
    return Words(_shorten(title, TITLE_CHARS), f"{text}\n{end}".strip(), body.severity, body.state, body.link)


def place_of(transition: Transition) -> str:
    """Where it is, by name where one is known; empty for the whole."""
    for kind in _PLACES:
        if kind in transition.group:
            return transition.places.get(f"{kind}_name") or transition.group[kind]
    return ""


def _both(texts: dict[str, str]) -> list[tuple[Language, str]]:
    languages: tuple[Language, ...] = ("vi", "en")
    return [(language, texts[language]) for language in languages if texts.get(language)]


def _mark(drill: bool) -> str:
    return DRILL if drill else ""


def _text(transition: Transition, language: Language, text: str) -> str:
    """What the rule says; that it is over (then nothing is asked any more); how many alerts it holds."""
    facts, ask = _split(text, language)
    if ended := STATE_WORDS.get(transition.state):
        return f"{_ENDED[language].format(ended[language], _clock(transition.at))}. {facts}".strip()
    holds = _HOLDS[language].format(transition.holds) if transition.holds else ""
    return " ".join(part for part in (facts, holds, ask) if part)


def _text_of_many(bodies: Sequence[Body], language: Language) -> str:
    first = bodies[0]
    named = list(dict.fromkeys(body.place or body.alert for body in bodies))
    text = f"{_MANY[language].format(len(bodies))}: {', '.join(named[:PLACES_NAMED])}"
    if len(bodies) > PLACES_NAMED:
        text += _MORE[language].format(len(bodies) - PLACES_NAMED)
    if ended := STATE_WORDS.get(first.state):
        return f"{ended[language]}. {text}."
    times = [_clock_of(body.at) for body in bodies if body.at]
    since = _SINCE[language].format(min(times)) if times else ""
    return f"{text}{since}. {_split(first.text[language], language)[1]}".strip()


def _split(text: str, language: Language) -> tuple[str, str]:
    """What is so, and what is asked."""
    at = text.rfind(_ASK[language])
    return (text, "") if at < 0 else (text[:at].strip(), text[at:])


def _shorten_facts(text: str, language: Language, limit: int) -> str:
    """What is asked stays whole where that is possible."""
    facts, ask = _split(text, language)
    room = limit - len(ask) - 1
    if len(text) <= limit or room < limit // 3:
        return _shorten(text, limit)
    return f"{_shorten(facts, room)} {ask}"


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _clock(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, _ZONE).strftime("%H:%M")


def _clock_of(instant: str) -> str:
    return datetime.fromisoformat(instant).astimezone(_ZONE).strftime("%H:%M")


def _instant(ms: int) -> str | None:
    if ms <= 0:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
