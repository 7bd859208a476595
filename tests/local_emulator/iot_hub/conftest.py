"""A running hub on a thread of its own, and the genuine clients for it."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from azure.iot.device import IoTHubDeviceClient
from azure.iot.device.aio import IoTHubDeviceClient as AsyncDeviceClient
from azure.iot.hub import IoTHubRegistryManager

from local_emulator.certificates import Certificates, ensure_certificates
from local_emulator.iot_hub import IotHub, RoutedEvent
from local_emulator.iot_hub.device import Device
from local_emulator.iot_hub.handlers.registry import create
from local_emulator.iot_hub.twin import TwinChange
from tests.local_emulator.iot_hub.raw_device import RawDevice, eventually, signature


class Stream:
    """Where the hub's events go; it can be made to hold them back, to be slow now and then, or to fail."""

    def __init__(self) -> None:
        self.events: list[RoutedEvent] = []
        self.gate: asyncio.Event | None = None
        self.failures = 0
        self.is_uneven = False

    async def publish(self, event: RoutedEvent) -> None:
        """Keep an event."""
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise OSError("the stream is not there")
        if self.is_uneven:
            for _ in range(len(event.body) * 7 % 5):
                await asyncio.sleep(0)
        self.events.append(event)

    @property
    def bodies(self) -> list[bytes]:
        """The bodies in order of arrival."""
        return [event.body for event in self.events]

    def wait_for(self, count: int) -> list[RoutedEvent]:
        """The first events, once there are so many."""
        eventually(lambda: len(self.events) >= count)
        return self.events[:count]


class HubThread:
    """Runs a hub beside the test, so that clients may block."""

    def __init__(self, data_dir: Path, certificates: Certificates, **options: Any) -> None:
        self.stream = Stream()
        self._arguments = {"certificates": certificates, "publish": self.stream.publish, "host": None, **options}
        self._data_dir = data_dir
        self._ca_file = certificates.ca_file
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.start()

    def start(self) -> None:
        """Start the hub, at the address it had before."""
        self.hub = IotHub(self._data_dir, **self._arguments)
        self.run(self.hub.__aenter__())
        self._arguments["host"] = self.hub.host_name

    def stop(self) -> None:
        """Stop the hub, but not its thread."""
        self.run(self.hub.__aexit__())

    def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the hub's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def call[T](self, function: Callable[[], T]) -> T:
        """Call something on the hub's loop."""

        async def called() -> T:
            return function()

        return self.run(called())

    def hold_back(self) -> None:
        """Let the stream take nothing until released."""
        self.stream.gate = asyncio.Event()

    def let_go(self) -> None:
        """Let the stream take all that waits."""
        gate, self.stream.gate = self.stream.gate, None
        assert gate is not None
        self._loop.call_soon_threadsafe(gate.set)

    def kick(self, device_id: str) -> bool:
        """Close a device's connection."""
        return self.call(lambda: self.hub.kick(device_id))

    def is_connected(self, device_id: str) -> bool:
        """Whether a device is connected."""
        return self.call(lambda: self.hub.is_connected(device_id))

    def connection_string(self, device_id: str) -> str:
        """For a device SDK."""
        return self.call(lambda: self.hub.device_connection_string(device_id))

    @property
    def registry(self) -> IoTHubRegistryManager:
        """The genuine service client with all permissions."""
        return IoTHubRegistryManager.from_connection_string(self.hub.service_connection_string)

    def key(self, device_id: str) -> str:
        """A device's primary key."""
        return self.connection_string(device_id).partition("SharedAccessKey=")[2]

    def token(self, device_id: str, **options: Any) -> str:
        """A token of a device."""
        return signature(f"{self.hub.host_name}/devices/{device_id}", self.key(device_id), **options)

    def raw(self, device_id: str) -> RawDevice:
        """A connection without an SDK."""
        return RawDevice(self.hub.host_name, self._ca_file, device_id)

    def connected(self, device_id: str, **options: Any) -> RawDevice:
        """An admitted connection without an SDK."""
        device = self.raw(device_id)
        assert device.connect(self.token(device_id), **options) == 0
        return device

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.stream.gate is not None:
            self.let_go()
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One set of certificates for all tests."""
    return ensure_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def trust(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make both SDKs trust the emulator as a user would: by the environment, without a change of code."""
    # Only the emulator's authority: reading all others takes 20 ms for each session of the service SDK.
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.ca_file))


@pytest.fixture
def hub(tmp_path: Path, certificates: Certificates) -> Iterator[HubThread]:
    """A hub with one device."""
    with HubThread(tmp_path / "hub", certificates) as running:
        running.call(lambda: create(running.hub._hub, Device("pump-1"), TwinChange()))
        yield running


type NewDevice = Callable[..., IoTHubDeviceClient]
type NewAsyncDevice = Callable[..., AsyncDeviceClient]


@pytest.fixture
def new_device(hub: HubThread) -> Iterator[NewDevice]:
    """Make genuine clients that give up at once where they can; they are shut down in the end."""
    clients = []

    def make(device_id: str = "pump-1", **options: Any) -> IoTHubDeviceClient:
        client = IoTHubDeviceClient.create_from_connection_string(hub.connection_string(device_id), **options)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.shutdown()


@pytest.fixture
async def new_async_device(hub: HubThread) -> Any:
    """Make genuine asynchronous clients; they are shut down in the end."""
    clients = []

    def make(device_id: str = "pump-1", **options: Any) -> AsyncDeviceClient:
        client = AsyncDeviceClient.create_from_connection_string(hub.connection_string(device_id), **options)
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.shutdown()
