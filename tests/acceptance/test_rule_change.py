"""A rule is changed under load, three times and once badly: nothing is lost, repeated, or judged by no rule.

The rate is what the machine gives, 5,000 events/s at most; what is looked at is what came out.
"""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from feeds.outlet import KafkaOutlet
from rules.load import parse_rule
from schemas.civil import day_start, day_text
from schemas.topics import ARRIVED, EVENTS, KIND, PULSE, partition_of
from schemas.wire import Pulse
from tests.acceptance.stack import Stack, Tables, running, wait_for
from tests.acceptance.verdict import check_decisions, check_lives, check_pushes, due, lives
from trucban.pulse import FilesState

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

DAY = 20_703
"""2026-09-07, days since 1970-01-01."""
SCHOOLS = 40
PUPILS = 1_500
EVENTS_A_SLICE = 500
SLICE_SECONDS = 0.1
PART = SCHOOLS * PUPILS // EVENTS_A_SLICE // 5
"""Slices between two changes; the whole morning has five times as many."""
LIMITS = (60, 150, 30, 90)
"""How many absent make an alert: at first, and after each of the three changes."""
RULE = """\
rule: absent-load
title: {{vi: Vắng, en: Absent}}
severity: P2
status: active
owner: test
from: attendance.marked
group_by: [school]
window: 1 school_day
measures:
  marked: count(*)
  absent: count(*) filter (where status <> 'present')
when: absent >= {limit}
notify: [duty-officer]
message: {{vi: "{{school}}: {{absent}}", en: "{{school}}: {{absent}}"}}
tests:
  - name: too many
    events:
      - {{at: "07:30", repeat: {limit}, data: {{school: A, class: 1A, pupil: "{{n}}", session: morning,
                                               status: absent_excused}}}}
    expect: [{{state: firing}}]
  - name: nobody
    events: []
    expect: []
"""


def rule_text(limit: int) -> str:
    """The rule with one of its limits."""
    return RULE.format(limit=limit)


BROKEN = "load.yaml:2:8: this is not YAML: expected the node content, but found '<stream end>'"
LIMIT_OF = {parse_rule(rule_text(limit), "load.yaml").hash: limit for limit in LIMITS}


def marks(seed: int = 7) -> Iterator[tuple[str, str, bool, bytes]]:
    """(school, pupil, absent, event) of a morning, all schools at once; one in fifty is sent twice."""
    chance = random.Random(seed)
    for number in range(SCHOOLS * PUPILS):
        school, pupil = f"S{number % SCHOOLS:02d}", f"P{number // SCHOOLS}"
        absent = chance.random() < (number % SCHOOLS + 1) / (5 * SCHOOLS)
        seconds, ms = divmod(number * 60, 1000)
        clock = f"07:{seconds // 60:02d}:{seconds % 60:02d}.{ms:03d}"
        data = {"school": school, "class": "1A", "pupil": pupil, "date": day_text(DAY)}
        data |= {"session": "morning", "status": "absent_excused" if absent else "present"}
        event: dict[str, Any] = {"specversion": "1.0", "id": f"{school}-{pupil}", "source": "load"}
        event |= {"type": "attendance.marked", "time": f"{day_text(DAY)}T{clock}+07:00", "data": data}
        for _ in range(2 if number % 50 == 0 else 1):
            yield school, pupil, absent, msgspec.json.encode(event)


@dataclass
class Load:
    """Sends the morning in slices, not faster than one each tenth of a second, with a pulse after each."""

    outlet: KafkaOutlet
    sent: int = 0
    seconds: float = 0.0
    absent: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Naive recount: the absent of each school."""
    _marks: Iterator[tuple[str, str, bool, bytes]] = field(default_factory=marks)

    def send(self, slices: int) -> None:
        """So many slices, or what is left."""
        for _ in range(slices):
            began = time.monotonic()
            for _, (school, pupil, absent, value) in zip(range(EVENTS_A_SLICE), self._marks, strict=False):
                self._event(school, value)
                self.absent[school] |= {pupil} if absent else set()
            self.pulse(self._now())
            time.sleep(max(0.0, began + SLICE_SECONDS - time.monotonic()))
            self.seconds += time.monotonic() - began

    @property
    def rate(self) -> float:
        """Events a second of the time in which it sent."""
        return self.sent / self.seconds

    def pulse(self, clock: int) -> None:
        """The business time, in every partition, and everything acknowledged."""
        value = msgspec.json.encode(Pulse(clock, "data", every=0))
        for partition in range(self.outlet.partitions):
            headers = [(KIND, PULSE), (ARRIVED, str(clock).encode())]
            self.outlet.send(EVENTS, partition, None, value, headers)
        self.outlet.flush()

    def _event(self, school: str, value: bytes) -> None:
        headers = [(ARRIVED, str(self._now()).encode())]
        partition = partition_of(school, self.outlet.partitions)
        self.outlet.send(EVENTS, partition, school.encode(), value, headers)
        self.sent += 1

    def _now(self) -> int:
        """Just after the newest event: one arrives each 60 ms of the business day."""
        return day_start(DAY) + 7 * 3_600_000 + (self.sent + 1) * 60


class RuleFile:
    """The one file of the rules, and what the engine says of it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.write(rule_text(LIMITS[0]))

    def write(self, text: str) -> None:
        """Replace it as editors do: a new file beside it, then a rename."""
        part = self.directory / ".load.yaml.swp"
        part.write_text(text)
        part.replace(self.directory / "load.yaml")

    def state(self, stack: Stack) -> FilesState:
        """What `pulse` noted last."""
        path = stack.data_dir / "run" / "rules.json"
        if not path.exists():
            return FilesState(0, "", [])
        return msgspec.json.decode(path.read_bytes(), type=FilesState)


