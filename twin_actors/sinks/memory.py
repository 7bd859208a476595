"""Sinks in memory."""

from collections.abc import Mapping

import msgspec

from twin_actors.documents import Collection, Document, PropertyValue, WorkOrder
from twin_actors.sinks import Absent, Answer, DeviceCommand, GraphTwin, Offline, Page, Refused, Stale


class MemoryGraph:
    """A `Graph` that lives as long as this object."""

    def __init__(self) -> None:
        self.twins: dict[str, GraphTwin] = {}
        self._writes = 0

    async def read(self, twin_id: str) -> GraphTwin:
        """Return a twin."""
        if twin_id not in self.twins:
            raise Absent(f"twin {twin_id} is not in the graph")
        return self.twins[twin_id]

    async def create(
        self,
        twin_id: str,
        model: str,
        properties: Mapping[str, PropertyValue],
        source_time: float = 0.0,  # noqa: ARG002  the memory keeps no metadata
    ) -> str:
        """Create a twin that must not exist, and return its ETag."""
        if twin_id in self.twins:
            raise Stale(f"twin {twin_id} exists")
        self.twins[twin_id] = GraphTwin(model, self._next_etag(), dict(properties))
        return self.twins[twin_id].etag

    async def patch(
        self,
        twin_id: str,
        changes: Mapping[str, PropertyValue | None],
        source_time: float,  # noqa: ARG002  the memory keeps no metadata
        etag: str,
    ) -> str:
        """Set properties of the twin with this ETag, and return its new one."""
        twin = await self.read(twin_id)
        if twin.etag != etag:
            raise Stale(f"twin {twin_id} has ETag {twin.etag}, not {etag}")
        merged = {**twin.properties, **changes}
        kept = {name: value for name, value in merged.items() if value is not None}
        self.twins[twin_id] = msgspec.structs.replace(twin, etag=self._next_etag(), properties=kept)
        return self.twins[twin_id].etag

    async def remove(self, twin_id: str, state_version: int, model: str = "") -> None:
        """Delete a twin, unless it shows a later version, or has another model than is named."""
        found = self.twins.get(twin_id)
        if found is not None and found.state_version <= state_version and model in {"", found.model}:
            del self.twins[twin_id]

    async def close(self) -> None:
        """Let go of nothing."""

    def _next_etag(self) -> str:
        self._writes += 1
        return f"etag-{self._writes}"


class MemoryDevices:
    """`Devices` that obey at once while they are connected.

    Attributes
    ----------
    connected : set of str
    invoked : list of DeviceCommand
        Every call that reached a device, repeats included.
    desired : dict
        Twin id → property → the command that set it.
    """

    def __init__(self) -> None:
        self.connected: set[str] = set()
        self.invoked: list[DeviceCommand] = []
        self.desired: dict[str, dict[str, DeviceCommand]] = {}

    async def invoke(self, command: DeviceCommand) -> Answer:
        """Call a direct method."""
        if command.twin_id not in self.connected:
            raise Offline(f"device {command.twin_id} is not connected")
        self.invoked.append(command)
        return Answer(200, command.request)

    async def set_desired(self, command: DeviceCommand) -> None:
        """Set the desired property that the command names."""
        self.desired.setdefault(command.twin_id, {})[command.desired] = command

    async def close(self) -> None:
        """Let go of nothing."""


class MemoryDocuments:
    """`Documents` that live as long as this object."""

    def __init__(self) -> None:
        self._kept: dict[Collection, dict[tuple[str, str], Document]] = {name: {} for name in Collection}

    async def put(self, collection: Collection, document: Document) -> None:
        """Keep a document, unless one of a higher or the same version is kept."""
        key = (document.twin_id, document.document_id)
        kept = self._kept[collection].get(key)
        if kept is None or kept.version < document.version:
            self._kept[collection][key] = document

    async def create(self, collection: Collection, document: Document) -> bool:
        """Keep a document that must not exist; return whether it did not."""
        key = (document.twin_id, document.document_id)
        return self._kept[collection].setdefault(key, document) is document

    async def get(self, collection: Collection, twin_id: str, document_id: str) -> Document | None:
        """Return a document; None where there is none."""
        return self._kept[collection].get((twin_id, document_id))

    async def list(
        self, collection: Collection, *, twin_id: str = "", status: str = "", limit: int = 100, token: str = ""
    ) -> Page:
        """Return documents by twin id and document id, those of one twin or one status only where asked."""
        wanted = [
            document
            for _, document in sorted(self._kept[collection].items())
            if twin_id in {"", document.twin_id} and status in {"", document.status}
        ]
        if token and not token.isdecimal():
            raise Refused(f"{token[:40]!r} is not a token of this list")
        start = int(token or 0)
        more = start + limit < len(wanted)
        return Page(wanted[start : start + limit], str(start + limit) if more else "")

    async def close(self) -> None:
        """Let go of nothing."""


class MemoryWorkOrders:
    """`WorkOrders` that remember every order placed, by its idempotency key.

    Attributes
    ----------
    orders : dict
        Idempotency key → order.
    calls : int
        Repeats included.
    """

    def __init__(self) -> None:
        self.orders: dict[str, WorkOrder] = {}
        self.calls = 0

    async def place(self, order: WorkOrder) -> None:
        """Hand over an order."""
        self.calls += 1
        self.orders.setdefault(order.idempotency_key, order)

    async def close(self) -> None:
        """Let go of nothing."""
