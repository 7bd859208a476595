"""The pump: what it shows of a good pump, a failing one, and one it knows nothing about."""

import csv
import gzip
import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from kernels.hydraulics import REFERENCE_PUMP, operating_point, pump_performance
from kernels.pump_condition import LIMITS
from kernels.thermal import REFERENCE_FRICTION, REFERENCE_MACHINE, machine_temperatures
from tests.twin_actors.twin_contract import START, turn
from twin_actors.messages import Quality, Reading
from twin_actors.turn import gather
from twin_actors.types.pump.state import State
from twin_actors.types.pump.twin import TWIN

ROOM = 293.15
DENSITY = 998.16


class Machine:
    """A pump of the reference nameplate in a loop, with sensors that scatter by one percent.

    Attributes
    ----------
    head_factor, friction_factor, vibration : float
        What a test turns to make it fail: head over rated head, bearing friction over rated, mm/s.
    """

    def __init__(self, head_factor: float = 1.0) -> None:
        self.head_factor = head_factor
        self.friction_factor = 1.0
        self.vibration = 1.5
        self.suction_pressure = 120_000.0
        self._temperatures = (ROOM, ROOM, ROOM)
        self._time = START
        self._noise = np.random.default_rng(7)

    def reading(self, *channels: str) -> Reading:
        """Run for a second; report `channels`, or all."""
        plate = REFERENCE_PUMP
        curve = [plate.rated_speed, plate.shutoff_head * self.head_factor, 0.0]
        curve += [plate.head_coefficient * self.head_factor, 2.0]
        point = operating_point(*_columns(plate.rated_speed, *curve, 8.0, 48_600.0, 2.0))
        flow = float(point.flow[0])
        row = (plate.rated_speed, flow, DENSITY, *curve, plate.best_flow, plate.best_efficiency)
        performance = pump_performance(*_columns(*row))
        power = float(performance.shaft_power[0]) / plate.motor_efficiency
        losses = (power * (1.0 - plate.motor_efficiency), REFERENCE_FRICTION * self.friction_factor)
        heat = machine_temperatures(*_columns(*self._temperatures, *losses, ROOM, ROOM, 1.0, *REFERENCE_MACHINE))
        self._temperatures = (float(heat.motor[0]), float(heat.bearing[0]), float(heat.oil[0]))
        self._time += 1.0
        velocities = 1.0 / plate.discharge_area**2 - 1.0 / plate.suction_area**2
        rise = DENSITY * (9.80665 * float(point.head[0]) - flow**2 / 2.0 * velocities)
        values = {
            "speed": plate.rated_speed * 30.0 / math.pi,
            "flow": flow * 3600.0 * self._scatter(),
            "suctionPressure": self.suction_pressure / 1000.0,
            "dischargePressure": (self.suction_pressure + rise) / 1000.0 * self._scatter(),
            "power": power / 1000.0 * self._scatter(),
            "motorTemperature": self._temperatures[0] - 273.15,
            "bearingTemperature": self._temperatures[1] - 273.15,
            "oilTemperature": self._temperatures[2] - 273.15,
            "fluidTemperature": ROOM - 273.15,
            "vibration": self.vibration * self._scatter(),
        }
        return Reading(self._time, {name: values[name] for name in channels or values}, {})

    def _scatter(self) -> float:
        return 1.0 + 0.01 * float(self._noise.standard_normal())


def _columns(*values: float) -> list[np.ndarray]:
    return [np.array([value]) for value in values]


def run(machine: Machine, seconds: int, state: State | None = None, channels: tuple[str, ...] = ()) -> State:
    """Let a twin follow a machine."""
    state = state or State()
    for _ in range(seconds):
        state = turn(TWIN, state, machine.reading(*channels))
    return state


