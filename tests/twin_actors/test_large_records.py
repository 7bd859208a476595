"""Many large twins change at once: it is parted into records, and no message suffers from it."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from tests.twin_actors import kettle
from tests.twin_actors.faults import Killed
from tests.twin_actors.kettle import KETTLE, documents, hear, kettles, reading, tick
from tests.twin_actors.test_first_contact import Away
from tests.twin_actors.test_io_faults import fold_all, whole_journal
from tests.twin_actors.world import PROBE, World, balance, same, telemetry, twin_at
from twin_actors.commit import HEADER_BYTES, MAX_FRAME_BYTES, Commit, decompress, size_of
from twin_actors.documents import Collection, OperationStatus
from twin_actors.messages import Reading
from twin_actors.ownership import Limits
from twin_actors.runtime import Runtime
from twin_actors.shard import Shard
from twin_actors.sinks import GraphTwin
from twin_actors.twin import Turn, TwinType

COUNT = 80
PADDING = 60_000
"""Of one state: all of them together do not fit one record."""

NOTHING = msgspec.msgpack.encode(math.nan)
"""What a twin remembers of a command that nothing came of."""


class State(msgspec.Struct, frozen=True):
    """What a kettle remembers, and much else."""

    temperature: float | None = None
    scale: float = 0.0
    padding: bytes = b""


def receive(state: State, message: Reading) -> Turn[State]:
    """Follow the newest reading."""
    return Turn(State(message.values.get("temperature", state.temperature), 0.0, bytes(PADDING)))


LARGE: Mapping[str, TwinType[Any]] = {
    "kettle": msgspec.structs.replace(
        kettle.TYPE,
        state=State,
        receive=receive,
        rules=(kettle.HOT,),
        commands=(msgspec.structs.replace(kettle.COOL, desired=""),),
        features=None,
    )
}
FLEET = [f"kettle-{number}" for number in range(1, COUNT + 1)]


def shard_of(runtime: Runtime) -> Shard:
    """Return the only shard."""
    shard = runtime.shard(0)
    assert shard is not None
    return shard


async def test_a_fleet_of_large_twins_is_met_in_parts() -> None:
    """It announced itself while the graph was away; each goes on from what the graph showed of it."""
    world = World(1)
    graph = world.graph = Away()
    graph.twins[FLEET[0]] = GraphTwin(KETTLE, "of old", {"stateVersion": 57})
    runtime = world.runtime(LARGE)
    await hear(world, runtime, *(reading(one, 0, temperature=20.0) for one in FLEET))
    shard = shard_of(runtime)
    assert sum(size_of(twin) for twin in shard.twins.values() if twin.is_unmet) > MAX_FRAME_BYTES
    graph.is_away = False
    for at in (15, 20):
        await hear(world, runtime, tick(), at=at)
    assert [graph.twins[one].properties["temperature"] for one in FLEET] == [20.0] * COUNT
    assert graph.twins[FLEET[0]].properties["stateVersion"] == 58
    assert runtime._active[0].projection.met == {}
    assert same(fold_all(0, await whole_journal(world, 0)), shard)


async def overheated() -> World:
    """A fleet, too hot, whose devices are away: each is given a command, and nothing comes of any."""
    world = kettles(partitions=1)
    world.devices.connected = set()
    runtime = world.runtime(LARGE)
    for at in (0, 6):
        await hear(world, runtime, *(reading(one, at, temperature=95.0) for one in FLEET), at=at)
    assert [one.status for one in await documents(world, Collection.OPERATIONS)] == [OperationStatus.PERSISTED] * COUNT
    return world


async def test_commands_of_many_large_twins_come_to_nothing_at_once() -> None:
    """Each twin remembers it, and its message of that batch is folded like any other."""
    world = await overheated()
    runtime = world.runtime(LARGE)
    await hear(world, runtime, tick(), reading(FLEET[0], 100, temperature=95.0), at=100)
    shard = shard_of(runtime)
    assert [one.status for one in await documents(world, Collection.OPERATIONS)] == [OperationStatus.EXPIRED] * COUNT
    assert all(math.isnan(twin.maintenance.given["cool"].argument) for twin in shard.twins.values())
    assert (shard.letters, balance(shard)) == ({}, len(world.events(0)))
    assert runtime._active[0].fruitless == {}
    assert same(fold_all(0, await whole_journal(world, 0)), shard)


@pytest.mark.parametrize("deadly", range(5))
async def test_a_process_that_dies_between_the_parts_forgets_none(deadly: int) -> None:
    """A command is known done no sooner than all that came of commands is said."""
    world = await overheated()
    append, records = world.journal.append, 0

    async def die(path: str, position: int, data: bytes) -> None:
        nonlocal records
        records += NOTHING in bytes(decompress(data[HEADER_BYTES:], MAX_FRAME_BYTES))
        if records > deadly:
            raise Killed
        await append(path, position, data)

    runtime = world.runtime(LARGE)
    await runtime.deliver(0, world.events(0))
    world.journal.append = die
    with pytest.raises(Killed):
        await hear(world, runtime, tick(), at=100)
    world.journal.append = append
    runtime = world.runtime(LARGE)
    await hear(world, runtime, tick(), at=115)
    shard = shard_of(runtime)
    assert [one.status for one in await documents(world, Collection.OPERATIONS)] == [OperationStatus.EXPIRED] * COUNT
    assert all(math.isnan(twin.maintenance.given["cool"].argument) for twin in shard.twins.values())
    assert set(shard.outbox) == set(runtime._active[0].delivered)


async def test_no_message_is_given_up_for_what_is_said_beside_it() -> None:
    """It fits one record by itself; what the graph shows of others waits for the next."""
    probes = [twin_at(0, 1, number) for number in range(60)]
    world = World(1)
    runtime = world.runtime(limits=Limits(frame_bytes=3_000))
    world.put(0, *(telemetry(one, 1, model=PROBE) for one in probes))
    await runtime.deliver(0, world.events(0))
    shown = dict(runtime._active[0].shown)
    assert len(shown) == len(probes)
    world.put(0, telemetry(probes[0], *range(100, 190)))
    world.clock.passed += 1.0
    await runtime.deliver(0, world.events(0))
    assert shard_of(runtime).letters == {}
    assert world.heard(runtime, probes[0]) == [1, *range(100, 190)]
    large = (await whole_journal(world, 0))[-1]
    assert isinstance(large, Commit)
    assert large.shown == []
    world.put(0, tick())
    await runtime.deliver(0, world.events(0))
    assert shard_of(runtime).shown == shown | {probes[0]: 2}
