"""The wire where the SDK does not go: heartbeats, silence, small windows and frames, drain, garbage.

The peer here is written with the SDK's own encoder and decoder, so that ours are not their only witness.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from azure.eventhub._pyamqp import _decode, _encode, endpoints, performatives

from local_emulator.event_hubs import EventHubs, HubEvent, HubSpec
from local_emulator.event_hubs.claims import KEY, KEY_NAME

from .conftest import HUB, SECONDS, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

AMQP, SASL = b"AMQP\x00\x01\x00\x00", b"AMQP\x03\x01\x00\x00"
EMPTY = b"\x00\x00\x00\x08\x02\x00\x00\x00"
RECEIVER = True  # the role in an attach performative
OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)


class Peer:
    """A client on a raw socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, frame: Any, channel: int = 0, kind: bytes = b"\x00") -> None:
        """Send a performative of the SDK's."""
        header, data = _encode.encode_frame(frame, kind)
        self.writer.write(header + channel.to_bytes(2, "big") + (data or b""))

    async def receive(self) -> tuple[int, list[Any]]:
        """Return the next frame; an empty one has no code."""
        async with asyncio.timeout(SECONDS):
            size = int.from_bytes(await self.reader.readexactly(4), "big")
            rest = await self.reader.readexactly(size - 4)
        return (-1, []) if size == 8 else _decode.decode_frame(memoryview(rest[4:]))

    async def expect(self, code: int) -> list[Any]:
        """Return the fields of the next frame that is not a heartbeat, which must be of this code."""
        received, fields = await self.receive()
        while received == -1:
            received, fields = await self.receive()
        assert received == code, (received, fields)
        return fields

    async def login(self, **options: Any) -> None:
        """Show the key in SASL PLAIN, and open the connection."""
        self.writer.write(SASL)
        assert await self.reader.readexactly(8) == SASL
        await self.expect(0x40)
        # A SASL init by hand: the mechanism as a symbol, and the response.
        response = b"\0" + KEY_NAME.encode() + b"\0" + KEY.encode()
        fields = b"\xa3\x05PLAIN" + b"\xa0" + bytes((len(response),)) + response
        body = b"\x00\x53\x41\xc0" + bytes((len(fields) + 1, 2)) + fields
        self.writer.write((len(body) + 8).to_bytes(4, "big") + b"\x02\x01\x00\x00" + body + AMQP)
        assert (await self.expect(0x44))[0] == 0
        assert await self.reader.readexactly(8) == AMQP
        defaults = {
            "container_id": "peer",
            "hostname": None,
            "max_frame_size": 65536,
            "channel_max": 10,
            "idle_timeout": None,
            "outgoing_locales": None,
            "incoming_locales": None,
            "offered_capabilities": None,
            "desired_capabilities": None,
            "properties": None,
        }
        self.send(performatives.OpenFrame(**{**defaults, **options}))
        opened = await self.expect(OPEN)
        assert len(opened) == 10

    async def begin(self, incoming_window: int = 5000) -> None:
        """Begin a session on channel 3."""
        self.send(performatives.BeginFrame(None, 0, incoming_window, 5000, 255, None, None, None), channel=3)
        assert len(await self.expect(BEGIN)) == 8

    async def attach_receiver(self, address: str) -> list[Any]:
        """Attach a receiving link with handle 7."""
        source = endpoints.Source(address=address)
        target = endpoints.Target(address="here")
        self.send(
            performatives.AttachFrame(
                "link", 7, RECEIVER, 1, 0, source, target, None, None, None, None, None, None, None
            ),
            channel=3,
        )
        return await self.expect(ATTACH)

    def flow(self, credit: int, delivery_count: int, *, window: int, received: int, drain: bool = False) -> None:
        """Give credit and window."""
        self.send(
            performatives.FlowFrame(received, window, 0, 5000, 7, delivery_count, credit, None, drain, None, None),
            channel=3,
        )


