"""What kills the process: found by those it killed, given up in sight, and the partition goes on."""

import asyncio
import contextlib
import itertools
from argparse import Namespace
from collections.abc import Mapping
from typing import Any, cast

import msgspec
import pytest

from tests.twin_actors import kettle
from tests.twin_actors.faults import Fault, Fuse, Killed
from tests.twin_actors.kettle import kettles, reading, tick
from tests.twin_actors.test_io_faults import own, whole_journal
from tests.twin_actors.world import PROBE_TYPE, TYPES, World, balance, heard_of, same, telemetry, twin_at
from twin_actors.caution import CAREFUL_EVENTS, MOST_ATTEMPTS, SILENT_OWNERS, Caution
from twin_actors.commands.partition import sweep_again
from twin_actors.commit import Claim, Commit, Intent
from twin_actors.errors import TwinfoldError
from twin_actors.messages import LETTER, Event, Kind
from twin_actors.ownership import Owner
from twin_actors.runtime import Runtime
from twin_actors.shard import Shard
from twin_actors.snapshot import restore
from twin_actors.twin import TwinType

POISON = 666.0
NEAR, OTHER, FAR = twin_at(0), twin_at(0, number=1), twin_at(1)


def receive(state: Any, message: Any) -> Any:
    """Do as a probe does; die of one number."""
    if message.values.get("serial") == POISON:
        raise Killed
    return PROBE_TYPE.receive(state, message)


DEADLY: Mapping[str, TwinType[Any]] = {"probe": msgspec.structs.replace(PROBE_TYPE, receive=receive)}


class Worker:
    """A host that starts a new process whenever one dies."""

    def __init__(self, world: World, types: Mapping[str, TwinType[Any]]) -> None:
        self.deaths = 0
        self._world = world
        self._types = types
        self.runtime = world.runtime(types)

    async def deliver(self, partition: int, events: list[Event], patience: int = 12) -> Shard:
        """Deliver a batch until it is folded."""
        for _ in range(patience):
            try:
                await self.runtime.deliver(partition, events)
            except Killed:
                self.deaths += 1
                self.runtime = self._world.runtime(self._types)
            else:
                shard = self.runtime.shard(partition)
                assert shard is not None
                return shard
        raise AssertionError("the partition does not go on")


@pytest.fixture
def world() -> World:
    """Two partitions, three twins."""
    return World(known=(NEAR, OTHER, FAR))


