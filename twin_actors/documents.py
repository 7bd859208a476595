"""What apps look up outside the graph: alerts, work orders, operations, manual edits.

Each is a small JSON document of one twin. The owner of the twin's shard writes them through its outbox, apps read
them; a newer version replaces an older one, whatever order they arrive in.
"""

import enum
from datetime import UTC, datetime
from typing import Any

import msgspec

UNHEARD_SECONDS = 60.0
"""So long after its expiry people are told that nobody has heard of an operation: a partition may be behind."""

type PropertyValue = float | int | bool | str
"""What a property of the graph can show."""


class Collection(enum.StrEnum):
    """The kinds of documents."""

    ALERTS = "alerts"
    WORK_ORDERS = "workorders"
    OPERATIONS = "operations"
    EDITS = "edits"


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A document as it is kept.

    Attributes
    ----------
    twin_id, document_id : str
        Together unique in a collection.
    version : int
        Rises with each change: the number of the output that made it; 0 where an app made it.
    status : str
        What lists are filtered by.
    time : float
        Of the change, seconds since 1970.
    body : bytes
        JSON of one of the structs below.
    """

    twin_id: str
    document_id: str
    version: int = 0
    status: str
    time: float
    body: bytes


class Severity(enum.StrEnum):
    """How bad what an alert tells is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Priority(enum.IntEnum):
    """How urgent maintenance is; the number is what the graph shows."""

    UNKNOWN = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


