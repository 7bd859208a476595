"""The records of a journal, and their bytes.

A record is one append: a frame of magic, length and checksum around a MessagePack payload. The
checksum of each frame covers that of the frame before it, so a frame that is missing, repeated or
out of place is found as surely as one that is damaged. What is kept and how it is written down are one page: who adds
to a record decides about its format.

================  =========================================================================
Claim             an owner takes the partition; every later record carries its epoch
Commit            what a batch changed, all of it or nothing
Intent            what is tried next, because owners died of something here
Seal              the segment ends here; the next one is named
Rebase            an operator says where in the mailbox the partition goes on
Repair            an operator lets the journal go on before a damage, in a new segment
================  =========================================================================
"""

import struct
import zlib
from collections.abc import Iterable, Iterator

import msgspec
import zstandard

from twin_actors.errors import PartitionStopped
from twin_actors.frames import SignalEpoch
from twin_actors.maintenance import Maintenance
from twin_actors.messages import Event, Quality
from twin_actors.outputs import Output
from twin_actors.quality import Signal, Signals
from twin_actors.watermark import Watermark

MAGIC = b"TWR3"
"""Marks a frame and names the version of its format, which rises whenever an older app would overlook something."""

READABLE = frozenset({b"TWR1", b"TWR2", MAGIC})
"""The formats that are read: all that were ever released."""

_HEADER = struct.Struct("<4sII")
HEADER_BYTES = _HEADER.size
MAX_FRAME_BYTES = 4 * 1024 * 1024
"""Every storage service takes an append of this size; nor has a record more before it is compressed."""

COMPRESSED_BYTES = 512
"""From which size on a record is compressed."""

PART_BYTES = 1024 * 1024
"""How much of twins one record should write where others can follow, so that all else it says fits beside them."""


