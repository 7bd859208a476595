"""What must not happen in the maintenance loop: a partition stopped, a machine harmed, a need forgotten."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from tests.twin_actors.kettle import (
    HOT,
    TYPE,
    TYPES,
    HundredDays,
    State,
    alerts,
    asked,
    hear,
    kettles,
    operations,
    reading,
    tick,
    work_orders,
)
from tests.twin_actors.world import START, World
from twin_actors.active import MAX_OUTBOX
from twin_actors.asking import MAX_WAITING
from twin_actors.documents import Collection, Document, OperationStatus, WorkOrder
from twin_actors.errors import Rejected, Unavailable
from twin_actors.outputs import SendCommand
from twin_actors.requests import CommandRequest, EditRequest, submit
from twin_actors.runtime import Runtime
from twin_actors.sinks import Answer, DeviceCommand
from twin_actors.sinks.memory import MemoryDevices, MemoryDocuments, MemoryWorkOrders
from twin_actors.twin import RUL_RULES, TwinType
from twin_actors.types.pump.rules import LEAST_PART, RATED_RPM, slower

ONE = "kettle-1"


class Hub(MemoryDevices):
    """Devices behind a hub that can be away, or that answer with another status."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.connected = world.devices.connected
        self.is_up = True
        self.status = 200

    async def invoke(self, command: DeviceCommand) -> Answer:
        """Call a direct method."""
        await asyncio.sleep(0)
        if not self.is_up:
            raise Unavailable("the hub is away")
        return Answer(self.status, (await super().invoke(command)).payload)


@pytest.fixture
def world() -> World:
    """One kettle behind a hub."""
    made = kettles()
    made.devices = Hub(made)
    return made


@pytest.fixture
def runtime(world: World) -> Runtime:
    """A process."""
    return world.runtime(TYPES)


def command(operation_id: str = "op-1", request: object = 40.0, **changes: Any) -> CommandRequest:
    """What an app asks."""
    asked_for: dict[str, Any] = {"caller": "ann", "name": "cool", "requested": START, "expires": START + 60.0}
    return CommandRequest(operation_id=operation_id, request=request, **{**asked_for, **changes})


def edit(operation_id: str, at: float = 0.0, **changes: Any) -> EditRequest:
    """What a person sets."""
    return EditRequest(operation_id=operation_id, caller="ann", changes=changes, requested=START + at)


async def stay_hot(world: World, runtime: Runtime, first: int, last: int) -> None:
    """Pass the limit for a while, a reading every five seconds."""
    for at in range(first, last, 5):
        await hear(world, runtime, reading(ONE, at, temperature=95.0), at=at)


class TestRequests:
    """Whatever is sent to the mailbox, its partition goes on."""

    @pytest.mark.parametrize(
        "request_",
        [
            command(requested=1e300),
            command(expires=1e300),
            command(request=10**30, name="ring"),
            command(request={"deep": [10**30]}),
            command(operation_id="x" * 1000),
            command(operation_id="auto-hot-2"),
            command(caller="rule:hot"),
            edit("e", x=10**30),
            edit("e", x="y" * 5000),
            edit("e", **{f"p{number}": 1 for number in range(100)}),
        ],
    )
    async def test_what_cannot_be_kept_is_a_dead_letter(
        self, world: World, runtime: Runtime, request_: CommandRequest | EditRequest
    ) -> None:
        """And apps are told before anything is sent."""
        await hear(world, runtime, reading(ONE, 0, temperature=20.0), asked(ONE, request_), asked("kettle-9", request_))
        shard = runtime.shard(0)
        assert shard is not None
        assert set(shard.letters.values()) == {"bad_request"}
        assert shard.twins[ONE].reading_count == 1
        with pytest.raises(Rejected):
            await submit(ONE, request_, world.documents, world.mailbox, 1)

    async def test_commands_that_wait_are_bounded(self, world: World, runtime: Runtime) -> None:
        """For each device; the rest is refused, not kept."""
        world.devices.is_up = False  # type: ignore[attr-defined]  # it is a Hub
        await hear(world, runtime, reading(ONE, 0, temperature=20.0))
        many = [command(f"op-{number}", expires=START + 3600.0) for number in range(MAX_WAITING + 5)]
        await hear(world, runtime, *(asked(ONE, one) for one in many[:10]))
        await hear(world, runtime, *(asked(ONE, one) for one in many[10:]))
        refused = [one for one in (await operations(world)).values() if one.status is OperationStatus.REFUSED]
        assert len(refused) == 5
        assert "wait for the device" in refused[0].detail

    async def test_a_hub_that_is_away_holds_up_nothing(self) -> None:
        """More commands than any other output may wait; readings are folded, and all goes out afterwards."""
        count = MAX_OUTBOX + 50
        world = kettles(count)
        hub = world.devices = Hub(world)
        hub.is_up = False
        runtime = world.runtime(TYPES)
        fleet = [f"kettle-{number}" for number in range(1, count + 1)]
        await hear(world, runtime, *(reading(one, 0, temperature=20.0) for one in fleet))
        await hear(world, runtime, *(asked(one, command(expires=START + 3600.0)) for one in fleet), at=1)
        shard = runtime.shard(0)
        assert shard is not None
        assert sum(isinstance(entry, SendCommand) for entry in shard.outbox.values()) == count
        await hear(world, runtime, reading(ONE, 5, temperature=21.0), at=5)
        assert shard.twins[ONE].reading_count == 2
        hub.is_up = True
        await hear(world, runtime, tick(), at=100)
        assert {sent.twin_id for sent in hub.invoked} == set(fleet)


