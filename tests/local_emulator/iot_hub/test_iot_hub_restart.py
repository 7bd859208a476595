"""What the hub remembers when its process ends, politely or by SIGKILL."""

import queue
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import requests
from azure.iot.device import IoTHubDeviceClient, MethodRequest, MethodResponse
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties

from local_emulator.certificates import Certificates, ensure_certificates
from local_emulator.iot_hub import IotHub
from tests.local_emulator.iot_hub.conftest import HubThread, NewDevice
from tests.local_emulator.iot_hub.raw_device import RawDevice, eventually, next_with, signature

SECONDS = 20
COMMANDS = "devices/pump-1/messages/devicebound/#"

# Appends each event to a file before it returns, and says where the hub is.
PROGRAM = """
import asyncio, sys
from pathlib import Path
from local_emulator.certificates import ensure_certificates
from local_emulator.iot_hub import IotHub

async def main(folder, host):
    log = (folder / "events").open("ab", buffering=0)
    async def publish(event):
        log.write(event.body + b"\\n")
    certificates = ensure_certificates(folder / "certificates")
    async with IotHub(folder / "hub", certificates=certificates, publish=publish, host=host) as hub:
        print(hub.host_name, hub.service_connection_string, flush=True)
        await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1]), sys.argv[2] or None))
"""


