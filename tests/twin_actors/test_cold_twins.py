"""A twin of which nothing is expected is kept as bytes; nobody can tell, but by what it costs."""

import asyncio

import msgspec
import pytest

from tests.twin_actors.faults import Fault, Fuse, Killed
from tests.twin_actors.kettle import (
    HOT,
    ONE,
    TYPES,
    alerts,
    asked,
    command,
    hear,
    kettles,
    operations,
    overheat,
    reading,
    tick,
)
from tests.twin_actors.test_io_faults import fold_all, whole_journal
from tests.twin_actors.world import World, same
from twin_actors.commit import Commit, Twin
from twin_actors.documents import Source
from twin_actors.errors import TwinfoldError
from twin_actors.ownership import Limits
from twin_actors.requests import EditRequest
from twin_actors.runtime import Runtime
from twin_actors.shard import Shard
from twin_actors.sweep import SLICE_TWINS, sweep
from twin_actors.twin import Rule

HOUR = 3600.0
LIMITS = Limits(segment_records=5, snapshot_bytes=3_000)


def shard_of(runtime: Runtime) -> Shard:
    """Return the shard that a runtime holds."""
    shard = runtime.shard(0)
    assert shard is not None
    return shard


async def ticks(world: World, runtime: Runtime, *times: float) -> None:
    """Let ticks come at these times."""
    for time in times:
        await hear(world, runtime, at=time)
        world.put(0, tick())
        await hear(world, runtime)


async def cold_kettle() -> tuple[World, Runtime]:
    """A kettle that was heard of an hour ago."""
    world = kettles()
    runtime = world.runtime(TYPES, limits=LIMITS)
    first = msgspec.structs.replace(reading(ONE, 0.0, temperature=20.0), message_id="m-1")
    await hear(world, runtime, first, at=0.0)
    await ticks(world, runtime, 400.0, 1000.0, HOUR)
    assert list(shard_of(runtime).cold) == [ONE]
    return world, runtime


async def test_a_quiet_twin_goes_cold_and_is_the_same() -> None:
    """In memory, restored, and by the whole journal; to whoever looks it up."""
    world, runtime = await cold_kettle()
    shard = shard_of(runtime)
    assert (shard.hot, shard.recent_keys, shard.shown) == ({}, {}, {})
    assert same(await world.restored(0), shard)
    assert same(fold_all(0, await whole_journal(world, 0)), shard)
    assert (len(shard.twins), list(shard.twins), ONE in shard.twins, "kettle-9" in shard.twins) == (
        1,
        [ONE],
        True,
        False,
    )
    assert shard.twins[ONE].connection == "offline"
    assert shard.twins.get("kettle-9") is None
    assert [(head.twin_id, head.type_name, head.layout) for head in shard.heads()] == [(ONE, "kettle", 1)]


async def test_ticks_cost_it_nothing() -> None:
    """No record is written for it, and no model asked."""
    world, runtime = await cold_kettle()
    asked_before = len(world.models("kettle").batches)
    commits = len([one for one in await whole_journal(world, 0) if isinstance(one, Commit)])
    await ticks(world, runtime, HOUR + 1.0, HOUR + 2.0)
    after = [one for one in await whole_journal(world, 0) if isinstance(one, Commit)][commits:]
    assert [(one.twins, one.cooled, one.swept) for one in after] == [([], [], None)] * 2  # of the ticks themselves
    assert len(world.models("kettle").batches) == asked_before


async def test_it_goes_on_where_it_was_when_it_is_heard_of() -> None:
    """Its last message ids are known, its counts and versions go on, the graph follows."""
    world, runtime = await cold_kettle()
    version = shard_of(runtime).twins[ONE].state_version
    again = msgspec.structs.replace(reading(ONE, 0.0, temperature=20.0), message_id="m-1")
    await hear(world, runtime, again, reading(ONE, HOUR, temperature=30.0), at=HOUR + 1.0)
    twin = shard_of(runtime).hot[ONE]
    assert (twin.reading_count, twin.resent_count, twin.connection) == (2, 1, "online")
    assert twin.state_version == version + 1
    assert world.graph.twins[ONE].properties["temperature"] == 30.0
    assert shard_of(runtime).cold == {}
    assert same(await world.restored(0), shard_of(runtime))


