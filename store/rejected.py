"""Rejected events as the archive keeps them: counted, and read again in order of arrival."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from store.clickhouse.client import ClickHouse

PAGE: Final = 2000
_CODE: Final = "extract(message, 'unknown school \\'([^\\']*)\\'')"
_WHERE: Final = (
    "WHERE ({reason:String} = '' OR reason = {reason:String}) AND ({source:String} = '' OR source = "
    "{source:String})"
)


@dataclass(frozen=True, slots=True)
class RejectedGroup:
    """Rejected events of one source and reason."""

    source: str
    reason: str
    field: str
    school: str
    """The code that nobody knows; empty for other reasons."""
    count: int
    newest: str
    """When the newest arrived, DD/MM HH:MM:SS."""
    message: str


def rejected_groups(client: ClickHouse, reason: str = "", source: str = "") -> list[RejectedGroup]:
    """Rejected events by source, reason, field and unknown school, most first. Raises StoreError."""
    rows = client.query(
        f"SELECT source, reason, field, {_CODE} AS school, count() AS n, "  # noqa: S608 - constants
        "formatDateTime(max(arrived), '%d/%m %H:%i:%S'), argMax(message, arrived) FROM trucban.rejected "
        f"{_WHERE} GROUP BY source, reason, field, school ORDER BY n DESC, source, reason, field, school "
        "LIMIT 200",
        {"reason": reason, "source": source},
    )
    return [
        RejectedGroup(str(a), str(b), str(c), str(d), int(n), str(at), str(message))
        for a, b, c, d, n, at, message in rows
    ]


def rejected_values(client: ClickHouse, reason: str = "", source: str = "") -> Iterator[bytes]:
    """The bytes of rejected events, the first to arrive first. Raises StoreError."""
    after: tuple[int, str] = (-1, "")
    while True:
        rows = client.query(
            "SELECT toUnixTimestamp64Milli(arrived) AS at, position, base64Encode(bytes) "  # noqa: S608
            f"FROM trucban.rejected {_WHERE} AND (at, position) > ({{at:Int64}}, {{position:String}}) "
            f"ORDER BY at, position LIMIT {PAGE}",
            {"reason": reason, "source": source, "at": after[0], "position": after[1]},
        )
        for _, _, value in rows:
            yield base64.b64decode(value)
        if len(rows) < PAGE:
            return
        after = int(rows[-1][0]), str(rows[-1][1])
