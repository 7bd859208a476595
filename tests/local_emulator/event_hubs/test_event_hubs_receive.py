"""Receiving: start positions, expired gaps, metrics, published events, both clients."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest
from azure.eventhub import EventData, EventHubConsumerClient

from local_emulator.event_hubs import HubEvent
from local_emulator.event_hubs.errors import AmqpError

from .conftest import HUB, SECONDS, World, bodies, side_by_side, until


@side_by_side
async def test_start_positions(world: World) -> None:
    """Every way to say where to start, exclusive and inclusive."""
    past, future = datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(hours=1)
    cases: list[tuple[object, bool, list[str]]] = [
        ("-1", False, ["a", "b", "c", "d"]),
        (-1, False, ["a", "b", "c", "d"]),
        (1, False, ["c", "d"]),
        (1, True, ["b", "c", "d"]),
        ("offset of c", False, ["d"]),
        ("offset of c", True, ["c", "d"]),
        ("100", False, ["b", "c", "d"]),  # no event begins there
        (past, False, ["a", "b", "c", "d"]),
        (3, False, ["late"]),
        ("@latest", False, ["late"]),
        (future, True, ["late"]),
    ]
    partitions = [world.partition() for _ in cases]
    for partition_id in partitions:
        await world.publish(partition_id, "a", "b", "c", "d")
    offsets = [str(event.offset) for event in await world.read(partitions[0], 4)]
    assert int(offsets[0]) < 100 < int(offsets[1])

    waiting = asyncio.gather(
        *(
            world.read(
                partition_id,
                len(expected),
                starting_position=offsets[2] if position == "offset of c" else position,
                starting_position_inclusive=inclusive,
            )
            for partition_id, (position, inclusive, expected) in zip(partitions, cases, strict=True)
        )
    )
    for partition_id, (_, _, expected) in zip(partitions, cases, strict=True):
        if expected == ["late"]:
            log = world.service._namespace.hub(HUB).partition(partition_id).log
            await until(lambda log=log: bool(log.on_append))  # a receiver listens
            await world.publish(partition_id, "late")
    results = await waiting

    assert [bodies(events) for events in results] == [expected for _, _, expected in cases]


@side_by_side
async def test_refused_links(world: World) -> None:
    """Positions behind the end, as left by checkpoints that outlived their hub; groups that are not there."""
    full, empty = world.partition(), world.partition()
    await world.publish(full, "a", "b")
    past_offset, past_sequence, nothing_yet, no_group = await asyncio.gather(
        world.refusal(full, starting_position="500"),
        world.refusal(full, starting_position=2),
        world.refusal(empty, starting_position="0"),
        world.refusal(full, group="nobody"),
    )

    assert "The supplied offset '500' is invalid. The last offset in the system is '1" in past_offset.message
    assert (
        "The supplied sequence number '2' is invalid. The last sequence number in the system is '1'"
        in past_sequence.message
    )
    assert "The supplied offset '0' is invalid. The last offset in the system is '-1'" in nothing_yet.message
    assert {past_offset.error, past_sequence.error, nothing_yet.error} == {"argument-error"}
    assert no_group.error == "not-found"
    assert "could not be found" in no_group.message


@side_by_side
async def test_expired_events_are_jumped_over(world: World) -> None:
    """Expiry moves the beginning; a reader from before it starts there, and numbers go on."""
    partition = world.partition()
    await world.publish(partition, *"abcdef")
    world.service.expire(HUB, partition, 4)

    assert bodies(await world.read(partition, 2)) == ["e", "f"]
    assert [event.sequence_number for event in await world.read(partition, 2, starting_position=1)] == [4, 5]

    world.service.expire(HUB, partition, 99)  # everything there is
    async with world.consumer() as client:
        gone = await client.get_partition_properties(partition)
        await world.publish(partition, "g")
        back = await client.get_partition_properties(partition)
    assert gone["is_empty"]
    assert (gone["beginning_sequence_number"], gone["last_enqueued_sequence_number"]) == (6, 5)
    assert not back["is_empty"]
    assert (back["beginning_sequence_number"], back["last_enqueued_sequence_number"]) == (6, 6)
    assert bodies(await world.read(partition, 1, starting_position=5)) == ["g"]


@side_by_side
async def test_last_enqueued_properties_come_with_events(world: World) -> None:
    """A receiver that asks for it learns how far the partition has got."""
    partition = world.partition()
    await world.publish(partition, "a", "b", "c")
    seen = asyncio.get_running_loop().create_future()

    async def on_event(context: object, event: EventData | None) -> None:
        if not seen.done():
            seen.set_result((context.last_enqueued_event_properties, event))  # type: ignore[attr-defined]

    client = world.consumer()
    receiving = asyncio.create_task(
        client.receive(
            on_event, partition_id=partition, starting_position="-1", track_last_enqueued_event_properties=True
        )
    )
    async with asyncio.timeout(SECONDS):
        properties, event = await seen
    await client.close()
    await receiving

    assert event.sequence_number == 0
    assert properties["sequence_number"] == 2
    assert int(properties["offset"]) > 0
    assert properties["enqueued_time"] >= event.enqueued_time
    assert properties["retrieval_time"] >= properties["enqueued_time"]


@side_by_side
async def test_published_events_look_like_routed_ones(world: World) -> None:
    """What code publishes has typed annotations, properties and application properties."""
    partition = world.partition()
    moment = datetime(2026, 5, 4, 3, 2, 1, 250_000, tzinfo=UTC)
    event = HubEvent(
        b"{}",
        annotations={
            "iothub-connection-device-id": "pump-1",
            "iothub-enqueuedtime": moment,
            "iothub-count": 7,
            "x-opt-offset": "999",
        },
        properties={
            "message-id": "m",
            "correlation-id": "c",
            "user-id": "u",
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "absolute-expiry-time": moment,
        },
        application_properties={"level": "high"},
    )
    await world.service.publish(HUB, event, partition_id=partition, partition_key="pump-1")

    received = (await world.read(partition, 1))[0]

    milliseconds = int(moment.timestamp() * 1000)
    annotations = received.raw_amqp_message.annotations
    assert annotations is not None
    assert annotations[b"iothub-connection-device-id"] == b"pump-1"
    assert annotations[b"iothub-enqueuedtime"] == milliseconds
    assert annotations[b"iothub-count"] == 7
    assert received.offset == "0"
    assert received.partition_key == b"pump-1"
    properties = received.raw_amqp_message.properties
    assert properties is not None
    assert (properties.message_id, properties.correlation_id, properties.user_id) == (b"m", b"c", b"u")
    assert (properties.content_type, properties.content_encoding) == (b"application/json", b"utf-8")
    assert properties.absolute_expiry_time == milliseconds
    assert received.properties == {b"level": b"high"}


@side_by_side
async def test_publish_says_what_is_wrong(world: World) -> None:
    """Unknown hubs, partitions and properties, and events above the limit, are refused."""
    with pytest.raises(AmqpError, match="could not be found"):
        await world.service.publish("nowhere", HubEvent(b""))
    with pytest.raises(AmqpError, match="partition '32' is invalid"):
        await world.service.publish(HUB, HubEvent(b""), partition_id="32")
    with pytest.raises(ValueError, match="colour"):
        await world.service.publish(HUB, HubEvent(b"", properties={"colour": "red"}))
    with pytest.raises(AmqpError, match="exceeds the limit"):
        await world.service.publish(HUB, HubEvent(b"x" * 1_100_000))


@side_by_side
async def test_synchronous_client_receives_a_backlog(world: World) -> None:
    """Several segments' worth of events, in order, with a small prefetch and thus many grants of credit."""
    partition = world.partition()
    texts = [f"{number:06}" + "x" * 2000 for number in range(6000)]
    await world.publish(partition, *texts)
    received: list[str] = []
    done = threading.Event()

    def on_batch(_: object, events: list[EventData]) -> None:
        received.extend(event.body_as_str() for event in events)
        if len(received) >= len(texts):
            done.set()

    client = EventHubConsumerClient.from_connection_string(
        world.service.connection_string, "$Default", eventhub_name=HUB, retry_total=0
    )
    receiving = asyncio.create_task(
        asyncio.to_thread(client.receive_batch, on_batch, partition_id=partition, starting_position="-1", prefetch=1000)
    )
    assert await asyncio.to_thread(done.wait, SECONDS)
    await asyncio.to_thread(client.close)
    await receiving

    assert received == texts
