"""The few parts of Kafka's wire protocol that the proxy has to understand.

The proxy offers clients only versions without tagged fields for the requests it reads, so each
layout here is one of the older, fixed ones. A *frame* is a request or response without its length
prefix. Everything raises `BadFrame` for bytes that do not fit.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from aiokafka.record.util import calc_crc32c

PRODUCE = 0
FETCH = 1
LIST_OFFSETS = 2
API_VERSIONS = 18
CREATE_TOPICS = 19
DELETE_TOPICS = 20
INIT_PRODUCER_ID = 22

JOURNALLED = frozenset({PRODUCE, CREATE_TOPICS, DELETE_TOPICS, INIT_PRODUCER_ID})

OFFERED: Mapping[int, tuple[int, int]] = {
    PRODUCE: (3, 8),
    FETCH: (4, 11),  # from 13 on topics are named by ids, and these change when Tansu starts again
    LIST_OFFSETS: (1, 5),
    3: (0, 8),  # Metadata; from 10 on with topic ids
    8: (0, 7),  # OffsetCommit
    9: (0, 7),  # OffsetFetch
    10: (0, 4),  # FindCoordinator
    11: (0, 7),  # JoinGroup
    12: (0, 4),  # Heartbeat
    13: (0, 4),  # LeaveGroup
    14: (0, 4),  # SyncGroup
    15: (0, 5),  # DescribeGroups
    16: (0, 4),  # ListGroups
    API_VERSIONS: (0, 3),
    CREATE_TOPICS: (0, 4),
    DELETE_TOPICS: (0, 3),
    INIT_PRODUCER_ID: (0, 1),
    32: (0, 4),  # DescribeConfigs
    42: (0, 2),  # DeleteGroups
    60: (0, 0),  # DescribeCluster
}
"""Requests and versions that clients may use. What would change Tansu's log beside the journal
(transactions, DeleteRecords, altered configurations) is not among them."""

CORRUPT_MESSAGE = 2
UNSUPPORTED_VERSION = 35
DUPLICATE_SEQUENCE = 46
_REQUEST_HEAD = struct.Struct(">hhih")
_LATEST = -1
_BATCH_HEAD = 61


class BadFrame(Exception):
    """Bytes that are not the request or response they claim to be."""


@dataclass(frozen=True, slots=True)
class Head:
    """Head of a request: which call, its version, the client's number for it, where the body starts."""

    api: int
    version: int
    correlation: int
    body: int


@dataclass(frozen=True, slots=True)
class Batch:
    """A record batch's place in a Produce request, and the offsets it takes."""

    topic: str
    partition: int
    start: int
    size: int
    records: int
    """Offsets that the batch takes: its last offset delta + 1."""
    producer: tuple[int, int]
    """Id and epoch of the idempotent producer; the id is -1 without one."""
    sequence: int
    """The producer's number for the batch's first record."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """What the proxy needs of a Fetch request: how long it may wait, what for, and at most how much."""

    wait_ms: int
    max_bytes: int
    offsets: tuple[tuple[tuple[str, int], int], ...]
    """Topic and partition, and the offset wanted of it."""
    partition_bytes: int
    """Sum of the limits of its partitions."""
    head: Head


@dataclass(frozen=True, slots=True)
class Produced:
    """One partition's part of a Produce response; ``at`` is where its error code stands."""

    topic: str
    partition: int
    error: int
    base: int
    at: int


@dataclass(frozen=True, slots=True)
class Produce:
    """What the proxy needs of a Produce request."""

    acks: int
    acks_at: int
    """Position of the field ``acks`` in the frame."""
    batches: tuple[Batch, ...]
    sound: bool
    """Every batch is whole, of the current format, and has the right checksum."""


class _Cursor:
    """Reads fields one after the other."""

    __slots__ = ("at", "frame")

    def __init__(self, frame: bytes, at: int) -> None:
        self.frame = frame
        self.at = at

    def number(self, layout: str) -> int:
        try:
            (value,) = struct.unpack_from(layout, self.frame, self.at)
        except struct.error:
            raise BadFrame(f"the frame ends at byte {len(self.frame)}, inside a field") from None
        self.at += struct.calcsize(layout)
        return int(value)

    def take(self, size: int) -> bytes:
        end = self.at + size
        if size < 0 or end > len(self.frame):
            raise BadFrame(f"the frame ends at byte {len(self.frame)}, inside a field")
        piece = self.frame[self.at : end]
        self.at = end
        return piece

    def text(self) -> str:
        try:
            return self.take(self.number(">h")).decode()
        except UnicodeDecodeError:
            raise BadFrame("a name is not UTF-8") from None

    def optional_text(self) -> str | None:
        size = self.number(">h")
        return None if size < 0 else self.take(size).decode(errors="replace")

    def count(self) -> int:
        """Length of an array; an absent one counts as empty."""
        size = self.number(">i")
        if size > len(self.frame):
            raise BadFrame(f"an array of {size} elements cannot be in {len(self.frame)} bytes")
        return max(size, 0)


