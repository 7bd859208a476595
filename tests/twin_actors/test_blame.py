"""Faults are held against whoever made them, seen where people look, and never swallow what is another's."""

import asyncio
from typing import Any, Never, cast

import msgspec
import pytest

from tests.twin_actors import kettle
from tests.twin_actors.faults import Killed
from tests.twin_actors.kettle import HOT, kettles, operations, reading, tick
from tests.twin_actors.operating import operate
from tests.twin_actors.test_first_contact import Away
from tests.twin_actors.test_io_faults import own, whole_journal
from tests.twin_actors.test_poison import DEADLY, POISON, Worker
from tests.twin_actors.test_stops import listed
from tests.twin_actors.world import (
    PROBE,
    PROBE_TYPE,
    START,
    TYPES,
    World,
    balance,
    heard_of,
    same,
    telemetry,
    twin_at,
)
from twin_actors.caution import MOST_ATTEMPTS
from twin_actors.commit import Claim, Commit, Intent
from twin_actors.documents import OperationStatus
from twin_actors.errors import PartitionStopped, TwinfoldError, Unanswered, Unavailable
from twin_actors.introduction import PATIENCE_SECONDS
from twin_actors.messages import LETTER, TimerDue
from twin_actors.messages import Kind as MessageKind
from twin_actors.ownership import Limits
from twin_actors.requests import MAX_TEXT_LENGTH, Deletion, EditRequest, submit
from twin_actors.runtime import Runtime
from twin_actors.stops import FIRST_PAUSE_SECONDS, LOOK_AGAIN_SECONDS
from twin_actors.twin import Source, Turn

ONE, OTHER = twin_at(0, 1), twin_at(0, 1, 1)


async def ask(world: World, twin_id: str = "kettle-1", place: str = "shed") -> None:
    """Let an app set the place of a kettle."""
    request = EditRequest(operation_id="op1", caller="ada", changes={"place": place}, requested=START)
    await submit(twin_id, request, world.documents, world.mailbox, 1)


async def operation(world: World) -> tuple[OperationStatus, str]:
    """Return what the app sees of it."""
    seen = (await operations(world))["op1"]
    return seen.status, seen.detail


HOT_ORDER = msgspec.structs.replace(HOT, orders_work=True, command="", for_seconds=0.0)
COLD_ORDER = msgspec.structs.replace(HOT_ORDER, name="cold", above=None, below=0.0, clears_at=5.0)
ORDERING = {"kettle": msgspec.structs.replace(kettle.TYPE, rules=(HOT_ORDER, COLD_ORDER), features=None)}


