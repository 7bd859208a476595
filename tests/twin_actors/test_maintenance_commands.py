"""From alert to device: commands, their guard rails and what comes of them, in memory."""

import asyncio

import msgspec
import pytest

from tests.twin_actors.kettle import (
    ONE,
    TYPES,
    asked,
    command,
    hear,
    kettles,
    operations,
    overheat,
    reading,
    tick,
)
from tests.twin_actors.world import START, World, same
from twin_actors.documents import OperationStatus
from twin_actors.errors import Unavailable
from twin_actors.requests import EditRequest
from twin_actors.runtime import Runtime
from twin_actors.sinks import Answer, DeviceCommand, Refused


@pytest.fixture
def world() -> World:
    """One kettle, connected."""
    return kettles()


@pytest.fixture
def runtime(world: World) -> Runtime:
    """A process."""
    return world.runtime(TYPES)


class TestCommands:
    """Rules give commands by their guard rails; what came of them can be looked up."""

    async def test_a_rule_commands_the_device_and_says_why(self, world: World, runtime: Runtime) -> None:
        """Half of 95 degrees, version and expiry with it."""
        await overheat(world, runtime)
        (sent,) = world.devices.invoked
        assert (sent.name, sent.request, sent.desired) == ("cool", b"47.5", "coolTo")
        assert (sent.state_version, sent.expires) == (2, pytest.approx(START + 5 + 30, abs=0.1))
        (operation,) = (await operations(world)).values()
        assert (operation.status, operation.answer_status, operation.answer) == (OperationStatus.ANSWERED, 200, 47.5)
        assert operation.caller == "rule:hot"
        assert operation.reason is not None
        assert operation.reason.value == 95.0

    async def test_not_more_often_than_the_interval_allows(self, world: World, runtime: Runtime) -> None:
        """And not again for the same argument; once more when there is something new to ask."""
        await overheat(world, runtime)
        for at, temperature in ((20, 99.0), (64, 99.0), (66, 95.0), (67, 97.0), (68, 120.0)):
            await hear(world, runtime, reading(ONE, at, temperature=temperature), at=at)
        assert [sent.request for sent in world.devices.invoked] == [b"47.5", b"48.5"]
        await hear(world, runtime, reading(ONE, 130, temperature=400.0), at=130)
        assert world.devices.invoked[-1].request == b"50.0"  # the limit of the row

    async def test_an_operator_stops_automatic_commands(self, world: World, runtime: Runtime) -> None:
        """The held-back command is told, once an interval."""
        stop = EditRequest(operation_id="e1", caller="ann", changes={"automaticControl": False}, requested=START)
        await hear(world, runtime, reading(ONE, 0, temperature=20.0), asked(ONE, stop))
        await overheat(world, runtime, at=10)
        assert world.devices.invoked == []
        held = (await operations(world))["auto-hot-2"]
        assert held.status is OperationStatus.REFUSED
        assert "ann" in held.detail
        assert world.graph.twins[ONE].properties["automaticControl"] is False

    async def test_an_offline_device_gets_the_newest_desired_value(self, world: World, runtime: Runtime) -> None:
        """And delays nobody."""
        world.devices.connected.clear()
        await overheat(world, runtime)
        await hear(world, runtime, reading(ONE, 70, temperature=98.0), at=70)
        assert world.devices.desired[ONE]["coolTo"].request == b"49.0"
        statuses = [one.status for one in (await operations(world)).values()]
        assert statuses == [OperationStatus.DELIVERED] * 2

    async def test_without_a_desired_property_it_is_tried_until_it_expires(
        self, world: World, runtime: Runtime
    ) -> None:
        """And never delivered late."""
        world.devices.connected.clear()
        await hear(world, runtime, reading(ONE, 0, temperature=20.0), asked(ONE, command(name="ring", request=None)))
        assert (await operations(world))["op-1"].status is OperationStatus.PERSISTED
        world.devices.connected.add(ONE)
        await hear(world, runtime, tick(), at=61)
        assert world.devices.invoked == []
        assert (await operations(world))["op-1"].status is OperationStatus.EXPIRED
        shard = runtime.shard(0)
        assert shard is not None
        await hear(world, runtime, tick(), at=62)
        assert shard.outbox == {}

    async def test_it_is_delivered_once_the_device_is_back_in_time(self, world: World, runtime: Runtime) -> None:
        """At the next tick."""
        world.devices.connected.clear()
        await hear(world, runtime, reading(ONE, 0, temperature=20.0), asked(ONE, command(name="ring", request=None)))
        world.devices.connected.add(ONE)
        await hear(world, runtime, tick(), at=15)
        assert [sent.operation_id for sent in world.devices.invoked] == ["op-1"]
        assert (await operations(world))["op-1"].status is OperationStatus.ANSWERED

    async def test_pauses_between_attempts_grow(self, world: World, runtime: Runtime) -> None:
        """One, two, four seconds: a hub that is down is left alone."""
        calls: list[float] = []

        class Down:
            async def invoke(self, _command: DeviceCommand) -> Answer:
                calls.append(world.clock.passed)
                raise Unavailable("down")

        world.devices = Down()  # type: ignore[assignment]  # all that is called
        runtime = world.runtime(TYPES)
        await hear(world, runtime, reading(ONE, 0, temperature=20.0), asked(ONE, command(name="ring", request=None)))
        for at in range(1, 12):
            await hear(world, runtime, tick(), at=float(at))
        assert calls == [0.0, 1.0, 3.0, 7.0]

    async def test_what_comes_back_after_the_partition_was_lost_is_not_committed(
        self, world: World, runtime: Runtime
    ) -> None:
        """The next owner sends the command again; its receiver knows the operation."""
        answered = asyncio.Event()

        class Late:
            async def invoke(self, _command: DeviceCommand) -> Answer:
                await answered.wait()
                return Answer(200, b"null")

        ports = msgspec.structs.replace(world.ports(), devices=Late())
        first = Runtime(TYPES, ports, lambda: "first")
        world.put(0, reading(ONE, 0, temperature=20.0), asked(ONE, command()))
        await first.deliver(0, world.events(0))
        await hear(world, runtime, tick(), at=1)
        before = same(await world.restored(0), runtime.shard(0))  # type: ignore[arg-type]  # it is there
        answered.set()
        await first.settle()
        assert before
        assert same(await world.restored(0), runtime.shard(0))  # type: ignore[arg-type]  # it is there

    async def test_what_a_device_refuses_is_told(self, world: World, runtime: Runtime) -> None:
        """And not tried again."""

        class Refusing:
            async def invoke(self, _command: DeviceCommand) -> Answer:
                raise Refused("no such device")

        world.devices = Refusing()  # type: ignore[assignment]  # all that is called
        runtime = world.runtime(TYPES)
        await hear(world, runtime, reading(ONE, 0, temperature=20.0), asked(ONE, command()))
        operation = (await operations(world))["op-1"]
        assert (operation.status, operation.detail) == (OperationStatus.REFUSED, "no such device")

    async def test_a_command_waits_for_the_one_before_it(self, world: World, runtime: Runtime) -> None:
        """In the order given, one device at a time; another device does not wait."""
        world.devices.connected |= {"kettle-2"}
        first, second, other = command("a", 10.0), command("b", 20.0), command("c", 30.0)
        await hear(world, runtime, reading(ONE, 0, temperature=20.0), reading("kettle-2", 0, temperature=20.0))
        await hear(world, runtime, asked(ONE, first), asked(ONE, second), asked("kettle-2", other))
        mine = [sent.operation_id for sent in world.devices.invoked if sent.twin_id == ONE]
        assert mine == ["a", "b"]
        assert len(world.devices.invoked) == 3
