"""Content encodings of requests and answers, with a bound on what a request may unpack to."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable
from typing import IO, Any

import lz4.frame
import zstandard

from store.clickhouse.errors import (
    CANNOT_DECOMPRESS,
    TOO_MANY_BYTES,
    UNKNOWN_COMPRESSION_METHOD,
    EngineError,
    refuse,
)

SMALLEST = 1024
"""Answers below this many bytes are sent as they are."""


def too_large(limit: int) -> EngineError:
    """The refusal of a request whose body has more than ``limit`` bytes."""
    return refuse(TOO_MANY_BYTES, "TOO_MANY_BYTES", f"Request body is larger than {limit} bytes.")


class _Deflate(io.RawIOBase):
    """A zlib stream as a file to read from."""

    def __init__(self, data: bytes) -> None:
        self._inflate = zlib.decompressobj()
        self._rest = data

    def read(self, size: int = -1) -> bytes:
        out = self._inflate.decompress(self._rest, max(size, 0))
        if not out and not self._inflate.eof:
            raise zlib.error("incomplete stream")
        self._rest = self._inflate.unconsumed_tail
        return out


_READERS: dict[str, Callable[[bytes], IO[bytes] | Any]] = {
    "gzip": lambda data: gzip.GzipFile(fileobj=io.BytesIO(data)),
    "x-gzip": lambda data: gzip.GzipFile(fileobj=io.BytesIO(data)),
    "deflate": _Deflate,
    "zstd": lambda data: zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True),
    "lz4": lambda data: lz4.frame.LZ4FrameFile(io.BytesIO(data)),
}
_WRITERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": lambda data: zstandard.ZstdCompressor(level=1).compress(data),
    "lz4": lambda data: bytes(lz4.frame.compress(data)),
    "gzip": lambda data: gzip.compress(data, compresslevel=1, mtime=0),
    "deflate": lambda data: zlib.compress(data, 1),
}


def unpack(data: bytes, encoding: str, limit: int) -> bytes:
    """A request's body without its content encoding.

    Raises `EngineError`: 89 for an unknown encoding, 271 for broken data, 307 above ``limit`` bytes.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return data
    if name not in _READERS:
        raise refuse(
            UNKNOWN_COMPRESSION_METHOD,
            "UNKNOWN_COMPRESSION_METHOD",
            f"Unknown compression method {encoding}: expected one of {', '.join(sorted(_READERS))}.",
        )
    try:
        out = _read_bounded(_READERS[name](data), limit)
    except (OSError, EOFError, RuntimeError, zlib.error, zstandard.ZstdError) as error:
        message = f"Cannot decompress {name} body: {error}."
        raise refuse(CANNOT_DECOMPRESS, "CANNOT_DECOMPRESS", message) from error
    if len(out) > limit:
        raise too_large(limit)
    return out


def _read_bounded(reader: Any, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size <= limit:
        part: bytes = reader.read(min(1 << 20, limit + 1 - size))
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def choose(accepted: str) -> str:
    """The encoding to answer with for an Accept-Encoding header; '' for none."""
    parts = [part.replace(" ", "").lower() for part in accepted.split(",")]
    offers = {part.split(";")[0] for part in parts if not part.endswith(";q=0")}
    return next((name for name in _WRITERS if name in offers), "")


def pack(data: bytes, encoding: str) -> bytes:
    """An answer's body in one of the encodings that `choose` returns."""
    return _WRITERS[encoding](data)
