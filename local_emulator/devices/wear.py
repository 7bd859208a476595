"""Wear of simulated pumps: how far each part is gone, and how it grows. What it does is `kernels.pump_wear`'s.

The rates are chosen, not measured: of the size that makes a pump a case for the workshop after some years.
"""

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from kernels.pump_wear import REFERENCE_WEAR_EFFECTS

type Column = npt.NDArray[np.float64]

YEAR = 365.25 * 86_400.0

IMPELLER_YEARS = 20.0  # of rated running for the whole head, evenly; a fifth is a case for the workshop
BEARING_YEARS = 1.0  # in which damage grows e times
BEARING_SEED = 0.01  # the damage of a new bearing, from which it grows: 4.6 years until it is gone
SEAL_YEARS = 8.0
MOST_IMPELLER = 0.6  # beyond which nothing would be pumped


class Wear(NamedTuple):
    """The worn part of impeller, bearing and seal of each pump: 0 new, 1 gone."""

    impeller: Column
    bearing: Column
    seal: Column

    @classmethod
    def new(cls, count: int) -> Self:
        """Pumps fresh from the factory."""
        return cls(np.zeros(count), np.zeros(count), np.zeros(count))

    def after(self, seconds: Column) -> Self:
        """Return the wear after so many seconds of running at rated speed."""
        growth = np.exp(np.minimum(seconds / (BEARING_YEARS * YEAR), 50.0))
        return type(self)(
            np.minimum(MOST_IMPELLER, self.impeller + seconds / (IMPELLER_YEARS * YEAR)),
            np.minimum(1.0, (self.bearing + BEARING_SEED) * growth - BEARING_SEED),
            np.minimum(1.0, self.seal + seconds / (SEAL_YEARS * YEAR)),
        )

    @property
    def leak(self) -> Column:
        """The part of the flow that does not reach the meter."""
        return REFERENCE_WEAR_EFFECTS.leak * self.seal