class Twin(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """A twin as it is kept: its own state, encoded, and what the runtime knows of it.

    Attributes
    ----------
    twin_id, type_name : str
    layout : int
        The version of the layout of `state`.
    state : bytes
        The state of its type, MessagePack.
    state_version : int
        Rises by one with each commit that changes anything here.
    reading_count : int
        Accepted readings folded since creation.
    resent_count : int
        Messages that the device sent again under the same id.
    last_reading_time : float
        The newest event time, seconds since 1970; 0 before the first reading.
    last_seen_time : float
        When the cloud last heard of its device.
    connection : str
        online, late, offline, or unknown before the first message.
    quality : Quality
        Of the newest reading as a whole.
    signals : dict or Signals
        What each channel said last.
    is_announced : bool
        Whether its device announced its model, so that the runtime may create it in the graph.
    maintenance : Maintenance
        What its rules, its RUL model and people have said.
    timers : dict
        Those that its turns have set: name → event time at which it is due.
    last_told_time : float
        When the mailbox took the newest message of another twin.
    is_unmet : bool
        Whether the graph was away when its device announced it, and has not been asked about it since.
    signal_epoch : SignalEpoch or None
        Which rows the statistics of its signals are made of; None where it has heard no frame.
    turned : int
        The state version that its last turn made: what is younger was made by apps and sweeps.
    """

    twin_id: str
    type_name: str
    layout: int
    state: bytes
    state_version: int = 0
    reading_count: int = 0
    resent_count: int = 0
    last_reading_time: float = 0.0
    last_seen_time: float = 0.0
    connection: str = "unknown"
    quality: Quality = Quality.GOOD
    signals: dict[str, Signal] | Signals = {}
    is_announced: bool = False
    maintenance: Maintenance = Maintenance()
    timers: dict[str, float] = {}
    last_told_time: float = 0.0
    is_unmet: bool = False
    signal_epoch: SignalEpoch | None = None
    turned: int = 0

    def event_time(self, now: float) -> float:
        """Return its event time at a time of the cloud: it goes on while nothing is heard, by the cloud's clock."""
        return self.last_reading_time + max(0.0, now - self.last_seen_time)

    @property
    def last_heard_time(self) -> float:
        """The event time of the newest reading; for a twin without a device, the time of what it was told."""
        return self.last_reading_time or self.last_told_time


class AcceptedFrames(msgspec.Struct, frozen=True, array_like=True):
    """What was thought of a message of frames: with its body, all that the statistics are rebuilt from.

    Attributes
    ----------
    index : int
        Of the message in its record.
    times : list of float
        The event time that each row was given.
    quality : list of bytes
        Of each row's values, packed; empty where all are good.
    """

    index: int
    times: list[float]
    quality: list[bytes]


class Accepted(msgspec.Struct, frozen=True, array_like=True):
    """The messages a commit folded, by column: the source of history.

    Attributes
    ----------
    twin_ids, sequence_numbers, hub_times, bodies
        One entry a message; the body is what the device sent, byte for byte.
    message_keys : list of int
        A 64-bit hash of the message id, 0 where there was none.
    flags : list
        (index of the message, index of the row, channel, quality) of everything not good.
    told : list of int
        Indices of the messages that are no readings: what other twins told (`telling.Telling`).
    frames : list of AcceptedFrames
        One entry a message of frames.
    """

    twin_ids: list[str] = []
    sequence_numbers: list[int] = []
    hub_times: list[float] = []
    bodies: list[bytes] = []
    message_keys: list[int] = []
    flags: list[tuple[int, int, str, Quality]] = []
    told: list[int] = []
    frames: list[AcceptedFrames] = []


class DeadLetter(msgspec.Struct, frozen=True):
    """A message given up, with its reason.

    Attributes
    ----------
    letter_id : str
        ``partition-sequence number``.
    reason : str
        A short name of the cause.
    detail : str
        What is wrong, and what to do.
    twin_id : str
        The twin it was for, empty where that is not known.
    event : Event
        All that arrived.
    """

    letter_id: str
    reason: str
    detail: str
    twin_id: str
    event: Event


class KeepLetter(msgspec.Struct, frozen=True, tag="keep"):
    """Store the body of a dead letter where operators find it."""

    number: int
    letter: DeadLetter


class StrikeLetter(msgspec.Struct, frozen=True, tag="strike"):
    """Delete the body of a dead letter that has been replayed."""

    number: int
    letter_id: str


type OutboxEntry = KeepLetter | StrikeLetter | Output


class Deleted(msgspec.Struct, frozen=True, array_like=True):
    """A twin was deleted by an operation, at its last version and its last number of alerts, orders and operations.

    Both are 0 where there was no such twin.
    """

    twin_id: str
    operation_id: str
    state_version: int
    number: int = 0


class Claim(msgspec.Struct, frozen=True, tag="claim"):
    """An owner takes the partition."""

    append_id: str
    epoch: int
    owner: str
    fenced: int
    """How often this worker was fenced on this partition since its last claim."""
    survived: int = 0
    """The epoch of this worker's last claim, if it has lived through what ended that; else 0."""


class Intent(msgspec.Struct, frozen=True, tag="intent"):
    """An owner is about to fold the event of this sequence number, or to sweep the twin of this id, and nothing else.

    It is written only while a shard is careful (`Caution`).
    """

    append_id: str
    epoch: int
    subject: int | str
    attempt: int


class Seal(msgspec.Struct, frozen=True, tag="seal"):
    """The segment ends; nothing follows."""

    append_id: str
    epoch: int
    next_segment: str


class Commit(msgspec.Struct, frozen=True, tag="commit", kw_only=True):
    """What a batch changed.

    Attributes
    ----------
    append_id : str
        Unique to this append.
    epoch : int
        The owner's.
    watermark : Watermark
        After this batch.
    accepted : Accepted
        The readings folded.
    twins : list of Twin
        Every twin that changed, as it is now.
    outbox : list of OutboxEntry
        Outputs to deliver from now on.
    delivered : list of int
        Outbox entries known delivered.
    letters : list
        (letter id, reason) of new dead letters.
    struck : list of str
        Dead letters that were replayed.
    shown : list
        (twin id, state version) that the graph is known to show.
    channels : dict
        Source partition → number of the last forwarded event applied.
    swept : str or None
        The twin at which a sweep of the shard goes on; empty where it is through, None where none was made.
    cooled : list of str
        Twins of which nothing is expected: they are kept as bytes from now on.
    deleted : list of Deleted
        Twins that are forgotten, after what else the record says of them.
    counts : dict
        What this commit adds to the partition's totals.
    left_out : list of str
        Twins that kill whoever sweeps them: no sweep looks at them any more.
    readmitted : list of str
        Of these, those that an operator gives another try.
    open_channels : list of int
        Partitions whose next forward is taken whatever its number: those before it may be among the events lost.
    """

    append_id: str
    epoch: int
    watermark: Watermark | None
    accepted: Accepted = Accepted()
    twins: list[Twin] = []
    outbox: list[OutboxEntry] = []
    delivered: list[int] = []
    letters: list[tuple[str, str]] = []
    struck: list[str] = []
    shown: list[tuple[str, int]] = []
    channels: dict[int, int] = {}
    swept: str | None = None
    cooled: list[str] = []
    deleted: list[Deleted] = []
    counts: dict[str, int] = {}
    left_out: list[str] = []
    readmitted: list[str] = []
    open_channels: list[int] = []


class Rebase(msgspec.Struct, frozen=True, tag="rebase", kw_only=True):
    """An operator says where in the mailbox a partition goes on.

    Attributes
    ----------
    append_id : str
    epoch : int
    operator, reason : str
        Who says so, and why.
    watermark : Watermark
        The next event is the one to fold.
    is_renumbered : bool
        Whether the numbers of events begin anew, so that one may come a second time for another event.
    open_channels : list of int
        Partitions whose next forward is taken whatever its number: those before it may have gone with the old hub.
    counts : dict
        What this adds to the partition's totals.
    """

    append_id: str
    epoch: int
    operator: str
    reason: str
    watermark: Watermark
    is_renumbered: bool
    open_channels: list[int]
    counts: dict[str, int]


class Repair(msgspec.Struct, frozen=True, tag="repair", kw_only=True):
    """An operator lets the journal go on here, because what follows a place in it is damaged: the first of a segment.

    What the damage took may have been sent. So that nothing that goes out from now on is taken for it, all numbers
    that receivers compare begin beyond those that it may have used.

    Attributes
    ----------
    append_id : str
    epoch : int
        Above all that the damage may have taken.
    operator, reason : str
        Who says so, and why.
    follows : str
        The segment in which the last whole record stands, or ought to stand.
    position : int
        Where that record ends.
    given_up : list of str
        Segments and snapshots that are damaged or follow a damage: kept, for whoever wants to look.
    jump : int
        Added to the numbers of outputs and to the state versions of twins.
    channels : list of int
        Partitions to which and from which channels are begun anew.
    """

    append_id: str
    epoch: int
    operator: str
    reason: str
    follows: str
    position: int
    given_up: list[str]
    jump: int
    channels: list[int]


type Record = Claim | Commit | Intent | Seal | Rebase | Repair

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Claim | Commit | Intent | Seal | Rebase | Repair)


