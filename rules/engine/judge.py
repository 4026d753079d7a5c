"""The agent `judge`: a function of one partition of ``alerting.panes``.

Keeps, per pane and source partition, the state of the highest position; merges; evaluates; moves
alerts on. Present conditions are judged as panes change; what is judged from absence waits until
the watermark of every source partition that can hold the group has passed the instant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np

from rules.engine.barrier import Barrier
from rules.engine.blocks import Ledger, by_part
from rules.engine.configured import Configured, compiled
from rules.engine.deadlines import Cursors
from rules.engine.intake import NEVER
from rules.engine.life import Alert, AlertKey
from rules.engine.sources import Sources
from rules.engine.verdicts import Group, Verdicts
from rules.engine.watch import Watch
from schemas.civil import day_of
from schemas.topics import AGGREGATES, JUDGED, KIND, TRANSITIONS
from schemas.wire import Aggregate, CoreOptions, Judged, LogBatch, OutRecord, PanesRecord, Snapshot

AGGREGATES_A_RECORD = 500
ENTRIES_A_BLOCK = 1000
RECORDS_A_BLOCK = 50
JUDGED_EVERY = 1000
"""How far the clock goes on before `correlate` is told, ms of business time."""
WATCHING = 0
"""The judge partition that watches the engine for all."""


class JudgeState(msgspec.Struct):
    """The part of a snapshot that is not panes."""

    sources: Sources
    reached: dict[int, int]
    forgot: int
    deadlines: Cursors = []


class JudgeCore:
    """See the module. Satisfies `schemas.wire.Core`."""

    def __init__(self, partition: int, options: CoreOptions) -> None:
        self.partition = partition
        self.options = options
        self._verdicts = Verdicts(options.partitions, (partition, options.judge_partitions))
        self._barrier = Barrier(options.partitions)
        self._watch = Watch()
        self._changed: dict[tuple[str, int, Group], None] = {}
        self._rows: list[Aggregate] = []
        self._ledger = Ledger()
        self._forgot = day_of(NEVER)
        self._written = False
        self._judged_to = NEVER
        self._position = 0

    @property
    def position(self) -> int:
        """Offset of the next record to apply."""
        return self._position

    @property
    def configured(self) -> Configured:
        """The configuration in force."""
        return self._verdicts.configured

    @property
    def alerts(self) -> Mapping[AlertKey, Alert]:
        """Live alerts."""
        return self._verdicts.alerts

    @property
    def sources(self) -> Sources:
        """How far the source partitions have come."""
        return self._verdicts.sources

    # --- the way of a record ---

    def apply(self, batch: LogBatch) -> None:
        """Take a batch; records below ``position`` are skipped."""
        start = int(np.searchsorted(np.array(batch.offsets), self._position))
        for row in range(start, len(batch)):
            value = batch.values[row]
            if value is not None:
                self._record(_RECORD.decode(value))
            self._position = batch.offsets[row] + 1

    def _record(self, record: PanesRecord) -> None:
        self._judge_record(record)
        if self.partition == WATCHING:
            self._watch_engine(record)

    def _watch_engine(self, record: PanesRecord) -> None:
        """Where the clock is in the data, sources are as far apart as they are fed: that is no fault."""
        self._watch.hear(record)
        if self.configured.hash and self.configured.mode != "data":
            step = self._watch.look(self.sources.clocks(), self.options.partitions)
            if step is not None:
                self._verdicts.report.tell(step)

    def _judge_record(self, record: PanesRecord) -> None:
        if not self._barrier.offer(record):
            return  # everything in it came already
        self._release()
        while (content := self._barrier.next_content()) is not None:
            self._switch(content)
            self._release()

    def _release(self) -> None:
        for record in self._barrier.release(self.configured.hash):
            self._take(record)

    def _take(self, record: PanesRecord) -> None:
        verdicts = self._verdicts
        verdicts.sources.take(record)
        changed = verdicts.merged.put_record(record, verdicts.queries)
        for key in sorted(changed, key=_by_window):  # in the record their order depends on how it was cut
            self._changed[key] = None
            verdicts.judge_pane(*key)
        verdicts.judge_due(record.source)
        self._forget()

    def _switch(self, content: bytes) -> None:
        """Take the configuration that every source partition has come to."""
        self._write_rows()  # what the former rules measured last, while they are still known
        new = compiled(content)
        known = sorted(self._verdicts.merged.open_panes(), key=_by_window)
        self._verdicts.switch(new, self._barrier.first_of(new.hash))
        if self.partition == WATCHING:
            self._verdicts.report.configured(new.content)
        for key in known:  # the others are judged with their record's clock
            self._changed[key] = None
            self._verdicts.judge_pane(*key)

    def _forget(self) -> None:
        """Once a day of the slowest clock: move windows to the rings that baselines read."""
        oldest = self.sources.oldest()
        if day_of(oldest) == self._forgot:
            return
        self._forgot = day_of(oldest)
        self._write_rows()  # a ring knows no versions
        self._verdicts.forget(oldest)

    # --- output ---

    def flush(self) -> list[OutRecord]:
        """Transitions, then the newest measures of every group that changed."""
        out = [*self._verdicts.report.take(), *self._judged()]
        self._write_rows()
        rows, self._rows = self._rows, []
        for begin in range(0, len(rows), AGGREGATES_A_RECORD):
            value = msgspec.json.encode(rows[begin : begin + AGGREGATES_A_RECORD])
            out.append(OutRecord(AGGREGATES, self.partition, None, value))
        return out

    def _judged(self) -> Iterator[OutRecord]:
        """How far this judge has come, behind everything it has told."""
        clock = self.sources.judged()
        if clock >= self._judged_to + JUDGED_EVERY:
            self._judged_to = clock
            value = msgspec.json.encode(Judged(self.partition, clock))
            yield OutRecord(TRANSITIONS, 0, None, value, ((KIND, JUDGED),))

    def _write_rows(self) -> None:
        self._rows += [row for key in self._changed for row in self._verdicts.aggregates(*key)]
        self._changed = {}

    # --- snapshot ---

    def snapshot(self, *, complete: bool) -> Snapshot:
        """Blocks that changed; everything sent before must have come out of `flush`."""
        complete = complete or not self._written
        self._written = True
        verdicts, ledger = self._verdicts, self._ledger
        ledger.begin(complete=complete)
        verdicts.merged.put_blocks(ledger, complete=complete)
        ledger.put("config", [self.configured.content])
        state = JudgeState(self.sources, self._barrier.reached(), self._forgot, verdicts.deadlines.entries())
        ledger.put("state", [_ENCODER.encode(state)])
        ledger.put("watch", [_ENCODER.encode(self._watch)])
        ledger.put("held", _chunks(self._barrier.held(), RECORDS_A_BLOCK))
        ledger.put("alerts", _chunks(list(verdicts.alerts.items())))
        ledger.put("episodes", _chunks(list(verdicts.episodes.items())))
        ledger.put("agenda", _chunks(verdicts.agenda.entries()))
        return ledger.finish(self._position)

    def restore(self, position: int, blocks: dict[str, bytes]) -> None:
        """Become what `snapshot` described."""
        self._position = position
        parts = by_part(blocks)
        verdicts = self._verdicts
        verdicts.install(compiled(parts["config"][0]))
        verdicts.merged.load(parts)
        state = msgspec.msgpack.decode(parts["state"][0], type=JudgeState)
        verdicts.sources, self._forgot = state.sources, state.forgot
        verdicts.deadlines.load(state.deadlines)
        self._watch = msgspec.msgpack.decode(parts["watch"][0], type=Watch)
        self._barrier.load((r for block in parts["held"] for r in _HELD.decode(block)), state.reached)
        verdicts.alerts = {k: v for block in parts["alerts"] for k, v in _ALERTS.decode(block)}
        verdicts.episodes = {k: v for block in parts["episodes"] for k, v in _EPISODES.decode(block)}
        for block in parts["agenda"]:
            verdicts.agenda.load(_AGENDA.decode(block))
        self._ledger.resume(blocks)


def _by_window(key: tuple[str, int, Group]) -> tuple[int, str, Group]:
    """Earlier windows first: whether an episode goes on is asked of the window before."""
    query, start, group = key
    return start, query, group


def _chunks(items: Sequence[object], size: int = ENTRIES_A_BLOCK) -> Iterator[bytes]:
    for begin in range(0, max(len(items), 1), size):
        yield _ENCODER.encode(items[begin : begin + size])


_RECORD = msgspec.msgpack.Decoder(PanesRecord)
_ENCODER = msgspec.msgpack.Encoder()
_HELD = msgspec.msgpack.Decoder(list[PanesRecord])
_ALERTS = msgspec.msgpack.Decoder(list[tuple[AlertKey, Alert]])
_EPISODES = msgspec.msgpack.Decoder(list[tuple[AlertKey, int]])
_AGENDA = msgspec.msgpack.Decoder(list[tuple[AlertKey, int, bool, int]])