class Reason(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Why something was done without a person asking.

    Attributes
    ----------
    rule, signal : str
        The row that fired, and the property that it watches.
    value, limit : float
        What the property was, and what it must not pass.
    since : datetime
        From when on the condition held without a break.
    position : str
        ``partition-sequence number`` of the reading that decided it; empty where a sweep did.
    reading_time : datetime
        Event time of the newest reading.
    values : dict
        The numbers that the twin showed then.
    prediction_model : str
        The RUL model whose prediction counted; empty where none did.
    twin_model : str
        The DTMI of the twin's model.
    layout, state_version : int
        The versions of the state's layout, and of the state.
    """

    rule: str
    signal: str
    value: float
    limit: float
    since: datetime
    position: str
    reading_time: datetime
    values: dict[str, float]
    prediction_model: str
    twin_model: str
    layout: int
    state_version: int


class Alert(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Something that a person should know of.

    Attributes
    ----------
    alert_id : str
        ``rule-number``: a rule that fires again makes another alert.
    rule : str
    severity : Severity
    text : str
        What it is, and what to do.
    raised : datetime
    cleared : datetime or None
    acknowledged_by : str
        Empty until somebody did.
    acknowledged : datetime or None
    escalations : int
        How often it has become more severe or more urgent, because nobody acknowledged or ended it.
    escalated : datetime or None
        When it did last.
    reason : Reason
    """

    alert_id: str
    rule: str
    severity: Severity
    text: str
    raised: datetime
    reason: Reason
    cleared: datetime | None = None
    acknowledged_by: str = ""
    acknowledged: datetime | None = None
    escalations: int = 0
    escalated: datetime | None = None


class Prediction(msgspec.Struct, frozen=True, array_like=True):
    """How long a machine will last.

    Attributes
    ----------
    estimate, lower, upper : float
        Remaining useful life in days: best estimate and bounds.
    model : str
        The RUL model that says so.
    time : float
        Event time of the newest reading it is made from, seconds since 1970.
    """

    estimate: float
    lower: float
    upper: float
    model: str
    time: float


class WorkOrder(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A request for maintenance: the canonical form, whatever system takes it.

    Attributes
    ----------
    order_id : str
        Unique to the twin's need; revisions of one need keep it.
    revision : int
        1, then one more each time the priority rises.
    idempotency_key : str
        ``order_id.revision``: a receiver that has seen it has the order.
    twin_id, twin_model : str
    priority : str
        low, medium, high or critical.
    title, text : str
        What it is, and what to do.
    created : datetime
    due : datetime or None
        When the lower bound of the remaining useful life ends.
    remaining_useful_life_days, …_lower, …_upper : float or None
    alerts : list of str
        The active alerts.
    reason : Reason
    """

    order_id: str
    revision: int
    idempotency_key: str
    twin_id: str
    twin_model: str
    priority: str
    title: str
    text: str
    created: datetime
    due: datetime | None
    remaining_useful_life_days: float | None
    remaining_useful_life_days_lower: float | None
    remaining_useful_life_days_upper: float | None
    alerts: list[str]
    reason: Reason


class OperationStatus(enum.StrEnum):
    """How far an operation has come.

    accepted → persisted → delivered → answered; or refused, expired or failed.
    """

    ACCEPTED = "accepted"
    PERSISTED = "persisted"
    DELIVERED = "delivered"
    ANSWERED = "answered"
    REFUSED = "refused"
    EXPIRED = "expired"


class Operation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Something that was asked of a twin, by an app or by one of its rules.

    Attributes
    ----------
    operation_id : str
        Unique to the twin; the caller may choose it, repeats are one operation.
    kind : str
        command, edit, acknowledge or delete.
    name : str
        Of the command or of the alert; of an edit the source, empty for people; else empty.
    request : object
        What was asked, JSON.
    caller : str
        Who asked; ``rule:<name>`` for an automatic action.
    status : OperationStatus
        accepted: kept; persisted: in the twin's journal; delivered: the device has it, or will find it as desired
        property; answered: with the device's answer. All but commands end as persisted.
    requested : datetime
    expires : datetime or None
        Not delivered later than this.
    detail : str
        Why it was refused, or how it was delivered.
    answer_status : int or None
    answer : object
        The device's answer.
    reason : Reason or None
        Of an automatic action.
    """

    operation_id: str
    kind: str
    name: str
    request: Any
    caller: str
    status: OperationStatus
    requested: datetime
    expires: datetime | None = None
    detail: str = ""
    answer_status: int | None = None
    answer: Any = None
    reason: Reason | None = None


class Source(enum.StrEnum):
    """Where a value of a property can come from; those above count more, unless a twin type says otherwise."""

    SENSOR = "sensor"
    SIMULATION = "simulation"
    MANUAL = "manual"


class SourceValue(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one source says of a property, and whether it is what is shown.

    Attributes
    ----------
    source : Source
    value : number, bool, str or None
        None where it was taken away. The sensor's is that of the moment of the decision.
    author : str
        Empty for the sensor.
    time : datetime
    is_shown : bool
    detail : str
        Why it is shown, or is not.
    vector : dict
        Source → number of its last write that the author had seen, and its own.
    """

    source: Source = Source.MANUAL
    value: PropertyValue | None
    author: str
    time: datetime
    is_shown: bool
    detail: str
    vector: dict[Source, int] = {}


class Edit(SourceValue, frozen=True, kw_only=True, rename="camel"):
    """The newest value of a property that a person or a simulation set.

    Attributes
    ----------
    property : str
    beside : list of SourceValue
        What the other sources say.
    """

    property: str
    beside: list[SourceValue] = []


def moment(seconds: float) -> datetime:
    """Return seconds since 1970 as a time."""
    return datetime.fromtimestamp(seconds, UTC)


def document_of(
    twin_id: str, document_id: str, status: str, time: float, body: Alert | WorkOrder | Operation | Edit
) -> Document:
    """Return a document, ready to be kept."""
    return Document(twin_id=twin_id, document_id=document_id, status=status, time=time, body=msgspec.json.encode(body))


def shown(document: Document, now: float) -> dict[str, Any]:
    """Return a document as people read it: whose it is, what it says, how far it has come."""
    body: dict[str, Any] = msgspec.json.decode(document.body)
    expires = body.get("expires")
    if document.status == OperationStatus.ACCEPTED and expires is not None:
        late = now - datetime.fromisoformat(expires).timestamp()
        body |= {"detail": "not heard of in time"} if late > UNHEARD_SECONDS else {}
    return {"twinId": document.twin_id, **body, "status": document.status}
