"""What a twin remembers of its maintenance, beside its own state, and how that is shown to the graph and to apps.

It is committed with the state, and so survives whatever becomes of the process: an alert that is active is not raised
again, a command that was given is not given again before its interval is over.
"""

import math
from collections.abc import Iterable
from typing import Any

import msgspec

from twin_actors.conflict import Contested, Write
from twin_actors.documents import (
    Alert,
    Collection,
    Operation,
    Prediction,
    Priority,
    PropertyValue,
    Source,
    WorkOrder,
    document_of,
)
from twin_actors.outputs import PutDocument, SendCommand
from twin_actors.sinks import DeviceCommand
from twin_actors.twin import RUL, Command, Rule, TwinType


class Watch(msgspec.Struct, frozen=True, array_like=True):
    """What a rule remembers.

    Attributes
    ----------
    since : float
        From when on the limit has been passed without a break, event time; 0 while it is not.
    alert : Alert or None
        The one that is active.
    raised : float
        When it was raised by the cloud's clock: people have been able to see it since then.
    steps : int
        How often it has become more urgent.
    """

    since: float = 0.0
    alert: Alert | None = None
    raised: float = 0.0
    steps: int = 0


IDLE = Watch()


class Given(msgspec.Struct, frozen=True, array_like=True):
    """The last command of a name that a rule gave, or tried to.

    Attributes
    ----------
    time, hub_time : float
        Event time and the cloud's time of it: the least interval holds in both, so that readings that were kept
        while a device was away do not give a hundred commands at once.
    argument : float
        What it asked for; NaN where there was nothing to ask for, or where nothing came of it.
    """

    time: float
    argument: float
    hub_time: float = 0.0


class OpenOrder(msgspec.Struct, frozen=True, array_like=True):
    """A need for maintenance that has been passed on."""

    order_id: str
    document_id: str
    revision: int
    priority: Priority


class ManualValue(msgspec.Struct, frozen=True, array_like=True):
    """A property as a person set it, as format 1 kept it."""

    value: PropertyValue | None
    author: str
    time: float
    is_shown: bool


class Maintenance(msgspec.Struct, frozen=True, array_like=True):
    """What a twin remembers of its maintenance, beside its own state.

    Attributes
    ----------
    prediction : Prediction or None
        The last one that was worth telling.
    watches : dict
        Rule → what it remembers; rules that are idle are left out.
    given : dict
        Command → the last time a rule gave it.
    order : OpenOrder or None
    edits : dict
        Of format 1: property → what a person set; empty once it has been read.
    operations : list of str
        The newest operation ids, oldest first: a repeat is one operation.
    number : int
        Of alerts, orders and automatic operations so far.
    contested : dict
        Property → what people and simulations have set, beside what the device says.
    """

    prediction: Prediction | None = None
    watches: dict[str, Watch] = {}
    given: dict[str, Given] = {}
    order: OpenOrder | None = None
    edits: dict[str, ManualValue] = {}
    operations: list[str] = []
    number: int = 0
    contested: dict[str, Contested] = {}

    def __post_init__(self) -> None:
        """Read what format 1 kept: nobody could say then what they had seen."""
        if self.edits:
            contested = {name: _contested(edit) for name, edit in self.edits.items()}
            msgspec.structs.force_setattr(self, "contested", {**contested, **self.contested})
            msgspec.structs.force_setattr(self, "edits", {})

    @property
    def alerts(self) -> list[Alert]:
        """The active alerts."""
        return [watch.alert for watch in self.watches.values() if watch.alert is not None]


def _contested(edit: ManualValue) -> Contested:
    manual = Write(Source.MANUAL, edit.value, edit.author, edit.time, {Source.MANUAL: 1})
    hidden = None if edit.value is None else Source.SENSOR
    return Contested({Source.MANUAL: manual}, Source.MANUAL if edit.is_shown else hidden)


def priority(maintenance: Maintenance, twin_type: TwinType[Any]) -> Priority:
    """Return how urgent maintenance is: the most urgent active alert's, low without any."""
    if not twin_type.rules:
        return Priority.UNKNOWN
    watches = [(rule, watched(maintenance, rule)) for rule in twin_type.rules]
    return max((urgency(rule, watch) for rule, watch in watches if watch.alert is not None), default=Priority.LOW)


def urgency(rule: Rule, watch: Watch) -> Priority:
    """Return how urgent an alert is, as far as it has escalated."""
    passed = rule.escalations[: watch.steps]
    return passed[-1].priority if passed else rule.priority


def orders_work(rule: Rule, watch: Watch) -> bool:
    """Whether the alert that is active, if one is, has ordered work."""
    passed = rule.escalations[: watch.steps]
    return watch.alert is not None and (rule.orders_work or any(step.orders_work for step in passed))


def shown_maintenance(maintenance: Maintenance, twin_type: TwinType[Any]) -> dict[str, PropertyValue]:
    """Return what the graph shows of a twin's maintenance."""
    shown: dict[str, PropertyValue] = {}
    prediction = maintenance.prediction
    if prediction is not None:
        shown |= {
            RUL: prediction.estimate,
            f"{RUL}Lower": prediction.lower,
            f"{RUL}Upper": prediction.upper,
            "remainingUsefulLifeModel": prediction.model,
        }
    if twin_type.rules:
        shown |= {
            "maintenancePriority": int(priority(maintenance, twin_type)),
            "activeAlerts": len(maintenance.alerts),
        }
    return shown


def watched(maintenance: Maintenance, rule: Rule) -> Watch:
    """Return what a rule remembers."""
    return maintenance.watches.get(rule.name, IDLE)


def put_alert(twin_id: str, alert: Alert, time: float) -> PutDocument:
    """Return the output that shows an alert to apps."""
    status = "active" if alert.cleared is None else "cleared"
    return PutDocument(0, Collection.ALERTS, document_of(twin_id, alert.alert_id, status, time, alert))


def put_operation(twin_id: str, operation: Operation, time: float) -> PutDocument:
    """Return the output that shows to apps how far an operation has come."""
    document = document_of(twin_id, operation.operation_id, operation.status, time, operation)
    return PutDocument(0, Collection.OPERATIONS, document)


def put_order(twin_id: str, document_id: str, order: WorkOrder, status: str, time: float) -> PutDocument:
    """Return the output that shows to apps how far a work order has come."""
    return PutDocument(0, Collection.WORK_ORDERS, document_of(twin_id, document_id, status, time, order))


def command_of(twin_type: TwinType[Any], name: str) -> Command[Any] | None:
    """Return the row of a command; None where the type has none of this name."""
    return next((row for row in twin_type.commands if row.name == name), None)


def command_outputs(
    twin_id: str, row: Command[Any], operation: Operation, state_version: int
) -> Iterable[PutDocument | SendCommand]:
    """Return what gives a command to a device and shows it to apps."""
    assert operation.expires is not None
    command = DeviceCommand(
        twin_id=twin_id,
        name=row.name,
        operation_id=operation.operation_id,
        request=msgspec.json.encode(operation.request),
        state_version=state_version,
        expires=operation.expires.timestamp(),
        desired=row.desired,
    )
    yield put_operation(twin_id, operation, operation.requested.timestamp())
    yield SendCommand(0, command, operation)


def without_effect(maintenance: Maintenance, name: str) -> Maintenance:
    """Remember that nothing came of the last command of a name: once its interval is over it may be given again."""
    last = maintenance.given.get(name)
    if last is None:
        return maintenance
    given = {**maintenance.given, name: msgspec.structs.replace(last, argument=math.nan)}
    return msgspec.structs.replace(maintenance, given=given)
