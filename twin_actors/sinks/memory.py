"""Sinks in memory."""

from collections.abc import Mapping

import msgspec

from twin_actors.sinks import Absent, GraphTwin, Stale
from twin_actors.twin import PropertyValue


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

    async def close(self) -> None:
        """Let go of nothing."""

    def _next_etag(self) -> str:
        self._writes += 1
        return f"etag-{self._writes}"
