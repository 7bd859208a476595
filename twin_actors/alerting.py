"""An alert is raised, becomes more urgent, is cleared; work is ordered for it. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from twin_actors.documents import Alert, PropertyValue, Reason, WorkOrder, moment
from twin_actors.maintenance import (
    IDLE,
    Maintenance,
    OpenOrder,
    Watch,
    orders_work,
    put_alert,
    put_order,
    urgency,
    watched,
)
from twin_actors.outputs import Output, PlaceOrder
from twin_actors.twin import RUL, Rule, TwinType

DAY = 86_400.0


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """The moment at which a twin is watched.

    Attributes
    ----------
    twin_id : str
    state_version : int
        That the commit will give the twin.
    state : object
        Of the twin's type.
    signals : Mapping
        Property → value.
    time : float
        Event time now, seconds since 1970.
    hub_time : float
        The cloud's time now.
    reading_time, previous_time : float
        Event time of the newest reading, and of what was known before.
    position : str
        ``partition-sequence number`` of the reading that is being folded; empty on a sweep.
    """

    twin_id: str
    state_version: int
    state: Any
    signals: Mapping[str, PropertyValue | None]
    time: float
    hub_time: float
    reading_time: float
    previous_time: float
    position: str = ""


def with_watch(maintenance: Maintenance, name: str, after: Watch) -> Maintenance:
    """Return what a twin remembers once a rule remembers this."""
    watches = {other: kept for other, kept in maintenance.watches.items() if other != name}
    if after != IDLE:
        watches[name] = after
    return msgspec.structs.replace(maintenance, watches=watches)


def limit_of(rule: Rule) -> float:
    """Return what the signal of a rule must not pass."""
    limit = next((one for one in (rule.above, rule.below, rule.absent_for) if one is not None), None)
    assert limit is not None
    return limit


def reason_of(
    maintenance: Maintenance, twin_type: TwinType[Any], rule: Rule, value: float, since: float, situation: Situation
) -> Reason:
    """Return why a rule does something now."""
    prediction = maintenance.prediction
    return Reason(
        rule=rule.name,
        signal=rule.signal,
        value=value,
        limit=limit_of(rule),
        since=moment(since),
        position=situation.position,
        reading_time=moment(situation.reading_time),
        values={
            name: float(shown)
            for name, shown in situation.signals.items()
            if isinstance(shown, int | float) and not isinstance(shown, bool)
        },
        prediction_model=prediction.model if prediction is not None and rule.signal == RUL else "",
        twin_model=twin_type.model,
        layout=twin_type.state_version,
        state_version=situation.state_version,
    )


def raise_alert(
    maintenance: Maintenance, rule: Rule, reason: Reason, situation: Situation, outputs: list[Output]
) -> Maintenance:
    """Raise the alert of a rule."""
    number = maintenance.number + 1
    alert = Alert(
        alert_id=f"{rule.name}-{number}",
        rule=rule.name,
        severity=rule.severity,
        text=rule.text,
        raised=moment(situation.time),
        reason=reason,
    )
    outputs.append(put_alert(situation.twin_id, alert, situation.hub_time))
    watch = Watch(reason.since.timestamp(), alert, situation.hub_time)
    return msgspec.structs.replace(with_watch(maintenance, rule.name, watch), number=number)


def clear_alert(
    maintenance: Maintenance, twin_type: TwinType[Any], twin_id: str, name: str, cleared: datetime, hub_time: float
) -> tuple[Maintenance, list[Output]]:
    """End what a rule remembers, its alert too; without an alert that orders work, the need for it is over."""
    alert = maintenance.watches.get(name, IDLE).alert
    told: list[Output] = []
    if alert is not None:
        told.append(put_alert(twin_id, msgspec.structs.replace(alert, cleared=cleared), hub_time))
    maintenance = with_watch(maintenance, name, IDLE)
    if any(orders_work(rule, watched(maintenance, rule)) for rule in twin_type.rules):
        return maintenance, told
    return msgspec.structs.replace(maintenance, order=None), told


def order_work(
    maintenance: Maintenance,
    twin_type: TwinType[Any],
    rule: Rule,
    reason: Reason,
    situation: Situation,
    outputs: list[Output],
) -> Maintenance:
    """Order work, or make the order that is open more urgent."""
    number, opened = maintenance.number, maintenance.order
    priority = urgency(rule, watched(maintenance, rule))
    if opened is None:
        number += 1
        opened = OpenOrder(f"{situation.twin_id}-order-{number}", f"order-{number}", 1, priority)
    elif priority > opened.priority:
        opened = msgspec.structs.replace(opened, revision=opened.revision + 1, priority=priority)
    else:
        return maintenance
    order = _order(maintenance, twin_type, rule, opened, reason, situation)
    outputs.append(put_order(situation.twin_id, opened.document_id, order, "requested", situation.hub_time))
    outputs.append(PlaceOrder(0, opened.document_id, order))
    return msgspec.structs.replace(maintenance, number=number, order=opened)


def _order(
    maintenance: Maintenance,
    twin_type: TwinType[Any],
    rule: Rule,
    opened: OpenOrder,
    reason: Reason,
    situation: Situation,
) -> WorkOrder:
    prediction = maintenance.prediction
    return WorkOrder(
        order_id=opened.order_id,
        revision=opened.revision,
        idempotency_key=f"{opened.order_id}.{opened.revision}",
        twin_id=situation.twin_id,
        twin_model=twin_type.model,
        priority=opened.priority.name.lower(),
        title=f"{situation.twin_id}: {rule.name}",
        text=rule.text,
        created=moment(situation.hub_time),
        due=moment(situation.hub_time + DAY * prediction.lower) if prediction is not None else None,
        remaining_useful_life_days=None if prediction is None else prediction.estimate,
        remaining_useful_life_days_lower=None if prediction is None else prediction.lower,
        remaining_useful_life_days_upper=None if prediction is None else prediction.upper,
        alerts=[alert.alert_id for alert in maintenance.alerts],
        reason=reason,
    )
