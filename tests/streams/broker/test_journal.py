from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import LogError
from streams.broker.journal import Journal, list_segments


def payloads(journal: Journal) -> list[bytes]:
    return [entry.payload for entry in journal.entries()]


def test_entries_come_back_in_order_with_their_numbers(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=40)
    assert journal.append([b"a", b"b" * 50]) == 0
    assert journal.append([b"c"]) == 2
    journal.close()
    again = Journal(tmp_path, segment_bytes=40)
    assert again.append([b""]) == 3
    assert [(e.number, e.payload) for e in again.entries()] == [
        (0, b"a"),
        (1, b"b" * 50),
        (2, b"c"),
        (3, b""),
    ]
    assert [path.name for path in list_segments(tmp_path)] == [f"{n:020d}.journal" for n in (0, 2)]
    again.close()


@given(entries=st.lists(st.binary(max_size=30), max_size=6), cut=st.integers(0, 10**6), flip=st.booleans())
def test_a_torn_tail_costs_only_itself(
    tmp_path_factory: pytest.TempPathFactory, entries: list[bytes], cut: int, flip: bool
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    journal = Journal(directory)
    ends = [0]
    for entry in entries:
        journal.append([entry])
        ends.append(journal.bytes_on_disk())
    journal.close()
    (segment,) = list_segments(directory)
    at = cut % (ends[-1] + 1)
    if flip and at < ends[-1]:
        data = bytearray(segment.read_bytes())
        data[at] ^= 0xFF
        segment.write_bytes(data)
    else:
        os.truncate(segment, at)
    again = Journal(directory)
    whole = sum(1 for end in ends[1:] if end <= at)
    assert payloads(again) == entries[:whole]
    if again.torn_bytes:
        assert [p.stat().st_size for p in directory.glob("*.torn")] == [again.torn_bytes]
    assert again.append([b"next"]) == whole
    assert payloads(again) == [*entries[:whole], b"next"]
    again.close()


def test_damage_before_the_tail_is_an_error(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=1)
    for entry in (b"first", b"second"):
        journal.append([entry])
    first = list_segments(tmp_path)[0]
    first.write_bytes(first.read_bytes()[:-1] + b"X")
    with pytest.raises(LogError) as caught:
        payloads(journal)
    assert str(caught.value) == f"broker journal: {first} is damaged at byte 0 of 13"
    journal.close()


def test_a_missing_segment_is_an_error(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=1)
    for entry in (b"0", b"1", b"2"):
        journal.append([entry])
    segments = list_segments(tmp_path)
    segments[1].unlink()
    with pytest.raises(LogError) as caught:
        payloads(journal)
    assert str(caught.value) == f"broker journal: entries 1 to 1 are missing before {segments[2]}"
    journal.close()


def test_void_entries_are_remembered(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.void_numbers() == set()
    journal.add_void(3)
    journal.add_void(1)
    journal.close()
    assert Journal(tmp_path).void_numbers() == {1, 3}
