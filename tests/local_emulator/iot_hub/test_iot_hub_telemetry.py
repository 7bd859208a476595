"""Telemetry: what a device sends is what the stream gets, acknowledged only then."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.iot.device import Message

from local_emulator.certificates import Certificates
from local_emulator.iot_hub.protocol.mqtt import MAX_WAITING
from tests.local_emulator.iot_hub.conftest import HubThread, NewAsyncDevice, NewDevice
from tests.local_emulator.iot_hub.raw_device import RawDevice, publish_packet

TOPIC = "devices/pump-1/messages/events/"
QOS_1, QOS_2, RETAIN, DUPLICATE = 2, 4, 1, 8


def _full_message() -> Message:
    message = Message(
        json.dumps({"flow": 1.5}),
        message_id="m-1",
        content_type="application/json",
        content_encoding="utf-8",
    )
    message.correlation_id = "c-1"
    message.user_id = "user"
    message.expiry_time_utc = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    message.custom_properties["shift"] = "A&B = ü/+%"
    message.custom_properties["$.sub"] = "motor"
    message.custom_properties["$.ctime"] = "2026-01-01T00:00:00Z"
    return message


def _check_full_event(hub: HubThread) -> None:
    (event,) = hub.stream.wait_for(1)
    assert event.device_id == event.partition_key == "pump-1"
    assert json.loads(event.body) == {"flow": 1.5}
    assert event.properties == {
        "message-id": "m-1",
        "correlation-id": "c-1",
        "user-id": "user",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "absolute-expiry-time": datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
    }
    assert event.application_properties == {"shift": "A&B = ü/+%"}
    annotations = dict(event.annotations)
    received = annotations.pop("iothub-enqueuedtime")
    assert isinstance(received, datetime)
    assert abs(datetime.now(UTC) - received) < timedelta(minutes=1)
    assert annotations == {
        "iothub-connection-device-id": "pump-1",
        "iothub-connection-auth-method": (
            '{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}'
        ),
        "iothub-connection-auth-generation-id": hub.registry.get_device("pump-1").generation_id,
        "iothub-message-source": "Telemetry",
        "dt-subject": "motor",
        "iothub-creation-time-utc": "2026-01-01T00:00:00Z",
    }


def test_sdk_message_arrives_whole(hub: HubThread, new_device: NewDevice) -> None:
    """The synchronous SDK's message keeps its body, its system properties and its own properties."""
    new_device().send_message(_full_message())
    _check_full_event(hub)


async def test_async_sdk_message_arrives_whole(hub: HubThread, new_async_device: NewAsyncDevice) -> None:
    """So does the asynchronous SDK's."""
    await new_async_device().send_message(_full_message())
    _check_full_event(hub)


def test_messages_keep_their_order(hub: HubThread) -> None:
    """Messages that a device sends without waiting arrive as it sent them, however long each one takes."""
    hub.stream.is_uneven = True
    with hub.connected("pump-1") as device:
        numbers = range(1, 301)
        device.send(
            b"".join(
                publish_packet(TOPIC, b"%d" % number, packet_id=number, flags=QOS_1 * (number % 2))
                for number in numbers
            )
        )
        device.ping_after([number for number in numbers if number % 2])
    assert [int(body) for body in hub.stream.bodies] == list(numbers)


async def test_async_sdk_sends_side_by_side(hub: HubThread, new_async_device: NewAsyncDevice) -> None:
    """The asynchronous SDK may send many messages at once; each one is acknowledged."""
    device = new_async_device()
    await device.connect()
    await asyncio.gather(*(device.send_message(str(number)) for number in range(100)))
    assert sorted(int(body) for body in hub.stream.bodies) == list(range(100))


def test_model_id_is_announced(hub: HubThread, new_device: NewDevice) -> None:
    """A Plug and Play device's model stands in its twin and on each of its events."""
    model = "dtmi:com:example:Thermostat;1"
    new_device(product_info=model).send_message("{}")
    (event,) = hub.stream.wait_for(1)
    assert event.annotations["dt-dataschema"] == model
    assert hub.registry.get_twin("pump-1").additional_properties["modelId"] == model
    hub.registry.create_device_with_sas("pump-2", None, None, "enabled")
    with hub.connected("pump-2") as plain:
        plain.send(publish_packet("devices/pump-2/messages/events/"))
        plain.ping()
    assert "dt-dataschema" not in hub.stream.wait_for(2)[1].annotations


