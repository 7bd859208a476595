"""Owner levels, and how many receivers a partition takes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from azure.eventhub import EventData
from azure.eventhub.exceptions import EventHubError

from local_emulator.event_hubs import EventHubs, HubEvent

from .conftest import HUB, SDK_DROPS_SOCKETS, SECONDS, Consumer, Refusal

pytestmark = [pytest.mark.asyncio(loop_scope="module"), SDK_DROPS_SOCKETS]


class Listener:
    """One receiver on a partition, and what happens to it."""

    def __init__(self, consumer: Consumer, partition_id: str, owner_level: int | None, group: str) -> None:
        self.client = consumer(group)
        loop = asyncio.get_running_loop()
        self.heard: asyncio.Future[str] = loop.create_future()
        self.error: asyncio.Future[Exception] = loop.create_future()
        self.task = asyncio.create_task(
            self.client.receive(
                self._on_event,
                on_error=self._on_error,
                partition_id=partition_id,
                owner_level=owner_level,
                starting_position="-1",
            )
        )

    async def _on_event(self, _: object, event: EventData | None) -> None:
        if event is not None and not self.heard.done():
            self.heard.set_result(event.body_as_str())

    async def _on_error(self, _: object, error: Exception) -> None:
        if not self.error.done():
            self.error.set_result(error)

    async def hears(self) -> None:
        """Wait until it has received the event."""
        async with asyncio.timeout(SECONDS):
            await self.heard

    async def fails(self) -> EventHubError:
        """Wait until it is told that it may not go on."""
        async with asyncio.timeout(SECONDS):
            error = await self.error
        assert isinstance(error, EventHubError)
        return error

    async def close(self) -> None:
        """End the receiver."""
        await self.client.close()
        await self.task


type Listen = Callable[..., Listener]


@pytest_asyncio.fixture(loop_scope="module")
async def listen(event_hubs: EventHubs, consumer: Consumer, partition: str) -> AsyncIterator[Listen]:
    """Provide a maker of receivers on a partition with one event."""
    await event_hubs.publish(HUB, HubEvent(b"hello"), partition_id=partition)
    listeners: list[Listener] = []

    def make(owner_level: int | None = None, group: str = "$Default") -> Listener:
        listeners.append(Listener(consumer, partition, owner_level, group))
        return listeners[-1]

    yield make
    await asyncio.gather(*(listener.close() for listener in listeners))


async def test_higher_level_steals_and_lower_is_refused(listen: Listen) -> None:
    """The owner with level 1 loses to level 2; then level 1, and no level at all, stay out."""
    owner = listen(1)
    await owner.hears()
    thief = listen(2)
    await thief.hears()
    stolen = await owner.fails()
    assert stolen.error == "link:stolen"
    assert "New receiver 'nil' with higher epoch of '2'" in stolen.message
    assert "current receiver 'nil' with epoch '1'" in stolen.message

    lower, shared = listen(1), listen()
    refused = await lower.fails()
    assert refused.error == "link:stolen"
    assert "with a higher epoch '2' already exists" in refused.message
    refused = await shared.fails()
    assert refused.error == "link:stolen"
    assert "non-epoch receiver is not allowed" in refused.message
    assert not thief.error.done()


async def test_equal_level_steals_too(listen: Listen) -> None:
    """The SDK's load balancer relies on it: all its consumers have level 0."""
    first = listen(0)
    await first.hears()
    second = listen(0)
    await second.hears()
    assert (await first.fails()).error == "link:stolen"


async def test_five_share_and_the_owner_drives_them_out(listen: Listen, refusal: Refusal, partition: str) -> None:
    """A sixth receiver without level is one too many; one with a level closes all five."""
    five = [listen() for _ in range(5)]
    await asyncio.gather(*(listener.hears() for listener in five))
    sixth = await refusal(partition)
    assert sixth.error == "resource-limit-exceeded"
    assert "which is 5. List of connected receivers - nil, nil, nil, nil, nil." in sixth.message
    await listen(group="analytics").hears()  # another group counts for itself

    await listen(0).hears()
    for error in await asyncio.gather(*(listener.fails() for listener in five)):
        assert error.error == "link:stolen"
        assert "current receiver 'nil' with epoch ''" in error.message


async def test_a_closed_receiver_makes_room(listen: Listen, until: Callable[..., Awaitable[None]]) -> None:
    """When the owner has gone, a receiver without level may come."""
    owner = listen(5)
    await owner.hears()
    await owner.client.close()
    await until(owner.task.done)
    await listen().hears()
