from __future__ import annotations

from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.clock import ZONE, Anchor, BusinessClock, ClockSpec, parse_clock
from schemas.errors import SettingsError


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp() * 1000)


def test_specifications() -> None:
    assert parse_clock("wall") == ClockSpec("wall")
    assert parse_clock("data") == ClockSpec("data")
    assert parse_clock("07:05@10") == ClockSpec("demo", 425, 10.0)
    assert parse_clock("23:59@0.5") == ClockSpec("demo", 1439, 0.5)
    assert parse_clock("2026-10-05T07:05@10") == ClockSpec("demo", 425, 10.0, date(2026, 10, 5))


@pytest.mark.parametrize(
    "text",
    [
        "", "Wall", "24:00@1", "07:60@1", "7:05@10", "07:05", "07:05@0", "07:05@-1",
        "2026-02-29T07:05@10", "2026-10-05 07:05@10", "2026-10-05T07:05", "26-10-05T07:05@10",
    ],
)  # fmt: skip
def test_what_is_no_clock(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_clock(text)
    assert str(caught.value) == (
        f"clock {text!r} is not wall, data or [YYYY-MM-DDT]HH:MM@RATE (such as 07:05@10)"
    )


def test_a_demo_begins_at_start_today_and_runs_faster() -> None:
    begun = ms("2026-09-07T15:00:00")
    clock = BusinessClock(parse_clock("07:05@10"), real=begun)
    assert clock.tick(begun) == ms("2026-09-07T07:05:00")
    assert clock.tick(begun + 60_000) == ms("2026-09-07T07:15:00")


def test_a_dated_demo_begins_on_its_day_whatever_today_is() -> None:
    for begun in (ms("2026-09-07T15:00:00"), ms("2031-01-01T00:10:00")):
        clock = BusinessClock(parse_clock("2026-10-05T07:05@10"), real=begun)
        assert clock.tick(begun + 60_000) == ms("2026-10-05T07:15:00")


def test_a_dated_demo_that_stopped_goes_on_where_it_stopped() -> None:
    told = ms("2026-10-05T17:05:00")
    again = BusinessClock(parse_clock("2026-10-05T07:05@10"), real=ms("2031-01-01T00:00:00"), last=told)
    assert again.last == told


def test_today_is_a_civil_day_and_not_a_day_of_utc() -> None:
    begun = ms("2026-09-07T01:00:00")  # still the 6th in UTC
    assert BusinessClock(parse_clock("07:05@10"), real=begun).last == ms("2026-09-07T07:05:00")


def test_a_demo_that_stopped_goes_on_where_it_stopped() -> None:
    begun = ms("2026-09-07T15:00:00")
    first = BusinessClock(parse_clock("07:05@10"), real=begun)
    told = first.tick(begun + 3_600_000)
    again = BusinessClock(parse_clock("07:05@10"), real=begun + 7_200_000, last=told)
    assert again.tick(begun + 7_200_000) == told
    assert again.tick(begun + 7_201_000) == told + 10_000


def test_the_next_day_a_demo_begins_at_start_again() -> None:
    told = ms("2026-09-07T17:05:00")
    again = BusinessClock(parse_clock("07:05@10"), real=ms("2026-09-08T15:00:00"), last=told)
    assert again.last == ms("2026-09-08T07:05:00")


def test_the_wall_clock_waits_where_the_machine_was_set_back() -> None:
    clock = BusinessClock(parse_clock("wall"), real=5_000, last=9_000)
    assert [clock.tick(real) for real in (5_000, 8_000, 9_500, 9_400)] == [9_000, 9_000, 9_500, 9_500]


@given(
    st.sampled_from(["wall", "07:05@10", "00:00@0.25", "2026-10-05T07:05@10"]),
    st.lists(st.lists(st.integers(1_700_000_000_000, 1_900_000_000_000), min_size=1), min_size=1),
)
def test_business_time_never_goes_back_whatever_the_machine_and_restarts_do(
    spec: str, lives: list[list[int]]
) -> None:
    last: int | None = None
    told: list[int] = []
    for life in lives:
        clock = BusinessClock(parse_clock(spec), real=life[0], last=last)
        told += [clock.tick(real) for real in life]
        last = told[-1]
    assert told == sorted(told)


def test_an_anchor_tells_the_time_to_others() -> None:
    assert Anchor("demo", 1_000, 50_000, 10.0).now(1_500) == 55_000
    assert Anchor("demo", 1_000, 50_000, 10.0).now(900) == 50_000
