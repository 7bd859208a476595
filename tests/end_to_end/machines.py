"""Readings of simulated pumps, made without waiting: their time stamps lie in the past."""

import time
from collections.abc import Mapping

import numpy as np

from local_emulator.devices.pumps import PumpGroup
from local_emulator.devices.wear import Wear

type Rows = list[dict[str, float]]


class Machine:
    """A pump whose readings end now.

    Parameters
    ----------
    seed : int
    seconds : float
        How far back its first reading lies.
    """

    def __init__(self, seed: int = 1, seconds: float = 600.0) -> None:
        self._pumps = PumpGroup(1, seed=seed)
        self._time = time.time() - seconds

    def wear(self, *, impeller: float = 0.0, bearing: float = 0.0, seal: float = 0.0) -> None:
        """Wear its parts, at once."""
        self._pumps.wear = Wear(np.array([impeller]), np.array([bearing]), np.array([seal]))

    def rows(self, count: int, changes: Mapping[str, float] | None = None) -> Rows:
        """Return one reading a second; what is changed is added to what its sensors show."""
        made: Rows = []
        for _ in range(count):
            self._time += 1.0
            shown = {name: float(value[0]) for name, value in self._pumps.step(1.0).items()}
            for name, change in (changes or {}).items():
                shown[name] += change
            made.append({"time": self._time, **shown})
        return made

    def later(self, seconds: float) -> Rows:
        """Return a reading of that much later."""
        self._time += seconds - 1.0
        return self.rows(1)
