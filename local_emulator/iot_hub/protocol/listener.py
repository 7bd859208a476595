"""The MQTT listener, and the network faults that can be put between it and the devices."""

import asyncio
import errno
import os
import socket
import ssl
from asyncio import sslproto
from enum import Enum, auto
from typing import Self

from local_emulator.certificates import LOOPBACK_ADDRESSES
from local_emulator.iot_hub.hub import Hub
from local_emulator.iot_hub.protocol.mqtt import MqttConnection

# A thousand devices may connect at once.
BACKLOG = 1024
# asyncio allocates a read buffer of this size for each TLS connection: 256 KiB unless told otherwise.
TLS_BUFFER_BYTES = 16 * 1024


class Network(Enum):
    """What lies between the devices and the hub."""

    UP = auto()
    DROPPING = auto()  # packets vanish: connections hang, new ones too
    REJECTING = auto()  # connections are reset, new ones refused


class Listener:
    """Accepts MQTT connections over TLS; use it as an async context manager."""

    def __init__(self, hub: Hub, tls: ssl.SSLContext, host: str | None, port: int) -> None:
        self._hub = hub
        self._tls = tls
        self._wanted = (host, port)
        self._connections: set[MqttConnection] = set()
        self._network = Network.UP
        self._server: asyncio.Server | None = None
        self.host, self.port = "", 0

    async def __aenter__(self) -> Self:
        sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES
        self._socket = _bind(*self._wanted)
        self.host, self.port = self._socket.getsockname()[:2]
        self._socket.listen(BACKLOG)
        await self._accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop_accepting()
        self._socket.close()
        for connection in list(self._connections):
            await connection.stop()
        await asyncio.sleep(0)  # lets the aborted transports close their sockets

    async def set_network(self, network: Network) -> None:
        """Change the network; coming up again delivers what was dropped on living connections."""
        if network is self._network:
            return
        self._stop_accepting()
        if self._network is Network.REJECTING:
            self._socket.listen(BACKLOG)
        self._network = network
        match network:
            case Network.UP:
                await self._accept()
                for connection in list(self._connections):
                    connection.release()
            case Network.DROPPING:
                # The socket goes on listening: the kernel takes connections that nobody answers.
                for connection in list(self._connections):
                    connection.withhold()
            case Network.REJECTING:
                self._socket.close()
                # Bound but not listening: connections are refused, and nobody else takes the port.
                self._socket = _bind(self.host, self.port)
                for connection in list(self._connections):
                    connection.abort()

    async def _accept(self) -> None:
        # The server gets a duplicate, so that it can be closed while the kernel goes on listening.
        self._server = await asyncio.get_running_loop().create_server(
            self._connection, sock=self._socket.dup(), ssl=self._tls, backlog=BACKLOG
        )

    def _stop_accepting(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _connection(self) -> MqttConnection:
        return MqttConnection(self._hub, self._started, self._connections.discard)

    def _started(self, connection: MqttConnection) -> None:
        self._connections.add(connection)
        if self._network is Network.DROPPING:
            connection.withhold()


def _bind(host: str | None, port: int) -> socket.socket:
    """Bind a port of one address, or of the first loopback address where it is free."""
    # Emulators that start at the same time begin at different addresses.
    start = os.getpid() % len(LOOPBACK_ADDRESSES)
    anywhere = LOOPBACK_ADDRESSES[start:] + LOOPBACK_ADDRESSES[:start]
    for address in (host,) if host is not None else anywhere:
        # Only where the protocol is named does asyncio send small packets at once, and not 40 ms later.
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((address, port))
        except OSError as error:
            opened.close()
            if host is not None or error.errno not in {errno.EADDRINUSE, errno.EADDRNOTAVAIL}:
                raise
        else:
            return opened
    raise OSError(errno.EADDRINUSE, f"port {port} is taken on all loopback addresses of the certificate")
