"""Devices that are heard of for the first time while the graph is away."""

import pytest

from tests.twin_actors.test_io_faults import own
from tests.twin_actors.world import PROBE, World, balance, same, telemetry, twin_at
from twin_actors.active import MOST_REPLAYS
from twin_actors.errors import Unavailable
from twin_actors.messages import Event, Kind
from twin_actors.runtime import Runtime
from twin_actors.shard import Shard
from twin_actors.sinks import GraphTwin
from twin_actors.sinks.memory import MemoryGraph

NEW, KNOWN = twin_at(0), twin_at(0, number=1)


class Away(MemoryGraph):
    """A graph that does not answer while it is told so."""

    is_away = True

    async def read(self, twin_id: str) -> GraphTwin:
        """Return a twin."""
        if self.is_away:
            raise Unavailable("away")
        return await super().read(twin_id)


@pytest.fixture
def world() -> World:
    """A graph that is away."""
    world = World(1)
    world.graph = Away()
    return world


def shard_of(runtime: Runtime) -> Shard:
    """Return the only shard."""
    shard = runtime.shard(0)
    assert shard is not None
    return shard


async def hear(world: World, runtime: Runtime, *events: Event) -> None:
    """Put events, and deliver all there is."""
    world.put(0, *events)
    await runtime.deliver(0, world.events(0))
    world.clock.passed += 15


async def back(world: World, runtime: Runtime, ticks: int = 3) -> None:
    """Let the graph answer, and time pass."""
    assert isinstance(world.graph, Away)
    world.graph.is_away = False
    for _ in range(ticks):
        await hear(world, runtime, own(Kind.TICK))


async def test_an_announced_device_loses_no_turn(world: World) -> None:
    """Nor waits: its twin is made when the graph answers."""
    runtime = world.runtime()
    await hear(world, runtime, telemetry(NEW, 1, model=PROBE), telemetry(NEW, 2))
    assert world.clock.passed < 16
    assert (world.heard(runtime, NEW), shard_of(runtime).letters) == ([1, 2], {})
    await back(world, runtime)
    twin = shard_of(runtime).twins[NEW]
    assert world.graph.twins[NEW].properties["heard"] == 2
    assert world.graph.twins[NEW].properties["stateVersion"] == twin.state_version
    assert same(await world.restored(0), shard_of(runtime))


async def test_its_version_goes_on_from_what_the_graph_shows(world: World) -> None:
    """Else nothing would be shown until it had caught up."""
    runtime = world.runtime()
    world.graph.twins[NEW] = GraphTwin(PROBE, "of old", {"stateVersion": 57, "heard": 40})
    await hear(world, runtime, telemetry(NEW, 1, model=PROBE))
    await back(world, runtime)
    twin = shard_of(runtime).twins[NEW]
    assert (twin.state_version, twin.is_unmet) == (58, False)
    assert (world.graph.twins[NEW].properties["stateVersion"], world.graph.twins[NEW].properties["heard"]) == (58, 1)
    await hear(world, runtime, telemetry(NEW, 2, model=PROBE))
    assert world.graph.twins[NEW].properties["stateVersion"] == 59


async def test_a_restart_in_between_changes_nothing(world: World) -> None:
    """That it is yet to be met is in the journal."""
    world.graph.twins[NEW] = GraphTwin(PROBE, "of old", {"stateVersion": 57})
    await hear(world, world.runtime(), telemetry(NEW, 1, model=PROBE))
    runtime = world.runtime()
    await back(world, runtime)
    assert world.graph.twins[NEW].properties["stateVersion"] == 58


async def test_another_model_in_the_graph_parks_the_twin_in_sight(world: World) -> None:
    """It is not adopted, and what stands there is left alone."""
    runtime = world.runtime()
    other = GraphTwin("dtmi:test:Other;1", "by hand", {"stateVersion": 3})
    world.graph.twins[NEW] = other
    await hear(world, runtime, telemetry(NEW, 1, model=PROBE))
    await back(world, runtime)
    assert world.graph.twins[NEW] == other
    active = runtime._active[0]
    assert list(active.projection.parked) == [NEW]
    assert world.heard(runtime, NEW) == [1]


async def test_the_others_are_replayed_by_themselves(world: World) -> None:
    """Each once, in order, some at a tick; who is no twin stays a dead letter, with that reason."""
    runtime = world.runtime()
    world.graph.twins[KNOWN] = GraphTwin(PROBE, "by hand", {})
    count = MOST_REPLAYS + 10
    await hear(world, runtime, *(telemetry(KNOWN, number) for number in range(count)), telemetry(NEW, 0))
    await hear(world, runtime, own(Kind.TICK), own(Kind.TICK))
    assert set(shard_of(runtime).letters.values()) == {"graph_unavailable"}
    assert len(world.events(0)) == count + 3  # nothing is replayed while it is away
    await back(world, runtime, 5)
    assert world.heard(runtime, KNOWN) == list(range(count))
    assert list(shard_of(runtime).letters.values()) == ["no_such_twin"]
    before = len(world.events(0))
    await back(world, runtime, 3)
    assert len(world.events(0)) == before + 3  # ticks only
    assert balance(shard_of(runtime)) == len(world.events(0))
    assert shard_of(runtime).totals.get("replays_ignored", 0) == 0


async def test_a_graph_that_comes_and_goes_makes_no_storm(world: World) -> None:
    """A replay that fails again waits for the next tick at which the graph answers."""
    runtime = world.runtime()
    assert isinstance(world.graph, Away)
    await hear(world, runtime, telemetry(KNOWN, 1))
    for _ in range(4):
        world.graph.is_away = False
        await hear(world, runtime, own(Kind.TICK))
        world.graph.is_away = True
        await hear(world, runtime)
    assert len(world.events(0)) == 1 + 4 + 4
    assert list(shard_of(runtime).letters.values()) == ["graph_unavailable"]