async def test_an_app_may_ask_a_cold_twin() -> None:
    """It answers as any other."""
    world, runtime = await cold_kettle()
    edit = EditRequest(operation_id="e-1", caller="ann", changes={"place": "hall"}, requested=world.clock.now())
    await hear(world, runtime, asked(ONE, edit), asked(ONE, command("c-1", expires=2 * HOUR)), at=HOUR + 1.0)
    assert {name: one.status for name, one in (await operations(world)).items()} == {
        "e-1": "persisted",
        "c-1": "answered",
    }
    assert world.graph.twins[ONE].properties["place"] == "hall"
    await ticks(world, runtime, HOUR + 2.0, HOUR + 3.0)
    assert list(shard_of(runtime).cold) == [ONE]
    assert shard_of(runtime).twins[ONE].maintenance.contested["place"].writes[Source.MANUAL].value == "hall"


async def test_a_twin_of_which_something_is_expected_stays() -> None:
    """An active alert, a limit that is being passed, a version that the graph does not show; one that is only late."""
    world = kettles(4)
    runtime = world.runtime(TYPES, limits=LIMITS)
    await overheat(world, runtime)
    await hear(world, runtime, reading("kettle-2", 6.0, temperature=95.0), at=6.0)
    await hear(world, runtime, reading("kettle-3", 6.0, temperature=20.0))
    await ticks(world, runtime, 100.0, 400.0)
    world.graph.twins["kettle-4"] = msgspec.structs.replace(world.graph.twins[ONE], model="dtmi:test:Other;1")
    await hear(world, runtime, reading("kettle-4", 401.0, temperature=20.0), at=HOUR - 600.0)
    await ticks(world, runtime, HOUR)
    shard = shard_of(runtime)
    assert list(shard.cold) == ["kettle-3"]
    assert shard.hot[ONE].maintenance.watches[HOT.name].alert is not None
    assert [twin.twin_id for twin in shard.owed()] == []


async def test_what_the_graph_does_not_show_stays() -> None:
    """It is owed."""
    world, runtime = await cold_kettle()
    world.graph.twins.clear()
    world.graph.twins[ONE] = msgspec.structs.replace((await kettle_in_graph())[ONE], model="dtmi:test:Other;1")
    await hear(world, runtime, reading(ONE, HOUR, temperature=30.0), at=HOUR + 1.0)
    await ticks(world, runtime, 2 * HOUR, 2 * HOUR + 1.0, 2 * HOUR + 2.0)
    assert [twin.twin_id for twin in shard_of(runtime).owed()] == [ONE]
    assert shard_of(runtime).cold == {}


async def kettle_in_graph() -> dict[str, object]:
    """Return a graph that shows a kettle."""
    world, _ = await cold_kettle()
    return dict(world.graph.twins)


def quiet(count: int) -> Shard:
    """Return a shard of twins that have been silent for long."""
    shard = Shard(partition=0)
    twins = [
        Twin(twin_id=f"kettle-{number}", type_name="kettle", layout=1, state=b"\x80", state_version=1)
        for number in range(count)
    ]
    shown = [(twin.twin_id, 1) for twin in twins]
    shard.apply(Commit(append_id="", epoch=0, watermark=None, twins=twins, shown=shown))
    return shard


