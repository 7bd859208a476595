"""Links: where clients send to us, where we answer, and where consumers read.

A link knows credit, delivery counts and fragments. What a message means is the handlers' business.
"""

import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from local_emulator.event_hubs import codec, errors, frames
from local_emulator.event_hubs.errors import AmqpError
from local_emulator.event_hubs.frames import Attach, Flow, Transfer

if TYPE_CHECKING:
    from local_emulator.event_hubs.session import Session

type AfterSettling = Callable[[], None] | None
type OnMessage = Callable[[int, bytes], AfterSettling]

SETTLED = 1
_ID_MASK = 0xFFFFFFFF


class Link:
    """What the links have in common: their place in a session and how they end."""

    settle_mode = 0
    max_message_size = frames.UNLIMITED

    def __init__(self, session: "Session", attach: Attach, resource: str | None) -> None:
        self.session = session
        self.attach = attach
        self.handle = attach.handle
        self.resource = resource  # the path that a token must be valid for; None for the service's own nodes

    def opened(self) -> None:
        """Act once the client has been told that the link stands."""

    def closed(self) -> None:
        """Let go of whatever the link holds; called once."""

    def on_flow(self, flow: Flow) -> None:
        """Take the client's credit."""

    def pump(self) -> None:
        """Send what can be sent."""

    def detach(self, error: AmqpError) -> None:
        """Close the link from our side, saying why."""
        self.session.drop(self)
        self.session.write(frames.detach(self.session.channel, self.handle, error))


class IncomingLink(Link):
    """A client sends on it. Messages may come in fragments; each is settled as accepted or rejected."""

    def __init__(
        self, session: "Session", attach: Attach, resource: str | None, credit: int, on_message: OnMessage
    ) -> None:
        super().__init__(session, attach, resource)
        self.settle_mode = attach.settle_mode
        self._granted = credit
        self._credit = 0
        self._delivery_count = 0
        self._on_message = on_message
        self._first: Transfer | None = None
        self._fragments: list[bytes] = []
        self._size = 0

    def opened(self) -> None:
        """Grant the first credit."""
        self._grant()

    def on_flow(self, flow: Flow) -> None:
        """Answer a client that asks for the state of the link."""
        if flow.echo:
            self._grant()

    def on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        """Collect a fragment; hand over the message when it is whole."""
        first = self._first = self._first or transfer
        if transfer.aborted:
            self._reset()
            return
        self._size += len(payload)
        if self._size <= self.max_message_size:
            self._fragments.append(payload)
        if transfer.more:
            return
        message, size = b"".join(self._fragments), self._size
        self._reset()
        self._deliver(first, message, size)
        self._credit -= 1
        self._delivery_count += 1
        if self._credit <= self._granted // 2:
            self._grant()

    def _deliver(self, first: Transfer, message: bytes, size: int) -> None:
        delivery_id = first.delivery_id or 0
        error: AmqpError | None = None
        after: AfterSettling = None
        try:
            if size > self.max_message_size:
                raise errors.message_too_large(delivery_id, size, self.max_message_size)
            after = self._on_message(first.message_format or 0, message)
        except AmqpError as refusal:
            error = refusal
        except codec.MALFORMED as malformed:
            error = errors.malformed_message(str(malformed))
        if not first.settled:
            self.session.write(frames.settle(self.session.channel, delivery_id, error))
        if after is not None:
            after()  # a reply comes behind the acknowledgement of its request

    def _reset(self) -> None:
        self._first, self._fragments, self._size = None, [], 0

    def _grant(self) -> None:
        self._credit = self._granted
        link = [
            codec.uint(self.handle),
            codec.uint(self._delivery_count),
            codec.uint(self._credit),
            codec.NULL,
            b"\x42",
        ]
        self.session.write(frames.flow(self.session.channel, self.session.window, link))


