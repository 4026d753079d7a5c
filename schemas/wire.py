"""What travels between the agents, and the plain types every core is driven with.

A core is a function of its log partition: it takes `LogBatch`es in offset order and gives
`OutRecord`s. Nothing here knows Kafka or Faust; the simulator and the Faust app drive the same
cores with the same types.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import msgspec

Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class LogBatch:
    """Consecutive records of one partition, as parallel lists in offset order."""

    partition: int
    offsets: list[int]
    keys: list[bytes | None]
    values: list[bytes | None]
    headers: list[Headers]
    timestamps: list[int]
    """Broker's or producer's time stamp, milliseconds since the epoch."""

    def __len__(self) -> int:
        return len(self.offsets)


@dataclass(frozen=True, slots=True)
class OutRecord:
    """A record that a core wants sent. ``partition`` None: by `partition_of` of the key."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A core's state at ``position``: ``blocks`` that changed since the last one, ``live`` = all names.

    Block names carry a version (``name@n``), so a name always stands for the same bytes.
    """

    position: int
    blocks: dict[str, bytes]
    live: tuple[str, ...]


class Core(Protocol):
    """The deterministic part of an agent: a function of one log partition."""

    @property
    def position(self) -> int:
        """Offset of the next record to apply."""

    def apply(self, batch: LogBatch) -> None:
        """Take a batch that starts at or before ``position``; what was applied before is skipped."""

    def flush(self) -> list[OutRecord]:
        """Everything that became due for sending since the last call, in order."""

    def snapshot(self, *, complete: bool) -> Snapshot:
        """The blocks that changed since the last snapshot, or all of them."""

    def restore(self, position: int, blocks: dict[str, bytes]) -> None:
        """Become what `snapshot` described. Only on a fresh core."""


class CommitRecord(msgspec.Struct, frozen=True):
    """Last record of a snapshot: without it, or with a block missing, the snapshot does not exist."""

    instance: str
    sequence: int
    position: int
    blocks: dict[str, int]
    """Block name → crc32 of its bytes."""


# --- count → judge -----------------------------------------------------------------------------

PaneValue = int | None | dict[str | int | float, int]
"""State of one aggregate: an integer (count, scaled sum, newest time), a counted multiset, or
None: nothing yet (newest time), unknown (a multiset that outgrew its bound)."""


class Correction(msgspec.Struct, array_like=True, frozen=True):
    """What one correction changed in a pane."""

    original: int
    """Position of the event that was corrected."""
    position: int
    """Position of the correction."""
    rows: int
    states: list[PaneValue]
    """Differences, one for each aggregate."""


class PaneState(msgspec.Struct, array_like=True, frozen=True):
    """Cumulative state of one pane in one source partition, true at ``position``."""

    group: tuple[str, ...]
    rows: int
    states: list[PaneValue]
    evidence: list[tuple[int, str]]
    """First (time in ms, event id) of rows that match the query's evidence filter."""
    position: int
    corrections: list[Correction] = []
    quiet: int = 0
    """How many of the rows in force come from snapshots of a school's database."""


class QueryPanes(msgspec.Struct, array_like=True, frozen=True):
    """Changed panes of one query and window."""

    query: str
    window_start: int
    panes: list[PaneState]


class PanesRecord(msgspec.Struct, frozen=True):
    """Value of a record of ``alerting.panes`` (MessagePack)."""

    source: int
    """Source partition of ``school.events``."""
    sources: int
    """How many source partitions there are."""
    position: int
    clock: int
    """Newest of pulses and event times (bounded by arrival) of the source partition, ms."""
    config: str
    """Hash of the configuration in force at ``position``; empty before the first."""
    panes: list[QueryPanes]
    content: bytes | None = None
    """The configuration itself, in the record with which source partition 0 switches."""
    pulse: int = 0
    """Newest pulse, ms: silence counts only time that pulses cover."""
    gaps: list[tuple[int, int]] = []
    """Recent spans of business time that no pulse covered, ms."""
    last: bool = True
    """False: more panes of the same position follow in the next record."""


# --- judge → archive, correlate, notifier -------------------------------------------------------

State = Literal["pending", "firing", "recovering", "inactive", "resolved", "retracted", "retired", "unknown"]


class Aggregate(msgspec.Struct, frozen=True):
    """Merged measures of one group and window. One row for each (rule, hash, group, window)."""

    rule: str
    rule_hash: str
    group: dict[str, str]
    window_start: int
    window_end: int
    measures: dict[str, float | None]
    version: int


class Transition(msgspec.Struct, frozen=True):
    """A change of an alert's state. Travels as JSON in ``alerting.transitions`` and ``alerting.alerts``."""

    id: str
    alert: str
    ordinal: int
    rule: str
    rule_hash: str
    severity: str
    status: str
    group: dict[str, str]
    window_start: int
    window_end: int
    state: State
    at: int
    """Business time at which the state holds, ms."""
    decided_at: int
    """Business clock at which it was decided, ms."""
    reason: str
    measures: dict[str, float | None]
    limits: dict[str, str]
    positions: dict[str, int]
    event_ids: list[str]
    title: dict[str, str]
    text: dict[str, str]
    notify: list[str]
    places: dict[str, str] = {}
    """Dated dimensions of the group's school or unit (``commune``, ``vendor``, ``level`` …)."""
    inhibited_by: list[str] = []
    """Rules whose alerts, while they fire for the same place, hold this one back."""
    revision: int = 0
    """Said again by `correlate` about the same ordinal: an alert's newest step is that of the highest
    (ordinal, revision)."""
    held_by: str = ""
    """Alert that holds this one now; empty: none does, so people are told."""
    held_how: Literal["", "inhibited", "absorbed"] = ""
    holds: int = 0
    """How many alerts this one holds now."""


class Rejected(msgspec.Struct, frozen=True):
    """Value of a record of ``school.events.rejected`` (JSON; bytes as base64)."""

    partition: int
    """Source partition, or -1 where the sender refused it."""
    position: int
    arrived: int
    reason: str
    """Short code: not_json, unknown_type, invalid, unknown_school, too_large, id_reused, …; of records
    of the engine that cannot be read: not_pulse, not_control."""
    field: str
    message: str
    value: bytes
    source: str = ""
    event_id: str = ""
    event_type: str = ""


class Delivery(msgspec.Struct, frozen=True):
    """One attempt to deliver one push to one person over one channel (JSON)."""

    id: str
    """Outbox row."""
    attempt: int
    alert: str
    transition: str
    person: str
    channel: str
    outcome: Literal["delivered", "retry", "failed"]
    detail: str
    at: int


# --- control ------------------------------------------------------------------------------------


class RuleFile(msgspec.Struct, frozen=True):
    """A rule document as it travels: its path (for messages) and text."""

    path: str
    text: str


class Config(msgspec.Struct, frozen=True):
    """What a control record changes; a part that is None stays as it was.

    Travels zstd-compressed MessagePack as the value of a record with header kind=control.
    """

    rules: list[RuleFile] | None = None
    reference: bytes | None = None
    """JSON of `schemas.reference.Reference`."""
    clock_mode: Literal["wall", "demo", "data"] | None = None


class Pulse(msgspec.Struct, frozen=True):
    """Business time, written into every partition (JSON, header kind=pulse)."""

    clock: int
    mode: Literal["wall", "demo", "data"] = "wall"
    every: int = 1000
    """Business time between pulses when all is well, ms; 0: no such promise (data)."""


@dataclass(slots=True)
class CoreOptions:
    """Shape of the installation, as a core needs it."""

    partitions: int
    judge_partitions: int
    extra: dict[str, str] = field(default_factory=dict)
