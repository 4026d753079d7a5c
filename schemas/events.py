"""The event types of the centre. Each is a pydantic model for ``data`` and an `EventType`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final, Literal

from schemas.errors import SchemaError
from schemas.fields import CivilDate, Code, Count, Line, about
from schemas.nearest import did_you_mean
from schemas.registry import (
    DAY_MS,
    SECOND_MS,
    ControlRecord,
    Corrects,
    EventData,
    EventType,
    Sum,
    Title,
)

Session = Literal["morning", "afternoon", "full_day"]
Status = Literal["present", "absent_excused", "absent_unexcused", "late"]

_SCHOOL = ("Mã trường", "School code")
_DATE = ("Ngày học", "School day")
_PUPIL = ("Mã học sinh", "Pupil code")
_SESSION = ("Buổi học", "Session")


class DayReported(EventData):
    """A school's attendance of one day."""

    sums: ClassVar = (Sum("enrolled", ("present", "absent", "released")),)

    school: Code = about(*_SCHOOL)
    date: CivilDate = about(*_DATE)
    enrolled: Count = about("Sĩ số", "Enrolled pupils", unit="pupils")
    present: Count = about("Có mặt", "Pupils present", unit="pupils")
    absent: Count = about("Vắng mặt", "Pupils absent", unit="pupils")
    released: Count = about("Được cho về", "Pupils released early", unit="pupils")


class Marked(EventData):
    """One pupil's attendance in one session."""

    school: Code = about(*_SCHOOL)
    class_: Code = about("Lớp", "Class code", alias="class")
    pupil: Code = about(*_PUPIL, personal="personal")
    date: CivilDate = about(*_DATE)
    session: Session = about(*_SESSION)
    status: Status = about("Tình trạng chuyên cần", "Attendance status", personal="personal")
    reason: Line | None = about("Lý do", "Reason", personal="sensitive", default=None)


class Corrected(EventData):
    """A mark was wrong: what it said and what is right."""

    school: Code = about(*_SCHOOL)
    pupil: Code = about(*_PUPIL, personal="personal")
    date: CivilDate = about(*_DATE)
    session: Session = about(*_SESSION)
    old: Status = about("Tình trạng cũ", "Status before", personal="personal")
    new: Status = about("Tình trạng mới", "Status after", personal="personal")
    by: Code = about("Người sửa", "User who corrected", personal="personal")
    reason: Line | None = about("Lý do sửa", "Reason of the correction", personal="sensitive", default=None)


class Heartbeat(EventData):
    """A school's system says that it is alive."""

    school: Code = about(*_SCHOOL)
    vendor: Code = about("Nhà cung cấp phần mềm", "Software vendor")


DAY_REPORTED: Final = EventType(
    name="attendance.day_reported",
    title=Title("Báo cáo chuyên cần ngày của trường", "A school's attendance of one day"),
    description=Title(
        "Sĩ số, có mặt, vắng, được cho về của một trường trong một ngày; báo lại thì thay số cũ.",
        "Enrolled, present, absent and released pupils of a school on a day; a later report replaces it.",
    ),
    data=DayReported,
    dimensions=("school",),
    identity=("school", "date"),
    day_field="date",
    repeat_horizon=400 * DAY_MS,
    delay=0,
    lateness=DAY_MS,
    correction_horizon=14 * DAY_MS,
)

MARKED: Final = EventType(
    name="attendance.marked",
    title=Title("Điểm danh một học sinh", "A pupil's attendance in a session"),
    description=Title(
        "Có mặt, vắng có phép, vắng không phép hoặc đi muộn; điểm danh lại thì thay lần trước.",
        "Present, absent with or without leave, or late; a later mark replaces the earlier one.",
    ),
    data=Marked,
    dimensions=("school", "class", "pupil", "session", "status"),
    identity=("school", "pupil", "date", "session"),
    day_field="date",
    repeat_horizon=14 * DAY_MS,
    delay=5 * SECOND_MS,
)

CORRECTED: Final = EventType(
    name="attendance.corrected",
    title=Title("Sửa điểm danh", "A mark was corrected"),
    description=Title(
        "Lần điểm danh đã ghi được trừ ra như cũ và cộng lại với tình trạng mới.",
        "The mark kept for this pupil and session is taken out as it was and put in with the new status.",
    ),
    data=Corrected,
    dimensions=("school", "pupil", "session", "old", "new", "by"),
    corrects=Corrects(
        type="attendance.marked",
        key=(("school", "school"), ("pupil", "pupil"), ("date", "date"), ("session", "session")),
        before=(("status", "old"),),
        after=(("status", "new"),),
    ),
    day_field="date",
    repeat_horizon=14 * DAY_MS,
    delay=5 * SECOND_MS,
)

HEARTBEAT: Final = EventType(
    name="source.heartbeat",
    title=Title("Nhịp báo của hệ thống nguồn", "A source is alive"),
    description=Title(
        "Hệ thống của trường gửi đều đặn; thiếu nhịp nghĩa là trường im lặng.",
        "Sent regularly by a school's system; a school without it is silent.",
    ),
    data=Heartbeat,
    dimensions=("school", "vendor"),
    repeat_horizon=DAY_MS,
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

EVENT_TYPES: Final[Mapping[str, EventType]] = MappingProxyType(
    {kind.name: kind for kind in (DAY_REPORTED, MARKED, CORRECTED, HEARTBEAT)}
)
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
