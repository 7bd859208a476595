"""A running emulator, and the genuine SDK's clients with retries off.

The SDK's clients sleep: half a second to connect, a second to close. So the tests share one service, each
takes partitions of its own, and those marked `side_by_side` run all at once.
"""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from azure.eventhub import EventData
from azure.eventhub import EventHubConsumerClient as SyncConsumer
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import EventHubError

from local_emulator.event_hubs import EventHubs, HubEvent, HubSpec

HUB = "mailbox"
PARTITIONS = 32
SECONDS = 30  # the deadline of every wait; nothing takes a tenth of it on an idle machine

# The SDK's asynchronous client drops its socket unclosed when the service ends a link or the connection.
_SDK_DROPS_SOCKETS = pytest.mark.filterwarnings(
    r"ignore:Exception ignored in. <(function (StreamWriter|_SelectorTransport).__del__|socket.socket)"
    ":pytest.PytestUnraisableExceptionWarning"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Forgive the SDK its sockets in the tests of this folder: they are found whenever memory is swept."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(_SDK_DROPS_SOCKETS)


type Scenario = Callable[[World], Coroutine[Any, Any, None]]


class World:
    """The service that tests share, and what they do with it."""

    def __init__(self, service: EventHubs, producer: EventHubProducerClient, folder: Path) -> None:
        self.service = service
        self.producer = producer
        self.folder = folder
        self.ending: list[Awaitable[Any]] = []
        self._unused = iter(range(PARTITIONS))

    def partition(self) -> str:
        """Return a partition that no other test uses."""
        return str(next(self._unused))

    async def settle(self) -> None:
        """Wait for the clients that are still closing, and sweep up what the SDK has left open."""
        await asyncio.gather(*self.ending)
        self.ending.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    async def publish(self, partition_id: str, *texts: str) -> None:
        """Put texts into a partition."""
        for text in texts:
            await self.service.publish(HUB, HubEvent(text.encode()), partition_id=partition_id)

    def consumer(self, group: str = "$Default", *, hub: str = HUB) -> EventHubConsumerClient:
        """Make an asynchronous consumer."""
        return EventHubConsumerClient.from_connection_string(
            self.service.connection_string, group, eventhub_name=hub, retry_total=0, load_balancing_interval=0.1
        )

    async def read(
        self, partition_id: str, count: int, *, group: str = "$Default", hub: str = HUB, **options: Any
    ) -> list[EventData]:
        """Receive so many events of a partition, or raise the first error."""
        return await receive(
            self.consumer(group, hub=hub), partition_id, lambda events: len(events) >= count, self.ending, **options
        )

    async def refusal(self, partition_id: str, *, group: str = "$Default", **options: Any) -> EventHubError:
        """Receive with the synchronous client and return the error it reports.

        The asynchronous client hides why a link is refused, unless it was stolen, and tries for ever.
        """
        loop = asyncio.get_running_loop()
        refused: asyncio.Future[Exception] = loop.create_future()

        def on_error(_: object, error: Exception) -> None:
            loop.call_soon_threadsafe(lambda: refused.done() or refused.set_result(error))

        client = SyncConsumer.from_connection_string(
            self.service.connection_string, group, eventhub_name=HUB, retry_total=0, load_balancing_interval=0.1
        )
        receiving = asyncio.to_thread(
            client.receive, lambda *_: None, on_error=on_error, partition_id=partition_id, **options
        )
        self.ending.append(asyncio.create_task(receiving))
        try:
            async with asyncio.timeout(SECONDS):
                error = await refused
        finally:
            self.ending.append(asyncio.create_task(asyncio.to_thread(client.close)))
        assert isinstance(error, EventHubError)
        return error


async def receive(
    client: EventHubConsumerClient,
    partition_id: str,
    is_enough: Callable[[list[EventData]], bool],
    ending: list[Awaitable[Any]],
    **options: Any,
) -> list[EventData]:
    """Receive from a partition until there is enough, or raise the first error; the client closes later."""
    events: list[EventData] = []
    done = asyncio.get_running_loop().create_future()

    async def on_batch(_: object, batch: list[EventData]) -> None:
        events.extend(batch)
        if is_enough(events) and not done.done():
            done.set_result(None)

    async def on_error(_: object, error: Exception) -> None:
        if not done.done():
            done.set_exception(error)

    options = {"starting_position": "-1", **options}
    ending.append(
        asyncio.create_task(client.receive_batch(on_batch, on_error=on_error, partition_id=partition_id, **options))
    )
    try:
        async with asyncio.timeout(SECONDS):
            await done
    finally:
        ending.append(asyncio.create_task(client.close()))
    return events


def bodies(events: list[EventData]) -> list[str]:
    """Return the texts of events."""
    return [event.body_as_str() for event in events]


async def until(condition: Callable[[], bool]) -> None:
    """Wait, up to a deadline, for what another process or the SDK does in its own time."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Provide a service with a wide hub that has a second consumer group, and a small hub; and a producer."""
    folder = tmp_path_factory.mktemp("world")
    hubs = [HubSpec(HUB, PARTITIONS, ("analytics",)), HubSpec("small", 4)]
    async with (
        EventHubs(folder / "hubs", hubs=hubs) as service,
        EventHubProducerClient.from_connection_string(
            service.connection_string, eventhub_name=HUB, retry_total=0
        ) as producer,
    ):
        yield World(service, producer, folder)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scenarios(world: World, request: pytest.FixtureRequest) -> AsyncIterator[dict[Scenario, asyncio.Task[None]]]:
    """Start all tests that may run side by side; each of them then waits for its own."""
    chosen = [item.obj.scenario for item in request.session.items if hasattr(getattr(item, "obj", None), "scenario")]
    tasks = {scenario: asyncio.create_task(scenario(world)) for scenario in chosen}
    yield tasks
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    await world.settle()


def side_by_side(scenario: Scenario) -> Callable[..., Coroutine[Any, Any, None]]:
    """Let a test run together with the other such tests."""

    @pytest.mark.asyncio(loop_scope="session")
    async def test(world: World, scenarios: dict[Scenario, asyncio.Task[None]]) -> None:
        await scenarios[scenario]
        if all(task.done() for task in scenarios.values()):
            await world.settle()

    test.__name__, test.__doc__, test.__module__ = scenario.__name__, scenario.__doc__, scenario.__module__
    test.scenario = scenario  # type: ignore[attr-defined]
    return test
