"""The event types of the centre, all together, and the records of the engine."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from schemas.attendance_events import CLASS_CLOSED, CORRECTED, DAY_REPORTED, MARKED, STAFF_ATTENDANCE
from schemas.daily_events import CALENDAR_OVERRIDDEN, GATE_PASSED, LEAVE_REQUESTED, MEAL_REGISTERED
from schemas.errors import SchemaError
from schemas.health_events import CLINIC_VISIT, SYMPTOM_REPORTED
from schemas.nearest import did_you_mean
from schemas.registry import ControlRecord, EventType, Title
from schemas.source_events import HEARTBEAT, SYNC_PUSHED

__all__ = [
    "CALENDAR_OVERRIDDEN",
    "CLASS_CLOSED",
    "CLINIC_VISIT",
    "CONTROL",
    "CONTROL_RECORDS",
    "CORRECTED",
    "DAY_REPORTED",
    "EVENT_TYPES",
    "GATE_PASSED",
    "HEARTBEAT",
    "LEAVE_REQUESTED",
    "MARKED",
    "MEAL_REGISTERED",
    "PULSE",
    "STAFF_ATTENDANCE",
    "SYMPTOM_REPORTED",
    "SYNC_PUSHED",
    "check_corrections",
    "event_type",
    "unknown_type",
]

_ALL: Final = (
    DAY_REPORTED,
    MARKED,
    CORRECTED,
    CLASS_CLOSED,
    STAFF_ATTENDANCE,
    GATE_PASSED,
    LEAVE_REQUESTED,
    MEAL_REGISTERED,
    CLINIC_VISIT,
    SYMPTOM_REPORTED,
    SYNC_PUSHED,
    CALENDAR_OVERRIDDEN,
    HEARTBEAT,
)

PULSE: Final = ControlRecord(
    name="trucban.pulse",
    header="pulse",
    title=Title("Nhịp đồng hồ nghiệp vụ", "Business time"),
    description=Title(
        "Giờ nghiệp vụ, ghi mỗi giây vào mọi phân vùng của school.events.",
        "The business clock, written each second into every partition of school.events.",
    ),
    encoding="JSON: clock (milliseconds since the epoch), mode (wall, demo, data)",
)

CONTROL: Final = ControlRecord(
    name="trucban.control",
    header="control",
    title=Title("Bản ghi điều khiển", "New rules, reference data or clock"),
    description=Title(
        "Quy tắc, dữ liệu tham chiếu và kiểu đồng hồ có hiệu lực từ vị trí này trong phân vùng.",
        "Rules, reference data and clock mode that hold from this position of the partition on.",
    ),
    encoding="zstd-compressed MessagePack: rules, reference, clock_mode; a part that is null stays",
)

EVENT_TYPES: Final[Mapping[str, EventType]] = MappingProxyType({kind.name: kind for kind in _ALL})
CONTROL_RECORDS: Final[Mapping[str, ControlRecord]] = MappingProxyType(
    {record.name: record for record in (PULSE, CONTROL)}
)


def event_type(name: str) -> EventType:
    """The type called ``name``; SchemaError, with the nearest name, when there is none."""
    try:
        return EVENT_TYPES[name]
    except KeyError:
        raise SchemaError(unknown_type(name)) from None


def unknown_type(name: str) -> str:
    """The message for a type that is not registered."""
    if name in CONTROL_RECORDS:
        return f'"{name}" is a record of the engine, not a type of event'
    return f'there is no event type "{name}"{did_you_mean(name, EVENT_TYPES)}'


def check_corrections(types: Mapping[str, EventType]) -> None:
    """SchemaError unless each ``corrects`` names a type's whole identity and fields of one kind."""
    for kind in types.values():
        if kind.corrects is None:
            continue
        target = types.get(kind.corrects.type)
        if target is None or {there for there, _ in kind.corrects.key} != set(target.identity):
            raise SchemaError(f"{kind.name} does not name the identity of {kind.corrects.type}")
        for there, here in (*kind.corrects.key, *kind.corrects.before, *kind.corrects.after):
            if target.field(there).kind != kind.field(here).kind:
                raise SchemaError(f"{kind.name}.{here} and {target.name}.{there} are of different kinds")


check_corrections(EVENT_TYPES)
