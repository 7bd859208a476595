"""A type's state changes its layout while its twins live: brought up to date, rolled back, refused where newer."""

import itertools
import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.twin_actors import twin_contract as contract
from tests.twin_actors.barrel import BARREL_1, BARREL_2, BARREL_3, BARRELS, MODEL
from tests.twin_actors.test_io_faults import fold_all, whole_journal
from tests.twin_actors.world import PROBE_TYPE, START, World, balance, same
from twin_actors.commands.output import text
from twin_actors.commands.parser import parser
from twin_actors.commands.ports import Ports
from twin_actors.commit import Commit
from twin_actors.errors import PartitionStopped, Rejected
from twin_actors.layout import decode_state, rolled_back, upgraded
from twin_actors.maintenance import Maintenance
from twin_actors.messages import KIND, LETTER, Event, Kind, Reading
from twin_actors.ownership import Limits, Owner
from twin_actors.registry import Registry
from twin_actors.shard import Shard
from twin_actors.snapshot import restore
from twin_actors.turn import new_twin
from twin_actors.twin import TwinType

ONE, TWO = "barrel-1", "barrel-2"
LIMITS = Limits(segment_records=4, snapshot_bytes=600)


def types(version: int, **changes: Any) -> dict[str, TwinType[Any]]:
    """Return the twin types of an app."""
    return {"barrel": msgspec.structs.replace(BARRELS[version - 1], **changes), "probe": PROBE_TYPE}


def level(twin_id: str, at: float, percent: float) -> Event:
    """Return what a barrel's device says."""
    body = json.dumps({"time": START + at, "percent": percent}).encode()
    return Event(sequence_number=0, enqueued_time=0.0, body=body, device_id=twin_id, model=MODEL)


async def say(world: World, app: Mapping[str, TwinType[Any]], *events: Event) -> Shard:
    """Let an app that has just been started fold events; return the shard."""
    world.clock.passed += 60.0
    runtime = world.runtime(app, limits=LIMITS)
    world.put(0, *events)
    await world.deliver_all(runtime)
    shard = runtime.shard(0)
    assert shard is not None
    return shard


def known(shard: Shard, twin_id: str, version: int) -> Any:
    """Return what a version of the app finds a twin to know."""
    return decode_state(shard.twins[twin_id], BARRELS[version - 1])


async def grown() -> World:
    """A world in which three versions of the app ran one after the other."""
    world = World(1)
    await say(world, types(1), level(ONE, 0.0, 80.0), level(TWO, 0.0, 10.0))
    await say(world, types(2), level(ONE, 60.0, 40.0))
    await say(world, types(3), level(ONE, 120.0, 20.0))
    return world


# --- forward ------------------------------------------------------------------------------------------


async def test_a_twin_is_brought_up_to_date_when_it_is_heard_of() -> None:
    """Each in its own time; nobody else is written."""
    world = await grown()
    shard = await world.restored(0)
    assert msgspec.structs.asdict(known(shard, ONE, 3)) == {"level": 0.2, "highest": 0.4, "heard": 3}
    assert (shard.twins[ONE].layout, shard.twins[TWO].layout) == (3, 1)
    assert msgspec.structs.asdict(known(shard, TWO, 3)) == {"level": 0.1, "highest": 0.1, "heard": 1}
    assert world.graph.twins[ONE].properties["fillPercent"] == 20.0


async def test_whole_journal_is_snapshot_and_tail_across_versions() -> None:
    """A restore needs no row: records carry states as they were."""
    world = await grown()
    shard = await world.restored(0)
    assert await world.journal.names("snapshots/0/")
    assert same(fold_all(0, await whole_journal(world, 0)), shard)


percents = st.lists(st.floats(0.0, 100.0), max_size=5)


