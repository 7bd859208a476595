"""A RUL model as it is kept: a file of JSON beside the twin type, with all that is known of it.

``estimate`` and ``spread`` are LightGBM's own text of two tree ensembles. The first gives the logarithm of the days
left, the second the size of its error; `Bounds` makes days of both.
"""

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

type Column = npt.NDArray[np.float64]

MOST_DAYS = 1825.0
"""Life beyond five years is said to be five years: nobody plans further, and little tells."""

OFFSET_DAYS = 10.0
"""Days that are added before the logarithm is taken, so that errors of hours at the very end do not count most."""

LEAST_SPREAD = 0.02
"""The least error that bounds are made of: two percent of what is left."""


def to_target(days: Column) -> Column:
    """Return what the ensembles learn."""
    return np.log(OFFSET_DAYS + np.minimum(days, MOST_DAYS))


class Bounds(msgspec.Struct, frozen=True):
    """How many times the spread the bounds are away.

    Attributes
    ----------
    low, high : float
        Not positive, not negative.
    nominal_coverage : float
        The part of the truth that is meant to lie between.
    """

    low: float
    high: float
    nominal_coverage: float

    def days(self, target: Column, spread: Column) -> Column:
        """Return estimate, lower and upper bound, shape (n, 3), in days."""
        spread = np.maximum(LEAST_SPREAD, spread)
        columns = np.stack([target, target + self.low * spread, target + self.high * spread], axis=1)
        return np.clip(np.exp(columns) - OFFSET_DAYS, 0.0, MOST_DAYS)


class Scores(msgspec.Struct, frozen=True):
    """How far predictions are from the truth; each unit counts the same.

    Attributes
    ----------
    rows : int
    mean_absolute_days, root_mean_square_days : float
    coverage : float or None
        The part of the truth between the bounds; None where there are none.
    width_days : float or None
        Between the bounds.
    """

    rows: int
    mean_absolute_days: float
    root_mean_square_days: float
    coverage: float | None = None
    width_days: float | None = None


class Trial(msgspec.Struct, frozen=True):
    """A fleet that the model was tried on: part of its rows → scores.

    Attributes
    ----------
    units, seed : int
        With which the type's fleet is made again.
    model, linear_trend : dict
        Of the RUL model, and of a straight line through the health index.
    """

    units: int
    seed: int
    model: dict[str, Scores]
    linear_trend: dict[str, Scores]


class LinearTrend(msgspec.Struct, frozen=True):
    """What a straight line through the health index needs, chosen on training units.

    Attributes
    ----------
    window_days : float
        That the line is drawn through.
    otherwise_days : float
        What is said where it does not fall.
    """

    window_days: float
    otherwise_days: float


class Artefact(msgspec.Struct, frozen=True, kw_only=True):
    """A RUL model and its papers.

    Attributes
    ----------
    name : str
        What every prediction is labelled with: the type, and a hash of what decides predictions.
    twin_type, command : str
        What it is for, and the command that makes it again.
    code, versions : str, dict
        Hash of the sources that it was made by, and the libraries.
    features : tuple of str
        In the order in which the twin type gives them.
    choice : dict
        Parameters of the first ensemble that cross-validation chose.
    bounds : Bounds
    linear_trend : LinearTrend
        What it is compared with.
    cross_validation, test, check : Trial
        On training units unseen by the models asked; on units outside training; on a few of such, quickly
        repeated.
    estimate, spread : str
        The ensembles.
    """

    name: str
    twin_type: str
    command: str
    code: str
    versions: dict[str, str]
    features: tuple[str, ...]
    choice: dict[str, float]
    bounds: Bounds
    linear_trend: LinearTrend
    cross_validation: Trial
    test: Trial
    check: Trial
    estimate: str
    spread: str


def name_of(twin_type: str, features: tuple[str, ...], bounds: Bounds, estimate: str, spread: str) -> str:
    """Return the name of a model."""
    deciding = msgspec.json.encode((features, bounds, estimate, spread))
    return f"{twin_type}-rul-{hashlib.sha256(deciding).hexdigest()[:8]}"


def path_of(twin_type: str) -> Path:
    """Return where the RUL model of a twin type is kept."""
    return Path(__file__).parents[1] / "types" / twin_type / "rul.json"


def load(path: Path) -> Artefact:
    """Read an artefact; FileNotFoundError where there is none."""
    return msgspec.json.decode(path.read_bytes(), type=Artefact)


def save(artefact: Artefact, path: Path) -> None:
    """Write an artefact."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(artefact), indent=1) + b"\n")
