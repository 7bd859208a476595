"""Shards of which nothing is heard leave memory, and are restored when something comes."""

import pytest

from tests.twin_actors.world import World, same, telemetry, twin_at
from twin_actors.errors import Unavailable
from twin_actors.messages import Event
from twin_actors.ownership import Limits
from twin_actors.runtime import IDLE_SECONDS, Runtime
from twin_actors.snapshot import manifest_path

NEAR, FAR = twin_at(0), twin_at(1)


@pytest.fixture
def world() -> World:
    """Two partitions, a twin in each."""
    return World(known=(NEAR, FAR))


async def both(world: World, runtime: Runtime) -> None:
    """Let a process hold both partitions, and hear of the first only from then on."""
    await runtime.deliver(1, world.put(1, telemetry(FAR, 1), telemetry(FAR, 2)))
    await runtime.deliver(0, world.put(0, telemetry(NEAR, 1)))


async def later(world: World, runtime: Runtime) -> list[Event]:
    """Let time pass, and something come for the first."""
    world.clock.passed += IDLE_SECONDS
    batch = world.put(0, telemetry(NEAR, 2))
    await runtime.deliver(0, batch)
    return batch


async def test_it_leaves_memory_and_comes_back_the_same(world: World) -> None:
    """With what is known delivered written first, and a snapshot where one is due."""
    runtime = world.runtime(limits=Limits(snapshot_bytes=1))
    await both(world, runtime)
    before = await world.journal.read(manifest_path(1))
    await later(world, runtime)
    assert runtime.shard(1) is None
    assert runtime.shard(0) is not None
    after = await world.journal.read(manifest_path(1))
    assert after is not None
    assert after != before
    assert not list((await world.restored(1)).owed())
    await runtime.deliver(1, world.put(1, telemetry(FAR, 3)))
    shard = runtime.shard(1)
    assert shard is not None
    assert world.heard(runtime, FAR) == [1, 2, 3]
    assert same(await world.restored(1), shard)


async def test_one_that_owes_something_stays(world: World) -> None:
    """Until it has delivered, or is another's."""
    runtime = world.runtime()

    async def down(*_arguments: object) -> None:
        raise Unavailable("down")

    patch, world.graph.patch = world.graph.patch, down  # type: ignore[method-assign,assignment]
    await both(world, runtime)
    await later(world, runtime)
    assert runtime.shard(1) is not None
    rival = world.runtime()
    world.graph.patch = patch  # type: ignore[method-assign]
    await rival.deliver(1, world.put(1, telemetry(FAR, 3)))
    await later(world, runtime)
    assert runtime.shard(1) is None
    assert world.heard(rival, FAR) == [1, 2, 3]
    await rival.deliver(1, world.put(1, telemetry(FAR, 4)))  # it was not fenced by the one that let go
    assert world.heard(rival, FAR) == [1, 2, 3, 4]


async def test_nobody_is_disturbed_by_storage_that_is_away(world: World) -> None:
    """What is idle is let go; what came is folded once storage answers."""
    runtime = world.runtime()
    await both(world, runtime)
    read_segment = world.journal.read_segment
    down = [True]

    async def read(path: str, start: int) -> bytes | None:
        if path.startswith("segments/1") and down.pop():
            raise Unavailable("down")
        return await read_segment(path, start)  # type: ignore[no-any-return]

    world.journal.read_segment = read
    await later(world, runtime)
    world.journal.read_segment = read_segment
    assert runtime.shard(1) is None
    assert world.heard(runtime, NEAR) == [1, 2]
    await runtime.deliver(1, world.events(1))
    assert world.heard(runtime, FAR) == [1, 2]
