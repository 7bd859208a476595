"""People, simulations and the device write one property, through the whole runtime in memory."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.twin_actors import kettle
from tests.twin_actors.kettle import (
    ONE,
    TYPES,
    asked,
    documents,
    hear,
    kettles,
    operations,
    reading,
    tick,
)
from tests.twin_actors.world import START, World, same
from twin_actors.commit import size_of
from twin_actors.conflict import Contested, Write
from twin_actors.documents import Collection, Edit, OperationStatus, Source
from twin_actors.editing import MAX_EDIT_BYTES, MAX_EDITS
from twin_actors.maintenance import Maintenance
from twin_actors.requests import MAX_TEXT_LENGTH, EditRequest
from twin_actors.runtime import Runtime


@pytest.fixture
def world() -> World:
    """One kettle, connected."""
    return kettles()


@pytest.fixture
def runtime(world: World) -> Runtime:
    """A process."""
    return world.runtime(TYPES)


def edit(operation_id: str, at: float = 0.0, **more: Any) -> EditRequest:
    """What somebody sets."""
    return EditRequest(operation_id=operation_id, caller="ann", requested=START + at, **more)


async def told(world: World, name: str) -> Edit:
    """Return what apps are told of a property."""
    document = await world.documents.get(Collection.EDITS, ONE, name)
    assert document is not None
    return msgspec.json.decode(document.body, type=Edit)


def shown(world: World, name: str) -> object:
    """Return what the graph shows."""
    return world.graph.twins[ONE].properties.get(name)


def seen(world: World) -> dict[Source, int]:
    """Return what somebody has seen of the device who looks at the graph now."""
    version = shown(world, "stateVersion")
    assert isinstance(version, int)
    return {Source.SENSOR: version}


async def test_who_has_seen_the_devices_value_replaces_it(world: World, runtime: Runtime) -> None:
    """Until the device says something else; then both are kept, and the device's counts more."""
    await hear(world, runtime, reading(ONE, 0, temperature=20.0), at=0)
    await hear(world, runtime, tick(), at=100)  # silence makes another version, and no write of the device
    request = edit("e", 101, changes={"temperature": 12.0}, seen=seen(world))
    await hear(world, runtime, asked(ONE, request), at=101)
    assert shown(world, "temperature") == 12.0
    one = await told(world, "temperature")
    assert (one.is_shown, one.detail) == (True, "it has seen the value of sensor")
    (sensor,) = one.beside
    assert (sensor.source, sensor.value, sensor.is_shown) == (Source.SENSOR, 20.0, False)
    assert sensor.detail == "manual has replaced it, having seen it"
    runtime = world.runtime(TYPES)
    await hear(world, runtime, reading(ONE, 102, temperature=20.0, scale=1.0), at=102)
    assert shown(world, "temperature") == 12.0
    await hear(world, runtime, reading(ONE, 103, temperature=20.5), at=103)
    assert shown(world, "temperature") == 20.5
    one = await told(world, "temperature")
    assert (one.value, one.is_shown) == (12.0, False)
    assert one.detail == "sensor counts more for this property, and neither has seen the other"
    assert [(other.source, other.value) for other in one.beside] == [(Source.SENSOR, 20.5)]


async def test_what_one_looked_at_long_ago_replaces_nothing(world: World, runtime: Runtime) -> None:
    """The device has said something else since."""
    await hear(world, runtime, reading(ONE, 0, temperature=20.0))
    before = seen(world)
    await hear(world, runtime, reading(ONE, 1, temperature=21.0), at=1)
    await hear(world, runtime, asked(ONE, edit("e", 2, changes={"temperature": 12.0}, seen=before)), at=2)
    assert shown(world, "temperature") == 21.0
    assert (await told(world, "temperature")).is_shown is False


