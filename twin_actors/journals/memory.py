"""The journal in memory: for tests, and for trying a twin without storage."""

from twin_actors.errors import Fenced, PartitionStopped
from twin_actors.journals import ABSENT, Names, Stored


class MemoryJournal:
    """A `Journal` that lives as long as this object; many runtimes may share it."""

    def __init__(self) -> None:
        self._segments: dict[str, bytearray] = {}
        self._objects: dict[str, Stored] = {}
        self._writes = 0

    async def create_segment(self, path: str) -> bool:
        """Make an empty segment; return False where it exists."""
        if path in self._segments:
            return False
        self._segments[path] = bytearray()
        return True

    async def append(self, path: str, position: int, data: bytes) -> None:
        """Append to a segment that is exactly `position` bytes long."""
        segment = self._segments.get(path)
        if segment is None:
            raise PartitionStopped(f"segment {path} does not exist")
        if len(segment) != position:
            raise Fenced(f"segment {path} has {len(segment)} bytes, not {position}")
        segment += data

    async def read_segment(self, path: str, start: int) -> bytes | None:
        """Return the bytes of a segment from `start` on; None where there is no such segment."""
        segment = self._segments.get(path)
        return None if segment is None else bytes(segment[start:])

    async def read(self, path: str) -> Stored | None:
        """Return an object; None where there is none."""
        return self._objects.get(path)

    async def write(self, path: str, data: bytes, only_if: str | None = None) -> str:
        """Replace an object, and return its new tag."""
        current = self._objects.get(path)
        tag = ABSENT if current is None else current.etag
        if only_if is not None and only_if != tag:
            raise Fenced(f"object {path} has tag {tag!r}, not {only_if!r}")
        self._writes += 1
        self._objects[path] = Stored(bytes(data), f"etag-{self._writes}")
        return self._objects[path].etag

    async def delete(self, path: str) -> None:
        """Delete an object or a segment; one that is absent is fine."""
        self._objects.pop(path, None)
        self._segments.pop(path, None)

    async def names(self, prefix: str) -> list[str]:
        """Return the paths that begin with `prefix`, sorted."""
        return sorted(path for path in (*self._segments, *self._objects) if path.startswith(prefix))

    async def sizes(self, prefix: str) -> dict[str, int]:
        """Return the paths that begin with `prefix`, and how many bytes each has."""
        sizes = {path: len(data) for path, data in self._segments.items()}
        sizes |= {path: len(stored.data) for path, stored in self._objects.items()}
        return {path: size for path, size in sizes.items() if path.startswith(prefix)}

    async def page(self, prefix: str, limit: int, token: str = "") -> Names:
        """Return the next paths that begin with `prefix`, at most `limit`, sorted over all pages."""
        left = [path for path in await self.names(prefix) if path > token]
        return Names(left[:limit], left[limit - 1] if len(left) > limit else "")

    async def close(self) -> None:
        """Let go of nothing."""
