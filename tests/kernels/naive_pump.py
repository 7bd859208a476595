"""A pump's condition once more, in plain Python with names instead of columns: to compare, never to ship.

Its physics is that of the kernels for single pumps, which have naive twins of their own.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kernels.hydraulics import REFERENCE_PUMP, pump_estimate
from kernels.pump_condition import (
    ASSUMED,
    CALIBRATION_READINGS,
    CHANNELS,
    COLUMNS,
    ESTIMATES,
    FAST_SECONDS,
    FREE_SCALES,
    LEAST_PART,
    LEAST_SCALE,
    LIMITS,
    LOST_SCALES,
    MEMORY_DAYS,
    NAMEPLATE_TOLERANCE,
    QUALITIES,
    SLOW_SECONDS,
    STRIDE_SECONDS,
    SYMPTOMS,
    UNUSUAL_SCALES,
)
from kernels.thermal import REFERENCE_FRICTION, REFERENCE_MACHINE, machine_temperatures

KELVIN = 273.15
TEMPERATURES = ("motorTemperature", "bearingTemperature", "oilTemperature")
TWO_SIDED = ("head", "power")
HEAD_NEEDS = ("speed", "flow", "suctionPressure", "dischargePressure", "fluidTemperature")

USUAL = {
    "speed": 2950.0,
    "flow": 80.0,
    "suctionPressure": 120.0,
    "dischargePressure": 420.0,
    "power": 10.0,
    "current": 20.0,
    "voltage": 400.0,
    "motorTemperature": 60.0,
    "bearingTemperature": 50.0,
    "oilTemperature": 45.0,
    "fluidTemperature": 20.0,
    "ambientTemperature": 25.0,
    "vibration": 1.5,
    "acceleration1": 0.3,
    "acceleration2": 0.2,
}
"""What the sensors of a pump in good order say."""


@dataclass(frozen=True)
class Symptom:
    """Smoothed values and baseline."""

    fast: float
    slow: float
    time: float
    count: int
    mean: float
    spread: float


@dataclass(frozen=True)
class Pump:
    """What a pump remembers."""

    time: float = 0.0
    last: Mapping[str, float] = field(default_factory=dict)
    estimates: Mapping[str, float] = field(default_factory=dict)
    balance: tuple[float, ...] = ()
    symptoms: Mapping[str, Symptom] = field(default_factory=dict)
    is_running: bool = False
    running_since: float = 0.0
    quality: str = "none"
    health: float = math.nan
    anomaly: float = math.nan
    trends: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    trends_time: float = 0.0

    def row(self) -> list[float]:
        """Return it as the kernel has it."""
        said: dict[str, float] = {
            "time": self.time,
            "isRunning": float(self.is_running),
            "runningSince": self.running_since,
            "estimateQuality": float(QUALITIES.index(self.quality)),
            "health": self.health,
            "anomalyScore": self.anomaly,
            "trendsTime": self.trends_time,
            **{f"last.{name}": value for name, value in self.last.items()},
            **{f"estimates.{name}": value for name, value in self.estimates.items()},
            **{f"symptoms.{name}.count": 0.0 for name in SYMPTOMS},
        }
        said |= dict(zip((f"balance.{name}" for name in ("motor", "bearing", "oil")), self.balance, strict=False))
        for name, one in self.symptoms.items():
            said |= {f"symptoms.{name}.{part}": float(value) for part, value in vars(one).items()}
        for name, kept in self.trends.items():
            parts = ("since", "time", "week", "month", "halfYear")
            said |= {f"trends.{name}.{part}": value for part, value in zip(parts, kept, strict=True)}
        return [said.get(name, math.nan) for name in COLUMNS]


def follow(pump: Pump, time: float, heard: Mapping[str, float], suspect: frozenset[str]) -> Pump:
    """Bring a pump forward by one reading."""
    values = dict(heard)
    if "power" not in values and {"current", "voltage"} <= values.keys():
        values["power"] = values["voltage"] * values["current"] / 1000.0
    last = {**pump.last, **values}
    now = {**dict.fromkeys(CHANNELS, math.nan), **ASSUMED, **last}
    is_running = _is_running(last)
    physics = _physics(now)
    heat = _heat(pump, now, physics, time, is_running=is_running)
    since = time if is_running and not pump.is_running and pump.time > 0.0 else pump.running_since
    symptoms = dict(pump.symptoms)
    if is_running and time - since >= 30.0:
        for name, value in _told(values, suspect, physics, heat).items():
            if math.isfinite(value):
                symptoms[name] = _take(symptoms.get(name), value, time)
    health, anomaly = _judge(symptoms, last)
    found = {name: value for name, value in _estimates(physics, heat).items() if math.isfinite(value)}
    after = replace(
        pump,
        time=time,
        last=last,
        estimates={**pump.estimates, **found},
        balance=heat if math.isfinite(heat[1]) else pump.balance,
        symptoms=symptoms,
        is_running=is_running,
        running_since=since,
        quality=_quality(values, last) if math.isfinite(physics["head"]) else "none",
        health=health,
        anomaly=anomaly,
    )
    if time - pump.trends_time < STRIDE_SECONDS:
        return after
    return replace(after, trends=_remember(pump.trends, symptoms), trends_time=time)


def _is_running(last: Mapping[str, float]) -> bool:
    if "speed" in last:
        return last["speed"] >= 0.1 * ASSUMED["speed"]
    return last["power"] >= 0.05 if "power" in last else last.get("flow", 0.0) >= 0.5


def _one(values: Any) -> list[np.ndarray]:
    return [np.array([value], dtype=np.float64) for value in values]


def _physics(now: Mapping[str, float]) -> dict[str, float]:
    measured = (
        now["speed"] * math.pi / 30.0,
        now["flow"] * (1.0 / 3600.0),
        now["suctionPressure"] * 1000.0,
        now["dischargePressure"] * 1000.0,
        now["fluidTemperature"] + KELVIN,
        now["power"] * 1000.0,
    )
    found = pump_estimate(*_one(measured), *_one(REFERENCE_PUMP))
    return {name: float(column[0]) for name, column in found._asdict().items()}


def _heat(
    pump: Pump, now: Mapping[str, float], physics: Mapping[str, float], time: float, *, is_running: bool
) -> tuple[float, ...]:
    air = now["ambientTemperature"]
    balance = pump.balance or tuple((air if math.isnan(now[name]) else now[name]) + KELVIN for name in TEMPERATURES)
    losses = (0.0, 0.0)
    if is_running:
        power = physics["expected_power"] if math.isnan(now["power"]) else now["power"] * 1000.0
        motor = (1.0 - REFERENCE_PUMP.motor_efficiency) * power if math.isfinite(power) else 0.0
        losses = (motor, REFERENCE_FRICTION * (now["speed"] / ASSUMED["speed"]) ** 2)
    elapsed = min(86_400.0, time - pump.time) if pump.time else 0.0
    around = (air + KELVIN, now["fluidTemperature"] + KELVIN, elapsed)
    heat = machine_temperatures(*_one((*balance, *losses, *around, *REFERENCE_MACHINE)))
    return float(heat.motor[0]), float(heat.bearing[0]), float(heat.oil[0])


def _estimates(physics: Mapping[str, float], heat: tuple[float, ...]) -> dict[str, float]:
    found = {
        "head": physics["head"],
        "expectedHead": physics["expected_head"],
        "headResidual": physics["head_residual"],
        "expectedPower": physics["expected_power"] / 1000.0,
        "powerResidual": physics["power_residual"],
        "efficiency": physics["efficiency"] if 0.0 <= physics["efficiency"] <= 1.0 else math.nan,
        "expectedEfficiency": physics["expected_efficiency"],
        "cavitationMargin": physics["cavitation_margin"],
        "expectedMotorTemperature": heat[0] - KELVIN,
        "expectedBearingTemperature": heat[1] - KELVIN,
    }
    assert tuple(found) == ESTIMATES
    return found


def _told(
    values: Mapping[str, float], suspect: frozenset[str], physics: Mapping[str, float], heat: tuple[float, ...]
) -> dict[str, float]:
    good = {name: value for name, value in values.items() if name not in suspect}
    told = {name: good[name] for name in ("vibration", "acceleration1", "acceleration2") if name in good}
    for name, expected in zip(TEMPERATURES, heat, strict=True):
        if name in good:
            told[name] = good[name] + KELVIN - expected
    for name, channel in (("head", "dischargePressure"), ("power", "power")):
        if channel in good:
            residual = physics[f"{name}_residual"]
            told[name] = max(-1.0, min(1.0, residual)) if math.isfinite(residual) else residual
    return told


def _take(before: Symptom | None, value: float, time: float) -> Symptom:
    if before is None:
        return Symptom(value, value, time, 1, value, 0.0)
    elapsed = max(0.0, time - before.time)
    fast = before.fast + (value - before.fast) * -math.expm1(-elapsed / FAST_SECONDS)
    slow = before.slow + (value - before.slow) * -math.expm1(-elapsed / SLOW_SECONDS)
    if before.count >= CALIBRATION_READINGS:
        return Symptom(fast, slow, time, before.count, before.mean, before.spread)
    mean = before.mean + (value - before.mean) / (before.count + 1)
    spread = before.spread + (value - before.mean) * (value - mean)
    return Symptom(fast, slow, time, before.count + 1, mean, spread)


def _limit(name: str, value: float) -> float:
    begins, ends = LIMITS[name]
    return min(1.0, max(0.0, (ends - value) / (ends - begins)))


def _judge(symptoms: Mapping[str, Symptom], last: Mapping[str, float]) -> tuple[float, float]:
    scores = [_limit(name, last[name]) for name in TEMPERATURES if name in last]
    if "vibration" in symptoms:
        scores.append(_limit("vibration", symptoms["vibration"].slow))
    follows = "head" in symptoms and abs(symptoms["head"].mean) <= NAMEPLATE_TOLERANCE
    fast, slow = [0.0], [0.0]
    for name, one in symptoms.items():
        least, usual = LEAST_SCALE[name], one.mean
        if name in TEMPERATURES and not follows:
            continue
        if name in TWO_SIDED:
            least, usual = (least, 0.0) if follows else (least * max(LEAST_PART, 1.0 + usual), usual)
        scale = max(least, math.sqrt(one.spread / (one.count - 1))) if one.count > 1 else least
        away = ((one.fast - usual) / scale, (one.slow - usual) / scale)
        fast.append(abs(away[0]) if name in TWO_SIDED else away[0])
        slow.append(abs(away[1]) if name in TWO_SIDED else away[1])
    if len(fast) == 1:
        return min(scores, default=math.nan), math.nan
    scores.append(min(1.0, max(0.0, (LOST_SCALES - max(slow)) / (LOST_SCALES - FREE_SCALES))))
    return min(scores), max(fast) ** 2 / (max(fast) ** 2 + UNUSUAL_SCALES**2)


def _quality(values: Mapping[str, float], last: Mapping[str, float]) -> str:
    if all(name in values for name in HEAD_NEEDS):
        return "measured"
    return "held" if all(name in last for name in HEAD_NEEDS) else "assumed"


def _remember(trends: Mapping[str, tuple[float, ...]], symptoms: Mapping[str, Symptom]) -> dict[str, tuple[float, ...]]:
    after = dict(trends)
    for name, one in symptoms.items():
        if name not in trends:
            if one.count >= CALIBRATION_READINGS:
                after[name] = (one.time, one.time, one.mean, one.mean, one.mean)
        elif one.time > trends[name][1]:
            since, time, *means = trends[name]
            days = (time - one.time) / 86_400.0
            moved = (
                mean + (one.slow - mean) * -math.expm1(days / memory)
                for mean, memory in zip(means, MEMORY_DAYS, strict=True)
            )
            after[name] = (since, one.time, *moved)
    return after