class TestRepair:
    """What comes after a repair is never taken for what the damage took."""

    async def hear(self, world: World, runtime: Runtime, at: float, temperature: float) -> None:
        """Deliver a reading, then what comes of it."""
        world.clock.passed, world.mailbox.time = at, START + at
        await runtime.deliver(0, [world.mailbox.append(0, reading("kettle-1", at, temperature=temperature))])
        await runtime.deliver(0, [world.mailbox.append(0, tick())])

    @pytest.mark.parametrize("is_known_before", [True, False])
    async def test_a_new_order_is_no_repeat_of_one_that_the_damage_took(self, *, is_known_before: bool) -> None:
        """Whether the twin itself was known before the damage or was first heard of in what is lost."""
        world = kettles(1)
        runtime = world.runtime(ORDERING)
        first = 20.0 if is_known_before else None
        if first is not None:
            await self.hear(world, runtime, 0, first)
        else:
            await runtime.deliver(0, [world.mailbox.append(0, tick())])
        sizes = {path: len(data) for path, data in world.journal._segments.items()}
        expired = len(world.events(0))
        await self.hear(world, runtime, 60, 95.0)
        assert [order.title for order in world.orders.orders.values()] == ["kettle-1: hot"]
        for path, size in sizes.items():
            world.journal._segments[path][size + 20] ^= 0xFF
        world.mailbox.expired[0] = expired + 2
        done, _, _ = await operate(world, "journal", "repair", "0", "--yes")
        assert done["repair"] == "done"
        runtime = world.runtime(ORDERING)
        await self.hear(world, runtime, 90_000, -10.0)
        assert [order.title for order in world.orders.orders.values()] == ["kettle-1: hot", "kettle-1: cold"]
        assert {(alert.rule, alert.alert_id) for alert in await kettle.alerts(world)} > {("hot", "hot-1")}
        assert len({alert.alert_id for alert in await kettle.alerts(world)}) == 2
        assert same(await world.restored(0), runtime.shard(0))

    async def test_a_repair_whose_own_record_is_lost_gives_no_number_twice(self) -> None:
        """The next repair goes back behind the first one, and begins an era of its own."""
        world = kettles(1)
        runtime = world.runtime(ORDERING)
        await self.hear(world, runtime, 0, 20.0)
        sizes = {path: len(data) for path, data in world.journal._segments.items()}
        before = dict(world.journal._objects)
        for at, temperature in ((60, 95.0), (90_000, -10.0), (180_000, 99.0)):
            await self.hear(world, runtime, at, temperature)
            world.mailbox.expired[0] = len(world.events(0))
            if at == 60:
                for path, size in sizes.items():
                    world.journal._segments[path][size + 20] ^= 0xFF
            for name in set(world.journal._objects):
                if name.startswith(("snapshots/", "manifests/")):  # what a repair publishes is lost as well
                    del world.journal._objects[name]
            world.journal._objects |= before
            done, _, _ = await operate(world, "journal", "repair", "0", "--yes")
            assert done["repair"] == "done"
            runtime = world.runtime(ORDERING)
        titles = [order.title for order in world.orders.orders.values()]
        assert titles == ["kettle-1: hot", "kettle-1: cold", "kettle-1: hot"]


async def test_a_new_order_is_no_repeat_of_one_of_a_deleted_twin() -> None:
    """The same id again, in its second life."""
    world = kettles(1)
    runtime = world.runtime(ORDERING)
    repair = TestRepair()
    await repair.hear(world, runtime, 0, 95.0)
    deletion = Deletion(operation_id="gone", caller="ada", requested=START)
    await submit("kettle-1", deletion, world.documents, world.mailbox, 1)
    await runtime.deliver(0, world.events(0))
    await runtime.deliver(0, [world.mailbox.append(0, tick())])
    assert "kettle-1" not in (await world.restored(0)).twins
    await repair.hear(world, runtime, 90_000, -10.0)
    assert [order.title for order in world.orders.orders.values()] == ["kettle-1: hot", "kettle-1: cold"]
    assert same(await world.restored(0), runtime.shard(0))


