"""One event: from what clients send, or code publishes, to the bytes that are stored and delivered.

A message is never decoded as a whole: its sections are found by their sizes, the service's annotations are
spliced in, and everything else is stored and delivered byte for byte.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from local_emulator.event_hubs import codec
from local_emulator.event_hubs.codec import Buffer, DecodeError

BATCH_FORMAT = 0x80013700
PARTITION_KEY = "x-opt-partition-key"
# Annotations that only the service may set; whatever a client puts there is dropped.
SYSTEM_ANNOTATIONS = frozenset(
    {"x-opt-sequence-number-epoch", "x-opt-sequence-number", "x-opt-offset", "x-opt-enqueued-time"}
)

HEADER, DELIVERY_ANNOTATIONS, ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES, DATA, FOOTER = (
    *range(0x70, 0x76),
    0x78,
)
_PROPERTY_FIELDS = (
    "message-id",
    "user-id",
    "to",
    "subject",
    "reply-to",
    "correlation-id",
    "content-type",
    "content-encoding",
    "absolute-expiry-time",
    "creation-time",
    "group-id",
    "group-sequence",
    "reply-to-group-id",
)
_BINARY_PROPERTIES = frozenset({"user-id"})
_SYMBOL_PROPERTIES = frozenset({"content-type", "content-encoding"})

_ANNOTATIONS_HEAD = struct.Struct(">4sII")
_ANNOTATIONS_START = b"\x00\x53\x72\xd1"
_LONG = struct.Struct(">q")
_SEQUENCE_START = (
    codec.symbol("x-opt-sequence-number-epoch") + b"\x54\xff" + codec.symbol("x-opt-sequence-number") + b"\x81"
)
_OFFSET_START = codec.symbol("x-opt-offset") + b"\xa1"
_TIME_START = codec.symbol("x-opt-enqueued-time") + b"\x83"
_SYSTEM_ITEMS = 2 * len(SYSTEM_ANNOTATIONS)


@dataclass(frozen=True)
class HubEvent:
    """An event given to ``EventHubs.publish`` by code in the same process."""

    body: bytes
    annotations: Mapping[str, str | int | datetime] = field(default_factory=dict)
    properties: Mapping[str, str | datetime] = field(default_factory=dict)
    application_properties: Mapping[str, str] = field(default_factory=dict)


class Event(NamedTuple):
    """A message taken apart, ready to be stamped with its place in the log."""

    header: bytes  # the encoded header section, or nothing
    annotations: bytes  # the sender's annotations: encoded keys and values
    annotation_items: int
    rest: Buffer  # properties, application properties, body, footer: as sent

    def stamped(self, sequence: int, offset: int, enqueued: int) -> bytes:
        """Return the bytes every reader gets."""
        text = b"%d" % offset
        pairs = b"".join(
            (
                self.annotations,
                _SEQUENCE_START,
                _LONG.pack(sequence),
                _OFFSET_START,
                bytes((len(text),)),
                text,
                _TIME_START,
                _LONG.pack(enqueued),
            )
        )
        head = _ANNOTATIONS_HEAD.pack(_ANNOTATIONS_START, len(pairs) + 4, self.annotation_items + _SYSTEM_ITEMS)
        return b"".join((self.header, head, pairs, self.rest))


class _Annotations(NamedTuple):
    pairs: bytes
    items: int
    partition_key: str | None


_NO_ANNOTATIONS = _Annotations(b"", 0, None)


@lru_cache(maxsize=4096)
def _cleaned(encoded_map: bytes) -> _Annotations:
    """Keep what a client may annotate; senders repeat themselves, hence the cache."""
    items = codec.raw_items(encoded_map, 0)
    kept: list[bytes] = []
    partition_key = None
    for key_bytes, value_bytes in zip(items[::2], items[1::2], strict=True):
        key = codec.decode(key_bytes)[0]
        if key in SYSTEM_ANNOTATIONS:
            continue
        if key == PARTITION_KEY:
            value = codec.decode(value_bytes)[0]
            partition_key = value if isinstance(value, str) else None
        kept += (key_bytes, value_bytes)
    return _Annotations(b"".join(kept), len(kept), partition_key)


@lru_cache(maxsize=4096)
def _with_key(encoded_map: bytes, partition_key: str) -> _Annotations:
    """Give an event the partition key of its batch, unless it has one."""
    cleaned = _cleaned(encoded_map)
    if cleaned.partition_key is not None:
        return cleaned
    pair = codec.symbol(PARTITION_KEY) + codec.string(partition_key)
    return _Annotations(pair + cleaned.pairs, cleaned.items + 2, partition_key)


def section_at(data: Buffer, position: int) -> tuple[int, int, int]:
    """Return the code of the section at a position, where its value begins, and where it ends."""
    if data[position] != 0:
        raise DecodeError("a message section lacks its descriptor")
    if data[position + 1] == 0x53:
        code, start = data[position + 2], position + 3
    else:
        descriptor, start = codec.decode(data, position + 1)
        code = descriptor if isinstance(descriptor, int) else 0
    if not HEADER <= code <= FOOTER:
        raise DecodeError("unknown message section")
    return code, start, codec.skip(data, start)


_EMPTY_MAP = b"\xc1\x01\x00"


def take_apart(data: Buffer, batch_key: str | None = None) -> tuple[Event, str | None]:
    """Return one encoded message as an ``Event``, with its partition key."""
    header = b""
    encoded_map = _EMPTY_MAP
    position = rest = 0
    has_body = False
    while position < len(data):
        code, start, end = section_at(data, position)
        if code == HEADER:
            header = bytes(data[position:end])
        elif code == ANNOTATIONS:
            encoded_map = bytes(data[start:end])
        has_body = has_body or code >= DATA
        position = end
        if code <= ANNOTATIONS:
            rest = end
    if not has_body:
        raise DecodeError("the message has no body")
    annotations = _cleaned(encoded_map) if batch_key is None else _with_key(encoded_map, batch_key)
    return Event(header, annotations.pairs, annotations.items, data[rest:]), annotations.partition_key


def take_batch_apart(data: Buffer) -> tuple[list[Event], str | None]:
    """Return the events of a batch message, whose data sections each hold one encoded message."""
    view = memoryview(data)
    partition_key = None
    events: list[Event] = []
    position = 0
    while position < len(view):
        code, start, position = section_at(view, position)
        if code == ANNOTATIONS:
            partition_key = _cleaned(bytes(view[start:position])).partition_key
        elif code == DATA:
            event, own_key = take_apart(view[start + (2 if view[start] == 0xA0 else 5) : position], partition_key)
            events.append(event)
            partition_key = partition_key or own_key
    if not events:
        raise DecodeError("the batch has no events")
    return events, partition_key


def _annotation(value: str | int | datetime) -> bytes:
    if isinstance(value, str):
        return codec.string(value)
    return codec.long(value) if isinstance(value, int) else codec.timestamp(codec.to_milliseconds(value))


def _property(name: str, value: str | datetime) -> bytes:
    if isinstance(value, datetime):
        return codec.timestamp(codec.to_milliseconds(value))
    if name in _BINARY_PROPERTIES:
        return codec.binary(value.encode())
    return codec.symbol(value) if name in _SYMBOL_PROPERTIES else codec.string(value)


def encode_event(event: HubEvent, partition_key: str | None) -> Event:
    """Encode a published event once; the log stamps it."""
    if unknown := set(event.properties) - set(_PROPERTY_FIELDS):
        raise ValueError(f"not AMQP properties: {sorted(unknown)}")
    pairs = [(codec.symbol(key), _annotation(value)) for key, value in event.annotations.items()]
    encoded_map = codec.map_of(pairs)
    annotations = _cleaned(encoded_map) if partition_key is None else _with_key(encoded_map, partition_key)
    sections: list[bytes] = []
    if event.properties:
        fields = [
            _property(name, event.properties[name]) if name in event.properties else codec.NULL
            for name in _PROPERTY_FIELDS
        ]
        sections.append(codec.composite(PROPERTIES, fields))
    if event.application_properties:
        values = ((codec.string(key), codec.string(value)) for key, value in event.application_properties.items())
        sections.append(codec.described(APPLICATION_PROPERTIES, codec.map_of(values)))
    sections.append(codec.described(DATA, codec.binary(event.body)))
    return Event(b"", annotations.pairs, annotations.items, b"".join(sections))
