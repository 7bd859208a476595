"""What training and tests are made of: rows of features with the truth, and the health that led there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

type Column = npt.NDArray[np.float64]
type Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Watch:
    """What a twin thought of one unit's health, reading by reading; NaN while it did not know.

    Attributes
    ----------
    days, health : Column
    cause : str
        What ended its life.
    """

    days: Column
    health: Column
    cause: str


@dataclass(frozen=True)
class Histories:
    """A fleet that was watched until it failed.

    Attributes
    ----------
    features : Column, shape (n, k)
        What twins said of themselves.
    remaining : Column
        Days that were left in truth; 0 beyond the end.
    unit, reading : Integers
        Which unit, and which of its readings.
    watches : sequence of Watch
        One a unit.
    """

    features: Column
    remaining: Column
    unit: Integers
    reading: Integers
    watches: Sequence[Watch]

    def chosen(self, rows: npt.NDArray[np.bool_]) -> "Histories":
        """Return these rows of it."""
        return Histories(self.features[rows], self.remaining[rows], self.unit[rows], self.reading[rows], self.watches)

    @property
    def weights(self) -> Column:
        """A weight a row, so that each unit counts the same; their mean is 1."""
        _, inverse, counts = np.unique(self.unit, return_inverse=True, return_counts=True)
        return self.unit.size / counts.size / counts[inverse]


def joined(parts: Sequence[Histories]) -> Histories:
    """Return several fleets as one."""
    offsets = np.cumsum([0, *(len(part.watches) for part in parts)])
    return Histories(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.remaining for part in parts]),
        np.concatenate([part.unit + offset for part, offset in zip(parts, offsets[:-1], strict=True)]),
        np.concatenate([part.reading for part in parts]),
        [watch for part in parts for watch in part.watches],
    )


class Course(Protocol):
    """What a twin type with a RUL model has in its ``histories.py``: the fleets to learn and to be tested on."""

    FEATURE_NAMES: tuple[str, ...]
    WORSE: tuple[int, ...]

    def training_fleet(self, units: int, seed: int) -> Histories:
        """Simulate units to learn from."""

    def test_fleet(self, units: int, seed: int) -> Histories:
        """Simulate units whose laws, ranges and faults lie outside training."""