def test_good_pump_is_well_from_the_first_reading() -> None:
    """A pump on its rated curve needs no learning: health 1, residuals in the noise, efficiency rated."""
    machine = Machine()
    first = run(machine, 1)
    assert first.health == 1.0
    later = TWIN.properties(run(machine, 400, first))
    assert later["health"] == 1.0
    assert later["followsNameplate"] is True
    assert later["isCalibrated"] is True
    assert later["estimateQuality"] == "measured"
    assert later["headResidual"] == pytest.approx(0.0, abs=0.06)  # of one reading: sensors scatter by 1 % each
    assert later["efficiency"] == pytest.approx(0.78, abs=0.06)
    assert later["expectedMotorTemperature"] == pytest.approx(later["lastMotorTemperature"], abs=0.5)
    assert later["anomalyScore"] < 0.3


def test_worn_impeller_costs_health() -> None:
    """15 % of head gone: the residual says so, health falls under one half and stays there."""
    machine = Machine()
    state = run(machine, 120)
    healths = []
    for loss in (0.05, 0.10, 0.15):
        machine.head_factor = 1.0 - loss
        state = run(machine, 300, state)
        healths.append(state.health)
        assert state.symptoms["head"].slow == pytest.approx(-loss, abs=0.02)
    assert healths == sorted(healths, reverse=True)
    assert healths[0] > 0.75
    assert healths[-1] < 0.5
    assert state.anomaly_score > 0.5


def test_bearing_that_runs_hot_for_its_load_costs_health() -> None:
    """Three times the friction is seen against the heat balance while the bearing is still below its limit."""
    machine = Machine()
    state = run(machine, 120)
    machine.friction_factor = 3.0
    state = run(machine, 900, state)
    assert state.last["bearingTemperature"] < LIMITS["bearingTemperature"][0]
    assert state.health < 0.6


def test_cold_start_is_no_fault() -> None:
    """Twenty minutes of warming up by tens of degrees leave health alone."""
    state = run(Machine(), 1200)
    assert state.last["motorTemperature"] > 40.0
    assert state.health == 1.0


def test_vibration_has_a_limit_that_learning_cannot_move() -> None:
    """A pump that shook from the first day is not well: 7 mm/s is deep in zone C."""
    machine = Machine()
    machine.vibration = 7.0
    assert run(machine, 200).health < 0.35


def test_cavitation_margin_follows_the_suction_pressure() -> None:
    """Near vacuum at the suction flange the margin is negative."""
    machine = Machine()
    state = run(machine, 60)
    assert TWIN.properties(state)["cavitationMargin"] > 5.0
    machine.suction_pressure = 20_000.0
    assert TWIN.properties(run(machine, 1, state))["cavitationMargin"] < 0.0


def test_unknown_pump_is_measured_against_its_first_readings() -> None:
    """A pump of half the rated head is another pump; losing 15 % of what is usual for it costs health."""
    machine = Machine(head_factor=0.5)
    state = run(machine, 200)
    shown = TWIN.properties(state)
    assert (shown["health"], shown["followsNameplate"]) == (1.0, False)
    assert shown["headResidual"] is None
    machine.head_factor = 0.5 * 0.85
    assert run(machine, 300, state).health < 0.6


def test_few_channels_make_a_twin_too() -> None:
    """Flow and discharge pressure are enough; what stands for the rest is told."""
    machine = Machine()
    channels = ("flow", "dischargePressure")
    machine.suction_pressure = 101_325.0  # what is assumed of an open suction
    state = run(machine, 200, channels=channels)
    shown = TWIN.properties(state)
    assert (shown["health"], shown["estimateQuality"]) == (1.0, "assumed")
    assert "lastPower" not in shown
    machine.head_factor = 0.85
    assert run(machine, 300, state, channels).health < 0.6


def test_missing_channel_is_held_and_told() -> None:
    """A reading without pressure keeps the last head, and says what it stands on."""
    machine = Machine()
    state = run(machine, 10)
    after = turn(TWIN, state, machine.reading("flow"))
    assert after.estimate_quality == "held"
    assert after.last["dischargePressure"] == state.last["dischargePressure"]
    assert after.symptoms["head"] == state.symptoms["head"]


