"""Owner levels, and how many receivers a partition takes."""

import asyncio

from azure.eventhub import EventData
from azure.eventhub.exceptions import EventHubError

from .conftest import SECONDS, World, side_by_side


class Listener:
    """One receiver on a partition that has an event, and what happens to it."""

    def __init__(
        self, world: World, partition_id: str, owner_level: int | None = None, group: str = "$Default"
    ) -> None:
        self._world = world
        self._client = world.consumer(group)
        loop = asyncio.get_running_loop()
        self._heard: asyncio.Future[None] = loop.create_future()
        self.error: asyncio.Future[Exception] = loop.create_future()
        receiving = self._client.receive(
            self._on_event,
            on_error=self._on_error,
            partition_id=partition_id,
            owner_level=owner_level,
            starting_position="-1",
        )
        world.ending.append(asyncio.create_task(receiving))

    async def _on_event(self, _: object, event: EventData | None) -> None:
        if event is not None and not self._heard.done():
            self._heard.set_result(None)

    async def _on_error(self, _: object, error: Exception) -> None:
        if not self.error.done():
            self.error.set_result(error)

    async def hears(self) -> "Listener":
        """Wait until it has received the event."""
        async with asyncio.timeout(SECONDS):
            await self._heard
        return self

    async def fails(self) -> EventHubError:
        """Wait until it is told that it may not go on; then close it."""
        async with asyncio.timeout(SECONDS):
            error = await self.error
        self._world.ending.append(asyncio.create_task(self._client.close()))
        assert isinstance(error, EventHubError)
        return error

    async def close(self) -> None:
        """End the receiver; it has gone once this returns."""
        await self._client.close()


@side_by_side
async def test_higher_level_steals_and_lower_is_refused(world: World) -> None:
    """Level 1 loses to level 2; then level 1, and no level at all, stay out, until the owner has gone."""
    partition = world.partition()
    await world.publish(partition, "hello")
    owner = await Listener(world, partition, 1).hears()
    thief = await Listener(world, partition, 2).hears()
    stolen = await owner.fails()
    assert stolen.error == "link:stolen"
    assert "New receiver 'nil' with higher epoch of '2'" in stolen.message
    assert "current receiver 'nil' with epoch '1'" in stolen.message

    lower, shared = await asyncio.gather(Listener(world, partition, 1).fails(), Listener(world, partition).fails())
    assert (lower.error, shared.error) == ("link:stolen", "link:stolen")
    assert "with a higher epoch '2' already exists" in lower.message
    assert "non-epoch receiver is not allowed" in shared.message
    assert not thief.error.done()

    await thief.close()
    await (await Listener(world, partition).hears()).close()


@side_by_side
async def test_equal_level_steals_too(world: World) -> None:
    """The SDK's load balancer relies on it: all its consumers have level 0."""
    partition = world.partition()
    await world.publish(partition, "hello")
    first = await Listener(world, partition, 0).hears()
    second = await Listener(world, partition, 0).hears()
    assert (await first.fails()).error == "link:stolen"
    await second.close()


@side_by_side
async def test_five_share_and_the_owner_drives_them_out(world: World) -> None:
    """A sixth receiver without level is one too many; one with a level closes all five."""
    partition = world.partition()
    await world.publish(partition, "hello")
    five = [Listener(world, partition) for _ in range(5)]
    await asyncio.gather(*(listener.hears() for listener in five))
    sixth, other_group = await asyncio.gather(
        world.refusal(partition), Listener(world, partition, group="analytics").hears()
    )
    assert sixth.error == "resource-limit-exceeded"
    assert "which is 5. List of connected receivers - nil, nil, nil, nil, nil." in sixth.message

    owner = await Listener(world, partition, 0).hears()
    for error in await asyncio.gather(*(listener.fails() for listener in five)):
        assert error.error == "link:stolen"
        assert "current receiver 'nil' with epoch ''" in error.message
    assert not other_group.error.done()
    await asyncio.gather(owner.close(), other_group.close())