class OutgoingLink(Link):
    """We send on it, as far as the client's credit and window go."""

    tag = b"\x01\x00\x00\x00"

    def __init__(self, session: "Session", attach: Attach, resource: str | None) -> None:
        super().__init__(session, attach, resource)
        self.credit = 0
        self._delivery_count = 0
        self._unsent: deque[bytes] = deque()  # frames of a message that the session's window cut in two
        self._waiting: deque[bytes] = deque()
        fields = [
            codec.uint(self.handle),
            b"\x70" + b"\x00" * 4,
            codec.binary(self.tag),
            b"\x43",
            codec.boolean(self.settle_mode == SETTLED),
        ]
        # Everything of a transfer is constant but the delivery id and the flag "more": packed, not encoded.
        start = len(fields[0]) + 6  # behind descriptor, list head and handle: the delivery id's constructor
        whole = codec.composite(frames.TRANSFER, [*fields, b"\x42", *[codec.NULL] * 4, b"\x41"])
        self._before_id, self._after_id = whole[: start + 1], whole[start + 5 :]
        self._after_id_more = self._after_id.replace(b"\x42\x40", b"\x41\x40", 1)
        self._transfer = struct.Struct(f">IBBH{len(self._before_id)}sI{len(self._after_id)}s")

    def send(self, message: bytes) -> None:
        """Send a message, now or when there is credit."""
        self._waiting.append(message)
        self.pump()

    def on_flow(self, flow: Flow) -> None:
        """Take new credit and go on sending."""
        if flow.link_credit is not None:
            self.credit = max((flow.delivery_count or 0) + flow.link_credit - self._delivery_count, 0)
        self.pump()
        if flow.drain:
            self._delivery_count += self.credit
            self.credit = 0
        if flow.drain or flow.echo:
            link = [codec.uint(self.handle), codec.uint(self._delivery_count), codec.uint(self.credit), codec.NULL]
            drain = codec.boolean(flow.drain)
            self.session.write(frames.flow(self.session.channel, self.session.window, [*link, drain]))

    def pump(self) -> None:
        """Send what waits."""
        while self._waiting and self.credit and self.session.remote_window > 0 and not self._unsent:
            self.session.write(b"".join(self.transfer_frames(self._waiting.popleft())))
        self.flush_unsent()

    def flush_unsent(self) -> bool:
        """Send the rest of a cut message; says whether the way is free for the next one."""
        while self._unsent and self.session.remote_window > 0:
            self.session.count_sent(1)
            self.session.write(self._unsent.popleft())
        return not self._unsent

    def transfer_frames(self, *parts: bytes | memoryview) -> list[bytes | memoryview]:
        """Return one message as transfer frames, counted; what the window does not take is kept for later."""
        self.credit -= 1
        self._delivery_count = (self._delivery_count + 1) & _ID_MASK
        delivery_id = self.session.take_delivery_id()
        size = self._transfer.size + sum(map(len, parts))
        if size > self.session.max_frame:
            return self._fragments(b"".join(parts), delivery_id)
        head = self._head(size, delivery_id, self._after_id)
        if self.session.remote_window > 0 and not self._unsent:
            self.session.count_sent(1)
            return [head, *parts]
        self._unsent.append(b"".join((head, *parts)))
        return []

    def _fragments(self, message: bytes, delivery_id: int) -> list[bytes | memoryview]:
        """Cut a message that is larger than a frame."""
        room = self.session.max_frame - self._transfer.size
        for start in range(0, len(message), room):
            piece = message[start : start + room]
            flags = self._after_id_more if start + room < len(message) else self._after_id
            self._unsent.append(self._head(self._transfer.size + len(piece), delivery_id, flags) + piece)
        now: list[bytes | memoryview] = []
        while self._unsent and self.session.remote_window > 0:
            self.session.count_sent(1)
            now.append(self._unsent.popleft())
        return now

    def _head(self, size: int, delivery_id: int, flags: bytes) -> bytes:
        """Return frame head and transfer performative of a frame."""
        channel = self.session.channel
        return self._transfer.pack(size, 2, frames.AMQP_FRAME, channel, self._before_id, delivery_id, flags)
