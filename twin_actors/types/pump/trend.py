"""Where a pump's symptoms are going: memories of weeks and months, and the features that a RUL model reads.

Each symptom is remembered by exponentially weighted means of three lengths (`kernels.pump_condition`). A short memory
runs ahead of a long one by the rate of change times the difference of their lags, so two numbers give a rate without a
history being kept:

    rate = (short - long) / (lag_long - lag_short),    lag = τ (1 - exp(-t / τ))

t being how long the symptom has been watched; the rate of a straight line is met exactly from the start.
"""

import math
from collections.abc import Mapping

from kernels.pump_condition import LEAST_PART, MEMORY_DAYS, SYMPTOMS
from twin_actors.types.pump.state import Symptom, Trend, follows_nameplate

DAY = 86_400.0

TWO_SIDED = ("head", "power")
"""Symptoms that are as bad below as above; of the others only a rise is."""

TEMPERATURES = ("motorTemperature", "bearingTemperature", "oilTemperature")

LEAST_WATCHED_DAYS = 10.0
"""Before that, a rate is noise over a short time."""

STALE_DAYS = 7.0
"""What was not heard for so long tells nothing of today."""

FEATURE_NAMES = tuple(
    f"{symptom}.{kind}" for symptom in SYMPTOMS for kind in ("level", "rise", "monthRate", "halfYearRate")
)
"""Of each symptom: its smoothed value, how far that is from what was usual when first seen, and its change per
day over weeks and over months. In the units of the symptoms."""

WORSE = tuple(
    {"head": 1, "power": 0}.get(symptom, -1) for symptom in SYMPTOMS for _ in ("level", "rise", "month", "half-year")
)
"""Feature → how remaining life goes with it, all else being equal: up with the head, down with heat and
vibration; power may say either."""

LEVEL_NEEDS = {
    **dict.fromkeys(TWO_SIDED, ("speed", "suctionPressure")),
    **dict.fromkeys(TEMPERATURES, ("ambientTemperature", "fluidTemperature")),
}
"""Symptom → channels without which its expectation rests on assumptions: then only changes tell."""

OF_THIS_MACHINE = frozenset((*LEVEL_NEEDS, "acceleration1", "acceleration2"))
"""Symptoms whose level says nothing of a machine with another nameplate; vibration velocity has its limits in a
standard, whatever the machine."""

NAN = math.nan


def rates(trend: Trend) -> tuple[float, float]:
    """Return the change per day over weeks and over months; NaN until the symptom has been watched long enough."""
    watched = (trend.time - trend.since) / DAY
    if watched < LEAST_WATCHED_DAYS:
        return NAN, NAN
    week, month, half_year = (-memory * math.expm1(-watched / memory) for memory in MEMORY_DAYS)
    return (trend.week - trend.month) / (month - week), (trend.month - trend.half_year) / (half_year - month)


def feature_row(
    time: float, last: Mapping[str, float], symptoms: Mapping[str, Symptom], trends: Mapping[str, Trend]
) -> tuple[float, ...] | None:
    """Return the features in the order of `FEATURE_NAMES`, NaN where unknown; None before any baseline is complete.

    Parameters
    ----------
    time : float
        Event time of the newest reading.
    last : Mapping
        Channel → last good value.
    symptoms : Mapping
    trends : Mapping
    """
    if not any(symptom.is_calibrated for symptom in symptoms.values()):
        return None
    follows = follows_nameplate(symptoms)
    row: list[float] = []
    for name in SYMPTOMS:
        symptom = symptoms.get(name)
        if symptom is None or time - symptom.time > STALE_DAYS * DAY or (name in TEMPERATURES and not follows):
            row += (NAN, NAN, NAN, NAN)
            continue
        has_level = follows or name not in OF_THIS_MACHINE
        row.append(symptom.fast if has_level and all(need in last for need in LEVEL_NEEDS.get(name, ())) else NAN)
        # Of an unknown machine head and power are parts of what is usual there, not of the rated curve's.
        unit = max(LEAST_PART, 1.0 + symptom.mean) if name in TWO_SIDED and not follows else 1.0
        row.append((symptom.fast - symptom.mean) / unit if symptom.is_calibrated else NAN)
        trend = trends.get(name)
        row += (NAN, NAN) if trend is None else (rate / unit for rate in rates(trend))
    return tuple(row)
