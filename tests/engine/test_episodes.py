"""An episode over windows that follow each other, with every core as it is and restored at each record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.engine.episodes import window_before
from rules.engine.windows import window_end
from rules.model import Window
from schemas.civil import DAY_MS
from tests.support.engine import MINUTE, MONDAY, Station, at, organisation, rule

HOURLY = """\
from: attendance.marked
where: status = 'absent_unexcused'
group_by: [school]
window: 1h
measures:
  times: count(*)
when: times >= 2
"""


@pytest.fixture(params=[False, True], ids=["through", "restored after every record"])
def station(request: pytest.FixtureRequest) -> Station:
    return Station(restarts=request.param)


def start(station: Station, body: str = HOURLY) -> None:
    station.control(rules=[rule("r", body)], reference=organisation(("A",)))


def absent(station: Station, clock: str, *, times: int = 2, day: int = MONDAY) -> None:
    """So many absent pupils at a time of the day, and a pulse a minute later."""
    for number in range(times):
        station.tape.mark("A", f"{day}-{clock}-{number}", "absent_unexcused", at(clock, day), day=day)
    station.pulse(at(clock, day) + MINUTE)


def test_promise_7_the_next_window_goes_on_with_the_episode(station: Station) -> None:
    start(station)
    absent(station, "07:10")
    absent(station, "08:20")
    absent(station, "09:30")
    station.pulse(at("10:30"))
    station.pulse(at("12:00", MONDAY + 1))
    assert station.life() == [
        "07:11:00 firing condition_met",
        "08:21:00 firing window_continued",
        "09:31:00 firing window_continued",
        "+1d 08:00:00 resolved window_continued",
        "+1d 09:00:00 resolved window_continued",
        "+1d 10:00:00 resolved window_ended",
    ]
    assert len({step.alert for step in station.steps}) == 3


def test_after_a_window_without_it_is_news(station: Station) -> None:
    start(station)
    absent(station, "07:10")
    absent(station, "08:20", times=1)
    absent(station, "09:30")
    station.pulse(at("12:00", MONDAY + 1))
    assert [step.reason for step in station.steps] == ["condition_met"] * 2 + ["window_ended"] * 2


@pytest.mark.parametrize("order", [("07:50", "08:10"), ("08:10", "07:50")])
def test_windows_of_one_record_are_judged_in_their_order_not_in_that_of_its_panes(
    station: Station, order: tuple[str, str]
) -> None:
    """The order of panes in a record depends on how the log was cut (the simulator's seed 406)."""
    start(station)
    for clock in order:
        for number in range(2):
            station.tape.mark("A", f"{clock}-{number}", "absent_unexcused", at(clock), arrives=at("08:15"))
    station.pulse(at("08:16"))
    assert station.life() == ["08:16:00 firing condition_met", "08:16:00 firing window_continued"]
    assert [step.window_start for step in station.steps] == [at("07:00"), at("08:00")]


def test_at_midnight_windows_follow_each_other_too(station: Station) -> None:
    start(station, HOURLY.replace("1h", "5h"))  # the day's last has four hours
    absent(station, "23:10")
    absent(station, "00:20", day=MONDAY + 1)
    assert station.life() == ["23:11:00 firing condition_met", "+1d 00:21:00 firing window_continued"]


def test_from_one_school_day_to_the_next_it_is_news(station: Station) -> None:
    start(station, HOURLY.replace("1h", "1 school_day"))
    absent(station, "07:10")
    absent(station, "07:10", day=MONDAY + 1)
    assert [step.reason for step in station.steps] == ["condition_met", "condition_met"]


def test_with_for_it_goes_on_when_it_has_held(station: Station) -> None:
    start(station, HOURLY + "for: 10m\n")
    absent(station, "07:10")
    station.pulse(at("07:30"))
    absent(station, "08:20")
    station.pulse(at("08:40"))
    assert station.life() == [
        "07:11:00 pending condition_met",
        "07:21:00 firing held",
        "08:21:00 pending condition_met",
        "08:31:00 firing window_continued",
    ]


def test_what_was_pending_hands_nothing_on(station: Station) -> None:
    start(station, HOURLY + "for: 2h\n")
    absent(station, "07:10")
    absent(station, "08:20")
    station.pulses(at("08:25"), at("10:30"), 5 * MINUTE)
    assert [(step.state, step.reason) for step in station.steps] == [
        ("pending", "condition_met"),
        ("pending", "condition_met"),
        ("firing", "held"),
        ("firing", "window_continued"),
    ]


def test_a_window_takes_over_once_and_says_itself_how_it_ends(station: Station) -> None:
    start(station)
    absent(station, "07:10")
    absent(station, "08:20")
    station.tape.correct("A", f"{MONDAY}-08:20-0", "present", at("08:30"))
    station.pulse(at("08:31"))
    station.pulse(at("08:32"))
    absent(station, "08:40", times=1)
    station.pulse(at("10:30"))
    station.pulse(at("12:00", MONDAY + 1))
    assert station.life() == [
        "07:11:00 firing condition_met",
        "08:21:00 firing window_continued",
        "08:31:00 retracted corrected",
        "08:41:00 firing condition_met",
        "+1d 08:00:00 resolved window_continued",
        "+1d 09:00:00 resolved window_ended",
    ]


@given(st.integers(1, DAY_MS), st.integers(0, 400 * DAY_MS))
def test_the_window_before_is_the_one_that_ends_here(length: int, instant: int) -> None:
    window = Window("fixed", length)
    midnight = at("00:00") + instant // DAY_MS * DAY_MS
    start = midnight + instant % DAY_MS // length * length
    before = window_before(window, start)
    assert before is not None
    assert window_end(window, before) == start


def test_other_windows_have_none_before() -> None:
    assert window_before(Window("school_day"), at("00:00")) is None
    assert window_before(Window("none"), 0) is None
