"""Alerts that another alert speaks for: held, given back, and what nobody is told twice."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from oncall import Decision, History, Recipient, decide
from oncall.decisions import concerned
from schemas.wire import Transition
from tests.support.alerts import roster, transition

NOW = 1_700_000_000_000
AN = Recipient("an", "webhook")


def story(*transitions: Transition) -> list[dict[str, str]]:
    """For each transition: person/channel → outcome and reason."""
    return [
        {f"{d.person}/{d.channel}": f"{d.outcome}: {d.reason}" for d in decisions}
        for decisions in decided(transitions)
    ]


def decided(transitions: tuple[Transition, ...] | list[Transition]) -> list[list[Decision]]:
    history, made = History(), []
    for item in transitions:
        decisions = decide(item, roster(), NOW, history)
        for decision in decisions:
            history.note(decision)
        made.append(decisions)
    return made


def child(ordinal: int = 1, revision: int = 0, **changes: object) -> Transition:
    return transition(
        alert="child",
        ordinal=ordinal,
        revision=revision,
        id=f"child#{ordinal}.{revision}",
        **{"notify": ["duty-officer", "principal"], **changes},
    )


def parent(ordinal: int = 1, revision: int = 0, **changes: object) -> Transition:
    return transition(
        alert="parent", group={"commune": "00640"}, ordinal=ordinal, revision=revision,
        id=f"parent#{ordinal}.{revision}", **changes,
    )  # fmt: skip


ABSORBED: dict[str, Any] = {"held_by": "parent", "held_how": "absorbed"}
INHIBITED: dict[str, Any] = {"held_by": "parent", "held_how": "inhibited"}


def test_promise_9_what_is_inhibited_names_what_holds_it_and_wakes_nobody() -> None:
    made = story(parent(), child(**INHIBITED))
    assert made[1] == {
        "an/webhook": "inhibited: is duty-officer; inhibited by parent",
        "binh/apprise": "inhibited: is principal; inhibited by parent",
        "binh/webhook": "inhibited: is principal; inhibited by parent",
    }


def test_promise_9_what_is_absorbed_joins_the_parents_push_of_those_who_were_told_of_it() -> None:
    made = decided([parent(), child(**ABSORBED)])
    assert story(parent(), child(**ABSORBED))[1] == {
        "an/webhook": "joined: is duty-officer; told of parent, which holds it",
        "binh/apprise": "inhibited: is principal; absorbed by parent",
        "binh/webhook": "inhibited: is principal; absorbed by parent",
    }
    assert made[1][0].push == made[0][0].push
    assert {d.phase for d in made[1]} == {"held"}


def test_given_back_is_pushed_to_who_was_never_told_and_joined_for_the_others() -> None:
    untold = story(parent(), child(**ABSORBED), parent(2, state="resolved"), child(1, 1, reason="given_back"))
    assert untold[3] == {
        "an/webhook": "pushed: is duty-officer; P2 is told at once",
        "binh/apprise": "pushed: is principal; P2 is told at once",
        "binh/webhook": "pushed: is principal; P2 is told at once",
    }
    told = story(
        child(), parent(), child(1, 1, reason="absorbed", **ABSORBED), child(1, 2, reason="given_back")
    )
    assert told[2]["an/webhook"] == "not_due: is duty-officer; now absorbed by parent, which wakes nobody"
    assert told[3]["an/webhook"] == "joined: is duty-officer; already told of this episode"


def test_a_parent_whose_count_grows_is_not_pushed_again() -> None:
    made = story(parent(), parent(1, 1, reason="children_changed", holds=40))
    assert made[1] == {
        "an/webhook": "not_due: is duty-officer; now holds 40 alerts, which wakes nobody again"
    }


def test_who_was_never_told_of_a_held_alert_is_not_told_of_its_end() -> None:
    made = story(parent(), child(**ABSORBED), child(2, state="resolved", **ABSORBED))
    assert made[2]["an/webhook"] == (
        "not_due: is duty-officer; was not told that the alert fires, which was absorbed by parent"
    )


def test_who_was_told_before_it_was_held_is_told_of_its_end_once() -> None:
    made = story(
        child(),
        parent(),
        child(1, 1, reason="absorbed", **ABSORBED),
        child(2, state="resolved", **ABSORBED),
        child(2, 1, state="resolved", reason="given_back"),
    )
    assert made[3]["an/webhook"] == "pushed: was told that the alert fires; it is resolved"
    assert made[4]["an/webhook"] == "not_due: is duty-officer; was not told that the alert fires"


def test_held_alerts_of_a_shadow_rule_are_shadows() -> None:
    made = story(parent(), child(status="shadow", **ABSORBED), child(1, 1, status="shadow", **INHIBITED))
    assert made[1]["an/webhook"] == "shadow: is duty-officer; the rule is shadow and wakes nobody"
    assert made[2]["an/webhook"] == "shadow: is duty-officer; now inhibited by parent, which wakes nobody"


class Scene:
    """A parent and two children, moved on by legal steps only; writes what `correlate` would."""

    def __init__(self) -> None:
        self.log: list[Transition] = []
        self.states = dict.fromkeys(("parent", "a", "b"), "")
        self.said = {name: [0, 0] for name in self.states}
        self.holder = {"a": "", "b": ""}
        self.notify = {"parent": ["duty-officer"], "a": ["principal"], "b": ["principal", "duty-officer"]}

    def write(self, name: str, reason: str = "when", *, again: bool = False) -> None:
        said = self.said[name]
        said[:] = [said[0], said[1] + 1] if again else [said[0] + 1, 0]
        how = self.holder.get(name, "")
        self.log.append(
            transition(
                alert=name, ordinal=said[0], revision=said[1], id=f"{name}#{said[0]}.{said[1]}",
                state=self.states[name], reason=reason, notify=self.notify[name],
                held_by="parent" if how else "", held_how=how,
            )
        )  # fmt: skip

    def live(self, name: str) -> bool:
        return self.states[name] in ("pending", "firing", "recovering")

    def move(self, name: str, state: str) -> None:
        """One step of an alert's life, where it is legal."""
        before = self.states[name]
        legal = {
            "": ("pending", "firing"), "pending": ("firing", "inactive"),
            "firing": ("recovering", "resolved", "retracted"), "recovering": ("firing", "resolved"),
        }  # fmt: skip
        if state not in legal.get(before, ()):
            return
        self.states[name] = state
        if name != "parent" and not before and self.states["parent"] in ("firing", "recovering"):
            self.holder[name] = "absorbed"
        self.write(name)
        if name == "parent":
            self._children(before)

    def _children(self, before: str) -> None:
        ended = not self.live("parent")
        for name in ("a", "b"):
            if self.live(name) and self.states["parent"] == "firing" and before != "recovering":
                self.holder[name] = "absorbed"
                self.write(name, "absorbed", again=True)
            elif self.live(name) and ended and self.holder[name]:
                self.holder[name] = ""
                self.write(name, "given_back", again=True)

    def say_again(self, name: str, what: str) -> None:
        """A restatement, where it can come."""
        if not self.live(name):
            return
        if name == "parent":
            self.write(name, "children_changed", again=True)
        elif what == "given_back" and self.holder[name]:
            self.holder[name] = ""
            self.write(name, "given_back", again=True)
        elif what == "inhibited" and not self.holder[name]:
            self.holder[name] = "inhibited"
            self.write(name, "inhibited", again=True)