class TestMachines:
    """A rule must never do harm."""

    def test_slowing_down_never_speeds_up(self) -> None:
        """Whatever the speed."""
        for speed in range(0, 3500, 50):
            asked_for = slower(SimpleNamespace(last={"speed": float(speed)}, is_running=True))
            assert asked_for is None or LEAST_PART * RATED_RPM <= asked_for < speed

    async def test_what_was_kept_commands_nothing(self, world: World, runtime: Runtime) -> None:
        """A device was away for ten hours, hot all the time; now it is cool."""
        kept = (reading(ONE, 10 + 60 * number, temperature=95.0) for number in range(590))
        await hear(world, runtime, *kept, reading(ONE, 36_000, temperature=20.0), at=36_000)
        assert world.devices.invoked == []
        assert {alert.cleared is None for alert in await alerts(world)} == {False}

    async def test_the_interval_holds_in_the_clouds_time_too(self, world: World, runtime: Runtime) -> None:
        """A device whose clock runs sixty times too fast."""
        for at in range(4):
            await hear(world, runtime, reading(ONE, 60.0 * at, temperature=95.0 + 5 * at), at=at)
        assert len(world.devices.invoked) == 1

    async def test_outputs_of_a_message_are_bounded(self, world: World, runtime: Runtime) -> None:
        """A limit passed a thousand times in what a device kept."""
        rows = [
            {"time": START - 36_000 + 6 * number, "temperature": 95.0 if number % 3 else 70.0} for number in range(5600)
        ]
        await hear(world, runtime, msgspec.structs.replace(reading(ONE, 0), body=msgspec.json.encode(rows)))
        assert 1 <= len(await alerts(world)) <= 32
        shard = runtime.shard(0)
        assert shard is not None
        assert (shard.letters, shard.twins[ONE].reading_count) == ({}, 5600)


