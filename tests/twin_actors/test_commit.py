"""Records and their frames: what is written is read, and what is damaged is found."""

import struct
import zlib

import msgspec
import pytest
import zstandard

from tests.twin_actors.world import telemetry
from twin_actors.commit import (
    HEADER_BYTES,
    MAGIC,
    MAX_FRAME_BYTES,
    Accepted,
    AcceptedFrames,
    Claim,
    Commit,
    DeadLetter,
    KeepLetter,
    Record,
    Seal,
    StrikeLetter,
    Twin,
    checksum,
    compress,
    decode,
    encode,
    payload_of,
)
from twin_actors.errors import PartitionStopped
from twin_actors.messages import Quality
from twin_actors.outputs import SendForward
from twin_actors.quality import Signal
from twin_actors.watermark import Watermark

EVENT = telemetry("pump-1", 1, message_id="m", model="dtmi:a:b;1")
LETTER = DeadLetter("0-7", "not_json", "the body is no JSON", "pump-1", EVENT)
RECORDS: list[Record] = [
    Claim("a-1", 1, "a", 2),
    Commit(
        append_id="a-2",
        epoch=1,
        watermark=Watermark(7, 1_700_000_000.5, "mailbox@2026"),
        accepted=Accepted(["pump-1"], [5], [1.5], [b"\x00{}"], [1 << 63], [(0, 0, "flow", Quality.BAD)]),
        twins=[
            Twin(twin_id="pump-1", type_name="pump", layout=1, state=b"\x80", signals={"flow": Signal(1.0, 2.0, 3.0)})
        ],
        outbox=[SendForward(1, 3, 9, EVENT), KeepLetter(2, LETTER), StrikeLetter(3, "0-2")],
        delivered=[4, 5],
        letters=[("0-7", "not_json")],
        struck=["0-2"],
        shown=[("pump-1", 4)],
        channels={1: 2},
        counts={"messages": 1},
    ),
    Commit(append_id="a-3", epoch=1, watermark=None),
    Seal("a-4", 1, "segments/0/00000001-00000001"),
]


def journal(records: list[Record], start: int = 0) -> list[bytes]:
    """Return the frames of records."""
    frames: list[bytes] = []
    for record in records:
        frames.append(encode(record, start))
        start = checksum(frames[-1])
    return frames


def read(data: bytes, start: int = 0) -> list[Record]:
    """Return the records in bytes."""
    return [record for record, _, _ in decode(data, start, "segment")]


def test_what_is_written_is_read() -> None:
    """Every field of every record, where it ends and its checksum."""
    frames = journal(RECORDS)
    found = list(decode(b"".join(frames), 0, "segment"))
    assert [record for record, _, _ in found] == RECORDS
    assert [end for _, end, _ in found] == [sum(map(len, frames[: n + 1])) for n in range(len(frames))]
    assert [sum_ for _, _, sum_ in found] == [checksum(frame) for frame in frames]


def test_the_checksum_goes_on_in_the_next_segment() -> None:
    """A segment that follows another one is not read after a third."""
    first, second = journal(RECORDS[:2])
    assert read(second, checksum(first)) == [RECORDS[1]]
    with pytest.raises(PartitionStopped):
        read(second, 0)


def test_an_empty_segment_has_no_records() -> None:
    """It is as it was made."""
    assert read(b"") == []


def test_every_torn_end_is_found() -> None:
    """Wherever the last frame breaks off; the frames before it are read."""
    frames = journal(RECORDS)
    whole = b"".join(frames)
    for cut in range(1, len(frames[-1])):
        found = []
        with pytest.raises(PartitionStopped, match="torn"):
            found.extend(record for record, _, _ in decode(whole[:-cut], 0, "segment"))
    assert read(b"".join(frames[:-1])) == RECORDS[:-1]


def test_every_changed_byte_is_found() -> None:
    """Any bit, anywhere."""
    whole = b"".join(journal(RECORDS))
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(PartitionStopped):
            read(bytes(damaged))


def test_frames_out_of_place_are_found() -> None:
    """Left out, repeated or swapped, though each is whole."""
    a, b, c, d = journal(RECORDS)
    for wrong in (a + c + d, b + c + d, a + a + b, a + c + b + d, a + b + b + c):
        with pytest.raises(PartitionStopped, match="damaged or out of place"):
            read(wrong)


def test_a_newer_format_is_said_to_be_newer() -> None:
    """A rolled-back app does not read what it does not know."""
    frame = encode(RECORDS[0], 0)
    with pytest.raises(PartitionStopped, match="newer version"):
        read(b"TWR9" + frame[4:])


def test_a_whole_frame_with_unknown_content_stops_too() -> None:
    """A record of a kind that this app does not know."""
    payload = msgspec.msgpack.encode({"type": "compact", "append_id": "x"})
    with pytest.raises(PartitionStopped, match="cannot be read"):
        read(framed_as(payload))


def large(**more: object) -> Commit:
    """A record of many events that say nearly the same."""
    accepted = Accepted(["pump-1"] * 500, list(range(500)), [1.0] * 500, [b'{"flow": 80.25}'] * 500, [0] * 500, **more)  # type: ignore[arg-type]
    return Commit(append_id="a-1", epoch=1, watermark=None, accepted=accepted)


def test_a_large_record_is_compressed() -> None:
    """And read like any other; one of frames is left as it is."""
    record, of_frames = large(), large(frames=[AcceptedFrames(0, [1.0], [b""])])
    small, whole = journal([record, of_frames])
    assert len(small) < len(payload_of(record)) / 5
    assert len(whole) == HEADER_BYTES + len(payload_of(of_frames))
    assert read(small + whole) == [record, of_frames]


def framed_as(payload: bytes) -> bytes:
    """Return a frame of some payload, the first of a segment."""
    return struct.pack("<4sII", MAGIC, len(payload), zlib.crc32(payload, zlib.crc32(MAGIC))) + payload


@pytest.mark.parametrize(
    "payload",
    [
        compress(bytes(MAX_FRAME_BYTES + 1)),
        compress(payload_of(large()))[:-5],
        zstandard.FRAME_HEADER + b"nonsense",
        zstandard.ZstdCompressor(write_content_size=False).compress(payload_of(large())),
    ],
    ids=["too large", "cut", "no zstd", "of unknown size"],
)
def test_what_does_not_unfold_stops(payload: bytes) -> None:
    """A few bytes may claim to be any number; nothing is allocated for more than a record has."""
    with pytest.raises(PartitionStopped, match="cannot be read"):
        read(framed_as(payload))
