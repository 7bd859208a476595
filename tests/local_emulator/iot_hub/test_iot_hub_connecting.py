"""CONNECT: who comes in, who does not, and how long one may stay."""

import socket
import time
from collections.abc import Callable

import pytest
from azure.iot.device import IoTHubDeviceClient
from azure.iot.device.aio import IoTHubDeviceClient as AsyncDeviceClient
from azure.iot.device.exceptions import CredentialError

from tests.local_emulator.iot_hub.conftest import HubThread, NewDevice
from tests.local_emulator.iot_hub.raw_device import eventually, signature

WRONG_KEY = "d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmc="
ACCEPTED, BAD_PROTOCOL, BAD_CLIENT_ID, NOT_AUTHORIZED = 0, 1, 2, 5


def _policy_key(hub: HubThread, policy: str) -> str:
    return hub.hub.policy_connection_string(policy).partition("SharedAccessKey=")[2]


def _resource(hub: HubThread) -> str:
    return f"{hub.hub.host_name}/devices/pump-1"


def _secondary(hub: HubThread) -> str:
    key = hub.registry.get_device("pump-1").authentication.symmetric_key.secondary_key
    return signature(_resource(hub), key)


@pytest.mark.parametrize(
    "password",
    [
        lambda hub: hub.token("pump-1"),
        _secondary,
        lambda hub: signature(_resource(hub), _policy_key(hub, "device"), policy="device"),
        lambda hub: signature(hub.hub.host_name, _policy_key(hub, "iothubowner"), policy="iothubowner"),
        lambda hub: hub.token("pump-1", encode=False),
        lambda hub: "SharedAccessSignature " + "&".join(reversed(hub.token("pump-1").split(" ")[1].split("&"))),
    ],
    ids=["primary", "secondary", "device-policy", "owner-policy", "not-encoded", "other-order"],
)
def test_good_tokens_admit(hub: HubThread, password: Callable[[HubThread], str]) -> None:
    """Both keys of the device and the keys of policies that may connect devices are good."""
    with hub.raw("pump-1") as device:
        assert device.connect(password(hub)) == ACCEPTED
        device.ping()


@pytest.mark.parametrize(
    "password",
    [
        lambda hub: signature(_resource(hub), WRONG_KEY),
        lambda hub: hub.token("pump-1", expiry=int(time.time()) - 1),
        lambda hub: signature(f"{hub.hub.host_name}/devices/pump-2", hub.key("pump-1")),
        lambda hub: signature(f"{hub.hub.host_name}/devices/pump-11", hub.key("pump-1")),
        lambda hub: signature(hub.hub.host_name, hub.key("pump-1")),
        lambda hub: signature("another-hub/devices/pump-1", hub.key("pump-1")),
        lambda hub: signature(_resource(hub), _policy_key(hub, "registryRead"), policy="registryRead"),
        lambda hub: signature(_resource(hub), _policy_key(hub, "service"), policy="service"),
        lambda hub: signature(_resource(hub), _policy_key(hub, "device"), policy="nobody"),
        lambda hub: signature(_resource(hub), hub.key("pump-1"), policy="device"),
        lambda _: "not a token",
        lambda _: "SharedAccessSignature sr=a&sig=b",
        lambda _: "SharedAccessSignature sr=a&sig=!&se=x",
        lambda _: None,
    ],
)
def test_bad_tokens_do_not_admit(hub: HubThread, password: Callable[[HubThread], str | None]) -> None:
    """A wrong key, resource, policy or time, or no token at all, is answered with code 5 and a closed door."""
    with hub.raw("pump-1") as device:
        assert device.connect(password(hub)) == NOT_AUTHORIZED
        assert device.is_closed_by_hub()


def test_unknown_and_disabled_devices_are_refused(hub: HubThread) -> None:
    """Only enabled devices of the registry come in."""
    with hub.raw("nobody") as device:
        assert device.connect(signature(f"{hub.hub.host_name}/devices/nobody", WRONG_KEY)) == NOT_AUTHORIZED
    hub.registry.create_device_with_sas("pump-2", None, None, "disabled")
    with hub.raw("pump-2") as device:
        assert device.connect(hub.token("pump-2")) == NOT_AUTHORIZED


@pytest.mark.parametrize(
    "username",
    [
        "{host}/pump-1/?api-version=2019-10-01&DeviceClientType=py%2F1",
        "{host}/pump-1/api-version=2016-11-14",
        "{host}/pump-1/",
        "{host}/pump-1",
    ],
)
def test_all_known_usernames_are_read(hub: HubThread, username: str) -> None:
    """Clients of all ages connect."""
    with hub.raw("pump-1") as device:
        name = username.format(host=hub.hub.host_name)
        assert device.connect(hub.token("pump-1"), username=name) == ACCEPTED


