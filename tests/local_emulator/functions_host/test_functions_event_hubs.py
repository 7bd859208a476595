"""Event Hubs functions behind the local host: what they see, and when the checkpoint moves."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.storage.blob.aio import BlobServiceClient

from local_emulator.event_hubs import EventHubs, HubEvent, HubSpec
from local_emulator.functions_host import FunctionsHost
from local_emulator.functions_host.host import Pace

from .conftest import App, wait_for

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAST = Pace(balancing_interval=0.5, ownership_expiry=4)

TRIGGER = """
@app.event_hub_message_trigger(arg_name="events", event_hub_name="%HUB%", connection="HUBS",
                               cardinality=func.Cardinality.MANY{data_type})
"""
BINARY = TRIGGER.format(data_type=", data_type=func.DataType.BINARY")


@pytest_asyncio.fixture(loop_scope="session")
async def hubs(tmp_path: Path) -> AsyncIterator[EventHubs]:
    """An Event Hubs namespace with a hub of two partitions."""
    async with EventHubs(tmp_path / "hubs", hubs=[HubSpec("mailbox", partition_count=2)]) as namespace:
        yield namespace


@pytest.fixture
def fed(app: App, hubs: EventHubs, storage: str) -> App:
    """An app whose settings reach hub and storage."""
    app.settings |= {"HUBS": hubs.connection_string, "HUB": "mailbox", "AzureWebJobsStorage": storage}
    return app


def host_of(app: App, name: str = "data") -> FunctionsHost:
    """A host for the app."""
    return FunctionsHost(app.folder, settings=app.settings, data_dir=app.folder.parent / name, log=app.log, pace=FAST)


async def send(hubs: EventHubs, *bodies: str, partition: str = "0") -> None:
    """Send events to one partition with the genuine SDK."""
    producer = EventHubProducerClient.from_connection_string(
        hubs.connection_string, eventhub_name="mailbox", retry_total=0
    )
    async with producer:
        await producer.send_batch([EventData(body) for body in bodies], partition_id=partition)


async def checkpoint(app: App, hubs: EventHubs, partition: str) -> int | None:
    """The sequence number that the stored checkpoint names."""
    async with BlobServiceClient.from_connection_string(app.settings["AzureWebJobsStorage"]) as service:
        container = service.get_container_client("azure-webjobs-eventhub")
        prefix = f"127.0.0.1:{hubs.port}/mailbox/$default/checkpoint/{partition}"
        async for blob in container.list_blobs(name_starts_with=prefix, include=["metadata"]):
            return int(blob.metadata["sequencenumber"])
    return None


async def checkpoint_reaches(app: App, hubs: EventHubs, number: int, partition: str = "0") -> None:
    """Wait for the checkpoint, which the host writes after the function has returned."""
    async with asyncio.timeout(20):
        while await checkpoint(app, hubs, partition) != number:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)


def bodies(records: list[dict]) -> list[str]:
    """All bodies in the order in which the function saw them."""
    return [body for entry in records for body in entry["bodies"]]


def _all_ended(records: list[dict]) -> bool:
    states = [entry["at"] for entry in records]
    return states.count("begin") == states.count("end")


async def test_a_function_sees_what_it_would_see_on_azure(fed: App, hubs: EventHubs) -> None:
    """Bodies, positions, times without zone, properties, IoT Hub's annotations, the partition."""
    fed.write(
        BINARY
        + """
async def intake(events: List[func.EventHubEvent]) -> None:
    first = events[0]
    meta = first.metadata
    record(bodies=[list(event.get_body()) for event in events], keys=[event.partition_key for event in events],
           numbers=[event.sequence_number for event in events], offsets=[event.offset for event in events],
           times=[event.enqueued_time.isoformat() for event in events],
           iothub=[event.iothub_metadata for event in events],
           partition=meta["PartitionContext"], array=meta["SequenceNumberArray"],
           offset_array=meta["OffsetArray"], key_array=meta["PartitionKeyArray"],
           time_array=meta["EnqueuedTimeUtcArray"], properties=meta["PropertiesArray"],
           system=meta["SystemPropertiesArray"])
"""
    )
    fed.write_host_json({"extensions": {"eventHubs": {"minEventBatchSize": 2, "maxWaitTime": "00:00:20"}}})
    started = datetime.now(UTC).replace(tzinfo=None)
    device = HubEvent(
        body=b"\x00\xff",
        annotations={
            "iothub-connection-device-id": "pump-1",
            "iothub-enqueuedtime": datetime(2026, 1, 2, 3, 4, 5, 678000, UTC),
            "iothub-message-source": "Telemetry",
        },
        properties={"message-id": "m-1", "content-type": "application/json"},
        application_properties={"kind": "reading"},
    )
    await hubs.publish("mailbox", device, partition_id="1")
    plain = HubEvent(body=b"", annotations={"x-opt-partition-key": "k"}, properties={}, application_properties={})
    await hubs.publish("mailbox", plain, partition_id="1")
    async with host_of(fed) as host:
        [seen] = await fed.until(lambda records: records)
        assert seen["pid"] == host.pids["intake"]
        await checkpoint_reaches(fed, hubs, 1, "1")
    assert seen["bodies"] == [[0, 255], []]
    assert seen["numbers"] == seen["array"] == [0, 1]
    assert [str(offset) for offset in seen["offsets"]] == seen["offset_array"]
    assert seen["iothub"][0] == {
        "connection-device-id": "pump-1",
        "enqueuedtime": "2026-01-02T03:04:05.678Z",
        "message-source": "Telemetry",
    }
    assert seen["iothub"][1] == {}
    assert seen["partition"] == {
        "FullyQualifiedNamespace": f"127.0.0.1:{hubs.port}",
        "EventHubName": "mailbox",
        "ConsumerGroup": "$Default",
        "PartitionId": "1",
        "IsCheckpointingAfterInvocation": True,
    }
    assert seen["properties"] == [{"kind": "reading"}, {}]
    enqueued = datetime.fromisoformat(seen["times"][0])
    assert enqueued.tzinfo is None
    assert started - timedelta(seconds=1) <= enqueued <= started + timedelta(seconds=60)
    assert datetime.fromisoformat(seen["time_array"][0]) == enqueued
    system = seen["system"][0]
    assert system["message-id"] == "m-1"
    assert system["content-type"] == "application/json"
    assert system["SequenceNumber"] == system["x-opt-sequence-number"] == 0
    assert datetime.fromisoformat(system["x-opt-enqueued-time"]) == enqueued.replace(tzinfo=UTC)


