"""A partition that stops: it is asked for again and again, and neither claims nor forgets why."""

import logging
from argparse import Namespace
from typing import Any, cast

import msgspec
import pytest

from tests.twin_actors.test_io_faults import whole_journal
from tests.twin_actors.world import World, telemetry, twin_at
from twin_actors.commands.partition import list_partitions
from twin_actors.commit import Claim
from twin_actors.errors import PartitionStopped
from twin_actors.messages import KIND, Event, Forward, Kind
from twin_actors.ownership import Owner
from twin_actors.runtime import Runtime
from twin_actors.snapshot import restore
from twin_actors.stops import LOOK_AGAIN_SECONDS

NEAR, FAR = twin_at(0), twin_at(1)


@pytest.fixture
def world() -> World:
    """Two partitions, a twin in each."""
    return World(known=(NEAR, FAR))


def hole() -> Event:
    """The second event of a channel whose first is missing: what is found only after the claim."""
    body = msgspec.msgpack.encode(Forward(0, 2, telemetry(FAR, 1)))
    return Event(sequence_number=0, enqueued_time=0.0, body=body, properties={KIND: Kind.FORWARD.value})


async def stop(world: World, runtime: Runtime, times: int = 1) -> None:
    """Let the trigger ask again."""
    for _ in range(times):
        with pytest.raises(PartitionStopped, match="missing"):
            await runtime.deliver(1, world.events(1))
        world.clock.passed += 2


async def listed(world: World, partition: int) -> Any:
    """Return what `partition list` says."""

    class Given:
        def journal(self) -> Any:
            return world.journal

        def reader(self) -> Any:
            return world.mailbox

    rows = (await list_partitions(cast("Any", Given()), Namespace())).rows
    return rows[partition]["stopped"]


async def test_the_journal_does_not_grow_while_nothing_changes(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """One claim, one line in the log; a minute later another."""
    world.put(1, hole())
    runtime = world.runtime()
    with caplog.at_level(logging.ERROR):
        await stop(world, runtime, 20)
    assert [type(record) for record in await whole_journal(world, 1)] == [Claim]
    assert len([one for one in caplog.records if "has stopped" in one.message]) == 1
    world.clock.passed += LOOK_AGAIN_SECONDS
    await stop(world, runtime, 20)
    assert [type(record) for record in await whole_journal(world, 1)] == [Claim, Claim]


async def test_it_goes_on_as_soon_as_somebody_has_written(world: World) -> None:
    """An operator's record is at the end of the journal."""
    world.put(1, hole())
    runtime = world.runtime()
    await stop(world, runtime, 2)
    operator = await Owner.claim(world.journal, world.clock, await restore(world.journal, 1), "operator")
    assert operator.epoch == 2
    world.mailbox.partitions[1].clear()
    world.put(1, telemetry(FAR, 1))
    await runtime.deliver(1, world.events(1))
    assert world.heard(runtime, FAR) == [1]


async def test_the_reason_is_in_sight_until_it_goes_on(world: World) -> None:
    """In `partition list`, from another process."""
    world.put(1, hole())
    world.put(0, telemetry(NEAR, 1))
    runtime = world.runtime()
    await stop(world, runtime)
    await runtime.deliver(0, world.events(0))
    assert "events between them are missing" in await listed(world, 1)
    assert await listed(world, 0) is None
    world.clock.passed += LOOK_AGAIN_SECONDS
    await stop(world, runtime)
    assert "events between them are missing" in await listed(world, 1)
    await Owner.claim(world.journal, world.clock, await restore(world.journal, 1), "operator")
    assert await listed(world, 1) is None


async def test_a_journal_that_cannot_be_read_is_not_read_again_at_once(world: World) -> None:
    """A restore may have to read megabytes."""
    await world.runtime().deliver(0, world.put(0, telemetry(NEAR, 1)))
    segment = world.journal._segments["segments/0/00000000-00000000"]
    whole = bytes(segment)
    segment[-1] ^= 1
    runtime = world.runtime()
    for _ in range(3):
        with pytest.raises(PartitionStopped, match="damaged"):
            await runtime.deliver(0, world.events(0))
    segment[:] = whole
    with pytest.raises(PartitionStopped, match="damaged"):
        await runtime.deliver(0, world.events(0))
    world.clock.passed += LOOK_AGAIN_SECONDS
    await runtime.deliver(0, world.events(0))
    assert world.heard(runtime, NEAR) == [1]


async def test_events_of_another_hub_are_noticed_before_the_claim(world: World) -> None:
    """By a new process too."""
    await world.runtime().deliver(0, world.put(0, telemetry(NEAR, 1), telemetry(NEAR, 2)))
    before = await whole_journal(world, 0)
    world.mailbox.partitions[0].clear()
    batch = world.put(0, telemetry(NEAR, 3))
    for _ in range(3):
        with pytest.raises(PartitionStopped, match="recreated"):
            await world.runtime().deliver(0, batch)
    assert await whole_journal(world, 0) == before