def test_pump_at_rest_is_not_judged_by_its_curve() -> None:
    """Standing still is no fault and teaches nothing."""
    machine = Machine()
    state = run(machine, 120)
    still = machine.reading()
    values = {**still.values, "speed": 0.0, "flow": 0.0, "power": 0.0, "vibration": 0.0}
    after = turn(TWIN, state, Reading(still.time, values, {}))
    assert after.is_running is False
    assert after.symptoms == state.symptoms
    assert after.health == 1.0
    assert after.estimates["headResidual"] == state.estimates["headResidual"]


def test_start_teaches_nothing_until_it_has_settled() -> None:
    """While the speed is up and the water is not, the curve for steady flow does not hold."""
    machine = Machine()
    still = machine.reading()
    state = turn(TWIN, State(), Reading(still.time, {**still.values, "speed": 0.0, "flow": 0.0, "power": 0.0}, {}))
    machine.head_factor = 0.3
    state = run(machine, 20, state)
    assert state.is_running
    assert not state.symptoms
    machine.head_factor = 1.0
    state = run(machine, 100, state)
    assert (TWIN.properties(state)["followsNameplate"], state.health) == (True, 1.0)


def test_suspect_value_is_shown_but_teaches_nothing() -> None:
    """A jump that the quality check doubts does not touch the symptom."""
    machine = Machine()
    state = run(machine, 30)
    reading = machine.reading()
    values = {**reading.values, "vibration": 40.0}
    after = turn(TWIN, state, Reading(reading.time, values, {"vibration": Quality.SUSPECT}))
    assert after.last["vibration"] == 40.0
    assert after.symptoms["vibration"] == state.symptoms["vibration"]


def test_volts_and_amperes_stand_in_for_a_power_meter() -> None:
    """Apparent power, where no meter says better."""
    reading = Reading(START, {"flow": 70.0, "dischargePressure": 400.0, "voltage": 400.0, "current": 20.0}, {})
    assert turn(TWIN, State(), reading).last["power"] == 8.0


def test_twins_computed_together_are_as_if_alone() -> None:
    """One kernel call for a fleet gives each twin its own answer."""
    readings = [Machine(factor).reading() for factor in (1.0, 0.9, 0.5)]
    together = [result.state for result in gather([TWIN.receive(State(), reading) for reading in readings])]
    assert together == [turn(TWIN, State(), reading) for reading in readings]


def test_real_rig_is_well_until_it_is_drained(shared_data: Path) -> None:
    """SKAB's rig: an unknown pump with pressure, flow, temperatures, current and acceleration only.

    While its log says all is well it is well; as the tank is drained until the pump draws air, health falls.
    """
    with gzip.open(shared_data / "skab" / "other" / "7.csv.gz", "rt") as text:
        rows = list(csv.DictReader(text, delimiter=";"))
    state, well, ill = State(), [], []
    for row in sorted(rows, key=lambda row: row["datetime"]):
        time = datetime.fromisoformat(row["datetime"]).replace(tzinfo=UTC).timestamp()
        values = {
            "flow": float(row["Volume Flow RateRMS"]) * 0.06,
            "dischargePressure": float(row["Pressure"]) * 100.0 + 101.325,
            "motorTemperature": float(row["Temperature"]),
            "fluidTemperature": float(row["Thermocouple"]),
            "current": float(row["Current"]),
            "voltage": float(row["Voltage"]),
            "acceleration1": float(row["Accelerometer1RMS"]),
            "acceleration2": float(row["Accelerometer2RMS"]),
        }
        state = turn(TWIN, state, Reading(time, values, {}))
        (ill if float(row["anomaly"]) else well).append(state.health)
    assert TWIN.properties(state)["followsNameplate"] is False
    assert np.median(well) == 1.0
    assert np.median(ill) < 0.3
