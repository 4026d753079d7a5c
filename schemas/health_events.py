"""Event types of pupils' health. All that says what somebody has is sensitive."""

from __future__ import annotations

from typing import Final, Literal

from schemas.event_fields import CLASS, DAY, KITCHEN, PUPIL, SCHOOL, SYMPTOM, Symptom
from schemas.fields import CivilDate, Code, about
from schemas.registry import DAY_MS, EventData, EventType, Title


class ClinicVisit(EventData):
    """A pupil came to the school's health room."""

    school: Code = about(*SCHOOL)
    class_: Code = about(*CLASS, alias="class")
    pupil: Code = about(*PUPIL, personal="sensitive")
    date: CivilDate = about(*DAY)
    symptom: Symptom = about(*SYMPTOM, personal="sensitive")
    outcome: Literal["returned", "sent_home", "hospital"] = about(
        "Xử trí", "What followed", personal="sensitive"
    )


class SymptomReported(EventData):
    """A symptom of a pupil is reported, by the family or the school."""

    school: Code = about(*SCHOOL)
    class_: Code = about(*CLASS, alias="class")
    pupil: Code = about(*PUPIL, personal="sensitive")
    date: CivilDate = about(*DAY)
    symptom: Symptom = about(*SYMPTOM, personal="sensitive")
    onset: CivilDate | None = about(
        "Ngày bắt đầu có triệu chứng", "Day of the first symptoms", personal="sensitive", default=None
    )
    kitchen: Code | None = about(*KITCHEN, default=None)


CLINIC_VISIT: Final = EventType(
    name="health.clinic_visit",
    title=Title("Học sinh đến phòng y tế", "A pupil came to the health room"),
    description=Title(
        "Triệu chứng và cách xử trí; mỗi lần đến là một sự kiện.",
        "The symptom and what followed; each visit is an event of its own.",
    ),
    data=ClinicVisit,
    dimensions=("school", "class", "pupil", "symptom", "outcome"),
    day_field="date",
    repeat_horizon=14 * DAY_MS,
)

SYMPTOM_REPORTED: Final = EventType(
    name="health.symptom_reported",
    title=Title("Báo triệu chứng", "A pupil's symptom is reported"),
    description=Title(
        "Triệu chứng của học sinh trong ngày; báo lại cùng triệu chứng trong ngày thì thay lần trước.",
        "A pupil's symptom on a day; a later report of the same symptom and day replaces the earlier one.",
    ),
    data=SymptomReported,
    dimensions=("school", "class", "pupil", "symptom", "kitchen"),
    identity=("school", "pupil", "date", "symptom"),
    day_field="date",
    repeat_horizon=14 * DAY_MS,
)
