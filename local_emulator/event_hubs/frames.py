"""AMQP 1.0 frames: the performatives that clients send, and the ones we send.

Python's client reads performatives by position and fails on short lists, so every field is written, absent
ones as null.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from local_emulator.event_hubs import codec
from local_emulator.event_hubs.codec import NULL, Buffer, DecodeError, Described, Value
from local_emulator.event_hubs.errors import AmqpError

AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
SASL_HEADER = b"AMQP\x03\x01\x00\x00"
HEARTBEAT = b"\x00\x00\x00\x08\x02\x00\x00\x00"
AMQP_FRAME, SASL_FRAME = 0, 1
FRAME_HEAD = struct.Struct(">IBBH")  # size, data offset in words, type, channel

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
SASL_MECHANISMS, SASL_INIT, SASL_OUTCOME = 0x40, 0x41, 0x44
SOURCE, TARGET = 0x28, 0x29
ACCEPTED, REJECTED = 0x24, 0x25

MAX_FRAME = 65536
CHANNEL_MAX = 4999
HANDLE_MAX = 255
INCOMING_WINDOW = 5000
OUTGOING_WINDOW = 65536
UNLIMITED = 2**64 - 1
_SELECTOR_CODE = 0x468C00000004
_SELECTOR_NAME = "apache.org:selector-filter:string"


class Fields:
    """The fields of a performative by position; absent ones are null, wrong types are decode errors."""

    def __init__(self, value: Value) -> None:
        if not isinstance(value, list):
            raise DecodeError("a performative is not a list")
        self._values = value

    def value(self, at: int) -> Value:
        """Return whatever is there."""
        return self._values[at] if at < len(self._values) else None

    def number(self, at: int) -> int | None:
        """Return a number or None."""
        value = self.value(at)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise DecodeError(f"field {at} of a performative is not a number")
        return value

    def required(self, at: int) -> int:
        """Return a number that must be there."""
        value = self.number(at)
        if value is None:
            raise DecodeError(f"field {at} of a performative is missing")
        return value

    def flag(self, at: int) -> bool:
        """Return a boolean, false when absent."""
        return self.value(at) is True

    def text(self, at: int) -> str:
        """Return a string or symbol, empty when absent."""
        value = self.value(at)
        return value if isinstance(value, str) else ""

    def mapping(self, at: int) -> dict[Value, Value]:
        """Return a map, empty when absent."""
        value = self.value(at)
        return value if isinstance(value, dict) else {}

    def symbols(self, at: int) -> list[str]:
        """Return one or many symbols as a list."""
        value = self.value(at)
        values = value if isinstance(value, list) else [value]
        return [each for each in values if isinstance(each, str)]


class Attach(NamedTuple):
    """A client's wish for a link."""

    name: str
    handle: int
    client_receives: bool
    settle_mode: int
    source: Fields
    target: Fields
    properties: dict[Value, Value]
    desired_capabilities: list[str]

    @property
    def address(self) -> str:
        """Whom the link is for: where the client reads from or writes to."""
        return (self.source if self.client_receives else self.target).text(0)

    @property
    def selector(self) -> str | None:
        """The filter on a source, whatever descriptor the client gave it."""
        described = self.source.mapping(7).get(_SELECTOR_NAME)
        value = described.value if isinstance(described, Described) else described
        return value if isinstance(value, str) else None


class Flow(NamedTuple):
    """A client's credit and window."""

    next_incoming_id: int | None
    incoming_window: int
    handle: int | None
    delivery_count: int | None
    link_credit: int | None
    drain: bool
    echo: bool


class Transfer(NamedTuple):
    """A message, or a piece of one."""

    handle: int
    delivery_id: int | None
    message_format: int | None
    settled: bool
    more: bool
    aborted: bool


def _terminus(value: Value) -> Fields:
    return Fields(value.value if isinstance(value, Described) else [])


def read_attach(fields: Fields) -> Attach:
    """Read an attach performative."""
    return Attach(
        name=fields.text(0),
        handle=fields.required(1),
        client_receives=fields.flag(2),
        settle_mode=2 if fields.number(3) is None else fields.required(3),
        source=_terminus(fields.value(5)),
        target=_terminus(fields.value(6)),
        properties=fields.mapping(13),
        desired_capabilities=fields.symbols(12),
    )


def read_flow(fields: Fields) -> Flow:
    """Read a flow performative."""
    return Flow(
        fields.number(0),
        fields.required(1),
        fields.number(4),
        fields.number(5),
        fields.number(6),
        fields.flag(8),
        fields.flag(9),
    )


def read_transfer(fields: Fields) -> Transfer:
    """Read a transfer performative; its payload follows it in the frame."""
    return Transfer(
        fields.required(0), fields.number(1), fields.number(3), fields.flag(4), fields.flag(5), fields.flag(9)
    )


def read_performative(frame: Buffer, position: int) -> tuple[int, Fields, int]:
    """Return a frame's performative code, its fields, and where the payload begins."""
    value, end = codec.decode(frame, position)
    if not isinstance(value, Described) or not isinstance(value.descriptor, int):
        raise DecodeError("a frame without a performative")
    return value.descriptor, Fields(value.value), end


def frame(channel: int, performative: bytes, payload: Buffer = b"", kind: int = AMQP_FRAME) -> bytes:
    """Put a performative and its payload into a frame."""
    size = FRAME_HEAD.size + len(performative) + len(payload)
    return b"".join((FRAME_HEAD.pack(size, 2, kind, channel), performative, payload))