@pytest_asyncio.fixture(loop_scope="session")
async def peer(world: World) -> AsyncIterator[Peer]:
    """Provide a client that has connected and said nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.service.port)
    yield Peer(reader, writer)
    writer.close()
    await writer.wait_closed()


async def test_message_is_cut_by_frame_size_and_window(world: World, peer: Peer) -> None:
    """A message of many small frames comes through a window of two, and is the message."""
    partition = world.partition()
    body = bytes(range(256)) * 20
    await world.service.publish(HUB, HubEvent(body), partition_id=partition)
    await world.service.publish(HUB, HubEvent(b"next"), partition_id=partition)
    await peer.login(max_frame_size=1024)
    await peer.begin(incoming_window=2)
    attached = await peer.attach_receiver(f"{HUB}/ConsumerGroups/$default/Partitions/{partition}")
    assert len(attached) == 14
    peer.flow(10, 0, window=2, received=1)

    messages: list[Any] = []
    payload = b""
    received = 1
    while len(messages) < 2:
        frame = await peer.expect(TRANSFER)
        assert len(frame[-1]) <= 1024
        assert frame[1] == len(messages)  # the delivery id, the same in all frames of a message
        payload += frame[-1]
        received += 1
        if not frame[5]:
            messages.append(_decode.decode_payload(memoryview(payload)))
            payload = b""
        if received % 2:
            peer.flow(10 - len(messages), len(messages), window=2, received=received)

    assert [b"".join(message.data) for message in messages] == [body, b"next"]
    assert received > 6


async def test_drain_ends_credit(world: World, peer: Peer) -> None:
    """A drained link sends what there is and says that the credit is used up."""
    partition = world.partition()
    await world.service.publish(HUB, HubEvent(b"only"), partition_id=partition)
    await peer.login()
    await peer.begin()
    await peer.attach_receiver(f"{HUB}/ConsumerGroups/$default/Partitions/{partition}")
    peer.flow(100, 0, window=5000, received=1, drain=True)
    transfer = await peer.expect(TRANSFER)
    flow = await peer.expect(FLOW)

    assert transfer[4] is True  # settled
    assert (flow[4], flow[5], flow[6], flow[8]) == (7, 100, 0, True)


async def test_heartbeats_keep_a_silent_connection(peer: Peer) -> None:
    """A client that tolerates little silence gets empty frames."""
    await peer.login(idle_timeout=100)
    for _ in range(3):
        assert (await peer.receive())[0] == -1


async def test_silent_client_is_cut_off(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Who sends nothing for longer than we tolerate is closed, and told why."""
    folder = tmp_path_factory.mktemp("idle")
    async with EventHubs(folder, hubs=[HubSpec(HUB, 1)], idle_seconds=0.2) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        peer = Peer(reader, writer)
        await peer.login()
        closed = await peer.expect(CLOSE)
        assert closed[0][0] == b"amqp:connection:forced"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_wrong_password_is_denied(peer: Peer) -> None:
    """SASL PLAIN with anything but the key is outcome 1, and the end."""
    peer.writer.write(SASL)
    assert await peer.reader.readexactly(8) == SASL
    await peer.expect(0x40)
    body = b"\x00\x53\x41\xc0\x0e\x02\xa3\x05PLAIN\xa0\x04\0a\0b"
    peer.writer.write((len(body) + 8).to_bytes(4, "big") + b"\x02\x01\x00\x00" + body)
    assert (await peer.expect(0x44))[0] == 1
    assert await peer.reader.read() == b""


async def test_garbage_closes_the_connection_only(world: World, peer: Peer) -> None:
    """A frame that cannot be decoded ends its connection with an error; others live."""
    await peer.login()
    peer.writer.write(b"\x00\x00\x00\x0c\x02\x00\x00\x00\x00\x53\x10\xc0")
    closed = await peer.expect(CLOSE)
    assert closed[0][0] == b"amqp:decode-error"

    reader, writer = await asyncio.open_connection("127.0.0.1", world.service.port)
    writer.write(b"GET / HT")
    assert await reader.readexactly(8) == SASL
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_addresses_the_emulator_does_not_serve(peer: Peer) -> None:
    """Publisher policies and the like are refused as not implemented."""
    await peer.login()
    await peer.begin()
    attached = await peer.attach_receiver(f"{HUB}/Publishers/me")
    assert attached[5] is None
    detached = await peer.expect(DETACH)
    assert detached[2][0] == b"amqp:not-implemented"
