"""The operators' commands over sides in memory and a graph on loopback."""

import argparse
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.digitaltwins.core.aio import DigitalTwinsClient

from local_emulator.digital_twins import DigitalTwins
from tests.end_to_end.tokens import TestCredential
from tests.twin_actors.world import START, FakeClock
from twin_actors.commands.errors import NotFound
from twin_actors.commands.graph import OperatorsGraph
from twin_actors.commands.output import text
from twin_actors.commands.parser import parser
from twin_actors.commands.ports import Ports
from twin_actors.documents import (
    Alert,
    Collection,
    Edit,
    Operation,
    OperationStatus,
    Reason,
    Severity,
    Source,
    SourceValue,
    WorkOrder,
    document_of,
    moment,
)
from twin_actors.errors import Rejected, Unavailable
from twin_actors.gaps.memory import MemoryMailbox
from twin_actors.identity import home_partition
from twin_actors.journals.memory import MemoryJournal
from twin_actors.messages import KIND, TWIN, Event
from twin_actors.registry import COMMON_MODEL, Registry, load_registry
from twin_actors.requests import Acknowledgement, CommandRequest, Deletion, EditRequest, decode_request
from twin_actors.sinks.memory import MemoryDocuments
from twin_actors.twin import Command, Turn, TwinType

ROOT = Path(__file__).parents[2]
VALVE = "dtmi:test:Valve;1"
INTERFACE = {
    "@context": ["dtmi:dtdl:context;3", "dtmi:dtdl:extension:quantitativeTypes;1"],
    "@id": VALVE,
    "@type": "Interface",
    "extends": COMMON_MODEL,
    "contents": [
        {
            "@type": ["Property", "Temperature"],
            "name": "limit",
            "schema": "double",
            "unit": "degreeCelsius",
            "writable": True,
        },
        {"@type": "Property", "name": "note", "schema": "string", "writable": True},
        {"@type": "Command", "name": "setOpening", "request": {"name": "opening", "schema": "double"}},
        {"@type": "Command", "name": "rest"},
        {"@type": "Command", "name": "secret"},
    ],
}


class Nothing(msgspec.Struct, frozen=True):
    """The state of a twin type that remembers nothing."""


TYPE = TwinType(
    name="valve",
    model=VALVE,
    state=Nothing,
    receive=lambda state, _message: Turn(state),
    properties=lambda _state: {},
    channels=(),
    commands=(Command(name="setOpening", low=0.0, high=1.0), Command(name="rest")),
)
COMMON = load_registry().documents[0]
REGISTRY = Registry(by_name={"valve": TYPE}, by_model={VALVE: TYPE}, documents=(COMMON, INTERFACE))

REASON = Reason(
    rule="hot",
    signal="temperature",
    value=91.0,
    limit=80.0,
    since=moment(START - 10),
    position="2-77",
    reading_time=moment(START),
    values={"temperature": 91.0},
    prediction_model="",
    twin_model=VALVE,
    layout=1,
    state_version=77,
)


class World:
    """What commands reach here, and what they printed."""

    def __init__(self, graph: OperatorsGraph) -> None:
        self.journal, self.mailbox, self.documents = MemoryJournal(), MemoryMailbox(), MemoryDocuments()
        self.clock = OwnersClock()
        self.said: list[str] = []
        self.noted: list[str] = []
        self.ports = Ports(
            journal=lambda: self.journal,
            reader=lambda: self.mailbox,
            sender=lambda: self.mailbox,
            documents=lambda: self.documents,
            graph=lambda: graph,
            registry=REGISTRY,
            clock=self.clock,
            caller="ada",
            say=self.said.append,
            note=self.noted.append,
        )

    async def run(self, *arguments: str) -> tuple[Any, int]:
        """Run a command as the command line does; return its JSON and exit code."""
        parsed = parser().parse_args([*arguments, "-o", "json"])
        result = await parsed.run(self.ports, parsed)
        return json.loads(text(result, "json")), result.exit_code

    async def table(self, *arguments: str) -> list[str]:
        """Run a command; return the lines of its table."""
        parsed = parser().parse_args(arguments)
        return text(await parsed.run(self.ports, parsed), parsed.output).splitlines()

    def sent(self) -> list[tuple[int, dict[str, str], object]]:
        """Return the requests in the mailbox: partition, properties, request."""
        return [
            (number, event.properties, decode_request(event.body))
            for number, events in enumerate(self.mailbox.partitions)
            for event in events
            if KIND in event.properties
        ]