@given(percents, percents, percents)
def test_a_history_goes_on_through_every_upgrade(one: list[float], two: list[float], three: list[float]) -> None:
    """Whatever was said to which version: the level is the last, the highest that which version 3 can know."""
    twin = new_twin(ONE, BARREL_1)
    for kind, said in zip(BARRELS, (one, two, three), strict=True):
        for percent in said:
            twin = upgraded(twin, kind)
            state = contract.turn(kind, decode_state(twin, kind), Reading(START, {"percent": percent}, {}))
            twin = msgspec.structs.replace(twin, state=msgspec.msgpack.encode(state))
    final = decode_state(twin, BARREL_3)
    before = [0.0, *one, *two][-1] / 100.0
    assert final.heard == len(one + two + three)
    assert final.level == pytest.approx([before, *(percent / 100.0 for percent in three)][-1])
    assert final.highest == pytest.approx(max([before, *(percent / 100.0 for percent in three)]))


def test_golden_snapshots_of_every_version_load() -> None:
    """The contract that registered types are held to, on a type that has changed twice."""
    for kind in BARRELS[-1:]:
        contract.every_golden_snapshot_loads(kind)
        contract.every_way_back_leads_back(kind)


def test_the_contract_catches_an_upgrade_that_is_wrong() -> None:
    """One that forgets a unit, and one whose way back is another way."""
    rename, remember = BARREL_3.upgrades
    by_hundred = msgspec.structs.replace(rename, up=lambda state: {"level": state["percent"], "heard": state["heard"]})
    with pytest.raises(AssertionError):
        contract.every_golden_snapshot_loads(msgspec.structs.replace(BARREL_3, upgrades=(by_hundred, remember)))
    with pytest.raises(AssertionError):
        contract.every_way_back_leads_back(msgspec.structs.replace(BARREL_3, upgrades=(by_hundred, remember)))


async def test_an_upgrade_that_fails_is_one_twins_own() -> None:
    """Its messages are dead letters; once the row is mended they are replayed, and nothing is lost."""

    def fails_for_ten(state: dict[str, Any]) -> dict[str, Any]:
        if state["percent"] == 10.0:
            raise KeyError("lid")
        return BARREL_2.upgrades[0].up(state)

    world = World(1)
    await say(world, types(1), level(ONE, 0.0, 80.0), level(TWO, 0.0, 10.0))
    broken = msgspec.structs.replace(BARREL_2.upgrades[0], up=fails_for_ten)
    shard = await say(
        world, types(2, upgrades=(broken,)), level(TWO, 60.0, 11.0), level(ONE, 60.0, 81.0), level(TWO, 61.0, 12.0)
    )
    assert set(shard.letters.values()) == {"upgrade_failed"}
    assert known(shard, ONE, 2).level == 0.81
    assert (shard.twins[TWO].layout, balance(shard)) == (1, len(world.events(0)))
    replays = [
        Event(sequence_number=0, enqueued_time=0.0, body=b"{}", properties={KIND: Kind.REPLAY, LETTER: letter})
        for letter in shard.letters
    ]
    shard = await say(world, types(2), *replays)
    assert msgspec.structs.asdict(known(shard, TWO, 2)) == {"level": 0.12, "heard": 3}
    assert shard.letters == {}
    assert world.graph.twins[TWO].properties["fillPercent"] == 12.0


async def test_what_cannot_be_brought_up_to_date_stops_no_sweep_and_no_graph() -> None:
    """A twin whose row fails is left as it is, in sight."""

    def fails(_state: dict[str, Any]) -> dict[str, Any]:
        raise ValueError("no")

    world = World(1)
    shard = await say(world, types(1), level(ONE, 0.0, 80.0))
    before = shard.twins[ONE].state
    broken = types(2, upgrades=(msgspec.structs.replace(BARREL_2.upgrades[0], up=fails),))
    runtime = world.runtime(broken, limits=LIMITS)
    world.clock.passed += 100.0
    world.mailbox.time = world.clock.now()
    await runtime.tick(0)
    await runtime.deliver(0, world.events(0))
    after = runtime.shard(0)
    assert after is not None
    assert (after.twins[ONE].connection, after.twins[ONE].state) == ("late", before)
    assert world.graph.twins[ONE].properties["connection"] == "online"
    await say(world, types(2))
    assert world.graph.twins[ONE].properties["connection"] == "late"


