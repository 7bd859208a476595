"""Twins: from the device through MQTT, from the back end through REST."""

import queue

import pytest
from azure.iot.hub.models import Twin, TwinProperties
from msrest.exceptions import HttpOperationError

from tests.local_emulator.iot_hub.conftest import HubThread, NewAsyncDevice, NewDevice
from tests.local_emulator.iot_hub.raw_device import eventually, next_with, publish_packet

RESPONSES = "$iothub/twin/res/#"
DESIRED = "$iothub/twin/PATCH/properties/desired/#"
REPORT = "$iothub/twin/PATCH/properties/reported/?$rid="
SECONDS = 20


def _desired(**values: object) -> Twin:
    return Twin(properties=TwinProperties(desired=values))


def _without_metadata(section: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in section.items() if key != "$metadata"}


def test_device_reads_and_reports(hub: HubThread, new_device: NewDevice) -> None:
    """The synchronous SDK reads the twin, and what it reports is merged and versioned."""
    hub.registry.update_twin("pump-1", _desired(speed=5))
    device = new_device()
    assert device.get_twin() == {"desired": {"speed": 5, "$version": 2}, "reported": {"$version": 1}}
    device.patch_twin_reported_properties({"a": {"b": 1, "c": 2}, "d": [1, 2]})
    device.patch_twin_reported_properties({"a": {"b": None, "e": "x"}})
    assert device.get_twin()["reported"] == {"a": {"c": 2, "e": "x"}, "d": [1, 2], "$version": 3}
    seen = hub.registry.get_twin("pump-1").properties.reported
    assert _without_metadata(seen) == {"a": {"c": 2, "e": "x"}, "d": [1, 2], "$version": 3}
    assert seen["$metadata"].keys() == {"$lastUpdated", "a", "d"}
    assert seen["$metadata"]["a"].keys() == {"$lastUpdated", "c", "e"}
    assert seen["$metadata"]["a"]["c"].keys() == {"$lastUpdated"}
    assert seen["$metadata"]["a"]["c"]["$lastUpdated"] < seen["$metadata"]["a"]["e"]["$lastUpdated"]


async def test_async_device_reads_and_reports(hub: HubThread, new_async_device: NewAsyncDevice) -> None:
    """The asynchronous SDK does the same."""
    device = new_async_device()
    await device.patch_twin_reported_properties({"on": True})
    assert await device.get_twin() == {"desired": {"$version": 1}, "reported": {"on": True, "$version": 2}}
    assert hub.registry.get_twin("pump-1").properties.reported["on"] is True


def test_desired_properties_reach_the_device(hub: HubThread, new_device: NewDevice) -> None:
    """A connected device is told each change with its version; a change of tags is not its business."""
    device = new_device()
    patches: queue.Queue[dict[str, object]] = queue.Queue()
    device.on_twin_desired_properties_patch_received = patches.put
    registry = hub.registry
    registry.update_twin("pump-1", _desired(speed=5, mode={"auto": True}))
    assert patches.get(timeout=SECONDS) == {"speed": 5, "mode": {"auto": True}, "$version": 2}
    registry.update_twin("pump-1", Twin(tags={"site": "north"}))
    registry.update_twin("pump-1", _desired(speed=None))
    assert patches.get(timeout=SECONDS) == {"speed": None, "$version": 3}
    twin = registry.get_twin("pump-1")
    assert twin.tags == {"site": "north"}
    assert _without_metadata(twin.properties.desired) == {"mode": {"auto": True}, "$version": 3}
    metadata = twin.properties.desired["$metadata"]
    assert metadata["$lastUpdatedVersion"] == 3
    assert metadata["mode"]["auto"]["$lastUpdatedVersion"] == 2
    assert "speed" not in metadata


def test_replacing_removes_what_is_not_given(hub: HubThread) -> None:
    """PUT leaves only the tags and desired properties of the request; the device hears what has gone."""
    registry = hub.registry
    registry.update_twin(
        "pump-1", Twin(tags={"a": 1, "b": 2}, properties=TwinProperties(desired={"x": {"y": 1, "z": 2}, "w": 1}))
    )
    with hub.connected("pump-1") as device:
        device.subscribe(DESIRED)
        registry.replace_twin("pump-1", Twin(tags={"b": 3}, properties=TwinProperties(desired={"x": {"z": 4}})))
        topic, payload, *_ = device.receive_message()
    assert topic == "$iothub/twin/PATCH/properties/desired/?$version=3"
    assert payload == b'{"w":null,"x":{"y":null,"z":4},"$version":3}'
    twin = registry.get_twin("pump-1")
    assert twin.tags == {"b": 3}
    assert _without_metadata(twin.properties.desired) == {"x": {"z": 4}, "$version": 3}


def test_a_twin_may_be_sent_back_as_it_was_read(hub: HubThread) -> None:
    """What the service adds to the properties does no harm on the way back."""
    registry = hub.registry
    registry.update_twin("pump-1", _desired(speed=5))
    twin = registry.get_twin("pump-1")
    twin.properties.desired["speed"] = 6
    registry.replace_twin("pump-1", twin)
    assert registry.get_twin("pump-1").properties.desired["speed"] == 6


