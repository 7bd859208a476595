"""A hub for devices, with what arrives there."""

import asyncio
import gc
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from azure.iot.hub import IoTHubRegistryManager

from local_emulator.certificates import Certificates, ensure_certificates
from local_emulator.iot_hub import IotHub, RoutedEvent

SECONDS = 40.0


class DeviceHub:
    """A running hub, and the events that it was given in order of arrival."""

    def __init__(self, data_dir: Path, certificates: Certificates) -> None:
        self.events: list[RoutedEvent] = []
        self.tried: list[RoutedEvent] = []
        self.failures = 0
        self.ca_file = certificates.ca_file
        self.emulator = IotHub(data_dir, certificates=certificates, publish=self._publish, host=None)

    async def _publish(self, event: RoutedEvent) -> None:
        self.tried.append(event)
        if self.failures:
            self.failures -= 1
            raise OSError("the stream is not there")
        self.events.append(event)

    @property
    def registry(self) -> IoTHubRegistryManager:
        """The genuine service client."""
        return IoTHubRegistryManager.from_connection_string(self.emulator.service_connection_string)

    async def add(self, device_id: str, status: str = "enabled") -> str:
        """Register a device; return its connection string."""
        await asyncio.to_thread(self.registry.create_device_with_sas, device_id, None, None, status)
        return self.emulator.device_connection_string(device_id)


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect what a test leaves: the device SDK's pair of wake-up sockets is closed by the collector only.

    It may come upon a socket before the client that would have closed it.
    """
    yield
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed <socket", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One set of certificates for all tests."""
    return ensure_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def hub(tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DeviceHub]:
    """A hub without devices."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.bundle_file))
    device_hub = DeviceHub(tmp_path / "hub", certificates)
    async with device_hub.emulator:
        yield device_hub
