"""One ordinary event of each type of a school day, as its data."""

from __future__ import annotations

from typing import Any

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
