"""`correlate`: parents, who holds whom, and that neither judges' speed nor a restart changes any of it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.engine.configured import ClockMode, encode_config
from rules.engine.correlate import CorrelateCore
from rules.engine.family import GIVEN_BACK_AFTER
from rules.engine.life import LIVE
from rules.engine.waiting import PATIENCE
from rules.load import CATALOGUE
from schemas.reference import Reference, SchoolClass, Unit
from schemas.topics import CONTROL, JUDGED, KIND
from schemas.wire import Config, CoreOptions, Judged, LogBatch, RuleFile, State, Transition
from tests.support.engine import MINUTE, MONDAY, Station, at, reborn, rule

START = at("07:00")
SILENT = "from: source.heartbeat\ngroup_by: [school]\nsilence: 10m\nfor: 5m\ninhibited_by: [vendor]\n"
VENDOR = "over: silent\ngroup_by: [vendor]\nwhen: live >= 3 and live >= 0.5 * members\nrecover: live < 2\n"
SPIKE = """\
from: attendance.marked
where: level = 'primary'
group_by: [school, session]
window: 1 school_day
measures:
  absent: count(*) filter (where status = 'absent_unexcused')
when: absent >= 1
rollup: {along: [commune, city], share: 25%, least: 2}
"""
ROLL = """\
expect: {every: class, event: attendance.class_closed, by: "08:15", on: school_day}
group_by: [school, session]
inhibited_by: [silent]
"""
SET = [rule("silent", SILENT), rule("vendor", VENDOR), rule("spike", SPIKE), rule("roll", ROLL)]


def district(schools: int = 6, communes: int = 2) -> Reference:
    units = [Unit(code="city", name="Thành phố", kind="city")]
    units += [Unit(code=f"X{n}", name=f"Xã {n}", kind="commune", parent="city") for n in range(communes)]
    units += [
        Unit(code=f"S{n}", name=f"Trường {n}", kind="school", parent=f"X{n % communes}", level="primary",
             vendor="V1")
        for n in range(schools)
    ]  # fmt: skip
    units.append(Unit(code="MN", name="Mầm non", kind="school", parent="X0", level="preschool", vendor="V2"))
    return Reference.of(units, [SchoolClass(code="1A", school=u.code, sessions=("morning",), enrolled=30)
                                for u in units if u.kind == "school"])  # fmt: skip


def step(name: str, school: int, ordinal: int, state: State, when: int, **more: Any) -> Transition:
    """A step of a school's alert, as a judge tells it."""
    group = {"school": f"S{school}"} | ({} if name == "silent" else {"session": "morning"})
    start = at("00:00") if name != "silent" else START
    counted = {"silent": ["vendor"], "spike": ["spike"], "roll": []}[name]
    inhibited = {"silent": ["vendor"], "spike": [], "roll": ["silent"]}[name]
    made = Transition(
        id=f"{name}{school}/{ordinal}", alert=f"{name}{school}", ordinal=ordinal, rule=name, rule_hash="h",
        severity="P2", status="active", group=group, window_start=start, window_end=start, state=state,
        at=when, decided_at=when, reason="window_ended" if state == "resolved" else "condition_met",
        measures={}, limits={}, positions={}, event_ids=[], title={}, text={}, notify=[], due=when,
        places={"commune": f"X{school % 2}", "city": "city", "vendor": "V1",
                "school_name": f"Trường {school}"},
        inhibited_by=inhibited, counted_by=counted,
    )  # fmt: skip
    return msgspec.structs.replace(made, **more)


class Line:
    """The log ``alerting.transitions`` in front of one core."""

    def __init__(self, judges: int = 1, *, restarts: bool = False, mode: ClockMode = "data") -> None:
        self.options, self.restarts, self.mode = CoreOptions(judges, judges), restarts, mode
        self.core = CorrelateCore(0, self.options)
        self.said: list[Transition] = []
        self.position = 0
        self.control()

    def put(self, value: bytes, kind: bytes = b"", stamp: int = 0) -> None:
        headers = ((KIND, kind),) if kind else ()
        self.core.apply(LogBatch(0, [self.position], [None], [value], [headers], [stamp]))
        self.position += 1
        self.said += [msgspec.json.decode(out.value or b"", type=Transition) for out in self.core.flush()]
        if self.restarts:
            self.core = reborn(self.core, lambda: CorrelateCore(0, self.options))

    def control(self, rules: Sequence[RuleFile] = SET, reference: Reference | None = None) -> None:
        data = (reference or district()).to_json()
        self.put(encode_config(Config(rules=list(rules), reference=data, clock_mode=self.mode)), CONTROL)

    def tell(self, *steps: Transition, stamp: int = 0) -> None:
        for one in steps:
            self.put(msgspec.json.encode(one), stamp=stamp)

    def judged(self, clock: int, judge: int = 0, stamp: int = 0) -> None:
        self.put(msgspec.json.encode(Judged(judge, clock)), JUDGED, stamp)

    def life(self) -> list[str]:
        """Everything that was said: minute, rule, group, state, reason, holder, held."""
        rules = {one.alert: one.rule for one in self.said}
        return [
            f"{(one.at - START) // MINUTE} {one.rule} {'/'.join(one.group.values())} {one.state} {one.reason}"
            + (f" {one.held_how} by {rules[one.held_by]}" if one.held_by else "")
            + (f" holds {one.holds}" if one.holds else "")
            for one in self.said
        ]


