"""Device-to-cloud messages: a publish becomes an event of the stream."""

from datetime import UTC, datetime

from local_emulator.iot_hub.errors import ProtocolViolation
from local_emulator.iot_hub.handlers.connecting import Visitor
from local_emulator.iot_hub.hub import Hub, RoutedEvent
from local_emulator.iot_hub.protocol.packets import Publish
from local_emulator.iot_hub.topics import decode_bag, telemetry_bag

MAX_MESSAGE_BYTES = 262_144

# Names in the topic's bag, and what the stream calls them.
_PROPERTIES = {
    "$.mid": "message-id",
    "$.cid": "correlation-id",
    "$.uid": "user-id",
    "$.ct": "content-type",
    "$.ce": "content-encoding",
}
_ANNOTATIONS = {
    "$.sub": "dt-subject",
    "$.ifid": "iothub-interface-id",
    "$.ctime": "iothub-creation-time-utc",
}


async def send(hub: Hub, visitor: Visitor, message: Publish, bag: str) -> None:
    """Hand a message to the stream; return when the stream has it."""
    pairs = decode_bag(bag)
    size = len(message.payload) + sum(len(name.encode()) + len((value or "").encode()) for name, value in pairs)
    if size > MAX_MESSAGE_BYTES:
        # Over MQTT there is no way to say so: the service closes the connection.
        raise ProtocolViolation(f"a message of {size} bytes, at most {MAX_MESSAGE_BYTES} are taken")
    await hub.publish(_event(hub, visitor, message, pairs))


async def send_will(hub: Hub, visitor: Visitor, will: Publish) -> None:
    """Hand over what the device left behind for the case that it disappears."""
    bag = telemetry_bag(will.topic, visitor.session.device_id) or ""
    await send(hub, visitor, will, f"{bag}&iothub-MessageType=Will")


def _event(hub: Hub, visitor: Visitor, message: Publish, pairs: list[tuple[str, str | None]]) -> RoutedEvent:
    now = hub.clock()
    visitor.session.last_activity = now
    device_id = visitor.session.device_id
    annotations: dict[str, str | int | datetime] = {
        "iothub-connection-device-id": device_id,
        "iothub-connection-auth-method": (
            f'{{"scope":"{visitor.scope}","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}}'
        ),
        "iothub-connection-auth-generation-id": visitor.generation_id,
        "iothub-enqueuedtime": datetime.fromtimestamp(now, UTC),
        "iothub-message-source": "Telemetry",
    }
    if visitor.model_id:
        annotations["dt-dataschema"] = visitor.model_id
    properties: dict[str, str | datetime] = {}
    application_properties: dict[str, str] = {}
    for name, value in pairs:
        if name in _PROPERTIES:
            properties[_PROPERTIES[name]] = value or ""
        elif name in _ANNOTATIONS:
            annotations[_ANNOTATIONS[name]] = value or ""
        elif name == "$.exp":
            properties["absolute-expiry-time"] = _time(value or "")
        else:
            application_properties[name] = value or ""
    if message.is_retained:
        application_properties["mqtt-retain"] = "true"
    return RoutedEvent(
        device_id=device_id,
        body=message.payload,
        annotations=annotations,
        properties=properties,
        application_properties=application_properties,
        partition_key=device_id if hub.partitioning == "device-id" else None,
    )


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ProtocolViolation(f"{text!r} is no time of expiry") from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
