"""The agent `correlate`: a function of ``alerting.transitions``.

For now it passes transitions on to ``alerting.alerts``, each once: what a replay or a zombie of
`judge` sends again has an ordinal that was there before.
"""

from __future__ import annotations

import msgspec
import numpy as np

from rules.engine.blocks import Ledger, by_part
from rules.engine.life import LIVE
from schemas.topics import ALERTS
from schemas.wire import CoreOptions, LogBatch, OutRecord, Snapshot, Transition

ENDED_KEPT_MS = 400 * 24 * 3600 * 1000
"""How long an ended alert is remembered, so that a repeat of its steps is recognised."""
ENTRIES_A_BLOCK = 4000


class Known(msgspec.Struct, array_like=True):
    """How far an alert has come."""

    ordinal: int
    live: bool
    at: int


class CorrelateCore:
    """See the module. Satisfies `schemas.wire.Core`."""

    def __init__(self, partition: int, options: CoreOptions) -> None:
        self.partition = partition
        self.options = options
        self._position = 0
        self._known: dict[str, Known] = {}
        self._clock = 0
        self._out: list[OutRecord] = []
        self._ledger = Ledger()

    @property
    def position(self) -> int:
        """Offset of the next record to apply."""
        return self._position

    def apply(self, batch: LogBatch) -> None:
        """Take a batch; records below ``position`` are skipped."""
        start = int(np.searchsorted(np.array(batch.offsets), self._position))
        for row in range(start, len(batch)):
            value = batch.values[row]
            if value is not None:
                self._pass_on(_TRANSITION.decode(value), value)
            self._position = batch.offsets[row] + 1

    def _pass_on(self, step: Transition, value: bytes) -> None:
        known = self._known.get(step.alert)
        if known is not None and step.ordinal <= known.ordinal:
            return
        self._clock = max(self._clock, step.decided_at)
        self._known[step.alert] = Known(step.ordinal, step.state in LIVE, step.decided_at)
        self._out.append(OutRecord(ALERTS, 0, step.alert.encode(), value))

    def flush(self) -> list[OutRecord]:
        """Alerts to be sent."""
        out, self._out = self._out, []
        return out

    def snapshot(self, *, complete: bool) -> Snapshot:
        """The alerts known; few enough to be written whole."""
        floor = self._clock - ENDED_KEPT_MS
        self._known = {alert: k for alert, k in self._known.items() if k.live or k.at >= floor}
        self._ledger.begin(complete=complete)
        entries = list(self._known.items())
        steps = range(0, max(len(entries), 1), ENTRIES_A_BLOCK)
        self._ledger.put("known", [_ENCODER.encode(entries[i : i + ENTRIES_A_BLOCK]) for i in steps])
        self._ledger.put("clock", [_ENCODER.encode(self._clock)])
        return self._ledger.finish(self._position)

    def restore(self, position: int, blocks: dict[str, bytes]) -> None:
        """Become what `snapshot` described."""
        parts = by_part(blocks)
        self._position = position
        self._known = {alert: known for block in parts["known"] for alert, known in _KNOWN.decode(block)}
        self._clock = msgspec.msgpack.decode(parts["clock"][0], type=int)
        self._ledger.resume(blocks)


_TRANSITION = msgspec.json.Decoder(Transition)
_ENCODER = msgspec.msgpack.Encoder()
_KNOWN = msgspec.msgpack.Decoder(list[tuple[str, Known]])
