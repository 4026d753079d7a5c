"""Every reason and the full text of every message."""

# ruff: noqa: E501 -- a fault and its whole message stay on one line, to be read side by side
from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.topics import MAX_EVENT_BYTES
from schemas.validate import Event, Reject, validate
from tests.support.strategies import ARRIVED

GOOD: dict[str, Any] = {
    "specversion": "1.0",
    "id": "a-1",
    "source": "/nyc",
    "type": "attendance.day_reported",
    "time": "2026-09-07T07:15:00+07:00",
    "data": {
        "school": "01M015", "date": "2026-09-07", "enrolled": 30, "present": 28, "absent": 2, "released": 0
    },
}  # fmt: skip
TEXT = json.dumps(GOOD)
COUNT = "expected an integer from 0 to 100000"
CODE = "text of 1 to 64 characters without control characters"
TIME = "an RFC 3339 time with offset such as 2026-09-07T07:15:00+07:00"


def outer(**changes: Any) -> bytes:
    return json.dumps(GOOD | changes).encode()


def inner(**changes: Any) -> bytes:
    return json.dumps(GOOD | {"data": GOOD["data"] | changes}).encode()


def without(name: str, *, data: bool = False) -> bytes:
    document = json.loads(TEXT)
    del (document["data"] if data else document)[name]
    return json.dumps(document).encode()


def replaced(old: str, new: str) -> bytes:
    assert TEXT.count(old) == 1
    return TEXT.replace(old, new).encode()


CASES = [
    (None, "not_json", "", "the record has no value; expected a CloudEvent"),
    (b" " * (MAX_EVENT_BYTES + 1), "too_large", "", "524289 bytes; expected at most 524288"),
    (b'{"id": "\xff"}', "not_utf8", "", "byte 8 is not valid UTF-8; expected UTF-8 text"),
    (b"", "not_json", "", "not JSON at line 1, column 1: Expecting value"),
    (b'{"id": 1,\n x}', "not_json", "", "not JSON at line 2, column 2: Expecting property name enclosed in double quotes"),
    (b"\xef\xbb\xbf{}", "not_json", "", "not JSON at line 1, column 1: Expecting value"),
    (b"[" * 33 + b"]" * 33, "too_deep", "", "nested deeper than 32 levels"),
    (replaced('"absent": 2', '"absent": NaN'), "not_json", "data.absent", "NaN is not a JSON number"),
    (replaced('"absent": 2', '"absent": -Infinity'), "not_json", "data.absent", "-Infinity is not a JSON number"),
    (replaced('"absent": 2', '"absent": 1e999'), "invalid", "data.absent", "the number 1e999 is too great"),
    (replaced('"absent": 2', '"absent": 9223372036854775808'), "invalid", "data.absent", "the integer 9223372036854775808 does not fit in 64 bits"),
    (replaced('"absent": 2', '"absent": 2, "absent": 3'), "duplicate_key", "data.absent", 'the key "absent" occurs more than once in one object'),
    (replaced('"id": "a-1"', '"id": "a-1", "\\u0069d": "b"'), "duplicate_key", "id", 'the key "id" occurs more than once in one object'),
    (replaced('"a-1"', '"\\ud800"'), "not_json", "id", "an unpaired surrogate is not a character"),
    (b"[]", "not_cloudevent", "", "expected a CloudEvent, an object; got []"),
    (without("id"), "not_cloudevent", "id", "id is missing; expected text of 1 to 256 characters without control characters"),
    (without("time"), "not_cloudevent", "time", f"time is missing; expected {TIME}"),
    (without("data"), "not_cloudevent", "data", "data is missing; expected an object"),
    (outer(specversion="0.3"), "not_cloudevent", "specversion", 'expected "1.0", got "0.3"'),
    (outer(id=""), "not_cloudevent", "id", 'expected text of 1 to 256 characters without control characters, got ""'),
    (outer(source=7), "not_cloudevent", "source", "expected text of 1 to 256 characters without control characters, got 7"),
    (outer(type=None), "not_cloudevent", "type", "expected the name of an event type, got null"),
    (outer(time="2026-09-07T07:15:00"), "not_cloudevent", "time", f'expected {TIME}, got "2026-09-07T07:15:00"'),
    (outer(time="2026-09-31T07:15:00Z"), "not_cloudevent", "time", f'expected {TIME}, got "2026-09-31T07:15:00Z"'),
    (outer(data=[1]), "not_cloudevent", "data", "expected an object, got [1]"),
    (outer(subject=1), "not_cloudevent", "subject", "expected text of 0 to 2048 characters without control characters, got 1"),
    (outer(dataschema="\n"), "not_cloudevent", "dataschema", 'expected text of 0 to 2048 characters without control characters, got "\\n"'),
    (outer(datacontenttype="text/xml"), "not_cloudevent", "datacontenttype", 'expected "application/json", got "text/xml"'),
    (outer(data_base64="eA=="), "not_cloudevent", "data_base64", '"data_base64" is not an attribute; names of extensions are lower-case letters and digits'),
    (outer(extra={}), "not_cloudevent", "extra", '"extra" expected text, a number, true or false in an extension attribute'),
    (outer(type="attendance.day_report"), "unknown_type", "type", 'there is no event type "attendance.day_report"; did you mean "attendance.day_reported"?'),
    (outer(type="x"), "unknown_type", "type", 'there is no event type "x"'),
    (outer(type="trucban.pulse"), "unknown_type", "type", '"trucban.pulse" is a record of the engine, not a type of event'),
    (outer(time="2099-01-01T00:00:00Z"), "time_out_of_range", "time", "the time is more than 2 days after the event's arrival"),
    (outer(time="1999-12-31T23:59:59Z"), "time_out_of_range", "time", "the time is before 2000-01-01"),
    (inner(date="2099-01-01"), "time_out_of_range", "data.date", "date is more than 2 days after the event's arrival"),
    (inner(date="1999-12-31"), "time_out_of_range", "data.date", "date is before 2000-01-01"),
    (inner(absent="2"), "invalid", "data.absent", f'{COUNT}, got "2"'),
    (inner(absent=2.0), "invalid", "data.absent", f"{COUNT}, got 2.0"),
    (inner(absent=True), "invalid", "data.absent", f"{COUNT}, got true"),
    (inner(absent=None), "invalid", "data.absent", f"{COUNT}, got null"),
    (inner(absent=-1), "invalid", "data.absent", f"{COUNT}, got -1"),
    (inner(absent=100_001), "invalid", "data.absent", f"{COUNT}, got 100001"),
    (inner(absent=3), "invalid", "data.enrolled", "expected enrolled = present + absent + released, got 30 and 28 + 3 + 0 = 31"),
    (inner(school="x" * 65), "invalid", "data.school", f'expected {CODE}, got "{"x" * 58}…'),
    (inner(school="a\u0000b"), "invalid", "data.school", f'expected {CODE}, got "a\\u0000b"'),
    (inner(date="07/09/2026"), "invalid", "data.date", 'expected a date such as 2026-09-07, got "07/09/2026"'),
    (inner(date="2026-02-30"), "invalid", "data.date", 'expected a date such as 2026-09-07, got "2026-02-30"'),
    (inner(abscent=1), "invalid", "data.abscent", '"abscent" is not a field of attendance.day_reported; did you mean "absent"?'),
    (without("absent", data=True), "invalid", "data.absent", f"absent is missing; {COUNT}"),
    (replaced('"absent": 2', '"abscent": 2'), "invalid", "data.absent", f'absent is missing; {COUNT}; did you mean it by "abscent"?'),
]  # fmt: skip


