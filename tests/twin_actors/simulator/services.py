"""The services around the workers, in memory; each tells the books what reached it, the moment it does."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from tests.twin_actors.simulator.books import Books
from tests.twin_actors.simulator.ledger import promise
from tests.twin_actors.world import START
from twin_actors.documents import Collection, Document, PropertyValue, WorkOrder
from twin_actors.errors import Unavailable
from twin_actors.gaps.memory import MemoryMailbox
from twin_actors.journals.memory import MemoryJournal
from twin_actors.messages import Event
from twin_actors.sinks import Answer, DeviceCommand, Offline
from twin_actors.sinks.memory import MemoryDevices, MemoryDocuments, MemoryGraph, MemoryWorkOrders


class Storage(MemoryJournal):
    """Blob storage."""

    def __init__(self, books: Books) -> None:
        super().__init__()
        self._books = books

    async def append(self, path: str, position: int, data: bytes) -> None:
        """Append to a segment."""
        await super().append(path, position, data)
        self._books.appended(path, data)

    async def write(self, path: str, data: bytes, only_if: str | None = None) -> str:
        """Replace an object."""
        tag = await super().write(path, data, only_if)
        await self._books.wrote(self, path, data)
        return tag

    async def delete(self, path: str) -> None:
        """Delete an object or a segment."""
        await super().delete(path)
        await self._books.deleted(self, path)


class Hub(MemoryMailbox):
    """The Event Hub; the hub's clock is right.

    Attributes
    ----------
    chunk : int
        The most that one read returns.
    past : dict
        Identity of a hub that was deleted → the events and the first one that it had of each partition.
    """

    def __init__(self, partition_count: int, books: Books) -> None:
        super().__init__(partition_count)
        self.chunk = 500
        self.past: dict[str, tuple[list[list[Event]], list[int]]] = {}
        self._books = books
        self._waiting: list[asyncio.Future[None]] = []

    def append(self, partition: int, event: Event) -> Event:
        """Append an event."""
        loop = asyncio.get_running_loop()
        self.time = max(self.time, START + loop.time())
        event = super().append(partition, event)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)
        return event

    @property
    def identity(self) -> str:
        """Which hub it is."""
        return self._hub

    def recreate(self) -> None:
        """Delete the hub and make it anew: other events, from number 0."""
        self.past[self._hub] = (self.partitions, self.expired)
        self._hub = f"hub-{len(self.past)}"
        self.partitions = [[] for _ in self.partitions]
        self.expired = [0] * len(self.partitions)

    def of(self, hub: str, partition: int) -> tuple[list[Event], int]:
        """Return the events of a partition, and the first one that is there, in this hub or an earlier one."""
        partitions, expired = self.past.get(hub, (self.partitions, self.expired))
        return partitions[partition], expired[partition]

    async def more(self, partition: int, cursor: int) -> None:
        """Wait until a partition has an event at `cursor`."""
        while len(self.partitions[partition]) <= cursor:
            arrival = asyncio.get_running_loop().create_future()
            self._waiting.append(arrival)
            await arrival

    async def send(self, partition: int, messages: list[tuple[bytes, Mapping[str, str]]]) -> None:
        """Append messages of a worker or an app."""
        self._books.sent(partition, messages)
        await super().send(partition, messages)

    async def send_to(self, hub: str, partition: int, messages: list[tuple[bytes, Mapping[str, str]]]) -> None:
        """Append messages that were sent to the hub of this identity."""
        if hub != self._hub:
            raise Unavailable(f"{hub} is no more")
        await self.send(partition, messages)

    async def read(self, partition: int, first: int, last: int) -> list[Event]:
        """Return events from `first` to `last`, at most a chunk."""
        return (await super().read(partition, first, last))[: self.chunk]


class GraphService(MemoryGraph):
    """Azure Digital Twins."""

    def __init__(self, books: Books) -> None:
        super().__init__()
        self._books = books

    async def create(
        self, twin_id: str, model: str, properties: Mapping[str, PropertyValue], source_time: float = 0.0
    ) -> str:
        """Create a twin."""
        etag = await super().create(twin_id, model, properties, source_time)
        self._books.showed(twin_id, -1, self.twins[twin_id])
        return etag

    async def patch(
        self, twin_id: str, changes: Mapping[str, PropertyValue | None], source_time: float, etag: str
    ) -> str:
        """Set properties of a twin."""
        before = (await self.read(twin_id)).state_version
        new = await super().patch(twin_id, changes, source_time, etag)
        self._books.showed(twin_id, before, self.twins[twin_id])
        return new

    async def remove(self, twin_id: str, state_version: int, model: str = "") -> None:
        """Delete a twin."""
        self._books.removed(twin_id, state_version)
        await super().remove(twin_id, state_version, model)


class DeviceService(MemoryDevices):
    """IoT Hub and the devices behind it, which obey an operation once and nothing older than what they obeyed."""

    def __init__(self, books: Books) -> None:
        super().__init__()
        self.obeyed: dict[str, dict[str, Answer]] = {}
        self._newest: dict[str, int] = {}
        self._books = books

    async def invoke(self, command: DeviceCommand) -> Answer:
        """Call a direct method."""
        self._books.commanded(command)
        twin_id = command.twin_id
        if twin_id not in self.connected:
            raise Offline(f"device {twin_id} is not connected")
        obeyed = self.obeyed.setdefault(twin_id, {})
        if command.operation_id in obeyed:
            return obeyed[command.operation_id]
        answer = Answer(200, command.request)
        if command.state_version < self._newest.get(twin_id, 0):
            answer = Answer(409, b'"older than what I obeyed"')
        elif START + asyncio.get_running_loop().time() > command.expires:
            answer = Answer(410, b'"expired"')
        else:
            self._newest[twin_id] = command.state_version
        obeyed[command.operation_id] = answer
        return answer

    async def set_desired(self, command: DeviceCommand) -> None:
        """Set a desired property."""
        self._books.commanded(command)
        promise(command.desired, f"{command} names no desired property")
        await super().set_desired(command)


class DocumentStore(MemoryDocuments):
    """Table storage."""

    def __init__(self, books: Books) -> None:
        super().__init__()
        self._books = books

    async def put(self, collection: Collection, document: Document) -> None:
        """Keep a document."""
        self._books.documented(collection, document)
        await super().put(collection, document)


class Planning(MemoryWorkOrders):
    """The system that plans maintenance."""

    def __init__(self, books: Books) -> None:
        super().__init__()
        self._books = books

    async def place(self, order: WorkOrder) -> None:
        """Hand over an order."""
        self._books.ordered(order)
        before = self.orders.get(order.idempotency_key)
        promise(before is None or before == order, f"{order.idempotency_key} means two orders: {before} and {order}")
        await super().place(order)


class Services(msgspec.Struct):
    """All of them."""

    storage: Storage
    hub: Hub
    graph: GraphService
    devices: DeviceService
    documents: DocumentStore
    orders: Planning

    @classmethod
    def start(cls, partition_count: int, books: Books) -> "Services":
        """Start them, empty."""
        made: list[Any] = [cls_(books) for cls_ in (GraphService, DeviceService, DocumentStore, Planning)]
        return cls(Storage(books), Hub(partition_count, books), *made)