async def test_a_simulation_counts_more_than_a_person_who_has_not_seen_it(world: World, runtime: Runtime) -> None:
    """And less than one who has; what they take away brings the simulation's back."""
    await hear(world, runtime, reading(ONE, 0, temperature=20.0))
    await hear(world, runtime, asked(ONE, edit("m", 1, changes={"note": "by hand"})), at=1)
    computed = edit("s", 2, changes={"note": "computed"}, source=Source.SIMULATION)
    await hear(world, runtime, asked(ONE, computed), at=2)
    assert shown(world, "note") == "computed"
    one = await told(world, "note")
    assert (one.source, one.is_shown, one.vector) == (Source.SIMULATION, True, {Source.SIMULATION: 1})
    assert one.detail == "it counts more for this property than manual, and neither has seen the other"
    assert [(other.source, other.is_shown, other.vector) for other in one.beside] == [
        (Source.MANUAL, False, {Source.MANUAL: 1})
    ]
    better = edit("n", 3, changes={"note": "better"}, seen={Source.SIMULATION: 1})
    await hear(world, runtime, asked(ONE, better), at=3)
    assert shown(world, "note") == "better"
    assert (await told(world, "note")).vector == {Source.MANUAL: 2, Source.SIMULATION: 1}
    await hear(world, runtime, asked(ONE, edit("o", 4, changes={"note": None})), at=4)
    assert shown(world, "note") == "computed"
    away = edit("p", 5, changes={"note": None}, source=Source.SIMULATION)
    await hear(world, runtime, asked(ONE, away), at=5)
    assert shown(world, "note") is None
    (document,) = await documents(world, Collection.EDITS)
    assert document.status == "removed"


async def test_a_type_may_turn_the_order_round(world: World, runtime: Runtime) -> None:
    """Of the place of a kettle people know more."""
    for number, source in enumerate((Source.MANUAL, Source.SIMULATION)):
        request = edit(f"e{number}", number, changes={"place": source.value}, source=source)
        await hear(world, runtime, reading(ONE, number, temperature=20.0), asked(ONE, request), at=number)
    assert shown(world, "place") == "manual"


async def test_of_one_source_the_newest_counts_not_the_last_to_come(world: World, runtime: Runtime) -> None:
    """The late one is told, and changes nothing."""
    await hear(world, runtime, reading(ONE, 0, temperature=20.0), at=20)
    late, early = edit("late", 10, changes={"note": "new"}), edit("early", 5, changes={"note": "old", "place": "hall"})
    await hear(world, runtime, asked(ONE, late), asked(ONE, early), at=21)
    assert (shown(world, "note"), shown(world, "place")) == ("new", "hall")
    operation = (await operations(world))["early"]
    assert (operation.status, operation.detail) == (OperationStatus.PERSISTED, "newer values are kept of note")


async def test_a_clock_of_2099_blocks_nobody(world: World, runtime: Runtime) -> None:
    """The mailbox's time replaces it, as with readings."""
    await hear(world, runtime, reading(ONE, 0, temperature=20.0))
    await hear(world, runtime, asked(ONE, edit("e", 2e9, changes={"note": "far"})), at=1)
    await hear(world, runtime, asked(ONE, edit("f", 2, changes={"note": "near"})), at=2)
    assert shown(world, "note") == "near"


async def test_a_repeated_edit_is_one(world: World, runtime: Runtime) -> None:
    """Over a restart, and where the batch comes again: its number does not rise."""
    request = asked(ONE, edit("e", 1, changes={"note": "once"}))
    await hear(world, runtime, reading(ONE, 0, temperature=20.0), request, request, at=1)
    again = world.runtime(TYPES)
    await hear(world, again, request, at=2)
    await again.deliver(0, world.events(0))
    assert (await told(world, "note")).vector == {Source.MANUAL: 1}
    shard = again.shard(0)
    assert shard is not None
    assert same(await world.restored(0), shard)


async def test_nothing_is_kept_of_properties_that_only_the_device_writes(world: World, runtime: Runtime) -> None:
    """Version vectors cost nothing until somebody else writes."""
    await hear(world, runtime, reading(ONE, 0, temperature=20.0), reading(ONE, 1, temperature=21.0))
    shard = runtime.shard(0)
    assert shard is not None
    assert shard.twins[ONE].maintenance.contested == {}