def minute(number: int) -> int:
    return START + number * MINUTE


def test_a_composite_begins_with_its_children_and_holds_them_from_the_first_on() -> None:
    line = Line()
    line.tell(*(step("silent", n, 1, "pending", minute(10)) for n in range(3)))
    assert line.said == [], "they wait for their judge"
    line.judged(minute(10))
    line.tell(*(step("silent", n, 2, "firing", minute(15)) for n in range(3)))
    line.judged(minute(15))
    assert line.life() == [
        "10 vendor V1 firing condition_met",
        "10 silent S0 pending condition_met",
        "10 silent S1 pending condition_met",
        "10 silent S2 pending condition_met",
        "15 silent S0 firing condition_met inhibited by vendor",
        "15 silent S1 firing condition_met inhibited by vendor",
        "15 silent S2 firing condition_met inhibited by vendor",
        "15 vendor V1 firing children_changed holds 3",
    ]
    assert line.said[0].measures == {"live": 3.0, "pending": 3.0, "firing": 0.0, "members": 6.0}
    assert line.said[-1].measures == {"live": 3.0, "pending": 0.0, "firing": 3.0, "members": 6.0}


def test_a_child_that_outlives_its_parent_is_given_back_after_a_while() -> None:
    line = Line()
    line.tell(*(step("silent", n, 1, "firing", minute(15)) for n in range(3)))
    line.judged(minute(15))
    line.tell(*(step("silent", n, 2, "resolved", minute(20), reason="event_seen") for n in (0, 1)))
    line.judged(minute(20))
    assert line.life()[-3:] == [
        "20 vendor V1 resolved recovered",
        "20 silent S0 resolved event_seen inhibited by vendor",
        "20 silent S1 resolved event_seen inhibited by vendor",
    ]
    before = len(line.said)
    line.judged(minute(20) + GIVEN_BACK_AFTER - 1)
    assert line.said[before:] == []
    line.judged(minute(20) + GIVEN_BACK_AFTER)
    assert line.life()[before:] == ["25 silent S2 firing given_back"]
    assert (line.said[-1].ordinal, line.said[-1].revision, line.said[-1].held_by) == (1, 1, "")


def test_a_child_that_ends_meanwhile_is_never_given_back() -> None:
    line = Line()
    line.tell(*(step("silent", n, 1, "firing", minute(15)) for n in range(3)))
    line.judged(minute(15))
    line.tell(*(step("silent", n, 2, "resolved", minute(20 + n), reason="event_seen") for n in range(3)))
    line.judged(minute(60))
    assert not [one for one in line.said if one.reason == "given_back"]
    assert line.core.snapshot(complete=True).blocks


def test_an_alert_is_held_by_a_holder_that_comes_later_without_being_told_anew() -> None:
    line = Line()
    line.tell(step("roll", 0, 1, "firing", minute(75)), step("silent", 0, 1, "firing", minute(76)))
    line.judged(minute(76))
    assert line.life() == [
        "75 roll S0/morning firing condition_met",
        "76 silent S0 firing condition_met holds 1",
        "76 roll S0/morning firing inhibited inhibited by silent",
    ]


def test_alerts_of_other_places_are_not_held() -> None:
    line = Line()
    line.tell(step("roll", 1, 1, "firing", minute(75)), step("silent", 0, 1, "firing", minute(75)))
    line.judged(minute(75))
    assert {one.held_by for one in line.said} == {""}


