"""Cloud-to-device messages: queued, delivered in order, and delivered again until acknowledged."""

import queue
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from local_emulator.certificates import Certificates
from tests.local_emulator.iot_hub.conftest import HubThread, NewAsyncDevice, NewDevice
from tests.local_emulator.iot_hub.raw_device import RawDevice, eventually, signature

if TYPE_CHECKING:
    from azure.iot.device import Message

FILTER = "devices/pump-1/messages/devicebound/#"
TOPIC = "devices/pump-1/messages/devicebound/"
SECONDS = 20
DUPLICATE = 8


def _send(hub: HubThread, body: bytes | str, device_id: str = "pump-1", **headers: str) -> requests.Response:
    address = f"{hub.hub.host_name}:{hub.hub.rest_port}"
    key = hub.hub.policy_connection_string("service").partition("SharedAccessKey=")[2]
    named = {name.replace("_", "-"): value.encode() for name, value in headers.items()}
    return requests.post(
        f"https://{address}/devices/{device_id}/messages/devicebound?api-version=2021-04-12",
        data=body,
        headers={"Authorization": signature(address, key, policy="service"), **named},
        timeout=SECONDS,
    )


def _queue_length(hub: HubThread) -> int:
    length: int = hub.registry.get_device("pump-1").cloud_to_device_message_count
    return length


def _bodies(device: RawDevice, count: int) -> list[bytes]:
    return [device.receive_message()[1] for _ in range(count)]


def test_sdk_receives(hub: HubThread, new_device: NewDevice) -> None:
    """Body, system properties and own properties reach the synchronous SDK; then the queue is empty."""
    device = new_device()
    received: queue.Queue[Message] = queue.Queue()
    device.on_message_received = received.put
    answer = _send(
        hub,
        "open the valve",
        iothub_messageid="m/1",
        iothub_correlationid="c-1",
        iothub_contenttype="text/plain",
        iothub_ack="none",
        iothub_app_Colour="dark red & 1+1=2",
        iothub_app_empty="",
    )
    assert answer.status_code == 204
    message = received.get(timeout=SECONDS)
    assert message.data == b"open the valve"
    assert (message.message_id, message.correlation_id, message.ack) == ("m/1", "c-1", "none")
    assert message.content_type == "text/plain"
    assert message.custom_properties == {"Colour": "dark red & 1+1=2", "empty": ""}
    eventually(lambda: _queue_length(hub) == 0)


async def test_async_sdk_receives_what_was_queued(hub: HubThread, new_async_device: NewAsyncDevice) -> None:
    """The asynchronous SDK gets what was sent while it was away, also after a drop."""
    for number in range(3):
        _send(hub, str(number))
    device = new_async_device(connection_retry_interval=1)
    received: queue.Queue[bytes] = queue.Queue()
    device.on_message_received = lambda message: received.put(message.data)
    await device.connect()
    # The SDK runs its handlers side by side: the order on the wire is another test's business.
    assert {received.get(timeout=SECONDS) for _ in range(3)} == {b"0", b"1", b"2"}
    eventually(lambda: _queue_length(hub) == 0)
    assert hub.kick("pump-1")
    _send(hub, "after the drop")
    assert received.get(timeout=SECONDS) == b"after the drop"


def test_topic_is_encoded(hub: HubThread) -> None:
    """Slashes are encoded, because SDKs split the topic on them."""
    with hub.connected("pump-1") as device:
        device.subscribe(FILTER)
        _send(hub, b"x", iothub_messageid="a/b c")
        topic, payload, packet_id, flags = device.receive_message()
    assert topic == TOPIC + "%24.to=%2Fdevices%2Fpump-1%2Fmessages%2FdeviceBound&%24.mid=a%2Fb%20c"
    assert (payload, flags) == (b"x", 2)
    assert packet_id > 0


def test_redelivery_until_acknowledged(hub: HubThread) -> None:
    """A message that is not acknowledged comes again on the next connection, marked as a duplicate."""
    _send(hub, "1")
    _send(hub, "2")
    with hub.connected("pump-1") as device:
        device.subscribe(FILTER)
        _, body, packet_id, flags = device.receive_message()
        assert (body, flags & DUPLICATE) == (b"1", 0)
        device.receive_message()
        device.acknowledge(packet_id)
        device.ping()
    assert _queue_length(hub) == 1
    with hub.connected("pump-1") as device:
        assert device.is_session_present
        _, body, packet_id, flags = device.receive_message()
        assert (body, flags & DUPLICATE) == (b"2", DUPLICATE)
        device.acknowledge(packet_id)
        device.ping()
    assert _queue_length(hub) == 0