def encode(record: Record, previous_checksum: int) -> bytes:
    """Return the frame of a record that follows a frame with the given checksum."""
    return framed(record, payload_of(record), previous_checksum)


def payload_of(record: Record) -> bytes:
    """Return a record as MessagePack."""
    return _encoder.encode(record)


def framed(record: Record, payload: bytes, previous_checksum: int) -> bytes:
    """Return the frame of a record whose payload this is, as `encode` does; large ones are compressed.

    Not those of frames: float32 of thousands of sensors takes longer to compress than it saves.
    """
    if len(payload) >= COMPRESSED_BYTES and not (isinstance(record, Commit) and record.accepted.frames):
        payload = compress(payload)
    return _HEADER.pack(MAGIC, len(payload), zlib.crc32(payload, _seed(MAGIC, previous_checksum))) + payload


def compress(data: bytes) -> bytes:
    """Return data that `decompress` takes."""
    return _compressor.compress(data)


def decompress(data: bytes | memoryview, most: int) -> bytes | memoryview:
    """Return what was compressed, and everything else as it is.

    Raises
    ------
    ValueError
        It is damaged, or would have more bytes than `most`.
    """
    if data[: len(_COMPRESSED)] != _COMPRESSED:
        return data
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= most:
            raise ValueError(f"it would have {size} bytes, at most {most} are read")
        return _decompressor.decompress(data)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error