@pytest.mark.parametrize(("value", "reason", "field", "message"), CASES)
def test_messages(value: bytes | None, reason: str, field: str, message: str) -> None:
    reject = validate(value, ARRIVED, 7)
    assert isinstance(reject, Reject)
    assert (reject.row, reject.reason, reject.field, reject.message) == (7, reason, field, message)


def test_a_choice_says_what_there_is_to_choose() -> None:
    data = {
        "school": "A",
        "class": "1A",
        "pupil": "p",
        "date": "2026-09-07",
        "session": "noon",
        "status": "late",
    }
    reject = validate(outer(type="attendance.marked", data=data), ARRIVED)
    expected = 'expected one of "morning", "afternoon", "full_day", got "noon"'
    assert reject == Reject(0, "invalid", "data.session", expected, "/nyc", "a-1", "attendance.marked")


def test_a_reject_names_the_event_even_when_a_key_is_repeated() -> None:
    reject = validate(replaced('"absent": 2', '"absent": 2, "absent": 3'), ARRIVED)
    assert isinstance(reject, Reject)
    assert (reject.source, reject.event_id, reject.event_type) == ("/nyc", "a-1", "attendance.day_reported")


def test_extensions_and_null_attributes_are_allowed() -> None:
    value = outer(
        subject=None, datacontenttype="application/json; charset=UTF-8", tenant="x", rank=3, test=True
    )
    event = validate(value, ARRIVED)
    assert isinstance(event, Event)
    assert (event.id, event.day) == ("a-1", 20703)


def test_the_bounds_of_time_are_inside() -> None:
    assert isinstance(validate(outer(time="2026-09-09T09:00:00+07:00"), ARRIVED), Event)
    assert isinstance(validate(outer(time="2026-09-09T09:00:00.001+07:00"), ARRIVED), Reject)
    assert isinstance(validate(outer(time="2000-01-01T00:00:00Z"), ARRIVED), Event)
    assert isinstance(validate(inner(date="2026-09-09"), ARRIVED), Event)
    assert isinstance(validate(inner(date="2026-09-10"), ARRIVED), Reject)


def test_hostile_text_takes_no_longer_than_its_length() -> None:
    """Each of these takes minutes when some text is looked at again and again."""
    quotes = b"[" * 33 + b'"' + b'\\"' * 240_000
    digits = b'{"a": ' + b"9" * 500_000 + b"}"
    for value in (quotes, digits, b"[" * 500_000, b'{"a":' * 90_000, b'"' * 500_000):
        assert isinstance(validate(value, ARRIVED), Reject)
