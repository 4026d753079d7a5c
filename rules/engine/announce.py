"""What `count` tells the judges: changed panes in records of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from rules.engine.panes import Pane, SheetKey, state_of
from schemas.wire import PanesRecord, PaneState, QueryPanes

RECORD_BYTES = 1024 * 1024
"""Beyond this a record is sent in parts (a single pane is never cut)."""

Entry = tuple[SheetKey, PaneState]


def shares_of(changed: Iterable[tuple[SheetKey, list[Pane]]], judges: int) -> list[list[Entry]]:
    """Changed panes by the partition that judges them."""
    shares: list[list[Entry]] = [[] for _ in range(judges)]
    for key, panes in changed:
        for pane in panes:
            shares[pane.target].append((key, state_of(pane)))
    return shares


def values_of(record: PanesRecord, entries: list[Entry], clock: int, pulse: int) -> Iterator[bytes]:
    """``record`` with the panes, in as many parts as it takes.

    All parts but the last say the former ``clock`` and ``pulse``: nothing may be judged from
    absence before the last part is there.
    """
    value = _ENCODER.encode(msgspec.structs.replace(record, panes=_sheets(entries)))
    if len(value) <= RECORD_BYTES or len(entries) <= 1:
        yield value
        return
    half = len(entries) // 2
    earlier = msgspec.structs.replace(record, clock=clock, pulse=pulse, content=None, last=False)
    yield from values_of(earlier, entries[:half], clock, pulse)
    yield from values_of(record, entries[half:], clock, pulse)


def _sheets(entries: list[Entry]) -> list[QueryPanes]:
    sheets: dict[SheetKey, QueryPanes] = {}
    for key, state in entries:
        sheet = sheets.get(key)
        if sheet is None:
            sheet = sheets[key] = QueryPanes(*key, [])
        sheet.panes.append(state)
    return list(sheets.values())


_ENCODER = msgspec.msgpack.Encoder()