def sasl_mechanisms(names: Sequence[str]) -> bytes:
    """Offer the mechanisms."""
    return frame(0, codec.composite(SASL_MECHANISMS, [codec.symbol_array(names)]), kind=SASL_FRAME)


def sasl_outcome(code: int) -> bytes:
    """Welcome the client, or not."""
    fields = [codec.ubyte(code), codec.binary(b"Welcome!") if code == 0 else NULL]
    return frame(0, codec.composite(SASL_OUTCOME, fields), kind=SASL_FRAME)


def open_connection(container_id: str, idle_milliseconds: int) -> bytes:
    """Open our side of the connection."""
    fields = [
        codec.string(container_id),
        NULL,
        codec.uint(MAX_FRAME),
        codec.ushort(CHANNEL_MAX),
        codec.uint(idle_milliseconds),
        *[NULL] * 5,
    ]
    return frame(0, codec.composite(OPEN, fields))


def begin(channel: int, next_outgoing_id: int) -> bytes:
    """Begin our side of a session, on the client's channel number."""
    fields = [
        codec.ushort(channel),
        codec.uint(next_outgoing_id),
        codec.uint(INCOMING_WINDOW),
        codec.uint(OUTGOING_WINDOW),
        codec.uint(HANDLE_MAX),
        *[NULL] * 3,
    ]
    return frame(channel, codec.composite(BEGIN, fields))


def _source(attach: Attach) -> bytes:
    selector = NULL
    if attach.selector is not None:
        described = b"\x00" + codec.ulong(_SELECTOR_CODE) + codec.string(attach.selector)
        selector = codec.map_of([(codec.symbol(_SELECTOR_NAME), described)])
    head = [codec.string(attach.source.text(0)), b"\x43", codec.symbol("session-end"), b"\x43", b"\x42", NULL, NULL]
    return codec.composite(SOURCE, [*head, selector, NULL, NULL, NULL])


def _target(attach: Attach) -> bytes:
    head = [codec.string(attach.target.text(0)), b"\x43", codec.symbol("session-end"), b"\x43", b"\x42"]
    return codec.composite(TARGET, [*head, NULL, NULL])


def attached(channel: int, attach: Attach, settle_mode: int, max_message_size: int, tracking_id: str) -> bytes:
    """Accept a link: the roles swapped, source and target echoed."""
    properties = [(codec.symbol("com.microsoft:tracking-id"), codec.string(tracking_id))]
    timeout = attach.properties.get("com.microsoft:timeout")
    if isinstance(timeout, int):
        properties.insert(0, (codec.symbol("com.microsoft:timeout"), codec.uint(timeout & 0xFFFFFFFF)))
    fields = [
        codec.string(attach.name),
        codec.uint(attach.handle),
        codec.boolean(not attach.client_receives),
        codec.ubyte(settle_mode),
        codec.ubyte(0),
        _source(attach),
        _target(attach),
        NULL,
        NULL,
        codec.uint(0) if attach.client_receives else NULL,
        codec.ulong(max_message_size),
        NULL,
        NULL,
        codec.map_of(properties),
    ]
    return frame(channel, codec.composite(ATTACH, fields))


def refused(channel: int, attach: Attach, error: AmqpError) -> bytes:
    """Refuse a link: an attach with neither source nor target, then a detach that says why."""
    fields = [
        codec.string(attach.name),
        codec.uint(attach.handle),
        codec.boolean(not attach.client_receives),
        codec.ubyte(attach.settle_mode),
        codec.ubyte(0),
        *[NULL] * 4,
        codec.uint(0) if attach.client_receives else NULL,
        *[NULL] * 4,
    ]
    return frame(channel, codec.composite(ATTACH, fields)) + detach(channel, attach.handle, error)


class Window(NamedTuple):
    """The session's part of a flow performative."""

    next_incoming_id: int
    next_outgoing_id: int


def flow(channel: int, window: Window, link: Sequence[bytes] = ()) -> bytes:
    """Tell credit and window; ``link`` is handle, delivery-count, link-credit, available and drain."""
    fields = [
        codec.uint(window.next_incoming_id),
        codec.uint(INCOMING_WINDOW),
        codec.uint(window.next_outgoing_id),
        codec.uint(OUTGOING_WINDOW),
        *(link or [NULL] * 5),
        b"\x42",
        NULL,
    ]
    return frame(channel, codec.composite(FLOW, fields))


def settle(channel: int, delivery_id: int, error: AmqpError | None) -> bytes:
    """Accept a client's message, or reject it."""
    outcome = codec.composite(ACCEPTED, []) if error is None else codec.composite(REJECTED, [error.encoded()])
    fields = [b"\x41", codec.uint(delivery_id), NULL, b"\x41", outcome, NULL]
    return frame(channel, codec.composite(DISPOSITION, fields))


def detach(channel: int, handle: int, error: AmqpError | None) -> bytes:
    """Close a link."""
    fields = [codec.uint(handle), b"\x41", NULL if error is None else error.encoded()]
    return frame(channel, codec.composite(DETACH, fields))


def end(channel: int) -> bytes:
    """End a session."""
    return frame(channel, codec.composite(END, [NULL]))


def close(error: AmqpError | None) -> bytes:
    """Close the connection."""
    return frame(0, codec.composite(CLOSE, [NULL if error is None else error.encoded()]))
