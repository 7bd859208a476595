"""Event Hubs functions behind the local host: what they see, and when the checkpoint moves."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import pytest_asyncio
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.storage.blob.aio import BlobServiceClient

from local_emulator.event_hubs import EventHubs, HubEvent, HubSpec
from local_emulator.functions_host import FunctionsHost, Pace

from .conftest import App, wait_for

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAST = Pace(balancing_interval=0.5, ownership_expiry=4)

HUBS = ("seen", "text", "json", "order", "failing", "retried", "killed", "stopped", "moved")

SHARED = """
def trigger(hub, **more):
    return app.event_hub_message_trigger(arg_name="events", event_hub_name=hub, connection="HUBS",
                                         cardinality=func.Cardinality.MANY, **more)

def bodies(events):
    return [event.get_body().decode() for event in events]

@trigger("seen", data_type=func.DataType.BINARY)
async def seen(events: List[func.EventHubEvent]) -> None:
    meta = events[0].metadata
    record(bodies=[list(event.get_body()) for event in events], keys=[event.partition_key for event in events],
           numbers=[event.sequence_number for event in events], offsets=[event.offset for event in events],
           times=[event.enqueued_time.isoformat() for event in events],
           iothub=[event.iothub_metadata for event in events],
           partition=meta["PartitionContext"], array=meta["SequenceNumberArray"],
           offset_array=meta["OffsetArray"], key_array=meta["PartitionKeyArray"],
           time_array=meta["EnqueuedTimeUtcArray"], properties=meta["PropertiesArray"],
           system=meta["SystemPropertiesArray"])

@trigger("text", data_type=func.DataType.STRING)
def text(events: List[func.EventHubEvent]) -> None:
    record(bodies=bodies(events))

@trigger("json")
def json_bodies(events: List[func.EventHubEvent]) -> None:
    record(bodies=bodies(events))

@trigger("order", data_type=func.DataType.BINARY)
async def order(events: List[func.EventHubEvent]) -> None:
    partition = events[0].metadata["PartitionContext"]["PartitionId"]
    record(at="begin", partition=partition, bodies=bodies(events))
    await asyncio.sleep(0.1)
    record(at="end", partition=partition, bodies=[])

@trigger("failing", data_type=func.DataType.BINARY)
async def failing(events: List[func.EventHubEvent]) -> None:
    record(bodies=bodies(events))
    raise ValueError("cannot do this")

@app.retry(strategy="exponential_backoff", max_retry_count="-1", minimum_interval="00:00:00",
           maximum_interval="00:00:01")
@trigger("retried", data_type=func.DataType.BINARY)
async def retried(events: List[func.EventHubEvent], context: func.Context) -> None:
    retry = context.retry_context
    record(bodies=bodies(events), count=retry.retry_count, before=retry.rpc_exception.message)
    if not os.path.exists(os.environ["ALLOWED"]):
        raise RuntimeError("storage is down")

@trigger("killed", data_type=func.DataType.BINARY)
async def killed(events: List[func.EventHubEvent]) -> None:
    record(bodies=bodies(events))
    if not os.path.exists(os.environ["MARK"]):
        open(os.environ["MARK"], "x").close()
        os._exit(7)
"""

BINARY = """
@app.event_hub_message_trigger(arg_name="events", event_hub_name="%HUB%", connection="HUBS",
                               cardinality=func.Cardinality.MANY, data_type=func.DataType.BINARY)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hubs(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EventHubs]:
    """An Event Hubs namespace with a hub of two partitions for each function."""
    folder = tmp_path_factory.mktemp("hubs")
    async with EventHubs(folder, hubs=[HubSpec(name, partition_count=2) for name in HUBS]) as namespace:
        yield namespace


@dataclass
class Shared:
    """The app that most tests share, and its running host."""

    app: App
    host: FunctionsHost

    def records(self, function: str) -> list[dict]:
        """What one function has recorded."""
        return [entry for entry in self.app.records() if entry["function"] == function]

    async def until(self, function: str, condition: Callable[[list[dict]], object]) -> list[dict]:
        """Wait until what one function has recorded satisfies the condition."""
        await self.app.until(lambda _: condition(self.records(function)))
        return self.records(function)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(tmp_path_factory: pytest.TempPathFactory, hubs: EventHubs, storage: str) -> AsyncIterator[Shared]:
    """One host that runs a function per hub, each in a process of its own."""
    app = App(tmp_path_factory.mktemp("shared"))
    app.write(SHARED)
    app.write_host_json({"extensions": {"eventHubs": {"maxEventBatchSize": 3}}})
    connect(app, hubs, storage)
    app.settings |= {name: str(app.folder.parent / name) for name in ("ALLOWED", "MARK")}
    async with host_of(app) as host:
        yield Shared(app, host)
    sys.stdout.write(app.log.getvalue())


