"""Connections by the name of a setting: a connection string, or the identity form."""

from collections.abc import Mapping

from azure.eventhub.aio import CheckpointStore, EventHubConsumerClient
from azure.identity.aio import DefaultAzureCredential
from azure.storage.blob.aio import BlobServiceClient

from local_emulator.functions_host.errors import SettingsError

__all__ = ["blob_service", "event_hub_consumer"]

_STORAGE = "AzureWebJobsStorage"


def blob_service(settings: Mapping[str, str]) -> BlobServiceClient:
    """Open the storage account that the host itself uses; triggers other than HTTP need it."""
    if connection_string := settings.get(_STORAGE):
        return BlobServiceClient.from_connection_string(connection_string)
    if url := settings.get(f"{_STORAGE}__blobServiceUri"):
        return BlobServiceClient(url, DefaultAzureCredential())
    if account := settings.get(f"{_STORAGE}__accountName"):
        return BlobServiceClient(f"https://{account}.blob.core.windows.net", DefaultAzureCredential())
    raise SettingsError(
        f"{_STORAGE} is not set: Event Hubs and timer triggers keep their progress in that storage account"
    )


def event_hub_consumer(
    settings: Mapping[str, str],
    connection: str,
    hub: str,
    consumer_group: str,
    *,
    checkpoint_store: CheckpointStore,
    balancing_interval: float,
    ownership_expiry: float,
) -> EventHubConsumerClient:
    """Make the consumer of a hub from the settings of the trigger's connection."""
    if connection_string := settings.get(connection):
        return EventHubConsumerClient.from_connection_string(
            connection_string,
            consumer_group,
            eventhub_name=hub,
            checkpoint_store=checkpoint_store,
            load_balancing_interval=balancing_interval,
            partition_ownership_expiration_interval=ownership_expiry,
        )
    if namespace := settings.get(f"{connection}__fullyQualifiedNamespace"):
        return EventHubConsumerClient(
            namespace,
            hub,
            consumer_group,
            DefaultAzureCredential(),
            checkpoint_store=checkpoint_store,
            load_balancing_interval=balancing_interval,
            partition_ownership_expiration_interval=ownership_expiry,
        )
    raise SettingsError(f"neither {connection} nor {connection}__fullyQualifiedNamespace is set")
