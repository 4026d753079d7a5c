"""One ordinary event of each type of a school day, and what is refused of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.decode import decode
from schemas.validate import Reject, validate
from tests.support.strategies import ARRIVED

PUPIL = {"school": "01M015", "class": "3A8", "pupil": "HS000117"}
TODAY = {"date": "2026-09-07"}
GOOD: dict[str, dict[str, Any]] = {
    "attendance.class_closed": {
        "school": "01M015", "class": "3A8", "session": "morning", "enrolled": 40, "absent_excused": 2,
        "absent_unexcused": 1, **TODAY,
    },
    "gate.passed": {"school": "01M015", "pupil": "HS000117", "direction": "in", "gate": "G1", **TODAY},
    "leave.requested": {**PUPIL, "first": "2026-10-01", "last": "2026-10-03", "reason": "việc gia đình"},
    "meal.registered": {
        "school": "01M015", "class": "3A8", "meal": "lunch", "kitchen": "K1", "portions": 38, **TODAY,
    },
    "health.clinic_visit": {**PUPIL, **TODAY, "symptom": "digestive", "outcome": "sent_home"},
    "health.symptom_reported": {**PUPIL, **TODAY, "symptom": "fever", "onset": "2026-09-06"},
    "staff.attendance": {
        "school": "01M015", "staff": "GV12", "session": "full_day", "status": "leave", **TODAY,
    },
    "sync.pushed": {
        "school": "01M015", "vendor": "V1", "target": "moet", "kind": "marks", "sent": 100, "accepted": 97,
        "failed": 3,
    },
    "calendar.overridden": {
        "school": "01M015", "first": "2026-09-08", "last": "2026-09-09", "kind": "online",
        "reason": "bão số 5", **TODAY,
    },
}  # fmt: skip


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
