"""The agent `count`: a function of one partition of ``school.events``.

Decode → validate → place → drop repeats → expand to signed rows → join reference data → panes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from rules.engine.aggregate import ORIGINAL, SIGN, contribute
from rules.engine.blocks import Ledger, by_part, load_run, put_runs
from rules.engine.configured import UNCONFIGURED, Configured, amended, compiled
from rules.engine.intake import BEYOND, CLOCK, MARK, NEVER, Decoded, Intake, Special, read
from rules.engine.latest import CORRECTS, EXPIRES, ORDER, POSITION, Identity, Latest, identity_of
from rules.engine.outbox import accepted_record, forward, rejected_record
from rules.engine.panes import Panes, state_of
from schemas.civil import DAY_MS, day_of, day_start
from schemas.errors import DocumentError
from schemas.events import EVENT_TYPES
from schemas.topics import CONTROL, PANES, PULSE
from schemas.wire import CoreOptions, LogBatch, OutRecord, PanesRecord, Pulse, QueryPanes, Snapshot

STEP = 10_000
"""In live running the state is also judged at least this often in business time, ms, however
large the batches are: so a deadline that passed during an outage is judged where it lay."""
PULSES_MISSED = 5
"""So many missing pulses make a gap that silence does not count."""
GAPS_KEPT = 16
OWN_FIELDS = ("_row", "_day", CLOCK, "key_hi", "key_lo", "content", MARK)


class Meta(msgspec.Struct):
    """The small part of a snapshot."""

    clock: int
    pulse: int
    gaps: list[tuple[int, int]]
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
        self._pulse = NEVER
        self._gaps: list[tuple[int, int]] = []
        self._announced = (NEVER, -1)  # clock and position last sent
        self._intake = Intake(partition, options.partitions)
        self._latest = {name: Latest(identity) for name, identity in _identities().items()}
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
        return {"seen": len(self._intake.seen), **{n: len(x.runs) for n, x in self._latest.items()}}

    # --- the way of a batch ---

    def apply(self, batch: LogBatch) -> None:
        """Take a batch; records below ``position`` are skipped."""
        start = int(np.searchsorted(np.array(batch.offsets), self._position))
        if start >= len(batch):
            return
        decoded = read(batch, start)
        clocks = self._clocks(decoded, len(batch))
        self.stats.batches += 1
        begin = start
        for special in (*decoded.specials, None):
            end = special.row if special else len(batch)
            self._segment(batch, decoded, clocks, begin, end)
            if special is not None:
                self._position = batch.offsets[special.row] + 1
                self.clock = max(self.clock, int(clocks[special.row]))
                self._take(special)
                begin = special.row + 1
        self._position = batch.offsets[-1] + 1

    def _clocks(self, decoded: Decoded, size: int) -> npt.NDArray[np.int64]:
        """The business clock after each row."""
        times = np.full(size, NEVER, dtype=np.int64)
        for frame in decoded.frames.values():
            bounded = frame.select(pl.min_horizontal("time", "arrived")).to_series().to_numpy()
            times[frame["_row"].to_numpy()] = bounded
        for special in decoded.specials:
            pulse = _pulse_of(special)
            if pulse is not None:
                times[special.row] = pulse.clock
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
                frames[name] = part.with_columns(pl.Series(CLOCK, clocks[part["_row"].to_numpy()]))
        result = self._intake.sort(frames, self.configured.reference)
        rejects = [r for r in decoded.rejects if begin <= r.row < end] + result.rejects
        for reject in sorted(rejects, key=lambda r: r.row):
            self.stats.rejected[reject.reason] = self.stats.rejected.get(reject.reason, 0) + 1
            self._out.append(rejected_record(self.partition, batch, decoded.arrived, reject))
        for row, target in sorted(result.forwards):
            self._out.append(forward(batch, decoded.arrived, row, target))
        self.stats.events += end - begin
        self.stats.repeats += result.repeats
        self.stats.forwarded += len(result.forwards)
        self._count(batch, result.accepted)

    def _count(self, batch: LogBatch, accepted: dict[str, pl.DataFrame]) -> None:
        signed: dict[str, list[pl.DataFrame]] = {}
        offsets = pl.Series(POSITION, batch.offsets, dtype=pl.Int64)
        for name, frame in accepted.items():
            frame = frame.with_columns(offsets.gather(frame["_row"]))
            values = pl.Series("raw", batch.values, dtype=pl.Binary).gather(frame["_row"])
            self._accepted.setdefault(name, []).append(frame.with_columns(values))
            self.stats.beyond += int((frame[MARK] == BEYOND).sum())
            counted = frame.filter(pl.col(MARK) == "")
            if not counted.is_empty():
                kind = EVENT_TYPES[name]
                target = kind.corrects.type if kind.corrects else name
                signed.setdefault(target, []).append(_prepared(name, counted))
        for name, frames in signed.items():
            self._contribute(name, frames)

    def _contribute(self, name: str, frames: list[pl.DataFrame]) -> None:
        latest = self._latest.get(name)
        if latest is None:
            rows = pl.concat(frames, how="diagonal").with_columns(
                pl.lit(1, dtype=pl.Int64).alias(SIGN), pl.lit(None, dtype=pl.Int64).alias(ORIGINAL)
            )
        else:
            rows = latest.replace(pl.concat(frames, how="diagonal").sort(POSITION))
        if rows.is_empty():
            return
        corrected = latest is not None and bool(rows[ORIGINAL].is_not_null().any())
        for query in self.configured.queries_of(name):
            contribute(self._panes, query, rows, self._position, corrected=corrected)

    # --- records of the engine ---

    def _take(self, special: Special) -> None:
        if special.kind == PULSE:
            pulse = _pulse_of(special)
            if pulse is not None:
                self._beat(pulse)
        elif special.kind == CONTROL:
            self._reconfigure(special)

    def _beat(self, pulse: Pulse) -> None:
        if pulse.clock <= self._pulse:
            return
        if pulse.every and self._pulse != NEVER and pulse.clock - self._pulse > PULSES_MISSED * pulse.every:
            self._gaps = [*self._gaps, (self._pulse, pulse.clock)][-GAPS_KEPT:]
        self._pulse = pulse.clock
        if self._by_log or self.clock - self._announced[0] >= STEP:
            self._announce()

    def _reconfigure(self, special: Special) -> None:
        try:
            new = amended(self.configured, special.value)
        except (ValueError, DocumentError):
            self.stats.rejected["control"] = self.stats.rejected.get("control", 0) + 1
            return
        if new is self.configured:
            return
        self._announce()
        self.configured = new
        self._panes.keep_queries(query.id for query in new.rules.queries)
        self._announce(content=new.content if self.partition == 0 else None)

    @property
    def _by_log(self) -> bool:
        """Output only where the log says so, so that results do not depend on speed."""
        return self.configured.mode == "data"

    # --- output ---

    def flush(self) -> list[OutRecord]:
        """What is due for sending."""
        if not self._by_log and self.clock != NEVER:
            self._expire()
            if self._panes.unsent or self.clock - self._announced[0] >= 1000:
                self._announce()
        for name, frames in self._accepted.items():
            self._out.extend(accepted_record(self.partition, name, pl.concat(frames, how="diagonal")))
        self._accepted = {}
        out, self._out = self._out, []
        return out

    def _announce(self, content: bytes | None = None) -> None:
        """Send changed panes, and to everyone the clock, the position and the configuration's hash."""
        if self.clock == NEVER and not content:
            return
        if self._by_log:
            self._expire()
        changed: list[list[QueryPanes]] = [[] for _ in range(self.options.judge_partitions)]
        for (query, start), panes in self._panes.take_unsent():
            shares: dict[int, QueryPanes] = {}
            for pane in panes:
                share = shares.get(pane.target)
                if share is None:
                    share = shares[pane.target] = QueryPanes(query, start, [])
                    changed[pane.target].append(share)
                share.panes.append(state_of(pane))
        for target, panes_of_target in enumerate(changed):
            self._out.append(self._panes_record(target, panes_of_target, content))
        self._announced = (self.clock, self._position)

    def _panes_record(self, target: int, changed: list[QueryPanes], content: bytes | None) -> OutRecord:
        record = PanesRecord(
            source=self.partition,
            sources=self.options.partitions,
            position=self._position,
            clock=self.clock,
            config=self.configured.hash,
            panes=changed,
            content=content,
            pulse=self._pulse,
            gaps=self._gaps,
        )
        return OutRecord(PANES, target, str(self.partition).encode(), _MSGPACK.encode(record))

    def _expire(self) -> None:
        """Forget what no event can reach any more."""
        longest = max(kind.correction_horizon for kind in EVENT_TYPES.values())
        self._panes.expire(day_start(day_of(self.clock)) - longest - DAY_MS)
        self._intake.seen.expire("expires", self.clock)
        for latest in self._latest.values():
            latest.runs.expire(EXPIRES, self.clock)

    # --- snapshot ---

    def snapshot(self, *, complete: bool) -> Snapshot:
        """Blocks that changed; everything sent before must have come out of `flush`."""
        complete = complete or not self._written
        self._written = True
        ledger = self._ledger
        ledger.begin(complete=complete)
        put_runs(ledger, "seen", self._intake.seen)
        for name, latest in self._latest.items():
            put_runs(ledger, f"rows/{name}", latest.runs)
        self._put_panes(complete)
        ledger.put("config", [self.configured.content])
        ledger.put("meta", [_MSGPACK.encode(self._meta())])
        return ledger.finish(self._position)

    def _put_panes(self, complete: bool) -> None:
        stale = self._panes.take_stale()
        live = {_shard_part(shard): shard for shard in self._panes.shards()}
        self._ledger.keep(lambda part: part in live or not part.startswith("panes/"))
        for part, shard in live.items() if complete else ((_shard_part(s), s) for s in stale):
            self._ledger.put(part, self._panes.encode_shard(shard))

    def _meta(self) -> Meta:
        unsent = [(query, start, list(groups)) for (query, start), groups in self._panes.unsent.items()]
        return Meta(self.clock, self._pulse, self._gaps, self._announced, unsent)

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
                load_run(self._latest[name].runs, int(number), content)
            elif kind == "panes":
                for block in content:
                    self._panes.load_block(block)
        self.configured = compiled(parts["config"][0])
        meta = msgspec.msgpack.decode(parts["meta"][0], type=Meta)
        self.clock, self._pulse = meta.clock, meta.pulse
        self._gaps, self._announced = meta.gaps, meta.announced
        self._panes.unsent = {(query, start): dict.fromkeys(groups) for query, start, groups in meta.unsent}
        self._ledger.resume(blocks)


