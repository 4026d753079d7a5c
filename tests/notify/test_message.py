import json

import pytest

from notify.message import Language, Words, compose, words
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
        "place": "001",
        "window": {"start": "2018-09-04T17:00:00.000+00:00", "end": "2018-09-05T17:00:00.000+00:00"},
        "link": "https://desk.example/alert/absence-spike%7Cschool%3D001%7C2018-09-05",
        "languages": ["vi", "en"],
        "drill": False,
        "holds": 0,
        "alerts": ["absence-spike|school=001|2018-09-05"],
    }


def test_a_window_without_bounds_has_none() -> None:
    body, _ = composed(transition(window_start=0, window_end=0))
    assert json.loads(body)["window"] == {"start": None, "end": None}


def test_the_same_transition_gives_the_same_bytes() -> None:
    assert composed(transition()) == composed(transition())


def test_words_in_the_first_language() -> None:
    body, decision = composed(transition())
    said = words(body)
    assert said.title == "[P2] Vắng học bất thường: 001"
    assert said.text == (
        "001: vắng 21/100\n"
        f"https://desk.example/alert/absence-spike%7Cschool%3D001%7C2018-09-05 #{decision.push[:8]}"
    )


@pytest.mark.parametrize(
    ("state", "languages", "title"),
    [
        ("resolved", ("vi",), "[P2] Đã hết: Vắng học bất thường: 001"),
        ("resolved", ("en", "vi"), "[P2] Over: Unusual absence: 001"),
        ("retracted", ("vi",), "[P2] Rút lại: Vắng học bất thường: 001"),
        ("retired", ("en",), "[P2] Rule retired: Unusual absence: 001"),
    ],
)
def test_an_end_says_so(state: str, languages: tuple[str, ...], title: str) -> None:
    item = transition(state=state)
    decision = decide(item, roster(), 0)[0]
    person = Person("an", "An", (), languages)  # type: ignore[arg-type]
    assert words(compose(item, decision, person, "http://d")).title == title


def test_a_language_without_text_is_passed_over() -> None:
    body, _ = composed(transition(title={"en": "Only"}, text={"en": "English"}))
    assert words(body).title == "[P2] Only: 001"
    body, _ = composed(transition(title={}, text={}))
    assert words(body).title == "[P2] absence-spike: 001"


def said(item: Transition, *, drill: bool = False, languages: tuple[Language, ...] = ("vi",)) -> Words:
    decision = decide(item, roster(), 0)[0]
    person = Person("an", "An", (), languages)
    return words(compose(item, decision, person, "http://d", drill=drill))


TEXT = {"vi": "001: vắng 21/100. Đề nghị báo lại.", "en": "001: 21 of 100 absent. Please report."}


def test_a_parent_says_how_many_it_holds_before_what_it_asks() -> None:
    item = transition(text=TEXT, holds=38, group={"vendor": "hocba"}, places={"vendor_name": "Học Bạ"})
    assert said(item).title == "[P2] Vắng học bất thường: Học Bạ"
    first, _ = said(item).text.split("\n")
    assert first == "001: vắng 21/100. Thay cho 38 cảnh báo khác. Đề nghị báo lại."
    first, _ = said(item, languages=("en",)).text.split("\n")
    assert first == "001: 21 of 100 absent. Stands for 38 other alerts. Please report."


def test_an_end_says_when_and_asks_nothing() -> None:
    item = transition(text=TEXT, state="resolved")
    assert said(item).text.split("\n")[0] == "Đã hết lúc 08:13. 001: vắng 21/100."
    assert said(item, languages=("en",)).text.split("\n")[0] == "Over at 08:13. 001: 21 of 100 absent."


def test_a_drill_begins_with_its_name_in_titles_and_bodies() -> None:
    assert said(transition(), drill=True).title == "DIỄN TẬP: [P2] Vắng học bất thường: 001"
    assert said(transition(title={}), drill=True).title == "DIỄN TẬP: [P2] absence-spike: 001"
    decision = decide(transition(), roster(), 0)[0]
    body = json.loads(compose(transition(), decision, roster().people["an"], "http://d", drill=True))
    assert (body["drill"], body["title"]["vi"]) == (True, "DIỄN TẬP: Vắng học bất thường")


def test_what_is_too_long_is_cut_and_what_is_asked_stays() -> None:
    long = {"vi": f"{'rất ' * 100}dài. Đề nghị báo lại."}
    push = said(transition(text=long, places={"school_name": "Trường " * 20}))
    assert len(push.title) == 64
    assert len(push.text) == 399
    assert push.title.endswith("…")
    assert "… Đề nghị báo lại.\n" in push.text
    assert len(said(transition(text={"vi": "Đề nghị " + "rất " * 200})).text) == 399


def test_a_group_of_everything_has_no_place() -> None:
    assert said(transition(group={})).title == "[P2] Vắng học bất thường"
