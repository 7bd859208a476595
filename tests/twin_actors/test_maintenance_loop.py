"""From reading to alert, command and work order, and from app to device: in memory, through the whole runtime."""

import asyncio
from typing import Any

import msgspec
import pytest

from tests.twin_actors.kettle import (
    COOL,
    HOT,
    TYPE,
    TYPES,
    HundredDays,
    alerts,
    asked,
    documents,
    hear,
    kettles,
    operations,
    reading,
    tick,
    work_orders,
)
from tests.twin_actors.world import START, World, balance, same
from twin_actors.active import SWEEP_SECONDS
from twin_actors.documents import Collection, OperationStatus, Priority
from twin_actors.errors import Rejected, Unavailable
from twin_actors.ownership import Limits
from twin_actors.requests import Acknowledgement, CommandRequest, EditRequest, submit
from twin_actors.runtime import Runtime
from twin_actors.sinks import Answer, DeviceCommand, GraphTwin, Refused
from twin_actors.sweep import SLICE_TWINS

ONE = "kettle-1"


@pytest.fixture
def world() -> World:
    """One kettle, connected."""
    return kettles()


@pytest.fixture
def runtime(world: World) -> Runtime:
    """A process."""
    return world.runtime(TYPES)


def command(
    operation_id: str = "op-1", request: object = 40.0, name: str = "cool", expires: float = 60.0
) -> CommandRequest:
    """What an app asks."""
    return CommandRequest(
        operation_id=operation_id, caller="ann", name=name, request=request, requested=START, expires=START + expires
    )


async def overheat(world: World, runtime: Runtime, at: float = 0.0) -> None:
    """Pass the limit for long enough."""
    await hear(world, runtime, reading(ONE, at, temperature=95.0), at=at)
    await hear(world, runtime, reading(ONE, at + 5.0, temperature=95.0), at=at + 5.0)


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


