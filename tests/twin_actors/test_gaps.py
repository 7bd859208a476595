"""Reading the mailbox beside the trigger, and sending to it: in memory, and on Event Hubs through the genuine SDK."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient

from local_emulator.event_hubs import EventHubs, HubEvent, HubSpec
from tests.twin_actors.world import FakeClock, telemetry, twin_at
from twin_actors.errors import Rejected, Unavailable
from twin_actors.gaps import GapReader
from twin_actors.gaps.event_hubs import EventHubGapReader
from twin_actors.gaps.memory import CHUNK, MemoryMailbox
from twin_actors.journals import PARTITION_COUNT
from twin_actors.journals.memory import MemoryJournal
from twin_actors.messages import Event
from twin_actors.rebase import Destination, Start, find
from twin_actors.sinks.mailbox import EventHubSender

GROUP = "gaps"
_partitions = itertools.count()


class Hub:
    """A partition of a hub that nobody else uses, filled and read through one interface."""

    def __init__(self, reader: GapReader, partition: int) -> None:
        self.reader = reader
        self.partition = partition

    async def fill(self, count: int) -> None:
        """Append messages of a device."""
        raise NotImplementedError

    def expire(self, before: int) -> None:
        """Let retention end for the events below a sequence number."""
        raise NotImplementedError


class MemoryHub(Hub):
    """In memory."""

    async def fill(self, count: int) -> None:
        """Append messages of a device."""
        for number in range(count):
            self.reader.append(self.partition, telemetry("probe-1", number))

    def expire(self, before: int) -> None:
        """Let retention end for the events below a sequence number."""
        self.reader.expire(self.partition, before)


class EventHub(Hub):
    """On Event Hubs."""

    service: EventHubs

    async def fill(self, count: int) -> None:
        """Append messages of a device."""
        for number in range(count):
            event = HubEvent(
                b'{"serial": %d}' % number,
                {
                    "iothub-connection-device-id": "probe-1",
                    "iothub-enqueuedtime": datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC),
                    "dt-dataschema": "dtmi:test:Probe;1",
                },
                {"message-id": f"m{number}", "content-type": "application/json"},
                {"site": "north"},
            )
            await self.service.publish("mailbox", event, partition_id=str(self.partition))

    def expire(self, before: int) -> None:
        """Let retention end for the events below a sequence number."""
        self.service.expire("mailbox", str(self.partition), before)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def event_hubs(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EventHubs]:
    """Event Hubs on loopback, with a consumer group for the gap reader."""
    hubs = [HubSpec("mailbox", 16, (GROUP,))]
    async with EventHubs(tmp_path_factory.mktemp("hubs"), hubs=hubs) as service:
        yield service


def reader_of(service: EventHubs, hub: str = "mailbox", group: str = GROUP, **more: float) -> EventHubGapReader:
    """Return a gap reader."""
    return EventHubGapReader(
        lambda: EventHubConsumerClient.from_connection_string(
            service.connection_string, group, eventhub_name=hub, retry_total=0
        ),
        **more,
    )


@pytest.fixture(params=["memory", "event_hubs"])
def hub(request: pytest.FixtureRequest) -> Hub:
    """An empty partition, of either kind."""
    if request.param == "memory":
        return MemoryHub(MemoryMailbox(16), 3)
    service = request.getfixturevalue("event_hubs")
    made = EventHub(reader_of(service), next(_partitions))
    made.service = service
    return made


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_empty_partition(hub: Hub) -> None:
    """Its first event will be number 0."""
    state = await hub.reader.describe(hub.partition)
    assert (state.partition_count, state.first_sequence_number, state.last_sequence_number) == (16, 0, -1)


async def test_events_are_read_by_number(hub: Hub) -> None:
    """Exactly those asked for, ascending, with all that the trigger passes too."""
    await hub.fill(10)
    found = await hub.reader.read(hub.partition, 3, 6)
    assert [event.sequence_number for event in found] == [3, 4, 5, 6]
    assert [event.device_id for event in found] == ["probe-1"] * 4
    if isinstance(hub, EventHub):
        assert found[0] == Event(
            sequence_number=3,
            enqueued_time=found[0].enqueued_time,
            body=b'{"serial": 3}',
            device_id="probe-1",
            model="dtmi:test:Probe;1",
            received_time=datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC).timestamp(),
            message_id="m3",
            content_type="application/json",
            properties={"site": "north"},
        )


async def test_a_large_gap_comes_in_chunks(hub: Hub) -> None:
    """Each begins where the one before ended."""
    await hub.fill(CHUNK + 20)
    first = await hub.reader.read(hub.partition, 0, CHUNK + 10)
    assert [event.sequence_number for event in first] == list(range(CHUNK))
    second = await hub.reader.read(hub.partition, CHUNK, CHUNK + 10)
    assert [event.sequence_number for event in second] == list(range(CHUNK, CHUNK + 11))


async def test_what_expired_is_not_there(hub: Hub) -> None:
    """What is left of the gap comes; nothing where nothing is left; numbers go on where all is gone."""
    await hub.fill(8)
    hub.expire(4)
    assert [event.sequence_number for event in await hub.reader.read(hub.partition, 2, 6)] == [4, 5, 6]
    assert await hub.reader.read(hub.partition, 0, 3) == []
    hub.expire(8)
    state = await hub.reader.describe(hub.partition)
    assert (state.first_sequence_number, state.last_sequence_number) == (8, 7)


async def test_a_group_that_is_not_there_is_unavailable(event_hubs: EventHubs) -> None:
    """And does not hold the partition for ever."""
    made = EventHub(reader_of(event_hubs, group="missing", read_seconds=1.0), next(_partitions))
    made.service = event_hubs
    await made.fill(3)
    with pytest.raises(Unavailable, match="not delivered"):
        await made.reader.read(made.partition, 0, 2)
    with pytest.raises(Unavailable, match="ends at 2"):  # what the trigger delivered was there: that is no loss
        await made.reader.read(made.partition, 3, 5)


async def test_a_recreated_hub_is_another_one(event_hubs: EventHubs) -> None:
    """By the time it was made."""
    event_hubs.create_hub(HubSpec("again", 1, (GROUP,)))
    reader = reader_of(event_hubs, hub="again")
    before = (await reader.describe(0)).hub
    event_hubs.delete_hub("again")
    with pytest.raises(Unavailable):
        await reader.describe(0)
    event_hubs.create_hub(HubSpec("again", 1, (GROUP,)))
    assert (await reader.describe(0)).hub != before


async def test_a_rebase_finds_its_place(hub: Hub) -> None:
    """At both ends and in between, with the time of the event before; in an empty partition, at its beginning."""
    journal, clock = MemoryJournal(), FakeClock()
    await journal.write(PARTITION_COUNT, b"16")

    async def found(start: Start | None) -> Destination:
        return await find(journal, hub.reader, clock, hub.partition, start)

    empty = await found(None)
    assert (empty.state.last_sequence_number, empty.time, empty.sources) == (-1, 0.0, list(range(16)))
    await hub.fill(4)
    # Side by side: the SDK takes half a second for each question.
    *places, events = await asyncio.gather(
        found("earliest"), found(2), found("latest"), hub.reader.read(hub.partition, 0, 3)
    )
    times = [event.enqueued_time for event in events]
    assert [(place.first, place.time) for place in places] == [(0, times[0]), (2, times[1]), (4, times[3])]
    with pytest.raises(Rejected, match="beyond"):
        await found(5)
    hub.expire(4)
    assert (await find(journal, hub.reader, clock, hub.partition, "earliest")).first == 4


async def test_the_sender_keeps_order_beyond_a_batch(event_hubs: EventHubs) -> None:
    """More than one send takes arrives whole, in order, at the partition asked for."""
    partition = next(_partitions)
    sender = EventHubSender(
        lambda: EventHubProducerClient.from_connection_string(
            event_hubs.connection_string, eventhub_name="mailbox", retry_total=0
        )
    )
    messages = [(b"%07d" % number * 40_000, {"n": str(number)}) for number in range(9)]
    await sender.send(partition, messages)
    await sender.send(partition, [(b"last", {})])
    found = await reader_of(event_hubs).read(partition, 0, 9)
    assert [event.body[:7] for event in found] == [*(b"%07d" % number for number in range(9)), b"last"]
    assert [event.properties for event in found[:2]] == [{"n": "0"}, {"n": "1"}]
    await sender.close()


async def test_a_sender_that_is_refused_is_unavailable(event_hubs: EventHubs) -> None:
    """And works again when the hub does."""
    partition = next(_partitions)
    sender = EventHubSender(
        lambda: EventHubProducerClient.from_connection_string(
            event_hubs.connection_string, eventhub_name="mailbox", retry_total=0
        )
    )
    await sender.send(partition, [(b"1", {})])
    event_hubs.reject_sends(2)  # the SDK asks again once, at once
    with pytest.raises(Unavailable):
        await sender.send(partition, [(b"2", {})])
    event_hubs.drop_connections()
    for _ in range(3):
        try:
            await sender.send(partition, [(b"3", {})])
        except Unavailable:
            continue
        break
    found = await reader_of(event_hubs).read(partition, 0, 1)
    assert [event.body for event in found] == [b"1", b"3"]
    await sender.close()


async def test_nobody_there_is_unavailable() -> None:
    """For a reader and for a sender."""
    nowhere = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true"
    reader = EventHubGapReader(
        lambda: EventHubConsumerClient.from_connection_string(nowhere, GROUP, eventhub_name="a", retry_total=0)
    )
    with pytest.raises(Unavailable):
        await reader.describe(0)
    sender = EventHubSender(
        lambda: EventHubProducerClient.from_connection_string(nowhere, eventhub_name="a", retry_total=0)
    )
    with pytest.raises(Unavailable):
        await sender.send(0, [(b"1", {})])
    await sender.close()
    assert twin_at(0)
