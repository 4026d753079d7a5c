from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.civil import TIME_EXPECTED, day_of, day_start, day_text, parse_day, parse_time, times_ms
from tests.support.strategies import times

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
ODD = st.one_of(times(), st.text("0123456789-:.TZtz+ é", max_size=33), st.text(max_size=30))


@given(times())
def test_times_agree_with_the_standard_library(text: str) -> None:
    known = dt.datetime.fromisoformat(text)
    assert parse_time(text) == (known - EPOCH) // dt.timedelta(milliseconds=1)


@given(st.lists(ODD, max_size=8), st.data())
def test_many_times_are_read_like_one(texts: list[str], data: st.DataObject) -> None:
    for at in data.draw(st.sets(st.integers(0, 7), max_size=3)):
        if at < len(texts) and texts[at]:
            place = data.draw(st.integers(0, len(texts[at]) - 1))
            char = data.draw(st.sampled_from("0123456789-:.TZ+ é\x00"))
            texts[at] = texts[at][:place] + char + texts[at][place + 1 :]
    values, good = times_ms(texts)
    for text, value, fine in zip(texts, values.tolist(), good.tolist(), strict=True):
        if fine:
            assert parse_time(text) == value
        else:
            with pytest.raises(ValueError, match="expected"):
                parse_time(text)


@given(st.dates())
def test_days(date: dt.date) -> None:
    day = parse_day(date.isoformat())
    assert day_text(day) == date.isoformat()
    assert day_of(day_start(day)) == day
    assert day_of(day_start(day) - 1) == day - 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tomorrow", f"expected {TIME_EXPECTED}"),
        ("2026-09-07T24:00:00Z", f"expected {TIME_EXPECTED}; there is no 24:00:00"),
        ("2026-09-07T07:00:00+24:00", f"expected {TIME_EXPECTED}; there is no offset +24:00"),
        (
            "2026-02-30T07:00:00Z",
            "expected a date such as 2026-09-07; there is no 2026-02-30 in the calendar",
        ),
    ],
)
def test_messages_of_times(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        parse_time(text)
    assert str(caught.value) == message


def test_message_of_dates() -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        parse_day("7/9/2026")
    assert str(caught.value) == "expected a date such as 2026-09-07"