class TestMessages:
    """A message that kills whoever folds it."""

    async def test_the_others_commit_and_it_is_a_dead_letter(self, world: World) -> None:
        """After three silent deaths and two under an intent."""
        world.put(0, telemetry(NEAR, 1), telemetry(OTHER, 2), telemetry(NEAR, POISON), telemetry(NEAR, 3))
        world.put(0, telemetry(OTHER, 4))
        worker = Worker(world, DEADLY)
        shard = await worker.deliver(0, world.events(0))
        assert worker.deaths == SILENT_OWNERS + MOST_ATTEMPTS
        assert shard.letters == {"0-2": "kills_process"}
        assert (heard_of(shard, NEAR), heard_of(shard, OTHER)) == ((1, 3), (2, 4))
        assert balance(shard) == 5
        assert same(await world.restored(0), shard)
        intents = [record for record in await whole_journal(world, 0) if isinstance(record, Intent)]
        assert [(one.subject, one.attempt) for one in intents] == [(0, 1), (1, 1), (2, 1), (2, 2), (3, 1), (4, 1)]

    async def test_it_is_folded_by_a_replay_once_the_code_is_mended(self, world: World) -> None:
        """Its body was kept."""
        world.put(0, telemetry(NEAR, 1), telemetry(NEAR, POISON))
        await Worker(world, DEADLY).deliver(0, world.events(0))
        world.put(0, own(Kind.REPLAY, {LETTER: "0-1"}))
        mended = world.runtime()
        await mended.deliver(0, world.events(0))
        shard = mended.shard(0)
        assert shard is not None
        assert (world.heard(mended, NEAR), shard.letters) == ([1, POISON], {})

    async def test_a_replay_that_kills_again_is_a_letter_again(self, world: World) -> None:
        """The old one is struck; nothing is lost."""
        worker = Worker(world, DEADLY)
        world.put(0, telemetry(NEAR, POISON))
        await worker.deliver(0, world.events(0))
        world.put(0, own(Kind.REPLAY, {LETTER: "0-0"}), telemetry(NEAR, 1))
        shard = await worker.deliver(0, world.events(0))
        assert shard.letters == {"0-1": "kills_process"}
        assert world.heard(worker.runtime, NEAR) == [1]
        world.put(0, own(Kind.REPLAY, {LETTER: "0-1"}))
        mended = world.runtime()
        await mended.deliver(0, world.events(0))
        assert world.heard(mended, NEAR) == [1, POISON]

    async def test_a_forwarded_one_leaves_no_hole_in_its_channel(self, world: World) -> None:
        """What is forwarded after it is folded."""
        worker = Worker(world, DEADLY)
        world.put(1, telemetry(NEAR, 1), telemetry(NEAR, POISON), telemetry(NEAR, 2))
        await worker.deliver(1, world.events(1))
        shard = await worker.deliver(0, world.events(0))
        assert list(shard.letters.values()) == ["kills_process"]
        assert heard_of(shard, NEAR) == (1, 2)

    async def test_other_partitions_and_later_batches_pay_nothing(self, world: World) -> None:
        """Once the batch that killed is past, a batch is one record again."""
        worker = Worker(world, DEADLY)
        world.put(0, telemetry(NEAR, POISON), *(telemetry(NEAR, 1) for _ in range(CAREFUL_EVENTS)))
        shard = await worker.deliver(0, world.events(0))
        assert shard.caution.events == 0
        before = len(await whole_journal(world, 0))
        batch = world.put(0, *(telemetry(NEAR, 2) for _ in range(10)))
        await worker.deliver(0, batch)
        assert len(await whole_journal(world, 0)) == before + 1

    async def test_two_poisons_in_a_batch(self, world: World) -> None:
        """The second is found while the shard is still careful."""
        world.put(0, telemetry(NEAR, POISON), telemetry(NEAR, 1), telemetry(OTHER, POISON), telemetry(OTHER, 2))
        worker = Worker(world, DEADLY)
        shard = await worker.deliver(0, world.events(0))
        assert worker.deaths == SILENT_OWNERS + 2 * MOST_ATTEMPTS
        assert shard.letters == {"0-0": "kills_process", "0-2": "kills_process"}

    @pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.UNANSWERED, Fault.CANCELLED, Fault.RIVAL_AFTER])
    async def test_a_process_that_lives_through_a_failure_accuses_nobody(self, fault: Fault) -> None:
        """Careful or not: whatever fails time and again, a message that kills nobody is folded."""
        for step in range(2, 10):
            world = World(known=(NEAR,))
            world.put(0, telemetry(NEAR, 1), telemetry(NEAR, 2))
            for epoch in range(SILENT_OWNERS + 1):
                await Owner.claim(world.journal, world.clock, await restore(world.journal, 0), f"dead{epoch}")
            assert (await world.restored(0)).caution.events == CAREFUL_EVENTS
            ports = Fuse(world, dict.fromkeys(range(step, 80, step), fault)).ports()
            names = itertools.count()
            runtime = Runtime(TYPES, ports, lambda names=names: f"process{next(names)}")
            for _ in range(60):
                with contextlib.suppress(TwinfoldError, asyncio.CancelledError):
                    await runtime.deliver(0, world.events(0))
                world.clock.passed += 2
            shard = await world.restored(0)
            assert (heard_of(shard, NEAR), shard.letters) == ((1, 2), {})


