"""Event types of a school's day: gate, leave, meals, and days that differ from the calendar."""

from __future__ import annotations

from typing import Final, Literal

from schemas.event_fields import CLASS, DAY, KITCHEN, PUPIL, SCHOOL
from schemas.fields import CivilDate, Code, Count, Line, about
from schemas.registry import DAY_MS, SECOND_MS, EventData, EventType, Title

Level = Literal[
    "preschool", "primary", "lower_secondary", "upper_secondary", "combined", "continuing", "special"
]


class GatePassed(EventData):
    """A pupil passed a gate of the school."""

    school: Code = about(*SCHOOL)
    pupil: Code = about(*PUPIL, personal="personal")
    date: CivilDate = about(*DAY)
    direction: Literal["in", "out"] = about("Chiều vào hay ra", "Direction", personal="personal")
    gate: Code = about("Mã cổng", "Gate code")


class LeaveRequested(EventData):
    """Leave is asked for a pupil."""

    school: Code = about(*SCHOOL)
    class_: Code = about(*CLASS, alias="class")
    pupil: Code = about(*PUPIL, personal="personal")
    first: CivilDate = about("Nghỉ từ ngày", "First day of leave", personal="personal")
    last: CivilDate = about("Nghỉ đến hết ngày", "Last day of leave", personal="personal")
    reason: Line | None = about("Lý do", "Reason", personal="sensitive", default=None)


class MealRegistered(EventData):
    """How many portions a class takes of a meal."""

    school: Code = about(*SCHOOL)
    class_: Code = about(*CLASS, alias="class")
    date: CivilDate = about(*DAY)
    meal: Literal["breakfast", "lunch", "snack"] = about("Bữa ăn", "Meal")
    kitchen: Code = about(*KITCHEN)
    portions: Count = about("Số suất ăn", "Portions", unit="portions")
    pupil: Code | None = about(
        "Học sinh mà ghi chú dị ứng nói tới", "Pupil the allergy concerns", personal="personal", default=None
    )
    allergy: Line | None = about("Dị ứng", "Allergy", personal="sensitive", default=None)


class CalendarOverridden(EventData):
    """Days of a school that differ from its calendar."""

    school: Code = about(*SCHOOL)
    date: CivilDate = about("Ngày quyết định", "Day of the decision")
    first: CivilDate = about("Từ ngày", "First day concerned")
    last: CivilDate = about("Đến hết ngày", "Last day concerned")
    kind: Literal["closure", "online", "extra_day"] = about("Hình thức", "What the days are")
    reason: Line = about("Lý do", "Reason")
    level: Level | None = about("Cấp học", "Level of the school", default=None)


GATE_PASSED: Final = EventType(
    name="gate.passed",
    title=Title("Qua cổng trường", "A pupil passed the gate"),
    description=Title(
        "Học sinh vào hoặc ra qua một cổng; mỗi lần qua là một sự kiện.",
        "A pupil came in or went out through a gate; each passing is an event of its own.",
    ),
    data=GatePassed,
    dimensions=("school", "pupil", "direction", "gate"),
    day_field="date",
    repeat_horizon=3 * DAY_MS,
    delay=5 * SECOND_MS,
)

LEAVE_REQUESTED: Final = EventType(
    name="leave.requested",
    title=Title("Xin nghỉ học", "Leave is requested for a pupil"),
    description=Title(
        "Đơn xin nghỉ từ ngày đến ngày; đơn sau cùng ngày bắt đầu thì thay đơn trước. Tính vào ngày gửi đơn.",
        "Leave from one day to another; a later request for the same first day replaces the earlier one. "
        "Counts on the day it is sent.",
    ),
    data=LeaveRequested,
    dimensions=("school", "class", "pupil"),
    identity=("school", "pupil", "first"),
    repeat_horizon=14 * DAY_MS,
)

MEAL_REGISTERED: Final = EventType(
    name="meal.registered",
    title=Title("Báo ăn của lớp", "A class registers for a meal"),
    description=Title(
        "Số suất ăn của một lớp cho một bữa; báo lại thì thay số cũ.",
        "The portions a class takes of a meal; a later registration replaces the earlier one.",
    ),
    data=MealRegistered,
    dimensions=("school", "class", "meal", "kitchen"),
    identity=("school", "class", "date", "meal"),
    day_field="date",
    repeat_horizon=14 * DAY_MS,
)

CALENDAR_OVERRIDDEN: Final = EventType(
    name="calendar.overridden",
    title=Title("Thay đổi lịch học", "Days differ from the calendar"),
    description=Title(
        "Trường nghỉ, học trực tuyến hoặc học bù từ ngày đến ngày; báo lại cùng khoảng ngày thì thay.",
        "A school is closed, teaches online or has extra days; a later event for the same days replaces it.",
    ),
    data=CalendarOverridden,
    dimensions=("school", "kind", "level"),
    identity=("school", "first", "last"),
    day_field="date",
    repeat_horizon=400 * DAY_MS,
)
