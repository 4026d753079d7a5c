from __future__ import annotations

import struct

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from streams.broker import frames


def record_batch(*values: bytes) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 20)
    for number, value in enumerate(values):
        builder.append(number, 1_700_000_000_000, None, value, [])
    return bytes(builder.build())


def produce_request(batch: bytes, acks: int = -1, version: int = 8, correlation: int = 7) -> bytes:
    return (
        struct.pack(">hhih", 0, version, correlation, 3)
        + b"cli"
        + struct.pack(">hhii", -1, acks, 1000, 1)
        + struct.pack(">h", 1)
        + b"t"
        + struct.pack(">iii", 1, 2, len(batch))
        + batch
    )


def test_reads_a_produce_request() -> None:
    frame = produce_request(record_batch(b"a", b"b", b"c"), acks=1)
    head = frames.read_head(frame)
    assert (head.api, head.version, head.correlation) == (frames.PRODUCE, 8, 7)
    produce = frames.read_produce(frame, head)
    assert produce.acks == 1
    assert produce.sound
    (batch,) = produce.batches
    assert (batch.topic, batch.partition, batch.records) == ("t", 2, 3)
    assert frames.read_produce(frames.with_all_acks(frame, produce), head).acks == -1


@pytest.mark.parametrize("at", [8, 16, 20, 60, -1])
def test_a_damaged_batch_is_not_sound(at: int) -> None:
    batch = bytearray(record_batch(b"value"))
    batch[at] ^= 1
    frame = produce_request(bytes(batch))
    assert not frames.read_produce(frame, frames.read_head(frame)).sound


@pytest.mark.parametrize("batch", [b"", b"garbage"])
def test_what_is_no_batch_is_not_sound(batch: bytes) -> None:
    frame = produce_request(batch)
    assert not frames.read_produce(frame, frames.read_head(frame)).sound


def test_every_shorter_request_is_a_bad_frame() -> None:
    frame = produce_request(record_batch(b"value"))
    head = frames.read_head(frame)
    for size in range(len(frame)):
        with pytest.raises(frames.BadFrame):
            frames.read_produce(frame[:size], frames.read_head(frame[:size]) if size >= 10 else head)


def test_the_refusal_can_be_read_back() -> None:
    frame = produce_request(b"")
    head = frames.read_head(frame)
    for version in range(3, 9):
        old = frames.Head(head.api, version, head.correlation, head.body)
        answer = frames.refuse_produce(old, frames.read_produce(frame, head), frames.CORRUPT_MESSAGE)
        assert answer[:4] == struct.pack(">i", 7)
        (row,) = frames.read_produced(answer, version)
        assert (row.topic, row.partition, row.error, row.base) == ("t", 2, frames.CORRUPT_MESSAGE, -1)
        (stored,) = frames.read_produced(frames.as_stored(answer, row, 5), version)
        assert (stored.error, stored.base) == (0, 5)


def test_what_would_bypass_the_journal_is_not_offered() -> None:
    for api in (21, 24, 25, 26, 28, 33, 37, 44):
        assert not frames.is_offered(frames.Head(api, 0, 0, 10))
    assert not frames.is_offered(frames.Head(frames.PRODUCE, 9, 0, 10))
    assert frames.is_offered(frames.Head(frames.PRODUCE, 8, 0, 10))


def test_an_unknown_version_of_api_versions_is_told_the_known_ones() -> None:
    answer = frames.api_versions(frames.Head(frames.API_VERSIONS, 4, 9, 10))
    assert struct.unpack_from(">ihi", answer) == (9, frames.UNSUPPORTED_VERSION, len(frames.OFFERED))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b"", "a request of 0 bytes is shorter than its head"),
        (struct.pack(">hhihhhi", 0, 8, 1, -1, -1, -1, 0), "the frame ends at byte 18, inside a field"),
        (
            struct.pack(">hhihhhii", 0, 8, 1, -1, -1, -1, 0, 99),
            "an array of 99 elements cannot be in 22 bytes",
        ),
        (
            struct.pack(">hhihhhii", 0, 8, 1, -1, -1, -1, 0, 0) + b"more",
            "a Produce request of 26 bytes has 0 batches in 22 bytes",
        ),
        (struct.pack(">hhihhhiih", 0, 8, 1, -1, -1, -1, 0, 1, 1) + b"\xff", "a name is not UTF-8"),
    ],
)
def test_messages(frame: bytes, message: str) -> None:
    with pytest.raises(frames.BadFrame) as caught:
        frames.read_produce(frame, frames.read_head(frame))
    assert str(caught.value) == message


def fetch_request(version: int, session: int = 0) -> bytes:
    frame = struct.pack(">hhih", 1, version, 7, -1) + struct.pack(">iiiib", -1, 500, 1, 50_000_000, 0)
    if version >= 7:
        frame += struct.pack(">ii", session, -1 if session == 0 else 3)
    frame += struct.pack(">ih", 1, 1) + b"t" + struct.pack(">i", 2)
    for partition, offset in ((0, 10), (3, 20)):
        frame += struct.pack(">i", partition) + (struct.pack(">i", -1) if version >= 9 else b"")
        frame += struct.pack(">q", offset) + (struct.pack(">q", -1) if version >= 5 else b"")
        frame += struct.pack(">i", 1000)
    return frame


@pytest.mark.parametrize("version", range(4, 12))
def test_reads_a_fetch_request_and_gives_it_another_wait(version: int) -> None:
    frame = fetch_request(version)
    head = frames.read_head(frame)
    fetch = frames.read_fetch(frame, head)
    assert fetch is not None
    assert fetch.offsets == ((("t", 0), 10), (("t", 3), 20))
    assert (fetch.wait_ms, fetch.max_bytes, fetch.partition_bytes) == (500, 50_000_000, 2000)
    quick = frames.with_wait(frame, fetch, 7)
    assert len(quick) == len(frame)
    again = frames.read_fetch(quick, head)
    assert again is not None
    assert (again.wait_ms, again.max_bytes, again.offsets) == (7, 2000, fetch.offsets)


def test_a_fetch_session_is_left_alone() -> None:
    frame = fetch_request(11, session=5)
    assert frames.read_fetch(frame, frames.read_head(frame)) is None
