"""Health of a pump from its symptoms: numbers that move when it fails.

A symptom is smoothed over event time, twice: fast, to see that something is unusual, and slowly, to
judge health. What is usual is learned from its first good readings and then stays: wear that comes
slowly would be learned away by a baseline that follows.

Health is the lowest score over all symptoms and limits: one failing part is not made up for by others
that are well.
"""

import math
from collections.abc import Mapping

import msgspec

CALIBRATION_READINGS = 60
"""Readings from which the usual value and its scatter are learned; a minute at one a second."""

FAST_SECONDS = 10.0
SLOW_SECONDS = 60.0
"""Time constants of the two smoothed values."""

FREE_SCALES = 2.0
"""Deviation that costs no health, in units of the symptom's scale."""

LOST_SCALES = 10.0
"""Deviation at which health is gone."""

UNUSUAL_SCALES = 4.0
"""Deviation that scores 0.5 as an anomaly."""

NAMEPLATE_TOLERANCE = 0.15
"""Mean head residual during calibration within which the rated curve is taken to be this pump's;
acceptance tests allow up to 7 % (ISO 9906:2012 grade 3B), gauges and meters of plants add theirs."""

LIMITS = {
    "vibration": (3.2, 8.5),
    "motorTemperature": (120.0, 155.0),
    "bearingTemperature": (80.0, 100.0),
    "oilTemperature": (70.0, 95.0),
}
"""Channel → where health begins to fall, and where it is gone, whatever is usual for this pump.
Vibration: zone boundaries A/B and C/D of ISO 10816-7, category II up to 200 kW, mm/s; motor: insulation
class F less 35 K, and its limit; bearing and oil: grease and mineral oil age fast above these."""

LEAST_SCALE = {
    "head": 0.02,
    "power": 0.03,
    "motorTemperature": 4.0,
    "bearingTemperature": 4.0,
    "oilTemperature": 4.0,
    "vibration": 0.4,
    "acceleration1": 0.02,
    "acceleration2": 0.02,
}
"""Symptom → the smallest change worth knowing about: head and power as parts of the expected, temperatures
in kelvin above the heat balance, vibration in mm/s, acceleration in g."""

LEAST_PART = 0.02
"""The least head or power, as a part of the rated curve's, of which a change is a part of the usual."""

TWO_SIDED = ("head", "power")
"""Symptoms that are as bad below as above; of the others only a rise is."""

TEMPERATURES = ("motorTemperature", "bearingTemperature", "oilTemperature")


class Symptom(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a twin remembers of a symptom.

    Attributes
    ----------
    fast, slow : float
        The smoothed values.
    time : float
        Event time of the last one, seconds since 1970.
    count : int
        Readings that the baseline has learned from.
    mean, spread : float
        The baseline: mean, and sum of squared differences from it.
    """

    fast: float
    slow: float
    time: float
    count: int
    mean: float
    spread: float

    @property
    def is_calibrated(self) -> bool:
        """Whether the baseline is complete."""
        return self.count >= CALIBRATION_READINGS


def follow(before: Symptom | None, value: float, time: float) -> Symptom:
    """Return the symptom after a new value."""
    if before is None:
        return Symptom(value, value, time, 1, value, 0.0)
    elapsed = max(0.0, time - before.time)
    fast = before.fast + (value - before.fast) * -math.expm1(-elapsed / FAST_SECONDS)
    slow = before.slow + (value - before.slow) * -math.expm1(-elapsed / SLOW_SECONDS)
    if before.is_calibrated:
        return Symptom(fast, slow, time, before.count, before.mean, before.spread)
    count = before.count + 1
    mean = before.mean + (value - before.mean) / count
    spread = before.spread + (value - before.mean) * (value - mean)  # Welford: no cancellation
    return Symptom(fast, slow, time, count, mean, spread)


def scale_of(symptom: Symptom, least: float) -> float:
    """Return the unit in which deviations of a symptom count: its scatter during calibration, but at least
    `least`, the size of a change worth knowing about however quiet the sensor is.
    """
    if symptom.count < 2:
        return least
    return max(least, math.sqrt(symptom.spread / (symptom.count - 1)))


def score(deviation_: float) -> float:
    """Map a deviation to health: 1 up to `FREE_SCALES`, falling in a straight line to 0 at `LOST_SCALES`."""
    return min(1.0, max(0.0, (LOST_SCALES - deviation_) / (LOST_SCALES - FREE_SCALES)))


def strangeness(deviation_: float) -> float:
    """Map a deviation to an anomaly score: d² / (d² + 4²), so 0 usual, 0.5 at `UNUSUAL_SCALES`, towards 1."""
    square = deviation_ * deviation_
    return square / (square + UNUSUAL_SCALES * UNUSUAL_SCALES)


def follows_nameplate(symptoms: Mapping[str, Symptom]) -> bool:
    """Return whether the head agreed with the rated curve while the baseline was learned."""
    return "head" in symptoms and abs(symptoms["head"].mean) <= NAMEPLATE_TOLERANCE


def judge(symptoms: Mapping[str, Symptom], last: Mapping[str, float]) -> tuple[float | None, float | None]:
    """Return health and anomaly score; None while there is nothing to judge by."""
    scores = [_limit_score(name, last[name]) for name in TEMPERATURES if name in last]
    if "vibration" in symptoms:
        scores.append(_limit_score("vibration", symptoms["vibration"].slow))
    fast, slow = _largest_deviations(symptoms)
    if slow is not None:
        scores.append(score(slow))
    return min(scores, default=None), None if fast is None else strangeness(fast)


def _largest_deviations(symptoms: Mapping[str, Symptom]) -> tuple[float | None, float | None]:
    """Return the largest deviation of the fast and of the slow values, in scales."""
    follows = follows_nameplate(symptoms)
    fast: list[float] = []
    slow: list[float] = []
    for name, symptom in symptoms.items():
        least, usual = LEAST_SCALE[name], symptom.mean
        if name in TWO_SIDED:
            if follows:
                usual = 0.0
            else:
                # These are parts of what the rated curve expects: make them parts of what is usual here.
                least *= max(LEAST_PART, 1.0 + usual)
            scale = scale_of(symptom, least)
            fast.append(abs(symptom.fast - usual) / scale)
            slow.append(abs(symptom.slow - usual) / scale)
        elif follows or name not in TEMPERATURES:  # the heat balance of an unknown machine says nothing
            scale = scale_of(symptom, least)
            fast.append((symptom.fast - usual) / scale)
            slow.append((symptom.slow - usual) / scale)
    if not fast:
        return None, None
    return max(0.0, *fast), max(0.0, *slow)


def _limit_score(name: str, value: float) -> float:
    begin, end = LIMITS[name]
    return min(1.0, max(0.0, (end - value) / (end - begin)))