class TestRequests:
    """What apps ask is one operation, whatever is repeated."""

    @pytest.mark.parametrize(
        ("request_", "words"),
        [
            (command(request=51.0), "outside the limits of cool: 0 to 50"),
            (command(name="boil"), "has no command boil; it has: cool, ring"),
            (Acknowledgement(operation_id="op-1", caller="ann", alert_id="hot-9", requested=START), "no alert hot-9"),
        ],
    )
    async def test_what_cannot_be_done_is_refused(
        self, world: World, runtime: Runtime, request_: Any, words: str
    ) -> None:
        """With the reason."""
        await hear(world, runtime, reading(ONE, 0, temperature=20.0), asked(ONE, request_))
        operation = (await operations(world))["op-1"]
        assert operation.status is OperationStatus.REFUSED
        assert words in operation.detail
        assert world.devices.invoked == []

    async def test_a_twin_that_is_none(self, world: World, runtime: Runtime) -> None:
        """No dead letter: the app is told."""
        await hear(world, runtime, asked("kettle-9", command()))
        operation = (await operations(world))["op-1"]
        assert operation.status is OperationStatus.REFUSED
        assert "no_such_twin" in operation.detail
        shard = runtime.shard(0)
        assert shard is not None
        assert shard.letters == {}
        assert balance(shard) == len(world.mailbox.partitions[0])

    async def test_a_repeated_operation_happens_once(self, world: World, runtime: Runtime) -> None:
        """Over a restart too."""
        await hear(world, runtime, reading(ONE, 0, temperature=20.0), asked(ONE, command()), asked(ONE, command()))
        await hear(world, world.runtime(TYPES), asked(ONE, command()))
        assert len(world.devices.invoked) == 1

    async def test_one_that_expired_on_its_way_is_not_sent(self, world: World, runtime: Runtime) -> None:
        """The mailbox was slow, or the app's clock is behind."""
        await hear(world, runtime, reading(ONE, 0, temperature=20.0))
        await hear(world, runtime, asked(ONE, command(expires=5.0)), at=10)
        assert (await operations(world))["op-1"].status is OperationStatus.EXPIRED
        assert world.devices.invoked == []

    async def test_an_alert_is_acknowledged_once(self, world: World, runtime: Runtime) -> None:
        """By the first who does, and that survives."""
        await overheat(world, runtime)
        for number, caller in enumerate(("ann", "bob")):
            seen = Acknowledgement(operation_id=f"a{number}", caller=caller, alert_id="hot-1", requested=START + 9)
            await hear(world, runtime, asked(ONE, seen))
        (alert,) = await alerts(world)
        assert alert.acknowledged_by == "ann"
        assert (await operations(world))["a1"].detail == "ann had acknowledged it before"
        await hear(world, world.runtime(TYPES), reading(ONE, 30, temperature=99.0), at=30)
        (alert,) = await alerts(world)
        assert (alert.acknowledged_by, alert.cleared) == ("ann", None)

    async def test_conflicts_of_edits_are_told(self, world: World, runtime: Runtime) -> None:
        """The device's value counts more, unless the type says otherwise, or there is none."""
        changes = {"temperature": 12.0, "place": "cellar", "note": "old"}
        edit = EditRequest(operation_id="e", caller="ann", changes=changes, requested=START)
        await hear(world, runtime, reading(ONE, 0, temperature=20.0), asked(ONE, edit))
        shown = world.graph.twins[ONE].properties
        assert (shown["temperature"], shown["place"], shown["note"]) == (20.0, "cellar", "old")
        kept = {one.document_id: one.status for one in await documents(world, Collection.EDITS)}
        assert kept == {"temperature": "kept", "place": "shown", "note": "shown"}
        await hear(world, runtime, reading(ONE, 1, temperature=21.0), at=1)
        assert world.graph.twins[ONE].properties["temperature"] == 21.0
        away = EditRequest(operation_id="f", caller="ann", changes={"note": None}, requested=START)
        await hear(world, runtime, asked(ONE, away), at=1)
        assert "note" not in world.graph.twins[ONE].properties

    async def test_a_device_that_begins_to_tell_takes_over(self, world: World, runtime: Runtime) -> None:
        """A person's value stands in until then; apps see that it no longer is the one shown."""
        world.graph.twins[ONE] = GraphTwin(TYPE.model, "by hand", {})
        edit = EditRequest(operation_id="e", caller="ann", changes={"temperature": 12.0}, requested=START)
        await hear(world, runtime, asked(ONE, edit))
        assert world.graph.twins[ONE].properties["temperature"] == 12.0
        (document,) = await documents(world, Collection.EDITS)
        assert document.status == "shown"
        await hear(world, runtime, reading(ONE, 1, temperature=21.0), at=1)
        assert world.graph.twins[ONE].properties["temperature"] == 21.0
        (document,) = await documents(world, Collection.EDITS)
        assert document.status == "kept"

    async def test_submitting_twice_is_submitting_once(self, world: World, runtime: Runtime) -> None:
        """The second caller is told how far the first has come."""
        await hear(world, runtime, reading(ONE, 0, temperature=20.0))
        first = await submit(ONE, command(), world.documents, world.mailbox, 1)
        again = await submit(ONE, command(), world.documents, world.mailbox, 1)
        assert (first.status, again.status) == (OperationStatus.ACCEPTED, OperationStatus.ACCEPTED)
        await hear(world, runtime)
        assert len(world.devices.invoked) == 1
        last = await submit(ONE, command(), world.documents, world.mailbox, 1)
        assert last.status == OperationStatus.ANSWERED
        with pytest.raises(Rejected, match="choose an id of your own"):
            await submit(ONE, command(request=1.0), world.documents, world.mailbox, 1)


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
        assert rounds > 2
        assert max(model.batches) == SLICE_TWINS
        assert all(twin.maintenance.prediction is not None for twin in shard.twins.values())

    async def test_a_type_without_a_model_has_no_prediction(self, world: World) -> None:
        """The rest works as ever."""
        world.models = lambda _name: None
        runtime = world.runtime(TYPES)
        await hear(world, runtime, reading(ONE, 0, temperature=20.0), tick())
        assert "remainingUsefulLifeDays" not in world.graph.twins[ONE].properties


def test_rows_name_each_other() -> None:
    """A rule's command has a row."""
    rows = {"", *(row.name for row in TYPE.commands)}
    assert all(rule.command in rows for rule in TYPE.rules)
    assert HOT.command == COOL.name
