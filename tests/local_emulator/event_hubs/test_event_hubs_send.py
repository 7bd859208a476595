"""Sending: single events, batches, keys, ids, limits, throttling."""

import asyncio

import pytest
from azure.eventhub import EventData, EventHubProducerClient
from azure.eventhub.aio import EventHubConsumerClient
from azure.eventhub.aio import EventHubProducerClient as AioProducer
from azure.eventhub.amqp import AmqpAnnotatedMessage
from azure.eventhub.exceptions import EventDataSendError

from local_emulator.event_hubs import EventHubs, HubSpec
from local_emulator.event_hubs.partition_key import partition_of

from .conftest import HUB, World, bodies, receive, side_by_side


@side_by_side
async def test_batch_goes_to_its_partition_in_order(world: World) -> None:
    """A batch keeps its order and is numbered from zero; offsets grow."""
    partition = world.partition()
    batch = await world.producer.create_batch(partition_id=partition)
    for number in range(100):
        batch.add(EventData(f"event {number}"))
    await world.producer.send_batch(batch)

    events = await world.read(partition, 100)

    assert bodies(events) == [f"event {number}" for number in range(100)]
    assert [event.sequence_number for event in events] == list(range(100))
    offsets = [int(event.offset or -1) for event in events]
    assert offsets == sorted(set(offsets))
    assert offsets[0] == 0


@side_by_side
async def test_key_decides_the_partition(world: World) -> None:
    """Events with a key go where the service's hash says, and show the key; without, partitions take turns."""
    keys = ("7", "131", "FWfAT", "Zürich", "machine-3")
    logs = [partition.log for partition in world.service._namespace.hub("small").partitions]
    async with AioProducer.from_connection_string(
        world.service.connection_string, eventhub_name="small", retry_total=0
    ) as producer:
        for key in keys:
            await producer.send_event(EventData(f"single {key}"), partition_key=key)
            await producer.send_batch([EventData(f"batch {key}")], partition_key=key)
        before = [log.next_sequence for log in logs]
        for number in range(8):
            await producer.send_batch([EventData(str(number))])
    assert [log.next_sequence - old for log, old in zip(logs, before, strict=True)] == [2, 2, 2, 2]

    expected = [
        [f"{how} {key}" for key in keys if partition_of(key, 4) == number for how in ("single", "batch")]
        for number in range(4)
    ]
    received = await asyncio.gather(
        *(world.read(str(number), len(texts) + 2, hub="small") for number, texts in enumerate(expected))
    )
    for events, texts in zip(received, expected, strict=True):
        assert bodies(events)[:-2] == texts
        assert [event.partition_key for event in events[:-2]] == [text.partition(" ")[2].encode() for text in texts]


@side_by_side
async def test_large_batch_comes_in_many_frames(world: World) -> None:
    """A batch near 1 MiB, sent by the synchronous client, arrives whole."""
    partition = world.partition()

    def send() -> int:
        with EventHubProducerClient.from_connection_string(
            world.service.connection_string, eventhub_name=HUB, retry_total=0
        ) as client:
            batch = client.create_batch(partition_id=partition)
            count = 0
            try:
                while True:
                    batch.add(EventData(f"{count:010}" * 50))
                    count += 1
            except ValueError:  # full
                client.send_batch(batch)
            return count

    count = await asyncio.to_thread(send)

    events = await world.read(partition, count)
    assert bodies(events) == [f"{number:010}" * 50 for number in range(count)]
    assert count * 500 > 900_000


@side_by_side
async def test_event_above_the_limit_is_rejected_and_the_link_stays(world: World) -> None:
    """More than 1 MiB is the documented error; the next event passes on the same link."""
    partition = world.partition()
    with pytest.raises(EventDataSendError, match="exceeds the limit \\(1048576 bytes\\)") as caught:
        await world.producer.send_event(EventData(b"x" * 1_100_000), partition_id=partition)
    assert caught.value.error == "link:message-size-exceeded"

    largest = "x" * (1024 * 1024 - 300)
    await world.producer.send_event(EventData(largest), partition_id=partition)
    assert bodies(await world.read(partition, 1)) == [largest]


@side_by_side
async def test_sections_pass_and_system_annotations_do_not(world: World) -> None:
    """Sequence number, offset and time are the service's; all else, in any body kind, passes unchanged."""
    partition = world.partition()
    message = AmqpAnnotatedMessage(
        data_body=[b"payload"],
        annotations={
            "x-opt-sequence-number": 999,
            "x-opt-offset": "999",
            "x-opt-enqueued-time": 5,
            "x-opt-mine": "kept",
        },
        properties={"message_id": "m-1", "content_type": "text/plain"},
        application_properties={"colour": "blue", "count": 3},
        footer={"end": "yes"},
    )
    await world.producer.send_event(message, partition_id=partition)
    await world.producer.send_event(AmqpAnnotatedMessage(value_body={"a": [1, 2.5, None]}), partition_id=partition)
    await world.producer.send_event(AmqpAnnotatedMessage(sequence_body=[1, "two"]), partition_id=partition)

    event, value, sequence = await world.read(partition, 3)

    assert (event.sequence_number, event.offset) == (0, "0")
    assert event.enqueued_time is not None
    assert event.enqueued_time.year > 2000
    annotated = event.raw_amqp_message
    assert annotated.annotations is not None
    assert annotated.annotations[b"x-opt-mine"] == b"kept"
    assert annotated.footer == {b"end": b"yes"}
    assert event.message_id == "m-1"
    assert event.content_type == "text/plain"
    assert event.properties == {b"colour": b"blue", b"count": 3}
    assert value.raw_amqp_message.body == {b"a": [1, 2.5, None]}
    assert list(sequence.raw_amqp_message.body) == [[1, b"two"]]


@side_by_side
async def test_faults_on_demand(world: World) -> None:
    """The asked number of sends is rejected as server-busy (the SDK tries twice); lost connections come back."""
    async with EventHubs(world.folder / "faulty", hubs=[HubSpec(HUB, 1)]) as service:
        async with AioProducer.from_connection_string(
            service.connection_string, eventhub_name=HUB, retry_total=0
        ) as client:
            service.reject_sends(2)
            with pytest.raises(EventDataSendError, match="50002") as caught:
                await client.send_event(EventData("rejected"), partition_id="0")
            assert caught.value.error == "server-busy"
            service.reject_sends(1)
            await client.send_event(EventData("accepted at the second attempt"), partition_id="0")

        async with AioProducer.from_connection_string(service.connection_string, eventhub_name=HUB) as client:
            await client.send_event(EventData("before"), partition_id="0")
            service.drop_connections()
            await client.send_event(EventData("after"), partition_id="0")

        consumer = EventHubConsumerClient.from_connection_string(
            service.connection_string, "$Default", eventhub_name=HUB, load_balancing_interval=0.1
        )
        events = await receive(consumer, "0", lambda events: len(events) == 3, world.ending)
    assert bodies(events) == ["accepted at the second attempt", "before", "after"]
