from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar

import pydantic
import pytest

from schemas.errors import SchemaError
from schemas.events import CORRECTED, DAY_REPORTED, EVENT_TYPES, MARKED, check_corrections, event_type
from schemas.fields import Code, Count, about
from schemas.nearest import nearest
from schemas.registry import DAY_MS, Corrects, EventData, EventType, Sum, Title

TITLE = Title("một", "one")


def made(data: type[EventData], **changes: Any) -> EventType:
    return EventType(name="t", title=TITLE, description=TITLE, data=data, dimensions=(), **changes)


class Plain(EventData):
    school: Code = about("Trường", "School")
    count: Count = about("Số", "Count", unit="pupils")


class Undescribed(EventData):
    school: Code


class Strange(EventData):
    school: Code = about("Trường", "School")
    size: float = about("Cỡ", "Size")


class Unbounded(EventData):
    school: Annotated[str, pydantic.Field(min_length=1)] = about("Trường", "School")


class Stubborn(EventData):
    school: Code = about("Trường", "School")

    @pydantic.field_validator("school")
    @classmethod
    def upper(cls, value: str) -> str:
        return value.upper()


class BadSum(EventData):
    sums: ClassVar = (Sum("count", ("school",)),)
    school: Code = about("Trường", "School")
    count: Count = about("Số", "Count")


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        (Undescribed, {}, "Undescribed.school is not described; use about()"),
        (Strange, {}, "Strange.size is of a kind the decoder does not know; use a kind of schemas.fields"),
        (
            Unbounded,
            {},
            "Unbounded.school is of a kind the decoder does not know; use a kind of schemas.fields",
        ),
        (Stubborn, {}, "t has validators of its own; declare sums or use a kind of field"),
        (BadSum, {}, 't: "school" in the sum count = school is not a required integer'),
        (Plain, {"identity": ("pupil",)}, 't has no field "pupil"'),
        (Plain, {"day_field": "school"}, 't: the day field "school" is not a date'),
        (
            Plain,
            {"identity": ("school",), "corrects": Corrects("u", (), (), ())},
            "t has an identity and corrects another type; it can have one of them",
        ),
    ],
)
def test_types_that_do_not_fit_together(data: type[EventData], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        made(data, **changes)
    assert str(caught.value) == message


def test_corrections_must_fit_what_they_correct() -> None:
    with pytest.raises(SchemaError) as caught:
        check_corrections({"attendance.corrected": CORRECTED})
    assert str(caught.value) == "attendance.corrected does not name the identity of attendance.marked"
    assert CORRECTED.corrects is not None
    wrong = dataclasses.replace(CORRECTED.corrects, after=(("status", "by"),))
    with pytest.raises(SchemaError) as caught:
        check_corrections({"attendance.marked": MARKED, "x": dataclasses.replace(CORRECTED, corrects=wrong)})
    expected = "attendance.corrected.by and attendance.marked.status are of different kinds"
    assert str(caught.value) == expected


def test_the_settings_of_the_types() -> None:
    assert DAY_REPORTED.identity == ("school", "date")
    assert (DAY_REPORTED.repeat_horizon, DAY_REPORTED.delay) == (400 * DAY_MS, 0)
    assert (MARKED.repeat_horizon, MARKED.delay, MARKED.correction_horizon) == (
        14 * DAY_MS,
        5000,
        14 * DAY_MS,
    )
    assert EVENT_TYPES["source.heartbeat"].repeat_horizon == DAY_MS
    assert [field.name for field in MARKED.fields if field.personal != "none"] == [
        "pupil",
        "status",
        "reason",
    ]


def test_who_reads_about_health_reads_what_is_sensitive() -> None:
    for name in ("health.clinic_visit", "health.symptom_reported"):
        classes = {field.name: field.personal for field in EVENT_TYPES[name].fields}
        assert (classes["pupil"], classes["symptom"], classes["school"]) == ("sensitive", "sensitive", "none")
    for kind in EVENT_TYPES.values():
        for field in kind.fields:
            if field.name in ("pupil", "staff", "by"):
                assert field.personal != "none", f"{kind.name}.{field.name}"
            if field.kind == "integer":
                assert field.unit, f"{kind.name}.{field.name}"


def test_later_events_replace_what_has_the_same_identity() -> None:
    assert {kind.name: kind.identity for kind in EVENT_TYPES.values() if kind.identity} == {
        "attendance.day_reported": ("school", "date"),
        "attendance.marked": ("school", "pupil", "date", "session"),
        "attendance.class_closed": ("school", "class", "date", "session"),
        "staff.attendance": ("school", "staff", "date", "session"),
        "leave.requested": ("school", "pupil", "first"),
        "meal.registered": ("school", "class", "date", "meal"),
        "health.symptom_reported": ("school", "pupil", "date", "symptom"),
        "calendar.overridden": ("school", "first", "last"),
    }


def test_optional_fields_stand_at_the_end() -> None:
    """So that the hash of an event does not change when its type gets further optional fields."""
    for kind in EVENT_TYPES.values():
        optional = [not field.required for field in kind.fields]
        assert optional == sorted(optional), kind.name


def test_unknown_types_are_named_with_the_nearest() -> None:
    assert event_type("attendance.marked") is MARKED
    with pytest.raises(SchemaError) as caught:
        event_type("attendance.correct")
    expected = 'there is no event type "attendance.correct"; did you mean "attendance.corrected"?'
    assert str(caught.value) == expected


def test_nearest() -> None:
    assert nearest("ENROLED", ["absent", "enrolled"]) == "enrolled"
    assert nearest("zzz", ["absent", "enrolled"]) == ""
