"""Connections by the name of a setting: a connection string, or the identity form."""

from collections.abc import Mapping
from dataclasses import dataclass

from azure.eventhub.aio import CheckpointStore, EventHubConsumerClient
from azure.identity.aio import DefaultAzureCredential
from azure.storage.blob.aio import BlobServiceClient

from local_emulator.functions_host.errors import SettingsError

__all__ = ["StorageAccount", "event_hub_consumer", "storage_account"]

_STORAGE = "AzureWebJobsStorage"


@dataclass(frozen=True)
class StorageAccount:
    """The account that the host itself uses: by connection string, or by URL and identity."""

    connection_string: str
    url: str

    def blob_service(self) -> BlobServiceClient:
        """Make a client of its blobs."""
        if self.connection_string:
            return BlobServiceClient.from_connection_string(self.connection_string)
        return BlobServiceClient(self.url, DefaultAzureCredential())


def storage_account(settings: Mapping[str, str]) -> StorageAccount:
    """Find the storage account in the settings; triggers other than HTTP need it."""
    if connection_string := settings.get(_STORAGE):
        return StorageAccount(connection_string, "")
    if url := settings.get(f"{_STORAGE}__blobServiceUri"):
        return StorageAccount("", url)
    if account := settings.get(f"{_STORAGE}__accountName"):
        return StorageAccount("", f"https://{account}.blob.core.windows.net")
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