_COMPRESSED = zstandard.FRAME_HEADER
_compressor = zstandard.ZstdCompressor(level=-3)  # half the time of 1 on numbers of sensors, and a sixth more bytes
_decompressor = zstandard.ZstdDecompressor()


def _seed(magic: bytes, previous_checksum: int) -> int:
    """Return what the checksum of a frame begins with: the frame before, and since format 3 the name of its format."""
    return previous_checksum if magic in {b"TWR1", b"TWR2"} else zlib.crc32(magic, previous_checksum)


def size_of(twin: Twin) -> int:
    """Return how many bytes a twin takes in a record."""
    return len(_encoder.encode(twin))


def in_parts(twins: Iterable[Twin]) -> Iterator[list[Twin]]:
    """Part twins into as many as one record should write; none is asked for before its part is."""
    part: list[Twin] = []
    size = 0
    for twin in twins:
        part.append(twin)
        size += size_of(twin)
        if size >= PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def checksum(frame: bytes) -> int:
    """Return the checksum that the next frame builds on."""
    return int(_HEADER.unpack_from(frame)[2])


def last_checksum(data: bytes) -> int:
    """Return the checksum of the last of some frames, which are only counted off; 0 where that does not come out."""
    at, found = 0, 0
    while at < len(data):
        try:
            end, found, _ = _frame(data, at, "")
        except PartitionStopped:
            return 0
        at = end
    return found


class NotUnderstood(PartitionStopped):
    """A record is whole, and of another version of the app."""


def decode(data: bytes, previous_checksum: int | None, place: str, start: int = 0) -> Iterator[tuple[Record, int, int]]:
    """Read the frames of a segment.

    Parameters
    ----------
    data
        Bytes from the start of a frame on.
    previous_checksum
        Of the frame before; None where that is not known, and the first frame is taken as it is.
    place, start
        Where the bytes come from, for errors.

    Yields
    ------
    Record
    int
        Where the frame ends in `data`.
    int
        Its checksum.

    Raises
    ------
    PartitionStopped
        A frame is damaged, incomplete or out of place.
    NotUnderstood
    """
    at = 0
    while at < len(data):
        where = f"{place}: the record at byte {start + at}"
        end, expected, payload = _frame(data, at, where)
        seed = None if previous_checksum is None else _seed(data[at : at + 4], previous_checksum)
        if seed is not None and zlib.crc32(payload, seed) != expected:
            raise PartitionStopped(f"{where} is damaged or out of place (checksum)")
        try:
            record = _decoder.decode(decompress(payload, MAX_FRAME_BYTES))
        except (msgspec.DecodeError, ValueError) as error:
            raise NotUnderstood(f"{where} cannot be read: {error}") from error
        previous_checksum = expected
        at = end
        yield record, end, expected


def _frame(data: bytes, at: int, where: str) -> tuple[int, int, memoryview]:
    if len(data) - at < _HEADER.size:
        raise PartitionStopped(f"{where} is torn")
    magic, length, expected = _HEADER.unpack_from(data, at)
    if magic not in READABLE:
        if magic[:3] == MAGIC[:3] and magic > MAGIC:
            raise NotUnderstood(f"{where} has a format above {MAGIC.decode()}: deploy the newer version that wrote it")
        raise PartitionStopped(f"{where} is damaged: it begins with no format of ours")
    end = at + _HEADER.size + length
    if end > len(data):
        raise PartitionStopped(f"{where} is torn")
    return end, expected, memoryview(data)[at + _HEADER.size : end]
