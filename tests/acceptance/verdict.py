"""What must hold of an installation into which the attendance file was replayed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

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
TOLD = (
    "alert",
    "ordinal",
    "revision",
    "id",
    "rule",
    "school",
    "state",
    "reason",
    "held_by",
    "held_how",
    "holds",
    "at",
)
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


def steps_told(tables: Tables) -> dict[str, list[dict[str, Any]]]:
    """What was said of each alert, parents too, by ordinal and revision."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in tables["told"]:
        found[row[0]].append(dict(zip(TOLD, row, strict=True)))
    return {
        alert: sorted(said, key=lambda step: (step["ordinal"], step["revision"]))
        for alert, said in found.items()
    }


def check_lives(tables: Tables) -> None:
    """Every alert has a legal life, ends in it, and stands in the alerts as its last state."""
    last = {row[0]: row[1:5] for row in tables["alerts"]}
    told, judged = steps_told(tables), lives(tables)
    assert len(last) == len(tables["alerts"])
    assert last.keys() == told.keys()
    for alert, life in judged.items():
        steps = [step for step in told[alert] if step["revision"] == 0]
        assert [step["id"] for step in steps] == [step["id"] for step in life], alert
    for alert, said in told.items():
        before: str | None = None
        for number, step in enumerate(step for step in said if step["revision"] == 0):
            assert step["ordinal"] == number + 1, alert
            assert step["state"] in LEGAL.get(before, set()), f"{alert}: {before} → {step['state']}"
            before = step["state"]
        end = said[-1]
        assert last[alert] == (end["state"], end["at"], end["id"], end["ordinal"])
        assert end["state"] in CLOSED | {"inactive"} or before in LEGAL


def check_held(tables: Tables) -> int:
    """Whoever is held is so by an alert that fired before it ended; gives how many are."""
    told = steps_told(tables)
    held = {(step["alert"], step["held_by"]) for said in told.values() for step in said if step["held_by"]}
    assert {holder for _, holder in held} <= told.keys()
    return len(held)


def due(tables: Tables) -> set[tuple[str, str, str]]:
    """(alert, step, person) of whoever must be told: once that it fires, while nobody else speaks for it,
    and, if so, once of its end."""
    found = set()
    for alert, said in steps_told(tables).items():
        told = False
        for step in said:
            silent = step["held_by"] or step["reason"] == "children_changed"
            opens = step["state"] == "firing" and not silent
            closes = step["state"] in CLOSED
            if (opens and not told) or (closes and told):
                found |= {(alert, step["id"], person) for person in people_of(step["school"])}
            told = (told or opens) and not closes
    return found


def people_of(school: str) -> list[str]:
    """Who answers for a school. Where the principal is not known the duty officer stands in."""
    return ["an", "binh"] if school in PRINCIPALS_SCHOOLS else ["an"]


def check_decisions(tables: Tables, decisions: Rows) -> None:
    """One decision for each step and person whom it concerns; pushes, or a part in one, exactly where due."""
    expected = Counter(
        (alert, step["id"], person)
        for alert, said in steps_told(tables).items()
        for step in said
        for person in people_of(step["school"])
    )
    assert Counter(row[:3] for row in decisions) == expected
    by_place = {row[:3]: row for row in decisions}
    wanted = due(tables)
    pushes = {row[6] for row in decisions if row[5] == "pushed"}
    assert {row[:3] for row in decisions if row[5] == "pushed"} <= wanted
    for place in wanted:
        outcome, push = by_place[place][5:7]
        assert outcome in {"pushed", "joined"}, by_place[place]
        assert push in pushes, by_place[place]


def check_pushes(stack: Stack, tables: Tables, decisions: Rows) -> int:
    """Every due push arrived, signed, no other did, a repeat is the same; gives the number of repeats."""
    expected = {row[6]: (row[0], row[1], row[2]) for row in decisions if row[5] == "pushed"}
    requests = list(stack.receiver.requests)
    assert all(request.verified and request.accepted for request in requests)
    bodies: dict[str, set[bytes]] = defaultdict(set)
    for request in requests:
        bodies[request.key].add(request.body)
        body = request.json()
        assert body["id"] == request.key
        assert expected[request.key][2] == request.path.removeprefix("/")
    missing = expected.keys() - bodies.keys()
    assert not missing, f"{len(missing)} of {len(expected)} pushes never came, such as {sorted(missing)[:3]}"
    assert bodies.keys() == expected.keys()
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
