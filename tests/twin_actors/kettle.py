"""A twin type with all that maintenance knows: rules, commands, a RUL model; and what devices and apps send it."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tests.twin_actors.world import START, World
from twin_actors.documents import Alert, Collection, Document, Operation, WorkOrder
from twin_actors.identity import home_partition
from twin_actors.messages import KIND, TWIN, Event, Kind, Reading
from twin_actors.requests import CommandRequest, Request
from twin_actors.runtime import Runtime
from twin_actors.twin import RUL_RULES, Channel, Command, Rule, Source, Turn, TwinType

KETTLE = "dtmi:test:Kettle;1"
ONE = "kettle-1"


class State(msgspec.Struct, frozen=True):
    """What a kettle remembers."""

    temperature: float | None = None
    scale: float = 0.0


def receive(state: State, message: Reading) -> Turn[State]:
    """Follow the newest reading."""
    if message.is_late:
        return Turn(state)
    values = message.values
    return Turn(State(values.get("temperature", state.temperature), values.get("scale", state.scale)))


def properties(state: State) -> Mapping[str, float]:
    """What the graph shows."""
    return {} if state.temperature is None else {"temperature": state.temperature, "scale": state.scale}


HOT = Rule(
    name="hot",
    signal="temperature",
    above=90.0,
    clears_at=80.0,
    for_seconds=5.0,
    command="cool",
    text="It is too hot: it is cooled.",
)
COOL: Command[State] = Command(
    name="cool",
    low=0.0,
    high=50.0,
    argument=lambda state: (state.temperature or 0.0) / 2.0,
    least_interval_seconds=60.0,
    expires_after_seconds=30.0,
    desired="coolTo",
)
TYPE: TwinType[State] = TwinType(
    name="kettle",
    model=KETTLE,
    state=State,
    receive=receive,
    properties=properties,
    channels=(Channel("temperature", -50.0, 500.0), Channel("scale", 0.0, 1000.0, required=False)),
    features=lambda state: None if state.temperature is None else (state.scale,),
    rules=(HOT, *RUL_RULES),
    commands=(COOL, Command(name="ring")),
    priority={"place": (Source.MANUAL,)},
)
TYPES: dict[str, TwinType[Any]] = {"kettle": TYPE}


class HundredDays:
    """Every kettle lasts a hundred days, less one for each unit of scale."""

    name = "hundred-days"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def predict(self, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return estimate and bounds."""
        self.batches.append(len(rows))
        left = np.maximum(0.0, 100.0 - rows[:, 0])
        return np.stack([left, 0.8 * left, 1.5 * left], axis=1)


def kettles(count: int = 1, partitions: int = 1) -> World:
    """A world of kettles that announce themselves."""
    world = World(partitions)
    model = HundredDays()
    world.models = {"kettle": model}.get
    world.devices.connected = {f"kettle-{number}" for number in range(1, count + 1)}
    return world


def reading(twin_id: str, at: float, **channels: float) -> Event:
    """Return a device's message: what it measured so many seconds after the start."""
    return Event(
        sequence_number=0,
        enqueued_time=0.0,
        body=json.dumps({"time": START + at, **channels}).encode(),
        device_id=twin_id,
        model=KETTLE,
    )


def asked(twin_id: str, request: Request) -> Event:
    """Return what an app asks, as the mailbox takes it."""
    properties = {KIND: Kind.REQUEST.value, TWIN: twin_id}
    return Event(sequence_number=0, enqueued_time=0.0, body=msgspec.json.encode(request), properties=properties)


def tick() -> Event:
    """Return a tick."""
    return Event(sequence_number=0, enqueued_time=0.0, body=b"{}", properties={KIND: Kind.TICK.value})


async def hear(world: World, runtime: Runtime, *events: Event, at: float | None = None) -> None:
    """Let time pass, put events into their home partitions and deliver them, commands included."""
    if at is not None:
        world.clock.passed = max(world.clock.passed, at)
    world.mailbox.time = max(world.mailbox.time, world.clock.now())
    for event in events:
        partition = home_partition(event.device_id or event.properties.get(TWIN, ""), len(world.partitions))
        world.put(partition, event)
    for partition in world.partitions:
        shard = runtime.shard(partition)
        done = -1 if shard is None or shard.watermark is None else shard.watermark.sequence_number
        await runtime.deliver(partition, world.events(partition, done + 1))
    await runtime.settle()


async def documents(world: World, collection: Collection, twin_id: str = "") -> list[Document]:
    """Return what apps see."""
    return (await world.documents.list(collection, twin_id=twin_id, limit=1000)).documents


async def alerts(world: World, twin_id: str = "") -> list[Alert]:
    """Return the alerts that apps see."""
    return [msgspec.json.decode(one.body, type=Alert) for one in await documents(world, Collection.ALERTS, twin_id)]


async def operations(world: World, twin_id: str = "") -> dict[str, Operation]:
    """Return the operations that apps see."""
    found = await documents(world, Collection.OPERATIONS, twin_id)
    return {one.document_id: msgspec.json.decode(one.body, type=Operation) for one in found}


async def work_orders(world: World, twin_id: str = "") -> list[WorkOrder]:
    """Return the work orders that apps see."""
    found = await documents(world, Collection.WORK_ORDERS, twin_id)
    return [msgspec.json.decode(one.body, type=WorkOrder) for one in found]


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