class OwnersClock(FakeClock):
    """A clock on which something happens while somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.happens: list[Callable[[], Awaitable[object]]] = []

    async def sleep(self, seconds: float) -> None:
        """Let time pass at once, and the next thing happen."""
        await super().sleep(seconds)
        if self.happens:
            await self.happens.pop(0)()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[DigitalTwinsClient]:
    """A client of an Azure Digital Twins on loopback, which has the valve's model."""
    async with DigitalTwins(tmp_path, https_port=None) as service:
        client = DigitalTwinsClient(
            service.url, TestCredential(), authentication_policy=SansIOHTTPPolicy(), retry_total=0, read_timeout=5
        )
        async with client:
            await client.create_models(REGISTRY.models())
            yield client


@pytest.fixture
async def world(client: DigitalTwinsClient) -> World:
    """Two valves, and a function app that has run."""
    one = {"connection": "online", "health": 0.91, "maintenancePriority": 1, "limit": 60.0}
    two = {"connection": "offline", "health": 0.3, "maintenancePriority": 4, "activeAlerts": 2}
    two |= {
        "remainingUsefulLifeDays": 5.25,
        "remainingUsefulLifeDaysLower": 3.0,
        "remainingUsefulLifeDaysUpper": 1234.5,
    }
    for twin_id, properties in (("valve-2", two), ("valve-1", one)):
        await client.upsert_digital_twin(twin_id, {"$metadata": {"$model": VALVE}, **properties})
    made = World(OperatorsGraph(client))
    await made.journal.write("partition-count", b"4")
    return made


async def test_twins_are_listed_by_id_with_what_matters(world: World) -> None:
    """JSON has raw numbers, a table the days with their bounds."""
    rows, _ = await world.run("twin", "list")
    assert [row["twinId"] for row in rows] == ["valve-1", "valve-2"]
    assert (rows[1]["type"], rows[1]["connection"], rows[1]["maintenancePriority"]) == ("valve", "offline", "critical")
    assert (rows[1]["remainingUsefulLifeDays"], rows[1]["remainingUsefulLifeDaysUpper"]) == (5.25, 1234.5)
    assert rows[0]["activeAlerts"] is None
    head, first, second = await world.table("twin", "list")
    assert head.endswith("rulDays")
    assert "remainingUsefulLifeDays" not in head
    assert second.endswith("5.2 (3 to 1230)")
    assert first.startswith("valve-1  valve  online")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--connection", "online"], ["valve-1"]),
        (["--priority", "critical"], ["valve-2"]),
        (["--priority", "critical", "--connection", "online"], []),
        (["--type", "valve"], ["valve-1", "valve-2"]),
    ],
)
async def test_twins_are_listed_by_what_is_asked(world: World, options: list[str], found: list[str]) -> None:
    """The options narrow the list together."""
    rows, _ = await world.run("twin", "list", *options)
    assert [row["twinId"] for row in rows] == found


async def test_a_list_says_that_it_is_cut(world: World) -> None:
    """Nobody takes a part for the whole."""
    rows, _ = await world.run("twin", "list", "--limit", "1")
    assert len(rows) == 1
    assert world.noted == ["there are more; --limit 2 shows more of them"]
    world.noted.clear()
    await world.run("twin", "list", "--limit", "2")
    assert world.noted == []


async def test_nothing_is_found_of_an_unknown_type_or_twin(world: World) -> None:
    """The error says what there is."""
    with pytest.raises(NotFound, match="there are: valve"):
        await world.run("twin", "list", "--type", "pipe")
    with pytest.raises(NotFound, match="no twin valve-9"):
        await world.run("twin", "show", "valve-9")