_MSGPACK = msgspec.msgpack.Encoder()


def _shard_part(shard: tuple[str, int, int]) -> str:
    return f"panes/{shard[0]}/{shard[1]}/{shard[2]}"


def _run_number(part: str) -> tuple[str, int]:
    head, _, tail = part.rpartition("/")
    return head, int(tail) if tail.isdigit() else 0


def _identities() -> dict[str, Identity]:
    """Identity of each type that has one, with the fields that correcting types replace."""
    out = {}
    for kind in EVENT_TYPES.values():
        if kind.identity:
            replaced = {
                there
                for other in EVENT_TYPES.values()
                if other.corrects and other.corrects.type == kind.name
                for there, _ in other.corrects.after
            }
            out[kind.name] = identity_of(kind, tuple(sorted(replaced)))
    return out


def _between(frame: pl.DataFrame, begin: int, end: int) -> pl.DataFrame:
    rows = frame["_row"].to_numpy()
    if len(rows) == 0 or (rows[0] >= begin and rows[-1] < end):
        return frame
    first, last = np.searchsorted(rows, [begin, end])
    return frame[int(first) : int(last)]


def _prepared(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Rows as the type they count for keeps them."""
    kind = EVENT_TYPES[name]
    target = kind if kind.corrects is None else EVENT_TYPES[kind.corrects.type]
    expires = (pl.col("_day").cast(pl.Int64) + 1) * DAY_MS + day_start(0) + target.correction_horizon
    frame = frame.drop("_row", "key_hi", "key_lo", "content", CLOCK, MARK, "arrived")
    if kind.corrects is not None:
        pairs = (*kind.corrects.key, *kind.corrects.after)
        frame = frame.select(
            "id", "time", "_day", POSITION, *(pl.col(here).alias(there) for there, here in pairs)
        )
    if not target.identity:
        return frame.drop(POSITION)
    return frame.with_columns(
        pl.col("time").alias(ORDER),
        expires.alias(EXPIRES),
        pl.lit(kind.corrects is not None).alias(CORRECTS),
    )


def _pulse_of(special: Special) -> Pulse | None:
    if special.kind != PULSE:
        return None
    try:
        return msgspec.json.decode(special.value, type=Pulse)
    except msgspec.DecodeError:
        return None
