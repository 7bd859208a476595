"""How good predictions of remaining life are: errors and coverage, near the end and over all."""

import numpy as np

from twin_actors.prognostics import linear_trend
from twin_actors.prognostics.artefact import MOST_DAYS, LinearTrend, Scores, Trial
from twin_actors.prognostics.histories import Column, Histories

PARTS = {"all": np.inf, "under 180 days": 180.0, "under 30 days": 30.0}
"""Part of the rows → what is left in truth."""


def alive(histories: Histories) -> Histories:
    """Return the rows before the end: beyond it, there is nothing to foresee."""
    return histories.chosen(histories.remaining > 0.0)


def trial(histories: Histories, predicted: Column, line: LinearTrend, *, units: int, seed: int) -> Trial:
    """Score predictions (n, 3) beside those of the line, on rows before the end and on what ends units."""
    causes = np.array([watch.cause for watch in histories.watches])[histories.unit]
    rows = {name: histories.remaining < days for name, days in PARTS.items()}
    rows |= {f"ended by {cause}": causes == cause for cause in sorted(set(causes.tolist()))}
    rows = {name: chosen for name, chosen in rows.items() if chosen.any()}
    straight = linear_trend.predict(line, histories)
    return Trial(
        units,
        seed,
        {name: _scores(histories.chosen(chosen), predicted[chosen]) for name, chosen in rows.items()},
        {name: _scores(histories.chosen(chosen), straight[chosen][:, np.newaxis]) for name, chosen in rows.items()},
    )


def _scores(histories: Histories, predicted: Column) -> Scores:
    truth, weights = np.minimum(histories.remaining, MOST_DAYS), histories.weights
    error = predicted[:, 0] - truth
    absolute = float(np.average(np.abs(error), weights=weights))
    square = float(np.average(error * error, weights=weights))
    if predicted.shape[1] == 1:
        return Scores(truth.size, round(absolute, 2), round(square**0.5, 2))
    _, low, high = predicted.T
    inside = float(np.average((low <= truth) & (truth <= high), weights=weights))
    width = float(np.average(high - low, weights=weights))
    return Scores(truth.size, round(absolute, 2), round(square**0.5, 2), round(inside, 4), round(width, 2))


def table(tried: Trial) -> str:
    """Return a trial as text; the line is the one through the health index."""
    lines = [
        f"{'':18}{'':>7}{'mean abs error':>20}{'root mean square':>20}{'bounds':>9}{'their':>8}",
        f"{'days':18}{'rows':>7}{'model':>10}{'line':>10}{'model':>10}{'line':>10}{'hold':>9}{'width':>8}",
    ]
    for name, model in tried.model.items():
        line = tried.linear_trend[name]
        lines.append(
            f"{name:18}{model.rows:7}{model.mean_absolute_days:10.0f}{line.mean_absolute_days:10.0f}"
            f"{model.root_mean_square_days:10.0f}{line.root_mean_square_days:10.0f}"
            f"{model.coverage:9.1%}{model.width_days:8.0f}"
        )
    return "\n".join(lines)
