"""The service's own hash of a partition key: Bob Jenkins' lookup3 (public domain), two words folded to 16 bits.

The remainder keeps the sign of the dividend, as in C: -15263 over 4 partitions is partition 3, where
Python's own ``%`` would say 1. One official client gets that wrong; the service does not.
"""

import struct
from functools import lru_cache

_MASK = 0xFFFFFFFF
_SEED = 0xDEADBEEF
_BLOCK = struct.Struct("<III")


def _rotate(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (32 - bits))) & _MASK


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    """Stir one 12-byte block into the state; reversible."""
    for rotations in ((4, 6, 8), (16, 19, 4)):
        a = ((a - c) & _MASK) ^ _rotate(c, rotations[0])
        c = (c + b) & _MASK
        b = ((b - a) & _MASK) ^ _rotate(a, rotations[1])
        a = (a + c) & _MASK
        c = ((c - b) & _MASK) ^ _rotate(b, rotations[2])
        b = (b + a) & _MASK
    return a, b, c


def _finish(a: int, b: int, c: int) -> tuple[int, int]:
    """Spread the last block over the two words that are kept."""
    c = ((c ^ b) - _rotate(b, 14)) & _MASK
    a = ((a ^ c) - _rotate(c, 11)) & _MASK
    b = ((b ^ a) - _rotate(a, 25)) & _MASK
    c = ((c ^ b) - _rotate(b, 16)) & _MASK
    a = ((a ^ c) - _rotate(c, 4)) & _MASK
    b = ((b ^ a) - _rotate(a, 14)) & _MASK
    c = ((c ^ b) - _rotate(b, 24)) & _MASK
    return b, c


def hash_of(partition_key: str) -> int:
    """Return the signed 16-bit hash of a key."""
    data = partition_key.encode()
    a = b = c = (_SEED + len(data)) & _MASK
    rest = data
    while len(rest) > _BLOCK.size:
        block, rest = rest[: _BLOCK.size], rest[_BLOCK.size :]
        x, y, z = _BLOCK.unpack(block)
        a, b, c = _mix((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)
    if rest:
        x, y, z = _BLOCK.unpack(rest.ljust(_BLOCK.size, b"\0"))
        b, c = _finish((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)
    folded = (b ^ c) & 0xFFFF
    return folded - 0x10000 if folded & 0x8000 else folded


@lru_cache(maxsize=65536)
def partition_of(partition_key: str, partition_count: int) -> int:
    """Return the number of the partition where events with this key go."""
    return abs(hash_of(partition_key)) % partition_count