def test_a_rule_rolls_up_along_the_tree_and_says_of_how_many() -> None:
    line = Line()
    line.tell(step("spike", 0, 1, "firing", minute(60)), step("spike", 2, 1, "firing", minute(61)))
    line.judged(minute(61))
    line.tell(step("spike", 1, 1, "firing", minute(62)), step("spike", 3, 1, "firing", minute(63)))
    line.judged(minute(63))
    assert line.life() == [
        "60 spike S0/morning firing condition_met",
        "61 spike X0/morning firing condition_met holds 2",  # two of the commune's three primary schools
        "61 spike S2/morning firing condition_met absorbed by spike",
        "61 spike S0/morning firing absorbed absorbed by spike",
        "62 spike city/morning firing condition_met holds 2",  # not before another commune has one
        "62 spike S1/morning firing condition_met absorbed by spike",
        "62 spike X0/morning firing absorbed absorbed by spike holds 2",
        "63 spike X1/morning firing condition_met absorbed by spike holds 2",
        "63 spike S3/morning firing condition_met absorbed by spike",
        "63 spike S1/morning firing absorbed absorbed by spike",
        "63 spike city/morning firing children_changed holds 2",
    ]
    assert [one.measures["live"] for one in line.said if "city" in one.group.values()] == [3, 4]
    commune = next(one for one in line.said if one.group == {"commune": "X0", "session": "morning"})
    assert commune.measures == {"live": 2.0, "pending": 0.0, "firing": 2.0, "members": 3.0}
    assert commune.text["vi"] == (
        "Xã 0 (buổi sáng): 2/3 trường cùng có cảnh báo “x” từ 08:00: Trường 0, Trường 2. "
        "Đề nghị xem xét chung, không xử lý từng nơi."
    )
    assert commune.limits == {"when": "live >= 2 and live > 25% of members"}


def test_a_p1_never_waits() -> None:
    line = Line(judges=2)
    line.tell(step("silent", 0, 1, "firing", minute(15), severity="P1"))
    assert line.life() == ["15 silent S0 firing condition_met"]


def test_nothing_waits_longer_than_its_patience_whoever_is_slow() -> None:
    line = Line(judges=2, mode="wall")
    line.tell(step("silent", 0, 1, "firing", minute(15)), stamp=1000)
    line.judged(minute(30), judge=0, stamp=1000 + PATIENCE - 1)
    assert line.said == []
    line.judged(minute(31), judge=0, stamp=1000 + PATIENCE)
    assert line.life() == ["15 silent S0 firing condition_met"]


def test_where_the_clock_is_in_the_data_nobody_is_in_a_hurry() -> None:
    line = Line(judges=2)
    line.tell(step("silent", 0, 1, "firing", minute(15)), stamp=1000)
    line.judged(minute(30), judge=0, stamp=1000 + 100 * PATIENCE)
    assert line.said == []
    line.judged(minute(15), judge=1)
    assert line.life() == ["15 silent S0 firing condition_met"]


def test_steps_of_one_alert_stay_in_their_order() -> None:
    line = Line()
    late = step("silent", 0, 2, "resolved", minute(14), reason="event_seen")  # it came late, of before
    line.tell(step("silent", 0, 1, "firing", minute(15)), late)
    line.judged(minute(20))
    assert [one.state for one in line.said] == ["firing", "resolved"]


@pytest.mark.parametrize(
    ("rules", "state", "reason"),
    [
        ([SET[0], *SET[2:]], "retired", "rule_removed"),
        ([SET[0], rule("vendor", VENDOR.replace(">= 3", ">= 9").replace("< 2", "< 4")), *SET[2:]],
         "resolved", "rule_changed"),
        ([SET[0], rule("vendor", VENDOR.replace("[vendor]", "[commune]")), *SET[2:]],
         "resolved", "rule_changed"),
    ],
)  # fmt: skip
def test_promise_7_a_parent_ends_with_its_rule(rules: list[RuleFile], state: State, reason: str) -> None:
    line = Line()
    line.tell(*(step("silent", n, 1, "firing", minute(15)) for n in range(3)))
    line.judged(minute(15))
    parent = line.said[0].alert
    line.control(rules)
    ends = [(one.state, one.reason) for one in line.said if one.alert == parent][1:]
    assert ends[-1] == (state, reason)
    line.judged(minute(15) + GIVEN_BACK_AFTER)
    back = [one.group["school"] for one in line.said if one.reason == "given_back"]
    assert back == ["S0", "S1", "S2"]


def test_a_school_that_moves_while_its_alert_lives_counts_where_it_is_now() -> None:
    line = Line()
    line.tell(step("spike", 0, 1, "firing", minute(60)), step("spike", 2, 1, "firing", minute(60)))
    line.judged(minute(60))
    moved = {"commune": "X1", "city": "city", "vendor": "V1", "school_name": "Trường 2"}
    line.tell(step("spike", 2, 2, "recovering", minute(70), places=moved))
    line.tell(step("spike", 0, 2, "resolved", minute(71)), step("spike", 2, 3, "resolved", minute(72)))
    line.judged(minute(72))
    assert not [one for one in last(line.said).values() if one.state in LIVE]


def last(said: Sequence[Transition]) -> dict[str, Transition]:
    """Each alert's newest step."""
    found: dict[str, Transition] = {}
    for one in said:
        known = found.get(one.alert)
        if known is None or (known.ordinal, known.revision) < (one.ordinal, one.revision):
            found[one.alert] = one
    return found


