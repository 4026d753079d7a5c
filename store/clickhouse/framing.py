"""ClickHouse's Native format where the embedded engine's bytes are not what a client expects.

Two cases. An empty result is no bytes at all from the engine, while clients want the columns. And
clickhouse-go decodes its first query at the revision it asked for, whatever the answer says: that one
answer is framed here and says revision 0, after which the client reads every block unframed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

BLOCK_INFO_REVISION = 51903
CUSTOM_SERIALIZATION_REVISION = 54454

_BLOCK_INFO = bytes.fromhex("010002ffffffff00")
_HELLO = re.compile(
    r"\s*select\s+displayName\(\)\s*,\s*version\(\)\s*,\s*revision\(\)\s*,\s*timezone\(\)\s*",
    re.IGNORECASE,
)


def var_uint(value: int) -> bytes:
    """An unsigned integer in ClickHouse's variable-length form (LEB128)."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def string(value: str | bytes) -> bytes:
    """A string with its length before it."""
    raw = value.encode() if isinstance(value, str) else value
    return var_uint(len(raw)) + raw


def header_block(columns: Sequence[tuple[str, str]]) -> bytes:
    """An unframed Native block of no rows: its columns' names and types."""
    names = b"".join(string(name) + string(kind) for name, kind in columns)
    return var_uint(len(columns)) + var_uint(0) + names


def is_hello(sql: str, revision: int) -> bool:
    """Whether this is clickhouse-go's first query, to be answered framed for ``revision``."""
    return revision >= BLOCK_INFO_REVISION and _HELLO.fullmatch(sql) is not None


def hello_block(name: str, version: str, timezone: str, revision: int) -> bytes:
    """The answer to the first query: one row, framed for ``revision``, that says revision 0."""
    columns = [
        ("displayName()", "String", string(name)),
        ("version()", "String", string(version)),
        ("revision()", "UInt32", (0).to_bytes(4, "little")),
        ("timezone()", "String", string(timezone)),
    ]
    serialization = b"\x00" if revision >= CUSTOM_SERIALIZATION_REVISION else b""
    body = b"".join(string(column) + string(kind) + serialization + data for column, kind, data in columns)
    return _BLOCK_INFO + var_uint(len(columns)) + var_uint(1) + body
