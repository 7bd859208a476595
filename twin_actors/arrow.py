"""Bodies that are Arrow IPC streams: numbers by column, or rows of fixed length for wide machines.

What a stream claims is checked before Arrow allocates for it: a few hundred bytes can claim any number of rows, and
compressed ones can unfold to a thousandfold. Loading Arrow takes a while, so this module is imported when the first
such body arrives.
"""

import functools
import math
import struct
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from twin_actors.errors import Rejected
from twin_actors.frames import Values

MAX_ROWS = 10_000
MAX_CELLS = 262_144
"""Of all columns together: what fits a message that is not compressed, at a byte each."""

MAX_KNOWN_BYTES = 4096
"""Of a schema that is remembered: what devices send again and again is small."""

MAX_DECODED_BYTES = 4 * 1024 * 1024
"""What a compressed body may unfold to: sixteen times the largest message."""

TIME = "time"
VALUES = "values"
_NUMBERS = (
    *(pa.float32(), pa.float64(), pa.bool_(), pa.null()),
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
)
_TIMES = (pa.types.is_timestamp, pa.types.is_integer, pa.types.is_floating, pa.types.is_null)
_TICKS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_FAULTS = (pa.ArrowException, OSError, ValueError, TypeError, LookupError, struct.error, OverflowError)
"""What Arrow, or reading what it has not checked, raises for bytes that are no stream."""


class Table(msgspec.Struct, frozen=True):
    """The content of a stream.

    Attributes
    ----------
    times : list
        What each row claims: seconds since 1970, None where it claims nothing, NaN where it is no time.
    columns : dict
        Channel → one value a row, None where there is none; empty where there are `values`.
    values : numpy.ndarray or None
        One row a time, one column a channel of a wide machine; NaN where there is none.
    """

    times: list[float | None]
    columns: dict[str, list[Any]]
    values: Values | None = None


def read(body: bytes) -> Table:
    """Read a stream.

    Raises
    ------
    Rejected
        It is damaged, too large, or of another shape.
    """
    try:
        reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(body))
        first = reader.read_next_message()
        if first.type != "schema":  # Arrow would read it as one, and die
            raise ValueError("it does not begin with a schema")
        schema, wide = _known(bytes(first.metadata)) if len(first.metadata) <= MAX_KNOWN_BYTES else _read_schema(first)
        batches = list(_batches(reader, schema, wide))
        return _wide(batches) if wide else _narrow(batches, schema)
    except (*_FAULTS, StopIteration) as error:
        raise Rejected("bad_arrow", f"the body is no Arrow stream: {str(error)[:300]}") from None


def _read_schema(message: pa.ipc.Message) -> tuple[pa.Schema, int]:
    schema = pa.ipc.read_schema(message)
    return schema, _shape(schema)


@functools.lru_cache(maxsize=256)  # a device always sends the same
def _known(metadata: bytes) -> tuple[pa.Schema, int]:
    head = struct.pack("<iI", -1, len(metadata))
    message = pa.ipc.read_message(pa.py_buffer(head + metadata))
    return _read_schema(message)


def _shape(schema: pa.Schema) -> int:
    """Return how many values a row of a wide machine has, 0 where each column is a channel."""
    names = schema.names
    if len(set(names)) < len(names):
        raise Rejected("bad_arrow", "two columns have one name; name each channel once")
    is_wide = VALUES in names and pa.types.is_fixed_size_list(schema.field(VALUES).type)
    for field in schema:
        if field.name == TIME:
            if not any(is_kind(field.type) for is_kind in _TIMES):
                raise Rejected("bad_arrow", f"column {TIME} is {field.type}; send timestamps or seconds since 1970")
        elif is_wide and field.name != VALUES:
            raise Rejected("bad_arrow", f"beside {VALUES} of fixed length there can only be {TIME}; send others apart")
        elif not is_wide and field.type not in _NUMBERS:
            raise Rejected("bad_arrow", f"column {field.name[:64]} is {field.type}; send numbers")
    return _size(schema.field(VALUES).type) if is_wide else 0


def _size(row: pa.FixedSizeListType) -> int:
    if row.value_type not in {pa.float32(), pa.float64()}:
        raise Rejected("bad_arrow", f"{VALUES} are {row.value_type}; send float32 or float64")
    if row.list_size < 1:
        raise Rejected("bad_arrow", f"a row of {VALUES} has no value")
    return int(row.list_size)


