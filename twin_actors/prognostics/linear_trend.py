"""The plain way to foresee a failure: draw a straight line through the health index, see where it meets zero."""

import numpy as np

from twin_actors.prognostics.artefact import MOST_DAYS, LinearTrend
from twin_actors.prognostics.histories import Column, Histories, Watch

WINDOWS_DAYS = (30.0, 90.0, 180.0, 365.0, 730.0, 1e9)
LEAST_READINGS = 5


def days_to_zero(watch: Watch, reading: int, window_days: float) -> float:
    """Return when the line through the last days' health meets zero; NaN if it does not fall, or is none yet."""
    now = watch.days[reading]
    first = int(np.searchsorted(watch.days, now - window_days))
    days, health = watch.days[first : reading + 1] - now, watch.health[first : reading + 1]
    if health[-1] <= 0.0:  # NaN is not
        return 0.0
    known = np.isfinite(health)
    if known.sum() < LEAST_READINGS:
        return np.nan
    days, health = days[known], health[known]
    offset = days - days.mean()
    slope = float(offset @ health / (offset @ offset))
    if slope >= 0.0:
        return np.nan
    return max(0.0, float(days.mean()) - float(health.mean()) / slope)


def choose(training: Histories) -> LinearTrend:
    """Return the line whose mean absolute error on training units is least."""
    truth = np.minimum(training.remaining, MOST_DAYS)
    tried: list[tuple[float, LinearTrend]] = []
    for window in WINDOWS_DAYS:
        days = _days(training, window)
        no_line = np.isnan(days)
        otherwise = float(np.median(truth[no_line])) if no_line.any() else MOST_DAYS
        error = np.abs(_said(days, otherwise) - truth)
        tried.append((float(np.average(error, weights=training.weights)), LinearTrend(window, otherwise)))
    return min(tried, key=lambda one: one[0])[1]


def predict(line: LinearTrend, histories: Histories) -> Column:
    """Return days left for each row."""
    return _said(_days(histories, line.window_days), line.otherwise_days)


def _days(histories: Histories, window_days: float) -> Column:
    pairs = zip(histories.unit.tolist(), histories.reading.tolist(), strict=True)
    return np.array([days_to_zero(histories.watches[unit], reading, window_days) for unit, reading in pairs])


def _said(days: Column, otherwise: float) -> Column:
    return np.minimum(np.where(np.isnan(days), otherwise, days), MOST_DAYS)