def test_a_clean_session_forgets_subscriptions_not_messages(hub: HubThread) -> None:
    """The queue belongs to the device, the subscriptions to its session."""
    with hub.connected("pump-1") as device:
        device.subscribe(FILTER)
    _send(hub, "1")
    with hub.connected("pump-1", clean=True) as device:
        assert not device.is_session_present
        device.ping()
        device.subscribe(FILTER)
        assert device.receive_message()[1] == b"1"


def test_a_message_is_given_up_after_ten_deliveries(hub: HubThread) -> None:
    """A message that kills its device does not do so for ever."""
    _send(hub, "poison")
    for _ in range(10):
        with hub.connected("pump-1") as device:
            if not device.is_session_present:
                device.subscribe(FILTER)
            assert device.receive_message()[1] == b"poison"
    with hub.connected("pump-1") as device:
        device.ping()
    assert _queue_length(hub) == 0


def test_quality_of_service_0(hub: HubThread) -> None:
    """A subscriber at QoS 0 gets each message once."""
    with hub.connected("pump-1") as device:
        assert device.subscribe(FILTER, qos=0) == [0]
        _send(hub, "1")
        assert device.receive_message()[1:] == (b"1", 0, 0)
    assert _queue_length(hub) == 0


def test_subscriptions_are_limited_to_the_hub(hub: HubThread) -> None:
    """Other filters are refused, QoS 2 is granted as 1, unsubscribing ends delivery."""
    with hub.connected("pump-1") as device:
        other = "devices/pump-2/messages/devicebound/#"
        assert device.subscribe(FILTER, other, "#", "a/b", qos=2) == [1, 0x80, 0x80, 0x80]
        device.send(b"\xa2\x29\x00\x09\x00\x25" + FILTER.encode())
        assert device.receive() == (0xB0, b"\0\x09")
        _send(hub, "1")
        device.ping()
    assert _queue_length(hub) == 1


def test_queue_holds_fifty(hub: HubThread) -> None:
    """The 51st is refused with 403004; purging makes room."""
    for number in range(50):
        assert _send(hub, str(number)).status_code == 204
    refused = _send(hub, "51")
    assert refused.status_code == 403
    assert refused.headers["iothub-errorcode"] == "DeviceMaximumQueueDepthExceeded"
    with hub.connected("pump-1") as device:
        device.subscribe(FILTER)
        assert _bodies(device, 50) == [b"%d" % number for number in range(50)]
    purged = requests.delete(
        f"https://{hub.hub.host_name}:{hub.hub.rest_port}/devices/pump-1/commands?api-version=2021-04-12",
        headers={"Authorization": _owner(hub)},
        timeout=SECONDS,
    )
    assert purged.json() == {"totalMessagesPurged": 50, "deviceId": "pump-1", "moduleId": None}
    assert _queue_length(hub) == 0


def _owner(hub: HubThread) -> str:
    key = hub.hub.service_connection_string.partition("SharedAccessKey=")[2]
    return signature(f"{hub.hub.host_name}:{hub.hub.rest_port}", key, policy="iothubowner")


def test_refusals(hub: HubThread) -> None:
    """Too large, to nobody, with a time that is none."""
    assert _send(hub, b"x" * 65_537).status_code == 413
    assert _send(hub, b"x" * 1000, iothub_app_a="y" * 4000).status_code == 204
    unknown = _send(hub, "1", device_id="nobody")
    assert (unknown.status_code, unknown.headers["iothub-errorcode"]) == (404, "DeviceNotFound")
    assert _send(hub, "1", iothub_expiry="tomorrow").status_code == 400


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        """Seconds since 1970."""
        return datetime.now(UTC).timestamp() + self.offset


def test_messages_expire(tmp_path: Path, certificates: Certificates) -> None:
    """A message lives an hour, or as long as its sender says."""
    clock = Clock()
    with HubThread(tmp_path, certificates, clock=clock) as hub:
        hub.registry.create_device_with_sas("pump-1", None, None, "enabled")
        soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
        late = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
        _send(hub, "a minute", iothub_expiry=soon)
        _send(hub, "an hour")
        _send(hub, "three hours", iothub_expiry=late)
        for offset, expected in ((120.0, [b"an hour", b"three hours"]), (3700.0, [b"three hours"])):
            clock.offset = offset
            device = hub.raw("pump-1")
            with device:
                until = int(clock()) + 3600
                assert device.connect(hub.token("pump-1", expiry=until)) == 0
                if not device.is_session_present:
                    device.subscribe(FILTER)
                assert _bodies(device, len(expected)) == expected
                device.ping()


@pytest.mark.parametrize("name", ["iothub-messageid", "Iothub-MessageId"])
def test_header_names_ignore_case(hub: HubThread, name: str) -> None:
    """As in HTTP."""
    with hub.connected("pump-1") as device:
        device.subscribe(FILTER)
        _send(hub, "1", **{name: "m"})
        assert device.receive_message()[0].endswith("%24.mid=m")
