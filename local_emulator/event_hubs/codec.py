"""AMQP 1.0 types: bytes to values, and values to bytes.

Decoding is one generic function. Encoding is one function per type that returns bytes, because the wire
type is a choice of the writer: a Python int says nothing about ulong, long or timestamp. Two habits of the
real service are kept since clients lean on them: descriptors are small ulongs, lists are never the empty
``list0`` form.
"""

import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

type Buffer = bytes | bytearray | memoryview
type Value = bool | int | float | str | bytes | UUID | Described | list[Value] | dict[Value, Value] | None

NULL = b"\x40"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_UINT32 = struct.Struct(">I")
_PAIR32 = struct.Struct(">II")


class DecodeError(ValueError):
    """The bytes are not the AMQP value they claim to be."""


# All that decoding bytes of a broken or hostile client can raise.
MALFORMED = (ValueError, IndexError, struct.error, RecursionError)


class Symbol(str):
    """An AMQP symbol, kept apart from strings."""

    __slots__ = ()


class Described(NamedTuple):
    """A value with its descriptor, for example a performative or a filter."""

    descriptor: Value
    value: Value


_CONSTANTS: dict[int, Value] = {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0}
_SIGNED = frozenset({0x51, 0x54, 0x55, 0x61, 0x71, 0x81, 0x83})
_FLOATS = {0x72: ">f", 0x82: ">d"}
_DECIMALS = frozenset({0x74, 0x84, 0x94})  # left encoded: nothing here reads them


def _read_fixed(code: int, raw: Buffer) -> Value:
    """Values whose size is in the constructor's upper four bits."""
    if code in _CONSTANTS:
        return _CONSTANTS[code]
    if code == 0x45:
        return []
    if code in _FLOATS:
        return float(struct.unpack(_FLOATS[code], raw)[0])
    if code == 0x98:
        return UUID(bytes=bytes(raw))
    if code in _DECIMALS:
        return bytes(raw)
    number = int.from_bytes(raw, "big", signed=code in _SIGNED)
    return chr(number) if code == 0x73 else bool(number) if code == 0x56 else number


def _read_variable(code: int, raw: Buffer) -> Value:
    """Binary, string and symbol, short or long."""
    match code & 0x0F:
        case 0:
            return bytes(raw)
        case 1:
            return str(raw, "utf-8")
        case 3:
            return Symbol(str(raw, "ascii"))
    raise DecodeError(f"unknown AMQP constructor 0x{code:02x}")


_FIXED_WIDTHS = {4: 0, 5: 1, 6: 2, 7: 4, 8: 8, 9: 16}


def skip(buffer: Buffer, position: int) -> int:
    """Where the value at a position ends, without decoding it."""
    code = buffer[position]
    kind = code >> 4
    if kind in {0xA, 0xC, 0xE}:
        end = position + 2 + buffer[position + 1]
    elif kind in {0xB, 0xD, 0xF}:
        end = position + 5 + int(_UINT32.unpack_from(buffer, position + 1)[0])
    elif code == 0:
        end = skip(buffer, skip(buffer, position + 1))
    elif kind in _FIXED_WIDTHS:
        end = position + 1 + _FIXED_WIDTHS[kind]
    else:
        raise DecodeError(f"unknown AMQP constructor 0x{code:02x}")
    if end > len(buffer):
        raise DecodeError("an AMQP value ends beyond its frame")
    return end


def _compound_head(buffer: Buffer, position: int) -> tuple[int, int]:
    """Element count of a list, map or array, and where its elements begin."""
    if buffer[position] >> 4 in {0xC, 0xE}:
        return buffer[position + 2], position + 3
    return int(_UINT32.unpack_from(buffer, position + 5)[0]), position + 9


def raw_items(buffer: Buffer, position: int) -> list[bytes]:
    """Return the elements of a list or map as encoded bytes, keys and values in turn for a map."""
    if buffer[position] == 0x45:
        return []
    end = skip(buffer, position)
    count, cursor = _compound_head(buffer, position)
    items: list[bytes] = []
    for _ in range(count):
        after = skip(buffer, cursor)
        items.append(bytes(buffer[cursor:after]))
        cursor = after
    if cursor > end:
        raise DecodeError("a compound AMQP value is longer than it says")
    return items


def _decode_array(buffer: Buffer, position: int) -> list[Value]:
    count, cursor = _compound_head(buffer, position)
    values: list[Value] = []
    code = buffer[cursor]
    for _ in range(count):  # each element lacks its constructor: put it in front of the rest
        element = bytes((code,)) + bytes(buffer[cursor + 1 :])
        value, size = decode(element, 0)
        values.append(value)
        cursor += size - 1
    return values