@pytest.mark.parametrize(
    ("make", "kept"),
    [
        (np.float64, 60.0),
        (np.float32, "60.0"),
        (lambda _: 10**30, "1" + 30 * "0"),
        (lambda value: {"x": value}, "{'x': 60.0}"),
        (lambda value: [value], "[60.0]"),
        (lambda _: datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01 00:00:00+00:00"),
        (lambda _: "\ud800", "?"),
    ],
)
async def test_whatever_a_type_shows_of_a_property_that_was_set_a_restore_can_read(
    world: World, make: Callable[[float], object], kept: object
) -> None:
    """Numbers of numpy, maps, times: a record that nobody can read would end the partition."""

    def properties(state: kettle.State) -> Any:
        now = state.temperature or 0.0
        return {"temperature": now, "note": now if now < 50.0 else make(now)}

    runtime = world.runtime({"kettle": msgspec.structs.replace(kettle.TYPE, properties=properties)})
    await hear(world, runtime, reading(ONE, 0, temperature=20.0))
    await hear(world, runtime, asked(ONE, edit("e", 1, changes={"note": "by hand"})), at=1)
    await hear(world, runtime, reading(ONE, 2, temperature=60.0), at=2)
    shard = runtime.shard(0)
    assert shard is not None
    assert shard.letters == {}
    sensor = shard.twins[ONE].maintenance.contested["note"].writes[Source.SENSOR]
    assert sensor.value == kept
    assert same(await world.restored(0), shard)
    await hear(world, runtime, asked(ONE, edit("f", 3, changes={"note": None})), at=3)
    assert (await told(world, "note")).beside[0].value == kept
    assert same(await world.restored(0), shard)


async def test_what_is_set_on_one_twin_is_bounded(world: World, runtime: Runtime) -> None:
    """It is written with each reading; what is too much is refused, and what is taken away makes room."""
    await hear(world, runtime, reading(ONE, 0, temperature=20.0))
    long = "\N{SNOWFLAKE}" * MAX_TEXT_LENGTH
    for number in range(MAX_EDITS):
        await hear(world, runtime, asked(ONE, edit(f"e{number}", 1, changes={f"p{number}": long})), at=1)
    shard = runtime.shard(0)
    assert shard is not None
    room = MAX_EDIT_BYTES // len(long.encode())
    assert len(shard.twins[ONE].maintenance.contested) == room
    assert size_of(shard.twins[ONE]) < MAX_EDIT_BYTES + 10_000
    found = await operations(world)
    assert [found[f"e{number}"].status for number in (room - 1, room)] == ["persisted", "refused"]
    assert "take some away" in found[f"e{room}"].detail
    await hear(world, runtime, asked(ONE, edit("away", 2, changes={"p0": None})), at=2)
    await hear(world, runtime, asked(ONE, edit("again", 3, changes={"last": long})), at=3)
    assert shown(world, "last") == long


@pytest.mark.parametrize(
    "request_",
    [
        edit("e", changes={"note": "x"}, source=Source.SENSOR),
        edit("e", changes={"note": "x"}, seen={Source.SENSOR: -1}),
        edit("e", changes={"note": "x"}, seen={Source.SENSOR: 10**15}),
    ],
)
async def test_what_nobody_can_have_seen_is_a_dead_letter(
    world: World, runtime: Runtime, request_: EditRequest
) -> None:
    """Nor does an app write for the device."""
    await hear(world, runtime, reading(ONE, 0, temperature=20.0), asked(ONE, request_))
    shard = runtime.shard(0)
    assert shard is not None
    assert list(shard.letters.values()) == ["bad_request"]


def test_what_format_1_kept_means_the_same() -> None:
    """A person's value, shown or kept, or taken away."""
    old = [
        None,
        {},
        {},
        None,
        {"a": [1.5, "ann", 7.0, True], "b": ["x", "bob", 8.0, False], "c": [None, "c", 9.0, False]},
    ]
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(old), type=Maintenance)
    one = {Source.MANUAL: 1}
    assert read.contested == {
        "a": Contested({Source.MANUAL: Write(Source.MANUAL, 1.5, "ann", 7.0, one)}, Source.MANUAL),
        "b": Contested({Source.MANUAL: Write(Source.MANUAL, "x", "bob", 8.0, one)}, Source.SENSOR),
        "c": Contested({Source.MANUAL: Write(Source.MANUAL, None, "c", 9.0, one)}, None),
    }
    assert read.edits == {}
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(read), type=Maintenance) == read
