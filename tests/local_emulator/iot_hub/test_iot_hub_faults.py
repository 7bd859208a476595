"""Network faults put between devices and hub: the SDK must come back, and nothing may be lost."""

import queue
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from azure.iot.device import IoTHubDeviceClient, MethodRequest, MethodResponse
from azure.iot.device.exceptions import ConnectionFailedError
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties

from local_emulator.iot_hub import Network
from tests.local_emulator.iot_hub.conftest import HubThread, NewDevice
from tests.local_emulator.iot_hub.raw_device import RawDevice, eventually, next_with, publish_packet

TOPIC = "devices/pump-1/messages/events/"
SECONDS = 20
QOS_1 = 2


@pytest.fixture
def device(new_device: NewDevice) -> IoTHubDeviceClient:
    """A genuine client that notices soon and comes back soon."""
    client = new_device(connection_retry_interval=1, keep_alive=2)
    client.connect()
    return client


def _set(hub: HubThread, network: Network) -> None:
    hub.run(hub.hub.set_network(network))


def _echo(hub: HubThread, payload: int) -> object:
    call = CloudToDeviceMethod(
        method_name="echo", payload=payload, response_timeout_in_seconds=20, connect_timeout_in_seconds=20
    )
    return hub.registry.invoke_device_method("pump-1", call).payload


def _listen(device: IoTHubDeviceClient) -> "queue.Queue[dict[str, object]]":
    """Make a client answer methods, and collect the changes it hears of."""

    def answer(request: MethodRequest) -> None:
        device.send_method_response(MethodResponse(request.request_id, 200, request.payload))

    patches: queue.Queue[dict[str, object]] = queue.Queue()
    device.on_method_request_received = answer
    device.on_twin_desired_properties_patch_received = patches.put
    return patches


def test_methods_and_patches_survive_a_kick(hub: HubThread, device: IoTHubDeviceClient) -> None:
    """The SDK does not subscribe again: the hub remembers."""
    patches = _listen(device)
    for number in range(3):
        assert hub.kick("pump-1")
        assert _echo(hub, number) == number
        hub.registry.update_twin("pump-1", Twin(properties=TwinProperties(desired={"n": number})))
        assert next_with(patches, "n")["n"] == number
    assert not hub.kick("nobody")


def test_dropped_packets_arrive_late(hub: HubThread, device: IoTHubDeviceClient) -> None:
    """While the network drops packets nothing arrives; afterwards all does, on the same connection."""
    with RawDevice(hub.hub.host_name, hub._ca_file, "pump-2") as raw:
        hub.registry.create_device_with_sas("pump-2", None, None, "enabled")
        raw.connect(hub.token("pump-2"))
        _set(hub, Network.DROPPING)
        raw.send(publish_packet("devices/pump-2/messages/events/", b"late", packet_id=3, flags=QOS_1))
        assert _is_hanging(hub)
        assert hub.stream.events == []
        _set(hub, Network.UP)
        assert raw.receive() == (0x40, b"\0\3")
    device.send_message("after")
    assert hub.stream.bodies == [b"late", b"after"]


def _is_hanging(hub: HubThread) -> bool:
    """Whether a new connection is taken, and then gets no answer."""
    with socket.create_connection((hub.hub.host_name, 8883), timeout=SECONDS) as tried:
        tried.sendall(b"\x16\x03\x01")
        tried.settimeout(0.3)
        try:
            return bool(tried.recv(1))
        except TimeoutError:
            return True


def test_sdk_survives_dropping(hub: HubThread, device: IoTHubDeviceClient) -> None:
    """A message sent into the void is delivered once the network is back."""
    disconnected: queue.Queue[bool] = queue.Queue()
    device.on_connection_state_change = lambda: disconnected.put(not device.connected)
    _set(hub, Network.DROPPING)
    sent = _in_background(lambda: device.send_message("into the void"))
    assert disconnected.get(timeout=SECONDS)  # the keep-alive has told the SDK
    _set(hub, Network.UP)
    next(sent)
    assert set(hub.stream.bodies) == {b"into the void"}


def _in_background(work: Callable[[], None]) -> Iterator[None]:
    """Start some work now; the first step of the iterator waits for its end."""
    thread = threading.Thread(target=work)
    thread.start()

    def join() -> Iterator[None]:
        thread.join(60)
        assert not thread.is_alive()
        yield

    return join()


def test_sdk_survives_rejecting(hub: HubThread, device: IoTHubDeviceClient) -> None:
    """Connections are reset and refused; the SDK goes on trying, and what it refused meanwhile it takes afterwards."""
    patches = _listen(device)
    _set(hub, Network.REJECTING)
    eventually(lambda: not device.connected)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((hub.hub.host_name, 8883), timeout=SECONDS)
    # A send that finds the SDK between two attempts connects by itself, and raises where that is refused.
    with pytest.raises(ConnectionFailedError):
        device.send_message("impatience")
    _set(hub, Network.UP)
    device.send_message("patience")
    assert hub.stream.bodies == [b"patience"]
    assert _echo(hub, 7) == 7
    hub.registry.update_twin("pump-1", Twin(properties=TwinProperties(desired={"n": 1})))
    assert next_with(patches, "n")["n"] == 1


def test_unacknowledged_message_comes_again(hub: HubThread, device: IoTHubDeviceClient) -> None:
    """A connection that ends between event and acknowledgement makes a duplicate: that is at least once."""
    hub.hold_back()
    sent = _in_background(lambda: device.send_message("twice"))
    eventually(lambda: hub.call(hub.hub._hub.sessions["pump-1"].in_order.locked))
    assert hub.kick("pump-1")
    hub.let_go()
    next(sent)
    assert hub.stream.bodies == [b"twice", b"twice"]


def test_faults_can_follow_each_other(hub: HubThread) -> None:
    """Each state may follow each other one."""
    every = list(Network)
    for before in every:
        for after in every:
            _set(hub, before)
            _set(hub, after)
            _set(hub, Network.UP)
            with hub.connected("pump-1") as device:
                device.ping()
