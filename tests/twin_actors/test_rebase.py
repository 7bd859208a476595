"""An operator lets a partition go on in a hub that was made anew, or past events of the one there is."""

import asyncio

import msgspec
import pytest

from tests.twin_actors.faults import Fault, Fuse, Killed
from tests.twin_actors.operating import operate
from tests.twin_actors.traveller import IDS, PARTITIONS, depart, states, travellers
from tests.twin_actors.traveller import TYPES as TRAVELLERS
from tests.twin_actors.world import World, balance, heard_of, same, telemetry, twin_at
from twin_actors.commands.errors import NotFound
from twin_actors.commands.parser import parser
from twin_actors.errors import Fenced, PartitionStopped, Rejected, TwinfoldError, Unavailable
from twin_actors.identity import home_partition
from twin_actors.journals import Journal
from twin_actors.messages import KIND, LETTER, Event, Kind
from twin_actors.outbox import letter_path
from twin_actors.rebase import Move, Start, find, plan, rebase
from twin_actors.runtime import Runtime

NEAR, FAR = twin_at(0), twin_at(1)


@pytest.fixture
def world() -> World:
    """Two partitions."""
    return World(known=(NEAR, FAR))


def recreate(world: World, partitions: int = 2) -> None:
    """Delete the hub and make it anew: other events, from number 0."""
    world.mailbox._hub = "made-again"
    world.mailbox.partitions = [[] for _ in range(partitions)]
    world.mailbox.expired = [0] * partitions


async def moved(world: World, partition: int = 0, start: Start | None = None, journal: Journal | None = None) -> Move:
    """Do what the command does."""
    journal, clock = journal or world.journal, world.clock
    to = await find(journal, world.mailbox, clock, partition, start)
    return await rebase(journal, clock, partition, to, "ada", "a test", "operator")


async def test_what_twins_of_one_partition_told_each_other_in_the_old_hub_is_counted_as_lost() -> None:
    """The channel of a partition to itself goes on as those between two do."""
    world = travellers()
    runtime = world.runtime(TRAVELLERS)
    await runtime.deliver(0, world.put(0, depart(0, 1, "3")))
    world.clock.passed += 10
    await runtime.deliver(0, [])  # commits that it was sent; nobody reads it any more
    recreate(world, PARTITIONS)
    await moved(world)
    successor = world.runtime(TRAVELLERS)
    world.put(0, depart(0, 2, "3"), depart(0, 3, "3"))
    await world.deliver_all(successor)
    shard = successor.shard(0)
    assert shard is not None
    assert [trip for _, trip, _ in states([shard])[IDS[3]].heard] == [2, 3]
    assert shard.totals["forwards_lost"] == 1
    assert shard.received_channels == shard.sent_channels == {0: 3}


def broken() -> Event:
    """Return a device's message that becomes a dead letter."""
    return msgspec.structs.replace(telemetry(NEAR, 0), body=b"no JSON")


