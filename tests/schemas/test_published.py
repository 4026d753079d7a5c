from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import SchemaError
from schemas.events import EVENT_TYPES
from schemas.events_page import events_page
from schemas.published import json_schema
from schemas.validate import Event, validate
from tests.support.strategies import ARRIVED, any_document, mutated

ROOT = Path(__file__).resolve().parents[2]
SLOW = settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
VALIDATORS = {
    name: jsonschema.Draft202012Validator(json_schema(name)) for name in (None, *sorted(EVENT_TYPES))
}


def test_the_page_of_events_is_what_the_registry_says() -> None:
    assert (ROOT / "docs" / "events.md").read_text(encoding="utf-8") == events_page()


@pytest.mark.parametrize("name", [None, *sorted(EVENT_TYPES)])
def test_schemas_are_schemas(name: str | None) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema(name))


@given(any_document)
@SLOW
def test_valid_events_fit_the_schema(document: dict[str, Any]) -> None:
    for name in (document["type"], None):
        VALIDATORS[name].validate(document)


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
@given(st.data())
@SLOW
def test_what_the_model_accepts_the_schema_accepts(name: str, data: st.DataObject) -> None:
    raw = data.draw(mutated(EVENT_TYPES[name]))
    event = validate(raw, ARRIVED)
    if isinstance(event, Event):
        VALIDATORS[event.type.name].validate(json.loads(raw))


def test_fields_are_described() -> None:
    data = json_schema("attendance.marked")["properties"]["data"]["properties"]
    assert data["reason"] == {
        "type": ["string", "null"],
        "minLength": 0,
        "maxLength": 500,
        "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
        "title": "Reason",
        "description": "Reason / Lý do",
        "x-title": {"vi": "Lý do", "en": "Reason"},
        "x-personal-data": "sensitive",
    }
    enrolled = json_schema("attendance.day_reported")["properties"]["data"]["properties"]["enrolled"]
    assert (enrolled["x-unit"], enrolled["x-decimals"]) == ("pupils", 0)


def test_an_unknown_type_has_no_schema() -> None:
    with pytest.raises(SchemaError) as caught:
        json_schema("attendance.marks")
    expected = 'there is no event type "attendance.marks"; did you mean "attendance.marked"?'
    assert str(caught.value) == expected
