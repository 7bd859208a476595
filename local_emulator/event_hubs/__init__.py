"""Event Hubs on this machine: an AMQP 1.0 service that the real SDKs use unchanged.

async with EventHubs(folder, hubs=[HubSpec("mailbox", partition_count=4)]) as event_hubs:
    producer = EventHubProducerClient.from_connection_string(
        event_hubs.connection_string, eventhub_name="mailbox")
"""

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from local_emulator.event_hubs import errors
from local_emulator.event_hubs.claims import KEY, KEY_NAME, covers
from local_emulator.event_hubs.consumer import MAX_MESSAGE_BYTES
from local_emulator.event_hubs.handlers import Handlers, append
from local_emulator.event_hubs.message import HubEvent, encode_event
from local_emulator.event_hubs.protocol import IDLE_SECONDS, Connection
from local_emulator.event_hubs.segment import CorruptLogError
from local_emulator.event_hubs.state import HubSpec, Namespace

if TYPE_CHECKING:
    from local_emulator.event_hubs.session import Node

__all__ = ["CorruptLogError", "EventHubs", "HubEvent", "HubSpec"]

_RETENTION_SWEEP_SECONDS = 60.0


class EventHubs:
    """The service: hubs, their durable logs in ``data_dir``, and one port.

    With ``tls`` the port speaks TLS, and clients need a custom endpoint address in place of
    ``UseDevelopmentEmulator``.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        hubs: Sequence[HubSpec],
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._data_dir = data_dir
        self._specs = hubs
        self._host = host
        self.port = port
        self._tls = tls
        self.idle_seconds = idle_seconds
        self.connections: set[Connection] = set()

    async def __aenter__(self) -> Self:
        self._namespace = Namespace(self._data_dir, self._specs)
        self._handlers = Handlers(self._namespace)
        self.node: Node = self._handlers
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: Connection(self), self._host, self.port, ssl=self._tls, backlog=1024
            )
        except BaseException:
            self._namespace.close()
            raise
        self.port = self._server.sockets[0].getsockname()[1]
        self._sweep()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._sweeper.cancel()
        self._server.close()
        self.drop_connections()
        await self._server.wait_closed()
        self._namespace.close()

    @property
    def connection_string(self) -> str:
        """What the SDKs' ``from_connection_string`` takes."""
        key = f"SharedAccessKeyName={KEY_NAME};SharedAccessKey={KEY}"
        emulator = "" if self._tls else ";UseDevelopmentEmulator=true"
        return f"Endpoint=sb://{self._host}:{self.port};{key}{emulator}"

    async def publish(
        self, hub: str, event: HubEvent, *, partition_key: str | None = None, partition_id: str | None = None
    ) -> None:
        """Put an event into a hub's durable log, as if a client had sent it."""
        target = self._namespace.hub(hub)
        encoded = encode_event(event, partition_key)
        size = len(encoded.annotations) + len(encoded.rest)
        if size > MAX_MESSAGE_BYTES:
            raise errors.message_too_large(0, size, MAX_MESSAGE_BYTES)
        append(target.choose(partition_key) if partition_id is None else target.partition(partition_id), [encoded])

    def last_sequence_number(self, hub: str, partition_id: str) -> int:
        """Return the sequence number of a partition's newest event, -1 before the first."""
        return self._namespace.hub(hub).partition(partition_id).log.next_sequence - 1

    def expire(self, hub: str, partition_id: str, before_sequence_number: int) -> None:
        """Drop a partition's events below a sequence number, as retention does."""
        self._namespace.hub(hub).partition(partition_id).log.expire(before_sequence_number)

    def create_hub(self, spec: HubSpec) -> None:
        """Add a hub while running."""
        self._namespace.create(spec)

    def delete_hub(self, hub: str) -> None:
        """Delete a hub with all its events; links to it are closed, and new ones find it gone."""
        gone = errors.not_found(hub)
        for connection in tuple(self.connections):
            connection.detach_links(lambda resource: covers(hub.lower(), resource), lambda _: gone)
        self._namespace.delete(hub)

    def drop_connections(self) -> None:
        """Cut all connections now, without a word; clients may connect again."""
        for connection in tuple(self.connections):
            connection.abort()

    def reject_sends(self, count: int) -> None:
        """Answer the next sends with server-busy."""
        self._handlers.sends_to_reject = count

    def _sweep(self) -> None:
        """Apply the retention time, now and every minute."""
        self._namespace.expire_by_time()
        self._sweeper = asyncio.get_running_loop().call_later(_RETENTION_SWEEP_SECONDS, self._sweep)