class TestAnotherHub:
    """Nothing of it is folded before an operator says so; then all of it is."""

    async def test_it_is_folded_from_its_beginning(self, world: World) -> None:
        """Each event once, the twins go on where they were, and the books balance."""
        runtime = world.runtime()
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 1), telemetry(NEAR, 2), telemetry(NEAR, 3)))
        recreate(world)
        batch = world.put(0, telemetry(NEAR, 4), telemetry(NEAR, 5))
        with pytest.raises(PartitionStopped, match="partition rebase 0"):
            await world.runtime().deliver(0, batch)
        done = await moved(world)
        assert (done.lost, done.again, done.is_renumbered) == (0, 0, True)
        runtime = world.runtime()
        await runtime.deliver(0, batch)
        await runtime.deliver(0, batch)
        assert world.heard(runtime, NEAR) == [1, 2, 3, 4, 5]
        shard = await world.restored(0)
        assert same(shard, runtime.shard(0))
        assert balance(shard) == 3 + 2
        assert shard.totals["rebases"] == 1

    async def test_what_the_trigger_passed_over_is_read_again(self, world: World) -> None:
        """Its checkpoint is that of the old hub: it begins in the middle of the new one."""
        await world.runtime().deliver(0, world.put(0, *(telemetry(NEAR, number) for number in range(4))))
        recreate(world)
        world.put(0, *(telemetry(NEAR, number) for number in range(10, 17)))
        await moved(world)
        runtime = world.runtime()
        await runtime.deliver(0, world.events(0, 4))
        assert world.heard(runtime, NEAR) == [0, 1, 2, 3, *range(10, 17)]

    async def test_what_expired_there_before_anybody_folded_it_is_lost_in_sight(self, world: World) -> None:
        """The partition stood for longer than the retention."""
        await world.runtime().deliver(0, world.put(0, telemetry(NEAR, 1)))
        recreate(world)
        world.put(0, *(telemetry(NEAR, number) for number in range(10, 15)))
        world.mailbox.expire(0, 3)
        done = await moved(world)
        assert done.lost == 3
        runtime = world.runtime()
        await runtime.deliver(0, world.events(0, 3))
        assert world.heard(runtime, NEAR) == [1, 13, 14]
        assert balance(await world.restored(0)) == 1 + 5

    async def test_a_worker_that_runs_on_notices_at_the_first_gap(self, world: World) -> None:
        """The new hub has more events than the old one had: no number is below the watermark."""
        runtime = world.runtime()
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 1)))
        recreate(world)
        world.put(0, *(telemetry(NEAR, number) for number in range(10, 15)))
        with pytest.raises(PartitionStopped, match="was folded from hub"):
            await runtime.deliver(0, world.events(0, 3))
        assert heard_of(await world.restored(0), NEAR) == (1,)

    async def test_a_dead_letter_of_the_old_hub_stays_itself(self, world: World) -> None:
        """An event of the new one has its number: two letters, two bodies, two replays."""
        await world.runtime().deliver(0, world.put(0, telemetry(NEAR, 1), broken()))
        recreate(world)
        await moved(world)
        runtime = world.runtime()
        other = msgspec.structs.replace(broken(), body=b"no JSON either")
        await world.deliver_all(runtime)
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 2), other))
        last = len(world.events(0)) - 1
        await world.deliver_all(runtime)
        shard = await world.restored(0)
        old, new = sorted(shard.letters)
        assert (old, int(new.split("-")[1]) % 10**15) == ("0-1", last)
        bodies = [(await world.journal.read(letter_path(letter))).data for letter in (old, new)]
        assert [b"no JSON either" in body for body in bodies] == [False, True]
        for letter in (old, new):
            replay = {KIND: Kind.REPLAY.value, LETTER: letter}
            world.put(0, Event(sequence_number=0, enqueued_time=0.0, body=b"{}", properties=replay))
        await world.deliver_all(runtime)
        shard = await world.restored(0)
        assert shard.totals["replayed"] == 2
        assert not {old, new} & set(shard.letters)

    async def test_fewer_partitions_stop(self, world: World) -> None:
        """There would be no home for half of the twins."""
        await world.runtime().deliver(0, world.put(0, telemetry(NEAR, 1)))
        recreate(world, 1)
        with pytest.raises(PartitionStopped, match="has 1"):
            await world.runtime().deliver(0, world.put(0, telemetry(NEAR, 2)))

    async def test_more_partitions_forward_what_they_get(self, world: World) -> None:
        """Twins stay on the partitions of the first start; new ones have none of their own, and lose nothing."""
        world.put(0, telemetry(NEAR, 0))
        world.put(1, telemetry(FAR, 0))
        await world.deliver_all(world.runtime())
        recreate(world, 4)
        for partition in world.partitions[:2]:
            await moved(world, partition)
        ids = [twin_at(home, 4, number=1) for home in range(4)]
        for number, twin_id in enumerate(ids):
            assert home_partition(twin_id, 4) == number
            world.put(number, telemetry(twin_id, number, model="dtmi:test:Probe;1"))
        world.put(3, msgspec.structs.replace(broken(), device_id=None))  # nobody's
        runtime = world.runtime()
        await world.deliver_all(runtime)
        shards = [await world.restored(partition) for partition in world.partitions]
        assert [len(shard.twins) for shard in shards[2:]] == [0, 0]
        for number, twin_id in enumerate(ids):
            assert heard_of(shards[home_partition(twin_id, 2)], twin_id) == (number,)
        rows, _, _ = await operate(world, "dead-letter", "list")
        assert [row["id"] for row in rows] == sorted(shards[3].letters) != []
        assert all(balance(shard) >= len(world.events(shard.partition)) for shard in shards)


