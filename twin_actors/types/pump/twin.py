"""A centrifugal water pump with its motor.

The twin compares what is measured with what physics expects of a pump in good order at the same speed
and flow (`kernels.hydraulics`), and its temperatures with a heat balance (`kernels.thermal`).

Which pump? The rated curve is that of `REFERENCE_PUMP`. During its first readings the twin sees whether
the measured head agrees with it (`followsNameplate`). If so, the curve is the yardstick from the first
reading on. If not (an unknown pump), what is usual is learned from the first readings of each symptom,
and health is measured against that; temperatures then count only against their limits. How symptoms
become health stands in ``health.py``.
"""

import math
from collections.abc import Generator, Mapping
from typing import Any

import msgspec

from kernels.hydraulics import REFERENCE_PUMP, pump_estimate
from kernels.thermal import REFERENCE_FRICTION, REFERENCE_MACHINE, machine_temperatures
from twin_actors.messages import Quality, Reading
from twin_actors.twin import Channel, KernelRequest, Message, PropertyValue, Turn, TwinType, ask
from twin_actors.types.pump.health import TEMPERATURES, Symptom, follow, follows_nameplate, judge
from twin_actors.types.pump.rules import COMMANDS, RULES, SOURCES
from twin_actors.types.pump.trend import NOTHING, STRIDE_SECONDS, feature_row, remember

RAD_PER_SECOND = math.pi / 30.0  # in one revolution a minute
CUBIC_METRES_PER_SECOND = 1.0 / 3600.0  # in one cubic metre an hour
KELVIN = 273.15  # at 0 °C

RUNNING_FRACTION = 0.1
"""A pump turns if its speed is at least this part of the rated one."""

RUNNING_POWER_KW = 0.05
RUNNING_FLOW_M3_PER_HOUR = 0.5
"""What tells that a pump of unknown speed turns."""

SETTLING_SECONDS = 30.0
"""After a start the water column and the speed take this long to agree with a curve for steady flow."""

LONGEST_STEP_SECONDS = 86_400.0
"""A gap after which the heat balance has long settled."""

ASSUMED = {
    "speed": REFERENCE_PUMP.rated_speed / RAD_PER_SECOND,
    "suctionPressure": 101.325,
    "fluidTemperature": 20.0,
    "ambientTemperature": 20.0,
}
"""What stands for a channel that was never heard."""

HEAD_INPUTS = ("speed", "flow", "suctionPressure", "dischargePressure", "fluidTemperature")