class TestUnreadableStates:
    """A state class that was changed and kept its version."""

    async def changed(self) -> tuple[World, Any]:
        """Return a world with a twin of the class as it was, and the type as it is."""
        world = World(1, known=(ONE, OTHER))
        runtime = world.runtime()
        world.put(0, telemetry(ONE, 1))
        await world.deliver_all(runtime)

        class Heard(msgspec.Struct, frozen=True):
            serials: tuple[str, ...] = ()
            doubled: float = 0.0

        def receive(state: Heard, message: Any) -> Turn[Heard]:
            return Turn(Heard((*state.serials, str(message.values["serial"])), 0.0))

        return world, {"probe": msgspec.structs.replace(cast("Any", PROBE_TYPE), state=Heard, receive=receive)}

    async def test_the_message_is_a_dead_letter_and_the_others_go_on(self) -> None:
        """Its twin stays as it was written, and the message is folded once the type is mended."""
        world, types = await self.changed()
        before = (await world.restored(0)).twins[ONE]
        world.put(0, telemetry(ONE, 2), telemetry(OTHER, 3))
        last = len(world.events(0)) - 2
        runtime = world.runtime(types)
        await runtime.deliver(0, world.events(0))
        shard = runtime.shard(0)
        assert shard is not None
        assert shard.letters == {f"0-{last}": "state_unreadable"}
        assert shard.twins[ONE] == before
        assert shard.twins[OTHER].reading_count == 1
        world = await self._mended(world, f"0-{last}")
        assert heard_of(await world.restored(0), ONE) == (1, 2)

    async def _mended(self, world: World, letter: str) -> World:
        world.put(0, own(MessageKind.REPLAY, {LETTER: letter}))
        await world.runtime().deliver(0, world.events(0))
        return world

    async def test_a_class_that_raises_at_what_stands_there_harms_its_twin_alone(self) -> None:
        """Whatever it raises: its message is a dead letter, and the graph shows the others."""
        world = World(1, known=(ONE, OTHER))
        world.graph = Away()
        world.put(0, telemetry(ONE, 7, model=PROBE), telemetry(OTHER, 1, model=PROBE))
        await world.runtime().deliver(0, world.events(0))
        world.graph.is_away = False

        class Strict(msgspec.Struct, frozen=True):
            serials: tuple[float, ...] = ()
            doubled: float = 0.0

            def __post_init__(self) -> None:
                if self.serials[:1] == (7.0,):
                    raise KeyError("seven")

        probe = msgspec.structs.replace(cast("Any", PROBE_TYPE), state=Strict)
        runtime = world.runtime({"probe": probe})
        world.put(0, telemetry(ONE, 2), telemetry(OTHER, 3))
        for _ in range(3):
            world.clock.passed += 10
            await runtime.deliver(0, world.events(0))
            world.put(0, tick())
        shard = runtime.shard(0)
        assert shard is not None
        assert shard.letters == {"0-2": "state_unreadable"}
        assert world.graph.twins[OTHER].properties["heard"] == 2
        assert same(await world.restored(0), shard)

    async def test_its_timers_wait_in_sight(self) -> None:
        """A sweep counts the failure and goes on."""
        world, types = await self.changed()
        shard = await world.restored(0)
        runtime = world.runtime()
        world.put(0, tick())
        await runtime.deliver(0, world.events(0))
        active = runtime._active[0]
        twin = msgspec.structs.replace(shard.twins[ONE], timers={"later": START})
        await active.commit(Commit(append_id="", epoch=0, watermark=active.shard.watermark, twins=[twin]))
        probe = msgspec.structs.replace(types["probe"], hears=frozenset({*PROBE_TYPE.hears, TimerDue}))
        runtime = world.runtime({"probe": probe})
        world.put(0, tick())
        await runtime.deliver(0, world.events(0))
        swept = runtime.shard(0)
        assert swept is not None
        assert (swept.twins[ONE].timers, swept.totals["sweeps_failed"]) == ({"later": START}, 1)


class TestUnforeseen:
    """An error of the app that nothing expects."""

    async def test_the_journal_grows_ever_more_slowly_and_it_is_seen(self) -> None:
        """Asked for every two seconds for ten minutes: a claim for each pause, each longer than the last."""
        world = World(1, known=(ONE,))
        world.put(0, telemetry(ONE, 1))

        class Odd:
            """A graph that raises what no port may."""

            async def read(self, _twin_id: str) -> Any:
                raise ZeroDivisionError("odd")

        sound, world.graph = world.graph, cast("Any", Odd())
        runtime = world.runtime()
        raised: list[str] = []
        for _ in range(300):
            try:
                await runtime.deliver(0, world.events(0))
            except (ZeroDivisionError, PartitionStopped) as error:
                raised.append(type(error).__name__)
            world.clock.passed += 2
        assert len(raised) == 300
        claims = [record for record in await whole_journal(world, 0) if isinstance(record, Claim)]
        # 5, 10, 20, 40 seconds, then a minute each: with tries every 2 s that is about 4 + (600 - 75) / 60.
        assert len(claims) == raised.count("ZeroDivisionError") == 13
        assert "ZeroDivisionError: odd" in await listed(world, 0)
        world.graph = sound
        world.clock.passed += LOOK_AGAIN_SECONDS
        runtime._ports = world.ports()
        await runtime.deliver(0, world.events(0))
        assert heard_of(await world.restored(0), ONE) == (1,)
        assert await listed(world, 0) is None
        runtime._active.clear()
        await runtime._stops.note_unforeseen(0, ZeroDivisionError("odd"))
        world.clock.passed += FIRST_PAUSE_SECONDS
        await runtime.deliver(0, world.events(0))  # the pauses begin anew once it has gone on