class TestChannels:
    """What was on its way between partitions went with the old hub."""

    async def never_folded(self, world: World) -> Runtime:
        """Let partition 0 forward an event that partition 1, which never folded any, does not get."""
        runtime = world.runtime()
        await runtime.deliver(0, world.put(0, telemetry(FAR, 1)))
        await runtime.tick(0)
        await runtime.deliver(0, world.events(0))
        recreate(world)
        await moved(world)
        return world.runtime()

    async def test_a_partition_that_never_folded_anything_can_be_rebased(self, world: World) -> None:
        """Nothing tells it from a new one, but that others number on."""
        runtime = await self.never_folded(world)
        assert (await moved(world, 1)).before is None
        world.put(0, telemetry(FAR, 2))
        await world.deliver_all(runtime)
        shard = await world.restored(1)
        assert (heard_of(shard, FAR), shard.totals["forwards_lost"]) == ((2,), 1)
        assert balance(shard) == len(world.events(1))

    async def test_one_that_a_hole_stops_goes_on_where_it_is_if_an_operator_says_so(self, world: World) -> None:
        """The error names the command; doing it again changes nothing."""
        runtime = await self.never_folded(world)
        await runtime.deliver(1, world.put(1, telemetry(FAR, 5)))
        await runtime.deliver(0, world.put(0, telemetry(FAR, 2)))
        with pytest.raises(PartitionStopped, match="partition rebase 1 --from 1"):
            await runtime.deliver(1, world.events(1))
        done = await moved(world, 1, 1)
        assert (done.is_nothing, done.lost, done.again, done.is_renumbered) == (False, 0, 0, False)
        assert (await moved(world, 1, 1)).is_nothing
        await world.deliver_all(runtime)
        shard = await world.restored(1)
        assert (heard_of(shard, FAR), shard.totals["forwards_lost"]) == ((5, 2), 1)
        assert balance(shard) == len(world.events(1))

    async def lose(self, world: World, *, was_heard: bool) -> Runtime:
        """Let partition 0 forward three events, of which partition 1 folds one or none, and the hub be made anew."""
        runtime = world.runtime()
        if was_heard:
            await runtime.deliver(0, world.put(0, telemetry(FAR, 1)))
            await world.deliver_all(runtime)
        else:
            await runtime.deliver(1, world.put(1, telemetry(FAR, 0)))
        await runtime.deliver(0, world.put(0, telemetry(FAR, 2), telemetry(FAR, 3)))
        await world.runtime().tick(0)
        await runtime.deliver(0, world.events(0))
        recreate(world)
        for partition in world.partitions:
            await moved(world, partition)
        return world.runtime()

    @pytest.mark.parametrize("was_heard", [True, False])
    async def test_the_next_forward_is_taken_and_the_missing_ones_are_counted(
        self, world: World, *, was_heard: bool
    ) -> None:
        """Once for each channel: the sender numbers on."""
        runtime = await self.lose(world, was_heard=was_heard)
        world.put(0, telemetry(FAR, 4), telemetry(FAR, 5))
        await world.deliver_all(runtime)
        shard = await world.restored(1)
        assert shard.totals["forwards_lost"] == 2
        assert heard_of(shard, FAR) == ((1, 4, 5) if was_heard else (0, 4, 5))
        assert 0 not in shard.open_channels
        assert same(shard, runtime.shard(1))

    async def test_a_hole_after_that_stops_again(self, world: World) -> None:
        """What is missing then was not taken by the old hub."""
        runtime = await self.lose(world, was_heard=True)
        world.put(0, telemetry(FAR, 4))
        await world.deliver_all(runtime)
        world.put(0, telemetry(FAR, 5), telemetry(FAR, 6))
        await runtime.deliver(0, world.events(0))
        sent = world.events(1)
        world.mailbox.partitions[1][-2] = msgspec.structs.replace(sent[-2], properties={KIND: Kind.TICK.value})
        with pytest.raises(PartitionStopped, match="events between them are missing"):
            await runtime.deliver(1, world.events(1))

    async def test_an_unbroken_channel_loses_nothing(self, world: World) -> None:
        """The next number is the next number."""
        runtime = world.runtime()
        world.put(0, telemetry(FAR, 1))
        await world.deliver_all(runtime)
        recreate(world)
        for partition in world.partitions:
            await moved(world, partition)
        world.put(0, telemetry(FAR, 2))
        runtime = world.runtime()
        await world.deliver_all(runtime)
        shard = await world.restored(1)
        assert heard_of(shard, FAR) == (1, 2)
        assert "forwards_lost" not in shard.totals