RAW = ("vibration", "acceleration1", "acceleration2")


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a pump remembers.

    Attributes
    ----------
    time : float
        Event time of the newest reading, seconds since 1970; 0 before the first.
    last : dict
        Channel → last good value, in the unit of the channel.
    estimates : dict
        Property → last finite value of what is computed, in the unit of the property.
    balance : tuple
        Motor, bearing and oil temperature by the heat balance, K; empty before the first reading.
    symptoms : dict
        Name → its smoothed value and baseline.
    is_running : bool
        Whether the pump turned in the newest reading.
    running_since : float
        Event time of the start that the twin has seen; 0 if it turned when it was first seen.
    estimate_quality : str
        measured, held, assumed or none: what the newest estimates stand on.
    health, anomaly_score : float or None
        From all symptoms and limits so far, 0 to 1; None while there are none.
    trends : msgspec.Raw
        Symptom → its long memories, as encoded; ``trend.py`` reads them.
    trends_time : float
        Event time at which they were brought forward last, seconds since 1970.
    """

    time: float = 0.0
    last: dict[str, float] = {}
    estimates: dict[str, float] = {}
    balance: tuple[float, ...] = ()
    symptoms: dict[str, Symptom] = {}
    is_running: bool = False
    running_since: float = 0.0
    estimate_quality: str = "none"
    health: float | None = None
    anomaly_score: float | None = None
    trends: msgspec.Raw = NOTHING
    trends_time: float = 0.0


def receive(state: State, message: Message) -> Turn[State] | Generator[KernelRequest, Any, Turn[State]]:
    """Fold a reading; late ones change nothing that is current."""
    if message.is_late or not message.values:
        return Turn(state)
    return _follow(state, message)


def _follow(state: State, reading: Reading) -> Generator[KernelRequest, Any, Turn[State]]:
    values = _with_power(reading.values)
    last = {**state.last, **values}
    now = {**ASSUMED, **last}
    running = _is_running(last)
    physics = yield ask(pump_estimate, *_measured(now), *REFERENCE_PUMP)
    heat = yield ask(
        machine_temperatures,
        *_balance(state, now),
        *_losses(now, physics, is_running=running),
        _kelvin(now, "ambientTemperature"),
        _kelvin(now, "fluidTemperature"),
        _elapsed(state, reading.time),
        *REFERENCE_MACHINE,
    )
    has_started = running and not state.is_running and state.time > 0.0
    running_since = reading.time if has_started else state.running_since
    symptoms = dict(state.symptoms)
    if running and reading.time - running_since >= SETTLING_SECONDS:
        for name, value in _finite(_symptoms(reading, values, physics, heat)).items():
            symptoms[name] = follow(symptoms.get(name), value, reading.time)
    health, anomaly_score = judge(symptoms, last)
    is_due = reading.time - state.trends_time >= STRIDE_SECONDS
    return Turn(
        State(
            time=reading.time,
            last=last,
            estimates={**state.estimates, **_finite(_estimates(physics, heat))},
            balance=(heat.motor, heat.bearing, heat.oil) if math.isfinite(heat.bearing) else state.balance,
            symptoms=symptoms,
            is_running=running,
            running_since=running_since,
            estimate_quality=_basis(values, last) if math.isfinite(physics.head) else "none",
            health=health,
            anomaly_score=anomaly_score,
            trends=remember(state.trends, symptoms) if is_due else state.trends,
            trends_time=reading.time if is_due else state.trends_time,
        )
    )


def _with_power(values: dict[str, float]) -> dict[str, float]:
    """Let volts times amperes stand in for a missing power meter; being apparent power it reads high,
    which the baseline takes out.
    """
    if "power" in values or "current" not in values or "voltage" not in values:
        return values
    return {**values, "power": values["voltage"] * values["current"] / 1000.0}


def _is_running(last: dict[str, float]) -> bool:
    if "speed" in last:
        return last["speed"] >= RUNNING_FRACTION * ASSUMED["speed"]
    if "power" in last:
        return last["power"] >= RUNNING_POWER_KW
    return last.get("flow", 0.0) >= RUNNING_FLOW_M3_PER_HOUR


def _measured(now: dict[str, float]) -> tuple[float, ...]:
    """Return what `pump_estimate` wants of the measurements, in SI units."""
    return (
        now["speed"] * RAD_PER_SECOND,
        now.get("flow", math.nan) * CUBIC_METRES_PER_SECOND,
        now["suctionPressure"] * 1000.0,
        now.get("dischargePressure", math.nan) * 1000.0,
        _kelvin(now, "fluidTemperature"),
        now.get("power", math.nan) * 1000.0,
    )


def _balance(state: State, now: dict[str, float]) -> tuple[float, ...]:
    """Return the temperatures of the heat balance so far; it starts where the machine is first seen."""
    if state.balance:
        return state.balance
    return tuple(_kelvin(now, name if name in now else "ambientTemperature") for name in TEMPERATURES)


def _losses(now: dict[str, float], physics: Any, *, is_running: bool) -> tuple[float, float]:  # noqa: ANN401  a row
    """Return the heat set free in motor and bearings, W."""
    if not is_running:
        return 0.0, 0.0
    power = now["power"] * 1000.0 if "power" in now else physics.expected_power
    ratio = now["speed"] / ASSUMED["speed"]
    motor = (1.0 - REFERENCE_PUMP.motor_efficiency) * power if math.isfinite(power) else 0.0
    return motor, REFERENCE_FRICTION * ratio * ratio


def _elapsed(state: State, time: float) -> float:
    return min(LONGEST_STEP_SECONDS, time - state.time) if state.time else 0.0


def _kelvin(now: dict[str, float], name: str) -> float:
    return now[name] + KELVIN


def _estimates(physics: Any, heat: Any) -> dict[str, float]:  # noqa: ANN401  rows of two kernels
    return {
        "head": physics.head,
        "expectedHead": physics.expected_head,
        "headResidual": physics.head_residual,
        "expectedPower": physics.expected_power / 1000.0,
        "powerResidual": physics.power_residual,
        # Start-up and sensor faults give quotients that no machine has.
        "efficiency": physics.efficiency if 0.0 <= physics.efficiency <= 1.0 else math.nan,
        "expectedEfficiency": physics.expected_efficiency,
        "cavitationMargin": physics.cavitation_margin,
        "expectedMotorTemperature": heat.motor - KELVIN,
        "expectedBearingTemperature": heat.bearing - KELVIN,
    }


def _symptoms(reading: Reading, values: dict[str, float], physics: Any, heat: Any) -> dict[str, float]:  # noqa: ANN401  rows of two kernels
    """Return the symptoms that this reading can tell: those whose own channel it carries in good quality."""
    good = {name: value for name, value in values.items() if reading.quality.get(name) is not Quality.SUSPECT}
    told = {name: good[name] for name in RAW if name in good}
    for name, expected in zip(TEMPERATURES, (heat.motor, heat.bearing, heat.oil), strict=True):
        if name in good:
            told[name] = good[name] + KELVIN - expected
    # Near run-out the expected head goes to zero and a quotient to anything; beyond ±1 it says no more.
    if "dischargePressure" in good:
        told["head"] = _clip(physics.head_residual)
    if "power" in good:
        told["power"] = _clip(physics.power_residual)
    return told


def _clip(residual: float) -> float:
    return max(-1.0, min(1.0, residual)) if math.isfinite(residual) else residual


def _finite(numbers: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _basis(values: Mapping[str, float], last: Mapping[str, float]) -> str:
    if all(name in values for name in HEAD_INPUTS):
        return "measured"
    return "held" if all(name in last for name in HEAD_INPUTS) else "assumed"


BY_NAMEPLATE = frozenset(
    (
        "expectedHead",
        "headResidual",
        "expectedPower",
        "powerResidual",
        "expectedEfficiency",
        "cavitationMargin",
        "expectedMotorTemperature",
        "expectedBearingTemperature",
    )
)
"""Estimates that say nothing of a pump with another nameplate, and are not shown of one."""

SHOWN = {
    "speed": "lastSpeed",
    "flow": "lastFlow",
    "suctionPressure": "lastSuctionPressure",
    "dischargePressure": "lastDischargePressure",
    "power": "lastPower",
    "motorTemperature": "lastMotorTemperature",
    "bearingTemperature": "lastBearingTemperature",
    "oilTemperature": "lastOilTemperature",
    "fluidTemperature": "lastFluidTemperature",
    "vibration": "lastVibration",
}
"""Channel → property; in DTDL a Telemetry and a Property cannot share a name."""


def properties(state: State) -> Mapping[str, PropertyValue | None]:
    """Return what the graph shows."""
    if not state.time:
        return {}
    follows = follows_nameplate(state.symptoms)
    shown: dict[str, PropertyValue | None] = {
        "isRunning": state.is_running,
        "isCalibrated": bool(state.symptoms) and all(one.is_calibrated for one in state.symptoms.values()),
        "followsNameplate": follows,
        "estimateQuality": state.estimate_quality,
        **{SHOWN[name]: value for name, value in state.last.items() if name in SHOWN},
        **{name: value if follows or name not in BY_NAMEPLATE else None for name, value in state.estimates.items()},
    }
    if state.health is not None:
        shown["health"] = state.health
    if state.anomaly_score is not None:
        shown["anomalyScore"] = state.anomaly_score
    return shown


def features(state: State) -> tuple[float, ...] | None:
    """Return what the RUL model reads of a pump; None before there is enough, and while it stands: then the last
    prediction is the best one.
    """
    if not state.is_running:
        return None
    return feature_row(state.time, state.last, state.symptoms, state.trends)


TWIN = TwinType(
    name="pump",
    model="dtmi:twinfold:Pump;1",
    state=State,
    receive=receive,
    properties=properties,
    features=features,
    rules=RULES,
    commands=COMMANDS,
    sources={**SOURCES, **{shown: f"channel {name}" for name, shown in SHOWN.items()}},
    channels=(
        Channel("speed", 0.0, 6000.0, max_rate=1500.0, required=False),
        Channel("flow", 0.0, 2000.0, max_rate=500.0),
        Channel("suctionPressure", 0.0, 5000.0, max_rate=500.0, required=False),
        Channel("dischargePressure", 0.0, 20_000.0, max_rate=2000.0, stuck_after=1800.0),
        Channel("power", 0.0, 1000.0, max_rate=200.0, required=False),
        Channel("current", 0.0, 2000.0, required=False),
        Channel("voltage", 0.0, 15_000.0, required=False),
        Channel("motorTemperature", -40.0, 220.0, max_rate=5.0, required=False),
        Channel("bearingTemperature", -40.0, 200.0, max_rate=5.0, required=False),
        Channel("oilTemperature", -40.0, 200.0, max_rate=5.0, required=False),
        Channel("fluidTemperature", -10.0, 180.0, max_rate=5.0, required=False),
        Channel("ambientTemperature", -50.0, 70.0, required=False),
        Channel("vibration", 0.0, 100.0, required=False),
        Channel("acceleration1", 0.0, 50.0, required=False),
        Channel("acceleration2", 0.0, 50.0, required=False),
    ),
)
