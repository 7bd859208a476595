"""A twin that is deleted leaves nothing behind that grows; whoever comes after it goes on above its versions."""

import asyncio

import msgspec
import pytest

from tests.twin_actors.faults import Fault, Fuse, Killed
from tests.twin_actors.kettle import (
    KETTLE,
    ONE,
    TYPES,
    alerts,
    asked,
    command,
    documents,
    hear,
    kettles,
    operations,
    overheat,
    reading,
    tick,
)
from tests.twin_actors.test_io_faults import fold_all, whole_journal
from tests.twin_actors.test_rebase import moved
from tests.twin_actors.world import START, World, balance, same
from twin_actors.commit import Commit, Deleted, decompress
from twin_actors.documents import Collection, Edit
from twin_actors.errors import TwinfoldError, Unavailable
from twin_actors.messages import Event
from twin_actors.ownership import Limits
from twin_actors.requests import Deletion, EditRequest
from twin_actors.runtime import Runtime
from twin_actors.shard import RECENT_DELETIONS, Shard
from twin_actors.sinks import GraphTwin
from twin_actors.snapshot import Tail, encode_snapshot

LIMITS = Limits(segment_records=5, snapshot_bytes=3_000)


def shard_of(runtime: Runtime) -> Shard:
    """Return the shard that a runtime holds."""
    shard = runtime.shard(0)
    assert shard is not None
    return shard


def deletion(twin_id: str = ONE, operation_id: str = "d-1") -> Event:
    """Return what deletes a twin."""
    return asked(twin_id, Deletion(operation_id=operation_id, caller="ann", requested=START))


def unannounced(event: Event) -> Event:
    """Return a message of a device that announces no model."""
    return msgspec.structs.replace(event, model=None)


async def grown() -> tuple[World, Runtime]:
    """A kettle with an alert, an edit and a command that waits for its device, beside another one."""
    world = kettles(2)
    runtime = world.runtime(TYPES, limits=LIMITS)
    await overheat(world, runtime)
    edit = EditRequest(operation_id="e-1", caller="ann", changes={"place": "hall"}, requested=START)
    world.devices.connected.discard(ONE)
    ring = asked(ONE, command("c-1", request=None, name="ring", expires=3600.0))
    first = msgspec.structs.replace(reading(ONE, 6.0, temperature=95.0), message_id="m-1")
    await hear(world, runtime, asked(ONE, edit), ring, first, reading("kettle-2", 6.0, temperature=20.0), at=6.0)
    return world, runtime


async def test_nothing_is_left_of_a_twin() -> None:
    """In memory, in the journal's end, in the graph; apps see that all of it is over."""
    world, runtime = await grown()
    await hear(world, runtime, deletion(), at=10.0)
    await hear(world, runtime, tick(), at=11.0)
    shard = shard_of(runtime)
    assert (list(shard.twins), list(shard.shown)) == (["kettle-2"], ["kettle-2"])
    assert (shard.recent_keys, shard.outbox) == ({}, {})
    assert list(world.graph.twins) == ["kettle-2"]
    assert [alert.cleared is not None for alert in await alerts(world, ONE)] == [True]
    (edit,) = await documents(world, Collection.EDITS, ONE)
    body = msgspec.json.decode(edit.body, type=Edit)
    assert (edit.status, body.value, body.vector, body.beside) == ("removed", None, {}, [])
    told = await operations(world, ONE)
    assert (told["d-1"].kind, told["d-1"].status) == ("delete", "persisted")
    assert (told["c-1"].status, told["c-1"].detail) == ("refused", "its twin was deleted")
    assert balance(shard) == len(world.events(0))
    assert shard.totals["deleted"] == 1
    assert same(await world.restored(0), shard)
    assert same(fold_all(0, await whole_journal(world, 0)), shard)


