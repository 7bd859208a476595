"""A group of simulated pumps: physics of the reference pump, wear, and sensors with noise.

All pumps take a step in the same few array operations. Each pumps from an open tank through a valve into
a pipe: level, valve, speed and temperatures wander slowly about their usual values. What is worn shows as
it would on a machine:

=========  =======================================================================================
impeller   lowers the head at every flow by the worn part, costs efficiency, adds imbalance
bearing    raises friction, and with it bearing and oil temperature; raises vibration, and what
           accelerometers hear more than what velocity shows
seal       lets water leak between the pump and its flow meter
=========  =======================================================================================

A pump turns at its own speed, or at the one it was told. Once its bearing or impeller is gone it trips: it
stops and stays stopped. The strainer before it may clog: then the pressure at its suction falls with the
square of the flow, until it cavitates.
"""

import math

import numpy as np
import numpy.typing as npt

from kernels.hydraulics import REFERENCE_PUMP, water_properties
from kernels.pump_wear import REFERENCE_WEAR_EFFECTS, worn_pump
from kernels.thermal import REFERENCE_FRICTION, REFERENCE_MACHINE, machine_temperatures
from local_emulator.devices.wear import MOST_IMPELLER, Wear

type Column = npt.NDArray[np.float64]

MODEL = "dtmi:twinfold:Pump;1"

GRAVITY = 9.80665
KELVIN = 273.15
RPM = 30.0 / math.pi  # in one radian a second
AIR_PRESSURE = 101_325.0
MAINS_VOLTAGE = 400.0
POWER_FACTOR = 0.86

STATIC_HEAD = 12.0  # [m] between the tanks
OPEN_RESISTANCE = 26_000.0  # [s²/m⁵] of the pipe with an open valve: 80 m³/h at 0.8 of its opening

WANDERING = {
    # what: usual value, scatter, seconds over which it forgets, least, most
    "speed": (0.97, 0.015, 900.0, 0.85, 1.03),  # of the rated one
    "valve": (0.80, 0.06, 600.0, 0.45, 1.0),
    "level": (2.0, 0.3, 1800.0, 0.8, 3.5),  # [m] of water above the suction flange
    "water": (18.0, 1.5, 7200.0, 5.0, 35.0),  # [°C]
    "air": (21.0, 2.0, 7200.0, 5.0, 40.0),  # [°C]
    "mains": (MAINS_VOLTAGE, 2.0, 300.0, 380.0, 420.0),  # [V]
}