@pytest.mark.parametrize("count", [1, SLICE_TWINS, SLICE_TWINS + 1, 2 * SLICE_TWINS + 5])
def test_a_sweep_goes_on_behind_what_it_cools(count: int) -> None:
    """Each twin is looked at once, in as many slices as are needed."""
    shard, slices = quiet(count), 0
    while True:
        part = sweep(shard, TYPES, lambda _name: None, HOUR)
        shard.apply(Commit(append_id="", epoch=0, watermark=None, swept=part.swept, cooled=part.cooled))
        slices += 1
        if not part.swept:
            break
    assert slices == -(-count // SLICE_TWINS)
    assert len(shard.hot) == slices - 1  # behind each the sweep went on
    assert sweep(shard, TYPES, lambda _name: None, HOUR).swept == ""


async def test_a_rule_on_silence_fires_before_its_twin_goes_cold() -> None:
    """After an hour here, long after all else is quiet, and its alert is waited for."""
    lost = Rule(name="lost", signal="connection", absent_for=HOUR, text="Nothing was heard of it for an hour.")
    types = {"kettle": msgspec.structs.replace(TYPES["kettle"], rules=(HOT, lost))}
    world = kettles()
    runtime = world.runtime(types, limits=LIMITS)
    await hear(world, runtime, reading(ONE, 0.0, temperature=20.0), at=0.0)
    await ticks(world, runtime, 400.0, 1000.0, HOUR - 1.0)
    assert shard_of(runtime).cold == {}
    await ticks(world, runtime, HOUR)
    assert [alert.rule for alert in await alerts(world, ONE)] == ["lost"]
    await ticks(world, runtime, HOUR + 1.0)
    assert shard_of(runtime).cold == {}


def test_a_twin_that_its_record_has_changed_is_not_cooled() -> None:
    """What came of a command may be told by the same record."""
    shard = quiet(1)
    changed = msgspec.structs.replace(shard.hot["kettle-0"], state_version=2)
    shard.apply(Commit(append_id="", epoch=0, watermark=None, twins=[changed], cooled=["kettle-0"]))
    assert (shard.cold, [twin.state_version for twin in shard.owed()]) == ({}, [2])


@pytest.mark.parametrize(
    "expected", [{"timers": {"wake": 2 * HOUR}}, {"last_told_time": HOUR - 60.0}, {"connection": "late"}]
)
def test_a_twin_with_something_before_it_is_not_cooled(expected: dict[str, object]) -> None:
    """A timer, another twin that spoke to it a minute ago, a device that is not offline yet."""
    shard = quiet(2)
    busy = msgspec.structs.replace(shard.hot["kettle-0"], last_seen_time=2700.0, **expected)
    shard.apply(Commit(append_id="", epoch=0, watermark=None, twins=[busy]))
    assert sweep(shard, TYPES, lambda _name: None, HOUR).cooled == ["kettle-1"]


# --- every I/O call fails, in every way ------------------------------------------------------------------


async def play(faults: dict[int, Fault]) -> list[str]:
    """Let two twins cool and one be heard of again; return the I/O calls."""
    world = kettles(2)
    fuse = Fuse(world, faults, TYPES)
    runtimes = [Runtime(TYPES, fuse.ports(), lambda: f"process{len(runtimes)}", LIMITS)]
    steps = [
        (0.0, [reading(ONE, 0.0, temperature=20.0), reading("kettle-2", 0.0, temperature=30.0)]),
        (400.0, [tick()]),
        (1000.0, [tick()]),
        (1001.0, [tick()]),
        (HOUR, [reading(ONE, HOUR, temperature=40.0)]),
        (HOUR + 1.0, [tick()]),
    ]
    for at, events in steps:
        world.clock.passed = max(world.clock.passed, at)
        world.mailbox.time = world.clock.now()
        world.put(0, *events)
        await deliver(world, runtimes, fuse)
    runtime = world.runtime(TYPES, limits=LIMITS)
    world.clock.passed += 60.0
    await world.deliver_all(runtime)
    shard = shard_of(runtime)
    assert {twin.twin_id: twin.reading_count for twin in shard.twins.values()} == {ONE: 2, "kettle-2": 1}
    assert world.graph.twins[ONE].properties["temperature"] == 40.0
    for twin in shard.twins.values():
        assert world.graph.twins[twin.twin_id].properties["stateVersion"] == twin.state_version
    assert same(await world.restored(0), shard)
    records = await whole_journal(world, 0)
    assert same(fold_all(0, records), shard)
    if not faults:
        assert [one.cooled for one in records if isinstance(one, Commit) and one.cooled] == [[ONE, "kettle-2"]]
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
async def test_no_single_fault_loses_or_doubles_a_twin(fault: Fault) -> None:
    """For each call in turn."""
    for at in range(1, len(await play({})) + 1):
        await play({at: fault})
