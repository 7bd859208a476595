"""The JSON that apps read: twins, and what is kept of them."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from twin_actors.documents import OperationStatus, Severity


class View(BaseModel):
    """Camel case outside, snake case inside."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


Priority = Literal["unknown", "low", "medium", "high", "critical"]
Connection = Literal["unknown", "online", "late", "offline"]


class TwinSummary(View):
    """A twin in a list; what is not known is null."""

    twin_id: str
    model: str = Field(description="The DTMI of its model.")
    type: str | None = Field(description="Its twin type; null where this app does not run it.")
    connection: Connection | None = None
    quality: str | None = Field(default=None, description="How far its newest reading can be trusted.")
    health: float | None = Field(default=None, description="1 as good as new, 0 at the end of what is acceptable.")
    maintenance_priority: Priority = "unknown"
    remaining_useful_life_days: float | None = None
    remaining_useful_life_days_lower: float | None = None
    remaining_useful_life_days_upper: float | None = None
    active_alerts: int = 0
    last_reading_time: datetime | None = None


class SourceValueView(View):
    """What one source says of a property."""

    source: str = Field(description="sensor, simulation or manual.")
    value: JsonValue = Field(description="Null where it was taken away; a sensor's is that of the decision.")
    author: str
    time: datetime
    is_shown: bool
    detail: str = Field(description="Why it is shown, or is not: how the conflict was resolved.")
    vector: dict[str, int] = Field(
        default={}, description="How many writes of each source the author had seen, and its own number."
    )


class EditView(SourceValueView):
    """A value of a property that a person or a simulation set."""

    source: str = Field(default="manual", description="manual or simulation.")
    beside: list[SourceValueView] = Field(default=[], description="What the other sources say.")


class PropertyView(View):
    """A property's value and where it comes from."""

    value: JsonValue = Field(description="What the graph shows; null where it shows nothing.")
    unit: str | None = Field(default=None, description="DTDL's name of the unit.")
    source: str = Field(
        description="What the value comes from: as the twin type declares it; runtime or twin where it declares"
        " nothing; manual or simulation where such a value is shown."
    )
    source_time: datetime | None = Field(default=None, description="Event time of the newest reading behind it.")
    last_update_time: datetime | None = Field(default=None, description="When the graph took it.")
    is_writable: bool = Field(default=False, description="Whether it can be set by hand.")
    edit: EditView | None = Field(
        default=None, description="The newest value that a person or a simulation set, shown or not."
    )
    vector: str = Field(
        default="", description="What has been written so far: as `seen`, an edit says that its author knows all that."
    )


class TwinView(View):
    """One twin."""

    twin_id: str
    model: str
    type: str | None
    quality: str | None = Field(default=None, description="How far its newest reading as a whole can be trusted.")
    commands: list[str] = Field(description="What its device can be told.")
    properties: dict[str, PropertyView]


class RelationshipView(View):
    """A link between two twins."""

    relationship_id: str
    name: str
    direction: Literal["outgoing", "incoming"]
    source_id: str
    target_id: str
    properties: dict[str, JsonValue]


class ReasonView(View):
    """Why something was done without a person asking."""

    rule: str
    signal: str = Field(description="The property that the rule watches.")
    value: float | None
    limit: float | None
    since: datetime
    position: str
    reading_time: datetime
    values: dict[str, float | None]
    prediction_model: str = Field(description="The RUL model whose prediction counted; empty where none did.")
    twin_model: str
    layout: int
    state_version: int


class AlertView(View):
    """Something that a person should know of."""

    twin_id: str
    status: str = Field(description="active or cleared.")
    alert_id: str
    rule: str
    severity: Severity
    text: str
    raised: datetime
    cleared: datetime | None = None
    acknowledged_by: str = ""
    acknowledged: datetime | None = None
    escalations: int = Field(default=0, description="How often it has become more urgent, because nobody heeded it.")
    escalated: datetime | None = Field(default=None, description="When it did last.")
    reason: ReasonView


class WorkOrderView(View):
    """A request for maintenance."""

    twin_id: str
    status: str
    order_id: str
    revision: int
    idempotency_key: str
    twin_model: str
    priority: str
    title: str
    text: str
    created: datetime
    due: datetime | None = None
    remaining_useful_life_days: float | None = None
    remaining_useful_life_days_lower: float | None = None
    remaining_useful_life_days_upper: float | None = None
    alerts: list[str]
    reason: ReasonView


class OperationView(View):
    """Something that was asked of a twin, and how far it has come."""

    twin_id: str
    operation_id: str
    kind: str = Field(description="command, edit, acknowledge or delete.")
    name: str
    request: JsonValue
    caller: str
    status: OperationStatus
    requested: datetime
    expires: datetime | None = None
    detail: str = ""
    answer_status: int | None = None
    answer: JsonValue = None
    reason: ReasonView | None = None


class FleetHealth(View):
    """How the twins of this app are, all together."""

    twins: int
    is_complete: bool = Field(description="Whether all twins were looked at, or the fleet is larger than that.")
    by_maintenance_priority: dict[Priority, int]
    by_connection: dict[Connection, int]
    mean_health: float | None
    worst_health: float | None
    active_alerts: int
    next_to_fail: list[TwinSummary] = Field(
        description="Those with the shortest remaining useful life, shortest first."
    )


class DeadLetterSummary(View):
    """A message that could not be folded."""

    letter_id: str
    partition: int
    sequence_number: int
    reason: str
    detail: str
    twin_id: str
    device_id: str | None = None
    enqueued_time: datetime | None = None
    bytes: int


class DeadLetterView(DeadLetterSummary):
    """A dead letter with all that arrived."""

    message_id: str | None = None
    content_type: str | None = None
    properties: dict[str, str]
    body: str = Field(description="As text; bytes that are none are escaped.")


class ReplayView(View):
    """A dead letter will be folded again."""

    letter_id: str
    replay: Literal["requested"] = "requested"


class ProbeView(View):
    """The answer of a probe."""

    status: str
