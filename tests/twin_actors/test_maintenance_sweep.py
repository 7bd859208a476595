"""From tick to work order: predictions, silence and what is foreseen, in memory."""

from typing import Any

import pytest

from tests.twin_actors.kettle import (
    ONE,
    TYPES,
    HundredDays,
    documents,
    hear,
    kettles,
    reading,
    tick,
    work_orders,
)
from tests.twin_actors.world import START, World, same
from twin_actors.active import SWEEP_SECONDS
from twin_actors.documents import Collection, Priority
from twin_actors.ownership import Limits
from twin_actors.runtime import Runtime
from twin_actors.sweep import SLICE_TWINS


@pytest.fixture
def world() -> World:
    """One kettle, connected."""
    return kettles()


@pytest.fixture
def runtime(world: World) -> Runtime:
    """A process."""
    return world.runtime(TYPES)


class TestSweep:
    """Ticks predict, and what is foreseen becomes a work order."""

    async def test_a_prediction_names_its_model(self, world: World, runtime: Runtime) -> None:
        """With bounds; nothing is alarming yet."""
        await hear(world, runtime, reading(ONE, 0, temperature=20.0, scale=50.0), tick())
        shown = world.graph.twins[ONE].properties
        assert shown["remainingUsefulLifeDays"] == 50.0
        assert (shown["remainingUsefulLifeDaysLower"], shown["remainingUsefulLifeDaysUpper"]) == (40.0, 75.0)
        assert shown["remainingUsefulLifeModel"] == "hundred-days"
        assert shown["maintenancePriority"] == Priority.LOW
        assert await work_orders(world) == []

    async def test_from_low_to_critical(self, world: World, runtime: Runtime) -> None:
        """One order, made more urgent once; its receiver sees two revisions."""
        await hear(world, runtime, reading(ONE, 0, temperature=20.0, scale=75.0), tick())
        await hear(world, runtime, reading(ONE, 15, temperature=20.0, scale=76.0), tick(), at=15)
        (order,) = await work_orders(world)
        assert (order.priority, order.revision, order.alerts) == ("high", 1, ["failure-foreseen-1"])
        assert order.remaining_useful_life_days == 24.0
        assert order.reason.prediction_model == "hundred-days"
        assert order.due is not None
        assert order.due.timestamp() == pytest.approx(START + 15 + 0.8 * 24 * 86400)
        for at, scale in ((30, 95.0), (45, 96.0), (60, 97.0)):
            await hear(world, runtime, reading(ONE, at, temperature=20.0, scale=scale), tick(), at=at)
        (order,) = await work_orders(world)
        assert (order.priority, order.revision) == ("critical", 2)
        assert list(world.orders.orders) == [f"{ONE}-order-2.1", f"{ONE}-order-2.2"]
        (document,) = await documents(world, Collection.WORK_ORDERS)
        assert document.status == "placed"
        assert world.graph.twins[ONE].properties["maintenancePriority"] == Priority.CRITICAL

    async def test_after_the_repair_another_order_may_come(self, world: World, runtime: Runtime) -> None:
        """The need ended with its alerts."""
        for at, scale in ((0, 80.0), (15, 80.5), (30, 0.0), (45, 80.0), (60, 80.5)):
            await hear(world, runtime, reading(ONE, at, temperature=20.0, scale=scale), tick(), at=at)
        assert len(world.orders.orders) == 2
        assert {order.revision for order in world.orders.orders.values()} == {1}

    async def test_predictions_that_say_nothing_new_are_not_written(self, world: World, runtime: Runtime) -> None:
        """The journal does not grow by what nobody would notice."""
        await hear(world, runtime, reading(ONE, 0, temperature=20.0, scale=50.0), tick())
        shard = runtime.shard(0)
        assert shard is not None
        before = shard.twins[ONE].state_version
        await hear(world, runtime, tick(), at=15)
        assert shard.twins[ONE].state_version == before
        await hear(world, runtime, reading(ONE, 20, temperature=20.0, scale=50.1), tick(), at=30)
        assert shard.twins[ONE].state_version == before + 1  # of the reading
        assert world.graph.twins[ONE].properties["remainingUsefulLifeDays"] == 50.0

    async def test_a_fleet_is_one_batch(self) -> None:
        """And a tick is many slices where it must be."""
        world = kettles(300)
        model = HundredDays()
        world.models = {"kettle": model}.get
        runtime = world.runtime(TYPES)
        fleet = [f"kettle-{number}" for number in range(300)]
        await hear(world, runtime, *(reading(one, 0, temperature=20.0, scale=95.0) for one in fleet), tick())
        assert model.batches == [300]
        await hear(world, runtime, *(reading(one, 15, temperature=20.0, scale=96.0) for one in fleet), tick(), at=15)
        assert model.batches[0:2] == [300, 300]
        assert len(world.orders.orders) == 300
        shard = runtime.shard(0)
        assert shard is not None
        await hear(world, runtime, tick(), at=30)  # its record says what was delivered
        assert (shard.swept, shard.outbox) == ("", {})
        assert same(await world.restored(0), shard)

    async def test_thousands_of_orders_at_once(self) -> None:
        """What came of them is more than one record can say."""
        world = kettles(0)
        runtime = world.runtime(TYPES, limits=Limits(frame_bytes=1_500_000))
        fleet = [f"kettle-{number}" for number in range(2500)]
        for at in (0, 15):
            readings = (reading(one, at, temperature=20.0, scale=95.0 + at) for one in fleet)
            await hear(world, runtime, *readings, tick(), at=at)
        await hear(world, runtime, tick(), at=30)
        await hear(world, runtime, tick(), at=45)
        found = (await world.documents.list(Collection.WORK_ORDERS, limit=5000)).documents
        statuses = {one.status for one in found}
        assert (len(world.orders.orders), statuses) == (2500, {"placed"})

    async def test_a_sweep_that_is_cut_short_goes_on(self) -> None:
        """With the next tick, by whoever owns the shard then."""
        fleet = [f"kettle-{number}" for number in range(SLICE_TWINS + 100)]
        world = kettles(0)

        class Slow(HundredDays):
            def predict(self, rows: Any) -> Any:
                world.clock.passed += SWEEP_SECONDS
                return super().predict(rows)

        model = Slow()
        world.models = {"kettle": model}.get
        await hear(world, world.runtime(TYPES), *(reading(one, 0, temperature=20.0) for one in fleet))
        await hear(world, world.runtime(TYPES), tick())
        shard = await world.restored(0)
        rounds, predicted = 1, 0
        while shard.swept:
            done = [twin.twin_id for twin in shard.twins.values() if twin.maintenance.prediction is not None]
            assert (done, len(done) > predicted) == (fleet[: fleet.index(shard.swept) + 1], True)
            predicted = len(done)
            await hear(world, world.runtime(TYPES), tick())
            shard = await world.restored(0)
            rounds += 1
        assert rounds > 1
        assert max(model.batches) == SLICE_TWINS
        assert all(twin.maintenance.prediction is not None for twin in shard.twins.values())

    async def test_a_type_without_a_model_has_no_prediction(self, world: World) -> None:
        """The rest works as ever."""
        world.models = lambda _name: None
        runtime = world.runtime(TYPES)
        await hear(world, runtime, reading(ONE, 0, temperature=20.0), tick())
        assert "remainingUsefulLifeDays" not in world.graph.twins[ONE].properties
