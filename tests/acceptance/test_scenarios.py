"""The scenarios on real processes: exactly their stated alerts, and kills change neither alerts nor pushes.

A cut-down example district (each fourth class, all schools) lives through a Monday for each scenario. The
clock is in the data, so nothing depends on how fast the machine is. The first Mondays are the history of the
last, `flu`; that `ordinary` stays calm with a history is proved in `tests/feeds/test_scenarios.py`.
"""

from __future__ import annotations

import csv
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from feeds.day import day_events
from feeds.merging import FeedEvent
from feeds.outlet import KafkaOutlet
from feeds.pace import put
from feeds.scenarios import STATED, Stated, clock
from schemas.civil import day_start, parse_day
from schemas.reference_files import load_reference
from schemas.topics import ARRIVED, EVENTS, KIND, PULSE
from schemas.wire import Pulse
from tests.acceptance.stack import REPOSITORY, Rows, Stack, Tables, running, wait_for
from tests.acceptance.verdict import check_decisions, check_held, check_lives, check_pushes, difference

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MONDAYS = {
    "ordinary": "2026-10-05",
    "late-rolls": "2026-10-12",
    "sync-trouble": "2026-10-19",
    "silent-vendor": "2026-10-26",
    "flu": "2026-11-02",
}
"""Flu comes last: it changes what is usual."""
MINUTE = 60_000
WATCHED = (6 * 60 + 30, 14 * 60)
READ = ("attendance.marked", "attendance.class_closed", "source.heartbeat", "sync.pushed")
"""Types that rules of the catalogue read."""
KILLS = (
    "worker-1",
    "notifier",
    "broker",
    "worker-2",
    "archiver",
    "supervisor",
    "pulse",
    "worker-1",
    "notifier",
)
SEED = 4
AGAIN = ("children_changed", "window_continued")
ALERTS = (
    "SELECT alert, rule, `group`, toUnixTimestamp64Milli(at), state, reason, held_by "
    "FROM trucban.alert_log FINAL"
)


