"""Many pushes to one person at once are one push."""

from __future__ import annotations

import json

from notify.bundle import bundler
from notify.intake import planner
from notify.message import words
from oncall import History
from schemas.wire import Transition
from store.desk import AlertBatch, LogPlace, Planned, plan_batch
from tests.support.alerts import roster, transition

PLACE = LogPlace("alerting.alerts", 0, "epoch-1")
TEXT = {
    "vi": "Trường {}: 2/3 lớp chưa chốt. Đề nghị nhà trường chốt ngay.",
    "en": "{}: 2 of 3. Please close.",
}


def planned(*transitions: Transition) -> list[Planned]:
    batch = AlertBatch(PLACE, 0, len(transitions), transitions)
    plan = planner(roster(), "http://desk", 0)
    return list(plan_batch(batch, plan, bundler("http://desk"), History())[0])


def alerts(count: int, **changes: object) -> list[Transition]:
    return [
        transition(
            alert=f"a{n}",
            group={"school": f"{n:03}"},
            places={"school_name": f"Tiểu học {n}"},
            text={language: text.format(n) for language, text in TEXT.items()},
            **changes,
        )
        for n in range(count)
    ]


def test_up_to_five_go_one_by_one() -> None:
    assert [item.decision.outcome for item in planned(*alerts(5))] == ["pushed"] * 5


def test_more_are_one_push_under_the_first_ones_key_and_the_others_join_it() -> None:
    made = planned(*alerts(8))
    decisions = [item.decision for item in made]
    first = decisions[0].push
    assert [d.outcome for d in decisions] == ["pushed"] + ["joined"] * 7
    assert {d.push for d in decisions} == {first}
    assert [d.alert for d in decisions] == [f"a{n}" for n in range(8)]
    assert decisions[0].reason == "is duty-officer; P2 is told at once; it tells of 8 alerts at once"
    assert decisions[1].reason == ("is duty-officer; P2 is told at once; one of 8 that are told in one push")
    assert [item.payload for item in made[1:]] == [b""] * 7
    said = words(made[0].payload)
    assert said.title == "[P2] Vắng học bất thường: 8 nơi"
    assert said.text == (
        "8 nơi: Tiểu học 0, Tiểu học 1, Tiểu học 2, Tiểu học 3, Tiểu học 4 và 3 nơi khác, từ 08:13. "
        f"Đề nghị nhà trường chốt ngay.\nhttp://desk/phone #{first[:8]}"
    )
    body = json.loads(made[0].payload)
    assert body["alerts"] == [f"a{n}" for n in range(8)]
    assert body["text"]["en"] == (
        "8 places: Tiểu học 0, Tiểu học 1, Tiểu học 2, Tiểu học 3, Tiểu học 4 and 3 more, since 08:13. "
        "Please close."
    )


def test_each_person_rule_and_state_is_told_by_itself() -> None:
    made = planned(*alerts(6), *alerts(3, rule="other", ordinal=2), *alerts(6, ordinal=3, state="resolved"))
    opened, other, ended = made[:6], made[6:9], made[9:]
    assert [item.decision.outcome for item in opened] == ["pushed"] + ["joined"] * 5
    assert {item.decision.push for item in other} == {opened[0].decision.push}  # told of these alerts
    assert [item.decision.outcome for item in ended] == ["pushed"] + ["joined"] * 5
    assert ended[0].after == (opened[0].decision.push,)
    assert words(ended[0].payload).title == "[P2] Đã hết: Vắng học bất thường: 6 nơi"


def test_an_end_of_one_of_many_comes_after_the_push_that_told_of_all() -> None:
    made = planned(*alerts(6), transition(alert="a3", ordinal=2, state="resolved"))
    assert made[-1].decision.outcome == "pushed"
    assert made[-1].after == (made[0].decision.push,)


def test_the_same_alerts_give_the_same_pushes() -> None:
    assert planned(*alerts(9)) == planned(*alerts(9))