def decode(buffer: Buffer, position: int = 0) -> tuple[Value, int]:
    """Decode the value at a position; also says where it ends."""
    code = buffer[position]
    if code == 0:
        descriptor, position = decode(buffer, position + 1)
        value, position = decode(buffer, position)
        return Described(descriptor, value), position
    end = skip(buffer, position)
    kind = code >> 4
    if kind in _FIXED_WIDTHS:
        return _read_fixed(code, buffer[position + 1 : end]), end
    if kind in {0xA, 0xB}:
        return _read_variable(code, buffer[position + (2 if kind == 0xA else 5) : end]), end
    if kind in {0xE, 0xF}:
        return _decode_array(buffer, position), end
    count, cursor = _compound_head(buffer, position)
    values: list[Value] = []
    for _ in range(count):
        value, cursor = decode(buffer, cursor)
        values.append(value)
    if code & 0x0F == 0:
        return values, end
    if any(isinstance(key, list | dict) for key in values[::2]):
        raise DecodeError("a map whose keys are lists or maps")
    return dict(zip(values[::2], values[1::2], strict=True)), end


def boolean(value: bool) -> bytes:
    """Encode a boolean."""
    return b"\x41" if value else b"\x42"


def ubyte(value: int) -> bytes:
    """Encode an unsigned byte."""
    return bytes((0x50, value))


def uint(value: int) -> bytes:
    """Encode an unsigned 32-bit number in its shortest form."""
    if value == 0:
        return b"\x43"
    return bytes((0x52, value)) if value < 256 else b"\x70" + _UINT32.pack(value)


def ushort(value: int) -> bytes:
    """Encode an unsigned 16-bit number."""
    return b"\x60" + value.to_bytes(2, "big")


def ulong(value: int) -> bytes:
    """Encode an unsigned 64-bit number, never as ``ulong0``."""
    return bytes((0x53, value)) if value < 256 else b"\x80" + value.to_bytes(8, "big")


def integer(value: int) -> bytes:
    """Encode a signed 32-bit number."""
    return b"\x71" + value.to_bytes(4, "big", signed=True)


def long(value: int) -> bytes:
    """Encode a signed 64-bit number."""
    return b"\x81" + value.to_bytes(8, "big", signed=True)


def timestamp(milliseconds: int) -> bytes:
    """Encode a point in time, given in milliseconds since 1970."""
    return b"\x83" + milliseconds.to_bytes(8, "big", signed=True)


def to_milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970 of an aware datetime."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def _variable(short_code: int, raw: bytes) -> bytes:
    if len(raw) < 256:
        return bytes((short_code, len(raw))) + raw
    return bytes((short_code + 0x10,)) + _UINT32.pack(len(raw)) + raw


def binary(value: bytes) -> bytes:
    """Encode binary data."""
    return _variable(0xA0, value)


def string(value: str) -> bytes:
    """Encode a string."""
    return _variable(0xA1, value.encode())


def symbol(value: str) -> bytes:
    """Encode a symbol."""
    return _variable(0xA3, value.encode("ascii"))


def _compound(short_code: int, items: Sequence[bytes]) -> bytes:
    body = b"".join(items)
    if len(body) < 255 and len(items) < 256:
        return bytes((short_code, len(body) + 1, len(items))) + body
    return bytes((short_code + 0x10,)) + _PAIR32.pack(len(body) + 4, len(items)) + body


def list_of(items: Sequence[bytes]) -> bytes:
    """Encode a list of encoded items."""
    return _compound(0xC0, items)


def map_of(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Encode a map of encoded keys and values."""
    return _compound(0xC1, [part for pair in pairs for part in pair])


def string_array(values: Sequence[str]) -> bytes:
    """Encode an array of strings in the long form, as the service does."""
    body = b"\xb1" + b"".join(_UINT32.pack(len(raw)) + raw for raw in (value.encode() for value in values))
    return b"\xf0" + _PAIR32.pack(len(body) + 4, len(values)) + body


def symbol_array(values: Sequence[str]) -> bytes:
    """Encode an array of short symbols."""
    body = b"\xa3" + b"".join(bytes((len(raw),)) + raw for raw in (value.encode("ascii") for value in values))
    return b"\xf0" + _PAIR32.pack(len(body) + 4, len(values)) + body


def described(code: int, value: bytes) -> bytes:
    """Put a numeric descriptor in front of an encoded value."""
    return b"\x00" + ulong(code) + value


def composite(code: int, fields: Sequence[bytes]) -> bytes:
    """Encode a described list: what performatives, sources, targets and errors are."""
    return described(code, list_of(fields))
