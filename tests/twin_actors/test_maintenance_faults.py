"""Every I/O call of the maintenance loop fails, in every way: one alert, one order, one command, whatever happens.

The scenario has all that the loop does: predictions, alerts raised, acknowledged and cleared, a work order and its
revision, commands by rule and by hand, a device that is away, an operator's edit, restarts.
"""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from tests.budget import Budget
from tests.twin_actors.faults import Fault, Fuse, Killed
from tests.twin_actors.kettle import TYPES, alerts, asked, documents, kettles, operations, reading, tick, work_orders
from tests.twin_actors.world import START, World, balance, same
from twin_actors.documents import Collection, OperationStatus, Priority
from twin_actors.errors import TwinfoldError
from twin_actors.messages import Event
from twin_actors.ownership import Limits
from twin_actors.requests import Acknowledgement, CommandRequest, EditRequest
from twin_actors.runtime import Runtime
from twin_actors.twin import TwinType

LIMITS = Limits(segment_records=5, snapshot_bytes=4000)
NEAR, AWAY = "kettle-1", "kettle-2"
ENDS = {OperationStatus.ANSWERED, OperationStatus.DELIVERED, OperationStatus.PERSISTED}


class Host:
    """What Azure Functions does: a batch that fails comes again, in the same process or in a new one."""

    def __init__(self, world: World, fuse: Fuse, types: Mapping[str, TwinType[Any]] = TYPES) -> None:
        self._world = world
        self._fuse = fuse
        self._types = types
        self._done = 0
        self._owners = itertools.count()
        self._runtime: Runtime | None = None
        self.start()

    def start(self) -> None:
        """Start a process, after the end of the one before."""
        if self._runtime is not None:
            for active in self._runtime._active.values():  # the end of a process asks nobody
                active.dispatch.abandon()
        self._runtime = Runtime(self._types, self._fuse.ports(), lambda: f"process{next(self._owners)}", LIMITS)

    async def hear(self, at: float, *events: Event) -> None:
        """Let time pass, put events into the mailbox, deliver them until they are folded."""
        world = self._world
        world.clock.passed = max(world.clock.passed, at)
        world.mailbox.time = max(world.mailbox.time, START + at)
        world.put(0, *events)
        batch = world.events(0, self._done)
        for _ in range(8):
            assert self._runtime is not None
            try:
                await self._runtime.deliver(0, batch)
            except Killed:
                self.start()
            except (TwinfoldError, asyncio.CancelledError):
                pass
            else:
                await self._runtime.settle()
                if self._fuse.is_killed:
                    self._fuse.is_killed = False
                    self.start()
                self._done += len(batch)
                return
            self._fuse.is_killed = False
            world.clock.passed += 0.5
        raise AssertionError("one fault stops the partition for good")


async def scenario(host: Host) -> None:
    """Play the scenario."""
    ring = CommandRequest(
        operation_id="ring-1", caller="ann", name="ring", request=None, requested=START, expires=START + 3600.0
    )
    seen = Acknowledgement(operation_id="seen-1", caller="ann", alert_id="hot-1", requested=START + 7)
    edit = EditRequest(operation_id="edit-1", caller="ann", changes={"place": "cellar"}, requested=START + 8)
    await host.hear(0, reading(NEAR, 0, temperature=95.0), reading(AWAY, 0, temperature=95.0))
    await host.hear(6, reading(NEAR, 6, temperature=95.0), reading(AWAY, 6, temperature=95.0))
    await host.hear(8, asked(NEAR, ring), asked(NEAR, seen), asked(NEAR, edit), asked(NEAR, ring))
    await host.hear(12, reading(NEAR, 12, temperature=50.0, scale=75.0), tick())
    host.start()
    await host.hear(30, reading(NEAR, 30, temperature=50.0, scale=76.0), tick())
    await host.hear(45, reading(NEAR, 45, temperature=50.0, scale=95.0), tick())
    await host.hear(60, reading(NEAR, 60, temperature=50.0, scale=96.0), tick())


def new_world() -> World:
    """One kettle that is connected, one that is away."""
    world = kettles(1)
    assert world.devices.connected == {NEAR}
    return world


async def calls() -> list[str]:
    """Return the I/O calls of the scenario without a fault."""
    world = new_world()
    fuse = Fuse(world, {}, TYPES)
    await scenario(Host(world, fuse))
    return fuse.calls


CALLS = asyncio.run(calls())


def test_the_scenario_has_every_kind_of_call() -> None:
    """A sweep over calls that are not made would prove nothing."""
    assert {"invoke", "set_desired", "put", "place", "append", "patch"} <= set(CALLS)
    assert CALLS.count("place") == 2