# As in twin_actors/types/pump/sensors.py: devices and product may not import each other.
NOISE = {
    # channel: standard deviation of its sensor, as a part of the value, and in the unit of the channel
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

ZERO_AT_REST = ("speed", "flow", "power", "current", "vibration", "acceleration1", "acceleration2")

RAMP = 100.0 / (RPM * REFERENCE_PUMP.rated_speed)  # [1/s] of the rated speed: 100 rpm/s
STEADIER = 0.1  # how much of its own wandering is left of a speed that is held
SLOWEST = 0.01  # of the rated speed, at which the physics takes a pump for one at rest

CLOGGING = 20_000.0  # [s²/m⁵] of resistance for each m³ through the strainer: cavitates within two minutes
MOST_CLOGGED = 45_000.0  # [s²/m⁵], at which a pump at its own speed boils the water before it

LONG = 1e9  # [s], after which every temperature is steady


class PumpGroup:
    """Pumps that run side by side; the same seed, sizes and steps give the same numbers.

    Parameters
    ----------
    count : int
    seed : int
    acceleration : float or array
        How many times faster than real each pump wears; nothing else goes faster.
    wear : Wear, optional
        What is worn already; new pumps if absent.
    clogging : bool
        Whether the strainers before them clog.
    """

    def __init__(
        self,
        count: int,
        *,
        seed: int = 0,
        acceleration: float | Column = 1.0,
        wear: Wear | None = None,
        clogging: bool = False,
    ) -> None:
        self._random = np.random.default_rng(seed)
        self.wear = wear if wear is not None else Wear.new(count)
        self._acceleration = np.broadcast_to(np.asarray(acceleration, dtype=np.float64), count)
        self._lifetime = self._random.lognormal(0.0, 0.25, count)
        self._nameplate = [np.full(count, value) for value in REFERENCE_PUMP]
        self._effects = [np.full(count, value) for value in REFERENCE_WEAR_EFFECTS]
        self._machine = [np.full(count, value) for value in REFERENCE_MACHINE]
        usual, self._scatter, self._memory, self._least, self._most = (
            np.array(column)[:, np.newaxis] for column in zip(*WANDERING.values(), strict=True)
        )
        self._usual = np.broadcast_to(usual, (len(WANDERING), count))
        self._wandering = self._clip(self._usual + self._scatter * self._normal(len(WANDERING)))
        cold = np.full(count, 20.0 + KELVIN)
        self._temperatures = (cold, cold, cold)
        self._speed = self._state()["speed"]
        self._set_speed = np.full(count, math.nan)
        self._tripped = np.zeros(count, dtype=np.bool_)
        self._clogging = CLOGGING if clogging else 0.0
        self._strainer = np.zeros(count)  # [s²/m⁵] of resistance
        self._measure(self._state(), LONG)  # they have been running for hours

    def step(self, seconds: float) -> dict[str, Column]:
        """Let time pass; return what the sensors show then: channel → a value of each pump."""
        forget = math.e ** (-seconds / self._memory)
        drift = self._normal(len(WANDERING)) * self._scatter * np.sqrt(1.0 - forget * forget)
        self._wandering = self._clip(self._usual + (self._wandering - self._usual) * forget + drift)
        state = self._state()
        self._turn(state["speed"], seconds)
        self.wear = self.wear.after(seconds * self._acceleration * self._speed / self._lifetime)
        self._tripped |= (self.wear.bearing >= 1.0) | (self.wear.impeller >= MOST_IMPELLER)
        channels = self._measure_behind_strainer(state | {"speed": np.maximum(self._speed, SLOWEST)}, seconds)
        part, unit = (np.array(column)[:, np.newaxis] for column in zip(*NOISE.values(), strict=True))
        true = np.array([channels[name] for name in NOISE])
        noise = self._normal(len(NOISE)) * np.hypot(part * true, unit)
        shown = dict(zip(NOISE, np.round(true + noise, DECIMALS), strict=True))
        for name in ZERO_AT_REST:
            shown[name] = np.where(self._speed > 0.0, np.maximum(0.0, shown[name]), 0.0)
        return shown

    def set_speed(self, pump: int, speed: float | None) -> float:
        """Hold a speed in rpm from now on, or the pump's own again (None); return what it goes to."""
        rated = RPM * REFERENCE_PUMP.rated_speed
        self._set_speed[pump] = math.nan if speed is None else speed / rated
        return float(self._state()["speed"][pump] * rated) if speed is None else speed

    def has_tripped(self, pump: int) -> bool:
        """Whether a part of the pump is gone, so that it does not turn any more."""
        return bool(self._tripped[pump])

    def _turn(self, own: Column, seconds: float) -> None:
        """Bring the speeds nearer to where they shall be."""
        held = self._set_speed * (1.0 + STEADIER * (own / WANDERING["speed"][0] - 1.0))
        wanted = np.where(self._tripped, 0.0, np.where(np.isnan(held), own, held))
        self._speed = self._speed + np.clip(wanted - self._speed, -RAMP * seconds, RAMP * seconds)

    def _measure_behind_strainer(self, state: dict[str, Column], seconds: float) -> dict[str, Column]:
        """Return the true values; what the strainer resists counts as pipe, and both pressures lack its loss."""
        opening = (state["valve"] ** -2 + self._strainer / OPEN_RESISTANCE) ** -0.5
        channels = self._measure(state | {"valve": opening}, seconds)
        flow = channels["flow"] / 3600.0 / (1.0 - self.wear.leak)
        water = water_properties(state["water"] + KELVIN)
        lost = self._strainer * flow * flow * water.density * GRAVITY / 1e3
        lost = np.minimum(lost, channels["suctionPressure"] - water.vapour_pressure / 1e3)  # then it boils
        self._strainer = np.minimum(MOST_CLOGGED, self._strainer + self._clogging * flow * seconds)
        return channels | {name: channels[name] - lost for name in ("suctionPressure", "dischargePressure")}

    def _normal(self, rows: int) -> Column:
        return self._random.standard_normal((rows, self._lifetime.size))

    def _clip(self, values: Column) -> Column:
        return np.clip(values, self._least, self._most)

    def _state(self) -> dict[str, Column]:
        return dict(zip(WANDERING, self._wandering, strict=True))

    def _measure(self, state: dict[str, Column], seconds: float) -> dict[str, Column]:
        """Return the true values, in the units of the channels, and bring the temperatures forward."""
        speed = state["speed"] * REFERENCE_PUMP.rated_speed
        pump = worn_pump(
            speed, state["water"] + KELVIN, STATIC_HEAD - state["level"], OPEN_RESISTANCE / state["valve"] ** 2,
            *self.wear, np.full_like(speed, REFERENCE_FRICTION), *self._nameplate, *self._effects,
        )  # fmt: skip
        heat = machine_temperatures(
            *self._temperatures, pump.motor_loss, pump.bearing_friction,
            state["air"] + KELVIN, state["water"] + KELVIN, np.full_like(speed, seconds), *self._machine,
        )  # fmt: skip
        self._temperatures = (heat.motor, heat.bearing, heat.oil)
        suction = AIR_PRESSURE + pump.density * GRAVITY * state["level"]
        return {
            "speed": speed * RPM,
            "flow": pump.metered_flow * 3600.0,
            "suctionPressure": suction / 1e3,
            "dischargePressure": (suction + pump.pressure_rise) / 1e3,
            "power": pump.power / 1e3,
            "current": pump.power / (math.sqrt(3.0) * state["mains"] * POWER_FACTOR),
            "voltage": state["mains"],
            "motorTemperature": heat.motor - KELVIN,
            "bearingTemperature": heat.bearing - KELVIN,
            "oilTemperature": heat.oil - KELVIN,
            "fluidTemperature": state["water"],
            "ambientTemperature": state["air"],
            "vibration": pump.vibration * 1e3,
            "acceleration1": pump.acceleration / GRAVITY,
            "acceleration2": pump.far_acceleration / GRAVITY,
        }