class Unheard:
    """A journal that takes claims, does not answer, and is not read for a while after."""

    def __init__(self, journal: Any) -> None:
        self.is_mute = True
        self._is_unread = False
        self._journal = journal

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._journal, name)

        async def call(*arguments: Any) -> Any:
            if self._is_unread and name == "read_segment":
                self._is_unread = False
                raise Unavailable(name)
            answer = await method(*arguments)
            if self.is_mute and name == "append":
                self._is_unread = True
                raise Unanswered(name)
            return answer

        return call

    def recover(self) -> None:
        """Let it be read again."""
        self._is_unread = False


async def test_a_process_whose_claims_are_not_answered_accuses_nobody() -> None:
    """They stand, and each next one says that the process lives."""
    world = World(1, known=(ONE,))
    journal = Unheard(world.journal)
    ports = msgspec.structs.replace(world.ports(), journal=cast("Any", journal))
    runtime = Runtime(TYPES, ports, lambda: f"owner{next(world._ids)}")
    world.put(0, telemetry(ONE, 1), telemetry(ONE, 2))
    for _ in range(6):
        with pytest.raises(TwinfoldError):
            await runtime.deliver(0, world.events(0))
        journal.recover()
        world.clock.passed += 2
    journal.is_mute = False
    await runtime.deliver(0, world.events(0))
    records = await whole_journal(world, 0)
    assert [type(record) for record in records] == [*[Claim] * 7, Commit]
    assert heard_of(await world.restored(0), ONE) == (1, 2)


class Beaten:
    """A journal in which another process claims just before this one, and dies of what it folds."""

    def __init__(self, world: World) -> None:
        self.is_beaten = False
        self._world = world

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._world.journal, name)

        async def call(*arguments: Any) -> Any:
            if name == "append" and not self.is_beaten:
                self.is_beaten = True
                with pytest.raises(Killed):
                    await self._world.runtime(DEADLY).deliver(0, self._world.events(0))
            return await method(*arguments)

        return call


async def test_the_death_of_another_process_is_not_forgiven() -> None:
    """The epoch that it took was tried by one that lives, too."""
    world = World(1, known=(ONE,))
    world.put(0, telemetry(ONE, POISON))
    ports = msgspec.structs.replace(world.ports(), journal=cast("Any", Beaten(world)))
    with pytest.raises(Killed):
        await Runtime(DEADLY, ports, lambda: f"owner{next(world._ids)}").deliver(0, world.events(0))
    claims = [record for record in await whole_journal(world, 0) if isinstance(record, Claim)]
    assert [(one.epoch, one.survived) for one in claims] == [(1, 0), (2, 0)]
    assert (await world.restored(0)).caution.silent == [1, 2]


async def test_a_careful_delivery_waits_for_the_graph_once() -> None:
    """Not once for each of its messages."""
    world = World(1)
    world.graph = Away()
    strangers = [twin_at(0, 1, number) for number in range(2, 42)]
    world.put(0, telemetry(ONE, POISON, model=PROBE), *(telemetry(stranger, 1) for stranger in strangers))
    worker = Worker(world, DEADLY)
    shard = await worker.deliver(0, world.events(0))
    assert (balance(shard), worker.deaths) == (41, 5)
    assert world.clock.passed < PATIENCE_SECONDS * (worker.deaths + 2)


class Slow:
    """A journal that answers one partition some turns of the loop later than the other."""

    def __init__(self, journal: Any, turns: int) -> None:
        self._journal = journal
        self._turns = turns
        self.is_dead = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._journal, name)

        async def call(*arguments: Any) -> Any:
            for _ in range(self._turns if name == "append" and "/1" in arguments[0] else 0):
                await asyncio.sleep(0)
            if self.is_dead:
                raise Killed
            return await method(*arguments)

        return call


def deadly(journal: Slow) -> dict[str, Any]:
    """Return a twin type that dies of one number, and takes the journal's answers along."""

    def receive(state: Any, message: Any) -> Any:
        journal.is_dead = message.values.get("serial") == POISON
        return DEADLY["probe"].receive(state, message)

    return {"probe": msgspec.structs.replace(DEADLY["probe"], receive=receive)}


