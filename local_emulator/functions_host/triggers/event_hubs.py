"""The Event Hubs trigger: batches of each partition, one at a time, checkpointed afterwards.

The checkpoint moves whatever the function's result, as in production, once its retry policy has
ended. It stays where it is when the listener stops or has lost the partition: somebody will then
get the same events again.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Iterable
from typing import Any

from azure.core.exceptions import AzureError, ResourceExistsError
from azure.eventhub import CloseReason, EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext
from azure.eventhub.exceptions import ConnectionLostError, EventHubError
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore
from azure.identity.aio import DefaultAzureCredential

from local_emulator.functions_host.bindings import EventHubTrigger, FunctionSpec
from local_emulator.functions_host.connections import StorageAccount, event_hub_consumer, storage_account
from local_emulator.functions_host.host_json import EventHubsOptions
from local_emulator.functions_host.invocation import Invocations
from local_emulator.functions_host.triggers.event_metadata import (
    BindingError,
    Partition,
    batch_data,
    batch_metadata,
)

__all__ = ["EventHubListener"]

_LOG = logging.getLogger("host.event_hubs")
_CONTAINER = "azure-webjobs-eventhub"
# How often a partition with too few events for a batch looks at the clock.
_GATHER_SECONDS = 0.2


class _CheckpointStore(BlobCheckpointStore):
    """The blob store, which tells when the first round of balancing has asked it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the SDK's own signature
        super().__init__(*args, **kwargs)
        self.asked = asyncio.Event()

    @classmethod
    def of(cls, account: StorageAccount) -> "_CheckpointStore":
        """Make the store in this account."""
        if not account.connection_string:
            return cls(account.url, _CONTAINER, credential=DefaultAzureCredential())
        store = cls.from_connection_string(account.connection_string, _CONTAINER)
        assert isinstance(store, cls)
        return store

    # The SDK describes ownership and checkpoints by plain dictionaries.
    async def claim_ownership(
        self,
        ownership_list: Iterable[dict[str, Any]],
        **kwargs: Any,  # noqa: ANN401 - the SDK's own signature
    ) -> Iterable[dict[str, Any]]:
        """Claim partitions."""
        claimed = await super().claim_ownership(ownership_list, **kwargs)
        self.asked.set()
        return claimed

    async def list_ownership(
        self,
        fully_qualified_namespace: str,
        eventhub_name: str,
        consumer_group: str,
        **kwargs: Any,  # noqa: ANN401 - the SDK's own signature
    ) -> Iterable[dict[str, Any]]:
        """List who owns which partition."""
        owned = list(await super().list_ownership(fully_qualified_namespace, eventhub_name, consumer_group, **kwargs))
        if owned:
            # There may be nothing left to claim.
            self.asked.set()
        return owned


