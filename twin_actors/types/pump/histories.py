"""Fleets of simulated pumps, run to failure and watched by the pump's own twin.

Physics is that of `kernels.pump_wear`. Each pump is heard for a minute, a reading a second, from which its twin
learns what is usual; then once or twice a day. Readings go through the same judgement of quality and the same
`receive` as those of devices, so a row of features is what a twin would have said.
"""

import math
from collections.abc import Generator
from typing import Any

import numpy as np

from kernels.hydraulics import REFERENCE_PUMP
from kernels.pump_condition import CALIBRATION_READINGS
from kernels.pump_wear import REFERENCE_WEAR_EFFECTS, WornPump, worn_pump
from kernels.thermal import REFERENCE_FRICTION, REFERENCE_MACHINE, MachineTemperatures, machine_temperatures
from twin_actors.messages import Row
from twin_actors.prognostics.histories import Column, Histories, Watch, joined
from twin_actors.quality import Signal, judge
from twin_actors.turn import gather
from twin_actors.twin import KernelRequest
from twin_actors.types.pump.sensors import Sensors
from twin_actors.types.pump.state import State
from twin_actors.types.pump.trend import FEATURE_NAMES, WORSE
from twin_actors.types.pump.twin import TWIN, features
from twin_actors.types.pump.wear_laws import FASTER, SLOWER, TRAINING, Life, Population, live

__all__ = ["FEATURE_NAMES", "WORSE", "test_fleet", "training_fleet"]

START = 1_700_000_000.0  # [s] since 1970: any
DAY = 86_400.0
KELVIN = 273.15
GRAVITY = 9.80665
RPM = 30.0 / math.pi
AIR_PRESSURE = 101_325.0
STATIC_HEAD = 12.0  # [m]
OPEN_RESISTANCE = 26_000.0  # [s²/m⁵] of the pipe with an open valve
POWER_FACTOR = 0.86

SCATTER = (0.015, 0.06, 0.3, 1.5, 2.0, 2.0)
MEMORY_SECONDS = (900.0, 600.0, 1800.0, 7200.0, 7200.0, 300.0)
LEAST = (0.80, 0.40, 0.8, 3.0, 3.0, 380.0)
MOST = (1.05, 1.0, 3.5, 38.0, 40.0, 420.0)
"""How operation wanders about what is usual, and within what: speed over rated, valve, level above the suction
flange [m], water and air [°C], mains [V]."""

EVEN_ROWS, LATE_ROWS, EARLY_ROWS, WORN_OUT_ROWS = 36, 30, 3, 6
"""Rows taken of each pump: spread over its time, over the logarithm of what is left, just met, beyond its end.
A model says of a pump that shows nothing what is usual among its rows; so not all of them are late."""

UNKNOWN_RATES = 1.0 / 3.0
"""Of training rows whose rates are blanked: a model must judge twins that were met a minute ago, too."""

RATE_COLUMNS = [index for index, name in enumerate(FEATURE_NAMES) if name.endswith("Rate")]


def training_fleet(units: int, seed: int) -> Histories:
    """Simulate pumps to learn from."""
    random = np.random.default_rng((seed, 1))
    fleet = _Fleet(TRAINING, units, random).run()
    rows = fleet.features.copy()
    rows[np.ix_(random.random(len(rows)) < UNKNOWN_RATES, RATE_COLUMNS)] = math.nan
    return Histories(rows, fleet.remaining, fleet.unit, fleet.reading, fleet.watches)


