"""Arrow streams: both shapes are read, every claim is checked before it costs, and nothing damaged gets through."""

import math
import struct
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.twin_actors.loom import stream, wide
from twin_actors.arrow import MAX_DECODED_BYTES, MAX_ROWS, read
from twin_actors.errors import Rejected
from twin_actors.messages import ARROW, Event, Row, open_envelope

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def rows_of(body: bytes, content_type: str = ARROW) -> Any:
    """Open a device's message."""
    event = Event(
        sequence_number=1, enqueued_time=0.0, body=body, device_id="d", created_time=5.0, content_type=content_type
    )
    return open_envelope(event, 1).rows


def test_one_column_a_channel_is_as_json() -> None:
    """Rows as a list of JSON objects would give them; what is null is not there."""
    body = stream(
        {
            "time": pa.array([1.5, None, math.nan]),
            "flow": pa.array([1.25, None, math.inf], pa.float32()),
            "steps": pa.array([1, -2, None], pa.int16()),
            "on": pa.array([True, False, None]),
            "gone": pa.nulls(3),
        }
    )
    rows = rows_of(body)
    assert rows[:2] == (
        Row(1.5, {"flow": 1.25, "steps": 1, "on": True}),
        Row(5.0, {"steps": -2, "on": False}),
    )
    assert math.isnan(rows[2].time)
    assert rows[2].channels == {"flow": math.inf}


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps(unit: str) -> None:
    """Of any unit, of any zone."""
    for zone in (None, "UTC", "Europe/Berlin"):
        times = pa.array([MOMENT, None], pa.timestamp(unit, zone))
        assert read(stream({"time": times, "flow": pa.array([1.0, 2.0])})).times == [MOMENT.timestamp(), None]
    assert math.isnan(read(stream({"time": pa.array([1e12]), "flow": pa.array([1.0])})).times[0])


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("parts", [1, 3])
def test_rows_of_a_wide_machine(compression: str | None, dtype: Any, parts: int) -> None:
    """In their own precision, compressed or not, in any number of batches."""
    values = np.arange(60, dtype=dtype).reshape(3, 20) / 7
    table = read(wide(values, [1.0, 2.0, 3.0], dtype, compression=compression, parts=parts))
    assert table.times == [1.0, 2.0, 3.0]
    assert table.values is not None
    assert table.values.dtype == dtype
    assert (table.values == values).all()


def test_missing_values_of_a_row_are_nan() -> None:
    """Null or NaN; the others stay. A row without time has that of its message."""
    child = pa.array([1.0, None, math.nan, 4.0], pa.float32())
    rows = rows_of(stream({"values": pa.FixedSizeListArray.from_arrays(child, 2)}), f"{ARROW}; charset=x")
    assert [row.time for row in rows] == [5.0, 5.0]
    assert np.isnan([row.values for row in rows]).tolist() == [[False, True], [True, False]]


def test_a_channel_may_be_named_values() -> None:
    """Only lists of fixed length make a wide machine."""
    assert rows_of(stream({"values": pa.array([1.0])})) == (Row(5.0, {"values": 1.0}),)


FOUR = pa.array([1.0, 2.0, 3.0, 4.0])
PAIRS = pa.FixedSizeListArray.from_arrays(FOUR, 2)


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"flow": pa.array(["much"])}, "column flow is string; send numbers"),
        ({"flow": pa.array(["much"]).dictionary_encode()}, "column flow is dictionary"),
        ({"flow": pa.array([[1.0]])}, "column flow is list"),
        ({"flow": pa.array([1.0]), "time": pa.array(["now"])}, "column time is string"),
        ({"values": PAIRS, "flow": pa.array([1.0, 2.0])}, "beside values of fixed length there can only be time"),
        ({"values": pa.FixedSizeListArray.from_arrays(FOUR.cast(pa.int32()), 2)}, "values are int32"),
        ({"values": pa.FixedSizeListArray.from_arrays(PAIRS, 1)}, "values are fixed_size_list"),
        ({"values": pa.array([[1.0, 2.0], None], pa.list_(pa.float64(), 2))}, "a row has no values"),
        ({"values": pa.array([[], []], pa.list_(pa.float64(), 0))}, "a row of values has no value"),
        ({"flow": pa.array([], pa.float64())}, "the body has no row"),
    ],
)
def test_other_shapes_are_refused(columns: dict[str, pa.Array], fault: str) -> None:
    """With what to send instead."""
    with pytest.raises(Rejected, match=fault):
        read(stream(columns))


