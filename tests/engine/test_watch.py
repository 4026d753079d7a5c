"""The engine's alert about itself (promise 5)."""

from __future__ import annotations

import msgspec
import pytest

from rules.engine.judge import JudgeCore
from rules.engine.watch import Watch
from schemas.topics import TRANSITIONS
from schemas.wire import CoreOptions, LogBatch, PanesRecord, Transition
from tests.support.engine import MINUTE, Station, at, organisation, rule, school_of

RULES = [
    rule(
        "r",
        "from: attendance.day_reported\ngroup_by: [school]\nwindow: 1 school_day\n"
        "measures: {absent: sum(absent)}\nwhen: absent >= 90\n",
    )
]


@pytest.fixture(params=[False, True], ids=["one life", "a restart after each record"])
def station(request: pytest.FixtureRequest) -> Station:
    """Two source partitions, both at 07:00."""
    made = Station(partitions=2, restarts=request.param)
    reference = organisation((school_of(0, 2), school_of(1, 2)))
    made.control(rules=RULES, reference=reference, clock_mode="wall")
    made.pulse(at("07:00"), mode="wall", every=MINUTE)
    return made


def go_on(station: Station, first: str, last: str) -> None:
    """Only the first partition is worked on."""
    for when in range(at(first), at(last) + 1, MINUTE):
        station.tapes[0].pulse(when, mode="wall", every=MINUTE)
        station.go()


def test_promise_5_two_minutes_without_judgement_are_an_alert_of_the_engine(station: Station) -> None:
    go_on(station, "07:01", "07:02")
    assert station.life() == []
    go_on(station, "07:03", "07:10")
    assert station.life() == ["07:02:00 firing input_stopped"]
    told = station.steps[0]
    assert (told.rule, told.severity, told.notify) == ("engine-behind", "P1", ["technician", "duty-officer"])
    assert (told.measures, told.group) == ({"partitions": 1.0, "seconds": 180.0}, {})
    assert told.text == {
        "vi": "Một phần số liệu chưa được xét từ 07:00 ngày 07/09/2026: 1 phân vùng bị chậm. "
        "Bảng theo dõi có thể thiếu cảnh báo. Đề nghị kỹ thuật viên kiểm tra hệ thống (trucban status).",
        "en": "Part of the input has not been judged since 07:00 on 07/09/2026 (partitions behind: 1). "
        "Alerts may be missing. Please have a technician look at the system (trucban status).",
    }
    station.tapes[1].pulse(at("07:10"), mode="wall", every=MINUTE)
    station.go()
    assert station.life()[1:] == ["07:10:00 resolved input_goes_on"]
    assert len({step.alert for step in station.steps}) == 1
    assert [step.ordinal for step in station.steps] == [1, 2]


def test_the_next_time_is_another_alert(station: Station) -> None:
    go_on(station, "07:01", "07:04")
    station.pulse(at("07:05"), mode="wall", every=MINUTE)
    go_on(station, "07:06", "07:09")
    assert [step.state for step in station.steps] == ["firing", "resolved", "firing"]
    assert len({step.alert for step in station.steps}) == 2


def test_a_source_that_was_never_heard_is_behind_too() -> None:
    watch = Watch()
    for minute in range(4):
        watch.hear(_record(0, at("07:00") + minute * MINUTE))
        step = watch.look({0: at("07:00") + minute * MINUTE}, 2)
        assert (step is not None) == (minute == 3)


def test_input_that_is_held_back_is_not_judged() -> None:
    """A configuration to which one source never comes: clocks go on, judgement does not."""
    station = Station(partitions=2)
    station.control(rules=RULES, reference=organisation([school_of(0, 2)]), clock_mode="wall")
    station.pulse(at("07:00"), mode="wall", every=MINUTE)
    station.tapes[0].control(rules=RULES[:0])
    for when in range(at("07:01"), at("07:04"), MINUTE):
        station.pulse(when, mode="wall", every=MINUTE)
    assert station.life() == ["07:02:00 firing input_stopped"]


def test_where_the_clock_is_in_the_data_nothing_is_said() -> None:
    station = Station(partitions=2)
    station.control(rules=RULES, reference=organisation([school_of(0, 2)]), clock_mode="data")
    station.pulse(at("07:00"))
    station.tapes[0].pulse(at("09:00"))
    station.go()
    assert station.life() == []


def test_one_judge_speaks_for_all() -> None:
    options = CoreOptions(2, 2)
    station = Station(partitions=2)
    station.control(rules=RULES, reference=organisation([school_of(0, 2)]), clock_mode="wall")
    station.pulse(at("07:00"), mode="wall", every=MINUTE)
    go_on(station, "07:01", "07:05")
    said = [_fed(JudgeCore(number, options), station.panes) for number in range(2)]
    assert [[step.state for step in steps] for steps in said] == [["firing"], []]


def _fed(core: JudgeCore, panes: list[bytes]) -> list[Transition]:
    size = len(panes)
    core.apply(LogBatch(0, list(range(size)), [None] * size, list(panes), [()] * size, [0] * size))
    found = [
        record.value or b"" for record in core.flush() if record.topic == TRANSITIONS and not record.headers
    ]
    return [msgspec.json.decode(value, type=Transition) for value in found]


def _record(source: int, clock: int) -> PanesRecord:
    return PanesRecord(source=source, sources=2, position=clock, clock=clock, config="", panes=[])
