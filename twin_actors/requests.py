"""What apps ask of twins: commands, manual edits, acknowledgements.

A request travels to the home of its twin through the mailbox, like a device's message, and is folded in order with
it. What becomes of it is an `Operation` that apps can look up.
"""

from typing import Any

import msgspec

from twin_actors.documents import (
    Collection,
    Document,
    Operation,
    OperationStatus,
    PropertyValue,
    Source,
    document_of,
    moment,
)
from twin_actors.errors import Rejected
from twin_actors.identity import home_partition
from twin_actors.messages import KIND, TWIN, Event, Kind
from twin_actors.sinks import Documents, MailboxSender

MAX_REQUEST_BYTES = 65_536
"""Of one request, encoded."""

MAX_NAME_LENGTH = 128
"""Of an operation id, a caller, a command, a property, an alert id."""

MAX_TEXT_LENGTH = 4_096
"""Of a text that a person sets: what Azure Digital Twins takes."""

MAX_CHANGES = 64
"""Properties set by one edit."""

MAX_NUMBER = 10**15
"""No twin has been written so often."""

AUTOMATIC = "auto-"
"""How the ids of operations begin that rules ask for; nobody else may use it."""

RULE = "rule:"
"""How the callers of those operations begin."""

LAST_TIME = 4_102_444_800.0
"""The year 2100: no request is from later."""


class CommandRequest(msgspec.Struct, frozen=True, kw_only=True, tag="command"):
    """Let the twin's device do something.

    Attributes
    ----------
    operation_id, caller : str
    name : str
        Of the DTDL command.
    request : object
        What the command's request schema wants; None where it wants nothing.
    requested, expires : float
        Seconds since 1970; after `expires` the command is not delivered.
    """

    operation_id: str
    caller: str
    name: str
    request: Any
    requested: float
    expires: float


class EditRequest(msgspec.Struct, frozen=True, kw_only=True, tag="edit"):
    """Set properties by hand or by a simulation; None takes the source's value away.

    Attributes
    ----------
    operation_id, caller : str
    changes : dict
        Property → value.
    requested : float
        Seconds since 1970.
    source : Source
        manual or simulation.
    seen : dict
        The version vector that the caller has seen of the properties; what it does not contain is concurrent.
    """

    operation_id: str
    caller: str
    changes: dict[str, PropertyValue | None]
    requested: float
    source: Source = Source.MANUAL
    seen: dict[Source, int] = {}


class Acknowledgement(msgspec.Struct, frozen=True, kw_only=True, tag="acknowledge"):
    """Somebody has seen an alert."""

    operation_id: str
    caller: str
    alert_id: str
    requested: float


class Deletion(msgspec.Struct, frozen=True, kw_only=True, tag="delete"):
    """Forget a twin, and take it out of the graph with its relationships."""

    operation_id: str
    caller: str
    requested: float


type Request = CommandRequest | EditRequest | Acknowledgement | Deletion


class AddressedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request on its way to a turn: as an `Envelope` is for readings."""

    twin_id: str
    request: Request
    event: Event
    sequence_number: int


_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(
    CommandRequest | EditRequest | Acknowledgement | Deletion
)


def decode_request(body: bytes) -> Request:
    """Read a request.

    Raises
    ------
    Rejected
        The body is none.
    """
    try:
        request = _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Rejected("bad_request", f"the body is no request: {error}") from None
    check_request(request)
    return request


def check_request(request: Request) -> None:
    """Refuse what cannot be kept, whoever sends it.

    Raises
    ------
    Rejected
    """
    names = [request.operation_id, request.caller]
    times = [request.requested]
    if isinstance(request, CommandRequest):
        names.append(request.name)
        times.append(request.expires)
    elif isinstance(request, EditRequest):
        names += request.changes
        _check_edit(request)
    elif isinstance(request, Acknowledgement):
        names.append(request.alert_id)
    if not all(0 < len(name) <= MAX_NAME_LENGTH for name in names):
        raise Rejected("bad_request", f"ids and names have 1 to {MAX_NAME_LENGTH} letters")
    if request.operation_id.startswith(AUTOMATIC) or request.caller.startswith(RULE):
        raise Rejected(
            "bad_request", f"{AUTOMATIC}… and {RULE}… belong to rules; choose another operation id or caller"
        )
    if not all(0.0 <= time <= LAST_TIME for time in times):
        raise Rejected("bad_request", "a time is not between 1970 and 2100")
    try:
        msgspec.msgpack.encode(request)
    except (OverflowError, ValueError) as error:
        raise Rejected("bad_request", f"a number is too large to be kept: {error}") from None


def _check_edit(request: EditRequest) -> None:
    if len(request.changes) > MAX_CHANGES:
        raise Rejected("bad_request", f"{len(request.changes)} properties are set, at most {MAX_CHANGES} at once")
    if request.source is Source.SENSOR:
        raise Rejected("bad_request", "a device says what it measures by telemetry: edits are manual or simulation")
    if not all(0 <= number < MAX_NUMBER for number in request.seen.values()):
        raise Rejected("bad_request", f"the numbers of what was seen are below {MAX_NUMBER}")
    for name, value in request.changes.items():
        if isinstance(value, str) and len(value) > MAX_TEXT_LENGTH:
            raise Rejected("bad_request", f"{name} has {len(value)} letters, at most {MAX_TEXT_LENGTH} are kept")


def operation_of(request: Request, status: OperationStatus, detail: str = "") -> Operation:
    """Return how far a request has come."""
    common: dict[str, Any] = {
        "operation_id": request.operation_id,
        "caller": request.caller,
        "status": status,
        "requested": moment(request.requested),
        "detail": detail,
    }
    if isinstance(request, CommandRequest):
        expires = moment(request.expires)
        return Operation(kind="command", name=request.name, request=request.request, expires=expires, **common)
    if isinstance(request, EditRequest):
        source = "" if request.source is Source.MANUAL else request.source.value
        return Operation(kind="edit", name=source, request=request.changes, **common)
    if isinstance(request, Deletion):
        return Operation(kind="delete", name="", request=None, **common)
    return Operation(kind="acknowledge", name=request.alert_id, request=None, **common)


async def submit(
    twin_id: str, request: Request, documents: Documents, sender: MailboxSender, partition_count: int
) -> Document:
    """Hand a request to the home of its twin; the same operation id again is the same operation.

    Parameters
    ----------
    twin_id, request
    documents, sender
    partition_count
        Over which twins are spread (``partition-count`` in the journal).

    Returns
    -------
    Document
        The operation as it stands: new, or what an earlier request with this id has become.

    Raises
    ------
    Rejected
        The operation id was used for something else, or the request is too large.
    Unavailable
        Nothing is known of what happened: ask again with the same operation id.
    """
    check_request(request)
    body = msgspec.json.encode(request)
    if len(body) > MAX_REQUEST_BYTES:
        raise Rejected("too_large", f"the request has {len(body)} bytes, at most {MAX_REQUEST_BYTES} are taken")
    operation = operation_of(request, OperationStatus.ACCEPTED)
    accepted = document_of(twin_id, request.operation_id, operation.status, request.requested, operation)
    if not await documents.create(Collection.OPERATIONS, accepted):
        known = await documents.get(Collection.OPERATIONS, twin_id, request.operation_id)
        if known is not None:
            before = msgspec.json.decode(known.body, type=Operation)
            if (before.kind, before.name, before.request) != (operation.kind, operation.name, operation.request):
                raise Rejected(
                    "operation_id_used",
                    f"operation {request.operation_id} of twin {twin_id} is another one ({before.kind} {before.name}); "
                    "choose an id of your own for each operation",
                )
            if known.status != OperationStatus.ACCEPTED:
                return known
    # An operation that stands as accepted may not have been sent: sending it twice is safe, the twin knows its id.
    await sender.send(home_partition(twin_id, partition_count), [(body, {KIND: Kind.REQUEST.value, TWIN: twin_id})])
    return accepted