class Process:
    """A hub in a process of its own."""

    def __init__(self, folder: Path, host: str = "") -> None:
        command = [sys.executable, "-c", PROGRAM, str(folder), host]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
        assert self._process.stdout is not None
        self.host, _, text = self._process.stdout.readline().strip().partition(" ")
        self.registry = IoTHubRegistryManager.from_connection_string(text)
        self.service_connection_string = text

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait(SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def connection_string(self, device_id: str) -> str:
        """For a device SDK."""
        key = self.registry.get_device(device_id).authentication.symmetric_key.primary_key
        return f"HostName={self.host};DeviceId={device_id};SharedAccessKey={key}"


def test_device_comes_back_after_a_restart(hub: HubThread, new_device: NewDevice) -> None:
    """The SDK connects again by itself; its subscriptions, twin and messages are as they were."""
    device = new_device(connection_retry_interval=1)
    device.get_twin()
    patches: queue.Queue[dict[str, object]] = queue.Queue()
    messages: queue.Queue[bytes] = queue.Queue()

    def answer(request: MethodRequest) -> None:
        device.send_method_response(MethodResponse(request.request_id, 200, request.payload))

    device.on_method_request_received = answer
    device.on_twin_desired_properties_patch_received = patches.put
    device.on_message_received = lambda message: messages.put(message.data)
    device.patch_twin_reported_properties({"before": 1})
    hub.stop()
    hub.start()
    call = CloudToDeviceMethod(
        method_name="echo", payload=1, response_timeout_in_seconds=20, connect_timeout_in_seconds=20
    )
    assert hub.registry.invoke_device_method("pump-1", call).payload == 1
    hub.registry.update_twin("pump-1", Twin(properties=TwinProperties(desired={"n": 1})))
    assert next_with(patches, "n")["n"] == 1
    assert device.get_twin()["reported"] == {"before": 1, "$version": 2}
    device.send_message("after")
    assert hub.stream.bodies == [b"after"]


def test_kill_loses_nothing_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After SIGKILL: registry, twins, subscriptions and unacknowledged messages are there, keys still fit."""
    certificates = ensure_certificates(tmp_path / "certificates")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.bundle_file))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.bundle_file))
    process = Process(tmp_path)
    try:
        process.registry.create_device_with_sas("pump-1", None, None, "enabled")
        process.registry.create_device_with_sas("pump-2", None, None, "enabled")
        process.registry.update_twin("pump-1", Twin(tags={"a": 1}, properties=TwinProperties(desired={"n": 1})))
        text = process.connection_string("pump-1")
        key = text.partition("SharedAccessKey=")[2]
        client = IoTHubDeviceClient.create_from_connection_string(text, connection_retry_interval=1)
        client.send_message("1")
        client.patch_twin_reported_properties({"r": 1})
        client.shutdown()
        with RawDevice(process.host, certificates.ca_file, "pump-1") as raw:
            assert raw.connect(signature(f"{process.host}/devices/pump-1", key)) == 0
            assert raw.subscribe(COMMANDS) == [1]
            _send(process, certificates, "unacknowledged")
            assert raw.receive_message()[1] == b"unacknowledged"
            process.registry.delete_device("pump-2")
            process.kill()
        before = process
        process = Process(tmp_path, process.host)
        assert process.service_connection_string.partition(";")[2] == before.service_connection_string.partition(";")[2]
        assert [device.device_id for device in process.registry.get_devices()] == ["pump-1"]
        twin = process.registry.get_twin("pump-1")
        assert (twin.tags, twin.properties.desired["n"], twin.properties.reported["r"]) == ({"a": 1}, 1, 1)
        with RawDevice(process.host, certificates.ca_file, "pump-1") as raw:
            assert raw.connect(signature(f"{process.host}/devices/pump-1", key)) == 0
            assert raw.is_session_present
            _, body, _, flags = raw.receive_message()
            assert (body, flags & 8) == (b"unacknowledged", 8)
        assert (tmp_path / "events").read_bytes() == b"1\n"
    finally:
        process.kill()


def _send(process: Process, certificates: Certificates, body: str) -> None:
    fields = dict(part.split("=", 1) for part in process.service_connection_string.split(";"))
    answer = requests.post(
        f"https://{fields['HostName']}/devices/pump-1/messages/devicebound?api-version=2021-04-12",
        data=body,
        headers={"Authorization": signature(fields["HostName"], fields["SharedAccessKey"], policy="iothubowner")},
        verify=str(certificates.ca_file),
        timeout=SECONDS,
    )
    assert answer.status_code == 204


def test_a_device_sends_through_repeated_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was acknowledged before each kill is in the stream, in order of first arrival."""
    certificates = ensure_certificates(tmp_path / "certificates")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.ca_file))
    process = Process(tmp_path)
    process.registry.create_device_with_sas("pump-1", None, None, "enabled")
    client = IoTHubDeviceClient.create_from_connection_string(
        process.connection_string("pump-1"), connection_retry_interval=1
    )
    try:
        for number in range(30):
            client.send_message(str(number))
            if number % 10 == 9:
                process.kill()
                process = Process(tmp_path, process.host)
                eventually(lambda: client.connected)
        arrived = [int(line) for line in (tmp_path / "events").read_bytes().splitlines()]
        assert list(dict.fromkeys(arrived)) == list(range(30))
    finally:
        client.shutdown()
        process.kill()


async def test_one_folder_is_one_emulator(hub: HubThread, certificates: Certificates, tmp_path: Path) -> None:
    """A second emulator on the same folder stops at once and says why."""

    async def publish(event: object) -> None:
        raise AssertionError(event)

    with pytest.raises(RuntimeError, match="another emulator"):
        async with IotHub(tmp_path / "hub", certificates=certificates, publish=publish, host=None):
            pass
    assert hub.registry.get_device("pump-1").device_id == "pump-1"


async def test_a_taken_port_is_named(hub: HubThread, certificates: Certificates, tmp_path: Path) -> None:
    """A given address is taken or nothing is."""

    async def publish(event: object) -> None:
        raise AssertionError(event)

    with pytest.raises(OSError, match="in use"):
        async with IotHub(tmp_path / "other", certificates=certificates, publish=publish, host=hub.hub.host_name):
            pass


def test_stored_device_is_readable(hub: HubThread) -> None:
    """The state holds plain JSON, so that a developer can look into it."""
    row = hub.call(lambda: hub.hub._hub.state._db.execute("SELECT device FROM device").fetchone())
    assert msgspec.json.decode(row[0])["deviceId"] == "pump-1"
