"""Event types of attendance: pupils' marks, closed rolls, staff."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from schemas.event_fields import CLASS, DAY, PUPIL, SCHOOL, SESSION, Session, Status
from schemas.fields import CivilDate, Code, Count, Line, about
from schemas.registry import DAY_MS, SECOND_MS, Corrects, EventData, EventType, Sum, Title


class DayReported(EventData):
    """A school's attendance of one day."""

    sums: ClassVar = (Sum("enrolled", ("present", "absent", "released")),)

    school: Code = about(*SCHOOL)
    date: CivilDate = about(*DAY)
    enrolled: Count = about("Sĩ số", "Enrolled pupils", unit="pupils")
    present: Count = about("Có mặt", "Pupils present", unit="pupils")
    absent: Count = about("Vắng mặt", "Pupils absent", unit="pupils")
    released: Count = about("Được cho về", "Pupils released early", unit="pupils")


class Marked(EventData):
    """One pupil's attendance in one session."""

    school: Code = about(*SCHOOL)
    class_: Code = about("Lớp", "Class code", alias="class")
    pupil: Code = about(*PUPIL, personal="personal")
    date: CivilDate = about(*DAY)
    session: Session = about(*SESSION)
    status: Status = about("Tình trạng chuyên cần", "Attendance status", personal="personal")
    reason: Line | None = about("Lý do", "Reason", personal="sensitive", default=None)


class Corrected(EventData):
    """A mark was wrong: what it said and what is right."""

    school: Code = about(*SCHOOL)
    pupil: Code = about(*PUPIL, personal="personal")
    date: CivilDate = about(*DAY)
    session: Session = about(*SESSION)
    old: Status = about("Tình trạng cũ", "Status before", personal="personal")
    new: Status = about("Tình trạng mới", "Status after", personal="personal")
    by: Code = about("Người sửa", "User who corrected", personal="personal")
    reason: Line | None = about("Lý do sửa", "Reason of the correction", personal="sensitive", default=None)


class ClassClosed(EventData):
    """A class's roll of one session is closed."""

    school: Code = about(*SCHOOL)
    class_: Code = about(*CLASS, alias="class")
    date: CivilDate = about(*DAY)
    session: Session = about(*SESSION)
    enrolled: Count = about("Sĩ số", "Enrolled pupils", unit="pupils")
    absent_excused: Count = about("Vắng có phép", "Pupils absent with leave", unit="pupils")
    absent_unexcused: Count = about("Vắng không phép", "Pupils absent without leave", unit="pupils")


class StaffAttendance(EventData):
    """One staff member's attendance in one session."""

    school: Code = about(*SCHOOL)
    staff: Code = about("Mã cán bộ, giáo viên", "Staff code", personal="personal")
    date: CivilDate = about(*DAY)
    session: Session = about(*SESSION)
    status: Literal["present", "leave", "absent"] = about(
        "Tình trạng", "Attendance status", personal="personal"
    )
    subject: Code | None = about("Môn dạy", "Subject taught", default=None)


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

CLASS_CLOSED: Final = EventType(
    name="attendance.class_closed",
    title=Title("Chốt sĩ số lớp", "A class's roll is closed"),
    description=Title(
        "Sĩ số, vắng có phép và không phép của một lớp trong một buổi; chốt lại thì thay số cũ.",
        "A class's enrolled and absent pupils in a session; a later closing replaces the earlier one.",
    ),
    data=ClassClosed,
    dimensions=("school", "class", "session"),
    identity=("school", "class", "date", "session"),
    day_field="date",
    repeat_horizon=14 * DAY_MS,
    delay=5 * SECOND_MS,
)

STAFF_ATTENDANCE: Final = EventType(
    name="staff.attendance",
    title=Title("Chấm công cán bộ, giáo viên", "A staff member's attendance in a session"),
    description=Title(
        "Có mặt, nghỉ phép hoặc vắng; ghi lại thì thay lần trước.",
        "Present, on leave or absent; a later record replaces the earlier one.",
    ),
    data=StaffAttendance,
    dimensions=("school", "staff", "session", "status", "subject"),
    identity=("school", "staff", "date", "session"),
    day_field="date",
    repeat_horizon=14 * DAY_MS,
)
