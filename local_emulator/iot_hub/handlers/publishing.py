"""What a device publishes: find the operation by the topic."""

import msgspec

from local_emulator.iot_hub.errors import HubError, ProtocolViolation
from local_emulator.iot_hub.handlers import methods, telemetry, twins
from local_emulator.iot_hub.handlers.connecting import Visitor
from local_emulator.iot_hub.hub import Hub
from local_emulator.iot_hub.protocol.packets import Publish
from local_emulator.iot_hub.topics import (
    METHOD_RESPONSE,
    TWIN_GET,
    TWIN_PATCH,
    TWIN_RESPONSES,
    query_value,
    telemetry_bag,
)


async def take(hub: Hub, visitor: Visitor, message: Publish) -> None:
    """Do what a published message asks for; an unknown topic is a violation, as in the service."""
    topic = message.topic
    bag = telemetry_bag(topic, visitor.session.device_id)
    if bag is not None:
        await telemetry.send(hub, visitor, message, bag)
    elif topic.startswith(TWIN_GET):
        _get_twin(hub, visitor, topic)
    elif topic.startswith(TWIN_PATCH):
        _report(hub, visitor, topic, message.payload)
    elif topic.startswith(METHOD_RESPONSE):
        _answer(visitor, topic, message.payload)
    else:
        raise ProtocolViolation(f"the device {visitor.session.device_id!r} may not publish to {topic!r}")


def _get_twin(hub: Hub, visitor: Visitor, topic: str) -> None:
    request_id = _request_id(topic, topic.removeprefix(TWIN_GET))
    _respond(visitor, 200, f"$rid={request_id}", twins.get_for_device(hub, visitor.session.device_id))


def _report(hub: Hub, visitor: Visitor, topic: str, body: bytes) -> None:
    request_id = _request_id(topic, topic.removeprefix(TWIN_PATCH))
    try:
        version = twins.report(hub, visitor.session.device_id, body)
    except HubError as error:
        _respond(visitor, error.code.http_status, f"$rid={request_id}", error.detail.encode())
    else:
        _respond(visitor, 204, f"$rid={request_id}&$version={version}", b"")


def _answer(visitor: Visitor, topic: str, payload: bytes) -> None:
    status, _, query = topic.removeprefix(METHOD_RESPONSE).partition("/")
    try:
        number = int(status)
    except ValueError:
        raise ProtocolViolation(f"the status in {topic!r} is no number") from None
    try:
        msgspec.json.decode(payload or b"null")
    except msgspec.DecodeError:
        raise ProtocolViolation("the answer to a direct method is not JSON") from None
    methods.answer(visitor.session, number, _request_id(topic, query), payload)


def _request_id(topic: str, query: str) -> str:
    request_id = query_value(query, "$rid")
    if request_id is None:
        raise ProtocolViolation(f"the topic {topic!r} has no request id")
    return request_id


def _respond(visitor: Visitor, status: int, query: str, body: bytes) -> None:
    visitor.session.deliver(TWIN_RESPONSES, f"$iothub/twin/res/{status}/?{query}", body)
