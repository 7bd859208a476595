"""Advisory generation (ISO 13374): what a twin shows passes a limit, which raises alerts, gives commands, orders work.

Pure. What time alone brings, silence and alerts that nobody heeds, is in ``overdue.py``.
"""

import math
from typing import Any

import msgspec

from twin_actors.alerting import Situation, clear_alert, limit_of, order_work, raise_alert, reason_of, with_watch
from twin_actors.conflict import Contested
from twin_actors.documents import Operation, OperationStatus, Reason, Source, moment
from twin_actors.maintenance import (
    IDLE,
    Given,
    Maintenance,
    Watch,
    command_of,
    command_outputs,
    put_operation,
    watched,
)
from twin_actors.outputs import Output
from twin_actors.requests import AUTOMATIC, RULE
from twin_actors.twin import Rule, TwinType

SAME_ARGUMENT = 0.01
"""A command whose argument differs by no more than this part of the last one says nothing new."""

FRESH_SECONDS = 120.0
"""A device is commanded on what it said so recently; what it kept while it was away is history."""

LONGEST_GAP_SECONDS = 300.0
"""Between two readings of a limit that is passed without a break; longer silence proves nothing."""


def watch(maintenance: Maintenance, twin_type: TwinType[Any], situation: Situation) -> tuple[Maintenance, list[Output]]:
    """Apply the limits of a twin type.

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
        value = situation.signals.get(rule.signal) if rule.absent_for is None else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            maintenance = _follow(maintenance, twin_type, rule, float(value), situation, outputs)
    return maintenance, outputs


def _forget(
    maintenance: Maintenance, twin_type: TwinType[Any], situation: Situation, outputs: list[Output]
) -> Maintenance:
    """End what rules remember that a new version of the type no longer has, or whose signal has gone."""
    rules = {rule.name: rule for rule in twin_type.rules}
    for name in maintenance.watches:
        rule = rules.get(name)
        if rule is None or (rule.absent_for is None and situation.signals.get(rule.signal, 0.0) is None):
            maintenance = _clear(maintenance, twin_type, name, situation, outputs)
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
            return _clear(maintenance, twin_type, rule.name, situation, outputs)
        if is_passed and rule.command:
            reason = reason_of(maintenance, twin_type, rule, value, before.since, situation)
            return _command(maintenance, twin_type, rule, reason, situation, outputs)
        return maintenance
    if not is_passed:
        return with_watch(maintenance, rule.name, IDLE) if before.since else maintenance
    is_unbroken = before.since and situation.time - situation.previous_time <= LONGEST_GAP_SECONDS
    since = before.since if is_unbroken else situation.time
    if situation.time - since < rule.for_seconds:
        return maintenance if is_unbroken else with_watch(maintenance, rule.name, Watch(since))
    reason = reason_of(maintenance, twin_type, rule, value, since, situation)
    maintenance = raise_alert(maintenance, rule, reason, situation, outputs)
    if rule.command:
        maintenance = _command(maintenance, twin_type, rule, reason, situation, outputs)
    if rule.orders_work:
        maintenance = order_work(maintenance, twin_type, rule, reason, situation, outputs)
    return maintenance


def _clear(
    maintenance: Maintenance, twin_type: TwinType[Any], name: str, situation: Situation, outputs: list[Output]
) -> Maintenance:
    now = moment(situation.time)
    maintenance, told = clear_alert(maintenance, twin_type, situation.twin_id, name, now, situation.hub_time)
    outputs += told
    return maintenance


def _is_passed(rule: Rule, value: float) -> bool:
    return value > limit_of(rule) if rule.above is not None else value < limit_of(rule)


def _is_clear(rule: Rule, value: float) -> bool:
    return value <= rule.clears_at if rule.above is not None else value >= rule.clears_at


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
    stopped_by = maintenance.contested.get(row.override, Contested()).writes.get(Source.MANUAL)
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
