"""Advisory generation (ISO 13374): a twin's rules raise alerts, order work and give commands. Pure."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from twin_actors.documents import (
    Alert,
    Operation,
    OperationStatus,
    PropertyValue,
    Reason,
    WorkOrder,
    moment,
)
from twin_actors.maintenance import (
    IDLE,
    Given,
    Maintenance,
    OpenOrder,
    Watch,
    command_of,
    command_outputs,
    put_alert,
    put_operation,
    put_order,
    watched,
)
from twin_actors.outputs import Output, PlaceOrder
from twin_actors.requests import AUTOMATIC, RULE
from twin_actors.twin import RUL, Rule, TwinType

SAME_ARGUMENT = 0.01
"""A command whose argument differs by no more than this part of the last one says nothing new."""

FRESH_SECONDS = 120.0
"""A device is commanded on what it said so recently; what it kept while it was away is history."""

LONGEST_GAP_SECONDS = 300.0
"""Between two readings of a limit that is passed without a break; longer silence proves nothing."""

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


def watch(maintenance: Maintenance, twin_type: TwinType[Any], situation: Situation) -> tuple[Maintenance, list[Output]]:
    """Apply the rules of a twin type.

    Parameters
    ----------
    maintenance
        What the rules remember.
    twin_type
    situation
        A rule whose signal it lacks stays as it is; one whose signal is None has nothing to watch any more.

    Returns
    -------
    Maintenance
        The same object where nothing changed.
    list of Output
    """
    outputs: list[Output] = []
    if maintenance.watches:
        maintenance = _forget(maintenance, twin_type, situation, outputs)
    for rule in twin_type.rules:
        value = situation.signals.get(rule.signal)
        if isinstance(value, int | float) and not isinstance(value, bool):
            maintenance = _follow(maintenance, twin_type, rule, float(value), situation, outputs)
    return maintenance, outputs


def _forget(
    maintenance: Maintenance, twin_type: TwinType[Any], situation: Situation, outputs: list[Output]
) -> Maintenance:
    """End what rules remember that a new version of the type no longer has, or whose signal has gone."""
    rules = {rule.name: rule for rule in twin_type.rules}
    for name, kept in maintenance.watches.items():
        rule = rules.get(name)
        if rule is None or situation.signals.get(rule.signal, 0.0) is None:
            maintenance = _clear(maintenance, twin_type, name, kept.alert, situation, outputs)
    return maintenance


def _follow(
    maintenance: Maintenance,
    twin_type: TwinType[Any],
    rule: Rule,
    value: float,
    situation: Situation,
    outputs: list[Output],
) -> Maintenance:
    """Apply one rule."""
    before = watched(maintenance, rule)
    is_passed = _is_passed(rule, value)
    if before.alert is not None:
        if _is_clear(rule, value):
            return _clear(maintenance, twin_type, rule.name, before.alert, situation, outputs)
        if is_passed and rule.command:
            reason = _reason(maintenance, twin_type, rule, value, before.since, situation)
            return _command(maintenance, twin_type, rule, reason, situation, outputs)
        return maintenance
    if not is_passed:
        return _with_watch(maintenance, rule.name, IDLE) if before.since else maintenance
    is_unbroken = before.since and situation.time - situation.previous_time <= LONGEST_GAP_SECONDS
    since = before.since if is_unbroken else situation.time
    if situation.time - since < rule.for_seconds:
        return maintenance if is_unbroken else _with_watch(maintenance, rule.name, Watch(since))
    reason = _reason(maintenance, twin_type, rule, value, since, situation)
    maintenance = _raise(maintenance, rule, reason, situation, outputs)
    if rule.command:
        maintenance = _command(maintenance, twin_type, rule, reason, situation, outputs)
    if rule.orders_work:
        maintenance = _order(maintenance, twin_type, rule, reason, situation, outputs)
    return maintenance


def _with_watch(maintenance: Maintenance, name: str, after: Watch) -> Maintenance:
    watches = {other: kept for other, kept in maintenance.watches.items() if other != name}
    if after != IDLE:
        watches[name] = after
    return msgspec.structs.replace(maintenance, watches=watches)


def _limit(rule: Rule) -> float:
    limit = rule.above if rule.above is not None else rule.below
    assert limit is not None
    return limit


def _is_passed(rule: Rule, value: float) -> bool:
    return value > _limit(rule) if rule.above is not None else value < _limit(rule)


def _is_clear(rule: Rule, value: float) -> bool:
    return value <= rule.clears_at if rule.above is not None else value >= rule.clears_at


def _reason(
    maintenance: Maintenance, twin_type: TwinType[Any], rule: Rule, value: float, since: float, situation: Situation
) -> Reason:
    prediction = maintenance.prediction
    return Reason(
        rule=rule.name,
        signal=rule.signal,
        value=value,
        limit=_limit(rule),
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


def _raise(
    maintenance: Maintenance, rule: Rule, reason: Reason, situation: Situation, outputs: list[Output]
) -> Maintenance:
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
    raised = _with_watch(maintenance, rule.name, Watch(reason.since.timestamp(), alert))
    return msgspec.structs.replace(raised, number=number)


def _clear(
    maintenance: Maintenance,
    twin_type: TwinType[Any],
    name: str,
    alert: Alert | None,
    situation: Situation,
    outputs: list[Output],
) -> Maintenance:
    """End what a rule remembers, its alert too; without an alert that orders work, the need for it is over."""
    if alert is not None:
        cleared = msgspec.structs.replace(alert, cleared=moment(situation.time))
        outputs.append(put_alert(situation.twin_id, cleared, situation.hub_time))
    maintenance = _with_watch(maintenance, name, IDLE)
    if any(watched(maintenance, rule).alert for rule in twin_type.rules if rule.orders_work):
        return maintenance
    return msgspec.structs.replace(maintenance, order=None)


def _order(
    maintenance: Maintenance,
    twin_type: TwinType[Any],
    rule: Rule,
    reason: Reason,
    situation: Situation,
    outputs: list[Output],
) -> Maintenance:
    """Order work, or make the order that is open more urgent."""
    number, opened = maintenance.number, maintenance.order
    if opened is None:
        number += 1
        opened = OpenOrder(f"{situation.twin_id}-order-{number}", f"order-{number}", 1, rule.priority)
    elif rule.priority > opened.priority:
        opened = msgspec.structs.replace(opened, revision=opened.revision + 1, priority=rule.priority)
    else:
        return maintenance
    prediction = maintenance.prediction
    order = WorkOrder(
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
    outputs.append(put_order(situation.twin_id, opened.document_id, order, "requested", situation.hub_time))
    outputs.append(PlaceOrder(0, opened.document_id, order))
    return msgspec.structs.replace(maintenance, number=number, order=opened)


def _command(
    maintenance: Maintenance,
    twin_type: TwinType[Any],
    rule: Rule,
    reason: Reason,
    situation: Situation,
    outputs: list[Output],
) -> Maintenance:
    """Give the command of a rule, as far as its guard rails let it."""
    row = command_of(twin_type, rule.command)
    assert row is not None, f"rule {rule.name} of {twin_type.name} gives a command that has no row"
    if situation.hub_time - situation.time > FRESH_SECONDS:
        return maintenance
    last = maintenance.given.get(row.name)
    if last is not None and min(situation.time - last.time, situation.hub_time - last.hub_time) < (
        row.least_interval_seconds
    ):
        return maintenance
    wanted = None if row.argument is None else row.argument(situation.state)
    if row.argument is not None and (wanted is None or not math.isfinite(wanted)):
        return maintenance
    argument = None if wanted is None else min(row.high, max(row.low, wanted))
    alert = watched(maintenance, rule).alert
    assert alert is not None
    if (
        last is not None
        and argument is not None
        and last.time >= alert.raised.timestamp()
        and abs(argument - last.argument) <= SAME_ARGUMENT * abs(argument)
    ):
        return maintenance  # the device was told for this alert, and there is nothing more to ask for
    number = maintenance.number + 1
    stopped_by = maintenance.edits.get(row.override)
    operation = Operation(
        operation_id=f"{AUTOMATIC}{rule.name}-{number}",
        kind="command",
        name=row.name,
        request=argument,
        caller=f"{RULE}{rule.name}",
        status=OperationStatus.PERSISTED,
        requested=moment(situation.hub_time),
        expires=moment(situation.hub_time + row.expires_after_seconds),
        reason=reason,
    )
    if stopped_by is not None and stopped_by.value is False:
        operation = msgspec.structs.replace(
            operation,
            status=OperationStatus.REFUSED,
            detail=f"{row.override} was set to false by {stopped_by.author}: commands are given by hand only",
        )
        outputs.append(put_operation(situation.twin_id, operation, situation.hub_time))
        argument = None
    else:
        outputs += command_outputs(situation.twin_id, row, operation, situation.state_version)
    asked = math.nan if argument is None else argument
    given = {**maintenance.given, row.name: Given(situation.time, asked, situation.hub_time)}
    return msgspec.structs.replace(maintenance, number=number, given=given)
