"""The wire: a TCP connection as AMQP 1.0 frames, from the headers to the close."""

import asyncio
from collections.abc import Callable
from typing import Protocol
from uuid import uuid4

from local_emulator.event_hubs import claims, codec, errors, frames
from local_emulator.event_hubs.claims import Claims
from local_emulator.event_hubs.codec import DecodeError
from local_emulator.event_hubs.errors import AmqpError
from local_emulator.event_hubs.frames import Fields
from local_emulator.event_hubs.links import Link
from local_emulator.event_hubs.session import Node, Session

IDLE_SECONDS = 120.0
_MECHANISMS = ("MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL")
_HEADER_SIZE = 8
_SASL_OK, _SASL_DENIED = 0, 1
_MIN_FRAME = 512
_WRITE_BUFFER_BYTES = 1024 * 1024


class Server(Protocol):
    """What a connection needs of the server that accepted it."""

    node: Node
    connections: set["Connection"]
    idle_seconds: float


class Connection(asyncio.Protocol):
    """One client: headers, SASL, open, sessions, heartbeats, close."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.node = server.node
        self.claims = Claims()
        self.max_frame = frames.MAX_FRAME
        self.is_paused = False
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._output: list[bytes] = []
        self._is_reading = False
        self._expects_header = True
        self._sessions: dict[int, Session] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._last_received = self._loop.time()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to watch for silence."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self._server.connections.add(self)
        self._check_idle()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        """Let go of links, timers and sessions."""
        self._release()

    def pause_writing(self) -> None:
        """Stop reading the logs for a client that does not keep up."""
        self.is_paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self.is_paused = False
        for session in self._sessions.values():
            session.pump()

    def data_received(self, data: bytes) -> None:
        """Handle all whole frames, then write all answers at once."""
        self._last_received = self._loop.time()
        self._buffer += data
        self._is_reading = True
        try:
            self._read()
        except codec.MALFORMED as error:
            self.close(AmqpError("amqp:decode-error", f"A frame cannot be decoded: {error}."))
        finally:
            self._is_reading = False
            self._flush()

    # What sessions and links call

    def write(self, data: bytes) -> None:
        """Send bytes; while reading, together with all other answers."""
        self._output.append(data)
        if not self._is_reading:
            self._flush()

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run a callback in the next turn of the event loop."""
        self._loop.call_soon(callback)

    def close(self, error: AmqpError | None = None) -> None:
        """Say goodbye and hang up."""
        if not self._transport.is_closing():
            self.write(frames.close(error))
            self._flush()
            self._transport.close()

    def abort(self) -> None:
        """Hang up without a word; nothing of this connection acts any more."""
        self._transport.abort()
        self._release()

    def detach_links(self, is_affected: Callable[[str], bool], error: Callable[[Link], AmqpError]) -> None:
        """Close the links to some resources from our side."""
        for session in tuple(self._sessions.values()):
            for link in tuple(session.links.values()):
                if link.resource is not None and is_affected(link.resource):
                    link.detach(error(link))

    def watch_expiry(self) -> None:
        """Close links when the tokens that allowed them end."""
        seconds = self.claims.next_expiry()
        self.detach_links(
            lambda resource: not self.claims.allow(resource),
            lambda link: errors.unauthorized("Listen" if link.attach.client_receives else "Send", link.attach.address),
        )
        if seconds is not None:
            self._set_timer("expiry", seconds, self.watch_expiry)

    def _release(self) -> None:
        self._server.connections.discard(self)
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    # Reading

    def _read(self) -> None:
        buffer, position = self._buffer, 0
        while not self._transport.is_closing():
            if self._expects_header:
                if len(buffer) - position < _HEADER_SIZE:
                    break
                self._on_header(bytes(buffer[position : position + _HEADER_SIZE]))
                position += _HEADER_SIZE
                continue
            if len(buffer) - position < _HEADER_SIZE:
                break
            size, offset, kind, channel = frames.FRAME_HEAD.unpack_from(buffer, position)
            if not _HEADER_SIZE <= size <= frames.MAX_FRAME or offset * 4 > size:
                raise DecodeError(f"a frame of {size} bytes")
            if len(buffer) - position < size:
                break
            frame = bytes(buffer[position : position + size])
            position += size
            if size > offset * 4:
                self._on_frame(kind, channel, frame, offset * 4)
        del buffer[:position]

    def _on_header(self, header: bytes) -> None:
        if header not in {frames.AMQP_HEADER, frames.SASL_HEADER}:
            self.write(frames.SASL_HEADER)  # AMQP: answer with a header that we do speak, and hang up
            self._flush()
            self._transport.close()
            return
        self.write(header)
        self._expects_header = False
        if header == frames.SASL_HEADER:
            self.write(frames.sasl_mechanisms(_MECHANISMS))

    def _on_frame(self, kind: int, channel: int, frame: bytes, start: int) -> None:
        code, fields, end = frames.read_performative(frame, start)
        if kind == frames.SASL_FRAME:
            self._on_sasl(code, fields)
        elif code == frames.OPEN:
            self._on_open(fields)
        elif code == frames.CLOSE:
            self.close()
        elif code == frames.BEGIN:
            self._sessions[channel] = Session(self, channel, fields)
        elif (session := self._sessions.get(channel)) is None:
            raise DecodeError(f"channel {channel} has no session")
        elif code == frames.END:
            del self._sessions[channel]
            session.close()
            self.write(frames.end(channel))
        else:
            session.on_frame(code, fields, frame[end:])

    def _on_sasl(self, code: int, fields: Fields) -> None:
        """Check what the client shows; most show nothing now and a token later."""
        if code != frames.SASL_INIT:
            raise DecodeError(f"unexpected SASL frame 0x{code:x}")
        mechanism, response = fields.text(0), fields.value(1)
        accepted = mechanism in {"ANONYMOUS", "MSSBCBS"}
        if mechanism == "PLAIN" and isinstance(response, bytes):
            accepted = response.split(b"\0")[1:] == [claims.KEY_NAME.encode(), claims.KEY.encode()]
            if accepted:
                self.claims.grant_all()
        self.write(frames.sasl_outcome(_SASL_OK if accepted else _SASL_DENIED))
        self._expects_header = True
        if not accepted:
            self._flush()
            self._transport.close()

    def _on_open(self, fields: Fields) -> None:
        peer_frame = fields.number(2)
        self.max_frame = max(min(peer_frame or frames.MAX_FRAME, frames.MAX_FRAME), _MIN_FRAME)
        self.write(frames.open_connection(f"{uuid4().hex}_G0", int(self._server.idle_seconds * 1000)))
        if peer_idle := fields.number(4):
            self._beat(peer_idle / 1000 / 2)

    # Time

    def _beat(self, interval: float) -> None:
        """Send an empty frame well within the silence that the client tolerates."""
        self.write(frames.HEARTBEAT)
        self._set_timer("heartbeat", interval, lambda: self._beat(interval))

    def _check_idle(self) -> None:
        """Hang up on a client that has been silent for longer than we said we tolerate."""
        silent = self._loop.time() - self._last_received
        allowed = self._server.idle_seconds
        if silent >= allowed:
            self.close(
                AmqpError(
                    "amqp:connection:forced",
                    f"The connection was inactive for more than the allowed {int(allowed * 1000)} milliseconds and "
                    "is closed by container 'emulator'.",
                )
            )
        else:
            self._set_timer("idle", allowed - silent, self._check_idle)

    def _set_timer(self, name: str, seconds: float, callback: Callable[[], None]) -> None:
        if name in self._timers:
            self._timers[name].cancel()
        self._timers[name] = self._loop.call_later(seconds, callback)

    def _flush(self) -> None:
        if self._output and not self._transport.is_closing():
            self._transport.write(self._output[0] if len(self._output) == 1 else b"".join(self._output))
        self._output.clear()
