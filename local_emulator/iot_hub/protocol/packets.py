"""MQTT 3.1.1 packets: bytes to structs and back."""

import struct
from collections.abc import Callable

import msgspec

from local_emulator.iot_hub.errors import ConnectReturnCode, ProtocolViolation

# Section 2.2.3: seven bits a byte, at most four bytes.
MAX_LENGTH_BYTES = 4


class Publish(msgspec.Struct, frozen=True):
    """Section 3.3; the packet id is 0 for QoS 0."""

    topic: str
    payload: bytes
    qos: int = 0
    packet_id: int = 0
    is_retained: bool = False
    is_duplicate: bool = False


class Connect(msgspec.Struct, frozen=True):
    """Section 3.1."""

    protocol_name: str
    protocol_level: int
    client_id: str
    keep_alive_seconds: int
    is_clean_session: bool
    username: str | None = None
    password: bytes | None = None
    will: Publish | None = None


class Subscribe(msgspec.Struct, frozen=True):
    """Section 3.8: filters with the requested QoS."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]


class Unsubscribe(msgspec.Struct, frozen=True):
    """Section 3.10."""

    packet_id: int
    filters: tuple[str, ...]


class PublishAcknowledgement(msgspec.Struct, frozen=True):
    """Section 3.4."""

    packet_id: int


class PingRequest(msgspec.Struct, frozen=True):
    """Section 3.12."""


class Disconnect(msgspec.Struct, frozen=True):
    """Section 3.14."""


Packet = Connect | Publish | Subscribe | Unsubscribe | PublishAcknowledgement | PingRequest | Disconnect

CONNECT_HEADER = b"\x10"
PING_RESPONSE = b"\xd0\x00"


def take_packets(buffer: bytearray, size_limit: int) -> list[Packet]:
    """Remove all complete packets from a buffer; more bytes than the limit in one packet is a violation."""
    packets: list[Packet] = []
    start = 0
    while (header := _fixed_header(buffer, start)) is not None:
        body_start, length = header
        if length > size_limit:
            raise ProtocolViolation(f"a packet of {length} bytes, at most {size_limit} are taken")
        if body_start + length > len(buffer):
            break
        packets.append(_parse(buffer[start], bytes(buffer[body_start : body_start + length])))
        start = body_start + length
    del buffer[:start]
    return packets


def _fixed_header(buffer: bytearray, start: int) -> tuple[int, int] | None:
    """Where the body starts and how long it is; None while bytes are missing."""
    length = 0
    for position in range(MAX_LENGTH_BYTES):
        index = start + 1 + position
        if index >= len(buffer):
            return None
        length |= (buffer[index] & 0x7F) << (7 * position)
        if not buffer[index] & 0x80:
            return index + 1, length
    raise ProtocolViolation("a packet length of more than four bytes")


class _Reader:
    """Reads the fields of one packet in turn."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._body):
            raise ProtocolViolation("a packet ends before its fields do")
        taken = self._body[self._at : end]
        self._at = end
        return taken

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        return int.from_bytes(self.take(2))

    def binary(self) -> bytes:
        return self.take(self.number())

    def text(self) -> str:
        try:
            value = self.binary().decode()
        except UnicodeDecodeError:
            raise ProtocolViolation("a text field is not UTF-8") from None
        if "\0" in value:
            raise ProtocolViolation("a text field contains a null character")
        return value

    def rest(self) -> bytes:
        return self.take(len(self._body) - self._at)

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._body)


def _parse_publish(flags: int, reader: _Reader) -> Publish:
    qos = flags >> 1 & 3
    topic = reader.text()
    packet_id = reader.number() if qos else 0
    if qos and not packet_id:
        raise ProtocolViolation("a packet id of 0")
    return Publish(topic, reader.rest(), qos, packet_id, bool(flags & 1), bool(flags & 8))


def _parse_connect(reader: _Reader) -> Connect:
    name, level, flags, keep_alive = reader.text(), reader.byte(), reader.byte(), reader.number()
    client_id = reader.text()
    will = None
    if flags & 0x04:
        topic, payload = reader.text(), reader.binary()
        will = Publish(topic, payload, qos=flags >> 3 & 3, is_retained=bool(flags & 0x20))
    return Connect(
        protocol_name=name,
        protocol_level=level,
        client_id=client_id,
        keep_alive_seconds=keep_alive,
        is_clean_session=bool(flags & 0x02),
        will=will,
        username=reader.text() if flags & 0x80 else None,
        password=reader.binary() if flags & 0x40 else None,
    )


def _parse_subscribe(reader: _Reader) -> Subscribe:
    packet_id = reader.number()
    filters = []
    while not reader.is_at_end:
        filters.append((reader.text(), reader.byte()))
    if not filters:
        raise ProtocolViolation("SUBSCRIBE without a filter")
    return Subscribe(packet_id, tuple(filters))


def _parse_unsubscribe(reader: _Reader) -> Unsubscribe:
    packet_id = reader.number()
    filters = []
    while not reader.is_at_end:
        filters.append(reader.text())
    return Unsubscribe(packet_id, tuple(filters))


# By packet type and the flags that the standard prescribes for it.
_PARSERS: dict[tuple[int, int], Callable[[_Reader], Packet]] = {
    (1, 0): _parse_connect,
    (4, 0): lambda reader: PublishAcknowledgement(reader.number()),
    (8, 2): _parse_subscribe,
    (10, 2): _parse_unsubscribe,
    (12, 0): lambda _: PingRequest(),
    (14, 0): lambda _: Disconnect(),
}


def _parse(first: int, body: bytes) -> Packet:
    kind, flags = first >> 4, first & 0x0F
    reader = _Reader(body)
    if kind == 3:
        return _parse_publish(flags, reader)
    parser = _PARSERS.get((kind, flags))
    if parser is None:
        raise ProtocolViolation(f"a packet of type {kind} with flags {flags} from a device")
    return parser(reader)


def connect_acknowledgement(code: ConnectReturnCode, *, is_session_present: bool = False) -> bytes:
    """Section 3.2."""
    return bytes((0x20, 2, is_session_present, code))


def publish_acknowledgement(packet_id: int) -> bytes:
    """Section 3.4."""
    return struct.pack("!BBH", 0x40, 2, packet_id)


def subscribe_acknowledgement(packet_id: int, granted: list[int]) -> bytes:
    """Section 3.9; 0x80 refuses a filter."""
    return _with_header(0x90, struct.pack("!H", packet_id) + bytes(granted))


def unsubscribe_acknowledgement(packet_id: int) -> bytes:
    """Section 3.11."""
    return struct.pack("!BBH", 0xB0, 2, packet_id)


def publish(message: Publish) -> bytes:
    """Section 3.3."""
    topic = message.topic.encode()
    identifier = struct.pack("!H", message.packet_id) if message.qos else b""
    first = 0x30 | message.is_duplicate << 3 | message.qos << 1 | message.is_retained
    return _with_header(first, struct.pack("!H", len(topic)) + topic + identifier + message.payload)


def _with_header(first: int, body: bytes) -> bytes:
    header = bytearray((first,))
    length = len(body)
    while length > 0x7F:
        header.append(length & 0x7F | 0x80)
        length >>= 7
    header.append(length)
    return bytes(header) + body