def test_names_are_given_once() -> None:
    """Else one channel would hide the other."""
    batch = pa.RecordBatch.from_arrays([pa.array([1.0]), pa.array([2.0])], ["flow", "flow"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    with pytest.raises(Rejected, match="two columns have one name"):
        read(sink.getvalue().to_pybytes())


MEASURED = """
import sys
import pyarrow as pa
from twin_actors.arrow import read
from twin_actors.errors import Rejected

for path in sys.argv[1:]:
    with open(path, "rb") as file:
        body = file.read()
    try:
        read(body)
    except Rejected as refusal:
        print(refusal.reason)
    print(pa.default_memory_pool().max_memory())
"""


def test_what_unfolds_to_more_than_it_may_is_never_unfolded(tmp_path: Path) -> None:
    """A few kilobytes that claim 64 megabytes; a process of its own shows what Arrow has ever allocated."""
    files = []
    for compression, size in (("lz4", 1 << 24), ("zstd", 1 << 24), ("zstd", 1 << 19)):
        files.append(tmp_path / f"{compression}-{size}")
        files[-1].write_bytes(wide(np.zeros((1, size), np.float32), compression=compression))
    assert files[1].stat().st_size < 10_000
    run = subprocess.run([sys.executable, "-c", MEASURED, *files], check=True, capture_output=True, text=True)
    one, after_one, two, after_two, after_right = run.stdout.split()
    assert (one, two) == ("too_large", "too_large")
    assert int(after_one) <= int(after_two) < 100_000
    assert 1 << 21 <= int(after_right) < MAX_DECODED_BYTES


def test_rows_and_cells_are_counted_before_they_are_made() -> None:
    """Columns of nothing take no byte, whatever their length."""
    with pytest.raises(Rejected, match="send fewer in a message") as refused:
        read(stream({"flow": pa.nulls(MAX_ROWS + 1)}))
    assert refused.value.reason == "too_large"
    read(stream({"flow": pa.nulls(MAX_ROWS)}))
    with pytest.raises(Rejected, match="send fewer in a message"):
        read(stream({f"c{number}": pa.nulls(9_000) for number in range(30)}))
    with pytest.raises(Rejected, match="send fewer in a message"):
        read(stream({"flow": pa.nulls(MAX_ROWS + 2)}, parts=2))


def _with_claim(body: bytes, rows: int, claimed: int) -> bytes:
    """Replace every eight bytes that say the number of rows."""
    assert struct.pack("<q", rows) in body
    return body.replace(struct.pack("<q", rows), struct.pack("<q", claimed))


@pytest.mark.parametrize("claimed", [-1, 0, 12, 5_000, 1 << 40, (1 << 63) - 1])
def test_rows_that_are_claimed_and_not_there(claimed: int) -> None:
    """More, fewer than none, or so many that products overflow."""
    with pytest.raises(Rejected):
        read(_with_claim(wide(np.ones((11, 3))), 11, claimed))
    with pytest.raises(Rejected):
        read(_with_claim(stream({"flow": pa.array([0.0] * 11)}), 11, claimed))


BODIES = [
    wide(np.arange(12).reshape(3, 4), [1.0, 2.0, 3.0]),
    wide(np.arange(12).reshape(3, 4), [1.0, 2.0, 3.0], compression="zstd"),
    wide(np.arange(64).reshape(2, 32) % 3, compression="lz4"),
    stream({"time": pa.array([1, 2], pa.timestamp("ms")), "flow": pa.array([1.0, None]), "n": pa.array([1, 2])}),
    stream({"flow": pa.array([1.0] * 200)}, compression="lz4"),
]


@pytest.mark.parametrize("body", BODIES)
def test_a_stream_cut_short_is_refused(body: bytes) -> None:
    """Wherever it is cut; only the mark of its end may be absent, and two frames are never half of one."""
    rows = len(read(body).times)
    for length in range(len(body)):
        try:
            found = read(body[:length])
        except Rejected:
            continue
        assert len(found.times) == rows
        assert length >= len(body) - 8


def _read_or_refused(body: bytes, changes: list[tuple[float, int]], cut: float) -> None:
    """Whatever is done to a stream, it is read within bounds, or refused."""
    damaged = bytearray(body)
    for place, byte in changes:
        if damaged:
            damaged[int(place * (len(damaged) - 1))] = byte
    try:
        table = read(bytes(damaged[: int(cut * len(damaged))]))
    except Rejected as refusal:
        assert refusal.reason in {"bad_arrow", "too_large", "no_reading"}  # noqa: PT017  reading it is right, too
        return
    assert 0 < len(table.times) <= MAX_ROWS
    assert all(len(cells) == len(table.times) for cells in table.columns.values())
    if table.values is not None:
        assert len(table.values) == len(table.times)
        table.values.tobytes()  # every byte is there to be read


bodies = st.sampled_from(BODIES)
changes_of_bytes = st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(0, 255)), min_size=1, max_size=4)
cuts = st.one_of(st.just(1.0), st.floats(0.0, 1.0))


@settings(max_examples=400, deadline=None)
@given(body=bodies, changes=changes_of_bytes, cut=cuts)
@example(body=b"", changes=[(0.0, 0)], cut=1.0)
@example(body=b"{}", changes=[], cut=1.0)
def test_damaged_streams_are_read_or_refused(body: bytes, changes: list[tuple[float, int]], cut: float) -> None:
    """And never anything else; Arrow runs in this process, whose death would be the partition's."""
    _read_or_refused(body, changes, cut)


@pytest.mark.proof
@settings(max_examples=20_000, deadline=None)
@given(body=bodies, changes=changes_of_bytes, cut=cuts)
def test_damaged_streams_are_read_or_refused_at_length(
    body: bytes, changes: list[tuple[float, int]], cut: float
) -> None:
    """The same, for some minutes."""
    _read_or_refused(body, changes, cut)


@pytest.mark.parametrize("body", [BODIES[0], BODIES[3]])
def test_a_message_of_another_kind_is_refused(body: bytes) -> None:
    """Arrow itself reads any first message as a schema, and dies of it."""
    place = body.index(b"\x00\x01\x04\x00") + 1  # the kind of the first message: 1 is a schema
    assert body[place] == 1
    for kind in (0, *range(2, 256)):
        with pytest.raises(Rejected):
            read(body[:place] + bytes([kind]) + body[place + 1 :])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    """Bytes that are no stream."""
    with pytest.raises(Rejected):
        read(noise)


def test_arrow_is_not_loaded_before_it_is_needed() -> None:
    """A worker that never sees a stream never waits for it."""
    program = (
        "import sys, functions.mailbox, functions.sweep, functions.wiring\n"
        "from twin_actors.registry import load_registry\nload_registry()\nassert 'pyarrow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
