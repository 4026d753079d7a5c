"""Each scenario, through the whole engine, raises exactly the alerts that it states."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from feeds.scenarios import SCENARIOS, STATED, Stated, clock
from schemas.civil import day_start
from schemas.wire import Transition
from tests.support.scenarios import DAY, Played

MINUTE = 60_000


@pytest.fixture(scope="module")
def played() -> Played:
    """The engine after four weeks of history."""
    return Played()


def told(steps: Sequence[Transition]) -> list[Transition]:
    """Steps with which people are told that an alert fires."""
    return [step for step in steps if opens(step)]


def opens(step: Transition) -> bool:
    """Is somebody woken?"""
    again = step.reason in {"children_changed", "window_continued"}
    return step.state == "firing" and not step.held_by and not again


def held(alert: str, steps: Sequence[Transition]) -> int:
    """Of how many schools an alert has held others."""
    return len({step.group["school"] for step in steps if step.held_by == alert})


def minute_of(step: Transition) -> int:
    return (step.at - day_start(DAY)) // MINUTE


def met_by(stated: Stated, steps: Sequence[Transition]) -> list[Transition]:
    """The steps that a statement is about."""
    return [
        step
        for step in steps
        if (step.rule, step.group) == (stated.rule, dict(stated.group))
        and abs(minute_of(step) - clock(stated.at)) <= 1
    ]


def test_every_scenario_states_what_must_come() -> None:
    assert STATED.keys() == SCENARIOS.keys()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_raises_the_alerts_it_states_and_no_other(scenario: str, played: Played) -> None:
    steps = played.play(scenario)
    found = told(steps)
    said = [f"{step.rule} {step.group} at minute {minute_of(step)}" for step in found]
    for stated in STATED[scenario]:
        met = met_by(stated, found)
        assert len(met) == 1, f"{stated} came {len(met)} times; there was {said}"
        if stated.schools is not None:
            assert held(met[0].alert, steps) == stated.schools, stated
    assert len(found) == len(STATED[scenario]), said