class TestTheSameHub:
    """Only an explicit word moves a partition, and what it skips or repeats is counted."""

    async def test_without_a_place_it_is_refused(self, world: World) -> None:
        """There is no reason to go anywhere."""
        await world.runtime().deliver(0, world.put(0, telemetry(NEAR, 1)))
        with pytest.raises(Rejected, match="--from"):
            await moved(world)

    @pytest.mark.parametrize("start", ["latest", 4])
    async def test_what_is_skipped_is_lost_in_sight(self, world: World, start: Start) -> None:
        """And a redelivery of it is a repeat, not another hub."""
        await world.runtime().deliver(0, world.put(0, telemetry(NEAR, 0)))
        batch = world.put(0, *(telemetry(NEAR, number) for number in range(1, 4)))
        done = await moved(world, start=start)
        assert (done.lost, done.again, done.is_renumbered) == (3, 0, False)
        runtime = world.runtime()
        await runtime.deliver(0, batch)
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 4)))
        assert world.heard(runtime, NEAR) == [0, 4]
        assert balance(await world.restored(0)) == 5

    async def test_going_back_folds_again(self, world: World) -> None:
        """What has a message id is told apart all the same."""
        await world.runtime().deliver(
            0, world.put(0, telemetry(NEAR, 1), telemetry(NEAR, 2, message_id="m"), telemetry(NEAR, 3))
        )
        done = await moved(world, start="earliest")
        assert (done.lost, done.again) == (0, 3)
        runtime = world.runtime()
        await runtime.deliver(0, world.events(0))
        assert world.heard(runtime, NEAR) == [1, 2, 3, 1, 3]

    async def test_to_where_it_stands_it_opens_channels_once(self, world: World) -> None:
        """An operator who is not sure asks twice: the second time writes nothing but the claim."""
        await world.runtime().deliver(0, world.put(0, telemetry(NEAR, 1)))
        first = await moved(world, start=1)
        assert (first.is_opened, first.lost, first.again, first.is_renumbered) == (True, 0, 0, False)
        done = await moved(world, start=1)
        assert done.is_nothing
        shard = await world.restored(0)
        assert (shard.totals["claims"], shard.totals.get("rebases")) == (3, 1)

    async def test_beyond_the_end_there_is_nothing(self, world: World) -> None:
        """A number from another partition, say."""
        await world.runtime().deliver(0, world.put(0, telemetry(NEAR, 1)))
        with pytest.raises(Rejected, match="beyond"):
            await moved(world, start=7)

    async def test_before_any_worker_there_is_nothing_to_move(self, world: World) -> None:
        """The number of partitions is not known."""
        with pytest.raises(Unavailable, match="no worker has started"):
            await moved(world, start="latest")


async def test_the_running_owner_is_fenced_and_goes_on_from_there(world: World) -> None:
    """Nothing that it had in hand is committed."""
    runtime = world.runtime()
    await runtime.deliver(0, world.put(0, telemetry(NEAR, 1)))
    batch = world.put(0, telemetry(NEAR, 2))
    await moved(world, start="latest")
    with pytest.raises(Fenced):
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 3)))
    await runtime.deliver(0, [*batch, *world.events(0, 2)])
    assert world.heard(runtime, NEAR) == [1, 3]


async def test_a_plan_writes_nothing(world: World) -> None:
    """It says what would be lost."""
    await world.runtime().deliver(0, world.put(0, telemetry(NEAR, 1)))
    world.put(0, telemetry(NEAR, 2))
    before = await world.journal.sizes("")
    to = await find(world.journal, world.mailbox, world.clock, 0, "latest")
    assert (await plan(world.journal, 0, to)).lost == 1
    assert await world.journal.sizes("") == before


