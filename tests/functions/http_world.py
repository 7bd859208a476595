"""A twin type, and all that HTTP stands on, without a network beyond this machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.digitaltwins.core.aio import DigitalTwinsClient

from functions.http.sides import Sides
from local_emulator.digital_twins import DigitalTwins
from tests.end_to_end.tokens import TestCredential
from twin_actors.documents import (
    Alert,
    Collection,
    Document,
    Edit,
    Operation,
    OperationStatus,
    Reason,
    Severity,
    WorkOrder,
    moment,
)
from twin_actors.gaps.memory import MemoryMailbox
from twin_actors.journals.memory import MemoryJournal
from twin_actors.registry import Registry, load_registry
from twin_actors.sinks.memory import MemoryDocuments
from twin_actors.twin import Command, Message, Turn, TwinType

NOW = 1_767_225_600.0
VALVE = "dtmi:test:Valve;1"
ROOM = "dtmi:test:Room;1"
PARTITIONS = 4

MODEL: dict[str, Any] = {
    "@context": ["dtmi:dtdl:context;3", "dtmi:dtdl:extension:quantitativeTypes;1"],
    "@id": VALVE,
    "@type": "Interface",
    "extends": "dtmi:twinfold:Twin;1",
    "contents": [
        {"@type": ["Property", "Length"], "name": "lift", "schema": "double", "unit": "millimetre"},
        {"@type": "Property", "name": "opening", "schema": "double", "writable": True},
        {"@type": "Property", "name": "turns", "schema": "integer", "writable": True},
        {"@type": "Property", "name": "wornBy", "schema": "double"},
        {"@type": "Command", "name": "move", "request": {"name": "to", "schema": "double"}},
        {"@type": "Command", "name": "close"},
        {"@type": "Command", "name": "undeclared"},
        {
            "@type": "Command",
            "name": "plan",
            "request": {
                "name": "steps",
                "schema": {"@type": "Object", "fields": [{"name": "at", "schema": "long"}]},
            },
        },
        {"@type": "Relationship", "name": "feeds"},
    ],
}
ROOM_MODEL: dict[str, Any] = {
    "@context": "dtmi:dtdl:context;3",
    "@id": ROOM,
    "@type": "Interface",
    "contents": [
        {"@type": "Property", "name": "area", "schema": "double"},
        {
            "@type": "Relationship",
            "name": "contains",
            "properties": [{"@type": "Property", "name": "since", "schema": "date"}],
        },
    ],
}


class State(msgspec.Struct, frozen=True):
    """A valve remembers nothing here: HTTP never sees a state."""


def receive(state: State, _message: Message) -> Turn[State]:
    """Remember nothing."""
    return Turn(state)


def properties(_state: State) -> Mapping[str, float]:
    """Show nothing."""
    return {}


TYPE = TwinType(
    name="valve",
    model=VALVE,
    state=State,
    receive=receive,
    properties=properties,
    channels=(),
    commands=(Command(name="move", low=0.0, high=3000.0), Command(name="close"), Command(name="plan")),
    sources={"lift": "sensor", "wornBy": "estimate"},
)


def registry() -> Registry:
    """Return a registry of the one type."""
    common = load_registry().documents[0]
    return Registry(
        by_name=MappingProxyType({"valve": TYPE}), by_model=MappingProxyType({VALVE: TYPE}), documents=(common, MODEL)
    )


class StillClock:
    """It is always the same time."""

    def now(self) -> float:
        """Return the time."""
        return NOW

    def elapsed(self) -> float:
        """Return no time."""
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """Do not wait."""


@dataclass
class World:
    """The sides, by what tests look into."""

    service: DigitalTwins
    graph: DigitalTwinsClient
    documents: MemoryDocuments
    mailbox: MemoryMailbox
    journal: MemoryJournal

    def sides(self) -> Sides:
        """Return the sides as the app knows them."""
        return Sides(self.graph, self.documents, self.mailbox, self.mailbox, self.journal, registry(), StillClock())

    def sent(self) -> list[tuple[int, dict[str, str], Any]]:
        """Return what was sent: partition, properties, body."""
        return [
            (number, event.properties, msgspec.json.decode(event.body))
            for number, events in enumerate(self.mailbox.partitions)
            for event in events
        ]

    async def add_valve(self, twin_id: str, **shown: object) -> None:
        """Put a valve into the graph."""
        metadata = {"$model": VALVE} | {name: {"sourceTime": "2026-01-01T00:00:00.25Z"} for name in shown}
        await self.graph.upsert_digital_twin(twin_id, {"$metadata": metadata, **shown})

    async def keep(
        self,
        collection: Collection,
        twin_id: str,
        document_id: str,
        status: str,
        body: Alert | WorkOrder | Edit | Operation,
    ) -> None:
        """Put a document where apps look it up."""
        document = Document(
            twin_id=twin_id, document_id=document_id, version=1, status=status, time=NOW, body=msgspec.json.encode(body)
        )
        await self.documents.put(collection, document)


async def make_world(service: DigitalTwins) -> World:
    """Return a world with the models and the partition count, and no twins."""
    graph = DigitalTwinsClient(service.url, TestCredential(), authentication_policy=SansIOHTTPPolicy(), retry_total=0)
    await graph.create_models([*map(dict, registry().documents), ROOM_MODEL])
    world = World(service, graph, MemoryDocuments(), MemoryMailbox(PARTITIONS), MemoryJournal())
    await world.journal.write("partition-count", str(PARTITIONS).encode())
    return world


REASON = Reason(
    rule="worn",
    signal="wornBy",
    value=0.9,
    limit=0.8,
    since=moment(NOW - 60.0),
    position="2-17",
    reading_time=moment(NOW),
    values={"wornBy": 0.9},
    prediction_model="",
    twin_model=VALVE,
    layout=1,
    state_version=12,
)


def alert(number: int = 1) -> Alert:
    """Return an alert."""
    return Alert(
        alert_id=f"worn-{number}",
        rule="worn",
        severity=Severity.WARNING,
        text="The seat is worn: plan its repair.",
        raised=moment(NOW),
        reason=REASON,
    )


def work_order(twin_id: str) -> WorkOrder:
    """Return a work order."""
    return WorkOrder(
        order_id=f"{twin_id}-order-1",
        revision=2,
        idempotency_key=f"{twin_id}-order-1.2",
        twin_id=twin_id,
        twin_model=VALVE,
        priority="high",
        title="Repair the seat",
        text="The seat is worn.",
        created=moment(NOW),
        due=moment(NOW + 86_400.0),
        remaining_useful_life_days=20.0,
        remaining_useful_life_days_lower=10.0,
        remaining_useful_life_days_upper=None,
        alerts=["worn-1"],
        reason=REASON,
    )


def operation(operation_id: str) -> Operation:
    """Return an operation that a rule began."""
    return Operation(
        operation_id=operation_id,
        kind="command",
        name="move",
        request=10.0,
        caller="rule:worn",
        status=OperationStatus.ANSWERED,
        requested=moment(NOW),
        expires=moment(NOW + 60.0),
        answer_status=200,
        answer={"moved": True},
        reason=REASON,
    )