def test_fleet(units: int, seed: int) -> Histories:
    """Simulate pumps outside training, half of them faster, half slower."""
    random = np.random.default_rng((seed, 2))
    return joined([_Fleet(FASTER, units - units // 2, random).run(), _Fleet(SLOWER, units // 2, random).run()])


def _between(bounds: tuple[float, float], count: int, random: np.random.Generator) -> Column:
    return random.uniform(*bounds, count)


class _Plant:
    """Pumps in their pipes: operation that wanders, physics of the worn pump, temperatures."""

    def __init__(self, population: Population, count: int, random: np.random.Generator) -> None:
        self._random = random
        level, mains = np.full(count, 2.0), np.full(count, 400.0)
        ranges = (population.speed, population.valve, population.water, population.air)
        speed, valve, water, air = (_between(one, count, random) for one in ranges)
        self.usual = np.array([speed, valve, level, water, air, mains])
        self.operation = self.usual.copy()
        self._size_up(population, count)
        effects = np.array(REFERENCE_WEAR_EFFECTS)[:, np.newaxis]
        self._effects = effects * random.uniform(*population.effect, (effects.size, count))
        self._temperatures = np.full((3, count), 20.0 + KELVIN)

    def _size_up(self, population: Population, count: int) -> None:
        """Draw nameplates, and pipes that fit: by the laws of similarity foreign pumps work as rated ones do."""
        is_foreign = self._random.random(count) < population.foreign_share
        low, high = np.log(population.foreign_size)
        head, flow = np.where(is_foreign, np.exp(self._random.uniform(low, high, (2, count))), 1.0)
        fall, best, efficiency, heat = np.where(
            is_foreign, self._random.uniform(*population.foreign_shape, (4, count)), 1.0
        )
        plate = REFERENCE_PUMP._asdict() | {
            "shutoff_head": REFERENCE_PUMP.shutoff_head * head * _between(population.head, count, self._random),
            "head_coefficient": REFERENCE_PUMP.head_coefficient * head / flow**2 * fall,
            "best_flow": REFERENCE_PUMP.best_flow * flow * best,
            "best_efficiency": REFERENCE_PUMP.best_efficiency * efficiency,
            "suction_area": REFERENCE_PUMP.suction_area * flow,
            "discharge_area": REFERENCE_PUMP.discharge_area * flow,
        }
        self._plate = np.array([np.broadcast_to(value, count) for value in plate.values()])
        self._static_head, self._resistance = STATIC_HEAD * head, OPEN_RESISTANCE * head / flow**2
        self._friction = REFERENCE_FRICTION * head * flow
        self._machine = np.array(REFERENCE_MACHINE)[:, np.newaxis] * head * flow * heat

    def step(self, pumps: list[int], wear: Column, seconds: Column) -> dict[str, Column]:
        """Let the time pass for some pumps; return true values, channel → value of each."""
        self._wander(pumps, seconds)
        speed, valve, level, water, air, _ = self.operation[:, pumps]
        speed = speed * REFERENCE_PUMP.rated_speed
        static_head = self._static_head[pumps] * (1.0 - level / STATIC_HEAD)
        resistance, friction = self._resistance[pumps] / valve**2, self._friction[pumps]
        point = worn_pump(
            speed, water + KELVIN, static_head, resistance, wear[0], wear[1], wear[2], friction,
            *self._plate.take(pumps, axis=1), *self._effects.take(pumps, axis=1),
        )  # fmt: skip
        motor, bearing, oil = self._temperatures.take(pumps, axis=1)
        heat = machine_temperatures(
            motor, bearing, oil, point.motor_loss, point.bearing_friction, air + KELVIN, water + KELVIN, seconds,
            *self._machine.take(pumps, axis=1),
        )  # fmt: skip
        self._temperatures[:, pumps] = heat[:3]
        return _channels(self.operation[:, pumps], point, heat)

    def _wander(self, pumps: list[int], seconds: Column) -> None:
        forget = np.exp(-seconds / np.array(MEMORY_SECONDS)[:, np.newaxis])
        usual = self.usual[:, pumps]
        noise = self._random.standard_normal(usual.shape) * np.array(SCATTER)[:, np.newaxis]
        wandered = usual + (self.operation[:, pumps] - usual) * forget + noise * np.sqrt(1.0 - forget * forget)
        self.operation[:, pumps] = np.clip(wandered, np.array(LEAST)[:, np.newaxis], np.array(MOST)[:, np.newaxis])


def _channels(operation: Column, point: WornPump, heat: MachineTemperatures) -> dict[str, Column]:
    speed, _, level, water, air, mains = operation
    suction = AIR_PRESSURE + point.density * GRAVITY * level
    return {
        "speed": speed * REFERENCE_PUMP.rated_speed * RPM,
        "flow": point.metered_flow * 3600.0,
        "suctionPressure": suction / 1e3,
        "dischargePressure": (suction + point.pressure_rise) / 1e3,
        "power": point.power / 1e3,
        "current": point.power / (math.sqrt(3.0) * mains * POWER_FACTOR),
        "voltage": mains,
        "motorTemperature": heat.motor - KELVIN,
        "bearingTemperature": heat.bearing - KELVIN,
        "oilTemperature": heat.oil - KELVIN,
        "fluidTemperature": water,
        "ambientTemperature": air,
        "vibration": point.vibration * 1e3,
        "acceleration1": point.acceleration / GRAVITY,
        "acceleration2": point.far_acceleration / GRAVITY,
    }


class Listener:
    """A twin that hears one pump."""

    def __init__(self) -> None:
        self.state = State()
        self._signals: dict[str, Signal] = {}

    def hear(self, time: float, values: dict[str, float]) -> Generator[KernelRequest, Any]:
        """Judge and fold a reading as the runtime does."""
        reading, self._signals = judge(TWIN.channels, self._signals, Row(time, values), time, self.state.time)
        result = TWIN.receive(self.state, reading)
        self.state = ((yield from result) if isinstance(result, Generator) else result).state


class _Fleet:
    """Pumps that are run to their end beside each other, each watched by a twin."""

    def __init__(self, population: Population, count: int, random: np.random.Generator) -> None:
        self._plant = _Plant(population, count, random)
        self._lives = [live(population, float(speed), random) for speed in self._plant.usual[0]]
        self._sensors = Sensors(population, [float(life.days[-1]) for life in self._lives], random)
        self._chosen = [_chosen_readings(life, random) for life in self._lives]
        self._health = [np.full(life.days.size, math.nan) for life in self._lives]
        self._twins = [Listener() for _ in self._lives]
        self._rows: list[tuple[tuple[float, ...], float, int, int]] = []

    def run(self) -> Histories:
        """Let all of them fail."""
        for second in range(CALIBRATION_READINGS - 1):
            pumps = list(range(len(self._lives)))
            self._read(pumps, 0, np.full(len(pumps), 1.0 if second else DAY), float(second))
        for reading in range(max(life.days.size for life in self._lives)):
            pumps = [unit for unit, life in enumerate(self._lives) if reading < life.days.size]
            since = [self._lives[unit].days[max(0, reading - 1)] for unit in pumps]
            now = np.array([self._lives[unit].days[reading] for unit in pumps])
            self._read(pumps, reading, (now - since) * DAY if reading else np.ones(len(pumps)))
            self._note(pumps, reading)
        watches = [Watch(life.days, one, life.cause) for life, one in zip(self._lives, self._health, strict=True)]
        return Histories(
            np.array([row for row, *_ in self._rows]).reshape(-1, len(FEATURE_NAMES)),
            np.array([remaining for _, remaining, *_ in self._rows], dtype=np.float64),
            np.array([unit for *_, unit, _ in self._rows], dtype=np.int64),
            np.array([reading for *_, reading in self._rows], dtype=np.int64),
            watches,
        )

    def _read(
        self, pumps: list[int], reading: int, seconds: Column, second: float = CALIBRATION_READINGS - 1.0
    ) -> None:
        lives = [self._lives[unit] for unit in pumps]
        wear = np.array([life.wear[:, reading] for life in lives]).T.copy()
        days = np.array([life.days[reading] for life in lives])
        shown = self._sensors.show(pumps, days, self._plant.step(pumps, wear, seconds))
        times = (START + second + days * DAY).tolist()
        gather([self._twins[unit].hear(time, row) for unit, time, row in zip(pumps, times, shown, strict=True)])

    def _note(self, pumps: list[int], reading: int) -> None:
        for unit in pumps:
            state = self._twins[unit].state
            if state.health is not None:
                self._health[unit][reading] = state.health
            row = features(state) if reading in self._chosen[unit] else None
            if row is not None:
                self._rows.append((row, float(self._lives[unit].remaining[reading]), unit, reading))


def _chosen_readings(life: Life, random: np.random.Generator) -> frozenset[int]:
    """Draw the readings of which rows are taken."""
    end = int(np.searchsorted(-life.remaining, 0.0))  # the first reading at which nothing is left
    even = random.uniform(0.0, end, EVEN_ROWS)
    late = np.searchsorted(-life.remaining, -np.exp(random.uniform(0.0, math.log(1.0 + life.remaining[0]), LATE_ROWS)))
    worn_out = random.uniform(end, life.days.size, WORN_OUT_ROWS)
    every = np.concatenate([np.arange(EARLY_ROWS), even, late, worn_out])
    return frozenset(np.minimum(every, life.days.size - 1).astype(np.int64).tolist())
