"""The agent `correlate`: a function of ``alerting.transitions``.

Passes every step of every alert on to ``alerting.alerts``, each once (what a replay or a zombie of
`judge` sends again has an ordinal that was there before), with who holds it; says what follows from
it: alerts over alerts, and alerts that somebody else holds now. Steps that stand in relation to
others wait until every judge has come as far; a P1 never waits.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from rules.engine.blocks import Ledger, by_part
from rules.engine.configured import compiled
from rules.engine.definitions import ParentKey
from rules.engine.family import Family
from rules.engine.intake import NEVER
from rules.engine.life import LIVE
from rules.engine.live import Live
from rules.engine.waiting import Waiting, Waitlist
from schemas.topics import ALERTS, CONTROL, JUDGED, KIND
from schemas.wire import CoreOptions, Headers, Judged, LogBatch, OutRecord, Snapshot, Transition

ENDED_KEPT_MS = 400 * 24 * 3600 * 1000
"""How long an ended alert is remembered, so that a repeat of its steps is recognised."""
ENTRIES_A_BLOCK = 4000
LIVE_A_BLOCK = 200


class Known(msgspec.Struct, array_like=True):
    """How far an alert has come."""

    ordinal: int
    live: bool
    at: int


class Progress(msgspec.Struct):
    """The small part of a snapshot."""

    clock: int
    judges: dict[int, int]
    stamp: int
    parents: list[tuple[ParentKey, str]]
    episodes: list[tuple[ParentKey, int]]


class CorrelateCore:
    """See the module. Satisfies `schemas.wire.Core`."""

    def __init__(self, partition: int, options: CoreOptions) -> None:
        self.partition = partition
        self.options = options
        self._position = 0
        self._known: dict[str, Known] = {}
        self._clock = 0
        self._family = Family()
        self._waitlist = Waitlist(options.judge_partitions)
        self._out: list[OutRecord] = []
        self._ledger = Ledger()

    @property
    def position(self) -> int:
        """Offset of the next record to apply."""
        return self._position

    # --- the way of a record ---

    def apply(self, batch: LogBatch) -> None:
        """Take a batch; records below ``position`` are skipped."""
        start = int(np.searchsorted(np.array(batch.offsets), self._position))
        for row in range(start, len(batch)):
            self._record(batch.values[row], batch.headers[row], batch.timestamps[row])
            self._position = batch.offsets[row] + 1

    def _record(self, value: bytes | None, headers: Headers, stamp: int) -> None:
        kind = dict(headers).get(KIND)
        self._waitlist.stamped(stamp)
        if value is None:
            return
        if kind == JUDGED:
            self._waitlist.heard(_JUDGED.decode(value))
        elif kind == CONTROL:
            self._switch(value)
        else:
            self._step(_TRANSITION.decode(value), stamp)
        self._go_on()

    def _switch(self, content: bytes) -> None:
        new = compiled(content)
        if new.hash != self._family.configured.hash:
            self._say(self._family.switch(new, self._clock))

    def _step(self, step: Transition, stamp: int) -> None:
        known = self._known.get(step.alert)
        if known is not None and step.ordinal <= known.ordinal:
            return
        self._clock = max(self._clock, step.decided_at)
        self._known[step.alert] = Known(step.ordinal, step.state in LIVE, step.decided_at)
        related = bool(step.inhibited_by or step.counted_by)
        if self._waitlist.holds(step.alert) or (related and step.severity != "P1"):
            self._waitlist.add(step, stamp)
        else:
            self._say(self._family.take([step]))

    def _go_on(self) -> None:
        """Take what need not wait any more."""
        hurry = self._family.configured.mode != "data"
        for steps in self._waitlist.release(hurry=hurry):
            self._say(self._family.give_back(steps[0].due))
            self._say(self._family.take(steps))
        if self._waitlist.clock > NEVER:
            self._say(self._family.give_back(self._waitlist.clock))

    def _say(self, steps: list[Transition]) -> None:
        for step in steps:
            self._out.append(OutRecord(ALERTS, 0, step.alert.encode(), _JSON.encode(step)))

    def flush(self) -> list[OutRecord]:
        """Alerts to be sent."""
        out, self._out = self._out, []
        return out

    # --- snapshot ---

    def snapshot(self, *, complete: bool) -> Snapshot:
        """What is known of alerts; few enough to be written whole."""
        floor = self._clock - ENDED_KEPT_MS
        self._known = {alert: k for alert, k in self._known.items() if k.live or k.at >= floor}
        family = self._family
        family.parents.forget(floor)
        clocks, stamp, waiting = self._waitlist.entries()
        progress = Progress(
            self._clock,
            clocks,
            stamp,
            list(family.parents.alerts.items()),
            list(family.parents.episodes.items()),
        )
        self._ledger.begin(complete=complete)
        self._ledger.put("known", _chunks(list(self._known.items()), ENTRIES_A_BLOCK))
        self._ledger.put("live", _chunks(list(family.live.items()), LIVE_A_BLOCK))
        self._ledger.put("waiting", _chunks(waiting, LIVE_A_BLOCK))
        self._ledger.put("config", [family.configured.content])
        self._ledger.put("progress", [_ENCODER.encode(progress)])
        return self._ledger.finish(self._position)

    def restore(self, position: int, blocks: dict[str, bytes]) -> None:
        """Become what `snapshot` described."""
        parts = by_part(blocks)
        self._position = position
        self._known = {alert: known for block in parts["known"] for alert, known in _KNOWN.decode(block)}
        progress = _PROGRESS.decode(parts["progress"][0])
        self._clock = progress.clock
        waiting = [one for block in parts["waiting"] for one in _WAITING.decode(block)]
        self._waitlist.load(progress.judges, progress.stamp, waiting)
        family = self._family
        family.live.update((alert, live) for block in parts["live"] for alert, live in _LIVE.decode(block))
        family.parents.alerts.update(progress.parents)
        family.parents.episodes.update(progress.episodes)
        family.install(compiled(parts["config"][0]))
        self._ledger.resume(blocks)


def _chunks(items: Sequence[object], size: int) -> list[bytes]:
    return [_ENCODER.encode(items[i : i + size]) for i in range(0, max(len(items), 1), size)]


_TRANSITION = msgspec.json.Decoder(Transition)
_JUDGED = msgspec.json.Decoder(Judged)
_JSON = msgspec.json.Encoder()
_ENCODER = msgspec.msgpack.Encoder()
_KNOWN = msgspec.msgpack.Decoder(list[tuple[str, Known]])
_LIVE = msgspec.msgpack.Decoder(list[tuple[str, Live]])
_WAITING = msgspec.msgpack.Decoder(list[Waiting])
_PROGRESS = msgspec.msgpack.Decoder(Progress)