async def test_a_graph_that_does_not_answer_is_told_apart() -> None:
    """Asking again may help."""
    gone = DigitalTwinsClient(
        "http://127.0.0.1:9", TestCredential(), authentication_policy=SansIOHTTPPolicy(), retry_total=0
    )
    world = World(OperatorsGraph(gone))
    with pytest.raises(Unavailable, match="Azure Digital Twins"):
        await world.run("twin", "show", "valve-1")
    await gone.close()


async def test_a_deletion_wants_consent(world: World) -> None:
    """Then it goes to the twin, which the graph need not have."""
    assert await world.run("twin", "delete", "valve-8") == (None, 2)
    assert (world.sent(), len(world.noted)) == ([], 1)
    told, code = await world.run("twin", "delete", "valve-8", "--yes", "--operation-id", "d-1")
    assert (told["kind"], told["status"], code) == ("delete", "accepted", 0)
    ((_, _, request),) = world.sent()
    assert request == Deletion(operation_id="d-1", caller="ada", requested=START)


async def test_a_twin_is_shown_with_times_units_and_edits(world: World) -> None:
    """A value of a person stands beside the one that is shown."""
    edit = Edit(property="limit", value=70.0, author="bob", time=moment(START), is_shown=False, detail="the device")
    gone = Edit(property="note", value=None, author="bob", time=moment(START), is_shown=False, detail="taken away")
    for one in (edit, gone):
        await world.documents.put(Collection.EDITS, document_of("valve-1", one.property, "kept", START, one))
    twin, _ = await world.run("twin", "show", "valve-1")
    assert (twin["twinId"], twin["model"]) == ("valve-1", VALVE)
    limit = twin["properties"]["limit"]
    assert (limit["value"], limit["unit"]) == (60.0, "degreeCelsius")
    assert limit["sourceTime"].endswith("Z")
    assert (limit["edit"]["value"], limit["edit"]["author"], limit["edit"]["isShown"]) == (70.0, "bob", False)
    assert "note" not in twin["properties"]
    (line,) = [line for line in await world.table("twin", "show", "valve-1") if line.startswith("limit")]
    assert line.endswith("70 by bob, kept: the device")


async def test_an_edit_of_a_simulation_that_has_seen_the_rest(world: World) -> None:
    """The vector that a twin is shown with goes into the edit as it is."""
    sensor = SourceValue(
        source=Source.SENSOR,
        value=60.0,
        author="",
        time=moment(START),
        is_shown=True,
        detail="counts more",
        vector={Source.SENSOR: 9},
    )
    by_hand = Edit(
        property="limit",
        value=70.0,
        author="bob",
        time=moment(START),
        is_shown=False,
        detail="kept",
        vector={Source.MANUAL: 2},
        beside=[sensor],
    )
    await world.documents.put(Collection.EDITS, document_of("valve-1", "limit", "kept", START, by_hand))
    twin, _ = await world.run("twin", "show", "valve-1")
    vector = twin["properties"]["limit"]["vector"]
    assert vector == "sensor:9,manual:2"
    (line,) = [line for line in await world.table("twin", "show", "valve-1") if line.startswith("limit")]
    assert line.endswith("70 by bob, kept: kept; sensor says 60")
    await world.run("twin", "edit", "valve-1", "limit=65", "--source", "simulation", "--seen", vector)
    (event,) = (event for events in world.mailbox.partitions for event in events)
    request = decode_request(event.body)
    assert isinstance(request, EditRequest)
    assert (request.source, request.seen) == (Source.SIMULATION, {Source.SENSOR: 9, Source.MANUAL: 2})
    with pytest.raises(SystemExit):
        await world.run("twin", "edit", "valve-1", "limit=65", "--seen", "all")


