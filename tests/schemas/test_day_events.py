"""One ordinary event of each type of a school day, and what is refused of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.decode import decode
from schemas.validate import Reject, validate
from tests.support.day_events import GOOD
from tests.support.strategies import ARRIVED


def event(name: str, **changes: Any) -> bytes:
    data = GOOD[name] | changes
    head = {"specversion": "1.0", "id": "e-1", "source": "/v1", "type": name}
    return json.dumps(head | {"time": "2026-09-07T07:15:00+07:00", "data": data}).encode()


@pytest.mark.parametrize("name", sorted(GOOD))
def test_an_ordinary_event_goes_the_fast_way(name: str) -> None:
    decoded = decode([event(name)], [ARRIVED])
    assert (decoded.rejects, decoded.checked_singly) == ([], 0)
    row = decoded.frames[name].row(0, named=True)
    assert {key: row[key] for key in GOOD[name]} == GOOD[name]


@pytest.mark.parametrize(
    ("name", "changes", "field", "message"),
    [
        (
            "sync.pushed",
            {"accepted": 98},
            "data.sent",
            "expected sent = accepted + failed, got 100 and 98 + 3 = 101",
        ),
        (
            "health.clinic_visit",
            {"symptom": "cough"},
            "data.symptom",
            'expected one of "digestive", "fever", "respiratory", "rash", "injury", "other", got "cough"',
        ),
        ("gate.passed", {"direction": "IN"}, "data.direction", 'expected one of "in", "out", got "IN"'),
        (
            "meal.registered",
            {"portions": -1},
            "data.portions",
            "expected an integer from 0 to 100000, got -1",
        ),
        (
            "leave.requested",
            {"last": "2026-02-30"},
            "data.last",
            'expected a date such as 2026-09-07, got "2026-02-30"',
        ),
        (
            "health.symptom_reported",
            {"onset": "hôm qua"},
            "data.onset",
            'expected a date such as 2026-09-07 or null, got "hôm qua"',
        ),
        (
            "calendar.overridden",
            {"kind": "holiday"},
            "data.kind",
            'expected one of "closure", "online", "extra_day", got "holiday"',
        ),
        (
            "staff.attendance",
            {"status": "late"},
            "data.status",
            'expected one of "present", "leave", "absent", got "late"',
        ),
        (
            "attendance.class_closed",
            {"absent": 3},
            "data.absent",
            '"absent" is not a field of attendance.class_closed; did you mean "absent_excused"?',
        ),
    ],
)
def test_what_is_wrong_is_refused(name: str, changes: dict[str, Any], field: str, message: str) -> None:
    found = validate(event(name, **changes), ARRIVED)
    assert found == Reject(0, "invalid", field, message, "/v1", "e-1", name)
    assert decode([event(name, **changes)], [ARRIVED]).rejects == [found]
