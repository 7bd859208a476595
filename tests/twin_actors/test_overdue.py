"""From silence to alert, from alert to order: what time alone brings, through the whole runtime in memory."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from tests.twin_actors.faults import Fault, Fuse
from tests.twin_actors.kettle import (
    HOT,
    ONE,
    TYPE,
    alerts,
    asked,
    documents,
    hear,
    kettles,
    reading,
    tick,
    work_orders,
)
from tests.twin_actors.test_maintenance_faults import Host
from tests.twin_actors.test_rule_histories import shown
from tests.twin_actors.world import START, World, same
from twin_actors.commit import Commit, Twin
from twin_actors.documents import Collection, Priority, Severity
from twin_actors.maintenance import Watch
from twin_actors.requests import Acknowledgement
from twin_actors.runtime import Runtime
from twin_actors.sweep import sweep
from twin_actors.turn import new_twin
from twin_actors.twin import CONNECTION, Escalation, Rule, TwinType

SENT = Escalation(after_seconds=600.0, severity=Severity.CRITICAL, priority=Priority.CRITICAL, orders_work=True)
REMINDED = Escalation(after_seconds=60.0, severity=Severity.WARNING, priority=Priority.HIGH)
UNHEEDED = replace(HOT, command="", escalations=(REMINDED, SENT))
SILENT = Rule(name="silent", signal=CONNECTION, absent_for=120.0, only_while="isHot", text="Not a word.")
NO_SCALE = Rule(name="no-scale", signal="scale", absent_for=60.0, text="The gauge says nothing.")
WATCHFUL: TwinType[Any] = replace(
    TYPE, rules=(UNHEEDED, SILENT, NO_SCALE), commands=(), features=None, properties=shown
)
TYPES = {"kettle": WATCHFUL}


@pytest.fixture
def world() -> World:
    """One kettle, connected."""
    return kettles()


@pytest.fixture
def runtime(world: World) -> Runtime:
    """A process."""
    return world.runtime(TYPES)


def seen(alert_id: str) -> Acknowledgement:
    """Somebody has seen an alert."""
    return Acknowledgement(operation_id=f"seen-{alert_id}", caller="ann", alert_id=alert_id, requested=START + 9)


async def overheat(world: World, runtime: Runtime) -> None:
    """Raise the alert on heat, five seconds after the start."""
    for at in (0, 5):
        await hear(world, runtime, reading(ONE, at, temperature=95.0), at=at)


class TestSilence:
    """Absence of data is told, once, and ends with the next word."""

    async def test_a_device_falls_silent_and_is_heard_again(self, world: World, runtime: Runtime) -> None:
        """By the cloud's clock, whatever the device's says; the next silence is another alert."""
        await hear(world, runtime, reading(ONE, -200.0, temperature=60.0))
        await hear(world, runtime, tick(), at=119)
        assert await alerts(world) == []
        await hear(world, runtime, tick(), at=130)
        (alert,) = await alerts(world)
        assert (alert.rule, alert.cleared, alert.reason.signal, alert.reason.limit) == ("silent", None, CONNECTION, 120)
        assert alert.raised.timestamp() == pytest.approx(START + 130, abs=0.01)
        assert alert.reason.since.timestamp() == pytest.approx(START, abs=0.01)
        assert world.graph.twins[ONE].properties["activeAlerts"] == 1
        await hear(world, runtime, reading(ONE, -100.0, temperature=60.0), at=140)
        (alert,) = await alerts(world)
        assert alert.cleared is not None
        assert alert.cleared.timestamp() == pytest.approx(START + 140, abs=0.01)
        await hear(world, runtime, tick(), at=270)
        assert [one.cleared is None for one in await alerts(world)] == [False, True]

    async def test_one_that_may_be_silent(self, world: World, runtime: Runtime) -> None:
        """It was cold when it was heard last."""
        await hear(world, runtime, reading(ONE, 0, temperature=20.0))
        await hear(world, runtime, tick(), at=1000)
        assert await alerts(world) == []

    async def test_even_what_comes_late_breaks_a_silence(self, world: World, runtime: Runtime) -> None:
        """The device is there again, though what it says is old."""
        await hear(world, runtime, reading(ONE, 0, temperature=60.0))
        await hear(world, runtime, tick(), at=130)
        await hear(world, runtime, reading(ONE, -50, temperature=60.0), at=140)
        assert [one.cleared is None for one in await alerts(world)] == [False]

    async def test_a_channel_falls_silent_while_others_go_on(self, world: World) -> None:
        """Values that cannot be used do not count, and work is ordered until it is heard again."""
        runtime = world.runtime({"kettle": replace(WATCHFUL, rules=(replace(NO_SCALE, orders_work=True),))})
        await hear(world, runtime, reading(ONE, 0, temperature=20.0, scale=1.0))
        for at in range(10, 100, 10):
            await hear(world, runtime, reading(ONE, at, temperature=20.0, scale=-1.0), tick(), at=at)
        (alert,) = await alerts(world)
        assert (alert.rule, alert.reason.signal) == ("no-scale", "scale")
        assert alert.reason.since.timestamp() == pytest.approx(START, abs=0.01)
        assert alert.raised.timestamp() == pytest.approx(START + 60, abs=0.01)
        assert len(await work_orders(world)) == 1
        await hear(world, runtime, reading(ONE, 100, temperature=20.0, scale=1.0), at=100)
        assert [one.cleared is None for one in await alerts(world)] == [False]
        shard = runtime.shard(0)
        assert shard is not None
        assert shard.twins[ONE].maintenance.order is None

    async def test_what_never_was_is_not_missed(self, world: World, runtime: Runtime) -> None:
        """A channel that the device never had."""
        await hear(world, runtime, reading(ONE, 0, temperature=20.0))
        await hear(world, runtime, reading(ONE, 100, temperature=20.0), tick(), at=100)
        assert await alerts(world) == []

    async def test_ticks_that_lag_behind_readings_find_no_silence(self, world: World, runtime: Runtime) -> None:
        """A tick that was sent before the reading, and is swept after it."""
        await hear(world, runtime, reading(ONE, 0, temperature=60.0))
        await hear(world, runtime, tick(), reading(ONE, 200, temperature=60.0), at=200)
        assert await alerts(world) == []


class TestEscalation:
    """An alert that nobody heeds becomes more urgent, once a step."""

    async def test_step_by_step(self, world: World, runtime: Runtime) -> None:
        """The same alert, in new versions; a work order at the last step; doubled ticks do nothing."""
        await overheat(world, runtime)
        await hear(world, runtime, tick(), at=64)
        assert [(one.severity, one.escalations) for one in await alerts(world)] == [(Severity.WARNING, 0)]
        for at in (66, 66, 81):
            await hear(world, runtime, tick(), tick(), at=at)
        (alert,) = await alerts(world)
        assert (alert.alert_id, alert.severity, alert.escalations) == ("hot-1", Severity.WARNING, 1)
        assert alert.escalated is not None
        assert alert.escalated.timestamp() == pytest.approx(START + 66, abs=0.01)
        assert world.graph.twins[ONE].properties["maintenancePriority"] == Priority.HIGH
        assert await work_orders(world) == []
        for at in (604, 606, 620):
            await hear(world, runtime, reading(ONE, at, temperature=95.0), tick(), at=at)
        (alert,) = await alerts(world)
        assert (alert.alert_id, alert.severity, alert.escalations) == ("hot-1", Severity.CRITICAL, 2)
        (order,) = await work_orders(world)
        assert (order.priority, order.revision, order.alerts, order.text) == ("critical", 1, ["hot-1"], HOT.text)
        assert world.graph.twins[ONE].properties["maintenancePriority"] == Priority.CRITICAL

    async def test_steps_that_come_due_at_once(self, world: World, runtime: Runtime) -> None:
        """No tick came for an hour: both are taken, and the alert ends as the last says."""
        await overheat(world, runtime)
        await hear(world, runtime, tick(), at=3600)
        (alert,) = [one for one in await alerts(world) if one.rule == "hot"]
        assert (alert.severity, alert.escalations) == (Severity.CRITICAL, 2)

    async def test_an_acknowledgement_stops_it(self, world: World, runtime: Runtime) -> None:
        """At the step it has reached."""
        await overheat(world, runtime)
        await hear(world, runtime, tick(), at=70)
        await hear(world, runtime, asked(ONE, seen("hot-1")), tick(), at=3600)
        (alert,) = [one for one in await alerts(world) if one.rule == "hot"]
        assert (alert.escalations, alert.acknowledged_by) == (1, "ann")

    async def test_one_that_must_be_ended_goes_on(self, world: World) -> None:
        """Being seen is not being repaired."""
        stubborn = replace(WATCHFUL, rules=(replace(UNHEEDED, escalates_until_cleared=True),))
        runtime = world.runtime({"kettle": stubborn})
        await overheat(world, runtime)
        await hear(world, runtime, asked(ONE, seen("hot-1")), tick(), at=3600)
        (alert,) = await alerts(world)
        assert (alert.escalations, alert.acknowledged_by) == (2, "ann")
        await hear(world, runtime, reading(ONE, 3601, temperature=20.0), at=3601)
        shard = runtime.shard(0)
        assert shard is not None
        assert (shard.twins[ONE].maintenance.watches, shard.twins[ONE].maintenance.order) == ({}, None)

    async def test_an_owner_that_dies_in_between(self, world: World, runtime: Runtime) -> None:
        """Each step is another process: the clock of the alert does not begin anew."""
        await overheat(world, runtime)
        for at in (70, 590, 606, 607):
            runtime = world.runtime(TYPES)
            await hear(world, runtime, tick(), at=at)
        (alert,) = [one for one in await alerts(world) if one.rule == "hot"]
        assert alert.escalations == 2
        assert alert.escalated is not None
        assert alert.escalated.timestamp() == pytest.approx(START + 606, abs=0.01)
        assert len(world.orders.orders) == 1

    async def test_people_had_no_time_before_the_cloud_heard_of_it(self, world: World, runtime: Runtime) -> None:
        """What a device kept for an hour escalates from when it was told."""
        rows = [reading(ONE, at, temperature=95.0) for at in (0, 5)]
        await hear(world, runtime, *rows, tick(), at=3600)
        (alert,) = [one for one in await alerts(world) if one.rule == "hot"]
        assert (alert.raised.timestamp(), alert.escalations) == (START + 5, 0)
        await hear(world, runtime, tick(), at=3661)
        (alert,) = [one for one in await alerts(world) if one.rule == "hot"]
        assert alert.escalations == 1

    async def test_rows_that_were_taken_away(self, world: World, runtime: Runtime) -> None:
        """A new version of the type has fewer steps, then no such rule: what was raised ends."""
        await overheat(world, runtime)
        await hear(world, runtime, tick(), at=3600)
        fewer = world.runtime({"kettle": replace(WATCHFUL, rules=(replace(UNHEEDED, escalations=(REMINDED,)),))})
        await hear(world, fewer, reading(ONE, 3700, temperature=95.0), tick(), at=3700)
        assert world.graph.twins[ONE].properties["maintenancePriority"] == Priority.HIGH
        none = world.runtime({"kettle": replace(WATCHFUL, rules=())})
        await hear(world, none, reading(ONE, 3701, temperature=95.0), at=3701)
        assert {one.cleared is None for one in await alerts(world)} == {False}


def test_a_sweep_that_is_cut_short_takes_each_twin_once() -> None:
    """Whoever goes on, and at whatever time."""
    shard = asyncio.run(_fleet())
    taken: list[str] = []
    for now in (200.0, 215.0, 230.0, 245.0):
        part = sweep(shard, TYPES, lambda _name: None, START + now, most_bytes=1)
        taken += [twin.twin_id for twin in part.twins]
        shard.apply(Commit(append_id="", epoch=1, watermark=shard.watermark, twins=part.twins, swept=part.swept))
    rest = sweep(shard, TYPES, lambda _name: None, START + 250.0)
    assert (taken, rest.twins) == (["kettle-1", "kettle-2", "kettle-3"], [])
    assert {twin.maintenance.alerts[0].rule for twin in shard.twins.values()} == {"silent"}


async def _fleet() -> Any:
    world = kettles(3)
    runtime = world.runtime(TYPES)
    await hear(world, runtime, *(reading(f"kettle-{number}", 0, temperature=60.0) for number in (1, 2, 3)))
    return await world.restored(0)


def test_an_alert_of_an_older_app_escalates_by_its_own_time() -> None:
    """Format 1 did not say when the cloud heard of it."""
    twin = asyncio.run(_hot())
    old = Watch(START, next(iter(twin.maintenance.watches.values())).alert)
    before = replace(twin, maintenance=replace(twin.maintenance, watches={"hot": old}))
    shard = asyncio.run(kettles().restored(0))
    shard.hot[ONE] = before
    (after,) = sweep(shard, TYPES, lambda _name: None, START + 66.0).twins
    assert after.maintenance.watches["hot"].steps == 1


async def _hot() -> Twin:
    world = kettles()
    runtime = world.runtime(TYPES)
    await overheat(world, runtime)
    shard = runtime.shard(0)
    assert shard is not None
    return shard.twins[ONE]


def test_a_device_that_was_never_heard_is_not_silent() -> None:
    """Its twin was made by what an app asked."""
    shard = asyncio.run(kettles().restored(0))
    shard.hot[ONE] = new_twin(ONE, replace(WATCHFUL, rules=(replace(SILENT, only_while=""),)))
    types = {"kettle": replace(WATCHFUL, rules=(replace(SILENT, only_while=""),))}
    assert sweep(shard, types, lambda _name: None, START + 1e6).outputs == []


async def _scenario(host: Host) -> None:
    """Heat, a step, another, silence, and a word."""
    await host.hear(0, reading(ONE, 0, temperature=95.0, scale=1.0))
    await host.hear(6, reading(ONE, 6, temperature=95.0, scale=1.0))
    await host.hear(70, tick())
    host.start()
    await host.hear(660, tick(), tick())
    await host.hear(680, tick())
    await host.hear(700, reading(ONE, 700, temperature=20.0, scale=1.0))


async def _calls() -> list[str]:
    world = kettles()
    fuse = Fuse(world, {}, TYPES)
    await _scenario(Host(world, fuse, TYPES))
    return fuse.calls


CALLS = asyncio.run(_calls())


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.PARTLY])
async def test_no_fault_loses_or_repeats_a_step(fault: Fault) -> None:
    """Every I/O call fails in turn; each alert is raised, escalated and ended once, each order placed once."""
    for at in range(1, len(CALLS) + 1):
        world = kettles()
        fuse = Fuse(world, {at: fault}, TYPES)
        await _scenario(Host(world, fuse, TYPES))
        runtime = world.runtime(TYPES)
        last = world.clock.passed + 15
        await hear(world, runtime, reading(ONE, last, temperature=20.0, scale=1.0), tick(), at=last)
        await hear(world, runtime, tick(), at=last + 15)
        told = {one.alert_id: (one.rule, one.escalations, one.cleared is None) for one in await alerts(world)}
        assert sorted(told.values()) == [("hot", 2, False), ("no-scale", 0, False), ("silent", 0, False)], (at, fault)
        assert {document.status for document in await documents(world, Collection.ALERTS)} == {"cleared"}
        orders = list(world.orders.orders.values())
        assert len({order.order_id for order in orders}) == 1, (at, fault)
        assert [order.revision for order in orders] == list(range(1, len(orders) + 1))
        assert orders[-1].priority == "critical"
        shard = runtime.shard(0)
        assert shard is not None
        assert (shard.outbox, shard.twins[ONE].maintenance.watches) == ({}, {})
        assert same(await world.restored(0), shard)