async def test_a_watch_prints_changes_only(world: World, client: DigitalTwinsClient) -> None:
    """The first line has everything, the others what is new, changed or gone."""

    def patch(*operations: dict[str, object]) -> Callable[[], Awaitable[None]]:
        return lambda: client.update_digital_twin("valve-1", list(operations))

    async def nothing() -> None:
        """Change nothing."""

    world.clock.happens = [
        patch({"op": "replace", "path": "/health", "value": 0.5}),
        nothing,
        patch({"op": "remove", "path": "/limit"}, {"op": "add", "path": "/note", "value": "hot"}),
    ]
    parsed = parser().parse_args(["twin", "watch", "valve-1", "--seconds", "4", "-o", "json"])
    result = await parsed.run(world.ports, parsed)
    lines = [json.loads(line) for line in world.said]
    assert [line["changes"] for line in lines] == [
        {"connection": "online", "health": 0.91, "maintenancePriority": 1, "limit": 60.0},
        {"health": 0.5},
        {"note": "hot", "limit": None},
    ]
    assert [line["time"] for line in lines] == [
        moment(START + passed).isoformat(timespec="milliseconds").replace("+00:00", "Z") for passed in (0, 1, 3)
    ]
    assert result.data is None


async def test_a_watch_prints_lines_for_people(world: World) -> None:
    """Name and value, after the time."""
    parsed = parser().parse_args(["twin", "watch", "valve-1", "--seconds", "0"])
    await parsed.run(world.ports, parsed)
    (line,) = world.said
    assert line.split("Z  ")[1] == "connection=online health=0.91 maintenancePriority=1 limit=60"


async def test_a_command_goes_to_the_home_of_its_twin_once(world: World) -> None:
    """The same operation id again is the same operation."""
    asked = ["twin", "command", "valve-1", "setOpening", "--request", "0.5", "--operation-id", "o-1"]
    operation, code = await world.run(*asked, "--expires-in", "30")
    assert code == 0
    assert (operation["twinId"], operation["operationId"], operation["status"]) == ("valve-1", "o-1", "accepted")
    request = CommandRequest(
        operation_id="o-1", caller="ada", name="setOpening", request=0.5, requested=START, expires=START + 30.0
    )
    ((partition, properties, sent),) = world.sent()
    assert sent == request
    assert partition == home_partition("valve-1", 4)
    assert properties == {KIND: "request", TWIN: "valve-1"}
    await settle(world, OperationStatus.ANSWERED, "o-1")
    operation, _ = await world.run(*asked, "--expires-in", "30")
    assert operation["status"] == "answered"
    assert len(world.sent()) == 1


async def settle(world: World, status: OperationStatus, operation_id: str = "o-1") -> None:
    """Let an operation come so far, as the owner of its twin does."""
    known = await world.documents.get(Collection.OPERATIONS, "valve-1", operation_id)
    assert known is not None
    before = msgspec.json.decode(known.body, type=Operation)
    after = msgspec.structs.replace(before, status=status, detail="because")
    document = document_of("valve-1", operation_id, status, START, after)
    await world.documents.put(Collection.OPERATIONS, msgspec.structs.replace(document, version=known.version + 1))


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (OperationStatus.ANSWERED, 0),
        (OperationStatus.REFUSED, 1),
        (OperationStatus.EXPIRED, 1),
        (OperationStatus.DELIVERED, 3),
    ],
)
async def test_waiting_ends_with_the_operation_or_with_patience(world: World, end: OperationStatus, code: int) -> None:
    """The exit code says how it ended; what is only delivered has no answer yet."""
    world.clock.happens = [
        lambda: settle(world, OperationStatus.PERSISTED),
        lambda: settle(world, end),
    ]
    operation, exit_code = await world.run("twin", "command", "valve-1", "rest", "--operation-id", "o-1", "--wait", "5")
    assert (operation["status"], operation["detail"], exit_code) == (end, "because", code)
    assert world.clock.passed == (5.0 if end is OperationStatus.DELIVERED else 1.0)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["setOpening", "--request", "fast"], "no JSON"),
        (["setOpening", "--request", '"fast"'], "does not fit command setOpening; request: double is wanted"),
        (["setOpening", "--request", "1.5"], "request: between 0 and 1 is taken"),
        (["secret"], "take these commands: rest, setOpening"),
    ],
)
async def test_a_command_that_makes_no_sense_is_not_sent(world: World, arguments: list[str], fault: str) -> None:
    """The person who asks hears it at once."""
    with pytest.raises(Rejected, match=fault):
        await world.run("twin", "command", "valve-1", *arguments)
    assert world.sent() == []
    assert (await world.documents.list(Collection.OPERATIONS)).documents == []


