"""The journal of the embedded broker: append-only segment files of numbered, checked entries.

A segment is named after the number of its first entry (``00000000000000000000.journal``). An
entry is ``length u32, crc32 u32, payload``, big-endian; the payload is a request as the broker
gets it, without its length prefix. Only the end of the last segment can be torn by a crash: it is
cut off at the start and kept beside it as ``….torn``, so that nothing disappears unseen. The file
``void.json`` lists the numbers of entries that no broker could answer: replay leaves them out.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import LogError

SEGMENT_BYTES = 64 * 1024 * 1024
_HEAD = struct.Struct(">II")
_SUFFIX = ".journal"
_VOIDS = "void.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its number, counted from 0 over all segments, and its payload."""

    number: int
    payload: bytes


class Journal:
    """Appends to the last segment; one writer a directory (the caller holds a lock)."""

    def __init__(self, directory: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Open or create; cut a torn tail. Raises LogError for damage anywhere else."""
        self.directory = directory
        self.torn_bytes = 0
        """Bytes of the torn tail that were cut when the journal was opened."""
        self._segment_bytes = segment_bytes
        directory.mkdir(parents=True, exist_ok=True)
        self.next_number = 0
        self._open_last()

    def _open_last(self) -> None:
        segments = list_segments(self.directory)
        if not segments:
            self._start_segment()
            return
        last = segments[-1]
        count, good = _measure(last)
        size = last.stat().st_size
        if good < size:
            self.torn_bytes = size - good
            _cut(last, good)
        self.next_number = first_number(last) + count
        self._file = os.open(last, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._size = good

    def _start_segment(self) -> None:
        path = self.directory / f"{self.next_number:020d}{_SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._size = 0
        sync_directory(self.directory)

    def append(self, payloads: Sequence[bytes]) -> int:
        """Write entries and force them to disk; gives the number of the first.

        Raises OSError when the disk refuses: then nothing is known about the tail and the
        process has to end (the next start cuts it).
        """
        if self._size >= self._segment_bytes:
            os.close(self._file)
            self._start_segment()
        first = self.next_number
        parts: list[bytes] = []
        for payload in payloads:
            parts.append(_HEAD.pack(len(payload), zlib.crc32(payload)))
            parts.append(payload)
        data = b"".join(parts)
        write_all(self._file, data)
        os.fdatasync(self._file)
        self._size += len(data)
        self.next_number += len(payloads)
        return first

    def add_void(self, number: int) -> None:
        """Mark entry ``number`` as one that no broker could answer."""
        numbers = sorted(self.void_numbers() | {number})
        fresh = self.directory / f"{_VOIDS}.new"
        with fresh.open("w") as file:
            json.dump(numbers, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.directory / _VOIDS)
        sync_directory(self.directory)

    def void_numbers(self) -> set[int]:
        """Numbers of the entries that replay leaves out."""
        path = self.directory / _VOIDS
        return set(json.loads(path.read_text())) if path.exists() else set()

    def entries(self) -> Iterator[Entry]:
        """All entries from the oldest segment on."""
        return read_entries(list_segments(self.directory))

    def bytes_on_disk(self) -> int:
        """Size of all segments."""
        return sum(path.stat().st_size for path in list_segments(self.directory))

    def close(self) -> None:
        """Release the file; everything appended is on disk already."""
        os.close(self._file)


def list_segments(directory: Path) -> list[Path]:
    """The segment files, oldest first."""
    return sorted(directory.glob(f"*{_SUFFIX}"))


def first_number(segment: Path) -> int:
    """Number of a segment's first entry, from its name."""
    return int(segment.name[: -len(_SUFFIX)])


def read_entries(segments: Iterable[Path]) -> Iterator[Entry]:
    """Entries of whole segments in order. Raises LogError naming the place of any damage."""
    expected: int | None = None
    for segment in segments:
        number = first_number(segment)
        if expected is not None and number != expected:
            raise LogError(f"broker journal: entries {expected} to {number - 1} are missing before {segment}")
        at = 0
        for payload, end in _scan(segment):
            yield Entry(number, payload)
            number += 1
            at = end
        size = segment.stat().st_size
        if at != size:
            raise LogError(f"broker journal: {segment} is damaged at byte {at} of {size}")
        expected = number


def _scan(segment: Path) -> Iterator[tuple[bytes, int]]:
    """Payload and end position of each good entry, up to the first that is not."""
    with segment.open("rb", buffering=1 << 20) as file:
        at = 0
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            length, check = _HEAD.unpack(head)
            payload = file.read(length)
            if len(payload) < length or zlib.crc32(payload) != check:
                return
            at += _HEAD.size + length
            yield payload, at


def _measure(segment: Path) -> tuple[int, int]:
    count = good = 0
    for _, end in _scan(segment):
        count += 1
        good = end
    return count, good


def _cut(segment: Path, good: int) -> None:
    """Move everything from ``good`` on into a file beside the segment."""
    with segment.open("r+b") as file:
        file.seek(good)
        torn = file.read()
        with segment.with_name(f"{segment.name}.{good}.torn").open("wb") as beside:
            beside.write(torn)
            beside.flush()
            os.fsync(beside.fileno())
        file.truncate(good)
        os.fsync(file.fileno())
    sync_directory(segment.parent)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``; raises OSError when the disk refuses."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(directory: Path) -> None:
    """Force names created in ``directory`` to disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
