"""One MQTT connection of a device.

Packets are taken one after another, so a device's messages keep their order; while they wait for the stream,
reading stops, so a fast device is slowed down instead of filling memory.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from local_emulator.iot_hub.errors import (
    ConnectionRefused,
    ConnectReturnCode,
    HubError,
    ProtocolViolation,
)
from local_emulator.iot_hub.handlers import commands, connecting, publishing, subscribing, telemetry
from local_emulator.iot_hub.handlers.connecting import Visitor
from local_emulator.iot_hub.hub import Hub
from local_emulator.iot_hub.protocol import packets
from local_emulator.iot_hub.protocol.packets import (
    Connect,
    Disconnect,
    Packet,
    PingRequest,
    Publish,
    PublishAcknowledgement,
    Subscribe,
    Unsubscribe,
)
from local_emulator.iot_hub.topics import telemetry_bag

logger = logging.getLogger(__name__)

# A message and a topic of the greatest length, and the packet id.
MAX_PACKET_BYTES = telemetry.MAX_MESSAGE_BYTES + 0xFFFF + 4
MAX_CONNECT_BYTES = 16 * 1024
CONNECT_SECONDS = 30.0
MAX_SILENT_SECONDS = 1767.0  # the longest the service waits, whatever the device asks for
# Reading stops at this many packets that wait, and goes on when they are done.
MAX_WAITING = 64


class MqttConnection(asyncio.Protocol):
    """Speaks MQTT with one client, from the first byte to the last."""

    def __init__(
        self,
        hub: Hub,
        on_start: Callable[["MqttConnection"], None],
        on_end: Callable[["MqttConnection"], None],
    ) -> None:
        self._hub = hub
        self._on_start = on_start
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._waiting: deque[Packet] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._visitor: Visitor | None = None
        self._will: Publish | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._last_heard = self._loop.time()
        self._is_client_slow = False
        self._is_reading = True
        self._is_closed = False
        self._is_lost = False
        self._withheld: list[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS is up: the client has a while to introduce itself."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._timers["expiry"] = self._loop.call_later(CONNECT_SECONDS, self.kick, "no CONNECT came")
        self._on_start(self)

    def data_received(self, data: bytes) -> None:
        """Cut the bytes into packets and see that they are worked on."""
        self._last_heard = self._loop.time()
        if self._is_closed:
            return
        self._buffer += data
        is_introduced = self._visitor is not None or bool(self._waiting)
        if not is_introduced and not self._buffer.startswith(packets.CONNECT_HEADER):
            self.kick("the first packet is not CONNECT")
            return
        try:
            taken = packets.take_packets(self._buffer, MAX_PACKET_BYTES if is_introduced else MAX_CONNECT_BYTES)
        except ProtocolViolation as violation:
            self.kick(str(violation))
            return
        self._waiting.extend(taken)
        self._go_on()
        self._regulate_reading()

    def _go_on(self) -> None:
        """See that what waits is worked on, and end when nothing more can come."""
        if self._worker is not None:
            return
        if self._waiting or (self._is_lost and self._will is not None):
            self._worker = self._loop.create_task(self._work())
            self._worker.add_done_callback(self._after_work)
        elif self._is_lost:
            self._on_end(self)

    async def _work(self) -> None:
        while self._waiting:
            packet = self._waiting.popleft()
            try:
                await self._handle(packet)
            except ConnectionRefused as refused:
                logger.info("Refused a connection: %s", refused)
                self._write(packets.connect_acknowledgement(refused.code))
                self._waiting.clear()
                self._close()
            except (ProtocolViolation, HubError) as violation:
                self.kick(str(violation))
            self._regulate_reading()
        if self._is_lost and self._will is not None:
            assert self._visitor is not None
            will, self._will = self._will, None
            async with self._visitor.session.in_order:
                await telemetry.send_will(self._hub, self._visitor, will)

    def _after_work(self, worker: asyncio.Task[None]) -> None:
        self._worker = None
        if not worker.cancelled() and (error := worker.exception()) is not None:
            # The stream did not take a message: without an acknowledgement the device sends it again.
            logger.error("A message of %s could not be handled", self._name, exc_info=error)
            self.kick("a message could not be handled")
        self._go_on()  # more may have come after the worker looked for the last time

    async def _handle(self, packet: Packet) -> None:
        visitor = self._visitor
        if visitor is None:
            if not isinstance(packet, Connect):
                raise ProtocolViolation("the first packet is not CONNECT")
            self._connect(packet)
            return
        match packet:
            case Publish():
                await self._take(visitor, packet)
            case PublishAcknowledgement(packet_id):
                commands.acknowledge(self._hub, visitor.session, packet_id)
            case Subscribe(packet_id, filters):
                granted = subscribing.subscribe(self._hub, visitor.session, filters)
                self._write(packets.subscribe_acknowledgement(packet_id, granted))
                commands.deliver(self._hub, visitor.session)
            case Unsubscribe(packet_id, filters):
                subscribing.unsubscribe(self._hub, visitor.session, filters)
                self._write(packets.unsubscribe_acknowledgement(packet_id))
            case PingRequest():
                self._write(packets.PING_RESPONSE)
            case Disconnect():
                self._will = None
                self._waiting.clear()
                self._close()
            case Connect():
                raise ProtocolViolation("a second CONNECT")

    def _connect(self, packet: Connect) -> None:
        visitor = connecting.admit(self._hub, packet)
        if packet.will and telemetry_bag(packet.will.topic, visitor.session.device_id) is None:
            raise ProtocolViolation("a will whose topic is not the device's own telemetry")
        self._visitor, self._will = visitor, packet.will
        is_known = connecting.enter(self._hub, visitor, self, is_clean=packet.is_clean_session)
        self._write(packets.connect_acknowledgement(ConnectReturnCode.ACCEPTED, is_session_present=is_known))
        self._timers["expiry"].cancel()
        remaining = visitor.expires_at - self._hub.clock()
        self._timers["expiry"] = self._loop.call_later(remaining, self.kick, "the token has expired")
        if packet.keep_alive_seconds:
            self._check_silence(min(1.5 * packet.keep_alive_seconds, MAX_SILENT_SECONDS))
        commands.deliver(self._hub, visitor.session)

    def _check_silence(self, allowed: float) -> None:
        # What we do not read, we cannot hear.
        if not self._is_reading or self._withheld is not None:
            self._last_heard = self._loop.time()
        remaining = self._last_heard + allowed - self._loop.time()
        if remaining <= 0:
            self.kick("the device has been silent for too long")
        elif not self._is_closed:
            self._timers["silence"] = self._loop.call_later(remaining, self._check_silence, allowed)

    async def _take(self, visitor: Visitor, message: Publish) -> None:
        if message.qos > 1:
            raise ProtocolViolation("QoS 2 is not offered")
        async with visitor.session.in_order:
            await publishing.take(self._hub, visitor, message)
        if message.qos:
            self._write(packets.publish_acknowledgement(message.packet_id))

    def send(self, message: Publish) -> None:
        """Send a message to the device."""
        self._write(packets.publish(message))

    def _write(self, data: bytes) -> None:
        if self._withheld is not None:
            self._withheld.append(data)
        elif not self._transport.is_closing():
            self._transport.write(data)

    def pause_writing(self) -> None:
        """The client does not take what it is sent: take nothing more from it."""
        self._is_client_slow = True
        self._regulate_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._is_client_slow = False
        self._regulate_reading()

    def _regulate_reading(self) -> None:
        may_read = not self._is_client_slow and len(self._waiting) < MAX_WAITING and self._withheld is None
        if may_read == self._is_reading or self._transport.is_closing():
            return
        self._is_reading = may_read
        if may_read:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def kick(self, reason: str) -> None:
        """Close the connection, and do nothing more of what it has sent."""
        if not self._is_closed:
            logger.info("Closing the connection of %s: %s", self._name, reason)
        self._waiting.clear()
        self._close()

    @property
    def _name(self) -> str:
        return self._visitor.session.device_id if self._visitor else "an unknown client"

    def _close(self) -> None:
        """End the connection once what was written is sent; what still waits is done."""
        if self._is_closed:
            return
        self._is_closed = True
        for timer in self._timers.values():
            timer.cancel()
        if self._visitor is not None:
            connecting.leave(self._hub, self._visitor, self)
        if self._withheld is None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Finish what the device has sent, then what it left as its will."""
        if exc is not None:
            logger.info("Lost the connection of %s: %s", self._name, exc)
        self._close()
        self._is_lost = True
        self._go_on()

    def withhold(self) -> None:
        """Behave as a network that drops all packets: read nothing, keep what is written."""
        if self._withheld is None:
            self._withheld = []
            self._regulate_reading()

    def release(self) -> None:
        """The network is back, and delivers what it has held."""
        withheld, self._withheld = self._withheld or [], None
        for data in withheld:
            self._write(data)
        if self._is_closed:
            self._transport.close()
        self._regulate_reading()

    def abort(self) -> None:
        """Break the connection off as a network would that resets it."""
        self._withheld = None
        self._waiting.clear()
        self._close()
        self._transport.abort()

    async def stop(self) -> None:
        """End everything because the emulator ends; what was not acknowledged will be sent again."""
        self._will = None
        self.abort()
        worker = self._worker
        if worker is not None:
            worker.cancel()
            await asyncio.wait([worker])