async def test_a_poison_condemns_nothing_of_a_neighbour_in_the_process() -> None:
    """Both partitions die together time and again, whatever the order in which storage answers them."""
    near, far = twin_at(0), twin_at(1)
    for lead in range(24):
        world = World(known=(near, far))
        world.put(0, telemetry(near, POISON))
        world.put(1, telemetry(far, 1), telemetry(far, 2))

        is_over = False
        for _ in range(12):
            journal = Slow(world.journal, lead)
            ports = msgspec.structs.replace(world.ports(), journal=cast("Any", journal))
            runtime = Runtime(deadly(journal), ports, lambda world=world: f"owner{next(world._ids)}")
            tasks = [asyncio.ensure_future(runtime.deliver(one, world.events(one))) for one in world.partitions]
            done, alive = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            is_over = not any(isinstance(task.exception(), Killed) for task in done)
            for task in alive:
                task.cancel()
            await asyncio.gather(*alive, return_exceptions=True)
            if is_over:
                break
        assert is_over
        assert (await world.restored(0)).letters == {"0-0": "kills_process"}
        shard = await world.restored(1)
        assert (shard.letters, heard_of(shard, far)) == ({}, (1, 2)), lead


class Raising(dict[str, tuple[Source, ...]]):
    """What a twin type declares, and what raises as soon as a property is looked up in it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def get(self, _name: str, _default: object = None) -> Never:
        """Raise it."""
        raise self.error


class TestRequests:
    """Whoever asked is told, whatever keeps the request from its twin."""

    async def heard(self) -> World:
        """Return a world with a kettle that has been heard of."""
        world = kettles(1)
        world.mailbox.time = START
        await world.runtime(kettle.TYPES).deliver(
            0, [world.mailbox.append(0, reading("kettle-1", 0, temperature=20.0))]
        )
        return world

    async def test_one_that_kills_the_process(self) -> None:
        """It is given up, and says so."""
        world = await self.heard()

        await ask(world)
        types = {"kettle": msgspec.structs.replace(kettle.TYPE, priority=Raising(Killed()))}
        shard = await Worker(world, types).deliver(0, world.events(0))
        assert list(shard.letters.values()) == ["kills_process"]
        status, detail = await operation(world)
        assert status is OperationStatus.REFUSED
        assert "kills_process" in detail
        assert "replay" in detail
        assert len([record for record in await whole_journal(world, 0) if isinstance(record, Intent)]) == MOST_ATTEMPTS

    async def test_one_that_the_type_raises_at_and_is_replayed(self) -> None:
        """The dead letter and what the app sees say the same; replayed, it is done."""
        world = await self.heard()

        await ask(world)
        fault = Raising(ValueError("no\udcff"))
        runtime = world.runtime({"kettle": msgspec.structs.replace(kettle.TYPE, priority=fault)})
        await runtime.deliver(0, world.events(0))
        status, detail = await operation(world)
        assert status is OperationStatus.REFUSED
        assert detail.startswith("turn_failed: kettle raised ValueError: no?")
        (letter,) = (await world.restored(0)).letters
        world.put(0, own(MessageKind.REPLAY, {LETTER: letter}))
        await world.runtime(kettle.TYPES).deliver(0, world.events(0))
        assert (await operation(world))[0] is OperationStatus.PERSISTED

    async def test_one_too_large_for_a_record(self) -> None:
        """What comes of it fits no append."""
        world = await self.heard()
        await ask(world, place="x" * MAX_TEXT_LENGTH)  # three times in what would be done, twice in what is refused
        runtime = world.runtime(kettle.TYPES, limits=Limits(frame_bytes=11_000))
        await runtime.deliver(0, world.events(0))
        assert list((await world.restored(0)).letters.values()) == ["record_too_large"]
        assert (await operation(world))[0] is OperationStatus.REFUSED

    async def test_one_for_an_unknown_twin_while_the_graph_is_away(self) -> None:
        """It is not kept, and nobody is told that it were."""
        world = kettles(1)
        world.graph = Away()
        await ask(world, "kettle-9")
        await world.runtime(kettle.TYPES).deliver(0, world.events(0))
        status, detail = await operation(world)
        assert status is OperationStatus.REFUSED
        assert "a request is to be made anew" in detail
        assert (await world.restored(0)).letters == {}
