"""Wear of simulated pumps: how far each part is gone, how it grows, what it does.

The rates and effects are chosen, not measured: of the size that makes a pump a case for the workshop after
some years, and different enough for a diagnosis to tell the parts apart.
"""

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

type Column = npt.NDArray[np.float64]

YEAR = 365.25 * 86_400.0

IMPELLER_YEARS = 20.0  # of rated running for the whole head, evenly; a tenth is a case for the workshop
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
    def head(self) -> Column:
        """What is left of the head of a new pump at the same flow."""
        return 1.0 - self.impeller

    @property
    def power(self) -> Column:
        """Shaft power, in that of a new pump at the same flow: what is lost of the head goes round inside."""
        return 1.0 + 0.3 * self.impeller

    @property
    def friction(self) -> Column:
        """Of the bearing, in that of a new one."""
        return 1.0 + 1.5 * self.bearing

    @property
    def vibration(self) -> Column:
        """What comes on top, mm/s."""
        return 3.0 * self.impeller + 7.0 * self.bearing

    @property
    def impacts(self) -> Column:
        """What an accelerometer on the bearing hears of its damage, g."""
        return 1.2 * self.bearing

    @property
    def leak(self) -> Column:
        """The part of the flow that does not reach the meter."""
        return 0.06 * self.seal