@pytest.mark.parametrize("operation_id", ["auto-hot-1", "a/b", "", "x" * 65])
async def test_some_ids_name_no_operation_of_a_person(world: World, operation_id: str) -> None:
    """Those of rules, and those that HTTP could not look up."""
    with pytest.raises(Rejected, match=r"bad_request"):
        await world.run("twin", "command", "valve-1", "rest", "--operation-id", operation_id)
    assert world.sent() == []


async def test_an_edit_takes_json_and_text(world: World) -> None:
    """A number, a text that looks like one, a boolean, and nothing, which takes a value away."""
    operation, _ = await world.run(
        "twin", "edit", "valve-1", "limit=70.5", "note=17", "automaticControl=false", "--operation-id", "o-2"
    )
    assert operation["kind"] == "edit"
    ((_, _, sent),) = world.sent()
    changes = {"limit": 70.5, "note": "17", "automaticControl": False}
    assert sent == EditRequest(operation_id="o-2", caller="ada", changes=changes, requested=START)
    await world.run("twin", "edit", "valve-1", 'note="17"', "limit=70")
    (_, _, sent) = world.sent()[-1]
    assert isinstance(sent, EditRequest)
    assert msgspec.json.encode(sent.changes) == b'{"note":"17","limit":70.0}'
    await world.run("twin", "edit", "valve-1", "note=")
    (_, _, sent) = world.sent()[-1]
    assert isinstance(sent, EditRequest)
    assert sent.changes == {"note": None}


async def test_an_edit_that_makes_no_sense_names_every_fault(world: World) -> None:
    """One look is enough to repair it."""
    with pytest.raises(Rejected) as caught:
        await world.run("twin", "edit", "valve-1", "limit=warm", "health=1", "colour=red")
    assert str(caught.value).split("; ") == [
        f"model_mismatch: of {VALVE}, these can be set: automaticControl, limit, note",
        "limit: double is wanted",
        "health: the property is not writable: it shows what the twin finds",
        "colour: the model has no such property",
    ]
    for assignment in ("note", "=1"):
        with pytest.raises(SystemExit) as usage:
            await world.run("twin", "edit", "valve-1", assignment)
        assert usage.value.code == 2
    assert world.sent() == []


async def test_nothing_is_asked_before_a_worker_has_started(world: World) -> None:
    """Nobody knows yet which partition is home."""
    await world.journal.delete("partition-count")
    with pytest.raises(Unavailable, match="no worker has started"):
        await world.run("twin", "command", "valve-1", "rest")
    assert world.sent() == []


def alert(number: int, *, cleared: bool = False) -> Alert:
    """Return an alert."""
    return Alert(
        alert_id=f"hot-{number}",
        rule="hot",
        severity=Severity.CRITICAL,
        text="It is too hot:\nlet it rest.",
        raised=moment(START),
        cleared=moment(START + 60) if cleared else None,
        reason=REASON,
    )


@pytest.fixture
async def alerts(world: World) -> None:
    """Three alerts of two twins."""
    kept = [("valve-1", alert(1, cleared=True)), ("valve-1", alert(2)), ("valve-2", alert(1))]
    for twin_id, one in kept:
        status = "cleared" if one.cleared else "active"
        await world.documents.put(Collection.ALERTS, document_of(twin_id, one.alert_id, status, START, one))


