"""The published dynamic pump: its own figures, and physics that must hold."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from kernels.pump_dynamics import PumpState, pump_step

type Column = npt.NDArray[np.float64]

START = (376.991118431, 0.0, 290.0, 290.0, 290.0, 12.7084)
WORN_OUT = 9.5
SUCTION, DISCHARGE, SURROUNDINGS = 239_179.0, 928_654.0, 290.0


def voltage(time: float) -> float:
    """One hour: half of it low, a ramp of 100 s, high, and a ramp down."""
    time %= 3600.0
    if time < 1800.0:
        return 471.2389
    if time < 1900.0:
        return 471.2389 + (time - 1800.0)
    return 571.2389 if time < 3500.0 else 471.2398 - (time - 3600.0)


def step(
    state: PumpState, time: float, wear: Column, suction: float = SUCTION, discharge: float = DISCHARGE
) -> PumpState:
    """One second, the supply taken in its middle as the published runs do."""
    volts = voltage(time + 0.5)
    inputs = (volts, 0.8 * volts, suction, discharge, SURROUNDINGS)
    return pump_step(*state, *(np.full(len(wear), value) for value in inputs), wear, dt=1.0)


def test_published_hour_and_wear_to_failure() -> None:
    """NASA's progpy 1.9 CentrifugalPump, its sim_pump cycle: the state at 1 h, and failure at 23,892 s.

    Parameters are published to six digits, which is what the states can agree to; seen are seven.
    """
    wear = np.array([0.0, 0.01])
    state = PumpState(*(np.full(2, value) for value in START))
    time = 0
    hour: list[float] = []
    while state.impeller[1] > WORN_OUT:
        state = step(state, float(time), wear)
        time += 1
        if time == 3600:
            hour = [column[0] for column in state]
    assert hour[0] == pytest.approx(371.119850, rel=1e-6)
    assert hour[1] == pytest.approx(0.112647697, rel=1e-6)
    assert hour[2:5] == pytest.approx([336.307297, 321.438161, 308.790583], rel=1e-6)
    assert hour[5] == 12.7084
    assert time == 23_892


def test_speed_stays_below_synchronous_and_flow_settles() -> None:
    """An induction motor under load slips; the flow ends where the pressures balance."""
    state = PumpState(*(np.full(1, value) for value in START))
    for time in range(1700):
        state = step(state, float(time), np.zeros(1))
    assert 0.9 * 0.8 * 471.2389 < state.speed[0] < 0.8 * 471.2389
    pressure = SUCTION + 12.7084 * state.speed[0] ** 2 + 17984.6 * state.speed[0] * state.flow[0] - DISCHARGE
    assert state.flow[0] == pytest.approx(8.24123e-5 * math.sqrt(pressure), rel=1e-6)


@pytest.mark.parametrize("column", range(12))
def test_bad_row_is_nan_and_touches_no_other(column: int) -> None:
    """A row with one bad value is NaN throughout, its neighbours are as without it."""
    good = [376.0, 0.1, 300.0, 301.0, 295.0, 12.0, 471.0, 377.0, SUCTION, DISCHARGE, SURROUNDINGS, 0.01]
    bad = list(good)
    bad[column] = math.nan
    alone = np.array(pump_step(*(np.array([value]) for value in good), dt=1.0))
    together = np.array(pump_step(*np.array([good, bad, good]).T.copy(), dt=1.0))
    np.testing.assert_array_equal(together[:, [0, 2]], np.hstack([alone, alone]))
    assert np.isnan(together[:, 1]).all()


def test_no_voltage_coasts_down() -> None:
    """Without a field there is no torque: the load brakes the rotor."""
    rows = (376.0, 0.1, 300.0, 301.0, 295.0, 12.0, 0.0, 0.0, SUCTION, DISCHARGE, SURROUNDINGS, 0.0)
    state = pump_step(*(np.array([value]) for value in rows), dt=1.0)
    assert 0.0 < state.speed[0] < 376.0