@pytest.mark.parametrize(
    ("bag", "expected"),
    [
        ("", {}),
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("?a=1/", {"a": "1"}),
        ("path=a/b/c", {"path": "a/b/c"}),
        ("sum=1+1", {"sum": "1+1"}),
        ("sum=1%2B1&empty=&null", {"sum": "1+1", "empty": "", "null": ""}),
        ("equation=a=b", {"equation": "a=b"}),
        ("%24.zz=1&%C3%BC=%20", {"$.zz": "1", "ü": " "}),
    ],
)
def test_bags_of_other_clients(hub: HubThread, bag: str, expected: dict[str, str]) -> None:
    """All ways in which clients write properties are read."""
    with hub.connected("pump-1") as device:
        device.send(publish_packet(TOPIC + bag))
        device.ping()
    assert hub.stream.wait_for(1)[0].application_properties == expected


def test_topic_without_a_slash_at_its_end(hub: HubThread) -> None:
    """The bag may be missing with its slash."""
    with hub.connected("pump-1") as device:
        device.send(publish_packet(TOPIC.rstrip("/"), b"bare"))
        device.ping()
    assert hub.stream.bodies == [b"bare"]


def test_retain_becomes_a_property(hub: HubThread) -> None:
    """The hub keeps nothing, it says that it was asked to."""
    with hub.connected("pump-1") as device:
        device.send(publish_packet(TOPIC, flags=RETAIN))
        device.ping()
    assert hub.stream.events[0].application_properties == {"mqtt-retain": "true"}


def test_acknowledgement_waits_for_the_stream(hub: HubThread) -> None:
    """PUBACK is sent when the event is kept, not before."""
    with hub.connected("pump-1") as device:
        hub.hold_back()
        device.send(publish_packet(TOPIC, b"1", packet_id=17, flags=QOS_1) + b"\xc0\0")
        assert hub.stream.events == []
        hub.let_go()
        assert device.receive() == (0x40, b"\0\x11")
        assert hub.stream.bodies == [b"1"]
        assert device.receive() == (0xD0, b"")


def test_no_acknowledgement_without_the_stream(hub: HubThread) -> None:
    """What the stream does not take is not acknowledged: the connection ends, the device sends it again."""
    hub.stream.failures = 1
    with hub.connected("pump-1") as device:
        device.send(publish_packet(TOPIC, b"1", packet_id=1, flags=QOS_1))
        assert device.is_closed_by_hub()
    with hub.connected("pump-1") as device:
        device.send(publish_packet(TOPIC, b"1", packet_id=1, flags=QOS_1 | DUPLICATE))
        assert device.receive() == (0x40, b"\0\1")
    assert hub.stream.bodies == [b"1"]


def test_duplicates_are_kept(hub: HubThread) -> None:
    """Delivery is at least once: neither packet id nor DUP nor message id drops anything."""
    with hub.connected("pump-1") as device:
        for flags in (QOS_1, QOS_1 | DUPLICATE, QOS_1 | DUPLICATE):
            device.send(publish_packet(TOPIC + "%24.mid=same", b"1", packet_id=5, flags=flags))
            assert device.receive() == (0x40, b"\0\5")
    assert [event.properties["message-id"] for event in hub.stream.events] == ["same"] * 3


