"""Where outputs go: one protocol a kind, each with a side in memory and one on Azure.

Errors, by what the runtime does about them:

Unavailable, Unanswered   later, again
Throttled                 not before the time told
Stale                     read, compare, decide anew
Absent                    the twin is not in the graph: create it if its device announced it
Refused                   the receiver will not take this: park it in sight
Offline                   the device is not connected: leave it the desired value, or try again until it expires
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from twin_actors.documents import Collection, Document, PropertyValue, WorkOrder
from twin_actors.errors import TwinfoldError, Unavailable

ANY_VERSION = 2**53
"""Above every state version."""


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
    """The receiver does not take this, now or later."""


class Offline(TwinfoldError):
    """The device is not connected."""


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
        """The version shown, -1 where none was ever shown, or what no twin ever reaches."""
        shown = self.properties.get("stateVersion", -1)
        return int(shown) if isinstance(shown, int | float) and -1 <= shown < ANY_VERSION else -1


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

    async def remove(self, twin_id: str, state_version: int, model: str = "") -> None:
        """Delete a twin with its relationships, unless it shows a later version, or has another model than is named.

        That there is none is no error.

        Raises
        ------
        Unavailable
            It may be deleted or not: remove it again.
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


class DeviceCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A command on its way to a device.

    Attributes
    ----------
    twin_id : str
        The device's id as well.
    name : str
        Of the direct method.
    operation_id : str
        A repeat has the same: the device does it once.
    request : bytes
        JSON of what the command wants.
    state_version : int
        Of the twin that decided it; a device refuses what is older than what it obeyed.
    expires : float
        Seconds since 1970; nobody acts on it later.
    desired : str
        The writable property that says the same to a device that is offline; empty for none.
    """

    twin_id: str
    name: str
    operation_id: str
    request: bytes
    state_version: int
    expires: float
    desired: str = ""


class Answer(msgspec.Struct, frozen=True):
    """What a device says to a command: its own status, and JSON."""

    status: int
    payload: bytes


class Devices(Protocol):
    """IoT Hub, as far as the runtime needs it."""

    async def invoke(self, command: DeviceCommand) -> Answer:
        """Call a direct method with ``{"request", "operationId", "stateVersion", "expires"}``.

        Raises
        ------
        Offline
            The device is not connected, and nothing was sent.
        Refused
            There is no such device, or it will never take this.
        Unavailable
            The device may have it: call again with the same operation id.
        """

    async def set_desired(self, command: DeviceCommand) -> None:
        """Set the desired property that the command names, which the device finds when it returns.

        Its value is ``{"value", "operationId", "stateVersion", "expires"}``.

        Raises
        ------
        Refused, Unavailable
        """

    async def close(self) -> None:
        """Let go of connections."""


class Page(msgspec.Struct, frozen=True):
    """Some documents of a list, and where to go on; an empty token ends it."""

    documents: list[Document]
    token: str = ""


class Documents(Protocol):
    """Alerts, work orders, operations and edits, for apps to look up."""

    async def put(self, collection: Collection, document: Document) -> None:
        """Keep a document, unless one of a higher or the same version is kept.

        Raises
        ------
        Refused
            It can never be kept: its id is too long, or its body.
        Unavailable
            It may be kept or not: put it again.
        """

    async def create(self, collection: Collection, document: Document) -> bool:
        """Keep a document that must not exist; return whether it did not.

        Raises
        ------
        Refused
            It can never be kept: its id is too long, or its body.
        Unavailable
            It may be kept or not: an own document is what `get` returns then.
        """

    async def get(self, collection: Collection, twin_id: str, document_id: str) -> Document | None:
        """Return a document; None where there is none.

        Raises
        ------
        Unavailable
        """

    async def list(
        self, collection: Collection, *, twin_id: str = "", status: str = "", limit: int = 100, token: str = ""
    ) -> Page:
        """Return documents by twin id and document id, those of one twin or one status only where asked.

        The last page may be empty.

        Raises
        ------
        Refused
            The token is none of this list's.
        Unavailable
        """

    async def close(self) -> None:
        """Let go of connections."""


class WorkOrders(Protocol):
    """The system that plans maintenance."""

    async def place(self, order: WorkOrder) -> None:
        """Hand over an order; the same idempotency key again is the same order.

        Raises
        ------
        Refused
            It will not take this order.
        Unavailable
            It may have it or not: place it again.
        """

    async def close(self) -> None:
        """Let go of connections."""
