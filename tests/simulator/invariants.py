"""What must hold after every schedule."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import msgspec

from schemas.topics import AGGREGATES, ALERTS, ARRIVED, EVENTS, KIND, PULSE, TRANSITIONS
from schemas.wire import Aggregate, Pulse, Transition
from tests.simulator.logs import Logs
from tests.simulator.morning import DAY, OFFSET

Key = tuple[str, tuple[tuple[str, str], ...], int]

JUDGED = (7 * 60 + 10) * 60_000
"""Time of the day at which a pulse passes the deadline of the rule ``roll``, ms."""

LEGAL = {
    None: {"pending", "firing"},
    "pending": {"firing", "inactive", "retired"},
    "firing": {"recovering", "resolved", "retracted", "retired"},
    "recovering": {"firing", "resolved", "retracted", "retired"},
}


def aggregates(logs: Logs) -> dict[Key, Aggregate]:
    """The newest version of each, and proof that a version never says two things."""
    newest: dict[Key, Aggregate] = {}
    for entry in logs.all(AGGREGATES):
        for row in msgspec.json.decode(entry.value or b"[]", type=list[Aggregate]):
            key = (row.rule, tuple(sorted(row.group.items())), row.window_start)
            if key not in newest or newest[key].version <= row.version:
                newest[key] = row
    return newest


def steps(logs: Logs, topic: str) -> dict[str, list[Transition]]:
    """Each alert's transitions by ordinal; a transition sent twice must be the same.

    What `correlate` says again about an ordinal is checked and left out.
    """
    found: dict[str, dict[tuple[int, int], Transition]] = defaultdict(dict)
    for entry in logs.all(topic):
        if KIND in dict(entry.headers):
            continue  # how far a judge has come, or a configuration
        step = msgspec.json.decode(entry.value or b"", type=Transition)
        known = found[step.alert].setdefault((step.ordinal, step.revision), step)
        assert known == step, f"two transitions {step.alert}/{step.ordinal}: {known} and {step}"
    for alert, by in found.items():
        said = sorted(by)
        for before, after in pairwise(said):
            assert after in ((before[0], before[1] + 1), (before[0] + 1, 0)), f"{alert}: {said}"
    return {alert: [by[n] for n in sorted(by) if n[1] == 0] for alert, by in found.items()}


def check_life(logs: Logs) -> dict[str, list[Transition]]:
    """Every alert has a legal life and passes `correlate` whole; what it told, parents too."""
    judged, passed = steps(logs, TRANSITIONS), steps(logs, ALERTS)
    alone = {alert: [_unheld(step) for step in life] for alert, life in passed.items() if alert in judged}
    assert judged == alone, "correlate lost or changed a transition"
    holders = {step.held_by for life in passed.values() for step in life if step.held_by}
    assert holders <= passed.keys(), "an alert is held by one that nobody was told of"
    for alert, life in passed.items():
        assert [step.ordinal for step in life] == list(range(1, len(life) + 1)), alert
        before: str | None = None
        for step in life:
            assert step.state in LEGAL.get(before, set()), f"{alert}: {before} → {step.state}"
            before = step.state
    return passed


def _unheld(step: Transition) -> Transition:
    return msgspec.structs.replace(step, held_by="", held_how="", holds=0)


def check_episodes(life: dict[str, list[Transition]]) -> int:
    """Who goes on took over from one alert of the window before, whose close says so; gives how often.

    Of an instant at which windows meet: no more alerts end as continued than were taken over, and who was
    taken over had fired and does not say that it ended with its window.
    """
    taken: Counter[Key] = Counter()
    continued: Counter[Key] = Counter()
    able: Counter[Key] = Counter()
    for steps in life.values():
        rule, group = steps[0].rule, tuple(sorted(steps[0].group.items()))
        fired = [step.reason for step in steps if step.state == "firing"]
        last = steps[-1].reason if steps[-1].state == "resolved" else ""
        taken[rule, group, steps[0].window_start] += fired[:1] == ["window_continued"]
        continued[rule, group, steps[0].window_end] += last == "window_continued"
        able[rule, group, steps[0].window_end] += bool(fired) and last != "window_ended"
    for key in taken | continued:
        assert continued[key] <= taken[key] <= able[key], (
            f"{key}: {continued[key]}, {taken[key]}, {able[key]}"
        )
    return taken.total()


def check_counts(logs: Logs, expected: dict[str, dict[tuple[str, int], dict[str, int]]]) -> None:
    """The archive's newest aggregates equal the recount, digit by digit."""
    found = aggregates(logs)
    for rule, groups in expected.items():
        have = {
            (dict(group)["school"], (start + OFFSET) // DAY): row.measures
            for (name, group, start), row in found.items()
            if name == rule
        }
        assert have.keys() == groups.keys(), f"{rule}: other groups"
        for key, measures in groups.items():
            for name, value in measures.items():
                assert have[key][name] == value, f"{rule} {key} {name}: {have[key][name]} for {value}"


def check_missing(life: dict[str, list[Transition]], logs: Logs, schools: int) -> None:
    """The rule ``roll`` fired for exactly the schools without a mark before the pulse past its deadline.

    A day's deadline is 07:05, its first pulse past that 07:10; of the days in which nothing happens only
    that of the last pulse is judged, and there every school is missing.
    """
    marked: dict[int, set[str]] = defaultdict(set)
    last = 0
    for entry in logs.all(EVENTS):
        headers = dict(entry.headers)
        if headers.get(KIND) == PULSE:
            last = max(last, msgspec.json.decode(entry.value or b"", type=Pulse).clock)
        elif ARRIVED in headers:
            arrived, event = int(headers[ARRIVED]), msgspec.json.decode(entry.value or b"{}")
            seen = marked[(arrived + OFFSET) // DAY]
            if event["type"] == "attendance.marked" and (arrived + OFFSET) % DAY < JUDGED:
                seen.add(event["data"]["school"])
    marked[(last - 1 + OFFSET) // DAY] = set()
    every = {f"TH{number:02d}" for number in range(schools)}
    expected = {(school, day) for day, seen in marked.items() for school in every - seen}
    fired = {
        (steps[0].group["school"], (steps[0].window_start + OFFSET) // DAY)
        for steps in life.values()
        if steps[0].rule == "roll"
    }
    assert fired == expected, f"missing: fired {sorted(fired)}, expected {sorted(expected)}"


def recount(sent: list[dict[str, Any]]) -> dict[str, dict[tuple[str, int], dict[str, int]]]:
    """The naive recount of a simulated morning, in plain Python from what was sent."""
    seen: set[tuple[str, str]] = set()
    reports: dict[tuple[str, int], tuple[str, dict[str, Any]]] = {}
    marks: dict[tuple[str, str, str, str], list[tuple[str, int, str, bool]]] = defaultdict(list)
    for order, event in enumerate(sent):
        identity = (event["source"], event["id"])
        if identity in seen:
            continue
        seen.add(identity)
        data = event["data"]
        if event["type"] == "attendance.day_reported":
            key = (data["school"], _day(data["date"]))
            if key not in reports or reports[key][0] <= event["time"]:
                reports[key] = (event["time"], data)
        elif event["type"] in ("attendance.marked", "attendance.corrected"):
            correction = event["type"] == "attendance.corrected"
            status = data["new"] if correction else data["status"]
            pupil = (data["school"], data["pupil"], data["date"], data["session"])
            marks[pupil].append((event["time"], order, status, correction))
    return {"school-day-absence": _reports(reports), "absence-spike": _marks(marks)}


def _day(date: str) -> int:
    return (dt.date.fromisoformat(date) - dt.date(1970, 1, 1)).days


def _reports(reports: dict[tuple[str, int], tuple[str, dict[str, Any]]]) -> Any:
    names = ("enrolled", "present", "absent", "released")
    return {key: {name: data[name] for name in names} for key, (_, data) in reports.items()}


def _marks(marks: dict[tuple[str, str, str, str], list[tuple[str, int, str, bool]]]) -> Any:
    out: dict[tuple[str, int], dict[str, int]] = defaultdict(lambda: {"marked": 0, "absent": 0})
    for (school, _, date, _), rows in marks.items():
        if all(correction for _, _, _, correction in rows):
            continue
        _, _, status, _ = max(rows)
        counts = out[school, _day(date)]
        counts["marked"] += 1
        counts["absent"] += status.startswith("absent")
    return dict(out)