class TestCommandsWithoutEffect:
    """What did not work is tried again once its interval is over."""

    async def test_the_hub_was_away(self, world: World, runtime: Runtime) -> None:
        """Until the command had expired."""
        hub: Any = world.devices
        hub.is_up = False
        await stay_hot(world, runtime, 0, 60)
        hub.is_up = True
        await stay_hot(world, runtime, 60, 180)
        assert [one.status for one in (await operations(world)).values()] == [
            OperationStatus.EXPIRED,
            OperationStatus.ANSWERED,
        ]

    async def test_the_device_could_not(self, world: World, runtime: Runtime) -> None:
        """It said so."""
        hub: Any = world.devices
        hub.status = 503
        await stay_hot(world, runtime, 0, 30)
        hub.status = 200
        await stay_hot(world, runtime, 30, 180)
        assert [one.answer_status for one in (await operations(world)).values()] == [503, 200]

    async def test_an_operator_had_stopped_it(self, world: World, runtime: Runtime) -> None:
        """And lets it go on while the alert is active."""
        await hear(world, runtime, reading(ONE, 0, temperature=20.0), asked(ONE, edit("e1", automaticControl=False)))
        await stay_hot(world, runtime, 5, 30)
        await hear(world, runtime, asked(ONE, edit("e2", 30.0, automaticControl=True)), at=30)
        await stay_hot(world, runtime, 35, 180)
        assert len(world.devices.invoked) == 1

    async def test_one_that_can_stand_as_desired_value_passes_one_that_cannot(self, world: World) -> None:
        """A device that is away for long."""
        world.devices.connected.clear()
        runtime = world.runtime(TYPES)
        ring = command("ring", None, name="ring", expires=START + 86_400.0)
        await hear(world, runtime, reading(ONE, 0, temperature=20.0), asked(ONE, ring))
        await stay_hot(world, runtime, 5, 30)
        assert world.devices.desired[ONE]["coolTo"].request == b"47.5"


class TestSweeps:
    """One twin's fault is its own."""

    async def test_a_type_that_raises_is_left_out(self) -> None:
        """The others are predicted, and fall silent."""

        def features(state: State) -> tuple[float, ...]:
            return (1.0 / (state.scale - 13.0),)

        world = kettles(3)
        runtime = world.runtime({"kettle": msgspec.structs.replace(TYPE, features=features)})
        for number, scale in enumerate((1.0, 13.0, 2.0), 1):
            await hear(world, runtime, reading(f"kettle-{number}", 0, temperature=20.0, scale=scale))
        await hear(world, runtime, tick(), at=15)
        await hear(world, runtime, tick(), at=400)
        shard = runtime.shard(0)
        assert shard is not None
        assert {twin.connection for twin in shard.twins.values()} == {"offline"}
        predicted = [twin.maintenance.prediction is not None for twin in shard.twins.values()]
        assert predicted == [True, False, True]
        assert (shard.totals["sweeps_failed"], shard.totals["claims"]) == (2, 1)

    async def test_a_model_that_raises_holds_up_no_rule(self, world: World) -> None:
        """There is no prediction, and what is hot is still told."""

        class Broken(HundredDays):
            def predict(self, rows: Any) -> Any:
                raise ValueError(f"{len(rows)} rows")

        world.models = {"kettle": Broken()}.get
        runtime = world.runtime(TYPES)
        await hear(world, runtime, reading(ONE, 0, temperature=95.0), tick())
        await hear(world, runtime, tick(), at=6)
        shard = runtime.shard(0)
        assert shard is not None
        assert shard.totals["sweeps_failed"] == 2
        assert [alert.rule for alert in await alerts(world)] == ["hot"]

    async def test_nonsense_is_no_prediction(self, world: World) -> None:
        """Nor does it stand in the way of the next one."""

        class Nonsense(HundredDays):
            factor = float("nan")

            def predict(self, rows: Any) -> Any:
                return super().predict(rows) * self.factor

        model = Nonsense()
        world.models = {"kettle": model}.get
        runtime = world.runtime(TYPES)
        for at, factor in enumerate((float("nan"), float("inf"), -1.0, 1e9)):
            model.factor = factor
            await hear(world, runtime, reading(ONE, at, temperature=20.0), tick(), at=at)
            assert "remainingUsefulLifeDays" not in world.graph.twins[ONE].properties
        model.factor = 1.0
        await hear(world, runtime, reading(ONE, 10, temperature=20.0), tick(), at=10)
        assert world.graph.twins[ONE].properties["remainingUsefulLifeDays"] == 100.0

    async def test_large_twins_make_small_slices(self) -> None:
        """A fleet with much to remember falls silent at once."""
        world = kettles(300)
        runtime = world.runtime(TYPES)
        fleet = [f"kettle-{number}" for number in range(300)]
        await hear(world, runtime, *(reading(one, 0, temperature=20.0) for one in fleet))
        for number in range(10):
            notes = {f"note{number}-{index}": "x" * 400 for index in range(4)}
            await hear(world, runtime, *(asked(one, edit(f"e{number}", **notes)) for one in fleet))
        for _ in range(6):
            await hear(world, runtime, tick(), at=400)
        shard = runtime.shard(0)
        assert shard is not None
        assert {twin.connection for twin in shard.twins.values()} == {"offline"}


