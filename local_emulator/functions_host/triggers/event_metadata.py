"""Events as the production extension hands them to a worker: values, names and encodings."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import msgspec
from azure.eventhub import EventData
from azure.eventhub.amqp import AmqpMessageBodyType

from local_emulator.functions_host.protos import TypedData

__all__ = ["BindingError", "Partition", "batch_data", "batch_metadata"]

# Annotations that hold a time, and how .NET writes its zone: the SDK hands over their milliseconds as a plain number.
_TIMES = {"x-opt-enqueued-time": "+00:00", "iothub-enqueuedtime": "Z"}
# The sections that .NET lists among the system properties, and the SDK's attribute for each.
_PROPERTIES = tuple(
    (name, name.replace("-", "_"))
    for name in (
        "message-id",
        "user-id",
        "to",
        "subject",
        "reply-to",
        "correlation-id",
        "content-type",
        "content-encoding",
        "absolute-expiry-time",
        "creation-time",
        "group-id",
        "group-sequence",
        "reply-to-group-id",
    )
)
# AMQP properties that hold a time, likewise.
_PROPERTY_TIMES = {"absolute-expiry-time", "creation-time"}
_MILLISECONDS = 1000


class BindingError(Exception):
    """The batch cannot be handed over in the form that the function asks for."""


class Partition(msgspec.Struct, frozen=True, rename="pascal"):
    """The PartitionContext of the trigger metadata."""

    fully_qualified_namespace: str
    event_hub_name: str
    consumer_group: str
    partition_id: str
    is_checkpointing_after_invocation: bool = True


def batch_data(events: Sequence[EventData], data_type: str) -> TypedData:
    """Encode the bodies; without a data type they must be JSON and become one JSON array."""
    bodies = [_body(event) for event in events]
    if data_type == "BINARY":
        return TypedData(collection_bytes=SimpleNamespace(bytes=bodies))
    texts = [body.decode(errors="replace") for body in bodies]
    if data_type == "STRING":
        # Empty texts are left out, as production does; the worker then refuses the batch.
        return TypedData(collection_string=SimpleNamespace(string=[text for text in texts if text]))
    try:
        return TypedData(json=json.dumps([json.loads(text) for text in texts]))
    except ValueError as error:
        raise BindingError(f"a body is not JSON, and the trigger has no dataType: {error}") from error


def batch_metadata(events: Sequence[EventData], partition: Partition) -> dict[str, TypedData]:
    """Build the trigger metadata of a batch."""
    system = [_system_properties(event) for event in events]
    keys = [str(entry["PartitionKey"]) for entry in system if entry["PartitionKey"]]
    return {
        "PartitionContext": _json(partition),
        "SequenceNumberArray": TypedData(
            collection_sint64=SimpleNamespace(sint64=[entry["SequenceNumber"] for entry in system])
        ),
        "OffsetArray": TypedData(collection_string=SimpleNamespace(string=[str(entry["Offset"]) for entry in system])),
        # Events without a key are left out, as production does.
        "PartitionKeyArray": TypedData(collection_string=SimpleNamespace(string=keys)),
        "EnqueuedTimeUtcArray": _json([entry["EnqueuedTimeUtc"] for entry in system]),
        "PropertiesArray": _json([_application_properties(event) for event in events]),
        "SystemPropertiesArray": _json(system),
    }


def _json(value: object) -> TypedData:
    return TypedData(json=msgspec.json.encode(value).decode())


def _body(event: EventData) -> bytes:
    if event.body_type is AmqpMessageBodyType.DATA:
        return b"".join(cast("Iterable[bytes]", event.body))
    return event.body_as_str().encode()


def _system_properties(event: EventData) -> dict[str, object]:
    """Name AMQP properties and annotations as they are, and the four that .NET adds."""
    message = event.raw_amqp_message
    annotations = cast("Mapping[bytes, object]", message.annotations or {})
    entry: dict[str, object] = {}
    if (properties := message.properties) is not None:
        for name, attribute in _PROPERTIES:
            if (value := getattr(properties, attribute)) is not None:
                is_time = name in _PROPERTY_TIMES and isinstance(value, int)
                entry[name] = f"{_iso(value)}+00:00" if is_time else _plain(value)
    for key, value in annotations.items():
        name = _text(key)
        if name in _TIMES and isinstance(value, int):
            entry[name] = _iso(value) + _TIMES[name]
        else:
            entry[name] = _plain(value)
    offset = str(entry.get("x-opt-offset", ""))
    enqueued = annotations.get(b"x-opt-enqueued-time")
    entry["SequenceNumber"] = annotations.get(b"x-opt-sequence-number")
    # Offsets of geo-replicated namespaces are no numbers: the extension sends -1 for them.
    entry["Offset"] = int(offset) if offset.isdecimal() else -1
    entry["PartitionKey"] = entry.get("x-opt-partition-key")
    # .NET drops the zone here, and the worker takes the time as it finds it.
    entry["EnqueuedTimeUtc"] = _iso(enqueued) if isinstance(enqueued, int) else None
    return entry


def _application_properties(event: EventData) -> dict[str, object]:
    properties: Mapping[str | bytes, object] = event.properties or {}
    return {_text(key): _plain(value) for key, value in properties.items()}


def _iso(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds // _MILLISECONDS, UTC).replace(tzinfo=None).isoformat()
    fraction = milliseconds % _MILLISECONDS
    return f"{moment}.{fraction:03d}".rstrip("0") if fraction else moment


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _plain(value: object) -> object:
    """Turn a decoded AMQP value into what JSON has."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value)
