"""The topics of IoT Hub and the property bag that they carry."""

from urllib.parse import quote, unquote

METHODS = "$iothub/methods/POST/#"
DESIRED = "$iothub/twin/PATCH/properties/desired/#"
TWIN_RESPONSES = "$iothub/twin/res/#"

TWIN_GET = "$iothub/twin/GET/"
TWIN_PATCH = "$iothub/twin/PATCH/properties/reported/"
METHOD_RESPONSE = "$iothub/methods/res/"


def commands_filter(device_id: str) -> str:
    """Where a device listens for cloud-to-device messages."""
    return f"devices/{device_id}/messages/devicebound/#"


def command_topic(device_id: str, properties: tuple[tuple[str, str | None], ...]) -> str:
    """Where one cloud-to-device message goes."""
    return f"devices/{device_id}/messages/devicebound/{encode_bag(properties)}"


def allowed_filters(device_id: str) -> frozenset[str]:
    """The only subscriptions the hub grants: it is no broker."""
    return frozenset((METHODS, DESIRED, TWIN_RESPONSES, commands_filter(device_id)))


def telemetry_bag(topic: str, device_id: str) -> str | None:
    """The property bag of a telemetry topic of this device; None for any other topic."""
    prefix = f"devices/{device_id}/messages/events"
    if topic == prefix:
        return ""
    return topic.removeprefix(prefix + "/") if topic.startswith(prefix + "/") else None


def decode_bag(bag: str) -> list[tuple[str, str | None]]:
    """Read `name=value&name` pairs; a plus sign is a plus sign, a name without `=` has no value."""
    pairs: list[tuple[str, str | None]] = []
    for part in bag.removeprefix("?").removesuffix("/").split("&"):
        name, equals, value = part.partition("=")
        if name:
            pairs.append((unquote(name), unquote(value) if equals else None))
    return pairs


def encode_bag(properties: tuple[tuple[str, str | None], ...]) -> str:
    """Write a bag; slashes are encoded because devices split the topic on them."""
    return "&".join(
        quote(name, safe="") if value is None else f"{quote(name, safe='')}={quote(value, safe='')}"
        for name, value in properties
    )


def query_value(query: str, name: str) -> str | None:
    """A value of the `?$rid=..&..` part of a topic, as sent."""
    for part in query.removeprefix("?").split("&"):
        key, equals, value = part.partition("=")
        if equals and unquote(key) == name:
            return value
    return None