@pytest.mark.usefixtures("alerts")
async def test_alerts_are_listed_and_shown_with_their_reason(world: World) -> None:
    """By twin and by status; a table keeps a text on its line."""
    rows, _ = await world.run("alert", "list", "--status", "active")
    assert [(row["twinId"], row["alertId"], row["status"]) for row in rows] == [
        ("valve-1", "hot-2", "active"),
        ("valve-2", "hot-1", "active"),
    ]
    rows, _ = await world.run("alert", "list", "--twin", "valve-1", "--limit", "1")
    assert [row["alertId"] for row in rows] == ["hot-1"]
    assert world.noted == ["there are more; --limit 2 shows more of them"]
    lines = await world.table("alert", "list", "--twin", "valve-2")
    assert len(lines) == 2
    assert lines[1].endswith("It is too hot: let it rest.")
    one, _ = await world.run("alert", "show", "hot-2", "--twin", "valve-1")
    assert one["reason"]["value"] == 91.0
    lines = await world.table("alert", "show", "hot-2", "--twin", "valve-1")
    assert "reason.values.temperature  91" in lines
    with pytest.raises(NotFound, match="valve-2 has no alert hot-2"):
        await world.run("alert", "show", "hot-2", "--twin", "valve-2")


@pytest.mark.usefixtures("alerts")
async def test_an_acknowledgement_ends_in_the_journal(world: World) -> None:
    """It is waited for no longer than until it is persisted."""
    world.clock.happens = [lambda: settle(world, OperationStatus.PERSISTED, "o-3")]
    operation, code = await world.run(
        "alert", "acknowledge", "hot-2", "--twin", "valve-1", "--operation-id", "o-3", "--wait", "60"
    )
    assert (operation["kind"], operation["name"], operation["status"], code) == ("acknowledge", "hot-2", "persisted", 0)
    ((_, _, sent),) = world.sent()
    assert sent == Acknowledgement(operation_id="o-3", caller="ada", alert_id="hot-2", requested=START)
    with pytest.raises(NotFound, match="no alert hot-9"):
        await world.run("alert", "acknowledge", "hot-9", "--twin", "valve-1")


async def test_work_orders_and_operations_are_listed_and_shown(world: World) -> None:
    """Each in its own columns."""
    order = WorkOrder(
        order_id="valve-1-order-3",
        revision=2,
        idempotency_key="valve-1-order-3.2",
        twin_id="valve-1",
        twin_model=VALVE,
        priority="critical",
        title="Repair valve-1",
        text="It fails soon.",
        created=moment(START),
        due=None,
        remaining_useful_life_days=5.0,
        remaining_useful_life_days_lower=3.0,
        remaining_useful_life_days_upper=9.0,
        alerts=["hot"],
        reason=REASON,
    )
    await world.documents.put(Collection.WORK_ORDERS, document_of("valve-1", "order-3", "placed", START, order))
    rows, _ = await world.run("work-order", "list", "--status", "placed")
    assert [(row["orderId"], row["priority"], row["status"]) for row in rows] == [
        ("valve-1-order-3", "critical", "placed")
    ]
    lines = await world.table("work-order", "show", "valve-1-order-3", "--twin", "valve-1")
    assert any(line.split() == ["alerts", "hot"] for line in lines)
    await world.run("twin", "command", "valve-1", "rest", "--operation-id", "o-1")
    rows, _ = await world.run("operation", "list", "--status", "accepted")
    assert [row["operationId"] for row in rows] == ["o-1"]
    shown, _ = await world.run("operation", "show", "o-1", "--twin", "valve-1")
    assert (shown["caller"], shown["name"]) == ("ada", "rest")
    assert await world.table("operation", "list", "--status", "expired") == ["nothing"]


async def test_an_operation_that_nobody_took_in_time_says_so(world: World) -> None:
    """A minute after it has expired; an edit never expires."""
    await world.run("twin", "command", "valve-1", "rest", "--operation-id", "o-1", "--expires-in", "10")
    await world.run("twin", "edit", "valve-1", "note=so", "--operation-id", "o-2")
    world.clock.passed = 70.0
    rows, _ = await world.run("operation", "list")
    assert [row["detail"] for row in rows] == ["", ""]
    world.clock.passed = 70.5
    rows, _ = await world.run("operation", "list")
    assert [(row["operationId"], row["status"], row["detail"]) for row in rows] == [
        ("o-1", "accepted", "not heard of in time"),
        ("o-2", "accepted", ""),
    ]
    one, _ = await world.run("operation", "show", "o-1", "--twin", "valve-1")
    assert one["detail"] == "not heard of in time"
    await settle(world, OperationStatus.EXPIRED)
    one, _ = await world.run("operation", "show", "o-1", "--twin", "valve-1")
    assert (one["status"], one["detail"]) == ("expired", "because")