@pytest.fixture
def fed(app: App, hubs: EventHubs, storage: str) -> App:
    """An app of the test's own, with the hub "moved"."""
    connect(app, hubs, storage)
    return app


def connect(app: App, hubs: EventHubs, storage: str) -> None:
    """Give the app the settings that reach hub and storage."""
    app.settings |= {"HUBS": hubs.connection_string, "HUB": "moved", "AzureWebJobsStorage": storage}


def host_of(app: App, name: str = "data") -> FunctionsHost:
    """A host for the app."""
    return FunctionsHost(app.folder, settings=app.settings, data_dir=app.folder.parent / name, log=app.log, pace=FAST)


async def send(hubs: EventHubs, hub: str, *bodies: str, partition: str = "0") -> None:
    """Put events into one partition."""
    for body in bodies:
        event = HubEvent(body=body.encode(), annotations={}, properties={}, application_properties={})
        await hubs.publish(hub, event, partition_id=partition)


async def checkpoint(app: App, hubs: EventHubs, hub: str, partition: str) -> int | None:
    """The sequence number that the stored checkpoint names."""
    async with BlobServiceClient.from_connection_string(app.settings["AzureWebJobsStorage"]) as service:
        container = service.get_container_client("azure-webjobs-eventhub")
        prefix = f"127.0.0.1:{hubs.port}/{hub}/$default/checkpoint/{partition}"
        async for blob in container.list_blobs(name_starts_with=prefix, include=["metadata"]):
            return int(blob.metadata["sequencenumber"])
    return None


async def checkpoint_reaches(app: App, hubs: EventHubs, hub: str, number: int, partition: str = "0") -> None:
    """Wait for the checkpoint, which the host writes after the function has returned."""
    async with asyncio.timeout(20):
        while await checkpoint(app, hubs, hub, partition) != number:
            await asyncio.sleep(0.05)


def bodies(records: list[dict]) -> list[str]:
    """All bodies in the order in which the function saw them."""
    return [body for entry in records for body in entry["bodies"]]


