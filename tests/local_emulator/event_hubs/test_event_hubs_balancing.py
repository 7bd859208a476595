"""Two consumers share a hub through the genuine checkpoint store on Azurite."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore
from azure.storage.blob.aio import ContainerClient

from local_emulator.azurite import Azurite
from local_emulator.event_hubs import EventHubs, HubEvent, HubSpec

from .conftest import HUB, SDK_DROPS_SOCKETS

pytestmark = SDK_DROPS_SOCKETS

type Until = Callable[[Callable[[], bool]], Awaitable[None]]

PARTITIONS = 4


class Worker:
    """A consumer that checkpoints every event; knows what it owns and what it saw."""

    def __init__(self, connection_string: str, store: BlobCheckpointStore) -> None:
        self.owned: set[str] = set()
        self.seen: list[str] = []
        self.client = EventHubConsumerClient.from_connection_string(
            connection_string,
            "$Default",
            eventhub_name=HUB,
            checkpoint_store=store,
            load_balancing_interval=1,
            partition_ownership_expiration_interval=10,
            load_balancing_strategy="greedy",
        )
        self.task = asyncio.create_task(
            self.client.receive(
                self._on_event,
                on_partition_initialize=self._on_initialize,
                on_partition_close=self._on_close,
                starting_position="-1",
            )
        )

    async def _on_initialize(self, context: PartitionContext) -> None:
        self.owned.add(context.partition_id)

    async def _on_close(self, context: PartitionContext, _: object) -> None:
        self.owned.discard(context.partition_id)

    async def _on_event(self, context: PartitionContext, event: EventData | None) -> None:
        assert event is not None
        self.seen.append(event.body_as_str())
        await context.update_checkpoint(event)

    async def close(self) -> None:
        """Leave, giving the partitions up."""
        await self.client.close()
        await self.task


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[BlobCheckpointStore]:
    """Provide the checkpoint store with its container on Azurite."""
    async with Azurite(tmp_path / "azurite") as azurite:
        container = ContainerClient.from_connection_string(azurite.connection_string, "checkpoints")
        async with container:
            await container.create_container()
            store = BlobCheckpointStore.from_connection_string(azurite.connection_string, "checkpoints")
            async with store:
                yield store


async def test_two_consumers_share_and_hand_over(tmp_path: Path, store: BlobCheckpointStore, until: Until) -> None:
    """One owns all; with a second each owns half; when one leaves, the other goes on after its checkpoints."""
    async with EventHubs(tmp_path / "hubs", hubs=[HubSpec(HUB, PARTITIONS)]) as service:

        async def publish(round_name: str) -> list[str]:
            texts = [f"{round_name} {number}" for number in range(PARTITIONS)]
            for number, text in enumerate(texts):
                await service.publish(HUB, HubEvent(text.encode()), partition_id=str(number))
            return texts

        everything = await publish("alone")
        first = Worker(service.connection_string, store)
        await until(lambda: sorted(first.seen) == everything)
        assert len(first.owned) == PARTITIONS

        second = Worker(service.connection_string, store)
        await until(lambda: len(first.owned) == len(second.owned) == PARTITIONS // 2)
        assert first.owned.isdisjoint(second.owned)
        everything += await publish("shared")
        await until(lambda: sorted(first.seen + second.seen) == sorted(everything))

        await first.close()
        await until(lambda: len(second.owned) == PARTITIONS)
        everything += await publish("taken over")
        await until(lambda: sorted(first.seen + second.seen) == sorted(everything))
        await second.close()