async def test_a_device_that_announces_itself_makes_a_new_twin_above_the_old() -> None:
    """With an empty state; the version goes on, in the same batch as after it."""
    world, runtime = await grown()
    version = shard_of(runtime).twins[ONE].state_version
    again = msgspec.structs.replace(reading(ONE, 12.0, temperature=30.0), message_id="m-1")
    await hear(world, runtime, reading(ONE, 11.0, temperature=25.0), deletion(), again, at=12.0)
    await hear(world, runtime, tick(), at=13.0)
    twin = shard_of(runtime).twins[ONE]
    assert (twin.reading_count, twin.resent_count, twin.maintenance.contested, twin.maintenance.watches) == (
        1,
        0,
        {},
        {},
    )
    assert twin.state_version == version + 3  # the reading before the deletion, this one, and its prediction
    properties = world.graph.twins[ONE].properties
    assert (properties["stateVersion"], properties["readingCount"], properties["temperature"]) == (version + 3, 1, 30.0)
    assert "place" not in properties
    assert same(await world.restored(0), shard_of(runtime))


async def test_one_that_does_not_is_a_stranger() -> None:
    """Until somebody creates its twin; that one begins above the old too."""
    world, runtime = await grown()
    version = shard_of(runtime).twins[ONE].state_version
    await hear(world, runtime, deletion(), unannounced(reading(ONE, 11.0, temperature=25.0)), at=11.0)
    assert list(shard_of(runtime).letters.values()) == ["no_such_twin"]
    await hear(world, runtime, tick(), at=12.0)
    world.graph.twins[ONE] = GraphTwin(KETTLE, "by hand", {})
    await hear(world, runtime, unannounced(reading(ONE, 13.0, temperature=26.0)), at=13.0)
    assert shard_of(runtime).twins[ONE].state_version == version + 1
    assert world.graph.twins[ONE].properties["stateVersion"] == version + 1


async def test_a_deletion_that_comes_twice_is_one() -> None:
    """Whoever came after the twin stays; in one batch, and later."""
    world, runtime = await grown()
    await hear(world, runtime, deletion(), reading(ONE, 11.0, temperature=25.0), deletion(), at=11.0)
    await hear(world, runtime, deletion(), at=12.0)
    shard = shard_of(runtime)
    assert shard.twins[ONE].reading_count == 1
    assert (shard.totals["deleted"], shard.totals["requests_repeated"]) == (1, 2)
    assert balance(shard) == len(world.events(0))
    await hear(world, runtime, deletion(operation_id="d-2"), at=13.0)
    assert ONE not in shard_of(runtime).twins


async def test_events_that_are_folded_again_end_with_its_deletion_again() -> None:
    """An operator goes back in the mailbox: the device brings the twin back, and what deleted it is no repeat."""
    world, runtime = await grown()
    await hear(world, runtime, deletion(), at=11.0)
    await moved(world, 0, "earliest")
    runtime = world.runtime(TYPES, limits=LIMITS)
    await runtime.deliver(0, world.events(0))
    shard = shard_of(runtime)
    assert list(shard.twins) == ["kettle-2"]
    assert shard.totals["deleted"] == 2
    assert same(await world.restored(0), shard)


async def test_deleting_nobody_is_done() -> None:
    """And said."""
    world, runtime = await grown()
    await hear(world, runtime, deletion("kettle-9"), at=11.0)
    told = (await operations(world, "kettle-9"))["d-1"]
    assert (told.status, told.detail) == ("persisted", "there was no such twin")


async def test_deleting_nobody_again_leaves_who_came_since() -> None:
    """The same request once more is the same operation, whatever it found."""
    world, runtime = await grown()
    await hear(world, runtime, deletion("kettle-9"), at=11.0)
    newcomer = reading("kettle-9", 12.0, temperature=20.0)
    await hear(world, runtime, newcomer, deletion("kettle-9"), at=12.0)
    await hear(world, world.runtime(TYPES), deletion("kettle-9"), at=13.0)
    shard = await world.restored(0)
    assert shard.twins["kettle-9"].reading_count == 1
    assert (shard.totals.get("deleted"), shard.totals["requests_repeated"]) == (None, 2)
    assert balance(shard) == len(world.events(0))