@pytest.fixture(scope="module")
def district(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example district with each fourth class of each school, and the one that falls ill."""
    source, target = REPOSITORY / "examples" / "thanh-tri", tmp_path_factory.mktemp("district")
    for name in ("units.csv", "calendar.yaml"):
        shutil.copy(source / name, target / name)
    with (source / "classes.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    seen: dict[str, int] = {}
    with (target / "classes.csv").open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, rows[0].keys())
        writer.writeheader()
        for row in rows:
            number = seen[row["school"]] = seen.get(row["school"], -1) + 1
            if number % 4 == 0 or (row["school"], row["code"]) == ("TT-TH-05", "3A"):
                writer.writerow(row)
    return target


@dataclass
class Morning:
    """Sends a scenario's Monday in order of arrival, with a pulse each minute of it in every partition."""

    outlet: KafkaOutlet
    district: Path
    every: int = 15
    """After so many minutes what was sent is acknowledged."""
    sent: int = 0

    def minutes(self, scenario: str) -> Iterator[int]:
        """One minute of the day after the other."""
        day = parse_day(MONDAYS[scenario])
        events = self._events(scenario, day)
        event = next(events)
        for minute in range(WATCHED[0], WATCHED[1] + 1):
            until = day_start(day) + minute * MINUTE
            while event.arrived < until:
                put(self.outlet, event)
                self.sent += 1
                event = next(events)
            self._pulse(until)
            if minute % self.every == 0:
                self.outlet.flush()
            yield minute

    def _events(self, scenario: str, day: int) -> Iterator[FeedEvent]:
        begin = day_start(day) + WATCHED[0] * MINUTE
        kinds = [f'"type":"{name}"'.encode() for name in READ]
        for event in day_events(load_reference(self.district), day, scenario):
            if event.arrived >= begin and any(kind in event.value for kind in kinds):
                yield event

    def _pulse(self, at: int) -> None:
        value = msgspec.json.encode(Pulse(at, "data", MINUTE))
        for partition in range(self.outlet.partitions):
            headers = [(KIND, PULSE), (ARRIVED, str(at).encode())]
            self.outlet.send(EVENTS, partition, None, value, headers)


def told(stack: Stack, scenario: str) -> list[tuple[str, dict[str, str], int, str]]:
    """(rule, group, minute of the day, alert) of what people were told of on a scenario's Monday."""
    start = day_start(parse_day(MONDAYS[scenario]))
    with stack.clickhouse() as client:
        rows = client.query(ALERTS)
    return sorted(
        (
            (rule, dict(group), (at - start) // MINUTE, alert)
            for alert, rule, group, at, state, reason, held_by in rows
            if state == "firing" and not held_by and reason not in AGAIN and 0 <= at - start < 86_400_000
        ),
        key=repr,
    )


def schools_held(stack: Stack, alert: str) -> int:
    """Of how many schools an alert has held others."""
    with stack.clickhouse() as client:
        return len(
            {dict(group)["school"] for _, _, group, _, _, _, by in client.query(ALERTS) if by == alert}
        )


def check_stated(stack: Stack, scenario: str) -> None:
    """Exactly what the scenario states."""
    found = told(stack, scenario)
    for stated in STATED[scenario]:
        met = [one for one in found if _is(stated, one)]
        assert len(met) == 1, f"{scenario}: {stated} came {len(met)} times; there was {found}"
        if stated.schools is not None:
            assert schools_held(stack, met[0][3]) == stated.schools, stated
    assert len(found) == len(STATED[scenario]), f"{scenario}: {found}"


def _is(stated: Stated, one: tuple[str, dict[str, str], int, str]) -> bool:
    rule, group, minute, _ = one
    return (rule, group) == (stated.rule, dict(stated.group)) and abs(minute - clock(stated.at)) <= 1


@pytest.mark.parametrize("kind", ["embedded", pytest.param("apache", marks=pytest.mark.kafka)])
def test_each_scenario_raises_exactly_its_stated_alerts(kind: str, district: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    with running(kind, tmp_path, options={"--reference": district}) as stack:
        morning = Morning(KafkaOutlet(stack.address), district)
        for scenario in MONDAYS:
            for _ in morning.minutes(scenario):
                pass
        sent = time.monotonic() - began
        stack.wait_drained(lambda: archived(stack) == morning.sent)
        for scenario in MONDAYS:
            check_stated(stack, scenario)
        tables = stack.tables()
        assert tables["rejected"] == []
        check_lives(tables)
        held = check_held(tables)
        decisions = stack.decisions()
        check_decisions(tables, decisions)
        assert check_pushes(stack, tables, decisions) == 0
        stack.stop()
    print(
        f"\n{kind}: {morning.sent} events in {sent:.0f} s, drained at {time.monotonic() - began:.0f} s, "
        f"{held} held, {len(stack.receiver.requests)} pushes"
    )


def archived(stack: Stack) -> int:
    """Events in the archive."""
    with stack.clickhouse() as client:
        return int(client.query("SELECT count() FROM trucban.events")[0][0])


# --- kills ------------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What came of a silent vendor's Monday."""

    tables: Tables
    decisions: Rows
    repeats: int
    kills: list[str] = field(default_factory=list)


def played(stack: Stack, district: Path, kills: tuple[str, ...]) -> Outcome:
    """A silent vendor's Monday, with kills at random minutes between 07:20 and 09:00."""
    chance = random.Random(SEED)
    at = sorted(zip(chance.sample(range(7 * 60 + 20, 9 * 60), len(kills)), kills, strict=True))
    morning, done = Morning(KafkaOutlet(stack.address), district, every=1), []
    for minute in morning.minutes("silent-vendor"):
        while at and at[0][0] == minute:
            done.append(at.pop(0)[1])
            kill(stack, done[-1])
        if minute >= 10 * 60:
            break
    stack.wait_ready()
    stack.wait_drained(lambda: archived(stack) == morning.sent)
    tables, decisions = stack.tables(), stack.decisions()
    check_lives(tables)
    check_decisions(tables, decisions)
    return Outcome(tables, decisions, check_pushes(stack, tables, decisions), done)


def kill(stack: Stack, name: str) -> None:
    """SIGKILL while it works; what is needed for sending on is awaited."""
    wait_for(lambda: stack.pid(name), lambda: f"{name} never runs", 60)
    if name == "supervisor":
        assert stack.supervisor is not None
        stack.supervisor.kill()
        stack.supervisor.wait(10)
        stack.up()
        stack.wait_ready()
    elif (pid := stack.pid(name)) is not None:
        os.kill(pid, signal.SIGKILL)
        if name == "broker":
            wait_for(
                lambda: stack.pid(name) not in (None, pid), lambda: "the broker is not started again", 60
            )


def who_was_told(outcome: Outcome) -> dict[tuple[str, str, str], bool]:
    """(alert, step, person) → whether that told them, by a push of its own or with others."""
    return {tuple(row[:3]): row[4] != "held" and row[5] in {"pushed", "joined"} for row in outcome.decisions}


def opened(outcome: Outcome) -> dict[str, int]:
    """Rule → alerts whose beginning somebody was told of."""
    rules: dict[str, str] = {row[0]: row[4] for row in outcome.tables["told"]}
    openings = {row[0] for row in outcome.decisions if row[4] == "opening" and row[5] in {"pushed", "joined"}}
    found: dict[str, int] = {}
    for alert in openings:
        found[rules[alert]] = found.get(rules[alert], 0) + 1
    return found


def test_kills_during_silent_vendor_change_neither_alerts_nor_pushes(district: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"--reference": district}
    with running("embedded", tmp_path / "calm", workers=2, options=options) as stack:
        calm = played(stack, district, ())
        stack.stop()
    with running("embedded", tmp_path / "killed", workers=2, options=options) as stack:
        killed = played(stack, district, KILLS)
        stack.stop()
    assert difference(calm.tables, killed.tables, ("aggregates", "transitions", "alerts", "told")) == {}
    assert who_was_told(killed) == who_was_told(calm)
    assert opened(killed) == opened(calm) == {"vendor-outage": 1}
    print(f"\n{killed.kills}: {len(calm.tables['told'])} steps alike, {killed.repeats} pushes repeated")
