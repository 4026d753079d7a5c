from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.wire import CommitRecord, Snapshot
from streams.snapshots import SnapshotIndex, SnapshotWriter, block_key, commit_key

Records = list[tuple[bytes, bytes | None]]


def written(writer: SnapshotWriter, snapshot: Snapshot) -> Records:
    records: Records = list(writer.blocks(snapshot))
    records.append(writer.commit(snapshot))
    return records + [(key, None) for key in writer.committed()]


def index_of(records: Records) -> SnapshotIndex:
    index = SnapshotIndex()
    for key, value in records:
        index.add(key, value)
    return index


def test_the_highest_position_wins_not_the_last_record() -> None:
    new = written(SnapshotWriter("new", []), Snapshot(20, {"a@1": b"new"}, ("a@1",)))
    old = written(SnapshotWriter("old", []), Snapshot(10, {"a@1": b"old"}, ("a@1",)))
    found = index_of(new + old).newest()
    assert found is not None
    assert (found.commit.position, found.blocks) == (20, {"a@1": b"new"})


def test_incremental_blocks_are_found_with_those_before() -> None:
    writer = SnapshotWriter("i", [])
    records = written(writer, Snapshot(1, {"a@1": b"a", "b@1": b"b"}, ("a@1", "b@1")))
    records += written(writer, Snapshot(2, {"b@2": b"B"}, ("a@1", "b@2")))
    index = index_of(records)
    found = index.newest()
    assert found is not None
    assert found.blocks == {"a@1": b"a", "b@2": b"B"}
    assert sorted(index.keys()) == [b"i/a@1", b"i/b@2", b"i/commit/1"]


@pytest.mark.parametrize(
    "harm",
    [
        lambda records: records[1:],  # a block is missing
        lambda records: [(records[0][0], b"other"), *records[1:]],  # a block is changed
        lambda records: records[:-1],  # no commit record
        lambda records: [*records[:-1], (records[-1][0], b"{")],  # a broken commit record
        lambda records: [*records, (records[0][0], None)],  # a block was removed later
        lambda records: [*records, (records[-1][0], None)],  # the commit was removed later
    ],
)
def test_a_snapshot_that_is_not_whole_does_not_exist(harm: Callable[[Records], Records]) -> None:
    records = written(SnapshotWriter("i", []), Snapshot(5, {"a@1": b"a", "b@1": b"b"}, ("a@1", "b@1")))
    assert index_of(harm(records)).newest() is None
    before = written(SnapshotWriter("h", []), Snapshot(3, {"a@1": b"x"}, ("a@1",)))
    found = index_of(before + harm(records)).newest()
    assert found is not None
    assert found.commit.position == 3


def test_the_first_own_snapshot_removes_what_was_inherited() -> None:
    before = written(SnapshotWriter("h", []), Snapshot(3, {"a@1": b"x"}, ("a@1",)))
    writer = SnapshotWriter("i", index_of(before).keys())
    wanted = [writer.complete]
    after = written(writer, Snapshot(4, {"a@7": b"y"}, ("a@7",)))
    wanted.append(writer.complete)
    assert wanted == [True, False]
    assert sorted(index_of(before + after).keys()) == [b"i/a@7", b"i/commit/0"]


def test_naming_a_block_that_was_never_written_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^snapshot names blocks that were never written: ghost@1$"):
        SnapshotWriter("i", []).commit(Snapshot(1, {}, ("ghost@1",)))


def test_keys_of_other_shapes_count_for_nothing() -> None:
    index = index_of([(b"no-slash", b"x"), (b"\xff/commit/x", b"x"), (b"i/commit/", b"x")])
    index.add(None, b"x")
    assert index.newest() is None


def test_the_commit_record_is_what_the_contract_says() -> None:
    key, value = SnapshotWriter("i", []).commit(Snapshot(9, {"a@1": b"hello"}, ("a@1",)))
    assert key == commit_key("i", 0) == b"i/commit/0"
    assert block_key("i", "a@1") == b"i/a@1"
    assert msgspec.json.decode(value, type=CommitRecord) == CommitRecord("i", 0, 9, {"a@1": 907060870})


@given(seed=st.integers(0, 10_000), cut=st.integers(0, 40))
def test_compaction_and_a_cut_never_give_a_wrong_snapshot(seed: int, cut: int) -> None:
    """However much of two interleaved instances is there, what is found is one that was written."""
    rng = random.Random(seed)
    written_states: dict[int, dict[str, bytes]] = {}
    streams: list[Records] = []
    for number, instance in enumerate(["x", "y"]):
        writer, live, records = SnapshotWriter(instance, []), dict[str, bytes](), Records()
        for step in range(4):
            position = step * 2 + number + 1
            changed = {
                f"{name}@{position}": rng.randbytes(3) for name in "ab" if rng.random() < 0.7 or not step
            }
            kept = {k: v for k, v in live.items() if not any(k[0] == c[0] for c in changed)}
            live = kept | changed
            written_states[position] = dict(live)
            records += written(writer, Snapshot(position, changed, tuple(live)))
        streams.append(records)
    merged = Records()
    while any(streams):
        merged.append(rng.choice([s for s in streams if s]).pop(0))
    found = index_of(merged[:cut]).newest()
    if found is not None:
        assert found.blocks == written_states[found.commit.position]
    whole = index_of(merged).newest()
    assert whole is not None
    assert whole.commit.position == 8
