"""Requests to the service's own nodes, ``$cbs`` and ``$management``, and the replies to them."""

from collections.abc import Sequence
from typing import NamedTuple

from local_emulator.event_hubs import codec
from local_emulator.event_hubs.codec import Buffer, DecodeError, Value
from local_emulator.event_hubs.message import APPLICATION_PROPERTIES, PROPERTIES, section_at

_VALUE = 0x77
_MESSAGE_ID, _REPLY_TO = 0, 4
_FIELDS_TO_CORRELATION_ID = 5
_ALL_FIELDS = 13


class Request(NamedTuple):
    """What a client wants."""

    message_id: bytes  # as encoded: it goes back unchanged
    reply_to: str
    arguments: dict[Value, Value]
    value: Value

    def text(self, name: str) -> str:
        """Return an argument, empty when absent."""
        value = self.arguments.get(name)
        return value if isinstance(value, str) else ""


class Reply(NamedTuple):
    """What the client gets: a status, and the body of a message."""

    status: int
    description: str
    body: bytes = codec.NULL
    condition: str = ""


def read_request(message: Buffer) -> Request:
    """Read a request message."""
    message_id, reply_to, arguments, value = codec.NULL, "", codec.decode(b"\xc1\x01\x00")[0], None
    position = 0
    while position < len(message):
        code, start, position = section_at(message, position)
        if code == PROPERTIES:
            items = codec.raw_items(message, start)
            message_id = items[_MESSAGE_ID] if items else codec.NULL
            decoded = codec.decode(items[_REPLY_TO])[0] if len(items) > _REPLY_TO else None
            reply_to = decoded if isinstance(decoded, str) else ""
        elif code == APPLICATION_PROPERTIES:
            arguments = codec.decode(message, start)[0]
        elif code == _VALUE:
            value = codec.decode(message, start)[0]
    if not isinstance(arguments, dict):
        raise DecodeError("application properties are not a map")
    return Request(message_id, reply_to, arguments, value)


def encode_reply(request: Request, reply: Reply) -> bytes:
    """Return the reply message, correlated with its request."""
    fields = [codec.NULL] * _FIELDS_TO_CORRELATION_ID + [request.message_id]
    fields += [codec.NULL] * (_ALL_FIELDS - len(fields))
    pairs = [
        (codec.string("operation"), codec.string(request.text("operation"))),
        (codec.string("status-code"), codec.integer(reply.status)),
        (codec.string("status-description"), codec.string(reply.description)),
    ]
    if reply.condition:
        pairs.append((codec.string("error-condition"), codec.symbol(reply.condition)))
    return b"".join(
        (
            codec.composite(PROPERTIES, fields),
            codec.described(APPLICATION_PROPERTIES, codec.map_of(pairs)),
            codec.described(_VALUE, reply.body),
        )
    )


def map_body(pairs: Sequence[tuple[str, bytes]]) -> bytes:
    """Return a map with string keys."""
    return codec.map_of((codec.string(key), value) for key, value in pairs)