class TestSweeps:
    """A twin that kills whoever sweeps it."""

    async def test_it_is_left_out_in_sight_and_the_others_are_swept(self) -> None:
        """Its messages are folded as before."""

        def features(state: kettle.State) -> tuple[float, ...]:
            if state.scale == POISON:
                raise Killed
            return (state.scale,)

        types = {"kettle": msgspec.structs.replace(kettle.TYPE, features=features)}
        world = kettles(4)
        worker = Worker(world, types)
        scales = {1: 10.0, 2: POISON, 3: 20.0, 4: 30.0}
        world.put(0, *(reading(f"kettle-{one}", 0, temperature=20.0, scale=scale) for one, scale in scales.items()))
        await worker.deliver(0, world.events(0))
        for _ in range(SILENT_OWNERS + MOST_ATTEMPTS + 2):
            world.clock.passed += 15
            world.put(0, tick())
            await worker.deliver(0, world.events(0))
        shard = worker.runtime.shard(0)
        assert shard is not None
        assert worker.deaths == SILENT_OWNERS + MOST_ATTEMPTS
        assert shard.caution.left_out == ["kettle-2"]
        assert shard.totals["left_out"] == 1
        predicted = [twin.twin_id for twin in shard.twins.values() if twin.maintenance.prediction is not None]
        assert predicted == ["kettle-1", "kettle-3", "kettle-4"]
        assert (shard.caution.twins, shard.caution.sweepers) == (0, [shard.epoch])
        assert same(await world.restored(0), shard)
        world.put(0, reading("kettle-2", 200, temperature=30.0, scale=POISON))
        await worker.deliver(0, world.events(0))
        assert shard.twins["kettle-2"].reading_count == 2

        class Given:  # what the command is given, and nothing else
            clock = world.clock

            def journal(self) -> Any:
                return world.journal

        again = (await sweep_again(cast("Any", Given()), Namespace(partition=0))).rows
        assert [row["twin"] for row in again] == ["kettle-2"]
        mended = world.runtime(kettle.TYPES)
        world.put(0, tick())
        await mended.deliver(0, world.events(0))
        healed = mended.shard(0)
        assert healed is not None
        assert (healed.caution.left_out, healed.twins["kettle-2"].maintenance.prediction is not None) == ([], True)

    async def test_processes_that_end_between_ticks_blame_no_twin(self) -> None:
        """Nor does the shard become careful."""
        world = kettles(3)
        world.put(0, *(reading(f"kettle-{one}", 0, temperature=20.0, scale=1.0) for one in (1, 2, 3)))
        for _ in range(6):
            runtime = world.runtime(kettle.TYPES)
            for _ in range(2):
                world.put(0, tick())
                await runtime.deliver(0, world.events(0))
        shard = await world.restored(0)
        assert (shard.caution.twins, shard.caution.left_out) == (0, [])
        assert not [one for one in await whole_journal(world, 0) if isinstance(one, Intent)]


def test_who_lived_is_taken_off_every_list() -> None:
    """By its own next claim, whoever has claimed in between."""
    caution = Caution()
    for epoch in (1, 2):
        caution.claimed(Claim(f"a{epoch}", epoch, "a", 0))
        caution.intended(Intent(f"i{epoch}", epoch, 7, epoch))
        caution.intended(Intent(f"t{epoch}", epoch, "kettle-1", epoch))
    assert (caution.attempts(7), caution.attempts("kettle-1"), caution.attempts(8)) == (2, 2, 0)
    caution.claimed(Claim("a3", 3, "a", 0, survived=1))
    assert (caution.attempts(7), caution.attempts("kettle-1"), caution.silent) == (1, 1, [2, 3])


def test_only_what_was_tried_is_past() -> None:
    """A tick's record does not acquit a twin, nor a slice an event."""
    caution = Caution()
    caution.intended(Intent("a", 1, 7, 1))
    caution.intended(Intent("b", 1, "kettle-1", 1))
    draft = Commit(append_id="c", epoch=2, watermark=None)
    caution.committed(msgspec.structs.replace(draft, swept="kettle-1"), 0)
    assert (caution.attempts(7), caution.attempts("kettle-1")) == (1, 0)
    caution.intended(Intent("d", 2, "kettle-2", 1))
    caution.committed(draft, 1)
    assert (caution.attempts(7), caution.attempts("kettle-2")) == (0, 1)