def test_wrong_protocol_and_client_id_are_refused(hub: HubThread) -> None:
    """Each has a code of its own."""
    with hub.raw("pump-1") as device:
        assert device.connect(hub.token("pump-1"), level=3) == BAD_PROTOCOL
    with hub.raw("pump-1") as device:
        assert device.connect(hub.token("pump-1"), client_id="") == BAD_CLIENT_ID
    with hub.raw("pump-1") as device:
        assert device.connect(hub.token("pump-1"), client_id="pump-2") == NOT_AUTHORIZED


def test_something_else_than_connect_is_cut_off(hub: HubThread) -> None:
    """Nothing is done for a client that has not said who it is."""
    with hub.raw("pump-1") as device:
        device.send(b"\xc0\0")
        assert device.is_closed_by_hub()
    with hub.raw("pump-1") as device:
        device.send(b"GET / HTTP/1.1\r\n\r\n")
        assert device.is_closed_by_hub()


def test_second_connection_closes_the_first(hub: HubThread) -> None:
    """A device has one connection: its newest."""
    with hub.connected("pump-1") as first, hub.connected("pump-1") as second:
        assert first.is_closed_by_hub()
        second.ping()
        assert hub.is_connected("pump-1")


def test_silent_device_is_cut_off(hub: HubThread) -> None:
    """After one and a half times the keep-alive without a packet the connection ends."""
    with hub.connected("pump-1", keep_alive=1) as device:
        began = time.monotonic()
        assert device.is_closed_by_hub()
        assert time.monotonic() - began > 1.4
    eventually(lambda: not hub.is_connected("pump-1"))


def test_connection_ends_with_its_token(hub: HubThread) -> None:
    """The hub closes the connection when the token expires."""
    until = int(time.time()) + 2
    with hub.raw("pump-1") as device:
        assert device.connect(hub.token("pump-1", expiry=until)) == ACCEPTED
        assert device.is_closed_by_hub()
        assert time.time() >= until


def test_policy_shows_in_the_events(hub: HubThread) -> None:
    """Events say whether a key of the device or of the hub let it in."""
    with hub.raw("pump-1") as device:
        device.connect(signature(_resource(hub), _policy_key(hub, "device"), policy="device"))
        device.send(b"\x30\x22\x00\x1edevices/pump-1/messages/events{}")
        device.ping()
    assert '"scope":"hub"' in str(hub.stream.events[0].annotations["iothub-connection-auth-method"])


def test_disabling_and_deleting_cut_the_device_off(hub: HubThread) -> None:
    """Taking the right to connect away ends the connection."""
    registry = hub.registry
    registry.create_device_with_sas("pump-2", None, None, "enabled")
    with hub.connected("pump-1") as device, hub.connected("pump-2") as other:
        one = registry.get_device("pump-1")
        keys = one.authentication.symmetric_key
        registry.update_device_with_sas("pump-1", one.etag, keys.primary_key, keys.secondary_key, "disabled")
        assert device.is_closed_by_hub()
        registry.delete_device("pump-2")
        assert other.is_closed_by_hub()


def test_sdk_reports_a_wrong_key(hub: HubThread) -> None:
    """The synchronous SDK raises its credential error, and does not try again."""
    text = f"HostName={hub.hub.host_name};DeviceId=pump-1;SharedAccessKey={WRONG_KEY}"
    client = IoTHubDeviceClient.create_from_connection_string(text)
    with pytest.raises(CredentialError):
        client.connect()
    client.shutdown()


async def test_async_sdk_reports_an_unknown_device(hub: HubThread) -> None:
    """So does the asynchronous one."""
    text = f"HostName={hub.hub.host_name};DeviceId=nobody;SharedAccessKey={WRONG_KEY}"
    client = AsyncDeviceClient.create_from_connection_string(text)
    with pytest.raises(CredentialError):
        await client.connect()
    await client.shutdown()


def test_sdk_renews_its_token(hub: HubThread, new_device: NewDevice) -> None:
    """A device whose token expires soon connects again by itself and goes on working."""
    # The SDK renews two minutes before the end.
    device = new_device(sastoken_ttl=122)
    device.connect()
    first = hub.call(lambda: hub.hub._hub.sessions["pump-1"].link)
    eventually(lambda: hub.call(lambda: hub.hub._hub.sessions["pump-1"].link) not in {first, None})
    device.send_message("after")
    assert hub.stream.bodies == [b"after"]


def test_small_packets_are_sent_at_once(hub: HubThread) -> None:
    """Without Nagle's algorithm, which holds a method back until the device has acknowledged the packet before."""
    with hub.connected("pump-1"):
        transport = hub.call(lambda: hub.hub._hub.sessions["pump-1"].link._transport)
        assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_gateway_name_reaches_the_emulator(hub: HubThread) -> None:
    """A device that keeps the name of a hub in Azure is led here by GatewayHostName alone."""
    address = hub.hub.host_name
    text = f"HostName=my-hub.azure-devices.net;DeviceId=pump-1;SharedAccessKey={hub.key('pump-1')}"
    client = IoTHubDeviceClient.create_from_connection_string(f"{text};GatewayHostName={address}")
    client.send_message("through the gateway name")
    client.shutdown()
    assert hub.stream.bodies == [b"through the gateway name"]
