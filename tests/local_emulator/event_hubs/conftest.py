"""A running emulator, and the genuine SDK's clients with retries off.

Clients of the SDK take half a second to connect and a second to close, so a module shares one service and
every test takes partitions of its own.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from azure.eventhub import EventData
from azure.eventhub import EventHubConsumerClient as SyncConsumer
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import EventHubError

from local_emulator.event_hubs import EventHubs, HubSpec

HUB = "mailbox"
PARTITIONS = 32
SECONDS = 30  # the deadline of every wait; nothing takes a tenth of it on an idle machine

# The SDK's asynchronous client drops a socket unclosed when a link of it is detached by the service.
SDK_DROPS_SOCKETS = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function StreamWriter.__del__:pytest.PytestUnraisableExceptionWarning"
)

type Consumer = Callable[..., EventHubConsumerClient]
type Refusal = Callable[..., Awaitable[EventHubError]]
type Read = Callable[..., Awaitable[list[EventData]]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def event_hubs(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EventHubs]:
    """Provide a service with a wide hub that has a second consumer group, and a small hub."""
    hubs = [HubSpec(HUB, PARTITIONS, ("analytics",)), HubSpec("small", 4)]
    async with EventHubs(tmp_path_factory.mktemp("hubs"), hubs=hubs) as service:
        yield service


@pytest.fixture(scope="module")
def _partitions() -> Iterator[int]:
    return iter(range(PARTITIONS))


@pytest.fixture
def partition(_partitions: Iterator[int]) -> str:
    """Provide a partition that no other test of the module uses."""
    return str(next(_partitions))


@pytest.fixture
def more_partitions(_partitions: Iterator[int]) -> Callable[[int], list[str]]:
    """Provide further unused partitions."""
    return lambda count: [str(number) for number in itertools.islice(_partitions, count)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def producer(event_hubs: EventHubs) -> AsyncIterator[EventHubProducerClient]:
    """Provide an asynchronous producer."""
    async with EventHubProducerClient.from_connection_string(
        event_hubs.connection_string, eventhub_name=HUB, retry_total=0
    ) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def _closing() -> AsyncIterator[list[Awaitable[Any]]]:
    """Collect what ends in its own time: every client of the SDK takes a second to close."""
    tasks: list[Awaitable[Any]] = []
    yield tasks
    await asyncio.gather(*tasks)


@pytest.fixture
def consumer(event_hubs: EventHubs) -> Consumer:
    """Provide a maker of asynchronous consumers."""

    def make(group: str = "$Default", *, hub: str = HUB, **options: Any) -> EventHubConsumerClient:
        options = {"retry_total": 0, "load_balancing_interval": 0.1, **options}
        return EventHubConsumerClient.from_connection_string(
            event_hubs.connection_string, group, eventhub_name=hub, **options
        )

    return make


@pytest.fixture
def read(consumer: Consumer, _closing: list[Awaitable[Any]]) -> Read:
    """Provide a function that receives a number of events of a partition, or raises the first error."""

    async def read_events(
        partition_id: str, count: int, *, group: str = "$Default", hub: str = HUB, **options: Any
    ) -> list[EventData]:
        events: list[EventData] = []
        done = asyncio.get_running_loop().create_future()

        async def on_batch(_: object, batch: list[EventData]) -> None:
            events.extend(batch)
            if len(events) >= count and not done.done():
                done.set_result(None)

        async def on_error(_: object, error: Exception) -> None:
            if not done.done():
                done.set_exception(error)

        options = {"starting_position": "-1", **options}
        client = consumer(group, hub=hub)
        receiving = asyncio.create_task(
            client.receive_batch(on_batch, on_error=on_error, partition_id=partition_id, **options)
        )
        try:
            async with asyncio.timeout(SECONDS):
                await done
        finally:
            _closing.append(asyncio.create_task(client.close()))
            _closing.append(receiving)
        return events

    return read_events


@pytest.fixture
def refusal(event_hubs: EventHubs, _closing: list[Awaitable[Any]]) -> Refusal:
    """Provide a function that receives with the synchronous client and returns the error it reports.

    The asynchronous client hides why a link is refused, unless it was stolen, and tries for ever.
    """

    async def receive_in_vain(partition_id: str, *, group: str = "$Default", **options: Any) -> EventHubError:
        loop = asyncio.get_running_loop()
        refused: asyncio.Future[Exception] = loop.create_future()

        def on_error(_: object, error: Exception) -> None:
            loop.call_soon_threadsafe(lambda: refused.done() or refused.set_result(error))

        client = SyncConsumer.from_connection_string(
            event_hubs.connection_string, group, eventhub_name=HUB, retry_total=0, load_balancing_interval=0.1
        )
        _closing.append(
            asyncio.create_task(
                asyncio.to_thread(
                    client.receive, lambda *_: None, on_error=on_error, partition_id=partition_id, **options
                )
            )
        )
        try:
            async with asyncio.timeout(SECONDS):
                error = await refused
        finally:
            _closing.append(asyncio.create_task(asyncio.to_thread(client.close)))
        assert isinstance(error, EventHubError)
        return error

    return receive_in_vain


@pytest.fixture
def bodies() -> Callable[[list[EventData]], list[str]]:
    """Provide the texts of events."""
    return lambda events: [event.body_as_str() for event in events]


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Provide a wait, up to a deadline, for what another process or an SDK does in its own time."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not condition():
                await asyncio.sleep(0.02)

    return wait