MOVES = st.lists(
    st.tuples(st.sampled_from(["silent", "silent", "spike", "roll"]), st.integers(0, 5), st.integers(0, 3)),
    max_size=24,
)


def told(moves: list[tuple[str, int, int]], judges: int) -> list[list[Transition]]:
    """Each judge's steps, in order: an alert fires, recovers, fires again, ends; then all end."""
    states: dict[tuple[str, int], tuple[int, State]] = {}
    streams: list[list[Transition]] = [[] for _ in range(judges)]
    after: dict[str, State] = {"": "firing", "firing": "recovering", "recovering": "resolved"}
    clock = 1

    def go(name: str, school: int, state: State) -> None:
        ordinal = states.get((name, school), (0, ""))[0] + 1
        states[name, school] = ordinal, state
        streams[school % judges].append(step(name, school, ordinal, state, minute(clock)))

    for name, school, wait in moves:
        clock += wait
        before = states.get((name, school), (0, ""))[1]
        if before in after:
            go(name, school, after[before])
    clock += 1
    for (name, school), (_, state) in sorted(states.items()):
        if state != "resolved":
            go(name, school, "resolved")
    return streams


def merged(line: Line, streams: list[list[Transition]], seed: int) -> Line:
    """Judges are read in random turns; each says how far it has come now and then."""
    chance, places = random.Random(seed), [0] * len(streams)
    end = max((s[-1].at for s in streams if s), default=START)
    while any(place < len(stream) for place, stream in zip(places, streams, strict=True)):
        judge = chance.choice([n for n, stream in enumerate(streams) if places[n] < len(stream)])
        one = streams[judge][places[judge]]
        if chance.random() < 0.3:
            line.judged(one.at - 1, judge)
        line.tell(one)
        if chance.random() < 0.2:
            line.tell(*streams[judge][max(0, places[judge] - 2) : places[judge] + 1])  # a replay
        places[judge] += 1
    for judge in range(len(streams)):
        line.judged(end + GIVEN_BACK_AFTER, judge)
    return line


def shape(said: list[Transition]) -> list[tuple[object, ...]]:
    return sorted(
        (one.alert, one.ordinal, one.revision, one.state, one.at, one.reason, one.held_by, one.holds)
        for one in said
    )


@settings(max_examples=30, deadline=None)
@given(MOVES, st.integers(), st.integers())
def test_promise_7_neither_the_judges_speed_nor_restarts_change_who_is_told(
    moves: list[tuple[str, int, int]], one: int, other: int
) -> None:
    streams = told(moves, 3)
    first = merged(Line(3), streams, one)
    assert shape(first.said) == shape(merged(Line(3), streams, other).said)
    assert shape(first.said) == shape(merged(Line(3, restarts=True), streams, one).said)
    steps = [(s.alert, s.ordinal, s.revision) for s in first.said]
    assert len(set(steps)) == len(steps), "nothing is said twice"
    passed = [(s.alert, s.ordinal) for s in first.said if s.revision == 0 and s.rule != "vendor"]
    assert {(s.alert, s.ordinal) for stream in streams for s in stream} <= set(passed), "nothing is lost"
    assert not [s for s in last(first.said).values() if s.state in LIVE], "all has ended"
    firing: set[str] = set()
    for said in first.said:
        if said.held_by and said.state in LIVE and said.revision:
            assert said.held_by in firing, "only what fires takes an alert over"
        if said.state in ("firing", "recovering"):
            firing.add(said.alert)
        else:
            firing.discard(said.alert)


def test_a_vendors_outage_is_one_alert_through_the_whole_engine() -> None:
    files = [RuleFile(p.name, p.read_text("utf-8")) for p in sorted(Path(CATALOGUE).rglob("*.yaml"))]
    station = Station(partitions=3)
    station.control(rules=files, reference=district(6), clock_mode="demo")
    schools = [f"S{n}" for n in range(6)]
    for when in range(at("07:00"), at("07:51"), MINUTE):
        for n, school in enumerate(schools):
            if (when // MINUTE + n) % 5 == 0 and not (n < 5 and at("07:10") < when < at("07:40")):
                station.tapes[_partition(school)].heartbeat(school, when)
        station.pulse(when, mode="demo", every=MINUTE)
    assert station.tape.clock < (MONDAY + 1) * 86_400_000
    seen = [(s.rule, s.state, bool(s.held_by)) for s in station.steps if s.state in ("firing", "resolved")]
    assert [one for one in seen if not one[2]] == [
        ("vendor-outage", "firing", False),
        *[("vendor-outage", "firing", False)] * 5,  # it says how many it holds
        ("vendor-outage", "resolved", False),
    ]
    assert seen.count(("school-silent", "firing", True)) == 5


def _partition(school: str) -> int:
    from schemas.topics import partition_of

    return partition_of(school, 3)