def read_head(frame: bytes) -> Head:
    """Head of a request."""
    if len(frame) < _REQUEST_HEAD.size:
        raise BadFrame(f"a request of {len(frame)} bytes is shorter than its head")
    api, version, correlation, client = _REQUEST_HEAD.unpack_from(frame)
    return Head(api, version, correlation, _REQUEST_HEAD.size + max(client, 0))


def is_offered(head: Head) -> bool:
    """May a client use this request in this version?"""
    low, high = OFFERED.get(head.api, (0, -1))
    return low <= head.version <= high


def with_correlation(frame: bytes, at: int, correlation: int) -> bytes:
    """The frame with another correlation id; it stands at 4 in a request, at 0 in a response."""
    return frame[:at] + struct.pack(">i", correlation) + frame[at + 4 :]


def read_produce(frame: bytes, head: Head) -> Produce:
    """Acknowledgement mode and batches of a Produce request (versions 3 to 8)."""
    cursor = _Cursor(frame, head.body)
    cursor.optional_text()
    acks_at = cursor.at
    acks = cursor.number(">h")
    cursor.number(">i")
    batches: list[Batch] = []
    sound = True
    for _ in range(cursor.count()):
        topic = cursor.text()
        for _ in range(cursor.count()):
            partition = cursor.number(">i")
            size = cursor.number(">i")
            start = cursor.at
            batch = cursor.take(max(size, 0))
            records = _offsets_of(batch)
            sound = sound and records > 0
            producer, epoch, sequence = struct.unpack_from(">qhi", batch, 43) if records else (-1, -1, -1)
            batches.append(Batch(topic, partition, start, len(batch), records, (producer, epoch), sequence))
    if not batches or cursor.at != len(frame):
        raise BadFrame(
            f"a Produce request of {len(frame)} bytes has {len(batches)} batches in {cursor.at} bytes"
        )
    return Produce(acks, acks_at, tuple(batches), sound)


def _offsets_of(batch: bytes) -> int:
    """Offsets that one whole, sound batch takes; 0 for anything else."""
    if len(batch) < _BATCH_HEAD:
        return 0
    length, _, magic, check = struct.unpack_from(">iibI", batch, 8)
    if magic != 2 or length + 12 != len(batch) or calc_crc32c(memoryview(batch)[21:]) != check:
        return 0
    return int(struct.unpack_from(">i", batch, 23)[0]) + 1


def with_all_acks(frame: bytes, produce: Produce) -> bytes:
    """The same Produce request, asking for an answer."""
    return frame[: produce.acks_at] + b"\xff\xff" + frame[produce.acks_at + 2 :]


def refuse_produce(head: Head, produce: Produce, error: int) -> bytes:
    """A Produce response (versions 3 to 8) with one error for every partition."""
    by_topic: dict[str, list[int]] = {}
    for batch in produce.batches:
        by_topic.setdefault(batch.topic, []).append(batch.partition)
    out = [struct.pack(">ii", head.correlation, len(by_topic))]
    for topic, partitions in by_topic.items():
        out.append(_text(topic) + struct.pack(">i", len(partitions)))
        for partition in partitions:
            out.append(struct.pack(">ihqq", partition, error, -1, -1))
            if head.version >= 5:
                out.append(struct.pack(">q", -1))
            if head.version >= 8:
                out.append(struct.pack(">ih", 0, -1))
    out.append(struct.pack(">i", 0))
    return b"".join(out)


def read_produced(frame: bytes, version: int) -> list[Produced]:
    """The partitions of a Produce response (versions 3 to 8)."""
    cursor = _Cursor(frame, 4)
    rows: list[Produced] = []
    for _ in range(cursor.count()):
        topic = cursor.text()
        for _ in range(cursor.count()):
            partition = cursor.number(">i")
            at = cursor.at
            rows.append(Produced(topic, partition, cursor.number(">h"), cursor.number(">q"), at))
            cursor.take(8 + (8 if version >= 5 else 0))
            if version >= 8:
                for _ in range(cursor.count()):
                    cursor.take(4)
                    cursor.optional_text()
                cursor.optional_text()
    return rows


def as_stored(frame: bytes, row: Produced, base: int) -> bytes:
    """The Produce response with one partition's batch reported as stored at ``base``."""
    return frame[: row.at] + struct.pack(">hq", 0, base) + frame[row.at + 10 :]