class _Tenure:
    """One time of owning a partition: from its first event to the loss of it."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.invocation: asyncio.Task[bool] | None = None
        self.gathered: list[EventData] = []
        self.gathering_since = 0.0
        self.batches = 0


class EventHubListener:
    """Feeds one function from its hub."""

    def __init__(
        self,
        function: FunctionSpec,
        trigger: EventHubTrigger,
        options: EventHubsOptions,
        invocations: Invocations,
        *,
        balancing_interval: float,
        ownership_expiry: float,
    ) -> None:
        self._function = function
        self._trigger = trigger
        self._options = options
        self._invocations = invocations
        self._balancing_interval = balancing_interval
        self._ownership_expiry = ownership_expiry
        self._tenures: dict[str, _Tenure] = {}
        self._stopping = False
        self._closers = contextlib.AsyncExitStack()
        self._client: EventHubConsumerClient | None = None
        self._receiving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to receive; returns once the partitions have been balanced for the first time."""
        account = storage_account(os.environ)
        async with account.blob_service() as service:
            with contextlib.suppress(ResourceExistsError):
                await service.create_container(_CONTAINER)
        store = _CheckpointStore.of(account)
        await self._closers.enter_async_context(store)
        self._client = event_hub_consumer(
            os.environ,
            self._trigger.connection,
            self._trigger.hub,
            self._trigger.consumer_group,
            checkpoint_store=store,
            balancing_interval=self._balancing_interval,
            ownership_expiry=self._ownership_expiry,
        )
        await self._closers.enter_async_context(self._client)
        gathers = self._options.min_event_batch_size > 1
        self._receiving = asyncio.create_task(
            self._client.receive_batch(
                self._on_events,
                max_batch_size=self._options.max_event_batch_size,
                max_wait_time=_GATHER_SECONDS if gathers else None,
                prefetch=self._options.prefetch_count,
                starting_position=self._options.initial_time or self._options.initial_offset,
                on_error=self._on_error,
                on_partition_initialize=self._on_partition_initialize,
                on_partition_close=self._on_partition_close,
            )
        )
        asked = asyncio.create_task(store.asked.wait())
        await asyncio.wait({asked, self._receiving}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if self._receiving.done():
            self._receiving.result()

    async def stop(self) -> None:
        """Receive no more; what runs is waited for, and not checkpointed."""
        self._stopping = True
        for tenure in self._tenures.values():
            tenure.over.set()
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.gather(self._receiving, return_exceptions=True)
        await self._closers.aclose()

    async def _on_partition_initialize(self, context: PartitionContext) -> None:
        self._tenures[context.partition_id] = _Tenure()
        _LOG.info("%s owns partition %s", self._function.name, context.partition_id)

    async def _on_partition_close(self, context: PartitionContext, reason: CloseReason) -> None:
        # The SDK gives the partition back only after this: what runs is finished by then.
        tenure = self._tenures[context.partition_id]
        tenure.over.set()
        if tenure.invocation is not None:
            await asyncio.wait({tenure.invocation})
        _LOG.info("%s leaves partition %s (%s)", self._function.name, context.partition_id, reason.name)

    async def _on_error(self, context: PartitionContext | None, error: Exception) -> None:
        if context is None:
            _LOG.warning("%s cannot balance its partitions: %s", self._function.name, error)
            return
        self._tenures[context.partition_id].over.set()
        if isinstance(error, ConnectionLostError) and "stolen" in str(error.error):
            _LOG.info("%s: another instance took partition %s", self._function.name, context.partition_id)
        else:
            _LOG.warning("%s cannot read partition %s: %s", self._function.name, context.partition_id, error)

    async def _on_events(self, context: PartitionContext, events: list[EventData]) -> None:
        tenure = self._tenures[context.partition_id]
        for batch in self._batches(tenure, events):
            if tenure.over.is_set():
                return
            tenure.invocation = asyncio.create_task(self._invoke(context, batch, tenure))
            # The SDK cancels this callback when the partition is lost; the function is not told.
            finished = await asyncio.shield(tenure.invocation)
            if not finished or tenure.over.is_set():
                return
            tenure.batches += 1
            if tenure.batches % self._options.batch_checkpoint_frequency == 0:
                await self._checkpoint(context, batch[-1])

    def _batches(self, tenure: _Tenure, events: list[EventData]) -> list[list[EventData]]:
        """Cut what is there into batches; too few events wait for more, but not too long."""
        now = time.monotonic()
        if not tenure.gathered:
            tenure.gathering_since = now
        tenure.gathered += events
        batches = []
        while tenure.gathered and (
            len(tenure.gathered) >= self._options.min_event_batch_size
            or now - tenure.gathering_since >= self._options.max_wait_seconds
        ):
            batches.append(tenure.gathered[: self._options.max_event_batch_size])
            del tenure.gathered[: self._options.max_event_batch_size]
            tenure.gathering_since = now
        return batches

    async def _invoke(self, context: PartitionContext, batch: list[EventData], tenure: _Tenure) -> bool:
        """Run the function for the batch; False when it was given up between retries."""
        partition = Partition(
            context.fully_qualified_namespace, context.eventhub_name, context.consumer_group, context.partition_id
        )
        try:
            data = batch_data(batch, self._trigger.data_type)
        except BindingError as error:
            _LOG.error("%s cannot be given a batch: %s", self._function.name, error)
            return True
        metadata = batch_metadata(batch, partition)
        outcome = await self._invocations.invoke_with_retries(self._function, data, metadata, tenure.over)
        return outcome is not None

    async def _checkpoint(self, context: PartitionContext, event: EventData) -> None:
        try:
            await context.update_checkpoint(event)
        except (AzureError, EventHubError) as error:
            _LOG.warning("The checkpoint of partition %s was not written: %s", context.partition_id, error)
