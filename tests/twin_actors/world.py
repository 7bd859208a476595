"""A small world in memory: a clock, a mailbox, a graph, a journal, and a twin type that remembers all it heard."""

import itertools
import json
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from twin_actors.active import Ports
from twin_actors.gaps.memory import MemoryMailbox
from twin_actors.identity import home_partition
from twin_actors.journals import Journal
from twin_actors.journals.memory import MemoryJournal
from twin_actors.messages import Event, Reading
from twin_actors.runtime import Runtime
from twin_actors.shard import Shard
from twin_actors.sinks import GraphTwin
from twin_actors.sinks.memory import MemoryDevices, MemoryDocuments, MemoryGraph, MemoryWorkOrders
from twin_actors.snapshot import restore
from twin_actors.twin import Channel, KernelRequest, Turn, TwinType, ask

START = 1_700_000_000.0
PROBE = "dtmi:test:Probe;1"


class FakeClock:
    """A clock that only moves when it is told to, or slept on."""

    def __init__(self, start: float = START) -> None:
        self._start = start
        self.passed = 0.0

    def now(self) -> float:
        """Seconds since 1970."""
        return self._start + self.passed

    def elapsed(self) -> float:
        """Seconds since the start."""
        return self.passed

    async def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self.passed += seconds


class Heard(msgspec.Struct, frozen=True):
    """The state of a probe: every serial number it heard, in order."""

    serials: tuple[float, ...] = ()
    doubled: float = 0.0


def hear(state: Heard, message: Reading) -> Generator[KernelRequest, Any, Turn[Heard]]:
    """Remember the serial number, and what a kernel made of it."""
    doubled = yield ask(double, message.values.get("serial", -1.0))
    return Turn(Heard((*state.serials, message.values.get("serial", -1.0)), doubled))


def double(values: np.ndarray) -> np.ndarray:
    """Twice the value: a kernel."""
    return values * 2


def shown(state: Heard) -> Mapping[str, float]:
    """What the graph shows of a probe."""
    return {"heard": len(state.serials), "doubled": state.doubled}


PROBE_TYPE: TwinType[Heard] = TwinType(
    name="probe",
    model=PROBE,
    state=Heard,
    receive=hear,
    properties=shown,
    channels=(Channel("serial", 0.0, 1e9),),
)
TYPES = {"probe": PROBE_TYPE}


def twin_at(home: int, partitions: int = 2, number: int = 0) -> str:
    """Return the id of the probe with this number whose home is this partition."""
    ids = (f"probe-{index}" for index in itertools.count())
    return next(itertools.islice((one for one in ids if home_partition(one, partitions) == home), number, None))


def telemetry(twin_id: str, *serials: float, message_id: str | None = None, model: str | None = None) -> Event:
    """Return a device's message, not yet in a partition."""
    return Event(
        sequence_number=0,
        enqueued_time=0.0,
        body=json.dumps([{"serial": serial} for serial in serials]).encode(),
        device_id=twin_id,
        model=model,
        message_id=message_id,
    )


class World:
    """Everything around runtimes: what they share, and what their effects are seen in."""

    def __init__(self, partitions: int = 2, journal: Journal | None = None, *, known: Sequence[str] = ()) -> None:
        self.clock = FakeClock()
        self.mailbox = MemoryMailbox(partitions)
        self.graph = MemoryGraph()
        self.devices = MemoryDevices()
        self.documents = MemoryDocuments()
        self.orders = MemoryWorkOrders()
        self.models: Any = lambda _name: None
        self.journal: Any = journal or MemoryJournal()
        self._ids = itertools.count(1)
        for twin_id in known:
            self.graph.twins[twin_id] = GraphTwin(PROBE, f"made-{twin_id}", {})

    @property
    def partitions(self) -> range:
        """The numbers of the partitions."""
        return range(len(self.mailbox.partitions))

    def ports(self) -> Ports:
        """What a runtime is given."""
        return Ports(
            journal=self.journal,
            graph=self.graph,
            sender=self.mailbox,
            reader=self.mailbox,
            devices=self.devices,
            documents=self.documents,
            orders=self.orders,
            models=self.models,
            clock=self.clock,
        )

    def runtime(self, types: Mapping[str, TwinType[Any]] = TYPES, **more: Any) -> Runtime:
        """Start a process."""
        return Runtime(types, self.ports(), lambda: f"owner{next(self._ids)}", **more)

    def put(self, partition: int, *events: Event) -> list[Event]:
        """Append events to a partition."""
        return [self.mailbox.append(partition, event) for event in events]

    def events(self, partition: int, first: int = 0, last: int | None = None) -> list[Event]:
        """Return events of a partition, both ends included."""
        return self.mailbox.partitions[partition][first : None if last is None else last + 1]

    async def deliver_all(self, runtime: Runtime, rounds: int = 12) -> None:
        """Deliver every partition from its start, until nothing new arrives and nothing is owed."""
        for _ in range(rounds):
            before = [len(events) for events in self.mailbox.partitions]
            for partition in self.partitions:
                await runtime.deliver(partition, self.events(partition))
                self.clock.passed += 1.0
            shards = [runtime.shard(partition) for partition in self.partitions]
            if before == [len(events) for events in self.mailbox.partitions] and not any(
                shard is None or shard.outbox or list(shard.owed()) for shard in shards
            ):
                return
            for partition in self.partitions:
                await runtime.tick(partition)
        raise AssertionError("the world does not come to rest")

    def heard(self, runtime: Runtime, twin_id: str) -> list[float]:
        """Return the serial numbers a twin heard, as the runtime that holds it remembers them."""
        shard = runtime.shard(home_partition(twin_id, len(self.mailbox.partitions)))
        assert shard is not None
        return list(heard_of(shard, twin_id))

    async def restored(self, partition: int) -> Shard:
        """Return the shard as storage has it."""
        return (await restore(self.journal, partition))[0]


def heard_of(shard: Shard, twin_id: str) -> tuple[float, ...]:
    """Return the serial numbers a twin of a shard heard."""
    if twin_id not in shard.twins:
        return ()
    return msgspec.msgpack.decode(shard.twins[twin_id].state, type=Heard).serials


ENDS = (
    *("messages", "resent", "dead_letters", "forwarded", "ticks", "forwards_repeated", "replays_ignored", "lost"),
    *("requests", "requests_repeated"),
)
"""What may become of an event."""


def balance(shard: Shard) -> int:
    """Return how many events the counts of a shard account for."""
    return sum(shard.totals.get(name, 0) for name in ENDS)


def same(one: Shard, other: Shard) -> bool:
    """Whether two shards are equal, byte by byte."""
    return msgspec.msgpack.encode(one) == msgspec.msgpack.encode(other)
