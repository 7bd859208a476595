"""Where outputs go: one protocol a kind, each with a side in memory and one on Azure.

Errors, by what the runtime does about them:

Unavailable, Unanswered   later, again
Throttled                 not before the time told
Stale                     read, compare, decide anew
Absent                    the twin is not in the graph: create it if its device announced it
Refused                   the graph will not take this: park the twin in sight
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from twin_actors.errors import TwinfoldError, Unavailable
from twin_actors.twin import PropertyValue


class Throttled(Unavailable):
    """The service asks for patience.

    Parameters
    ----------
    retry_after_seconds : float
    """

    def __init__(self, retry_after_seconds: float) -> None:
        super().__init__(f"throttled, retry after {retry_after_seconds:g} s")
        self.retry_after_seconds = retry_after_seconds


class Stale(TwinfoldError):
    """The twin in the graph is not the one that was read."""


class Absent(TwinfoldError):
    """The twin is not in the graph."""


class Refused(TwinfoldError):
    """The graph does not take this, now or later."""


class GraphTwin(msgspec.Struct, frozen=True):
    """A twin as the graph shows it.

    Attributes
    ----------
    model : str
        Its DTMI.
    etag : str
    properties : dict
        Top-level properties with primitive values.
    """

    model: str
    etag: str
    properties: dict[str, PropertyValue]

    @property
    def state_version(self) -> int:
        """The version shown, -1 where none was ever shown."""
        shown = self.properties.get("stateVersion", -1)
        return int(shown) if isinstance(shown, int | float) else -1


class Graph(Protocol):
    """Azure Digital Twins, as far as the runtime needs it."""

    async def read(self, twin_id: str) -> GraphTwin:
        """Return a twin.

        Raises
        ------
        Absent, Unavailable
        """

    async def create(
        self, twin_id: str, model: str, properties: Mapping[str, PropertyValue], source_time: float = 0.0
    ) -> str:
        """Create a twin that must not exist, and return its ETag.

        Parameters
        ----------
        twin_id, model, properties
        source_time
            As in `patch`.

        Raises
        ------
        Stale
            It exists.
        Refused, Unavailable
        """

    async def patch(
        self, twin_id: str, changes: Mapping[str, PropertyValue | None], source_time: float, etag: str
    ) -> str:
        """Set properties (None removes one) of the twin with this ETag, and return its new one.

        Parameters
        ----------
        twin_id, changes
        source_time
            Event time of the change, seconds since 1970; 0 where there is none.
        etag

        Raises
        ------
        Stale, Absent, Refused, Unavailable
        """

    async def close(self) -> None:
        """Let go of connections."""


class MailboxSender(Protocol):
    """Sends messages of our own to a partition of the mailbox."""

    async def send(self, partition: int, messages: list[tuple[bytes, Mapping[str, str]]]) -> None:
        """Send bodies with their properties, in order; when this returns, all are in the hub.

        Raises
        ------
        Unavailable
            Some may be there; the same messages must be sent again from the first on.
        """

    async def close(self) -> None:
        """Let go of connections."""
