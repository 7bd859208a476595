"""What rules mean, said plainly: a whole history in, its alerts out. Shares nothing with the runtime but the rows.

Nothing is followed from message to message here: at each moment the reference looks back over all that has happened.
"""

import dataclasses

from twin_actors.documents import Severity
from twin_actors.twin import CONNECTION, Rule

LONGEST_GAP = 300.0
OFFLINE = 300.0


@dataclasses.dataclass(frozen=True)
class Heard:
    """A reading: when it was measured, when the cloud took it, what it says."""

    time: float
    hub_time: float
    values: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Swept:
    """A sweep."""

    now: float


@dataclasses.dataclass(frozen=True)
class Seen:
    """Somebody acknowledged the open alert of a rule, if there was one."""

    rule: str


type Fact = Heard | Swept | Seen


@dataclasses.dataclass
class Told:
    """An alert as it ends up."""

    rule: str
    raised: float
    severity: Severity
    cleared: float | None = None
    is_acknowledged: bool = False
    steps: int = 0
    versions: int = 1


def alerts_of(rule: Rule, facts: list[Fact]) -> list[Told]:
    """Return the alerts of a rule, in order."""
    told: list[Told] = []
    is_open, hub_time = False, 0.0
    for index, fact in enumerate(facts):
        past = facts[: index + 1]
        if isinstance(fact, Seen):
            if is_open and fact.rule == rule.name and not told[-1].is_acknowledged:
                told[-1].is_acknowledged = True
                told[-1].versions += 1
            continue
        if not is_open:
            raised = _raised(rule, past)
            if raised is not None:
                told.append(Told(rule.name, raised, rule.severity))
                is_open, hub_time = True, _cloud_time(fact)
        elif (cleared := _cleared(rule, past)) is not None:
            told[-1].cleared = cleared
            told[-1].versions += 1
            is_open = False
        if is_open and isinstance(fact, Swept):
            _escalate(rule, told[-1], fact.now - hub_time)
    return told


def _escalate(rule: Rule, alert: Told, age: float) -> None:
    if alert.is_acknowledged and not rule.escalates_until_cleared:
        return
    steps = sum(step.after_seconds <= age for step in rule.escalations)
    alert.versions += max(0, steps - alert.steps)
    alert.steps = max(alert.steps, steps)
    if alert.steps:
        alert.severity = rule.escalations[alert.steps - 1].severity


def _cloud_time(fact: Fact) -> float:
    assert not isinstance(fact, Seen)
    return fact.hub_time if isinstance(fact, Heard) else fact.now


def _current(past: list[Fact]) -> list[Heard]:
    """Return the readings that were not late when they came."""
    current: list[Heard] = []
    for fact in past:
        if isinstance(fact, Heard) and (not current or fact.time >= current[-1].time):
            current.append(fact)
    return current


def _raised(rule: Rule, past: list[Fact]) -> float | None:
    """Return the time of the alert that the newest fact raises while none is open."""
    if rule.absent_for is None:
        return _passed_for_long(rule, past)
    newest = past[-1]
    if not isinstance(newest, Swept):
        return None
    current = _current(past)
    if rule.only_while and not (current and _truths(current).get(rule.only_while)):
        return None
    silent = _silence(rule, past, newest.now)
    return newest.now if silent is not None and silent >= rule.absent_for else None


def _truths(current: list[Heard]) -> dict[str, bool]:
    warm = [one.values["temperature"] for one in current if "temperature" in one.values]
    return {"isHot": bool(warm) and warm[-1] > 50.0}


def _silence(rule: Rule, past: list[Fact], now: float) -> float | None:
    heard = [fact for fact in past if isinstance(fact, Heard)]
    if not heard:
        return None
    last_heard = max(fact.hub_time for fact in heard)
    if rule.signal == CONNECTION:
        return now - last_heard
    current = _current(past)
    telling = [one for one in current if rule.signal in one.values]
    return now - last_heard + current[-1].time - telling[-1].time if telling else None


def _passed_for_long(rule: Rule, past: list[Fact]) -> float | None:
    """Look back for how long the limit has been passed."""
    moments: list[tuple[float, float, float]] = []  # event time, value, time since the reading before it
    for index, fact in enumerate(past):
        current = _current(past[: index + 1])
        value = next((one.values[rule.signal] for one in reversed(current) if rule.signal in one.values), None)
        if isinstance(fact, Seen) or not current or value is None:
            continue
        if isinstance(fact, Swept):
            silent = max(0.0, fact.now - max(one.hub_time for one in past[:index] if isinstance(one, Heard)))
            if silent < OFFLINE:
                moments.append((current[-1].time + silent, value, silent))
        elif current[-1] is fact:
            before = current[-2].time if len(current) > 1 else 0.0
            moments.append((fact.time, value, fact.time - before))
    is_observed = bool(moments) and not (isinstance(past[-1], Heard) and _current(past)[-1] is not past[-1])
    assert rule.above is not None
    if not is_observed or moments[-1][1] <= rule.above or not _is_moment(past):
        return None
    first = len(moments) - 1
    while first > 0 and moments[first][2] <= LONGEST_GAP and moments[first - 1][1] > rule.above:
        first -= 1
    return moments[-1][0] if moments[-1][0] - moments[first][0] >= rule.for_seconds else None


def _is_moment(past: list[Fact]) -> bool:
    """Whether the newest fact says something of limits: a sweep does not once the device is offline."""
    newest = past[-1]
    if not isinstance(newest, Swept):
        return True
    return newest.now - max(one.hub_time for one in past if isinstance(one, Heard)) < OFFLINE


def _cleared(rule: Rule, past: list[Fact]) -> float | None:
    newest = past[-1]
    if not isinstance(newest, Heard):
        return None
    before, current = past[:-1], _current(past)
    if rule.absent_for is None:
        value = newest.values.get(rule.signal)
        return newest.time if current[-1] is newest and value is not None and value <= rule.clears_at else None
    if rule.signal == CONNECTION:
        last = max(fact.hub_time for fact in before if isinstance(fact, Heard))
        return newest.hub_time if newest.hub_time > last else None
    telling = [one for one in _current(before) if rule.signal in one.values]
    is_told = current[-1] is newest and rule.signal in newest.values and newest.time > telling[-1].time
    return newest.hub_time if is_told else None
