"""The envelope: CloudEvents 1.0 in structured JSON."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

import pydantic

from schemas.civil import TIME_EXPECTED, parse_time
from schemas.fields import plain_text

_EXTENSION = re.compile("[a-z0-9]{1,64}")
_JSON_MEDIA = re.compile(r"application/json\s*(;.*)?", re.IGNORECASE)

Name = Annotated[str, pydantic.Field(min_length=1, max_length=256), pydantic.AfterValidator(plain_text)]
"""An id, source or type: 1 to 256 characters."""
Attribute = Annotated[str, pydantic.Field(max_length=2048), pydantic.AfterValidator(plain_text)]
"""Any other text attribute."""


def rfc3339(text: str) -> str:
    """``text``, which must be an RFC 3339 time with offset; ValueError otherwise."""
    parse_time(text)
    return text


def json_media(text: str) -> str:
    """``text``, which must name JSON; ValueError otherwise."""
    if not _JSON_MEDIA.fullmatch(text):
        raise ValueError("not JSON")
    return text


class Envelope(pydantic.BaseModel):
    """The context attributes of an event and its data, which is checked by the type's own model.

    Extension attributes are allowed and ignored; an attribute that is null counts as absent.
    """

    model_config = pydantic.ConfigDict(strict=True, extra="allow", frozen=True)

    specversion: Literal["1.0"]
    id: Name
    source: Name
    type: Name
    time: Annotated[str, pydantic.Field(max_length=40), pydantic.AfterValidator(rfc3339)]
    data: dict[str, Any]
    subject: Attribute | None = None
    datacontenttype: Annotated[Attribute, pydantic.AfterValidator(json_media)] | None = None
    dataschema: Attribute | None = None


REQUIRED: Final = ("specversion", "id", "source", "type", "time", "data")
EXPECTED: Final = {
    "specversion": '"1.0"',
    "id": "text of 1 to 256 characters without control characters",
    "source": "text of 1 to 256 characters without control characters",
    "type": "the name of an event type",
    "time": TIME_EXPECTED,
    "data": "an object",
    "subject": "text of 0 to 2048 characters without control characters",
    "datacontenttype": '"application/json"',
    "dataschema": "text of 0 to 2048 characters without control characters",
}
"""What each attribute must be, for messages."""


def extension_fault(name: str, value: Any) -> str:
    """Why an extension attribute is not allowed, or an empty string."""
    if not _EXTENSION.fullmatch(name):
        return "is not an attribute; names of extensions are lower-case letters and digits"
    if isinstance(value, (dict, list)):
        return "expected text, a number, true or false in an extension attribute"
    return ""
