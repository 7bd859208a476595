"""Sensors of simulated pumps: noise, channels that are not there, and faults.

======== ===========================================================================
drift    the error grows evenly, to its full size in a year
offset   the error is there from one moment on
stuck    one value stays for up to two months
gain     the values are some percent too large from one moment on
spikes   one reading in thirty is half as large again
dropout  one reading in three lacks the channel
======== ===========================================================================
"""

from dataclasses import dataclass

import numpy as np

from twin_actors.types.pump.wear_laws import Column, Population

NOISE = {
    # channel: standard deviation, as a part of the value, and in the unit of the channel
    "speed": (0.0, 0.5),
    "flow": (0.003, 0.02),
    "suctionPressure": (0.0, 0.15),
    "dischargePressure": (0.0, 0.5),
    "power": (0.003, 0.0),
    "current": (0.003, 0.0),
    "voltage": (0.0005, 0.0),
    "motorTemperature": (0.0, 0.1),
    "bearingTemperature": (0.0, 0.1),
    "oilTemperature": (0.0, 0.1),
    "fluidTemperature": (0.0, 0.05),
    "ambientTemperature": (0.0, 0.1),
    "vibration": (0.04, 0.0),
    "acceleration1": (0.04, 0.0),
    "acceleration2": (0.04, 0.0),
}
DECIMALS = 4

ALWAYS_THERE = ("flow", "dischargePressure")

FAULT_UNITS = {
    "flow": 2.0,  # [m³/h]
    "dischargePressure": 6.0,  # [kPa]
    "power": 0.3,  # [kW]
    "motorTemperature": 5.0,  # [K]
    "bearingTemperature": 4.0,
    "oilTemperature": 4.0,
    "vibration": 0.4,  # [mm/s]
    "acceleration1": 0.02,  # [g]
    "acceleration2": 0.02,
}
"""Channel → the error of a sensor that is noticeably wrong: about the least change that health counts."""

FULL_DRIFT_DAYS = 365.0
LONGEST_STUCK_DAYS = 60.0
GAIN_PER_SIZE = 0.05
SPIKE_FACTOR, SPIKE_SHARE, DROPOUT_SHARE = 1.5, 1.0 / 30.0, 1.0 / 3.0


@dataclass
class Fault:
    """A sensor that goes wrong at some day, and how; `size` is in units of `FAULT_UNITS`."""

    kind: str
    channel: str
    size: float
    begins: float
    ends: float
    stuck_at: float | None = None

    def shown(self, value: float, day: float, chance: float) -> float | None:
        """Return what the sensor shows instead of a value; None for nothing."""
        if not self.begins <= day < self.ends:
            return value
        error = self.size * FAULT_UNITS[self.channel]
        shown: float | None = value
        match self.kind:
            case "drift":
                shown = value + error * min(1.0, (day - self.begins) / FULL_DRIFT_DAYS)
            case "offset":
                shown = value + error
            case "stuck":
                shown = self.stuck_at = value if self.stuck_at is None else self.stuck_at
            case "gain":
                shown = value * (1.0 + GAIN_PER_SIZE * self.size)
            case "spikes":
                shown = value * SPIKE_FACTOR if chance < SPIKE_SHARE else value
            case "dropout":
                shown = None if chance < DROPOUT_SHARE else value
            case kind:
                raise ValueError(f"no such fault of sensors: {kind}")
        return shown


class Sensors:
    """The sensors of a population of pumps.

    Parameters
    ----------
    population : Population
    watched_days : list of float
        How long each pump is watched.
    random : numpy.random.Generator
    """

    def __init__(self, population: Population, watched_days: list[float], random: np.random.Generator) -> None:
        self._random = random
        low, high = np.log(population.noise)
        self._noise = np.exp(random.uniform(low, high, len(watched_days)))
        self._missing = [
            [name for name in NOISE if name not in ALWAYS_THERE and random.random() < population.missing_share]
            for _ in watched_days
        ]
        self._faults = [self._draw(population, days) for days in watched_days]

    def _draw(self, population: Population, watched_days: float) -> Fault | None:
        random = self._random
        if random.random() >= population.fault_share:
            return None
        kind = str(random.choice(population.faults))
        begins = random.uniform(0.0, watched_days)
        ends = begins + random.uniform(0.1, 1.0) * LONGEST_STUCK_DAYS if kind == "stuck" else np.inf
        sign = 1.0 if random.random() < 0.5 else -1.0
        size = sign * random.uniform(*population.fault_size)
        return Fault(kind, str(random.choice(list(FAULT_UNITS))), size, begins, ends)

    def show(self, pumps: list[int], days: Column, true: dict[str, Column]) -> list[dict[str, float]]:
        """Return what the sensors of some pumps show: channel → value, one dictionary a pump."""
        part, unit = (np.array(column)[:, np.newaxis] for column in zip(*NOISE.values(), strict=True))
        values = np.array([true[name] for name in NOISE])
        scatter = np.hypot(part * values, unit) * self._noise[pumps]
        noisy = np.round(values + scatter * self._random.standard_normal(values.shape), DECIMALS)
        chances = self._random.random(len(pumps))
        rows = [dict(zip(NOISE, row, strict=True)) for row in noisy.T.tolist()]
        for row, pump, day, chance in zip(rows, pumps, days.tolist(), chances.tolist(), strict=True):
            for name in self._missing[pump]:
                del row[name]
            fault = self._faults[pump]
            if fault is not None and fault.channel in row:
                shown = fault.shown(row[fault.channel], day, chance)
                if shown is None:
                    del row[fault.channel]
                else:
                    row[fault.channel] = shown
        return rows
