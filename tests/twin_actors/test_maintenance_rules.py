"""From reading to alert: rows of a twin type, through the whole runtime in memory."""

import msgspec
import pytest

from tests.twin_actors.kettle import (
    COOL,
    HOT,
    ONE,
    TYPE,
    TYPES,
    alerts,
    hear,
    kettles,
    overheat,
    reading,
    tick,
)
from tests.twin_actors.world import START, World, same
from twin_actors.documents import Priority
from twin_actors.runtime import Runtime


@pytest.fixture
def world() -> World:
    """One kettle, connected."""
    return kettles()


@pytest.fixture
def runtime(world: World) -> Runtime:
    """A process."""
    return world.runtime(TYPES)


class TestRules:
    """Rows that are true for long enough raise alerts, and only then."""

    async def test_a_limit_passed_briefly_raises_nothing(self, world: World, runtime: Runtime) -> None:
        """The duration begins anew after each break."""
        for at, temperature in ((0, 95.0), (4, 95.0), (5, 89.0), (6, 95.0), (10, 95.0)):
            await hear(world, runtime, reading(ONE, at, temperature=temperature), at=at)
        assert await alerts(world) == []
        await hear(world, runtime, reading(ONE, 11, temperature=95.0), at=11)
        (alert,) = await alerts(world)
        assert (alert.rule, alert.raised.timestamp(), alert.reason.since.timestamp()) == ("hot", START + 11, START + 6)

    async def test_every_row_of_a_message_counts(self, world: World, runtime: Runtime) -> None:
        """A device may send what it measured meanwhile in one message."""
        rows = [{"time": START + at, "temperature": 95.0} for at in range(7)]
        event = msgspec.structs.replace(reading(ONE, 0), body=msgspec.json.encode(rows))
        await hear(world, runtime, event)
        (alert,) = await alerts(world)
        assert alert.raised.timestamp() == START + 5

    async def test_an_alert_says_why(self, world: World, runtime: Runtime) -> None:
        """Rule, reading, values, versions."""
        await overheat(world, runtime)
        (alert,) = await alerts(world)
        reason = alert.reason
        assert (reason.rule, reason.signal, reason.value, reason.limit) == ("hot", "temperature", 95.0, 90.0)
        assert (reason.position, reason.values["temperature"]) == ("0-1", 95.0)
        assert (reason.twin_model, reason.layout, reason.state_version) == (TYPE.model, 1, 2)
        assert world.graph.twins[ONE].properties["activeAlerts"] == 1
        assert world.graph.twins[ONE].properties["maintenancePriority"] == Priority.MEDIUM

    async def test_it_clears_beyond_the_hysteresis_and_may_come_again(self, world: World, runtime: Runtime) -> None:
        """Another alert then, with another id."""
        await overheat(world, runtime)
        await hear(world, runtime, reading(ONE, 6, temperature=85.0), at=6)
        assert [alert.cleared for alert in await alerts(world)] == [None]
        await hear(world, runtime, reading(ONE, 7, temperature=80.0), at=7)
        (alert,) = await alerts(world)
        assert alert.cleared is not None
        assert world.graph.twins[ONE].properties["activeAlerts"] == 0
        assert world.graph.twins[ONE].properties["maintenancePriority"] == Priority.LOW
        await overheat(world, runtime, at=100)
        first, second = await alerts(world)
        assert (first.cleared is None, second.cleared) == (False, None)

    async def test_a_duration_comes_due_without_another_reading(self, world: World, runtime: Runtime) -> None:
        """A tick finds out."""
        await hear(world, runtime, reading(ONE, 0, temperature=95.0))
        await hear(world, runtime, tick(), at=6)
        assert [alert.rule for alert in await alerts(world)] == ["hot"]

    async def test_but_not_once_the_device_is_offline(self, world: World, runtime: Runtime) -> None:
        """Absence of data says nothing."""
        await hear(world, runtime, reading(ONE, 0, temperature=95.0))
        await hear(world, runtime, tick(), at=400)
        assert await alerts(world) == []
        assert world.graph.twins[ONE].properties["connection"] == "offline"

    async def test_late_readings_raise_nothing(self, world: World, runtime: Runtime) -> None:
        """They are history."""
        await hear(world, runtime, reading(ONE, 100, temperature=20.0), at=100)
        for at in (10, 20, 30):
            await hear(world, runtime, reading(ONE, at, temperature=95.0))
        assert await alerts(world) == []

    async def test_an_alert_survives_a_restart_and_is_not_raised_again(self, world: World, runtime: Runtime) -> None:
        """What the rules remember is committed with the state."""
        await overheat(world, runtime)
        again = world.runtime(TYPES)
        for at in (20, 30, 40):
            await hear(world, again, reading(ONE, at, temperature=96.0), at=at)
        assert [alert.alert_id for alert in await alerts(world)] == ["hot-1"]
        shard = again.shard(0)
        assert shard is not None
        assert same(await world.restored(0), shard)


def test_rows_name_each_other() -> None:
    """A rule's command has a row."""
    rows = {"", *(row.name for row in TYPE.commands)}
    assert all(rule.command in rows for rule in TYPE.rules)
    assert HOT.command == COOL.name
