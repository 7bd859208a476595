"""Each instrument moves when what it measures happens."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from tests.twin_actors import kettle
from tests.twin_actors.faults import Killed
from tests.twin_actors.kettle import kettles, reading, tick
from tests.twin_actors.test_stops import hole
from tests.twin_actors.world import World, telemetry, twin_at
from twin_actors.caution import MOST_ATTEMPTS, SILENT_OWNERS
from twin_actors.errors import Fenced, PartitionStopped
from twin_actors.metrics import COUNTED, METRICS, Metrics
from twin_actors.runtime import Runtime
from twin_actors.sinks import GraphTwin, Throttled

NEAR, OTHER, FAR = twin_at(0), twin_at(0, number=1), twin_at(1)


class Meters:
    """The instruments of some processes, read as an exporter reads them."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.metrics = Metrics(MeterProvider([self._reader], shutdown_on_exit=False))

    def runtime(self, world: World, types: Any = None) -> Runtime:
        """Start a process that is measured."""
        bare = world.runtime() if types is None else world.runtime(types)
        return Runtime(bare._types, msgspec.structs.replace(world.ports(), metrics=self.metrics), bare._new_id)

    def seen(self, name: str, partition: int = 0) -> float:
        """Return the sum of a counter, the value of a gauge, or the sum of a histogram; 0 where nothing was told."""
        data = self._reader.get_metrics_data()
        points = [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == f"twinfold.{name}"
            for point in metric.data.data_points
            if point.attributes == {"partition": partition}
        ]
        assert len(points) <= 1
        return getattr(points[0], "value", None) or getattr(points[0], "sum", 0.0) if points else 0.0


@pytest.fixture
def meters() -> Meters:
    """Nothing measured yet."""
    return Meters()


@pytest.fixture
def world() -> World:
    """Two partitions, three twins."""
    return World(known=(NEAR, OTHER, FAR))


async def test_a_batch(world: World, meters: Meters) -> None:
    """What became of its messages, how large it was and how late."""
    runtime = meters.runtime(world)
    world.put(0, telemetry(NEAR, 1, message_id="m"), telemetry(NEAR, 1, message_id="m"), telemetry(FAR, 2))
    world.put(0, msgspec.structs.replace(telemetry(NEAR, 3), body=b"no JSON"))
    world.clock.passed = 7.0
    await runtime.deliver(0, world.events(0))
    await runtime.deliver(0, world.events(0))
    names = ("messages.folded", "messages.resent", "messages.forwarded", "dead_letters", "messages.duplicates")
    assert [meters.seen(name) for name in names] == [1, 1, 1, 1, 4]
    assert meters.seen("batch.size") == 8
    assert meters.seen("lag") == pytest.approx(world.clock.now() - world.events(0)[-1].enqueued_time)
    assert 6.9 < meters.seen("lag") < 7.5
    assert meters.seen("messages.folded", 1) == 0


async def test_the_time_of_a_commit(world: World, meters: Meters) -> None:
    """As the clock has it."""
    append = world.journal.append

    async def slow(*arguments: Any) -> None:
        world.clock.passed += 0.25
        await append(*arguments)

    world.journal.append = slow
    await meters.runtime(world).deliver(0, world.put(0, telemetry(NEAR, 1)))
    assert meters.seen("commit.duration") == pytest.approx(0.25)


async def test_gaps(world: World, meters: Meters) -> None:
    """Those that are healed, and those that are lost."""
    runtime = meters.runtime(world)
    await runtime.deliver(0, world.put(0, telemetry(NEAR, 1)))
    world.put(0, *(telemetry(NEAR, serial) for serial in range(2, 8)))
    world.mailbox.expire(0, 3)
    await runtime.deliver(0, world.events(0)[-1:])
    assert (meters.seen("gaps.lost"), meters.seen("gaps.healed")) == (2, 3)


async def test_other_owners_and_operators(world: World, meters: Meters) -> None:
    """A partition that is taken, and one that stops."""
    runtime = meters.runtime(world)
    await runtime.deliver(0, world.put(0, telemetry(NEAR, 1)))
    await world.runtime().deliver(0, world.put(0, telemetry(NEAR, 2)))
    with pytest.raises(Fenced):
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 3)))
    world.put(1, hole())
    with pytest.raises(PartitionStopped):
        await runtime.deliver(1, world.events(1))
    assert (meters.seen("fenced"), meters.seen("stopped"), meters.seen("stopped", 1)) == (1, 0, 1)


async def test_the_graph(world: World, meters: Meters) -> None:
    """What it is behind by, what it refuses, and when it asks for patience."""
    runtime = meters.runtime(world)
    patch, asked = world.graph.patch, []

    async def throttle(*_arguments: object) -> None:
        asked.append(1)
        raise Throttled(1.0)

    world.graph.patch = throttle  # type: ignore[method-assign,assignment]
    await runtime.deliver(0, world.put(0, telemetry(NEAR, 1)))
    assert meters.seen("throttled") == len(asked) > 0
    world.clock.passed += 0.5
    await runtime.deliver(0, [])
    assert meters.seen("projection.lag") >= 0.5
    world.graph.patch = patch  # type: ignore[method-assign]
    world.clock.passed += 5.0
    await runtime.deliver(0, [])
    assert (meters.seen("projection.lag"), meters.seen("projection.parked")) == (0, 0)
    world.graph.twins[NEAR] = GraphTwin("dtmi:test:Other;1", "by hand", {})
    restarted = meters.runtime(world)
    await restarted.deliver(0, world.put(0, telemetry(NEAR, 2)))
    assert meters.seen("projection.parked") == 1


async def test_outputs_that_wait(world: World, meters: Meters) -> None:
    """While the mailbox is down."""

    async def down(*_arguments: object) -> None:
        raise Throttled(3.0)

    world.mailbox.send = down  # type: ignore[method-assign,assignment]
    runtime = meters.runtime(world)
    await runtime.deliver(0, world.put(0, telemetry(FAR, 1), telemetry(FAR, 2), telemetry(NEAR, 1)))
    assert (meters.seen("outbox.waiting"), meters.seen("throttled")) == (2, 1)


async def test_sweeps(meters: Meters) -> None:
    """What raises in one, and the twin that kills."""

    def features(state: kettle.State) -> tuple[float, ...]:
        if state.scale == 666.0:
            raise Killed
        raise ValueError("faulty")

    types = {"kettle": msgspec.structs.replace(kettle.TYPE, features=features)}
    world = kettles(2)
    world.put(0, reading("kettle-1", 0, temperature=20.0, scale=1.0), reading("kettle-2", 0, scale=666.0))
    world.put(0, reading("kettle-2", 0, temperature=20.0, scale=666.0))
    runtime = meters.runtime(world, types)
    for _ in range(2 * (SILENT_OWNERS + MOST_ATTEMPTS)):
        world.put(0, tick())
        try:
            await runtime.deliver(0, world.events(0))
        except Killed:
            runtime = meters.runtime(world, types)
    assert meters.seen("twins.left_out") == 1
    assert meters.seen("sweeps.failed") >= 1


def test_every_instrument_is_in_the_operators_table() -> None:
    """With its unit, as it is."""
    table = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    for metric in METRICS:
        unit = metric.unit.strip("{}")
        assert f"| `{metric.name}` | {metric.kind} | {unit} |" in table
    assert set(COUNTED.values()) < set(METRICS)
