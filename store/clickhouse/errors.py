"""The engine's errors as ClickHouse's HTTP interface reports them: a code, a text, an HTTP status."""

from __future__ import annotations

import re

AUTHENTICATION_FAILED = 516
INTO_OUTFILE_NOT_ALLOWED = 113
SYNTAX_ERROR = 62
TOO_MANY_BYTES = 307
TOO_MANY_QUERIES = 202
UNKNOWN_COMPRESSION_METHOD = 89
CANNOT_DECOMPRESS = 271
UNKNOWN_TYPE_OF_QUERY = 78
BAD_ARGUMENTS = 36
CANNOT_SCHEDULE_TASK = 439
UNKNOWN_EXCEPTION = 1002

_CODE = re.compile(r"Code: (\d+)\. DB::")

# As `exceptionCodeToHTTPStatus` in ClickHouse's HTTPHandler maps them; every other code is 500.
_FORBIDDEN = {192, 193, 516, 512}
_BAD_REQUEST = {
    6, 8, 15, 16, 20, 24, 25, 26, 27, 36, 38, 41, 42, 43, 44, 53, 62, 69, 70, 72, 78, 89, 117, 167, 168,
    190, 271, 321, 427, 441, 456, 457, 675, 676,
}  # fmt: skip
_NOT_FOUND = {46, 47, 60, 63, 64, 73, 81, 115}
_OTHERS = {48: 501, 159: 408, 194: 401, 202: 503, 307: 413, 439: 503}


class EngineError(Exception):
    """A request that the engine or this server refused: ClickHouse's code and full text."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(text)

    @property
    def status(self) -> int:
        """HTTP status that ClickHouse gives to this code."""
        return http_status(self.code)


def refuse(code: int, name: str, message: str) -> EngineError:
    """An error of our own in ClickHouse's form."""
    return EngineError(code, f"Code: {code}. DB::Exception: {message} ({name})")


def parse(message: str) -> EngineError:
    """The error inside a message of the embedded engine, which may wrap it more than once."""
    found = list(_CODE.finditer(message))
    if not found:
        return EngineError(UNKNOWN_EXCEPTION, f"Code: {UNKNOWN_EXCEPTION}. DB::Exception: {message}")
    inner = found[-1]
    return EngineError(int(inner[1]), message[inner.start() :].strip())


def http_status(code: int) -> int:
    """HTTP status for a ClickHouse error code."""
    if code in _FORBIDDEN:
        return 403
    if code in _BAD_REQUEST:
        return 400
    if code in _NOT_FOUND:
        return 404
    return _OTHERS.get(code, 500)