def test_a_state_that_does_not_fit_its_layout_is_refused() -> None:
    """A row that leaves a field of another type, or one too many."""
    lost = msgspec.structs.replace(BARREL_2.upgrades[0], up=lambda state: {**state, "level": 0.5})
    with pytest.raises(Rejected, match="from layout 1 of barrel to 2"):
        upgraded(new_twin(ONE, BARREL_1), msgspec.structs.replace(BARREL_2, upgrades=(lost,)))


# --- newer than the app ----------------------------------------------------------------------------------


@pytest.mark.parametrize("older", [1, 2])
async def test_a_newer_layout_is_refused_before_the_claim(older: int) -> None:
    """Loudly, with what to do; nothing is written, and nothing is lost."""
    world = await grown()
    epoch = (await world.restored(0)).epoch
    world.put(0, level(ONE, 180.0, 30.0))
    runtime = world.runtime(types(older))
    with pytest.raises(PartitionStopped, match="deploy the version of the app that wrote it"):
        await runtime.deliver(0, world.events(0))
    assert (await world.restored(0)).epoch == epoch
    assert known(await say(world, types(3)), ONE, 3).level == 0.3


async def test_so_is_one_that_is_written_while_we_claim() -> None:
    """The newer app comes between our look at the journal and our claim."""
    world = World(1)
    await say(world, types(1), level(ONE, 0.0, 80.0))

    class Late(type(world.journal)):  # type: ignore[misc]  # a world's journal may be of any kind
        """Lets the newer app write just before the older one's claim."""

        def __init__(self) -> None:
            self.__dict__ = world.journal.__dict__
            self.is_first = True

        async def append(self, path: str, position: int, data: bytes) -> None:
            if self.is_first:
                self.is_first = False
                await say(world, types(2), level(ONE, 60.0, 40.0))
            await super().append(path, position, data)

    runtime = world.runtime(types(1))
    runtime._ports = msgspec.structs.replace(runtime._ports, journal=Late())
    epoch = (await world.restored(0)).epoch
    with pytest.raises(PartitionStopped, match="layout 2 of barrel, this app has 1"):
        await runtime.deliver(0, world.events(0))
    assert (await world.restored(0)).epoch == epoch + 1


async def test_a_twin_of_no_type_is_refused_before_the_claim() -> None:
    """The app that has the type must be deployed again."""
    world = await grown()
    epoch = (await world.restored(0)).epoch
    with pytest.raises(PartitionStopped, match="of type barrel, which this app does not have: deploy"):
        await world.runtime({"probe": PROBE_TYPE}).deliver(0, world.events(0))
    assert (await world.restored(0)).epoch == epoch


# --- and back ---------------------------------------------------------------------------------------------


async def roll_back(world: World, *arguments: str, version: TwinType[Any] = BARREL_3) -> tuple[Any, int, list[str]]:
    """Run the command as an operator of an app does; return its JSON, exit code and notes."""
    notes: list[str] = []
    sides: Any = {name: (lambda: None) for name in ("sender", "documents", "graph")}
    ports = Ports(
        journal=lambda: world.journal,
        reader=lambda: world.mailbox,
        registry=Registry(by_name={"barrel": version}, by_model={MODEL: version}, documents=()),
        clock=world.clock,
        caller="ada",
        say=notes.append,
        note=notes.append,
        **sides,
    )
    parsed = parser().parse_args(["twin", "roll-back", "barrel", *arguments, "-o", "json"])
    result = await parsed.run(ports, parsed)
    return json.loads(text(result, "json")), result.exit_code, notes


async def test_an_app_that_was_rolled_back_goes_on() -> None:
    """All twins that it could not read are written for it, and the graph shows what it shows."""
    world = await grown()
    assert await roll_back(world, "--to", "1") == (
        [{"partition": 0, "twins": 1}],
        2,
        ["nothing was changed: stop the function app, then run this again with --yes"],
    )
    assert (await world.restored(0)).twins[ONE].layout == 3
    assert (await roll_back(world, "--to", "1", "--yes"))[:2] == ([{"partition": 0, "twins": 1}], 0)
    rolled = await world.restored(0)
    assert {twin.layout for twin in rolled.twins.values()} == {1}
    assert rolled.totals["rolled_back"] == 1
    shard = await say(world, types(1), level(ONE, 180.0, 30.0), level(TWO, 180.0, 31.0))
    assert msgspec.structs.asdict(known(shard, ONE, 1)) == {"percent": 30.0, "heard": 4}
    assert msgspec.structs.asdict(known(shard, TWO, 1)) == {"percent": 31.0, "heard": 2}
    assert world.graph.twins[ONE].properties["stateVersion"] == shard.twins[ONE].state_version
    assert same(fold_all(0, await whole_journal(world, 0)), shard)
    forward = await say(world, types(3), level(ONE, 240.0, 32.0))
    assert known(forward, ONE, 3).heard == 5