def _batches(reader: Any, schema: pa.Schema, wide: int) -> Iterator[pa.RecordBatch]:  # noqa: ANN401  Arrow is untyped
    """Read the batches, each checked before it is unfolded."""
    rows, size = 0, 0
    for message in reader:
        if message.type != "record batch":
            raise Rejected("bad_arrow", f"the stream has a {message.type}; send plain numbers")
        claimed_rows, claimed_bytes = _claims(message)
        rows += claimed_rows
        size += claimed_bytes
        if rows > MAX_ROWS or rows * len(schema) > MAX_CELLS:
            raise Rejected("too_large", f"the body has {rows} rows of {len(schema)} columns; send fewer in a message")
        if max(size, rows * wide * 4) > MAX_DECODED_BYTES:
            raise Rejected("too_large", f"the body unfolds to more than {MAX_DECODED_BYTES} bytes; send fewer rows")
        batch = pa.ipc.read_record_batch(message, schema)
        batch.validate(full=True)
        yield batch
    if not rows:
        raise Rejected("no_reading", "the body has no row; send at least one")


def _claims(message: pa.ipc.Message) -> tuple[int, int]:
    """Return how many rows a batch claims, and how many bytes its buffers unfold to."""
    metadata, body = bytes(message.metadata), memoryview(message.body)
    batch = _reference(metadata, _field(metadata, _reference(metadata, 0), 2))
    rows = _number(metadata, _field(metadata, batch, 0))
    buffers = _field(metadata, batch, 2)
    if rows < 0 or not buffers:
        raise ValueError("a batch without rows or buffers")
    if not _field(metadata, batch, 3):
        return rows, len(body)
    vector = _reference(metadata, buffers)
    size = 0
    (count,) = struct.unpack_from("<I", metadata, vector)
    for at in range(vector + 4, vector + 4 + 16 * count, 16):
        offset, length = struct.unpack_from("<qq", metadata, at)
        if not 0 <= offset <= offset + length <= len(body):
            raise ValueError("a buffer lies outside the batch")
        if length:
            (unfolded,) = struct.unpack_from("<q", body, offset)
            size += length if unfolded == -1 else unfolded
            if unfolded < -1 or size > MAX_DECODED_BYTES:
                raise Rejected("too_large", f"the body unfolds to more than {MAX_DECODED_BYTES} bytes; send fewer rows")
    return rows, size


# Metadata are FlatBuffers: a table begins with the way back to the list of where its fields are.


def _reference(metadata: bytes, at: int) -> int:
    return int(at + struct.unpack_from("<I", metadata, at)[0])


def _field(metadata: bytes, table: int, index: int) -> int:
    """Return where a field of a table is, 0 where it has none."""
    fields = table - struct.unpack_from("<i", metadata, table)[0]
    if 4 + 2 * index >= struct.unpack_from("<H", metadata, fields)[0]:
        return 0
    offset = struct.unpack_from("<H", metadata, fields + 4 + 2 * index)[0]
    return int(table + offset) if offset else 0


def _number(metadata: bytes, at: int) -> int:
    return int(struct.unpack_from("<q", metadata, at)[0]) if at else 0


def _times(batch: pa.RecordBatch) -> list[float | None]:
    if TIME not in batch.schema.names:
        return [None] * batch.num_rows
    column = batch.column(TIME)
    per_second = 1
    if pa.types.is_timestamp(column.type):
        per_second = _TICKS_PER_SECOND[column.type.unit]
        column = column.cast(pa.int64())
    return [
        None if ticks is None else ticks / per_second if abs(ticks) < 1e12 * per_second else math.nan
        for ticks in column.to_pylist()
    ]


def _narrow(batches: list[pa.RecordBatch], schema: pa.Schema) -> Table:
    columns = {
        name: [value for batch in batches for value in batch.column(name).to_pylist()]
        for name in schema.names
        if name != TIME
    }
    return Table([time for batch in batches for time in _times(batch)], columns)


def _wide(batches: list[pa.RecordBatch]) -> Table:
    parts = []
    for batch in batches:
        rows = batch.column(VALUES)
        if rows.null_count:
            raise Rejected("bad_arrow", f"a row has no {VALUES}; leave it out, or send NaN for values that are missing")
        size = rows.type.list_size
        # What Arrow marks as missing becomes NaN here; and a stream may say that its numbers lie at odd places.
        numbers = np.require(rows.values.to_numpy(zero_copy_only=False), requirements=("C", "A"))
        parts.append(numbers[: len(rows) * size].reshape(len(rows), size))
    values = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return Table([time for batch in batches for time in _times(batch)], {}, values)
