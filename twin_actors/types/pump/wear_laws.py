"""How simulated pumps wear out: laws, their scatter, and the ranges that a population draws from.

A pump is worn out when the first of its parts reaches its limit (`LIMITS`). Each part has a law of its own in
its life, the running time that would bring it to its limit:

==========  ====================================================================
impeller    limit · x^p, by erosion: an even loss of head for p = 1
bearing     limit · (e^(g x) - 1) / (e^g - 1): damage that breeds damage; or
            limit · x^g; or limit · ((x - x0) / (1 - x0))^1.5 after an
            incubation x0 = 1 - 1 / g
seal        limit · x^p
==========  ====================================================================

x is the age in lives. It grows with the running speed and in irregular steps (a gamma process), so that no two
pumps of the same law fail on the same day.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

type Column = npt.NDArray[np.float64]
type Range = tuple[float, float]

YEAR_DAYS = 365.25

LIMITS = (0.2, 0.57, 1.0)
"""Wear of impeller, bearing and seal at the end of life. A fifth of the head lost; 4 mm/s of vibration on top, with
which a good pump leaves zone B of ISO 10816-7 (5.1 mm/s); a seal that leaks all it can. The first two bring the
twin's health to 0; of a leak health sees little."""

PARTS = ("impeller", "bearing", "seal")
MOST = (0.6, 1.0, 1.0)
"""Beyond which wear does not grow."""

RUN_ON_DAYS = 200.0
"""How long pumps are run beyond their end, so that a model knows what that looks like."""

LONGEST_YEARS = 16.0


@dataclass(frozen=True, kw_only=True)
class Population:
    """Ranges from which each pump is drawn, evenly.

    Attributes
    ----------
    impeller_years, bearing_years, seal_years : Range
        Life of the part at rated speed, drawn evenly in its logarithm.
    impeller_power, bearing_growth, seal_power : Range
        p, g and p of the laws.
    bearing_law : str
        exponential, power or spalling.
    scatter_years : Range
        Variance over mean of the age: a life of 5 years scatters by a half with 0.05.
    effect : Range
        Factor on each of the `WearEffects`, each drawn alone.
    speed, valve, water, air : Range
        Usual speed over rated, valve opening, temperatures [°C].
    noise : Range
        Of the sensors, in that of good ones.
    head : Range
        Head of the new pump in that of the rated curve.
    foreign_share : float
        Of pumps that are not of the rated kind: of another size, in a plant that fits it, with another curve.
    foreign_size, foreign_shape : Range
        Their head and, drawn alone, their flow over the rated ones; their fall of head, best flow and best
        efficiency over those of a rated pump of that size.
    period_hours : Range
        Between readings.
    missing_share : float
        Chance of each optional channel not to be there.
    faults : tuple of str
        Kinds of sensor fault.
    fault_share : float
        Of pumps with a faulty sensor.
    fault_size : Range
        In units of `FAULT_UNITS`.
    new_share : float
        Of pumps that the twin sees from new; it meets the others at any age.
    """

    impeller_years: Range
    impeller_power: Range
    bearing_law: str
    bearing_years: Range
    bearing_growth: Range
    seal_years: Range
    seal_power: Range
    scatter_years: Range
    effect: Range
    speed: Range
    valve: Range
    water: Range
    air: Range
    noise: Range
    head: Range
    foreign_share: float
    foreign_size: Range
    foreign_shape: Range
    period_hours: Range
    missing_share: float
    faults: tuple[str, ...]
    fault_share: float
    fault_size: Range
    new_share: float = 0.5


TRAINING = Population(
    impeller_years=(2.0, 9.0),
    impeller_power=(0.8, 1.3),
    bearing_law="exponential",
    bearing_years=(2.0, 9.0),
    bearing_growth=(3.0, 5.0),
    seal_years=(2.5, 11.0),
    seal_power=(0.8, 1.3),
    scatter_years=(0.01, 0.06),
    effect=(0.75, 1.3),
    speed=(0.9, 1.0),
    valve=(0.65, 0.95),
    water=(10.0, 25.0),
    air=(14.0, 27.0),
    noise=(0.4, 1.5),
    head=(0.97, 1.03),
    foreign_share=0.25,
    foreign_size=(0.1, 0.8),
    foreign_shape=(0.8, 1.2),
    period_hours=(14.0, 36.0),
    missing_share=0.2,
    faults=("drift", "offset", "stuck"),
    fault_share=0.3,
    fault_size=(0.5, 1.5),
)

