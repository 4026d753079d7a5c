"""What must hold of an installation into which the attendance file was replayed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from oncall import push_id
from tests.acceptance.stack import PRINCIPALS_SCHOOLS, Rows, Stack, Tables
from tests.recount.recount import Expected

LEGAL = {
    None: {"pending", "firing"},
    "pending": {"firing", "inactive", "retired"},
    "firing": {"recovering", "resolved", "retracted", "retired"},
    "recovering": {"firing", "resolved", "retracted", "retired"},
}
CLOSED = {"resolved", "retracted", "retired"}
IDENTITY = ("alert", "ordinal", "id", "rule", "rule_hash", "school", "window_start")
COLUMNS = (*IDENTITY, "state", "at", "decided_at", "reason", "measures", "event_ids", "text")


def counts(stack: Stack) -> dict[tuple[str, ...], dict[str, int]]:
    """Measures of the school-day rule by school and day."""
    names = ("enrolled", "absent", "present", "released", "reported")
    with stack.clickhouse() as client:
        rows = client.query(
            "SELECT group['school'], toString(toDate(window_start)), measures "
            "FROM trucban.aggregates WHERE rule = 'school-day-absence'"
        )
    found: dict[tuple[str, ...], dict[str, int]] = {
        (school, day): {name: measures[name] for name in names} for school, day, measures in rows
    }
    assert len(found) == len(rows), "a school's day stands twice in the aggregates"
    return found


def complete(stack: Stack, expected: Expected) -> bool:
    """Are there as many rows as there must be?"""
    with stack.clickhouse() as client:
        events = client.query("SELECT count() FROM trucban.events")
        days = client.query("SELECT count() FROM trucban.aggregates WHERE rule = 'school-day-absence'")
    return (events, days) == ([(expected.events,)], [(len(expected.days),)])


def check_counts(stack: Stack, expected: Expected, tables: Tables) -> None:
    """Every row of the file is one event, and each school's day has the file's numbers."""
    with stack.clickhouse() as client:
        types = client.query("SELECT type, count(), uniqExact(source, id) FROM trucban.events GROUP BY type")
    assert types == [("attendance.day_reported", expected.events, expected.events)]
    assert tables["rejected"] == []
    found = counts(stack)
    wrong = {key: (found.get(key), day) for key, day in expected.days.items() if found.get(key) != day}
    assert not wrong, f"{len(wrong)} of {len(expected.days)} differ, such as {list(wrong.items())[:3]}"
    assert found.keys() == expected.days.keys()


def lives(tables: Tables) -> dict[str, list[dict[str, Any]]]:
    """Each alert's transitions by ordinal."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in tables["transitions"]:
        found[row[0]].append(dict(zip(COLUMNS, row, strict=True)))
    return {alert: sorted(life, key=lambda step: step["ordinal"]) for alert, life in found.items()}


def check_lives(tables: Tables) -> None:
    """Every alert has a legal life, ends in it, and stands in the alerts as its last state."""
    told = {row[0]: row[1:5] for row in tables["alerts"]}
    assert len(told) == len(tables["alerts"])
    judged = lives(tables)
    assert judged.keys() == told.keys()
    for alert, life in judged.items():
        assert [step["ordinal"] for step in life] == list(range(1, len(life) + 1)), alert
        before: str | None = None
        for step in life:
            assert step["state"] in LEGAL.get(before, set()), f"{alert}: {before} → {step['state']}"
            before = step["state"]
        last = life[-1]
        assert told[alert] == (last["state"], last["at"], last["id"], last["ordinal"])


def due(tables: Tables) -> dict[str, tuple[str, str, str]]:
    """Every push that must have been made: its key → (alert, transition, person).

    Of the rule at hand each alert fires anew, and whoever was told of its begin is told of its end.
    """
    pushes = {}
    for alert, life in lives(tables).items():
        people = people_of(life[0]["school"])
        told = False
        for step in life:
            opens, closes = step["state"] == "firing", step["state"] in CLOSED
            if (opens and not told) or (closes and told):
                for person in people:
                    pushes[push_id(alert, step["id"], person, "webhook")] = (alert, step["id"], person)
            told = (told or opens) and not closes
    return pushes


def people_of(school: str) -> list[str]:
    """Who answers for a school. Where the principal is not known the duty officer stands in."""
    return ["an", "binh"] if school in PRINCIPALS_SCHOOLS else ["an"]


def check_decisions(tables: Tables, decisions: Rows) -> None:
    """One decision for each transition and person whom it concerns, and pushes exactly where due."""
    expected = Counter(
        (alert, step["id"], person)
        for alert, life in lives(tables).items()
        for step in life
        for person in people_of(step["school"])
    )
    assert Counter(row[:3] for row in decisions) == expected
    pushed = {row[6]: row[:3] for row in decisions if row[5] == "pushed"}
    assert pushed == due(tables)


def check_pushes(stack: Stack, tables: Tables) -> int:
    """Every due push arrived, signed, no other did, a repeat is the same; gives the number of repeats."""
    expected = due(tables)
    requests = list(stack.receiver.requests)
    assert all(request.verified and request.accepted for request in requests)
    bodies: dict[str, set[bytes]] = defaultdict(set)
    for request in requests:
        bodies[request.key].add(request.body)
        body = request.json()
        said = (body["alert"], body["transition"], request.path.removeprefix("/"))
        assert (body["id"], said) == (request.key, expected.get(request.key))
    missing = expected.keys() - bodies.keys()
    assert not missing, f"{len(missing)} of {len(expected)} pushes never came, such as {sorted(missing)[:3]}"
    assert {len(each) for each in bodies.values()} == {1}, "a repeat says something else"
    delivered = {row[0] for row in tables["deliveries"] if row[6] == "delivered"}
    assert delivered == expected.keys()
    return len(requests) - len(bodies)


def difference(before: Tables, after: Tables, views: Iterable[str] | None = None) -> dict[str, list[Any]]:
    """Rows that two looks do not share, some of each view that has any."""
    found = {}
    for view in views or before:
        gone, new = set(map(repr, before[view])), set(map(repr, after[view]))
        if gone != new or len(before[view]) != len(after[view]):
            found[view] = [
                f"{len(before[view])} rows, then {len(after[view])}",
                f"gone {len(gone - new)}: {sorted(gone - new)[:2]}",
                f"new {len(new - gone)}: {sorted(new - gone)[:2]}",
            ]
    return found
