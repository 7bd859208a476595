"""Learns a RUL model: two tree ensembles and two numbers.

The first ensemble learns the logarithm of the days left, and may only go down where a feature gets worse; what
trees would learn of one fleet's accidents, the physics knows better. The second learns how far the first is wrong
on units that it has not seen. Bounds are the first, less and plus the second times a factor: the quantiles, on
unseen units, of the error in units of its expected size (locally weighted conformal prediction [1]_).

Everything is chosen by cross-validation over units: no unit has rows on both sides.

References
----------
.. [1] J. Lei et al., "Distribution-free predictive inference for regression", JASA 113 (2018), section 5.2.
"""

from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np

from twin_actors.prognostics.artefact import LEAST_SPREAD, Bounds, to_target
from twin_actors.prognostics.histories import Column, Histories, Integers

FOLDS = 5
NOMINAL_COVERAGE = 0.9

ALWAYS: dict[str, Any] = {
    "objective": "l2",
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
    "max_bin": 127,
}
CHOICES: tuple[dict[str, float], ...] = tuple(
    {"num_leaves": leaves, "min_data_in_leaf": least, "learning_rate": 0.1, "num_iterations": trees}
    for leaves, trees in ((6, 60), (6, 120), (12, 60), (12, 100))
    for least in (40, 160)
)
"""All of a size that stays readable beside the code: 250 KB at most."""

SPREAD_CHOICE: dict[str, float] = {
    "num_leaves": 6,
    "min_data_in_leaf": 200,
    "learning_rate": 0.1,
    "num_iterations": 40,
}


@dataclass(frozen=True)
class Learned:
    """A RUL model, and what cross-validation says of it.

    Attributes
    ----------
    estimate, spread : str
        LightGBM's text of the two ensembles.
    bounds : Bounds
    choice : dict
        Parameters that were chosen.
    unseen : Column, shape (n, 3)
        Days and bounds of each training row, by models that had not seen its unit.
    """

    estimate: str
    spread: str
    bounds: Bounds
    choice: dict[str, float]
    unseen: Column


def learn(histories: Histories, worse: tuple[int, ...], seed: int) -> Learned:
    """Learn from a fleet; the same fleet and seed give the same model.

    Parameters
    ----------
    histories : Histories
    worse : tuple of int
        How remaining life goes with each feature: 1 up, -1 down, 0 either.
    seed : int
        Of the folds.
    """
    folds = _folds(histories.unit, seed)
    target, weights, features = to_target(histories.remaining), histories.weights, histories.features
    tried: list[tuple[float, dict[str, float], Column]] = []
    for choice in CHOICES:
        unseen = _unseen(_parameters(choice, worse), features, target, weights, folds)
        tried.append((float(np.average((target - unseen) ** 2, weights=weights)), choice, unseen))
    _, choice, unseen = min(tried, key=lambda one: one[0])
    size = np.abs(target - unseen)
    of_spread = {**ALWAYS, **SPREAD_CHOICE}
    spread = _unseen(of_spread, features, size, weights, folds)
    bounds = _bounds((target - unseen) / np.maximum(LEAST_SPREAD, spread), weights)
    return Learned(
        _text(_fit(_parameters(choice, worse), features, target, weights)),
        _text(_fit(of_spread, features, size, weights)),
        bounds,
        choice,
        bounds.days(unseen, spread),
    )


def _parameters(choice: dict[str, float], worse: tuple[int, ...]) -> dict[str, Any]:
    return {**ALWAYS, **choice, "monotone_constraints": list(worse)}


def _folds(unit: Integers, seed: int) -> Integers:
    units = np.unique(unit)
    shuffled = np.random.default_rng((seed, 3)).permutation(units.size) % FOLDS
    return shuffled[np.searchsorted(units, unit)]


def _fit(parameters: dict[str, Any], features: Column, target: Column, weights: Column) -> lightgbm.Booster:
    return lightgbm.train(parameters, lightgbm.Dataset(features, target, weight=weights))


def _unseen(parameters: dict[str, Any], features: Column, target: Column, weights: Column, folds: Integers) -> Column:
    """Return predictions of rows by ensembles that were fitted without their units."""
    unseen = np.empty_like(target)
    for fold in range(FOLDS):
        held = folds == fold
        booster = _fit(parameters, features[~held], target[~held], weights[~held])
        unseen[held] = booster.predict(features[held], num_threads=1)
    return unseen


def _bounds(scores: Column, weights: Column) -> Bounds:
    """Return the quantiles of the scores between which the nominal part of them lies."""
    order = np.argsort(scores, kind="stable")
    share = np.cumsum(weights[order]) / weights.sum()
    tail = (1.0 - NOMINAL_COVERAGE) / 2.0
    low, high = np.interp((tail, 1.0 - tail), share, scores[order])
    return Bounds(min(0.0, float(low)), max(0.0, float(high)), NOMINAL_COVERAGE)


def _text(booster: lightgbm.Booster) -> str:
    """Return the ensemble without the parameters that it was fitted with: they are this module's."""
    return str(booster.model_to_string()).split("\nparameters:", 1)[0] + "\n"