async def test_a_thousand_deletions_of_a_twin_in_a_batch_are_folded() -> None:
    """Each begins a record of its own."""
    world, runtime = await grown()
    await hear(world, runtime, *(deletion(operation_id=f"d-{number}") for number in range(1000)), at=11.0)
    shard = shard_of(runtime)
    assert ONE not in shard.twins
    assert balance(shard) == len(world.events(0))


async def test_a_twin_that_only_the_graph_has_is_deleted() -> None:
    """It was created and never heard of."""
    world, runtime = await grown()
    world.graph.twins["kettle-9"] = GraphTwin(KETTLE, "by hand", {})
    await hear(world, runtime, deletion("kettle-9"), at=11.0)
    await hear(world, runtime, tick(), at=12.0)
    assert "kettle-9" not in world.graph.twins


async def test_a_cold_twin_is_deleted() -> None:
    """Its bytes too."""
    world, runtime = await grown()
    await hear(world, runtime, tick(), at=400.0)
    await hear(world, runtime, tick(), at=2000.0)
    await hear(world, runtime, tick(), at=2001.0)
    assert list(shard_of(runtime).cold) == ["kettle-2"]
    await hear(world, runtime, deletion("kettle-2"), at=2002.0)
    assert (list(shard_of(runtime).twins), shard_of(runtime).cold) == ([ONE], {})


async def test_a_graph_that_is_away_lets_go_later() -> None:
    """The removal is owed; a new twin is not shown before it."""
    world, runtime = await grown()
    remove = world.graph.remove

    async def away(_twin_id: str, _state_version: int, _model: str) -> None:
        raise Unavailable("down")

    world.graph.remove = away
    await hear(world, runtime, deletion(), reading(ONE, 11.0, temperature=25.0), at=11.0)
    assert list(shard_of(runtime).leaving) == [ONE]
    before = world.graph.twins[ONE]
    await hear(world, runtime, reading(ONE, 12.0, temperature=26.0), at=12.0)
    assert world.graph.twins[ONE] == before
    world.graph.remove = remove
    await hear(world, runtime, tick(), at=90.0)
    await hear(world, runtime, tick(), at=91.0)
    assert world.graph.twins[ONE].properties["readingCount"] == 2
    assert "place" not in world.graph.twins[ONE].properties


async def test_a_twin_that_the_graph_was_not_asked_about_leaves_it_too() -> None:
    """Whatever version it shows there."""
    world = kettles()
    runtime = world.runtime(TYPES, limits=LIMITS)
    world.graph.twins[ONE] = GraphTwin(KETTLE, "by hand", {"stateVersion": 57})
    read = world.graph.read

    async def away(_twin_id: str) -> GraphTwin:
        raise Unavailable("down")

    world.graph.read = away
    await hear(world, runtime, reading(ONE, 0.0, temperature=20.0), deletion(), at=1.0)
    world.graph.read = read
    await hear(world, runtime, tick(), at=90.0)
    assert (world.graph.twins, dict(shard_of(runtime).twins)) == ({}, {})


async def test_nor_does_a_twin_of_another_model_leave_it() -> None:
    """It was there before a device of that name announced itself, and is none of ours."""
    world = kettles()
    runtime = world.runtime(TYPES, limits=LIMITS)
    house = GraphTwin("dtmi:test:House;1", "by hand", {"floors": 3})
    world.graph.twins[ONE] = house
    read = world.graph.read

    async def away(_twin_id: str) -> GraphTwin:
        raise Unavailable("down")

    world.graph.read = away
    await hear(world, runtime, reading(ONE, 0.0, temperature=20.0), at=1.0)
    world.graph.read = read
    await hear(world, runtime, tick(), deletion(), at=90.0)
    await hear(world, runtime, tick(), at=100.0)
    assert (world.graph.twins, dict(shard_of(runtime).twins)) == ({ONE: house}, {})
    assert shard_of(runtime).outbox == {}