def test_order_survives_a_takeover(hub: HubThread) -> None:
    """What a device sends on a new connection comes after what its old one has under way."""
    with hub.connected("pump-1") as old:
        hub.hold_back()
        old.send(b"".join(publish_packet(TOPIC, b"old") for _ in range(3)))
        new = hub.connected("pump-1")
        with new:
            new.send(publish_packet(TOPIC, b"new"))
            hub.let_go()
            new.ping()
    assert hub.stream.bodies[-1] == b"new"
    assert set(hub.stream.bodies[:-1]) <= {b"old"}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (publish_packet(TOPIC, packet_id=1, flags=QOS_2), "QoS 2"),
        (publish_packet("devices/other/messages/events/"), "another device's topic"),
        (publish_packet("some/topic"), "no topic of the hub"),
        (publish_packet(TOPIC + "a=1", b"x" * (262_144 - 1)), "one byte too many, properties included"),
        (b"\x30\xff\xff\xff\x7f", "a packet of 256 MB"),
        (b"\x30\xff\xff\xff\xff\x01", "a length of five bytes"),
        (b"\x82\x02\x00\x01", "SUBSCRIBE without a filter"),
        (b"\x10\x02\x00\x00", "a second CONNECT"),
        (b"\x20\x02\x00\x00", "a packet only servers send"),
        (publish_packet("a\0b"), "a null character"),
        (b"\x32\x07\x00\x01a\x00\x00{}", "packet id 0"),
        (publish_packet(TOPIC + "%24.exp=soon"), "an expiry that is no time"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_violations_close_the_connection(hub: HubThread, data: bytes, why: str) -> None:
    """MQTT 3.1.1 has no error message: the service hangs up, and nothing reaches the stream."""
    with hub.connected("pump-1") as device:
        device.send(data)
        assert device.is_closed_by_hub(), why
    assert hub.stream.events == []
    with hub.connected("pump-1") as device:
        device.ping()


def test_largest_message_is_taken(hub: HubThread) -> None:
    """Body, names and values of properties make 262,144 bytes."""
    with hub.connected("pump-1") as device:
        device.send(publish_packet(TOPIC + "a=1", b"x" * (262_144 - 2), packet_id=1, flags=QOS_1))
        assert device.receive() == (0x40, b"\0\1")
    assert len(hub.stream.events[0].body) == 262_142


def test_packets_may_come_in_pieces(hub: HubThread) -> None:
    """Packet borders and network reads have nothing to do with each other."""
    with hub.connected("pump-1") as device:
        both = publish_packet(TOPIC, b"first") + publish_packet(TOPIC, b"second")
        for position in range(len(both)):
            device.send(both[position : position + 1])
        device.ping()
    assert hub.stream.bodies == [b"first", b"second"]


def test_a_fast_device_is_slowed_down(hub: HubThread) -> None:
    """While the stream takes nothing, the hub stops reading; nothing is lost when it goes on."""
    with hub.connected("pump-1") as device:
        hub.hold_back()
        assert device.is_blocked(publish_packet(TOPIC, b"x" * 200_000), limit=100_000_000)
        # Those that the hub had taken, those in TLS's and the kernel's buffers: nothing like all.
        assert hub.call(lambda: len(next(iter(hub.hub._listener._connections))._waiting)) <= 2 * MAX_WAITING
        hub.let_go()
        hub.stream.wait_for(MAX_WAITING)


def _lose(device: RawDevice) -> None:
    device.__exit__(None, None, None)


def test_last_will_is_sent_for_a_lost_device(hub: HubThread) -> None:
    """A device that vanishes leaves its will as telemetry."""
    device = hub.connected("pump-1", will=(TOPIC + "a=1", b"gone"))
    _lose(device)
    (event,) = hub.stream.wait_for(1)
    assert event.body == b"gone"
    assert event.application_properties == {"a": "1", "iothub-MessageType": "Will"}


def test_no_will_after_a_goodbye(hub: HubThread) -> None:
    """A device that says DISCONNECT leaves no will; what it sent before is kept."""
    with hub.connected("pump-1", will=(TOPIC, b"gone")) as device:
        device.send(publish_packet(TOPIC, b"last") + b"\xe0\0")
        assert device.is_closed_by_hub()
    with hub.connected("pump-1") as device:
        device.send(publish_packet(TOPIC, b"next"))
        device.ping()
    assert hub.stream.bodies == [b"last", b"next"]


def test_scattered_events_have_no_partition_key(tmp_path: Path, certificates: Certificates) -> None:
    """That a stream is keyed by device is not promised; this option lets users prove they do not need it."""
    with HubThread(tmp_path, certificates, partitioning="scattered") as hub:
        hub.registry.create_device_with_sas("pump-1", None, None, "enabled")
        with hub.connected("pump-1") as device:
            device.send(publish_packet(TOPIC))
            device.ping()
        assert [event.partition_key for event in hub.stream.events] == [None]
