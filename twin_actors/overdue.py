"""What time alone brings: a device or a channel falls silent, an alert is not heeded. Pure.

Both go by the cloud's clock, on sweeps: a tick that is late finds out later, one that comes twice finds nothing new.
The first word after a silence ends it, in the turn that hears it.
"""

from typing import Any

import msgspec

from twin_actors.alerting import Situation, clear_alert, order_work, raise_alert, reason_of, with_watch
from twin_actors.commit import Twin
from twin_actors.documents import moment
from twin_actors.maintenance import Maintenance, Watch, put_alert, watched
from twin_actors.outputs import Output
from twin_actors.twin import CONNECTION, Escalation, Rule, TwinType


def is_overdue(twin: Twin, twin_type: TwinType[Any], now: float) -> bool:
    """Whether `overtake` may have something to do."""
    for rule in twin_type.rules:
        watch = watched(twin.maintenance, rule)
        if watch.alert is not None:
            if _next_step(rule, watch, now) is not None:
                return True
        elif rule.absent_for is not None and silence(twin, rule, now) >= rule.absent_for:
            return True
    return False


def will_be_overdue(twin: Twin, twin_type: TwinType[Any], now: float) -> bool:
    """Whether a rule on silence waits for a twin of which nothing more is heard."""
    return any(
        0.0 <= silence(twin, rule, now) < rule.absent_for for rule in twin_type.rules if rule.absent_for is not None
    )


def overtake(
    maintenance: Maintenance, twin: Twin, twin_type: TwinType[Any], situation: Situation
) -> tuple[Maintenance, list[Output]]:
    """Raise alerts on silence, and escalate those that nobody heeds.

    Parameters
    ----------
    maintenance
        What the rules remember.
    twin
        As it is committed.
    twin_type
    situation
        Of a sweep.

    Returns
    -------
    Maintenance
        The same object where nothing changed.
    list of Output
    """
    outputs: list[Output] = []
    on_cloud_time = msgspec.structs.replace(situation, time=situation.hub_time)
    for rule in twin_type.rules:
        if rule.absent_for is not None:
            maintenance = _miss(maintenance, twin, twin_type, rule, on_cloud_time, outputs)
        if rule.escalations:
            maintenance = _escalate(maintenance, twin_type, rule, on_cloud_time, outputs)
    return maintenance, outputs


def break_silence(before: Twin, after: Twin, twin_type: TwinType[Any], hub_time: float) -> tuple[Twin, list[Output]]:
    """End the alerts on silence that a message has broken.

    Parameters
    ----------
    before, after
        The twin without and with the message.
    twin_type
    hub_time
        When the cloud heard the message.
    """
    outputs: list[Output] = []
    maintenance = after.maintenance
    for rule in twin_type.rules:
        if watched(maintenance, rule).alert is not None and _is_broken(rule, before, after):
            ended = moment(hub_time)
            maintenance, told = clear_alert(maintenance, twin_type, after.twin_id, rule.name, ended, hub_time)
            outputs += told
    return (msgspec.structs.replace(after, maintenance=maintenance) if outputs else after), outputs


def silence(twin: Twin, rule: Rule, now: float) -> float:
    """Return for how many seconds nothing was heard that a rule on silence waits for; below 0 if it never was.

    A device that never had a sensor does not miss it.
    """
    if not twin.last_seen_time:
        return -1.0
    silent = now - twin.last_seen_time
    if rule.signal == CONNECTION:
        return silent
    signal = twin.signals.get(rule.signal)
    # Devices' clocks are compared with themselves only.
    return -1.0 if signal is None else silent + twin.last_reading_time - signal.time


def _is_broken(rule: Rule, before: Twin, after: Twin) -> bool:
    """Whether a message broke the silence that a rule waits for."""
    if rule.absent_for is None:
        return False
    if rule.signal == CONNECTION:
        return after.last_seen_time > before.last_seen_time
    then, now = before.signals.get(rule.signal), after.signals.get(rule.signal)
    return now is not None and (then is None or now.time > then.time)


def _miss(
    maintenance: Maintenance,
    twin: Twin,
    twin_type: TwinType[Any],
    rule: Rule,
    situation: Situation,
    outputs: list[Output],
) -> Maintenance:
    """Raise the alert of a rule on silence when it has lasted long enough."""
    assert rule.absent_for is not None
    silent = silence(twin, rule, situation.hub_time)
    if silent < rule.absent_for or watched(maintenance, rule).alert is not None:
        return maintenance
    if rule.only_while and situation.signals.get(rule.only_while) is not True:
        return maintenance
    reason = reason_of(maintenance, twin_type, rule, silent, situation.hub_time - silent, situation)
    maintenance = raise_alert(maintenance, rule, reason, situation, outputs)
    if rule.orders_work:
        maintenance = order_work(maintenance, twin_type, rule, reason, situation, outputs)
    return maintenance


def _escalate(
    maintenance: Maintenance, twin_type: TwinType[Any], rule: Rule, situation: Situation, outputs: list[Output]
) -> Maintenance:
    """Take every step that is due; each is told by a version of the same alert."""
    watch = watched(maintenance, rule)
    while (step := _next_step(rule, watch, situation.hub_time)) is not None:
        assert watch.alert is not None
        alert = msgspec.structs.replace(
            watch.alert,
            severity=step.severity,
            escalations=watch.steps + 1,
            escalated=moment(situation.hub_time),
        )
        watch = msgspec.structs.replace(watch, alert=alert, steps=watch.steps + 1)
        maintenance = with_watch(maintenance, rule.name, watch)
        outputs.append(put_alert(situation.twin_id, alert, situation.hub_time))
        if step.orders_work:
            maintenance = order_work(maintenance, twin_type, rule, alert.reason, situation, outputs)
    return maintenance


def _next_step(rule: Rule, watch: Watch, now: float) -> Escalation | None:
    """Return the step of an alert that is due."""
    alert = watch.alert
    if alert is None or watch.steps >= len(rule.escalations):
        return None
    if alert.acknowledged_by and not rule.escalates_until_cleared:
        return None
    step = rule.escalations[watch.steps]
    raised = watch.raised or alert.raised.timestamp()  # format 1 did not say when the cloud heard of it
    return step if now - raised >= step.after_seconds else None
