"""What a pump's twin watches, and what it may do about it: rows, nothing else.

Limits are those of `kernels.pump_condition`. A pump that cavitates, runs hot or shakes is slowed down step by step: the
suction head it needs and its vibration fall with the square of the speed, what bearings and motor waste with the square
and the cube.
"""

import math
from typing import Protocol

from kernels.hydraulics import REFERENCE_PUMP
from twin_actors.documents import Priority, Severity
from twin_actors.twin import CONNECTION, RUL_RULES, Command, Escalation, Rule

RATED_RPM = REFERENCE_PUMP.rated_speed * 30.0 / math.pi

LOWER_BY = 0.85
"""Each step leaves this part of the speed."""

LEAST_PART = 0.6
"""No rule slows a pump down below this part of the rated speed: below it, it may no longer lift the water at all."""


UNHEEDED = Escalation(after_seconds=900.0, severity=Severity.CRITICAL, priority=Priority.CRITICAL, orders_work=True)
"""A pump that runs hot and that nobody has looked at for a quarter of an hour: somebody is sent."""


class _Seen(Protocol):
    """What the rows read of a pump's state."""

    @property
    def last(self) -> dict[str, float]: ...

    @property
    def is_running(self) -> bool: ...


def slower(state: _Seen) -> float | None:
    """Return the next lower speed, in revolutions a minute; None where it stands, is slow, or its speed is unknown."""
    speed = state.last.get("speed")
    if speed is None or not state.is_running or speed <= LEAST_PART * RATED_RPM:
        return None
    return max(LEAST_PART * RATED_RPM, LOWER_BY * speed)


COMMANDS: tuple[Command[_Seen], ...] = (
    Command(
        name="setSpeed",
        low=0.0,
        high=1.1 * RATED_RPM,
        argument=slower,
        least_interval_seconds=60.0,
        expires_after_seconds=30.0,
        desired="speedSetpoint",
    ),
    Command(name="resume"),
)

RULES = (
    Rule(
        name="cavitation",
        signal="cavitationMargin",
        below=0.5,
        clears_at=1.0,
        for_seconds=5.0,
        command="setSpeed",
        text="The suction head is hardly more than the pump needs: it is slowed down. Clean the strainer, "
        "check suction valve, level and water temperature.",
    ),
    Rule(
        name="bearing-hot",
        signal="lastBearingTemperature",
        above=80.0,
        clears_at=72.0,
        for_seconds=10.0,
        severity=Severity.CRITICAL,
        command="setSpeed",
        text="The bearing is too hot: the pump is slowed down. Check lubrication and bearing.",
        escalations=(UNHEEDED,),
    ),
    Rule(
        name="motor-hot",
        signal="lastMotorTemperature",
        above=120.0,
        clears_at=110.0,
        for_seconds=10.0,
        severity=Severity.CRITICAL,
        command="setSpeed",
        text="The winding is too hot: the pump is slowed down. Check cooling, load and supply.",
        escalations=(UNHEEDED,),
    ),
    Rule(
        name="vibration-high",
        signal="lastVibration",
        above=5.1,
        clears_at=4.5,
        for_seconds=20.0,
        command="setSpeed",
        text="It vibrates more than is good for unlimited running (ISO 10816-7, zone C): it is slowed down. Check "
        "balance, alignment and bearings.",
    ),
    Rule(
        name="anomaly",
        signal="anomalyScore",
        above=0.8,
        clears_at=0.5,
        for_seconds=60.0,
        text="It does not run as it used to: look at its symptoms.",
    ),
    Rule(
        name="silent",
        signal=CONNECTION,
        absent_for=300.0,
        only_while="isRunning",
        text="It ran when it was heard last, and nothing was heard since: nobody knows how it is, and nothing slows it "
        "down. Check its power and its network.",
        escalations=(Escalation(after_seconds=1800.0, severity=Severity.CRITICAL, priority=Priority.HIGH),),
    ),
    *RUL_RULES,
)

SOURCES = {
    **dict.fromkeys(
        ("head", "headResidual", "powerResidual", "efficiency"),
        "kernel hydraulics.pump_estimate, from measured speed, flow, pressures and power",
    ),
    **dict.fromkeys(
        ("expectedHead", "expectedPower", "expectedEfficiency", "cavitationMargin"),
        "kernel hydraulics.pump_estimate, from the nameplate at measured speed and flow",
    ),
    **dict.fromkeys(
        ("expectedMotorTemperature", "expectedBearingTemperature"),
        "kernel thermal.machine_temperatures, from measured power, speed and surroundings",
    ),
    "health": "the lowest score over all symptoms and limits",
    "anomalyScore": "the largest deviation of a symptom from what is usual",
    "isRunning": "speed, power or flow",
    "isCalibrated": "count of readings that the baselines have learned from",
    "followsNameplate": "head residual while the baseline was learned",
    "estimateQuality": "which inputs of the estimates the newest reading carries",
}
"""Property → where its value comes from; channels are added by the type."""