names = st.sampled_from(["parent", "a", "b"])
moves = st.tuples(
    names, st.sampled_from(["pending", "firing", "recovering", "inactive", "resolved", "retracted"])
)
sayings = st.tuples(names, st.sampled_from(["given_back", "inhibited"]))


@given(st.lists(moves | sayings, max_size=30))
def test_promise_9_told_once_ended_once_and_never_while_held(steps: list[tuple[str, str]]) -> None:
    scene = Scene()
    for name, what in steps:
        (scene.say_again if what in ("given_back", "inhibited") else scene.move)(name, what)
    pushes: Counter[tuple[str, str, Recipient]] = Counter()
    for item, decisions in zip(scene.log, decided(scene.log), strict=True):
        assert {d.recipient for d in decisions} >= set(concerned(item, roster()))
        assert len({d.recipient for d in decisions}) == len(decisions)
        for d in decisions:
            if d.outcome == "pushed":
                assert d.phase == "closing" or not item.held_by
                assert d.phase == "opening" or pushes[d.alert, "opening", d.recipient]
                pushes[d.alert, d.phase, d.recipient] += 1
    assert set(pushes.values()) <= {1}
    for name, state in scene.states.items():
        told = {r for (alert, phase, r) in pushes if alert == name and phase == "opening"}
        ended = {r for (alert, phase, r) in pushes if alert == name and phase == "closing"}
        assert ended == (told if state in ("resolved", "retracted") else set())
        if state == "firing" and not scene.holder.get(name):
            assert told == set(concerned(transition(notify=scene.notify[name]), roster()))
