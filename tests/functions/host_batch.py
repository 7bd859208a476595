"""A batch as the host hands it to the worker, decoded by the genuine azure-functions classes."""

import json
from types import SimpleNamespace
from typing import Any

import azure.functions as func
from azure.functions.eventhub import EventHubTriggerConverter
from azure.functions.meta import Datum

IOT_HUB = {
    "iothub-connection-device-id": "pump-1",
    "iothub-connection-auth-generation-id": "638000000000000000",
    "iothub-enqueuedtime": "2026-01-02T03:04:05.6780000Z",
    "iothub-message-source": "Telemetry",
}


def system(number: int, **more: Any) -> dict[str, Any]:
    """Return the system properties of one event."""
    return {
        "x-opt-sequence-number": number,
        "x-opt-offset": str(80 * number),
        "x-opt-enqueued-time": "2026-01-02T03:04:06.789",
        "SequenceNumber": number,
        "Offset": 80 * number,
        "PartitionKey": None,
        "EnqueuedTimeUtc": "2026-01-02T03:04:06.789",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


def decode(
    bodies: list[bytes], systems: list[dict[str, Any]], properties: list[dict[str, Any]] | None = None
) -> list[func.EventHubEvent]:
    """Return the events that the function is called with."""
    context = {
        "IsCheckpointingAfterInvocation": True,
        "FullyQualifiedNamespace": "namespace.servicebus.windows.net",
        "EventHubName": "mailbox",
        "ConsumerGroup": "twins",
        "PartitionId": "3",
    }
    numbers = [one["SequenceNumber"] for one in systems]
    metadata = {
        "PartitionContext": Datum(json.dumps(context), "json"),
        "SequenceNumberArray": Datum(SimpleNamespace(sint64=numbers), "collection_sint64"),
        "OffsetArray": Datum(SimpleNamespace(string=[str(one["Offset"]) for one in systems]), "collection_string"),
        "PartitionKeyArray": Datum(SimpleNamespace(string=[]), "collection_string"),
        "EnqueuedTimeUtcArray": Datum(json.dumps([one["EnqueuedTimeUtc"] for one in systems]), "json"),
        "PropertiesArray": Datum(json.dumps(properties or [{} for _ in systems]), "json"),
        "SystemPropertiesArray": Datum(json.dumps(systems), "json"),
    }
    return EventHubTriggerConverter.decode(
        Datum(SimpleNamespace(bytes=bodies), "collection_bytes"), trigger_metadata=metadata
    )
