"""Direct methods: REST to the device and back."""

import asyncio
import json
import threading
from typing import Any

import pytest
from azure.iot.device import MethodRequest, MethodResponse
from azure.iot.hub.models import CloudToDeviceMethod, CloudToDeviceMethodResult
from msrest.exceptions import HttpOperationError

from tests.local_emulator.iot_hub.conftest import HubThread, NewAsyncDevice, NewDevice
from tests.local_emulator.iot_hub.raw_device import eventually, publish_packet

METHODS = "$iothub/methods/POST/#"


def _invoke(hub: HubThread, name: str = "start", payload: Any = None, *, connect: int = 0) -> CloudToDeviceMethodResult:
    call = CloudToDeviceMethod(
        method_name=name, payload=payload, response_timeout_in_seconds=5, connect_timeout_in_seconds=connect
    )
    return hub.registry.invoke_device_method("pump-1", call)


class Later:
    """A call in the background."""

    def __init__(self, hub: HubThread, *arguments: Any, **options: Any) -> None:
        self._answers: list[CloudToDeviceMethodResult] = []
        self._thread = threading.Thread(
            target=lambda: self._answers.append(_invoke(hub, *arguments, **options)), daemon=True
        )
        self._thread.start()

    @property
    def answer(self) -> tuple[int, Any]:
        """Status and payload."""
        self._thread.join(20)
        (result,) = self._answers
        return result.status, result.payload


def test_sdk_answers(hub: HubThread, new_device: NewDevice) -> None:
    """Name, payload, status and answer pass through the synchronous SDK."""
    device = new_device()
    requests: list[MethodRequest] = []

    def handle(request: MethodRequest) -> None:
        requests.append(request)
        device.send_method_response(MethodResponse(request.request_id, 207, {"did": request.payload}))

    device.on_method_request_received = handle
    result = _invoke(hub, "motor*start now/ü", {"speed": 5})
    assert (result.status, result.payload) == (207, {"did": {"speed": 5}})
    assert [(request.name, request.payload) for request in requests] == [("motor*start now/ü", {"speed": 5})]
    assert _invoke(hub, "list", [1, None, "a"]).payload == {"did": [1, None, "a"]}


async def test_async_sdk_answers(hub: HubThread, new_async_device: NewAsyncDevice) -> None:
    """The asynchronous SDK hears methods, and hears them still after its connection was cut."""
    device = new_async_device(connection_retry_interval=1)

    async def handle(request: MethodRequest) -> None:
        await device.send_method_response(MethodResponse(request.request_id, 200, request.payload))

    device.on_method_request_received = handle
    assert (await asyncio.to_thread(_invoke, hub, "echo", 1)).payload == 1
    assert hub.kick("pump-1")
    assert (await asyncio.to_thread(_invoke, hub, "echo", 2, connect=20)).payload == 2


def test_absent_device_is_not_online(hub: HubThread) -> None:
    """404103, whether it is not connected or does not listen."""
    for is_connected in (False, True):
        device = hub.connected("pump-1") if is_connected else None
        with pytest.raises(HttpOperationError) as raised:
            _invoke(hub)
        if device is not None:
            device.__exit__(None, None, None)
        assert raised.value.response.status_code == 404
        assert raised.value.response.headers["iothub-errorcode"] == "DeviceNotOnline"
        assert json.loads(raised.value.response.json()["Message"])["errorCode"] == 404103


def test_call_waits_for_the_device(hub: HubThread) -> None:
    """With a connect time-out the call waits until the device listens, not only until it is connected."""
    call = Later(hub, "start", [1], connect=30)
    with hub.connected("pump-1") as device:
        device.ping()
        assert device.subscribe(METHODS) == [1]
        topic, payload, *_ = device.receive_message()
        name, _, request_id = topic.removeprefix("$iothub/methods/POST/").partition("/?$rid=")
        assert (name, json.loads(payload)) == ("start", [1])
        device.send(publish_packet(f"$iothub/methods/res/200/?$rid={request_id}", b'{"ok":true}'))
        assert call.answer == (200, {"ok": True})


def test_unanswered_call_times_out(hub: HubThread) -> None:
    """504101; an answer that comes too late has no effect."""
    with hub.connected("pump-1", keep_alive=0) as device:
        device.subscribe(METHODS)
        with pytest.raises(HttpOperationError) as raised:
            _invoke(hub)
        assert raised.value.response.status_code == 504
        assert json.loads(raised.value.response.json()["Message"])["errorCode"] == 504101
        topic = device.receive_message()[0]
        device.send(publish_packet(f"$iothub/methods/res/200/?$rid={topic.partition('$rid=')[2]}"))
        device.ping()


def test_answer_may_come_over_a_new_connection(hub: HubThread) -> None:
    """A device that lost its connection while it worked answers on the next one."""
    call = Later(hub, connect=30)
    with hub.connected("pump-1") as device:
        device.subscribe(METHODS)
        topic = device.receive_message()[0]
    eventually(lambda: not hub.is_connected("pump-1"))
    with hub.connected("pump-1") as device:
        assert device.is_session_present
        device.send(publish_packet(f"$iothub/methods/res/201/?$rid={topic.partition('$rid=')[2]}", b""))
        assert call.answer == (201, None)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("$iothub/methods/res/ok/?$rid=1", b"{}"),
        ("$iothub/methods/res/200/", b"{}"),
        ("$iothub/methods/res/200/?$rid=1", b"{"),
    ],
)
def test_malformed_answers_close_the_connection(hub: HubThread, topic: str, payload: bytes) -> None:
    """An answer needs a number, a request id and JSON."""
    with hub.connected("pump-1") as device:
        device.send(publish_packet(topic, payload))
        assert device.is_closed_by_hub()


def test_calls_are_checked(hub: HubThread) -> None:
    """Time-outs have limits, and the device must exist."""
    registry = hub.registry
    with pytest.raises(HttpOperationError) as raised:
        registry.invoke_device_method("pump-1", CloudToDeviceMethod(method_name="a", response_timeout_in_seconds=4))
    assert raised.value.response.status_code == 400
    with pytest.raises(HttpOperationError) as raised:
        registry.invoke_device_method("nobody", CloudToDeviceMethod(method_name="a"))
    assert raised.value.response.headers["iothub-errorcode"] == "DeviceNotFound"