async def test_a_function_sees_what_it_would_see_on_azure(shared: Shared, hubs: EventHubs) -> None:
    """Bodies, positions, times without zone, properties, IoT Hub's annotations, the partition."""
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
    await hubs.publish("seen", device, partition_id="1")
    plain = HubEvent(body=b"", annotations={}, properties={}, application_properties={})
    await hubs.publish("seen", plain, partition_id="1")
    records = await shared.until("seen", lambda own: sum(len(entry["bodies"]) for entry in own) == 2)
    await checkpoint_reaches(shared.app, hubs, "seen", 1, "1")
    assert {entry["pid"] for entry in records} == {shared.host.pids["seen"]}
    # The two may have come in one batch or in two.
    seen = {
        name: [item for entry in records for item in entry[name]]
        for name in records[0]
        if isinstance(records[0][name], list)
    }
    assert seen["bodies"] == [[0, 255], []]
    assert seen["numbers"] == seen["array"] == [0, 1]
    assert [str(offset) for offset in seen["offsets"]] == seen["offset_array"]
    assert seen["keys"] == [None, None]
    assert seen["key_array"] == []
    assert seen["iothub"][0] == {
        "connection-device-id": "pump-1",
        "enqueuedtime": "2026-01-02T03:04:05.678Z",
        "message-source": "Telemetry",
    }
    assert seen["iothub"][1] == {}
    assert records[0]["partition"] == {
        "FullyQualifiedNamespace": f"127.0.0.1:{hubs.port}",
        "EventHubName": "seen",
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


@pytest.mark.parametrize(("hub", "function"), [("json", "json_bodies"), ("text", "text")])
async def test_other_data_types_are_encoded_as_production_does(
    shared: Shared, hubs: EventHubs, hub: str, function: str
) -> None:
    """Text, or JSON that the host reads and writes again; a bad batch is a failure, not the end."""
    await send(hubs, hub, "{", partition="0")
    await send(hubs, hub, '{"a":1}', partition="1")
    await checkpoint_reaches(shared.app, hubs, hub, 0)
    await shared.until(function, lambda own: {"a": 1} in [json.loads(body) for body in bodies(own) if body != "{"])
    if hub == "json":
        said = "json_bodies cannot be given a batch: a body is not JSON"
        await wait_for(lambda: said in shared.app.log.getvalue())


async def test_batches_of_a_partition_are_serial_and_partitions_concurrent(shared: Shared, hubs: EventHubs) -> None:
    """One invocation at a time per partition, in order, at most maxEventBatchSize events."""
    for partition in "01":
        await send(hubs, "order", *(str(number) for number in range(9)), partition=partition)

    def finished(own: list[dict]) -> bool:
        states = [entry["at"] for entry in own]
        return len(bodies(own)) == 18 and states.count("begin") == states.count("end")

    records = await shared.until("order", finished)
    for partition in "01":
        own = [entry for entry in records if entry["partition"] == partition]
        assert bodies(own) == [str(number) for number in range(9)]
        assert [entry["at"] for entry in own] == ["begin", "end"] * (len(own) // 2)
        assert all(len(entry["bodies"]) <= 3 for entry in own)
    order = [entry["at"] for entry in records]
    assert ("begin", "begin") in pairwise(order)


async def test_without_a_retry_policy_a_failed_batch_is_lost(shared: Shared, hubs: EventHubs) -> None:
    """Production moves the checkpoint whatever the function did: documented, and dear to forget."""
    producer = EventHubProducerClient.from_connection_string(
        hubs.connection_string, eventhub_name="failing", retry_total=0
    )
    async with producer:
        await producer.send_batch([EventData("a")], partition_id="0")
    await checkpoint_reaches(shared.app, hubs, "failing", 0)
    await send(hubs, "failing", "b")
    await checkpoint_reaches(shared.app, hubs, "failing", 1)
    assert bodies(shared.records("failing")) == ["a", "b"]
    await wait_for(lambda: "ValueError: cannot do this" in shared.app.log.getvalue())


async def test_a_retry_policy_holds_the_partition_until_it_succeeds(shared: Shared, hubs: EventHubs) -> None:
    """The same batch again, with its count, and no checkpoint before it is done."""
    await send(hubs, "retried", "a")
    await shared.until("retried", lambda own: len(own) >= 3)
    assert await checkpoint(shared.app, hubs, "retried", "0") is None
    (shared.app.folder.parent / "ALLOWED").touch()
    await checkpoint_reaches(shared.app, hubs, "retried", 0)
    records = shared.records("retried")
    assert [entry["count"] for entry in records] == list(range(len(records)))
    assert set(bodies(records)) == {"a"}
    assert records[1]["before"] == "RuntimeError: storage is down"


async def test_a_killed_worker_is_replaced_and_gets_the_batch_again(shared: Shared, hubs: EventHubs) -> None:
    """What was not checkpointed comes again, in the replacement."""
    await send(hubs, "killed", "a")
    await checkpoint_reaches(shared.app, hubs, "killed", 0)
    records = shared.records("killed")
    assert bodies(records) == ["a", "a"]
    assert records[0]["pid"] != records[1]["pid"]
    assert "[killed] worker exited with code 7" in shared.app.log.getvalue()


async def test_stopping_finishes_the_batch_without_a_checkpoint(fed: App, hubs: EventHubs) -> None:
    """The function is not torn down half-way; the events come again, as in production."""
    fed.write(
        BINARY
        + """
async def intake(events: List[func.EventHubEvent]) -> None:
    record(at="begin", bodies=[event.get_body().decode() for event in events])
    await asyncio.sleep(0.5)
    record(at="end", bodies=[])
"""
    )
    options = {"minEventBatchSize": 2, "maxWaitTime": "00:00:00.5"}
    fed.write_host_json({"extensions": {"eventHubs": options}})
    fed.settings["HUB"] = "stopped"
    await send(hubs, "stopped", "alone")
    await send(hubs, "stopped", "first", "second", partition="1")
    async with host_of(fed):
        # Two make a batch at once, one alone waits for the second that does not come.
        await fed.until(lambda seen: "alone" in bodies(seen))
    begun = [entry["bodies"] for entry in fed.records() if entry["at"] == "begin"]
    assert sorted(begun) == [["alone"], ["first", "second"]]
    assert [entry["at"] for entry in fed.records()].count("end") == len(begun)
    assert await checkpoint(fed, hubs, "stopped", "0") is None


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

    async def send_until_served_by(*pids: int) -> None:
        """Send to both partitions until these processes, and no others, have seen one each."""
        start = len(fed.records())
        async with asyncio.timeout(25):
            while True:
                seen = owners(fed.records()[start:])
                if len(seen) == 2 and {pid for pid, _ in seen} == set(pids):
                    return
                number = next(numbers)
                sent.add(str(number))
                await send(hubs, "moved", str(number), partition=str(number % 2))
                if len(seen) > 2:
                    start = len(fed.records())
                await asyncio.sleep(0.1)

    numbers = iter(range(10_000))
    sent: set[str] = set()
    async with host_of(fed, "first") as first:
        await send_until_served_by(first.pids["intake"])
        async with host_of(fed, "second") as second:
            await send_until_served_by(first.pids["intake"], second.pids["intake"])
            os.kill(second.pids["intake"], signal.SIGKILL)
            await wait_for(lambda: "ended by SIGKILL" in fed.log.getvalue())
        await fed.until(lambda seen: set(bodies(seen)) == sent, seconds=15)
