"""The hub with its two doors: MQTT for devices, REST for back ends."""

import asyncio
import ssl
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from aiohttp import web

from local_emulator.certificates import Certificates
from local_emulator.iot_hub.device import new_key
from local_emulator.iot_hub.hub import Hub, Partitioning, Publisher
from local_emulator.iot_hub.protocol.listener import Listener, Network
from local_emulator.iot_hub.protocol.rest import application
from local_emulator.iot_hub.sas import POLICIES
from local_emulator.iot_hub.state import State

# The device SDKs know no other port.
MQTT_PORT = 8883


class IotHub:
    """A running IoT Hub; use it as an async context manager.

    Parameters
    ----------
    data_dir
        Holds what survives a restart.
    certificates
        What both doors show to their clients.
    publish
        Takes an event; a device's message is acknowledged once it has returned.
    host
        The address of both doors, and the `HostName` of connection strings. None takes the first loopback
        address whose MQTT port is free, so that emulators can run side by side on the port the SDKs insist on.
    partitioning
        Whether events name their device as partition key, or leave the choice of partition to the stream.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        certificates: Certificates,
        publish: Publisher,
        host: str | None = "127.0.0.1",
        mqtt_port: int = MQTT_PORT,
        rest_port: int = 0,
        partitioning: Partitioning = "device-id",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._data_dir = data_dir
        self._certificates = certificates
        self._publish = publish
        self._wanted = (host, mqtt_port, rest_port)
        self._partitioning = partitioning
        self._clock = clock
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        host, mqtt_port, rest_port = self._wanted
        async with AsyncExitStack() as stack:
            state = stack.enter_context(State(self._data_dir / "iot_hub.sqlite"))
            self._hub = Hub(
                state=state,
                publish=self._publish,
                clock=self._clock,
                partitioning=self._partitioning,
                policy_keys={name: state.setting(f"policy {name}", new_key()) for name in POLICIES},
            )
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(self._certificates.cert_file, self._certificates.key_file)
            self._listener = await stack.enter_async_context(Listener(self._hub, tls, host, mqtt_port))
            runner = web.AppRunner(application(self._hub), access_log=None, shutdown_timeout=1.0)
            await runner.setup()
            stack.push_async_callback(_close, runner)
            await web.TCPSite(runner, self._listener.host, rest_port, ssl_context=tls).start()
            self._rest_port: int = runner.addresses[0][1]
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def host_name(self) -> str:
        """The `HostName` for device connection strings."""
        return self._listener.host

    @property
    def mqtt_port(self) -> int:
        """Where devices connect."""
        return self._listener.port

    @property
    def rest_port(self) -> int:
        """Where back ends connect."""
        return self._rest_port

    @property
    def service_connection_string(self) -> str:
        """For back ends, with all permissions."""
        return self.policy_connection_string("iothubowner")

    def policy_connection_string(self, policy: str) -> str:
        """For back ends, with the permissions of a shared access policy."""
        key = self._hub.policy_keys[policy]
        return f"HostName={self.host_name}:{self.rest_port};SharedAccessKeyName={policy};SharedAccessKey={key}"

    def device_connection_string(self, device_id: str) -> str:
        """For a registered device."""
        key = self._hub.device(device_id).authentication.symmetric_key.primary_key
        return f"HostName={self.host_name};DeviceId={device_id};SharedAccessKey={key}"

    def is_connected(self, device_id: str) -> bool:
        """Whether a device has a connection."""
        session = self._hub.sessions.get(device_id)
        return session is not None and session.link is not None

    async def set_network(self, network: Network) -> None:
        """Put a fault between all devices and the hub, or take it away."""
        await self._listener.set_network(network)

    def kick(self, device_id: str) -> bool:
        """Close the connection of one device; false if it has none."""
        session = self._hub.sessions.get(device_id)
        if session is None or session.link is None:
            return False
        session.link.kick("asked to")
        return True


async def _close(runner: web.AppRunner) -> None:
    assert runner.server is not None
    transports = [connection.transport for connection in runner.server.connections]
    await runner.cleanup()
    for transport in transports:
        # A client that does not answer TLS's goodbye would keep its socket open for half a minute.
        if transport is not None:
            transport.abort()
    await asyncio.sleep(0)