async def test_a_roll_back_again_changes_nothing() -> None:
    """Cut short, it is run again."""
    world = await grown()
    await roll_back(world, "--to", "2", "--yes")
    epoch = (await world.restored(0)).epoch
    assert (await roll_back(world, "--to", "2", "--yes"))[0] == [{"partition": 0, "twins": 0}]
    assert (await world.restored(0)).epoch == epoch


async def test_what_people_said_of_twins_counts_when_records_are_parted() -> None:
    """Many twins of small states, and of many operations each."""
    world = World(1)
    shard = await say(world, types(3), *(level(f"barrel-{number}", 0.0, 5.0) for number in range(700)))
    asked = Maintenance(operations=[f"{number:0>124}" for number in range(64)])
    owner = await Owner.claim(world.journal, world.clock, await restore(world.journal, 0), "worker")
    for twins in itertools.batched(list(shard.twins.values()), 50, strict=True):
        after = [msgspec.structs.replace(twin, maintenance=asked) for twin in twins]
        append_id, watermark = owner.next_append_id(), owner.shard.watermark
        await owner.append(Commit(append_id=append_id, epoch=owner.epoch, watermark=watermark, twins=after))
    assert await roll_back(world, "--to", "2", "--yes") == ([{"partition": 0, "twins": 700}], 0, [])
    assert {twin.layout for twin in (await world.restored(0)).twins.values()} == {2}


async def test_without_a_way_back_nothing_is_written() -> None:
    """Of no twin."""
    world = await grown()
    rename, remember = BARREL_3.upgrades
    one_way = msgspec.structs.replace(BARREL_3, upgrades=(msgspec.structs.replace(rename, down=None), remember))
    epoch = (await world.restored(0)).epoch
    with pytest.raises(Rejected, match="nothing leads from layout 2 of barrel back to 1"):
        await roll_back(world, "--to", "1", "--yes", version=one_way)
    assert (await world.restored(0)).epoch == epoch
    assert (await roll_back(world, "--to", "2", "--yes", version=one_way))[1] == 0


def test_a_way_back_that_fails_names_the_twin() -> None:
    """With what it raised."""
    rename = msgspec.structs.replace(BARREL_2.upgrades[0], down=lambda state: {"percent": 1.0 / state["level"]})
    kind = msgspec.structs.replace(BARREL_2, upgrades=(rename,))
    with pytest.raises(Rejected, match="barrel-1 cannot be brought back to layout 1 of barrel: ZeroDivisionError"):
        rolled_back(new_twin(ONE, kind), kind, 1)


async def test_a_worker_that_takes_the_partition_is_found_out() -> None:
    """It would bring twins forward again; the operator is told to stop it."""
    world = await grown()
    append, count = world.journal.append, 0

    async def rival(path: str, position: int, data: bytes) -> None:
        nonlocal count
        count += 1
        if count == 2:  # after the claim
            restored = await restore(world.journal, 0)
            world.journal.append = append
            await Owner.claim(world.journal, world.clock, restored, "worker")
        await append(path, position, data)

    world.journal.append = rival
    with pytest.raises(Rejected, match="stop the function app"):
        await roll_back(world, "--to", "1", "--yes")
    assert (await world.restored(0)).twins[ONE].layout == 3


@pytest.mark.parametrize(("layout", "there"), [("3", "1 to 2"), ("0", "1 to 2"), ("7", "1 to 2")])
async def test_only_earlier_layouts_can_be_rolled_back_to(layout: str, there: str) -> None:
    """What there is, is told."""
    with pytest.raises(Rejected, match=there):
        await roll_back(await grown(), "--to", layout)
