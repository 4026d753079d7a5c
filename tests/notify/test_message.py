import json

import pytest

from notify.message import compose, words
from oncall import Decision, Person, decide
from schemas.wire import Transition
from tests.support.alerts import roster, transition


def composed(item: Transition, person: str = "an") -> tuple[bytes, Decision]:
    known = roster()
    decision = next(d for d in decide(item, known, 0) if d.person == person)
    return compose(item, decision, known.people[person], "https://desk.example/"), decision


def test_the_body_has_what_a_person_needs_and_no_more() -> None:
    item = transition()
    body, decision = composed(item)
    assert json.loads(body) == {
        "id": decision.push,
        "alert": "absence-spike|school=001|2018-09-05",
        "transition": "absence-spike|school=001|2018-09-05#1",
        "ordinal": 1,
        "rule": "absence-spike",
        "severity": "P2",
        "state": "firing",
        "at": "2018-09-05T01:13:20.000+00:00",
        "title": {"vi": "Vắng học bất thường", "en": "Unusual absence"},
        "text": {"vi": "001: vắng 21/100", "en": "001: 21/100 absent"},
        "group": {"school": "001"},
        "window": {"start": "2018-09-04T17:00:00.000+00:00", "end": "2018-09-05T17:00:00.000+00:00"},
        "link": "https://desk.example/alert/absence-spike%7Cschool%3D001%7C2018-09-05",
        "languages": ["vi", "en"],
    }


def test_a_window_without_bounds_has_none() -> None:
    body, _ = composed(transition(window_start=0, window_end=0))
    assert json.loads(body)["window"] == {"start": None, "end": None}


def test_the_same_transition_gives_the_same_bytes() -> None:
    assert composed(transition()) == composed(transition())


def test_words_in_the_first_language() -> None:
    body, decision = composed(transition())
    said = words(body)
    assert said.title == "[P2] Vắng học bất thường"
    assert said.text == (
        "001: vắng 21/100\n"
        f"https://desk.example/alert/absence-spike%7Cschool%3D001%7C2018-09-05 #{decision.push[:8]}"
    )


@pytest.mark.parametrize(
    ("state", "languages", "title"),
    [
        ("resolved", ("vi",), "[P2] Đã hết: Vắng học bất thường"),
        ("resolved", ("en", "vi"), "[P2] Over: Unusual absence"),
        ("retracted", ("vi",), "[P2] Rút lại: Vắng học bất thường"),
        ("retired", ("en",), "[P2] Rule retired: Unusual absence"),
    ],
)
def test_an_end_says_so(state: str, languages: tuple[str, ...], title: str) -> None:
    item = transition(state=state)
    decision = decide(item, roster(), 0)[0]
    person = Person("an", "An", (), languages)  # type: ignore[arg-type]
    assert words(compose(item, decision, person, "http://d")).title == title


def test_a_language_without_text_is_passed_over() -> None:
    body, _ = composed(transition(title={"en": "Only"}, text={"en": "English"}))
    assert words(body).title == "[P2] Only"
    body, _ = composed(transition(title={}, text={}))
    assert words(body).title == "[P2] absence-spike"
