from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall import Decision, History, OncallRoster, Recipient, decide, episode_of, parse_roster, push_id
from schemas.wire import Transition
from tests.support.alerts import ROSTER, roster, transition

NOW = 1_700_000_000_000
DAY = 86_400_000
AN = Recipient("an", "webhook")


def story(*transitions: Transition, known: OncallRoster | None = None) -> list[list[Decision]]:
    """Decisions of transitions that follow one another."""
    history, made = History(), []
    for item in transitions:
        decisions = decide(item, known or roster(), NOW, history)
        for decision in decisions:
            history.note(decision)
        made.append(decisions)
    return made


def brief(decisions: list[Decision]) -> dict[str, str]:
    return {f"{d.person}/{d.channel}": f"{d.outcome}: {d.reason}" for d in decisions}


def test_firing_is_pushed_to_every_channel_of_each_person() -> None:
    fired = transition(notify=["principal", "duty-officer"])
    decisions = decide(fired, roster(), NOW)
    assert brief(decisions) == {
        "an/webhook": "pushed: is duty-officer; P2 is told at once",
        "binh/apprise": "pushed: is principal; P2 is told at once",
        "binh/webhook": "pushed: is principal; P2 is told at once",
    }
    assert [d.push for d in decisions] == [
        push_id(fired.alert, fired.id, d.person, d.channel) for d in decisions
    ]
    assert decisions[0] == Decision(
        transition=fired.id,
        alert=fired.alert,
        ordinal=1,
        rule="absence-spike",
        episode=episode_of("absence-spike", {"school": "001"}),
        window_start=fired.window_start,
        severity="P2",
        person="an",
        channel="webhook",
        phase="opening",
        outcome="pushed",
        reason="is duty-officer; P2 is told at once",
        push=push_id(fired.alert, fired.id, "an", "webhook"),
        at=NOW,
    )


@pytest.mark.parametrize(
    ("notify", "reason"),
    [
        (["principal"], "is duty-officer, as principal has nobody for school=009; P2 is told at once"),
        (["leader"], "is duty-officer, as leader has nobody for school=009; P2 is told at once"),
        (["headmaster"], "is duty-officer, as headmaster has nobody for school=009; P2 is told at once"),
        ([], "is duty-officer, as the rule names nobody; P2 is told at once"),
    ],
)
def test_where_a_target_has_nobody_the_default_is_told(notify: list[str], reason: str) -> None:
    decisions = decide(transition(notify=notify, group={"school": "009"}), roster(), NOW)
    assert brief(decisions) == {"an/webhook": f"pushed: {reason}"}


def test_a_group_of_everything_has_words_too() -> None:
    decisions = decide(transition(notify=["principal"], group={}), roster(), NOW)
    assert decisions[0].reason == "is duty-officer, as principal has nobody for the whole; P2 is told at once"


@pytest.mark.parametrize("state", ["pending", "recovering", "unknown", "inactive"])
def test_other_states_wake_nobody(state: str) -> None:
    decisions = decide(transition(state=state), roster(), NOW)
    assert brief(decisions) == {"an/webhook": f"not_due: is duty-officer; {state} wakes nobody"}
    assert decisions[0].phase == "quiet"


def test_shadow_rules_wake_nobody() -> None:
    made = story(
        transition(status="shadow", state="pending"),
        transition(status="shadow", ordinal=2),
        transition(status="shadow", ordinal=3, state="resolved"),
    )
    assert [brief(decisions)["an/webhook"] for decisions in made] == [
        "shadow: is duty-officer; pending wakes nobody",
        "shadow: is duty-officer; the rule is shadow and wakes nobody",
        "shadow: is duty-officer; the rule is shadow and wakes nobody",
    ]


def test_p4_goes_into_the_digest_with_its_end() -> None:
    made = story(transition(severity="P4"), transition(severity="P4", ordinal=2, state="resolved"))
    assert [brief(decisions)["an/webhook"] for decisions in made] == [
        "digest: is duty-officer; P4 goes into the digest",
        "digest: is duty-officer; P4 goes into the digest",
    ]


@pytest.mark.parametrize("state", ["resolved", "retracted", "retired"])
def test_the_end_is_pushed_to_those_who_were_told(state: str) -> None:
    made = story(transition(), transition(ordinal=2, state=state, notify=["duty-officer", "principal"]))
    assert brief(made[1]) == {
        "an/webhook": f"pushed: was told that the alert fires; it is {state}",
        "binh/apprise": "not_due: is principal; was not told that the alert fires",
        "binh/webhook": "not_due: is principal; was not told that the alert fires",
    }
    assert made[1][0].push != made[0][0].push


def test_the_end_is_pushed_even_when_the_rule_has_become_a_shadow() -> None:
    made = story(
        transition(), transition(ordinal=2, state="resolved", status="shadow", reason="rule_changed")
    )
    assert brief(made[1]) == {"an/webhook": "pushed: was told that the alert fires; it is resolved"}


def test_who_has_left_the_roster_is_gone() -> None:
    history = History(decide(transition(), roster(), NOW))
    later = parse_roster(
        ROSTER.replace("duty-officer: an", "duty-officer: chi").replace("code: an", "code: dung")
    )
    made = decide(transition(ordinal=2, state="resolved"), later, NOW, history)
    assert brief(made) == {
        "an/webhook": "gone: was told that the alert fires, and is no longer in the roster",
        "chi/webhook": "not_due: is duty-officer; was not told that the alert fires",
    }


