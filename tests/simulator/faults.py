"""Deliberate faults of the engine, each of which the simulator must find."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from rules.engine.count import CountCore
from schemas.topics import PANES
from schemas.wire import Core, LogBatch, OutRecord, PanesRecord, PaneValue, QueryPanes, Snapshot
from tests.simulator.nodes import Faults

Key = tuple[object, ...]
States = list[PaneValue]
Change = Callable[[Key, States], States]


class _Wrapped:
    """A core with something broken."""

    def __init__(self, core: Core) -> None:
        self.core = core

    @property
    def position(self) -> int:
        return self.core.position

    def apply(self, batch: LogBatch) -> None:
        self.core.apply(batch)

    def flush(self) -> list[OutRecord]:
        return self.core.flush()

    def snapshot(self, *, complete: bool) -> Snapshot:
        return self.core.snapshot(complete=complete)

    def restore(self, position: int, blocks: dict[str, bytes]) -> None:
        self.core.restore(position, blocks)


class Differences(_Wrapped):
    """Sends what changed since the last record, and judges sums of what came."""

    def __init__(self, agent: str, core: Core) -> None:
        super().__init__(core)
        self._agent = agent
        self._known: dict[Key, States] = {}

    def flush(self) -> list[OutRecord]:
        out = super().flush()
        if self._agent != "count":
            return out
        return [self._difference(record) if record.topic == PANES else record for record in out]

    def apply(self, batch: LogBatch) -> None:
        if self._agent != "judge":
            super().apply(batch)
            return
        values: list[bytes | None] = [self._sum(value) for value in batch.values]
        super().apply(
            LogBatch(batch.partition, batch.offsets, batch.keys, values, batch.headers, batch.timestamps)
        )

    def _difference(self, record: OutRecord) -> OutRecord:
        panes = msgspec.msgpack.decode(record.value or b"", type=PanesRecord)
        value = msgspec.msgpack.encode(_with(panes, self._change))
        return OutRecord(record.topic, record.partition, record.key, value, record.headers)

    def _change(self, key: Key, now: States) -> States:
        before, self._known[key] = self._known.get(key), now
        return _combined(now, before, -1)

    def _sum(self, value: bytes | None) -> bytes:
        panes = msgspec.msgpack.decode(value or b"", type=PanesRecord)
        return msgspec.msgpack.encode(_with(panes, self._total))

    def _total(self, key: Key, now: States) -> States:
        total = self._known[key] = _combined(now, self._known.get(key), 1)
        return total


def _combined(now: States, other: States | None, sign: int) -> States:
    if other is None:
        return now
    return [
        a + sign * b if isinstance(a, int) and isinstance(b, int) and abs(a) < 10**6 else a
        for a, b in zip(now, other, strict=True)
    ]


def _with(record: PanesRecord, change: Change) -> PanesRecord:
    sheets = [_changed(record.source, sheet, change) for sheet in record.panes]
    return msgspec.structs.replace(record, panes=sheets)


def _changed(source: int, sheet: QueryPanes, change: Change) -> QueryPanes:
    panes = []
    for pane in sheet.panes:
        key = (source, sheet.query, sheet.window_start, pane.group)
        panes.append(msgspec.structs.replace(pane, states=change(key, list(pane.states))))
    return msgspec.structs.replace(sheet, panes=panes)


class MachineClock(_Wrapped):
    """`count` reads the machine's clock instead of the log's."""

    def __init__(self, core: CountCore) -> None:
        super().__init__(core)
        self._count = core
        self._machine = random.Random()

    def flush(self) -> list[OutRecord]:
        self._count.clock += self._machine.randrange(1, 1_800_000)
        return super().flush()

    def apply(self, batch: LogBatch) -> None:
        super().apply(batch)
        self._count.clock += self._machine.randrange(1, 1_800_000)


def _machine(agent: str, core: Core) -> Core:
    return MachineClock(core) if isinstance(core, CountCore) else core


FAULTS = {
    "a snapshot is acknowledged without its commit record": Faults(acknowledge_early=True),
    "differences are sent instead of states": Faults(wrap=Differences),
    "the clock is read from the machine": Faults(wrap=_machine),
}