def counted(stack: Stack) -> dict[int, dict[str, tuple[int, int]]]:
    """Limit → school → (marked, absent) of the archive's aggregates."""
    with stack.clickhouse() as client:
        sql = "SELECT rule_hash, group['school'], measures FROM trucban.aggregates WHERE rule = 'absent-load'"
        rows = client.query(sql)
    found: dict[int, dict[str, tuple[int, int]]] = defaultdict(dict)
    for hash_, school, measures in rows:
        assert school not in found[LIMIT_OF[hash_]], "a school stands twice in the aggregates"
        found[LIMIT_OF[hash_]][school] = measures["marked"], measures["absent"]
    return found


def check_rule_in_force(tables: Tables, absent: dict[str, set[str]]) -> dict[str, int]:
    """Every step agrees with the limit it names, and at the end those fire that the last limit meets."""
    firing = set()
    reasons: dict[str, int] = defaultdict(int)
    for life in lives(tables).values():
        for step in life:
            number, limit = _absent_of(step), LIMIT_OF[step["rule_hash"]]
            reasons[step["reason"]] += 1
            assert (number >= limit) == (step["state"] == "firing"), step
            assert step["state"] == "firing" or (step["state"], step["reason"]) == (
                "resolved",
                "rule_changed",
            ), step
        if life[-1]["state"] == "firing":
            assert life[-1]["school"] not in firing, "two alerts of one school fire"
            firing.add(life[-1]["school"])
    assert firing == {school for school, pupils in absent.items() if len(pupils) >= LIMITS[-1]}
    return dict(reasons)


def _absent_of(step: dict[str, Any]) -> int:
    measures = json.loads(step["measures"].replace("'", '"'))
    return int(measures["absent"])


def change(stack: Stack, files: RuleFile, load: Load, limit: int) -> None:
    """A new limit while a part of the load is sent, and published before the next part."""
    before = files.state(stack).hash
    files.write(rule_text(limit))
    load.send(PART)
    wait_for(lambda: files.state(stack).hash != before, lambda: "no new rule is published", 15)
    assert files.state(stack).errors == []


def spoil(stack: Stack, files: RuleFile, load: Load) -> None:
    """A file with a fault, which changes nothing and is told."""
    before = files.state(stack).hash
    files.write("rule: absent-load\nwhen: [")
    load.send(PART // 2)
    wait_for(lambda: files.state(stack).errors, lambda: "no fault is told", 15)
    assert files.state(stack).errors == [BROKEN]
    assert files.state(stack).hash == before


@pytest.mark.parametrize("kind", ["embedded", pytest.param("apache", marks=pytest.mark.kafka)])
def test_a_rule_changed_under_load_loses_and_repeats_nothing(kind: str, tmp_path: Path) -> None:
    files = RuleFile(tmp_path / "rules")
    began = time.monotonic()
    laps: dict[str, float] = {}

    def lap(name: str) -> None:
        laps[name] = round(time.monotonic() - began, 1)

    with running(kind, tmp_path, options={"--rules": files.directory}) as stack:
        wait_for(lambda: files.state(stack).hash, lambda: "no rule is published", 30)
        lap("up")
        load = Load(KafkaOutlet(stack.address))
        load.send(PART)
        change(stack, files, load, LIMITS[1])
        spoil(stack, files, load)
        change(stack, files, load, LIMITS[2])
        change(stack, files, load, LIMITS[3])
        load.send(2 * PART)  # what is left: the last limit judges something too
        load.pulse(day_start(DAY) + 9 * 3_600_000)
        lap("sent")
        stack.wait_drained(lambda: _events(stack) == SCHOOLS * PUPILS)
        lap("drained")
        tables = stack.tables()
        truth = {school: (PUPILS, len(pupils)) for school, pupils in load.absent.items()}
        assert counted(stack)[LIMITS[-1]] == truth
        assert tables["rejected"] == []
        check_lives(tables)
        reasons = check_rule_in_force(tables, load.absent)
        assert reasons["rule_changed"] > 0
        decisions = stack.decisions()
        check_decisions(tables, decisions)
        assert check_pushes(stack, tables, decisions) == 0
        stack.stop()
    print(
        f"\n{kind}: {load.sent} events, {load.rate:.0f}/s while sending, {len(lives(tables))} alerts, "
        f"steps by reason {reasons}, {len(due(tables))} pushes, seconds since the begin: {laps}"
    )


def _events(stack: Stack) -> int:
    with stack.clickhouse() as client:
        return int(client.query("SELECT count() FROM trucban.events")[0][0])
