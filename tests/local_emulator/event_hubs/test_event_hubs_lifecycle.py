"""Services that are killed, and consumers that come and go: the slow stories, side by side."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient, PartitionContext
from azure.eventhub.exceptions import EventHubError
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore
from azure.storage.blob.aio import ContainerClient

from local_emulator.azurite import Azurite
from local_emulator.event_hubs import EventHubs, HubEvent, HubSpec

from .conftest import HUB, SECONDS, World, bodies, receive, side_by_side, until

BALANCED_PARTITIONS = 4
ENOUGH = 40
SERVE = """
import asyncio, sys
from pathlib import Path
from local_emulator.event_hubs import EventHubs, HubSpec

async def main():
    async with EventHubs(Path(sys.argv[1]), hubs=[HubSpec("mailbox", 2)]) as service:
        print(service.connection_string, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Run the service in a process of its own; killed at the end, as always here."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE, str(folder), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(SECONDS):
            connection_string = (await process.stdout.readline()).decode().strip()
        yield connection_string, process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def send_until_it_breaks(connection_string: str, start: int, acknowledged: list[int]) -> None:
    """Send numbers one by one, noting each that is acknowledged, until the service is gone."""
    client = EventHubProducerClient.from_connection_string(connection_string, eventhub_name=HUB, retry_total=0)
    number = start
    try:
        while True:
            await client.send_event(EventData(str(number)), partition_id="0")
            acknowledged.append(number)
            number += 1
    except EventHubError:
        await client.close()


async def receive_to(connection_string: str, world: World, last: str, **options: Any) -> list[EventData]:
    """Receive partition 0 until an event with a certain text."""
    client = EventHubConsumerClient.from_connection_string(
        connection_string, "$Default", eventhub_name=HUB, retry_total=0, load_balancing_interval=0.1
    )
    return await receive(client, "0", lambda events: events[-1].body_as_str() == last, world.ending, **options)


@side_by_side
async def test_kill_under_fire_loses_nothing_acknowledged(world: World) -> None:
    """Two lives, both ended by SIGKILL while a client sends; the third has every acknowledged event, once.

    Numbers go on, and an offset noted in an earlier life is a place to resume from.
    """
    folder = world.folder / "killed"
    acknowledged: list[int] = []
    for _ in range(2):
        goal = len(acknowledged) + ENOUGH
        async with serving(folder) as (connection_string, process):
            start = (acknowledged[-1] if acknowledged else 0) + 1000
            sending = asyncio.create_task(send_until_it_breaks(connection_string, start, acknowledged))
            await until(lambda goal=goal: len(acknowledged) >= goal)
            process.send_signal(signal.SIGKILL)
            async with asyncio.timeout(SECONDS):
                await sending

    async with serving(folder) as (connection_string, _):
        async with EventHubProducerClient.from_connection_string(
            connection_string, eventhub_name=HUB, retry_total=0
        ) as client:
            await client.send_event(EventData("1000000"), partition_id="0")
        events = await receive_to(connection_string, world, "1000000")
        noted = events[ENOUGH]
        resumed = await receive_to(connection_string, world, "1000000", starting_position=noted.offset)

    numbers = [int(text) for text in bodies(events)]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert numbers == sorted(set(numbers))
    assert set(acknowledged) <= set(numbers)
    assert len(numbers) <= len(acknowledged) + 3  # the last one, and at most one under way at each kill
    offsets = [int(event.offset or -1) for event in events]
    assert offsets == sorted(set(offsets))
    assert bodies(resumed) == bodies(events[ENOUGH + 1 :])


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
        await context.update_checkpoint(event)
        self.seen.append(event.body_as_str())

    async def close(self) -> None:
        """Leave, giving the partitions up."""
        await self.client.close()
        await self.task


@asynccontextmanager
async def checkpoint_store(folder: Path) -> AsyncIterator[BlobCheckpointStore]:
    """Provide the genuine checkpoint store with its container on Azurite."""
    async with Azurite(folder) as azurite:
        async with ContainerClient.from_connection_string(azurite.connection_string, "checkpoints") as container:
            await container.create_container()
        async with BlobCheckpointStore.from_connection_string(azurite.connection_string, "checkpoints") as store:
            yield store


@side_by_side
async def test_two_consumers_share_and_hand_over(world: World) -> None:
    """One owns all; with a second each owns half; when one leaves, the other goes on after its checkpoints."""
    hubs = [HubSpec(HUB, BALANCED_PARTITIONS)]
    async with (
        checkpoint_store(world.folder / "azurite") as store,
        EventHubs(world.folder / "balanced", hubs=hubs) as service,
    ):

        async def publish(round_name: str) -> list[str]:
            texts = [f"{round_name} {number}" for number in range(BALANCED_PARTITIONS)]
            for number, text in enumerate(texts):
                await service.publish(HUB, HubEvent(text.encode()), partition_id=str(number))
            return texts

        everything = await publish("alone")
        first = Worker(service.connection_string, store)
        await until(lambda: sorted(first.seen) == everything)
        assert len(first.owned) == BALANCED_PARTITIONS

        second = Worker(service.connection_string, store)
        await until(lambda: len(first.owned) == len(second.owned) == BALANCED_PARTITIONS // 2)
        assert first.owned.isdisjoint(second.owned)
        everything += await publish("shared")
        await until(lambda: {*first.seen, *second.seen} == {*everything})

        await first.close()
        await until(lambda: len(second.owned) == BALANCED_PARTITIONS)
        everything += await publish("taken over")
        await until(lambda: {*first.seen, *second.seen} == {*everything})
        await second.close()
    assert not any(text.startswith("alone") for text in second.seen)  # those had their checkpoints
