"""From app to twin: commands, acknowledgements and edits, each one operation, in memory."""

from typing import Any

import pytest

from tests.twin_actors.kettle import (
    ONE,
    TYPE,
    TYPES,
    alerts,
    asked,
    command,
    documents,
    hear,
    kettles,
    operations,
    overheat,
    reading,
)
from tests.twin_actors.world import START, World, balance
from twin_actors.documents import Collection, OperationStatus
from twin_actors.errors import Rejected
from twin_actors.requests import Acknowledgement, EditRequest, submit
from twin_actors.runtime import Runtime
from twin_actors.sinks import GraphTwin


@pytest.fixture
def world() -> World:
    """One kettle, connected."""
    return kettles()


@pytest.fixture
def runtime(world: World) -> Runtime:
    """A process."""
    return world.runtime(TYPES)


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