FASTER = Population(
    impeller_years=(1.2, 2.0),
    impeller_power=(1.4, 2.0),
    bearing_law="power",
    bearing_years=(1.2, 2.0),
    bearing_growth=(3.0, 5.0),
    seal_years=(1.5, 2.5),
    seal_power=(0.5, 0.75),
    scatter_years=(0.06, 0.1),
    effect=(0.7, 1.4),
    speed=(0.94, 1.04),
    valve=(0.5, 0.7),
    water=(22.0, 32.0),
    air=(25.0, 36.0),
    noise=(1.0, 2.0),
    head=(0.95, 1.05),
    foreign_share=0.25,
    foreign_size=(0.05, 0.1),
    foreign_shape=(0.7, 1.25),
    period_hours=(4.0, 14.0),
    missing_share=0.25,
    faults=("gain", "spikes", "dropout"),
    fault_share=0.5,
    fault_size=(1.0, 2.0),
)
"""Pumps worn out sooner than any of the training's, by other laws, under other loads and faults."""

SLOWER = Population(
    impeller_years=(9.0, 12.0),
    impeller_power=(0.55, 0.75),
    bearing_law="spalling",
    bearing_years=(9.0, 12.0),
    bearing_growth=(3.0, 6.0),
    seal_years=(11.0, 14.0),
    seal_power=(1.4, 2.0),
    scatter_years=(0.06, 0.1),
    effect=(0.7, 1.4),
    speed=(0.84, 0.92),
    valve=(0.85, 1.0),
    water=(5.0, 11.0),
    air=(6.0, 14.0),
    noise=(1.0, 2.0),
    head=(0.95, 1.05),
    foreign_share=0.25,
    foreign_size=(1.25, 2.0),
    foreign_shape=(0.7, 1.25),
    period_hours=(36.0, 60.0),
    missing_share=0.25,
    faults=("gain", "spikes", "dropout"),
    fault_share=0.5,
    fault_size=(1.0, 2.0),
)
"""Pumps that last longer, whose bearings fail late and fast."""


class Life(NamedTuple):
    """The true course of a pump while it is watched, one entry a reading.

    Attributes
    ----------
    days : Column
        Since the first reading.
    wear : Column, shape (3, n)
        Of `PARTS`.
    remaining : Column
        Days until its end, 0 beyond.
    cause : str
        The part that ends it.
    """

    days: Column
    wear: Column
    remaining: Column
    cause: str


def live(population: Population, speed: float, random: np.random.Generator) -> Life:
    """Draw a pump that runs at `speed` (over rated), and let it wear out."""
    period = random.uniform(*population.period_hours) / 24.0
    count = int(LONGEST_YEARS * YEAR_DAYS / period)
    days = np.cumsum(period * random.uniform(0.8, 1.2, count))
    steps = np.diff(days, prepend=0.0) * speed / YEAR_DAYS
    scatter = random.uniform(*population.scatter_years)
    years = np.array([population.impeller_years, population.bearing_years, population.seal_years])
    lives = np.exp(random.uniform(*np.log(years).T))[:, np.newaxis]
    ages = np.cumsum(random.gamma(steps / scatter, scatter, (len(PARTS), count)), axis=1) / lives
    ends = np.array([np.interp(1.0, age, days, right=np.inf) for age in ages])
    cause = int(np.argmin(ends))
    end = float(min(ends[cause], days[-1]))
    first = 0 if random.random() < population.new_share else int(np.searchsorted(days, end * random.uniform(0.0, 0.95)))
    watched = slice(first, int(np.searchsorted(days, end + RUN_ON_DAYS)))
    wear = _wear(population, ages[:, watched], random)
    return Life(
        days[watched] - days[first],
        np.minimum(wear, np.array(MOST)[:, np.newaxis]),
        np.maximum(0.0, end - days[watched]),
        PARTS[cause],
    )


def _wear(population: Population, ages: Column, random: np.random.Generator) -> Column:
    growth = random.uniform(*population.bearing_growth)
    bearing = ages[1]
    match population.bearing_law:
        case "exponential":
            shape = np.expm1(growth * np.minimum(bearing, 3.0)) / np.expm1(growth)
        case "power":
            shape = bearing**growth
        case "spalling":
            incubation = 1.0 - 1.0 / growth
            shape = (np.maximum(0.0, bearing - incubation) / (1.0 - incubation)) ** 1.5
        case law:
            raise ValueError(f"no such law of bearings: {law}")
    impeller = ages[0] ** random.uniform(*population.impeller_power)
    seal = ages[2] ** random.uniform(*population.seal_power)
    return np.array([LIMITS[0] * impeller, LIMITS[1] * shape, LIMITS[2] * seal])