class TestRulesThatChange:
    """A new version of a type finds what the old one left."""

    @pytest.fixture
    async def hot(self, world: World, runtime: Runtime) -> World:
        """An alert is active."""
        await stay_hot(world, runtime, 0, 10)
        return world

    async def test_a_rule_that_is_gone_takes_its_alert_along(self, hot: World) -> None:
        """Under its old name nobody would clear it."""
        rules = (msgspec.structs.replace(HOT, name="too-hot"), *RUL_RULES)
        runtime = hot.runtime({"kettle": msgspec.structs.replace(TYPE, rules=rules)})
        await hear(hot, runtime, reading(ONE, 20, temperature=20.0), at=20)
        assert hot.graph.twins[ONE].properties["activeAlerts"] == 0
        assert all(alert.cleared for alert in await alerts(hot))

    async def test_a_signal_that_is_gone_ends_its_alert(self, hot: World) -> None:
        """There is nothing to watch any more."""

        def blind(state: State) -> Mapping[str, float | None]:
            return {"temperature": None, "scale": state.scale}

        runtime = hot.runtime({"kettle": msgspec.structs.replace(TYPE, properties=blind)})
        await hear(hot, runtime, reading(ONE, 20, temperature=95.0), at=20)
        assert hot.graph.twins[ONE].properties["activeAlerts"] == 0

    async def test_silence_is_no_proof(self, world: World) -> None:
        """One hot reading, ten hours of nothing, one hot reading: not ten hours without a break."""
        slow: TwinType[State] = msgspec.structs.replace(TYPE, rules=(msgspec.structs.replace(HOT, for_seconds=300.0),))
        runtime = world.runtime({"kettle": slow})
        await hear(world, runtime, reading(ONE, 0, temperature=95.0))
        await hear(world, runtime, tick(), at=3_000)
        await hear(world, runtime, reading(ONE, 36_000, temperature=95.0), at=36_000)
        assert await alerts(world) == []


class TestReceivers:
    """What does not answer holds up only its own lane, and is left alone for longer and longer."""

    async def test_tables_that_hang(self) -> None:
        """Each attempt costs ten seconds there: there are few."""
        world = kettles(60)

        class Hung(MemoryDocuments):
            attempts = 0

            async def put(self, collection: Collection, document: Document) -> None:
                self.attempts += 1
                await asyncio.sleep(0)
                raise Unavailable(f"no answer for {collection} {document.document_id}")

        hung = world.documents = Hung()
        runtime = world.runtime(TYPES)
        fleet = [f"kettle-{number}" for number in range(1, 61)]
        await hear(world, runtime, *(reading(one, 0, temperature=95.0) for one in fleet))
        await hear(world, runtime, *(reading(one, 6, temperature=95.0) for one in fleet), at=6)
        await hear(world, runtime, reading(ONE, 6.5, temperature=95.0), at=6.5)
        assert len(world.devices.invoked) == 60
        assert hung.attempts <= 16

    async def test_a_revision_does_not_fall_back(self, world: World) -> None:
        """The first is placed while the second still waits."""

        class Choosy(MemoryWorkOrders):
            takes = 0

            async def place(self, order: WorkOrder) -> None:
                if order.revision > self.takes:
                    raise Unavailable("not now")
                await super().place(order)

        choosy = world.orders = Choosy()
        runtime = world.runtime(TYPES)
        for at, scale in ((0, 75.0), (15, 76.0), (30, 95.0), (45, 96.0)):
            await hear(world, runtime, reading(ONE, at, temperature=20.0, scale=scale), tick(), at=at)
        choosy.takes = 1
        await hear(world, runtime, tick(), at=200)
        (order,) = await work_orders(world)
        assert (order.revision, order.priority, len(choosy.orders)) == (2, "critical", 1)
        choosy.takes = 2
        await hear(world, runtime, tick(), at=400)
        assert [one.revision for one in choosy.orders.values()] == [1, 2]
