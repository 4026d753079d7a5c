"""Panes of all source partitions, merged, and the ring of past windows that baselines read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import msgspec

from rules.engine.blocks import Ledger
from rules.engine.panes import initial, merge
from rules.engine.windows import weekday_of
from rules.model import Query
from schemas.civil import DAY_MS, day_of, day_start
from schemas.events import EVENT_TYPES
from schemas.topics import MAX_BLOCK_BYTES
from schemas.wire import PanesRecord, PaneState, PaneValue

RING = 90
"""Past windows of a query that are kept, without their members."""
EVIDENCE_SHOWN = 20

Group = tuple[str, ...]
SheetKey = tuple[str, int]


class Merged:
    """States by query, window, group and source partition."""

    def __init__(self) -> None:
        self._sheets: dict[SheetKey, dict[Group, dict[int, PaneState]]] = {}
        self._rings: dict[SheetKey, dict[Group, list[PaneValue]]] = {}
        self._starts: dict[str, list[int]] = {}
        self._stale: dict[SheetKey, None] = {}

    def put(self, query: str, start: int, source: int, state: PaneState) -> bool:
        """Keep a state; False where one of a higher position is there."""
        key = (query, start)
        sheet = self._sheets.get(key)
        if sheet is None:
            if key in self._rings:
                return False
            sheet = self._sheets[key] = {}
            self._starts[query] = sorted({*self._starts.get(query, ()), start})
        sources = sheet.setdefault(state.group, {})
        old = sources.get(source)
        if old is not None and old.position > state.position:
            return False
        sources[source] = state
        self._stale[key] = None
        return True

    def put_record(self, record: PanesRecord, queries: Collection[str]) -> list[tuple[str, int, Group]]:
        """Keep the states of a record; gives the panes that changed.

        Panes of other queries are left out: a record sent again may be of a former configuration.
        """
        return [
            (sheet.query, sheet.window_start, pane.group)
            for sheet in record.panes
            if sheet.query in queries
            for pane in sheet.panes
            if self.put(sheet.query, sheet.window_start, record.source, pane)
        ]

    def open_panes(self) -> list[tuple[str, int, Group]]:
        """Every query, window and group that is still open to change."""
        return [(query, start, group) for (query, start), sheet in self._sheets.items() for group in sheet]

    def states(self, query: Query, start: int, group: Group) -> list[PaneValue]:
        """Merged states of one pane; of an empty one where nothing is known."""
        sources = self._sheets.get((query.id, start), {}).get(group)
        if sources is None:
            return list(self._rings.get((query.id, start), {}).get(group) or initial(query.aggs))
        if len(sources) == 1:
            return list(next(iter(sources.values())).states)
        total = initial(query.aggs)
        for _, state in sorted(sources.items()):
            total = merge(query.aggs, total, state.states)
        return total

    def version(self, query: str, start: int, group: Group) -> int:
        """Grows with every change: the sum of the partial states' positions."""
        return sum(s.position for s in self._sheets.get((query, start), {}).get(group, {}).values())

    def is_quiet(self, query: str, start: int, group: Group) -> bool:
        """Whether snapshots brought every row of a pane: nothing in it has just happened."""
        states = self._sheets.get((query, start), {}).get(group, {}).values()
        quiet = sum(state.quiet for state in states)
        return quiet > 0 and sum(state.rows for state in states) <= quiet

    def evidence(self, query: str, start: int, group: Group) -> list[str]:
        """Ids of the first events, by time and id, that stand behind a pane."""
        sources = self._sheets.get((query, start), {}).get(group, {})
        items = sorted(item for state in sources.values() for item in state.evidence)
        return [event_id for _, event_id in items[:EVIDENCE_SHOWN]]

    def earlier(self, query: Query, group: Group, start: int) -> Iterator[list[PaneValue]]:
        """States of the earlier windows on the same weekday that the group has, newest first."""
        for other in reversed(self._starts.get(query.id, [])):
            same = weekday_of(other) == weekday_of(start)
            if other < start and same and self._has(query.id, other, group):
                yield self.states(query, other, group)

    def _has(self, query: str, start: int, group: Group) -> bool:
        sheet = self._sheets.get((query, start))
        if sheet is None:
            return group in self._rings.get((query, start), {})
        return any(state.rows > 0 for state in sheet.get(group, {}).values())

    def corrected(
        self, query: Query, start: int, group: Group, then: Sequence[PaneValue], at: Mapping[int, int]
    ) -> list[PaneValue] | None:
        """States ``then`` at positions ``at``, with later corrections of earlier events; None: none."""
        total, found = list(then), False
        for source, state in self._sheets.get((query.id, start), {}).get(group, {}).items():
            fired = at.get(source, 0)
            for correction in state.corrections:
                if correction.original < fired < correction.position:
                    total, found = merge(query.aggs, total, correction.states), True
        return total if found else None

    def keep_queries(self, queries: Collection[str]) -> None:
        """Forget panes of queries that no rule asks any more."""
        for key in [key for key in (*self._sheets, *self._rings) if key[0] not in queries]:
            self._sheets.pop(key, None)
            self._rings.pop(key, None)
            self._stale.pop(key, None)
        self._starts = {query: starts for query, starts in self._starts.items() if query in queries}

    def expire(self, clock: int, queries: Mapping[str, Query]) -> None:
        """Windows that no correction can reach go to the ring."""
        today = day_start(day_of(clock))
        for key in list(self._sheets):
            query = queries[key[0]]
            if key[1] and key[1] < today - EVENT_TYPES[query.type].correction_horizon - 2 * DAY_MS:
                groups = [group for group in self._sheets[key] if self._has(*key, group)]
                self._rings[key] = {group: self.states(query, key[1], group) for group in groups}
                del self._sheets[key]
                self._stale[key] = None
                self._shorten(key[0])

    def _shorten(self, query: str) -> None:
        starts = self._starts[query]
        while len(starts) > RING and (query, starts[0]) in self._rings:
            self._rings.pop((query, starts[0]))
            self._stale.pop((query, starts[0]), None)
            starts.pop(0)

    # --- snapshot ---

    def put_blocks(self, ledger: Ledger, *, complete: bool) -> None:
        """Enter what changed, or everything."""
        live = {self._part(key): key for key in (*self._sheets, *self._rings)}
        ledger.keep(lambda part: part in live or not part.startswith("sheet/"))
        stale, self._stale = self._stale, {}
        for key in live.values() if complete else stale:
            content: Iterable[object] = (
                self._sheets[key].items() if key in self._sheets else self._rings[key].items()
            )
            ledger.put(self._part(key), _blocks(list(content)))

    def _part(self, key: SheetKey) -> str:
        return f"sheet/{key[0]}/{key[1]}/{'open' if key in self._sheets else 'ring'}"

    def load(self, parts: Mapping[str, list[bytes]]) -> None:
        """Put back what `put_blocks` entered."""
        for part, blocks in parts.items():
            if not part.startswith("sheet/"):
                continue
            _, query, start, kind = part.split("/")
            key = (query, int(start))
            for block in blocks:
                if kind == "ring":
                    self._rings.setdefault(key, {}).update(_RING.decode(block))
                else:
                    self._sheets.setdefault(key, {}).update(_SHEET.decode(block))
            self._starts[query] = sorted({*self._starts.get(query, ()), int(start)})


_ENCODER = msgspec.msgpack.Encoder()
_SHEET = msgspec.msgpack.Decoder(list[tuple[Group, dict[int, PaneState]]])
_RING = msgspec.msgpack.Decoder(list[tuple[Group, list[PaneValue]]])


def _blocks(items: list[object]) -> Iterator[bytes]:
    data = _ENCODER.encode(items)
    if len(data) <= MAX_BLOCK_BYTES or len(items) <= 1:
        yield data
        return
    half = len(items) // 2
    yield from _blocks(items[:half])
    yield from _blocks(items[half:])
