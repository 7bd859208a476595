"""Direct methods: a call waits for the device, then for its answer."""

import asyncio
import secrets
from typing import Annotated
from urllib.parse import quote

import msgspec

from local_emulator.iot_hub.errors import ErrorCode, HubError
from local_emulator.iot_hub.hub import Hub
from local_emulator.iot_hub.session import MethodAnswer, Session
from local_emulator.iot_hub.topics import METHODS

MAX_PAYLOAD_BYTES = 128 * 1024


class MethodCall(msgspec.Struct, frozen=True, rename="camel"):
    """What the back end asks for."""

    method_name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    payload: msgspec.Raw = msgspec.Raw(b"")
    response_timeout_in_seconds: Annotated[int, msgspec.Meta(ge=5, le=300)] = 30
    connect_timeout_in_seconds: Annotated[int, msgspec.Meta(ge=0, le=300)] = 0


class MethodResult(msgspec.Struct, frozen=True):
    """What the back end is told."""

    status: int
    payload: msgspec.Raw


async def invoke(hub: Hub, device_id: str, call: MethodCall) -> MethodResult:
    """Call a method of a device and return its answer."""
    if len(bytes(call.payload)) > MAX_PAYLOAD_BYTES:
        raise HubError(ErrorCode.MessageTooLarge, f"the payload is larger than {MAX_PAYLOAD_BYTES} bytes")
    hub.device(device_id)
    session = hub.session(device_id)
    await _wait_for_device(session, call.connect_timeout_in_seconds)
    request_id = secrets.token_hex(8)
    answer: asyncio.Future[MethodAnswer] = asyncio.get_running_loop().create_future()
    session.method_answers[request_id] = answer
    try:
        topic = f"$iothub/methods/POST/{quote(call.method_name, safe='')}/?$rid={request_id}"
        session.deliver(METHODS, topic, bytes(call.payload))
        async with asyncio.timeout(call.response_timeout_in_seconds):
            given = await answer
    except TimeoutError:
        raise HubError(
            ErrorCode.GatewayTimeout,
            f"the device did not answer within {call.response_timeout_in_seconds} seconds",
        ) from None
    finally:
        del session.method_answers[request_id]
    return MethodResult(given.status, msgspec.Raw(given.payload or b"null"))


async def _wait_for_device(session: Session, seconds: int) -> None:
    if session.hears_methods:
        return
    try:
        async with asyncio.timeout(seconds):
            await session.wait_for_methods()
    except TimeoutError:
        raise HubError(
            ErrorCode.DeviceNotOnline, "the device is not connected, or has not subscribed to direct methods"
        ) from None


def answer(session: Session, status: int, request_id: str, payload: bytes) -> None:
    """Pass a device's answer to the call that waits for it; late answers have no taker."""
    waiting = session.method_answers.get(request_id)
    if waiting is not None and not waiting.done():
        waiting.set_result(MethodAnswer(status, payload))