def test_etag_guards_the_twin(hub: HubThread) -> None:
    """A stale tag is refused with 412; `*` and the current tag pass; reports of the device leave it alone."""
    registry = hub.registry
    before = registry.get_twin("pump-1")
    assert registry.update_twin("pump-1", _desired(speed=1), before.etag).etag != before.etag
    with pytest.raises(HttpOperationError) as raised:
        registry.update_twin("pump-1", _desired(speed=2), before.etag)
    assert raised.value.response.status_code == 412
    assert raised.value.response.headers["iothub-errorcode"] == "PreconditionFailed"
    after = registry.update_twin("pump-1", _desired(speed=2), "*")
    assert (after.version, after.properties.desired["$version"]) == (3, 3)
    with hub.connected("pump-1") as device:
        device.send(publish_packet(REPORT + "1", b'{"a":1}'))
        device.ping()
    reported = registry.get_twin("pump-1")
    assert (reported.etag, reported.version) == (after.etag, 4)


def test_responses_echo_the_request_id(hub: HubThread) -> None:
    """Request ids come back as they were sent; answers to QoS 1 follow the acknowledgement or precede it."""
    with hub.connected("pump-1") as device:
        assert device.subscribe(RESPONSES) == [1]
        device.send(publish_packet("$iothub/twin/GET/?$rid=a%20b-7", b" "))
        assert device.receive_message() == (
            "$iothub/twin/res/200/?$rid=a%20b-7",
            b'{"desired":{"$version":1},"reported":{"$version":1}}',
            0,
            0,
        )
        device.send(publish_packet(REPORT + "8", b'{"a":1}'))
        assert device.receive_message() == ("$iothub/twin/res/204/?$rid=8&$version=2", b"", 0, 0)


@pytest.mark.parametrize(
    "patch",
    [
        b"not json",
        b"[1]",
        b'{"a.b":1}',
        b'{"$a":1}',
        b'{"a b":1}',
        b'{"a":9007199254740993}',
        b'{"a":"' + b"x" * 4097 + b'"}',
        b'{"a":' * 11 + b"1" + b"}" * 11,
        b"{" + b",".join(b'"k%d":"%s"' % (number, b"x" * 4000) for number in range(9)) + b"}",
    ],
    ids=["text", "list", "dot", "dollar", "space", "number", "long", "deep", "large"],
)
def test_bad_reports_are_refused(hub: HubThread, patch: bytes) -> None:
    """The device is told 400, and nothing changes."""
    with hub.connected("pump-1") as device:
        device.subscribe(RESPONSES)
        device.send(publish_packet(REPORT + "1", patch))
        assert device.receive_message()[0] == "$iothub/twin/res/400/?$rid=1"
    assert hub.registry.get_twin("pump-1").properties.reported["$version"] == 1


def test_bad_desired_properties_are_refused(hub: HubThread) -> None:
    """The back end is told 400 with the reason."""
    with pytest.raises(HttpOperationError) as raised:
        hub.registry.update_twin("pump-1", _desired(**{"a.b": 1}))
    assert raised.value.response.status_code == 400
    assert raised.value.response.headers["iothub-errorcode"] == "ArgumentInvalid"


def test_only_subscribers_hear_of_changes(hub: HubThread) -> None:
    """Without a subscription nothing is sent, and changes are not queued for later."""
    with hub.connected("pump-1") as device:
        hub.registry.update_twin("pump-1", _desired(speed=1))
        device.ping()
        device.subscribe(DESIRED)
        device.ping()
        hub.registry.update_twin("pump-1", _desired(speed=2))
        assert device.receive_message()[1] == b'{"speed":2,"$version":3}'


def test_unknown_twin_is_not_found(hub: HubThread) -> None:
    """404 with the service's code."""
    with pytest.raises(HttpOperationError) as raised:
        hub.registry.get_twin("nobody")
    assert raised.value.response.status_code == 404
    assert raised.value.response.headers["iothub-errorcode"] == "DeviceNotFound"


def test_patches_arrive_after_a_reconnect(hub: HubThread, new_device: NewDevice) -> None:
    """The SDK subscribes once and for all; after a drop it hears changes, those meanwhile included."""
    device = new_device(connection_retry_interval=1)
    device.get_twin()  # subscribes to the answers that the SDK waits for when it connects again
    patches: queue.Queue[dict[str, object]] = queue.Queue()
    device.on_twin_desired_properties_patch_received = patches.put
    assert hub.kick("pump-1")
    hub.registry.update_twin("pump-1", _desired(speed=1))
    eventually(lambda: hub.is_connected("pump-1"))
    assert next_with(patches, "speed")["speed"] == 1
    hub.registry.update_twin("pump-1", _desired(speed=2))
    assert next_with(patches, "speed") == {"speed": 2, "$version": 3}
