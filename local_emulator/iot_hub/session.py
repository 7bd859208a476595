"""What is known of a device while the hub runs: its connection, and what waits for it."""

import asyncio
from typing import Protocol

import msgspec

from local_emulator.iot_hub.protocol.packets import Publish
from local_emulator.iot_hub.topics import METHODS

MAX_PACKET_ID = 0xFFFF


class MethodAnswer(msgspec.Struct, frozen=True):
    """What a device answered to a direct method."""

    status: int
    payload: bytes


class Link(Protocol):
    """A live connection of a device."""

    def send(self, message: Publish) -> None:
        """Send a message to the device."""

    def kick(self, reason: str) -> None:
        """Close the connection, and do nothing more of what it has sent."""


class Session:
    """One device's side of the hub; it outlives connections, and its subscriptions outlive the process."""

    def __init__(self, device_id: str, subscriptions: dict[str, int]) -> None:
        self.device_id = device_id
        self.subscriptions = subscriptions
        self.link: Link | None = None
        self.last_activity = 0.0
        # One message of a device at a time, whichever connection brought it: this keeps their order.
        self.in_order = asyncio.Lock()
        self.method_answers: dict[str, asyncio.Future[MethodAnswer]] = {}
        self.unacknowledged: dict[int, int] = {}
        self._packet_id = 0
        self._is_listening = asyncio.Event()

    def attach(self, link: Link) -> None:
        """Make this the device's only connection."""
        if self.link is not None:
            self.link.kick("the device has opened another connection")
        self.link = link
        self.unacknowledged.clear()
        self.note_listening()

    def detach(self, link: Link) -> bool:
        """Forget a connection; false if another has taken its place."""
        if self.link is not link:
            return False
        self.link = None
        self.note_listening()
        return True

    def note_listening(self) -> None:
        """Wake those who wait for the device, or make them wait."""
        if self.link is not None and METHODS in self.subscriptions:
            self._is_listening.set()
        else:
            self._is_listening.clear()

    async def wait_for_methods(self) -> None:
        """Return once the device is connected and hears direct methods."""
        await self._is_listening.wait()

    @property
    def hears_methods(self) -> bool:
        """Whether the device is connected and hears direct methods."""
        return self._is_listening.is_set()

    def deliver(self, topic_filter: str, topic: str, payload: bytes) -> bool:
        """Send at most once to a connected subscriber; false if there is none."""
        if self.link is None or topic_filter not in self.subscriptions:
            return False
        self.link.send(Publish(topic, payload))
        return True

    def next_packet_id(self) -> int:
        """An id that is not in use."""
        while True:
            self._packet_id = self._packet_id % MAX_PACKET_ID + 1
            if self._packet_id not in self.unacknowledged:
                return self._packet_id
