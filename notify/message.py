"""What a push says: one JSON body, kept in the outbox, which every attempt sends unchanged.

It carries what a person needs to act, and no more: neither measures nor event ids nor anything
else about a pupil leaves the house.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote

import msgspec

from oncall import Decision, Person
from schemas.wire import State, Transition

STATE_WORDS: dict[str, dict[str, str]] = {
    "resolved": {"vi": "Đã hết", "en": "Over"},
    "retracted": {"vi": "Rút lại", "en": "Withdrawn"},
    "retired": {"vi": "Quy tắc đã bỏ", "en": "Rule retired"},
}


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
    title: dict[str, str]
    text: dict[str, str]
    group: dict[str, str]
    window: Window
    link: str
    languages: tuple[Literal["vi", "en"], ...]


class Words(msgspec.Struct, frozen=True):
    """A push as text, for channels that carry nothing else."""

    title: str
    text: str


def compose(transition: Transition, decision: Decision, person: Person, public_url: str) -> bytes:
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
        title=transition.title,
        text=transition.text,
        group=transition.group,
        window=Window(_instant(transition.window_start), _instant(transition.window_end)),
        link=f"{public_url.rstrip('/')}/alert/{quote(transition.alert, safe='')}",
        languages=person.languages,
    )
    return msgspec.json.encode(body)


def words(payload: bytes) -> Words:
    """A body as title and text in the person's first language that has any.

    Ends with the link and the first digits of the push's id, by which a repeat is recognised.
    """
    body = msgspec.json.decode(payload, type=Body)
    language = next((each for each in body.languages if body.text.get(each)), body.languages[0])
    title = body.title.get(language) or body.rule
    ended = STATE_WORDS.get(body.state)
    if ended:
        title = f"{ended[language]}: {title}"
    return Words(
        f"[{body.severity}] {title}", f"{body.text.get(language, '')}\n{body.link} #{body.id[:8]}".strip()
    )


def _instant(ms: int) -> str | None:
    if ms <= 0:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