async def test_lists_go_through_all_pages(world: World) -> None:
    """However many the documents' side gives at once."""
    for number in range(250):
        await world.documents.put(
            Collection.ALERTS, document_of("valve-1", f"hot-{number:03}", "active", START, alert(number))
        )
    rows, _ = await world.run("alert", "list", "--limit", "240")
    assert len({row["alertId"] for row in rows}) == 240
    assert world.noted == ["there are more; --limit 480 shows more of them"]
    rows, _ = await world.run("alert", "list", "--limit", "250")
    assert len(rows) == 250


async def test_models_are_published_once(world: World) -> None:
    """What the instance has is left alone."""
    rows, _ = await world.run("model", "publish")
    assert rows == [{"model": model, "state": "present"} for model in (COMMON_MODEL, VALVE)]


async def test_a_fresh_app_has_empty_partitions_and_no_letters(world: World) -> None:
    """Partitions are those of the hub; a letter that nobody keeps is named."""
    world.mailbox.append(2, Event(sequence_number=0, enqueued_time=0.0, body=b"{}"))
    rows, _ = await world.run("partition", "list")
    assert [(row["partition"], row["last"], row["watermark"], row["lag"]) for row in rows] == [
        (0, -1, -1, 0),
        (1, -1, -1, 0),
        (2, 0, -1, 1),
        (3, -1, -1, 0),
    ]
    assert await world.table("dead-letter", "list") == ["nothing"]
    with pytest.raises(NotFound, match="no open dead letter 2-7"):
        await world.run("dead-letter", "replay", "2-7")
    with pytest.raises(NotFound, match="ids look like 2-1743"):
        await world.run("dead-letter", "show", "seven")
    assert world.sent() == []


def test_every_option_is_documented() -> None:
    """Each argument of each command has a help text."""

    def undocumented(command: argparse.ArgumentParser, name: str) -> list[str]:
        found = []
        for action in command._actions:
            if isinstance(action, argparse._SubParsersAction):
                for verb, below in action.choices.items():
                    found += undocumented(below, f"{name} {verb}")
            elif not action.help:
                found.append(f"{name}: {action.dest}")
        return found

    assert undocumented(parser(), "twin_actors") == []


def run_program(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the commands as an operator does."""
    return subprocess.run(
        [sys.executable, "-m", "twin_actors", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_program_says_by_its_exit_code_who_must_act() -> None:
    """The operator who set nothing, who wrote what is no command; or a service that is away."""
    without = run_program({}, "alert", "list")
    assert without.returncode == 2
    assert "JournalContainer is not set" in without.stderr
    assert run_program({}, "alert", "burn").returncode == 2
    storage = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;TableEndpoint=http://127.0.0.1:9/a;"
    storage += "BlobEndpoint=http://127.0.0.1:9/a;QueueEndpoint=http://127.0.0.1:9/a;"
    nobody = {
        "Mailbox": "Endpoint=sb://127.0.0.1:9;SharedAccessKeyName=a;SharedAccessKey=b",
        "MailboxName": "mailbox",
        "MailboxConsumerGroup": "functions",
        "MailboxGapConsumerGroup": "gaps",
        "JournalStorage": storage,
        "JournalContainer": "journals",
        "DigitalTwinsUrl": "https://127.0.0.1:9",
        "IotHub": "HostName=127.0.0.1;SharedAccessKeyName=a;SharedAccessKey=Yg==",
        "WorkOrderQueue": "orders",
    }
    away = run_program(nobody, "alert", "list")
    assert (away.returncode, away.stdout) == (3, "")
    assert away.stderr
    assert "Traceback" not in away.stderr
