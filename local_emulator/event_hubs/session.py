"""A session: the links on one channel, and the windows that bound what is under way."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from local_emulator.event_hubs import frames
from local_emulator.event_hubs.codec import DecodeError
from local_emulator.event_hubs.errors import AmqpError
from local_emulator.event_hubs.frames import Attach, Fields, Window
from local_emulator.event_hubs.links import IncomingLink, Link

if TYPE_CHECKING:
    from local_emulator.event_hubs.protocol import Connection

_ID_MASK = 0xFFFFFFFF
_FIRST_OUTGOING_ID = 1


class Node(Protocol):
    """Makes the links that clients ask for."""

    def attach(self, session: "Session", attach: Attach) -> Link:
        """Return the link, or raise the error to refuse it with."""


class Session:
    """One session of a connection."""

    def __init__(self, connection: "Connection", channel: int, begin: Fields) -> None:
        self.connection = connection
        self.channel = channel
        self.links: dict[int, Link] = {}
        self.next_outgoing_id = _FIRST_OUTGOING_ID
        self._next_delivery_id = 0
        self._next_incoming_id = begin.required(1)
        self.remote_window = begin.required(2)
        self.write(frames.begin(channel, self.next_outgoing_id))

    @property
    def window(self) -> Window:
        """What our flow frames say about the session."""
        return Window(self._next_incoming_id, self.next_outgoing_id)

    @property
    def max_frame(self) -> int:
        """The size of the largest frame to send."""
        return self.connection.max_frame

    @property
    def is_paused(self) -> bool:
        """Whether the client is slow to take what has been written."""
        return self.connection.is_paused

    def write(self, data: bytes) -> None:
        """Send frames."""
        self.connection.write(data)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run a callback in the next turn of the event loop."""
        self.connection.call_soon(callback)

    def take_delivery_id(self) -> int:
        """Return the number of the next message we send."""
        delivery_id = self._next_delivery_id
        self._next_delivery_id = (delivery_id + 1) & _ID_MASK
        return delivery_id

    def count_sent(self, transfers: int) -> None:
        """Note frames that use up the client's window."""
        self.next_outgoing_id = (self.next_outgoing_id + transfers) & _ID_MASK
        self.remote_window -= transfers

    def on_frame(self, code: int, fields: Fields, payload: bytes) -> None:
        """Act on a frame of this session."""
        if code == frames.TRANSFER:
            self.on_transfer(fields, payload)
        elif code == frames.FLOW:
            self.on_flow(fields)
        elif code == frames.ATTACH:
            self.on_attach(fields)
        elif code == frames.DETACH:
            self.on_detach(fields)
        elif code != frames.DISPOSITION:  # consumers' deliveries are settled: nothing to do
            raise DecodeError(f"unknown performative 0x{code:x}")

    def on_attach(self, fields: Fields) -> None:
        """Attach a link, or refuse it."""
        attach = frames.read_attach(fields)
        if attach.handle in self.links:
            raise DecodeError(f"handle {attach.handle} is in use")
        try:
            link = self.connection.node.attach(self, attach)
        except AmqpError as error:
            self.write(frames.refused(self.channel, attach, error))
            return
        self.links[attach.handle] = link
        tracking_id = f"{uuid4().hex}_G0"
        self.write(frames.attached(self.channel, attach, link.settle_mode, link.max_message_size, tracking_id))
        link.opened()

    def on_flow(self, fields: Fields) -> None:
        """Take window and credit."""
        flow = frames.read_flow(fields)
        received = _FIRST_OUTGOING_ID if flow.next_incoming_id is None else flow.next_incoming_id
        under_way = (self.next_outgoing_id - received) & _ID_MASK
        self.remote_window = max(flow.incoming_window - under_way, 0)
        if flow.handle is None:
            self.pump()
            if flow.echo:
                self.write(frames.flow(self.channel, self.window))
        elif (link := self.links.get(flow.handle)) is not None:
            link.on_flow(flow)

    def on_transfer(self, fields: Fields, payload: bytes) -> None:
        """Hand a message, or a piece of one, to its link."""
        self._next_incoming_id = (self._next_incoming_id + 1) & _ID_MASK
        transfer = frames.read_transfer(fields)
        link = self.links.get(transfer.handle)
        if isinstance(link, IncomingLink):  # else it was detached while the client was sending
            link.on_transfer(transfer, payload)

    def on_detach(self, fields: Fields) -> None:
        """Close a link for the client; its answer to our own detach needs none."""
        link = self.links.get(fields.required(0))
        if link is not None:
            self.drop(link)
            self.write(frames.detach(self.channel, link.handle, None))

    def pump(self) -> None:
        """Let every link send what it can."""
        for link in tuple(self.links.values()):
            link.pump()

    def drop(self, link: Link) -> None:
        """Forget a link."""
        if self.links.get(link.handle) is link:
            del self.links[link.handle]
            link.closed()

    def close(self) -> None:
        """Forget all links."""
        for link in tuple(self.links.values()):
            self.drop(link)