def test_firing_again_after_recovering_joins() -> None:
    made = story(transition(), transition(ordinal=2, state="recovering"), transition(ordinal=3))
    assert brief(made[2]) == {"an/webhook": "joined: is duty-officer; already told of this episode"}
    assert made[2][0].push == made[0][0].push


def test_firing_again_after_its_end_is_pushed_again() -> None:
    made = story(transition(), transition(ordinal=2, state="resolved"), transition(ordinal=3))
    assert brief(made[2]) == {"an/webhook": "pushed: is duty-officer; P2 is told at once"}


def next_window(**changes: object) -> Transition:
    first = transition()
    return transition(
        alert="next", window_start=first.window_start + DAY, window_end=first.window_end + DAY, **changes
    )


def outcomes(made: list[list[Decision]]) -> list[tuple[str, bool]]:
    """What became of each transition, and whether it stands under the first push."""
    return [(d[0].outcome, d[0].push == made[0][0].push) for d in made]


@pytest.mark.parametrize("end", ["window_continued", "corrected"])
@pytest.mark.parametrize("last", ["former", "next"])
def test_promise_7_an_episode_over_two_windows_is_one_push_and_one_end(end: str, last: str) -> None:
    begin = [transition(), next_window(reason="window_continued")]
    former = transition(ordinal=2, state="resolved", reason=end)
    ends = [former, next_window(ordinal=2, state="resolved", reason="recovered")]
    made = story(*begin, *(ends if last == "next" else reversed(ends)))
    told = [("joined", True), ("pushed", False)]
    assert outcomes(made) == [("pushed", True), ("joined", True), *(told if last == "next" else told[::-1])]


def test_an_episode_that_goes_on_after_its_former_window_is_joined_too() -> None:
    made = story(
        transition(),
        transition(ordinal=2, state="resolved", reason="window_continued"),
        next_window(reason="window_continued"),
        next_window(ordinal=2, state="resolved", reason="recovered"),
    )
    assert outcomes(made) == [("pushed", True), ("joined", True), ("joined", True), ("pushed", False)]


def test_who_was_told_the_end_is_told_when_it_fires_again() -> None:
    made = story(
        transition(),
        transition(ordinal=2, state="resolved", reason="window_ended"),
        next_window(reason="window_continued"),
    )
    assert outcomes(made) == [("pushed", True), ("pushed", False), ("pushed", False)]


def test_who_was_told_the_end_in_one_push_with_others_is_told_when_it_fires_again() -> None:
    opened = decide(transition(), roster(), NOW)
    ended = decide(
        transition(ordinal=2, state="resolved", reason="window_ended"), roster(), NOW, History(opened)
    )
    bundled = [replace(decision, outcome="joined", push="the one that tells of all") for decision in ended]
    again = decide(next_window(reason="window_continued"), roster(), NOW, History([*opened, *bundled]))
    assert [decision.outcome for decision in again] == ["pushed"]


def test_the_next_window_may_open_before_the_first_one_closes() -> None:
    made = story(
        transition(),
        next_window(),
        transition(ordinal=2, state="resolved"),
        next_window(ordinal=2, state="resolved"),
    )
    assert [d[0].outcome for d in made] == ["pushed", "pushed", "pushed", "pushed"]


def test_an_episode_that_was_never_pushed_is_pushed_when_it_goes_on() -> None:
    made = story(transition(status="shadow"), next_window(reason="window_continued"))
    assert [d[0].outcome for d in made] == ["shadow", "pushed"]


def test_history_knows_what_was_decided() -> None:
    history = History(decide(transition(), roster(), NOW))
    assert history.decided(transition().id)
    assert not history.decided("other")
    assert dict(history.told(transition().alert)) == {AN: decide(transition(), roster(), NOW)[0].push}


words = st.text('ab|=#,"\\ ', max_size=4)


@given(st.tuples(words, words, words, words), st.tuples(words, words, words, words))
def test_push_ids_differ_where_their_parts_do(a: tuple[str, ...], b: tuple[str, ...]) -> None:
    assert (push_id(*a) == push_id(*b)) == (a == b)


groups = st.dictionaries(words, words, max_size=3)


@given(words, groups, words, groups)
def test_episodes_differ_where_rule_or_group_do(r: str, g: dict[str, str], s: str, h: dict[str, str]) -> None:
    assert (episode_of(r, g) == episode_of(s, h)) == ((r, g) == (s, h))


states = st.sampled_from(["pending", "firing", "recovering", "inactive", "resolved", "unknown"])


@given(st.lists(states, max_size=12))
def test_each_push_of_an_alert_is_followed_by_its_end_before_the_next(sequence: list[str]) -> None:
    made = story(*(transition(ordinal=n, state=state) for n, state in enumerate(sequence)))
    pushed = [d.phase for decisions in made for d in decisions if d.outcome == "pushed"]
    assert pushed == [("opening", "closing")[n % 2] for n in range(len(pushed))]
    assert [len(decisions) for decisions in made] == [1] * len(sequence)