async def test_space_returns() -> None:
    """Ten thousand twins come and go: memory and snapshot are what they were, but for a bounded memory of deletions."""
    shard = Shard(partition=0)

    def size() -> int:
        return len(decompress(encode_snapshot(shard, Tail(segment="segments/0/00000000-00000000")), 10**9))

    _, runtime = await grown()
    template = shard_of(runtime).twins[ONE]
    before = size()
    for number in range(10_000):
        twin = msgspec.structs.replace(template, twin_id=f"kettle-{number}", state_version=7)
        said = [(twin.twin_id, 7)] if number % 2 else []
        cooled = [twin.twin_id] if number % 4 == 1 else []
        shard.apply(Commit(append_id="", epoch=0, watermark=None, twins=[twin], shown=said, cooled=cooled))
    full = size()
    for number in range(10_000):
        gone = Deleted(f"kettle-{number}", f"d-{number}", 7)
        shard.apply(Commit(append_id="", epoch=0, watermark=None, deleted=[gone]))
    assert full > 10_000 * 500
    assert len(shard.deletions) == RECENT_DELETIONS
    assert size() < before + RECENT_DELETIONS * 40
    assert (shard.hot, shard.cold, shard.recent_keys, shard.shown, list(shard.owed())) == ({}, {}, {}, {}, [])
    assert shard.floor == 7


# --- every I/O call fails, in every way ------------------------------------------------------------------


async def play(faults: dict[int, Fault]) -> list[str]:
    """Delete one kettle while it goes on sending, and another for good; return the I/O calls."""
    world = kettles(2)
    fuse = Fuse(world, faults, TYPES)
    runtimes = [Runtime(TYPES, fuse.ports(), lambda: f"process{len(runtimes)}", LIMITS)]
    steps = [
        [reading(ONE, 0.0, temperature=20.0), reading("kettle-2", 0.0, temperature=30.0)],
        [deletion(), reading(ONE, 1.0, temperature=21.0), deletion("kettle-2", "d-2")],
        [tick()],
        [reading(ONE, 2.0, temperature=22.0), deletion()],
        [tick()],
    ]
    for events in steps:
        world.clock.passed += 5.0
        world.mailbox.time = world.clock.now()
        world.put(0, *events)
        await deliver(world, runtimes, fuse)
    runtime = world.runtime(TYPES, limits=LIMITS)
    world.clock.passed += 100.0
    await world.deliver_all(runtime)
    shard = shard_of(runtime)
    assert list(shard.twins) == [ONE]
    assert shard.twins[ONE].reading_count == 2
    assert shard.twins[ONE].state_version >= 3
    assert list(world.graph.twins) == [ONE]
    assert world.graph.twins[ONE].properties["stateVersion"] == shard.twins[ONE].state_version
    assert (balance(shard), shard.totals["deleted"]) == (len(world.events(0)), 2)
    told = {name: one.status for name, one in (await operations(world)).items()}
    assert told == {"d-1": "persisted", "d-2": "persisted"}
    assert same(await world.restored(0), shard)
    assert same(fold_all(0, await whole_journal(world, 0)), shard)
    return fuse.calls


async def deliver(world: World, runtimes: list[Runtime], fuse: Fuse) -> None:
    """Deliver until it is folded, as the trigger does; in a new process where one dies."""
    for _ in range(8):
        try:
            await runtimes[-1].deliver(0, world.events(0))
        except Killed:
            runtimes.append(Runtime(TYPES, fuse.ports(), lambda: f"process{len(runtimes)}", LIMITS))
        except (TwinfoldError, asyncio.CancelledError):
            pass
        else:
            return
        world.clock.passed += 2.0
    raise AssertionError("one fault stops the partition for good")


@pytest.mark.parametrize("fault", [one for one in Fault if one is not Fault.PARTLY])
async def test_no_single_fault_keeps_or_doubles_a_twin(fault: Fault) -> None:
    """For each call in turn."""
    calls = await play({})
    assert "remove" in calls
    for at in range(1, len(calls) + 1):
        await play({at: fault})