@pytest.mark.parametrize("data_type", ["", ", data_type=func.DataType.STRING"])
async def test_other_data_types_are_encoded_as_production_does(fed: App, hubs: EventHubs, data_type: str) -> None:
    """Text, or JSON that the host reads and writes again."""
    fed.write(
        TRIGGER.format(data_type=data_type)
        + """
def intake(events: List[func.EventHubEvent]) -> None:
    record(bodies=[event.get_body().decode() for event in events])
"""
    )
    await send(hubs, '{"a":1}')
    async with host_of(fed):
        [seen] = await fed.until(lambda records: records)
    assert [json.loads(body) for body in seen["bodies"]] == [{"a": 1}]


async def test_batches_of_a_partition_are_serial_and_partitions_concurrent(fed: App, hubs: EventHubs) -> None:
    """One invocation at a time per partition, in order, at most maxEventBatchSize events."""
    fed.write(
        BINARY
        + """
async def intake(events: List[func.EventHubEvent]) -> None:
    partition = events[0].metadata["PartitionContext"]["PartitionId"]
    record(at="begin", partition=partition, bodies=[event.get_body().decode() for event in events])
    await asyncio.sleep(0.2)
    record(at="end", partition=partition, bodies=[])
"""
    )
    fed.write_host_json({"extensions": {"eventHubs": {"maxEventBatchSize": 3}}})
    for partition in "01":
        await send(hubs, *(str(number) for number in range(9)), partition=partition)
    async with host_of(fed):
        records = await fed.until(lambda seen: len(bodies(seen)) == 18 and _all_ended(seen))
    for partition in "01":
        own = [entry for entry in records if entry["partition"] == partition]
        assert bodies(own) == [str(number) for number in range(9)]
        assert [entry["at"] for entry in own] == ["begin", "end"] * (len(own) // 2)
        assert all(len(entry["bodies"]) <= 3 for entry in own)
    order = [entry["at"] for entry in records]
    assert ("begin", "begin") in zip(order, order[1:], strict=False)


async def test_without_a_retry_policy_a_failed_batch_is_lost(fed: App, hubs: EventHubs) -> None:
    """Production moves the checkpoint whatever the function did: documented, and dear to forget."""
    fed.write(
        BINARY
        + """
async def intake(events: List[func.EventHubEvent]) -> None:
    record(bodies=[event.get_body().decode() for event in events])
    raise ValueError("cannot do this")
"""
    )
    await send(hubs, "a")
    async with host_of(fed):
        await checkpoint_reaches(fed, hubs, 0)
        await send(hubs, "b")
        await checkpoint_reaches(fed, hubs, 1)
    assert bodies(fed.records()) == ["a", "b"]
    assert "ValueError: cannot do this" in fed.log.getvalue()


async def test_a_retry_policy_holds_the_partition_until_it_succeeds(fed: App, hubs: EventHubs) -> None:
    """The same batch again, with its count, and no checkpoint before it is done."""
    fed.write(
        """
@app.retry(strategy="exponential_backoff", max_retry_count="-1", minimum_interval="00:00:00",
           maximum_interval="00:00:01")
"""
        + BINARY.lstrip()
        + """
async def intake(events: List[func.EventHubEvent], context: func.Context) -> None:
    record(bodies=[event.get_body().decode() for event in events], count=context.retry_context.retry_count,
           before=context.retry_context.rpc_exception.message)
    if not os.path.exists(os.environ["ALLOWED"]):
        raise RuntimeError("storage is down")
"""
    )
    allowed = fed.folder.parent / "allowed"
    fed.settings["ALLOWED"] = str(allowed)
    await send(hubs, "a")
    async with host_of(fed):
        await fed.until(lambda seen: len(seen) >= 3)
        assert await checkpoint(fed, hubs, "0") is None
        allowed.touch()
        await checkpoint_reaches(fed, hubs, 0)
    records = fed.records()
    assert [entry["count"] for entry in records] == list(range(len(records)))
    assert set(bodies(records)) == {"a"}
    assert records[1]["before"] == "RuntimeError: storage is down"


async def test_a_killed_worker_is_replaced_and_gets_the_batch_again(fed: App, hubs: EventHubs) -> None:
    """What was not checkpointed comes again, in the replacement."""
    fed.write(
        BINARY
        + """
async def intake(events: List[func.EventHubEvent]) -> None:
    record(bodies=[event.get_body().decode() for event in events])
    if not os.path.exists(os.environ["MARK"]):
        open(os.environ["MARK"], "x").close()
        os._exit(7)
"""
    )
    fed.settings["MARK"] = str(fed.folder.parent / "mark")
    await send(hubs, "a")
    async with host_of(fed):
        await checkpoint_reaches(fed, hubs, 0)
    records = fed.records()
    assert bodies(records) == ["a", "a"]
    assert records[0]["pid"] != records[1]["pid"]
    assert "[intake] worker exited with code 7" in fed.log.getvalue()


async def test_stopping_finishes_the_batch_without_a_checkpoint(fed: App, hubs: EventHubs) -> None:
    """The function is not torn down half-way; the events come again, as in production."""
    fed.write(
        BINARY
        + """
async def intake(events: List[func.EventHubEvent]) -> None:
    record(at="begin", bodies=[event.get_body().decode() for event in events])
    await asyncio.sleep(1.0)
    record(at="end", bodies=[])
"""
    )
    await send(hubs, "a")
    async with host_of(fed):
        await fed.until(lambda seen: seen)
    assert [entry["at"] for entry in fed.records()] == ["begin", "end"]
    assert await checkpoint(fed, hubs, "0") is None
    async with host_of(fed):
        await checkpoint_reaches(fed, hubs, 0)
    assert bodies(fed.records()) == ["a", "a"]


async def test_two_hosts_share_partitions_and_take_over(fed: App, hubs: EventHubs) -> None:
    """Partitions move to a second host, and back from a worker that was killed, without loss."""
    fed.write(
        BINARY
        + """
async def intake(events: List[func.EventHubEvent]) -> None:
    record(partition=events[0].metadata["PartitionContext"]["PartitionId"],
           bodies=[event.get_body().decode() for event in events])
"""
    )

    def owners(records: list[dict]) -> set[tuple[int, str]]:
        return {(entry["pid"], entry["partition"]) for entry in records}

    async def send_until(done: int) -> list[dict]:
        """Send to both partitions until so many pairs of process and partition have been seen."""
        start = len(fed.records())
        async with asyncio.timeout(25):
            while len(owners(fed.records()[start:])) < done:
                number = next(numbers)
                sent.add(str(number))
                await send(hubs, str(number), partition=str(number % 2))
                await asyncio.sleep(0.1)
        return fed.records()[start:]

    numbers = iter(range(10_000))
    sent: set[str] = set()
    async with host_of(fed, "first") as first:
        assert owners(await send_until(2)) == {(first.pids["intake"], "0"), (first.pids["intake"], "1")}
        async with host_of(fed, "second") as second:
            # A partition has moved when its events are seen in the second host too.
            records = await send_until(3)
            assert {pid for pid, _ in owners(records)} == {first.pids["intake"], second.pids["intake"]}
            os.kill(second.pids["intake"], signal.SIGKILL)
            await wait_for(lambda: "ended by SIGKILL" in fed.log.getvalue())
        await fed.until(lambda seen: set(bodies(seen)) == sent, seconds=15)
