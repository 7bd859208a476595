"""Where journals are kept: what the runtime needs of storage, no more.

`memory.py` and `blob.py` are the two sides; ``tests/twin_actors/journal_contract.py`` holds both to
what is promised here.
"""

from typing import Protocol

import msgspec

from twin_actors.errors import Unavailable

ABSENT = ""
"""As a condition: the object must not exist yet."""

PARTITION_COUNT = "partition-count"
"""Where the number of partitions stands that twins are spread over."""


class Stored(msgspec.Struct, frozen=True):
    """An object as read: its bytes, and the tag that its next change can be made conditional on."""

    data: bytes
    etag: str


class Names(msgspec.Struct, frozen=True):
    """Some paths of a list, and where to go on; an empty token ends it."""

    paths: list[str]
    token: str = ""


class Journal(Protocol):
    """Append-only segments and small objects, each named by a path.

    Every write is conditional where two owners could meet. A write whose answer is lost raises
    `Unanswered`: it may or may not have happened.
    """

    async def create_segment(self, path: str) -> bool:
        """Make an empty segment; return False where it exists.

        Raises
        ------
        Unanswered
        """

    async def append(self, path: str, position: int, data: bytes) -> None:
        """Append to a segment that is exactly `position` bytes long.

        Raises
        ------
        Fenced
            It has another length: somebody else has written.
        Unanswered
        PartitionStopped
            There is no such segment.
        """

    async def read_segment(self, path: str, start: int) -> bytes | None:
        """Return the bytes of a segment from `start` on; None where there is no such segment.

        Raises
        ------
        Unavailable
        """

    async def read(self, path: str) -> Stored | None:
        """Return an object; None where there is none.

        Raises
        ------
        Unavailable
        """

    async def write(self, path: str, data: bytes, only_if: str | None = None) -> str:
        """Replace an object, and return its new tag.

        Parameters
        ----------
        path, data
        only_if
            The tag it must have, or `ABSENT`; None writes in any case.

        Raises
        ------
        Fenced
            The condition does not hold.
        Unanswered
        """

    async def delete(self, path: str) -> None:
        """Delete an object or a segment; one that is absent is fine.

        Raises
        ------
        Unavailable
        """

    async def names(self, prefix: str) -> list[str]:
        """Return the paths that begin with `prefix`, sorted.

        Raises
        ------
        Unavailable
        """

    async def sizes(self, prefix: str) -> dict[str, int]:
        """Return the paths that begin with `prefix`, and how many bytes each has.

        Raises
        ------
        Unavailable
        """

    async def page(self, prefix: str, limit: int, token: str = "") -> Names:
        """Return the next paths that begin with `prefix`, at most `limit`, sorted over all pages.

        Raises
        ------
        Unavailable
        """

    async def close(self) -> None:
        """Let go of connections."""


async def read_partition_count(journal: Journal) -> int | None:
    """Return over how many partitions twins are spread; None before any worker has started.

    Raises
    ------
    Unavailable
    """
    stored = await journal.read(PARTITION_COUNT)
    return None if stored is None else int(stored.data)


async def partition_count(journal: Journal) -> int:
    """Return over how many partitions twins are spread.

    Raises
    ------
    Unavailable
        Also before any worker has started.
    """
    count = await read_partition_count(journal)
    if count is None:
        raise Unavailable("no worker has started yet: nobody would hear what is asked; start the function app first")
    return count