def read_fetch(frame: bytes, head: Head) -> Fetch | None:
    """A Fetch request (versions 4 to 11) that names all its partitions; None inside a fetch session."""
    cursor = _Cursor(frame, head.body + 4)
    wait_ms = cursor.number(">i")
    cursor.take(4)
    max_bytes = cursor.number(">i")
    cursor.take(1)
    if head.version >= 7 and (cursor.number(">i"), cursor.number(">i")) not in ((0, -1), (0, 0)):
        return None
    offsets: list[tuple[tuple[str, int], int]] = []
    partition_bytes = 0
    for _ in range(cursor.count()):
        topic = cursor.text()
        for _ in range(cursor.count()):
            partition = cursor.number(">i")
            cursor.take(4 if head.version >= 9 else 0)
            offsets.append(((topic, partition), cursor.number(">q")))
            cursor.take(8 if head.version >= 5 else 0)
            partition_bytes += max(cursor.number(">i"), 0)
    return Fetch(wait_ms, max_bytes, tuple(offsets), partition_bytes, head)


def with_wait(frame: bytes, fetch: Fetch, wait_ms: int) -> bytes:
    """The same Fetch request with another wait, to be answered with whatever there is, within its limits.

    Tansu sleeps half the time a fetch may wait before it looks again, and knows only the whole limit.
    """
    at = fetch.head.body + 4
    limit = min(fetch.max_bytes, fetch.partition_bytes)
    return frame[:at] + struct.pack(">iii", wait_ms, 1, limit) + frame[at + 12 :]


def latest_asked(frame: bytes, head: Head) -> set[tuple[str, int]]:
    """Partitions whose end a ListOffsets request (versions 1 to 5) asks for."""
    cursor = _Cursor(frame, head.body)
    cursor.take(5 if head.version >= 2 else 4)
    asked: set[tuple[str, int]] = set()
    for _ in range(cursor.count()):
        topic = cursor.text()
        for _ in range(cursor.count()):
            partition = cursor.number(">i")
            if head.version >= 4:
                cursor.take(4)
            if cursor.number(">q") == _LATEST:
                asked.add((topic, partition))
    return asked


def with_ends(frame: bytes, version: int, ends: Mapping[tuple[str, int], int]) -> bytes:
    """A ListOffsets response (versions 1 to 5) with the offsets of ``ends`` in it.

    Tansu answers the base of the last batch + 1 where the end of the log is asked for.
    """
    out = bytearray(frame)
    cursor = _Cursor(frame, 8 if version >= 2 else 4)
    for _ in range(cursor.count()):
        topic = cursor.text()
        for _ in range(cursor.count()):
            partition = cursor.number(">i")
            error = cursor.number(">h")
            cursor.take(8)
            end = ends.get((topic, partition))
            if error == 0 and end is not None:
                struct.pack_into(">q", out, cursor.at, end)
            cursor.take(8 + (4 if version >= 4 else 0))
    return bytes(out)


def topics_deleted(frame: bytes, head: Head) -> list[str]:
    """Names in a DeleteTopics request (versions 0 to 3)."""
    cursor = _Cursor(frame, head.body)
    return [cursor.text() for _ in range(cursor.count())]


def api_versions(head: Head) -> bytes:
    """Our own answer to ApiVersions: what `OFFERED` says."""
    known = is_offered(head)
    error = 0 if known else UNSUPPORTED_VERSION
    version = head.version if known else 0
    rows = [struct.pack(">hhh", api, low, high) for api, (low, high) in sorted(OFFERED.items())]
    start = struct.pack(">ih", head.correlation, error)
    if version < 3:
        throttle = struct.pack(">i", 0) if version else b""
        return start + struct.pack(">i", len(rows)) + b"".join(rows) + throttle
    tagged = b"".join(row + b"\0" for row in rows)
    return start + bytes((len(rows) + 1,)) + tagged + struct.pack(">i", 0) + b"\0"


def read_init_producer(frame: bytes, head: Head) -> tuple[str | None, int]:
    """Transactional id and time-out (ms) of an InitProducerId request (versions 0 and 1)."""
    cursor = _Cursor(frame, head.body)
    return cursor.optional_text(), cursor.number(">i")


def new_producer(timeout_ms: int) -> bytes:
    """An InitProducerId request in version 3, the oldest that Tansu answers without an error."""
    head = struct.pack(">hhih", INIT_PRODUCER_ID, 3, 0, -1) + b"\0"
    return head + b"\0" + struct.pack(">iqh", timeout_ms, -1, -1) + b"\0"


def producer_answer(frame: bytes) -> bytes:
    """Tansu's InitProducerId response (version 3) as versions 0 and 1 have it."""
    if len(frame) < 21:
        raise BadFrame(f"an InitProducerId response of {len(frame)} bytes is too short")
    return frame[:4] + frame[5:21]


def refuse_producer(head: Head, error: int) -> bytes:
    """An InitProducerId response (versions 0 and 1) with an error."""
    return struct.pack(">iihqh", head.correlation, 0, error, -1, -1)


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack(">h", len(raw)) + raw
