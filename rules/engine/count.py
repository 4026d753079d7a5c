"""The agent `count`: a function of one partition of ``school.events``.

Decode → validate → place → drop repeats → expand to signed rows → join reference data → panes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from rules.engine.aggregate import QUIET, contribute
from rules.engine.announce import shares_of, values_of
from rules.engine.blocks import Ledger, by_part, load_run, put_runs
from rules.engine.configured import UNCONFIGURED, Configured, amended, compiled
from rules.engine.intake import BEYOND, CLOCK, MARK, NEVER, Decoded, Intake, Special, read
from rules.engine.latest import POSITION
from rules.engine.outbox import accepted_record, forward, rejected_record
from rules.engine.panes import Panes, ShardKey
from rules.engine.pulses import Pulses, pulse_of
from rules.engine.signed import Effects
from rules.model import Query
from schemas.civil import DAY_MS, day_of, day_start
from schemas.decode import Reject
from schemas.errors import DocumentError
from schemas.events import EVENT_TYPES
from schemas.topics import PANES, PULSE
from schemas.wire import CoreOptions, LogBatch, OutRecord, PanesRecord, Pulse, Snapshot

STEP = 10_000
"""In live running the state is also judged at least this often in business time, ms, however
large the batches are: so a deadline that passed during an outage is judged where it lay."""
IDLE_STEP = 1000
"""In live running the clock alone is announced this often, ms of business time."""


class Meta(msgspec.Struct):
    """The small part of a snapshot."""

    clock: int
    pulses: Pulses
    announced: tuple[int, int]
    unsent: list[tuple[str, int, list[tuple[str, ...]]]]


@dataclass(slots=True)
class Stats:
    """What the core has seen since it began (for metrics; not part of its state)."""

    events: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    repeats: int = 0
    forwarded: int = 0
    beyond: int = 0
    batches: int = 0


class CountCore:
    """See the module. Satisfies `schemas.wire.Core`."""

    def __init__(self, partition: int, options: CoreOptions) -> None:
        self.partition = partition
        self.options = options
        self.stats = Stats()
        self.clock = NEVER
        self.configured: Configured = UNCONFIGURED
        self._position = 0
        self._pulses = Pulses()
        self._announced = (NEVER, NEVER)  # clock and pulse last sent
        self._intake = Intake(partition, options.partitions)
        self._effects = Effects()
        self._panes = Panes(options.judge_partitions)
        self._ledger = Ledger()
        self._written = False
        self._out: list[OutRecord] = []
        self._accepted: dict[str, list[pl.DataFrame]] = {}

    @property
    def position(self) -> int:
        """Offset of the next record to apply."""
        return self._position

    @property
    def live_panes(self) -> int:
        """Panes in memory."""
        return len(self._panes)

    @property
    def remembered(self) -> dict[str, int]:
        """Sizes of the indexes: seen ids, and kept rows by type."""
        kept = {name: len(latest.runs) for name, latest in self._effects.latest.items()}
        return {"seen": len(self._intake.seen), **kept}

    # --- the way of a batch ---

    def apply(self, batch: LogBatch) -> None:
        """Take a batch; records below ``position`` are skipped."""
        start = int(np.searchsorted(np.array(batch.offsets), self._position))
        if start >= len(batch):
            return
        decoded = read(batch, start)
        pulses = _pulses_of(decoded)
        clocks = self._clocks(decoded, pulses, len(batch))
        self.stats.batches += 1
        begin = start
        for special in (*decoded.specials, None):
            end = special.row if special else len(batch)
            self._segment(batch, decoded, clocks, begin, end)
            if special is not None:
                self._position = batch.offsets[special.row] + 1
                self.clock = max(self.clock, int(clocks[special.row]))
                self._take(batch, decoded, special, pulses.get(special.row))
                begin = special.row + 1
        self._position = batch.offsets[-1] + 1

    def _clocks(self, decoded: Decoded, pulses: dict[int, Pulse], size: int) -> npt.NDArray[np.int64]:
        """The business clock after each row."""
        times = np.full(size, NEVER, dtype=np.int64)
        for frame in decoded.frames.values():
            bounded = frame.select(pl.min_horizontal("time", "arrived")).to_series().to_numpy()
            times[frame["_row"].to_numpy()] = bounded
        for row, pulse in pulses.items():
            times[row] = pulse.clock
        return np.maximum(np.maximum.accumulate(times), self.clock)

    def _segment(
        self, batch: LogBatch, decoded: Decoded, clocks: npt.NDArray[np.int64], begin: int, end: int
    ) -> None:
        """Events of rows begin..end, between which no control record or pulse stands."""
        if begin >= end:
            return
        self._position = batch.offsets[end - 1] + 1
        self.clock = max(self.clock, int(clocks[end - 1]))
        frames = {}
        for name, frame in decoded.frames.items():
            part = _between(frame, begin, end)
            if not part.is_empty():
                frames[name] = part.hstack([pl.Series(CLOCK, clocks[part["_row"].to_numpy()])])
        result = self._intake.sort(frames, self.configured.reference)
        self._reject(batch, decoded, [r for r in decoded.rejects if begin <= r.row < end] + result.rejects)
        for row, target in sorted(result.forwards):
            self._out.append(forward(batch, decoded.arrived, row, target))
        self.stats.events += end - begin
        self.stats.repeats += result.repeats
        self.stats.forwarded += len(result.forwards)
        self._count(batch, result.accepted)

    def _reject(self, batch: LogBatch, decoded: Decoded, rejects: list[Reject]) -> None:
        for reject in sorted(rejects, key=lambda r: r.row):
            self.stats.rejected[reject.reason] = self.stats.rejected.get(reject.reason, 0) + 1
            self._out.append(rejected_record(self.partition, batch, decoded.arrived, reject))

    def _count(self, batch: LogBatch, accepted: dict[str, pl.DataFrame]) -> None:
        counted = {}
        offsets = np.array(batch.offsets, dtype=np.int64)
        raw = pl.Series("raw", batch.values, dtype=pl.Binary)
        for name, frame in accepted.items():
            frame = frame.hstack([pl.Series(POSITION, offsets[frame["_row"].to_numpy()])])
            self._accepted.setdefault(name, []).append(frame.hstack([raw[frame["_row"]]]))
            beyond = int((frame[MARK] == BEYOND).sum())
            self.stats.beyond += beyond
            if beyond < len(frame):
                counted[name] = frame.filter(pl.col(MARK) == "") if beyond else frame
        for name, rows, corrected in self._effects.of(counted, self.configured.reference):
            for query in self.configured.queries_of(name):
                contribute(self._panes, query, rows, self._position, corrected=corrected)

    # --- records of the engine ---

    def _take(self, batch: LogBatch, decoded: Decoded, special: Special, pulse: Pulse | None) -> None:
        if pulse is not None:
            if self._pulses.beat(pulse) and (self._by_log or self.clock - self._announced[0] >= STEP):
                self._announce()
        elif special.kind == PULSE:
            self._reject(batch, decoded, [r for r in decoded.rejects if r.row == special.row])
        else:
            self._reconfigure(batch, decoded, special)

    def _reconfigure(self, batch: LogBatch, decoded: Decoded, special: Special) -> None:
        try:
            new = amended(self.configured, special.value)
        except (ValueError, DocumentError) as error:
            self._reject(batch, decoded, [Reject(special.row, "not_control", "", str(error))])
            return
        if new is self.configured:
            return
        if self.clock != NEVER:
            self._announce()
        known, self.configured = set(self.configured.rules.queries), new
        self._panes.keep_queries(query.id for query in new.rules.queries)
        for query in new.rules.queries:
            if query not in known:
                self._begin(query)
        self._announce(content=new.content if self.partition == 0 else None)

    def _begin(self, query: Query) -> None:
        """A new query begins with the rows in force: what corrects them must find them counted."""
        rows = self._effects.in_force(query.type, self.clock)
        if not rows.is_empty():
            contribute(self._panes, query, rows, self._position, corrected=False)

    @property
    def _by_log(self) -> bool:
        """Output only where the log says so, so that results do not depend on speed."""
        return self.configured.mode == "data"

    # --- output ---

    def flush(self) -> list[OutRecord]:
        """What is due for sending."""
        if not self._by_log and self.clock != NEVER:
            self._expire()
            if self._panes.unsent or self.clock - self._announced[0] >= IDLE_STEP:
                self._announce()
        for name, frames in self._accepted.items():
            self._out.extend(accepted_record(self.partition, name, pl.concat(frames, how="diagonal")))
        self._accepted = {}
        out, self._out = self._out, []
        return out

    def _announce(self, content: bytes | None = None) -> None:
        """Send changed panes, and to everyone the clock, the position and the configuration's hash."""
        if self._by_log:
            self._expire()
        record = PanesRecord(
            source=self.partition,
            sources=self.options.partitions,
            position=self._position,
            clock=self.clock,
            config=self.configured.hash,
            panes=[],
            content=content,
            pulse=self._pulses.newest,
            gaps=self._pulses.gaps,
        )
        key = str(self.partition).encode()
        shares = shares_of(self._panes.take_unsent(), self.options.judge_partitions)
        for target, entries in enumerate(shares):
            for value in values_of(record, entries, *self._announced):
                self._out.append(OutRecord(PANES, target, key, value))
        self._announced = (self.clock, self._pulses.newest)

    def _expire(self) -> None:
        """Forget what no event can reach any more."""
        longest = max(kind.correction_horizon for kind in EVENT_TYPES.values())
        self._panes.expire(day_start(day_of(self.clock)) - longest - DAY_MS)
        self._intake.seen.expire("expires", self.clock)
        self._effects.expire(self.clock)

    # --- snapshot ---

    def snapshot(self, *, complete: bool) -> Snapshot:
        """Blocks that changed; everything sent before must have come out of `flush`."""
        complete = complete or not self._written
        self._written = True
        ledger = self._ledger
        ledger.begin(complete=complete)
        put_runs(ledger, "seen", self._intake.seen)
        for name, latest in self._effects.latest.items():
            put_runs(ledger, f"rows/{name}", latest.runs)
        self._put_panes(complete=complete)
        ledger.put("config", [self.configured.content])
        ledger.put("meta", [_MSGPACK.encode(self._meta())])
        return ledger.finish(self._position)

    def _put_panes(self, *, complete: bool) -> None:
        stale = self._panes.take_stale()
        live = {_shard_part(shard): shard for shard in self._panes.shards()}
        self._ledger.keep(lambda part: part in live or not part.startswith("panes/"))
        for part, shard in live.items() if complete else ((_shard_part(s), s) for s in stale):
            self._ledger.put(part, self._panes.encode_shard(shard))

    def _meta(self) -> Meta:
        unsent = [(query, start, list(groups)) for (query, start), groups in self._panes.unsent.items()]
        return Meta(self.clock, self._pulses, self._announced, unsent)

    def restore(self, position: int, blocks: dict[str, bytes]) -> None:
        """Become what `snapshot` described."""
        self._position = position
        parts = by_part(blocks)
        for part, content in sorted(parts.items(), key=lambda item: _run_number(item[0])):
            kind, _, rest = part.partition("/")
            if kind == "seen":
                load_run(self._intake.seen, int(rest), content)
            elif kind == "rows":
                name, _, number = rest.rpartition("/")
                load_run(self._effects.latest[name].runs, int(number), content, {QUIET: False})
            elif kind == "panes":
                for block in content:
                    self._panes.load_block(block)
        self.configured = compiled(parts["config"][0])
        meta = msgspec.msgpack.decode(parts["meta"][0], type=Meta)
        self.clock, self._pulses, self._announced = meta.clock, meta.pulses, meta.announced
        self._panes.unsent = {(query, start): dict.fromkeys(groups) for query, start, groups in meta.unsent}
        self._ledger.resume(blocks)


_MSGPACK = msgspec.msgpack.Encoder()


def _pulses_of(decoded: Decoded) -> dict[int, Pulse]:
    """Pulses by row; those that cannot be read are rejected."""
    found = {}
    for special in decoded.specials:
        if special.kind == PULSE:
            try:
                found[special.row] = pulse_of(special.value)
            except ValueError as error:
                decoded.rejects.append(Reject(special.row, "not_pulse", "", str(error)))
    return found


def _shard_part(shard: ShardKey) -> str:
    return f"panes/{shard[0]}/{shard[1]}/{shard[2]}"


def _run_number(part: str) -> tuple[str, int]:
    head, _, tail = part.rpartition("/")
    return head, int(tail) if tail.isdigit() else 0


def _between(frame: pl.DataFrame, begin: int, end: int) -> pl.DataFrame:
    rows = frame["_row"].to_numpy()
    if len(rows) == 0 or (rows[0] >= begin and rows[-1] < end):
        return frame
    first, last = np.searchsorted(rows, [begin, end])
    return frame[int(first) : int(last)]
