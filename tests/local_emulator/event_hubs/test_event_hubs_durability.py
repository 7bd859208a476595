"""Killed without warning while clients send: what was acknowledged is there, once restarted."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import EventHubError

from .conftest import HUB, SDK_DROPS_SOCKETS, SECONDS

pytestmark = SDK_DROPS_SOCKETS

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


async def receive_all(connection_string: str) -> list[EventData]:
    """Return everything in the partition, as far as its properties say it goes."""
    events: list[EventData] = []
    done = asyncio.get_running_loop().create_future()
    client = EventHubConsumerClient.from_connection_string(
        connection_string, "$Default", eventhub_name=HUB, retry_total=0, load_balancing_interval=0.1
    )
    last = (await client.get_partition_properties("0"))["last_enqueued_sequence_number"]

    async def on_batch(_: object, batch: list[EventData]) -> None:
        events.extend(batch)
        if events and events[-1].sequence_number == last and not done.done():
            done.set_result(None)

    receiving = asyncio.create_task(client.receive_batch(on_batch, partition_id="0", starting_position="-1"))
    async with asyncio.timeout(SECONDS):
        await done
    await client.close()
    await receiving
    return events


async def test_kill_between_sends_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Two lives, both ended by SIGKILL under fire; the third has every acknowledged event, in order, once."""
    acknowledged: list[int] = []
    for _ in range(2):
        goal = len(acknowledged) + ENOUGH
        async with serving(tmp_path) as (connection_string, process):
            start = (acknowledged[-1] if acknowledged else 0) + 1000
            sending = asyncio.create_task(send_until_it_breaks(connection_string, start, acknowledged))
            async with asyncio.timeout(SECONDS):
                while len(acknowledged) < goal:
                    await asyncio.sleep(0)
            process.send_signal(signal.SIGKILL)
            async with asyncio.timeout(SECONDS):
                await sending

    async with serving(tmp_path) as (connection_string, _):
        events = await receive_all(connection_string)

    numbers = [int(event.body_as_str()) for event in events]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert numbers == sorted(set(numbers))
    assert set(acknowledged) <= set(numbers)
    assert len(numbers) <= len(acknowledged) + 2  # at most the one under way at each kill
    offsets = [int(event.offset or -1) for event in events]
    assert offsets == sorted(set(offsets))


async def test_reader_resumes_after_a_restart_on_another_port(tmp_path: Path) -> None:
    """An offset noted before the kill is the place to go on from after it."""
    async with serving(tmp_path) as (connection_string, _):
        async with EventHubProducerClient.from_connection_string(
            connection_string, eventhub_name=HUB, retry_total=0
        ) as client:
            created_at = (await client.get_eventhub_properties())["created_at"]
            await client.send_batch([EventData("a"), EventData("b"), EventData("c")], partition_id="0")
        offset = (await receive_all(connection_string))[1].offset

    async with serving(tmp_path) as (connection_string, _):
        async with EventHubProducerClient.from_connection_string(
            connection_string, eventhub_name=HUB, retry_total=0
        ) as client:
            assert (await client.get_eventhub_properties())["created_at"] == created_at
            await client.send_event(EventData("d"), partition_id="0")
        events = await receive_all(connection_string)

    assert [event.body_as_str() for event in events] == ["a", "b", "c", "d"]
    assert events[1].offset == offset
    assert pytest.approx([0, 1, 2, 3]) == [event.sequence_number for event in events]
