"""Who a twin is, and which partition is its home."""

import functools
import re
from typing import NewType

TwinId = NewType("TwinId", str)

MAX_ID_LENGTH = 128
TWIN_ID_PATTERN = r"[A-Za-z0-9\-.+%_#*?!(),:=@$']{1,128}"
_TWIN_ID = re.compile(TWIN_ID_PATTERN)

OPERATION_ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}"
"""Of the ids that callers choose for operations."""

_OPERATION_ID = re.compile(OPERATION_ID_PATTERN)


def is_twin_id(text: str) -> bool:
    """Whether `text` can name a twin: the ids that IoT Hub gives to devices."""
    return _TWIN_ID.fullmatch(text) is not None


def is_operation_id(text: str) -> bool:
    """Whether a caller may name an operation so."""
    return _OPERATION_ID.fullmatch(text) is not None


@functools.lru_cache(maxsize=200_000)
def home_partition(twin_id: str, partition_count: int) -> int:
    """Return the home of a twin: Event Hubs' own partition of its id as a partition key.

    The service hashes the UTF-8 bytes of a key with Jenkins' lookup3 (``hashlittle2``), folds the
    two words to a signed 16-bit number and takes the absolute value of its remainder, in the
    sense of C: rounded towards zero.
    """
    b, c = _lookup3(twin_id.encode())
    folded = (b ^ c) & 0xFFFF
    signed = folded - 0x10000 if folded & 0x8000 else folded
    return abs(signed) % partition_count


def _lookup3(key: bytes) -> tuple[int, int]:
    """Jenkins' ``hashlittle2`` with both seeds zero (lookup3.c, May 2006, public domain)."""
    mask = 0xFFFFFFFF
    length = len(key)
    a = b = c = (0xDEADBEEF + length) & mask
    if length == 0:
        return b, c
    at = 0
    while length - at > 12:
        a = (a + int.from_bytes(key[at : at + 4], "little")) & mask
        b = (b + int.from_bytes(key[at + 4 : at + 8], "little")) & mask
        c = (c + int.from_bytes(key[at + 8 : at + 12], "little")) & mask
        a, b, c = _mix(a, b, c)
        at += 12
    tail = key[at:].ljust(12, b"\0")
    a = (a + int.from_bytes(tail[0:4], "little")) & mask
    b = (b + int.from_bytes(tail[4:8], "little")) & mask
    c = (c + int.from_bytes(tail[8:12], "little")) & mask
    return _final(a, b, c)


def _rotate(word: int, by: int) -> int:
    return ((word << by) | (word >> (32 - by))) & 0xFFFFFFFF


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    mask = 0xFFFFFFFF
    a, c = ((a - c) & mask) ^ _rotate(c, 4), (c + b) & mask
    b, a = ((b - a) & mask) ^ _rotate(a, 6), (a + c) & mask
    c, b = ((c - b) & mask) ^ _rotate(b, 8), (b + a) & mask
    a, c = ((a - c) & mask) ^ _rotate(c, 16), (c + b) & mask
    b, a = ((b - a) & mask) ^ _rotate(a, 19), (a + c) & mask
    c, b = ((c - b) & mask) ^ _rotate(b, 4), (b + a) & mask
    return a, b, c


def _final(a: int, b: int, c: int) -> tuple[int, int]:
    mask = 0xFFFFFFFF
    c = ((c ^ b) - _rotate(b, 14)) & mask
    a = ((a ^ c) - _rotate(c, 11)) & mask
    b = ((b ^ a) - _rotate(a, 25)) & mask
    c = ((c ^ b) - _rotate(b, 16)) & mask
    a = ((a ^ c) - _rotate(c, 4)) & mask
    b = ((b ^ a) - _rotate(a, 14)) & mask
    c = ((c ^ b) - _rotate(b, 24)) & mask
    return b, c
