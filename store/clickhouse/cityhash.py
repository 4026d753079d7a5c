"""CityHash128 of version 1.0.2, with which ClickHouse guards compressed blocks.

The algorithm is Google's CityHash (MIT licence) as of v1.0.2; later versions give other numbers.
"""

from __future__ import annotations

from struct import unpack_from

_MASK = (1 << 64) - 1
_K0 = 0xC3A5C85C97CB3127
_K1 = 0xB492B66FBE98F273
_K2 = 0x9AE16A3B2F90404F
_K3 = 0xC949D7C7509E6557
_MUL = 0x9DDFEA08EB382D69

Pair = tuple[int, int]


def cityhash128(data: bytes) -> bytes:
    """The 16 bytes that stand before a compressed block."""
    size = len(data)
    if size >= 16:
        low, high = unpack_from("<QQ", data)
        result = _seeded(data[16:], low ^ _K3, high)
    elif size >= 8:
        low, high = _word(data, 0), _word(data, size - 8)
        result = _seeded(b"", low ^ (size * _K0 & _MASK), high ^ _K1)
    else:
        result = _seeded(data, _K0, _K1)
    return result[0].to_bytes(8, "little") + result[1].to_bytes(8, "little")


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def _rotate(value: int, shift: int) -> int:
    value &= _MASK
    return (value >> shift | value << (64 - shift)) & _MASK if shift else value


def _mix(value: int) -> int:
    value &= _MASK
    return value ^ value >> 47


def _join(u: int, v: int) -> int:
    a = _mix((u ^ v) * _MUL)
    return _mix((v ^ a) * _MUL) * _MUL & _MASK


def _weak(data: bytes, at: int, a: int, b: int) -> Pair:
    w, x, y, z = unpack_from("<QQQQ", data, at)
    a += w
    b = _rotate(b + a + z, 21)
    c = a
    a += x + y
    b += _rotate(a, 44)
    return (a + z) & _MASK, (b + c) & _MASK


def _short(data: bytes) -> int:
    size = len(data)
    if size > 8:
        a, b = _word(data, 0), _word(data, size - 8)
        return _join(a, _rotate(b + size, size)) ^ b
    if size >= 4:
        first, last = int.from_bytes(data[:4], "little"), int.from_bytes(data[-4:], "little")
        return _join(size + (first << 3), last)
    if size:
        y = data[0] + (data[size >> 1] << 8)
        z = size + (data[-1] << 2)
        return _mix(y * _K2 ^ z * _K3) * _K2 & _MASK
    return _K2


def _murmur(data: bytes, a: int, b: int) -> Pair:
    size = len(data)
    if size <= 16:
        a = _mix(a * _K1) * _K1 & _MASK
        c = (b * _K1 + _short(data)) & _MASK
        d = _mix(a + (_word(data, 0) if size >= 8 else c))
    else:
        c = _join((_word(data, size - 8) + _K1) & _MASK, a)
        d = _join((b + size) & _MASK, (c + _word(data, size - 16)) & _MASK)
        a = (a + d) & _MASK
        for at in range(0, size - 16, 16):
            a = (a ^ _mix(_word(data, at) * _K1) * _K1) * _K1 & _MASK
            b ^= a
            c = (c ^ _mix(_word(data, at + 8) * _K1) * _K1) * _K1 & _MASK
            d ^= c
    a, b = _join(a, c), _join(d, b)
    return a ^ b, _join(b, a)


def _seeded(data: bytes, x: int, y: int) -> Pair:
    size = len(data)
    if size < 128:
        return _murmur(data, x, y)
    z = size * _K1 & _MASK
    v0 = (_rotate(y ^ _K1, 49) * _K1 + _word(data, 0)) & _MASK
    v = (v0, (_rotate(v0, 42) * _K1 + _word(data, 8)) & _MASK)
    w = (
        (_rotate(y + z, 35) * _K1 + x) & _MASK,
        _rotate(x + _word(data, 88), 53) * _K1 & _MASK,
    )
    whole = size // 128 * 128
    for at in range(0, whole, 64):
        x = _rotate(x + y + v[0] + _word(data, at + 16), 37) * _K1 & _MASK
        y = _rotate(y + v[1] + _word(data, at + 48), 42) * _K1 & _MASK
        x ^= w[1]
        y ^= v[0]
        z = _rotate(z ^ w[0], 33)
        v = _weak(data, at, v[1] * _K1 & _MASK, (x + w[0]) & _MASK)
        w = _weak(data, at + 32, (z + w[1]) & _MASK, y)
        z, x = x, z
    y = (y + _rotate(w[0], 37) * _K0 + z) & _MASK
    x = (x + _rotate(v[0] + z, 49) * _K0) & _MASK
    return _tail(data, size - whole, (x, y), v, w)


def _tail(data: bytes, rest: int, state: Pair, v: Pair, w: Pair) -> Pair:
    size = len(data)
    x, y = state
    low, high = w
    for back in range(32, rest + 32, 32):
        y = (_rotate(y - x, 42) * _K0 + v[1]) & _MASK
        low = (low + _word(data, size - back + 16)) & _MASK
        x = (_rotate(x, 49) * _K0 + low) & _MASK
        low = (low + v[0]) & _MASK
        v = _weak(data, size - back, v[0], v[1])
    x, y = _join(x, v[0]), _join(y, low)
    return (_join((x + v[1]) & _MASK, high) + y) & _MASK, _join((x + high) & _MASK, (y + v[1]) & _MASK)