async def play(faults: Mapping[int, Fault]) -> None:
    """Play the scenario with faults, and check the promises."""
    world = new_world()
    fuse = Fuse(world, faults, TYPES)
    try:
        await scenario(Host(world, fuse))
        await check(world, may_expire=Fault.SLOW in faults.values())
    except BaseException as error:
        error.add_note(f"faults: {faults}, calls: {list(enumerate(fuse.calls, 1))}")
        raise


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.PARTLY])
async def test_no_single_fault_breaks_a_promise(fault: Fault) -> None:
    """For each call in turn."""
    for at in range(1, len(CALLS) + 1):
        await play({at: fault})


async def test_no_two_faults_break_a_promise() -> None:
    """A sample of all pairs, the second soon after the first."""
    await play_pairs(42, 400)


@pytest.mark.proof
@pytest.mark.timeout(1800)
async def test_no_two_faults_of_many_break_a_promise(budget: Budget) -> None:
    """Another sample with each seed."""

    async def play_some(seed: int) -> Counter[str]:
        await play_pairs(seed, 400)
        return Counter(pairs=400)

    await budget.spend(play_some)


async def play_pairs(seed: int, count: int) -> None:
    """Play pairs of faults."""
    seeded = random.Random(seed)
    for _ in range(count):
        first = seeded.randint(1, len(CALLS))
        await play({first: seeded.choice(list(Fault)), first + seeded.randint(1, 8): seeded.choice(list(Fault))})


async def check(world: World, *, may_expire: bool) -> None:
    """Let a fresh process finish what is owed, and check all that is promised."""
    runtime = world.runtime(TYPES, limits=LIMITS)
    for _ in range(8):
        world.clock.passed += 15
        world.mailbox.time = max(world.mailbox.time, world.clock.now())
        world.put(0, tick())
        await runtime.deliver(0, world.events(0))
        await runtime.settle()
    shard = runtime.shard(0)
    assert shard is not None
    assert shard.outbox == {}
    assert balance(shard) == len(world.mailbox.partitions[0])
    assert same(await world.restored(0), shard)
    await check_documents(world, may_expire=may_expire)
    check_orders(world)
    check_commands(world)
    near = world.graph.twins[NEAR].properties
    assert (near["maintenancePriority"], near["place"]) == (Priority.CRITICAL, "cellar")
    assert near["activeAlerts"] == sum(1 for alert in await alerts(world, NEAR) if alert.cleared is None)


async def check_documents(world: World, *, may_expire: bool) -> None:
    """What apps see is what became of it."""
    raised = Counter((alert.rule, alert.cleared is None) for alert in await alerts(world, NEAR))
    assert raised == {("hot", False): 1, ("failure-foreseen", True): 1, ("failure-near", True): 1}
    (hot,) = [alert for alert in await alerts(world, NEAR) if alert.rule == "hot"]
    assert hot.acknowledged_by == "ann"
    mine = await operations(world, NEAR)
    assert sorted(mine) == ["auto-hot-2", "edit-1", "ring-1", "seen-1"]
    ends = ENDS | ({OperationStatus.EXPIRED} if may_expire else set())
    assert {one.status for one in mine.values()} <= ends
    assert mine["ring-1"].status is OperationStatus.ANSWERED
    (away,) = (await operations(world, AWAY)).values()
    assert away.status in {OperationStatus.DELIVERED, *({OperationStatus.EXPIRED} if may_expire else ())}
    (order,) = await work_orders(world)
    assert order.priority == "critical"
    (document,) = await documents(world, Collection.WORK_ORDERS)
    assert document.status == "placed"


def check_orders(world: World) -> None:
    """One need, its revisions one after the other, each the same order however often it was placed."""
    orders = list(world.orders.orders.values())
    assert len({order.order_id for order in orders}) == 1
    assert [order.revision for order in orders] == list(range(1, len(orders) + 1))
    assert orders[-1].priority == "critical"


def check_commands(world: World) -> None:
    """A repeat is the same command, byte for byte, and nothing reaches a device after it expired."""
    by_id: dict[str, set[bytes]] = {}
    for sent in world.devices.invoked:
        assert sent.twin_id == NEAR
        by_id.setdefault(sent.operation_id, set()).add(msgspec.msgpack.encode(sent))
    assert all(len(forms) == 1 for forms in by_id.values())
    assert set(by_id) <= {"auto-hot-2", "ring-1"}
    assert "ring-1" in by_id