@pytest.mark.parametrize("fault", Fault)
async def test_whatever_fails_it_is_done_or_not_and_may_be_done_again(fault: Fault) -> None:
    """For each call of the command in turn."""
    for at in range(1, 12):
        world = World(known=(NEAR, FAR))
        await world.deliver_all(world.runtime())
        await world.runtime().deliver(0, world.put(0, telemetry(NEAR, 1), telemetry(NEAR, 2)))
        recreate(world)
        if fault in {Fault.RIVAL_BEFORE, Fault.RIVAL_AFTER}:
            world.mailbox._hub = "mailbox@memory"  # a rival of the new hub would stop
        world.put(0, telemetry(NEAR, 3))
        ports = Fuse(world, {at: fault}).ports()
        clock = world.clock
        try:
            to = await find(ports.journal, ports.reader, clock, 0, "earliest")
            await rebase(ports.journal, clock, 0, to, "ada", "a test", "operator-1")
        except (TwinfoldError, Killed, asyncio.CancelledError):
            to = await find(world.journal, world.mailbox, clock, 0, 0)
            await rebase(world.journal, clock, 0, to, "ada", "again", "operator-2")
        runtime = world.runtime()
        await runtime.deliver(0, world.events(0))
        assert world.heard(runtime, NEAR)[:3] == [1, 2, 3], at
        assert same(await world.restored(0), runtime.shard(0))


async def test_the_command_says_first_what_it_would_do(world: World) -> None:
    """Then does it, for every partition that needs it; and again changes nothing."""
    for partition, twin_id in enumerate((NEAR, FAR)):
        await world.runtime().deliver(partition, world.put(partition, telemetry(twin_id, 1)))
    recreate(world)
    world.put(0, *(telemetry(NEAR, number) for number in range(2, 6)))
    world.mailbox.expire(0, 2)
    before = await world.journal.sizes("")
    rows, code, notes = await operate(world, "partition", "rebase", "--all")
    assert [(row["rebase"], row["lost"], row["next"]) for row in rows] == [("planned", 2, 2), ("planned", 0, 0)]
    assert (code, await world.journal.sizes("")) == (2, before)
    assert "--yes" in notes[0]
    rows, code, _ = await operate(world, "partition", "rebase", "--all", "--yes", "--reason", "made again")
    assert ([row["rebase"] for row in rows], code) == (["done", "done"], 0)
    runtime = world.runtime()
    await runtime.deliver(0, world.events(0, 2))
    assert world.heard(runtime, NEAR) == [1, 4, 5]
    rows, code, _ = await operate(world, "partition", "rebase", "--all", "--yes")
    assert ([row["rebase"] for row in rows], code) == (["not needed", "not needed"], 0)


@pytest.mark.parametrize("arguments", [(), ("0", "--all"), ("2",), ("--all", "--from", "7")])
async def test_the_command_wants_one_partition_or_all(world: World, arguments: tuple[str, ...]) -> None:
    """And a sequence number is of one."""
    await world.runtime().deliver(0, world.put(0, telemetry(NEAR, 1)))
    with pytest.raises(NotFound):
        await operate(world, "partition", "rebase", *arguments)


async def test_one_damaged_partition_does_not_keep_the_others(world: World) -> None:
    """It is named, and the exit code says so."""
    for partition, twin_id in enumerate((NEAR, FAR)):
        await world.runtime().deliver(partition, world.put(partition, telemetry(twin_id, 1)))
    recreate(world)
    world.journal._segments["segments/0/00000000-00000000"][-1] ^= 1
    rows, code, _ = await operate(world, "partition", "rebase", "--all", "--yes")
    assert ([row["rebase"] for row in rows], code) == (["failed", "done"], 1)


def test_the_command_line_reads_a_place() -> None:
    """A word or a number."""
    for text, start in (("latest", "latest"), ("earliest", "earliest"), ("17", 17)):
        assert parser().parse_args(["partition", "rebase", "3", "--from", text]).start == start
    with pytest.raises(SystemExit):
        parser().parse_args(["partition", "rebase", "3", "--from", "soon"])
