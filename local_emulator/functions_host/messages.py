"""What host and worker say to each other, over one socket: frames of a length and MessagePack."""

import asyncio

import msgspec

from local_emulator.functions_host.bindings import FunctionSpec
from local_emulator.functions_host.host_json import HostOptions

__all__ = [
    "Channel",
    "FireTimer",
    "HttpCall",
    "HttpReply",
    "Indexed",
    "LoadFailed",
    "Message",
    "Ready",
    "RunGroup",
    "WorkerOrder",
]

_LENGTH_BYTES = 4


class WorkerOrder(msgspec.Struct, frozen=True):
    """What a worker is told on its command line."""

    app_dir: str
    socket: int
    host_id: str
    instance_id: str
    options: HostOptions
    balancing_interval: float
    ownership_expiry: float


class Indexed(msgspec.Struct, frozen=True, tag=True):
    """The worker has loaded the app and found these functions."""

    functions: list[FunctionSpec]


class LoadFailed(msgspec.Struct, frozen=True, tag=True):
    """The worker could not load the app or start its group; ``kind`` names the error's class."""

    kind: str
    text: str


class RunGroup(msgspec.Struct, frozen=True, tag=True):
    """Run the functions of this group."""

    group: str


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The worker's group runs."""


class HttpCall(msgspec.Struct, frozen=True, tag=True):
    """A request for an HTTP function; repeated headers and query values are joined already."""

    call: int
    function: str
    method: str
    url: str
    headers: dict[str, str]
    query: dict[str, str]
    route: dict[str, str]
    body: bytes


class HttpReply(msgspec.Struct, frozen=True, tag=True):
    """The function's answer to the call of that number."""

    call: int
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class FireTimer(msgspec.Struct, frozen=True, tag=True):
    """Run the timer function now."""

    function: str


type Message = Indexed | LoadFailed | RunGroup | Ready | HttpCall | HttpReply | FireTimer

_DECODER: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(
    Indexed | LoadFailed | RunGroup | Ready | HttpCall | HttpReply | FireTimer
)


class Channel:
    """One end of the socket between host and worker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, message: Message) -> None:
        """Send one message; a broken connection raises ConnectionError."""
        payload = msgspec.msgpack.encode(message)
        self._writer.write(len(payload).to_bytes(_LENGTH_BYTES) + payload)
        await self._writer.drain()

    async def receive(self) -> Message | None:
        """Wait for a message; None when the other end is gone."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES))
            return _DECODER.decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def close(self) -> None:
        """Close this end."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return
