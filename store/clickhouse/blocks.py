"""ClickHouse's own compressed blocks: what ``compress=1`` and ``decompress=1`` ask for over HTTP.

A block is a checksum (16 bytes), a method (1), the size of what follows the checksum (4), the size
unpacked (4), and the data; integers are little-endian. clickhouse-go speaks it for LZ4 and ZSTD.
"""

from __future__ import annotations

from struct import Struct, error

import lz4.block
import zstandard

from store.clickhouse.cityhash import cityhash128
from store.clickhouse.encoding import too_large
from store.clickhouse.errors import CANNOT_DECOMPRESS, refuse

_NONE, _LZ4, _ZSTD = 0x02, 0x82, 0x90
_HEADER = Struct("<BII")
_CHECKSUM = 16
_BLOCK = 1 << 20


def pack_blocks(data: bytes) -> bytes:
    """``data`` in LZ4 blocks of at most 1 MiB."""
    return b"".join(_pack(data[at : at + _BLOCK]) for at in range(0, len(data), _BLOCK))


def _pack(data: bytes) -> bytes:
    packed: bytes = lz4.block.compress(data, store_size=False)
    block = _HEADER.pack(_LZ4, len(packed) + _HEADER.size, len(data)) + packed
    return cityhash128(block) + block


def unpack_blocks(data: bytes, limit: int) -> bytes:
    """The data in a sequence of blocks.

    Raises `EngineError`: 271 for broken blocks, 307 above ``limit`` bytes.
    """
    parts: list[bytes] = []
    at = size = 0
    try:
        while at < len(data):
            method, length, raw = _HEADER.unpack_from(data, at + _CHECKSUM)
            size += raw
            if size > limit:
                raise too_large(limit)
            end = at + _CHECKSUM + length
            block = data[at + _CHECKSUM : end]
            if length < _HEADER.size or len(block) < length:
                raise ValueError("a block ends too early")
            if cityhash128(block) != data[at : at + _CHECKSUM]:
                raise ValueError("a checksum does not match")
            parts.append(_unpack(method, block[_HEADER.size :], raw))
            at = end
    except (error, ValueError, RuntimeError, zstandard.ZstdError) as broken:
        message = f"Cannot decompress body: {broken}."
        raise refuse(CANNOT_DECOMPRESS, "CANNOT_DECOMPRESS", message) from broken
    return b"".join(parts)


def _unpack(method: int, data: bytes, size: int) -> bytes:
    if method == _NONE:
        return data
    if method == _LZ4:
        return bytes(lz4.block.decompress(data, uncompressed_size=size))
    if method == _ZSTD:
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    raise ValueError(f"unknown method {method:#04x}")
