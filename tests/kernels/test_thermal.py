"""Temperatures of a machine: steady state by hand, a naive twin, exactness."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.thermal import REFERENCE_MACHINE, MachineTemperatures, ThermalNameplate, machine_temperatures
from tests.kernels import naive

type Row = tuple[float, ...] | list[float]

temperature = st.floats(250.0, 400.0)
heat = st.floats(0.0, 2000.0)
conductance = st.floats(0.5, 50.0)
capacity = st.floats(500.0, 50_000.0)
plates = st.builds(
    ThermalNameplate, conductance, capacity, conductance, st.floats(0.0, 5.0), capacity, conductance, capacity
)


def after(
    start: Row, losses: Row, surroundings: float, fluid: float, dt: float, plate: ThermalNameplate = REFERENCE_MACHINE
) -> MachineTemperatures:
    """One row of the kernel."""
    return machine_temperatures(*(np.array([value]) for value in (*start, *losses, surroundings, fluid, dt, *plate)))


def test_steady_state_by_hand() -> None:
    """45.1 K above the room for 880 W over 19.5 W/K; bearing and oil share 120 W over two paths."""
    result = after((293.15,) * 3, (880.0, 120.0), 293.15, 293.15, 1e7)
    assert result.motor[0] == pytest.approx(293.15 + 880.0 / 19.5, rel=1e-12)
    through_oil = 9.0 * 3.6 / (9.0 + 3.6)
    rise = 120.0 / (through_oil + 0.8)
    assert result.bearing[0] == pytest.approx(293.15 + rise, rel=1e-12)
    assert result.oil[0] == pytest.approx(293.15 + rise * 9.0 / 12.6, rel=1e-12)
    assert (result.motor, result.bearing, result.oil) == (
        result.steady_motor,
        result.steady_bearing,
        result.steady_oil,
    )


@given(
    start=st.tuples(temperature, temperature, temperature),
    losses=st.tuples(heat, heat),
    surroundings=temperature,
    fluid=temperature,
    plate=plates,
)
def test_step_is_that_of_small_steps(
    start: Row, losses: Row, surroundings: float, fluid: float, plate: ThermalNameplate
) -> None:
    """A minute at once equals 200 Runge-Kutta steps."""
    result = after(start, losses, surroundings, fluid, 60.0, plate)
    expected = naive.machine_temperatures(start, losses, surroundings, fluid, 60.0, plate, 200)
    assert [result.motor[0], result.bearing[0], result.oil[0]] == pytest.approx(expected, abs=1e-6)


@given(
    start=st.tuples(temperature, temperature, temperature),
    losses=st.tuples(heat, heat),
    plate=plates,
    dt=st.floats(0.0, 1e5),
    part=st.floats(0.0, 1.0),
)
def test_two_steps_are_one(start: Row, losses: Row, plate: ThermalNameplate, dt: float, part: float) -> None:
    """The step is exact: how a time is cut does not matter, and it never overshoots."""
    whole = after(start, losses, 293.15, 300.0, dt, plate)
    half = after(start, losses, 293.15, 300.0, dt * part, plate)
    rest = after((half.motor[0], half.bearing[0], half.oil[0]), losses, 293.15, 300.0, dt * (1.0 - part), plate)
    for name in ("motor", "bearing", "oil"):
        assert getattr(rest, name)[0] == pytest.approx(getattr(whole, name)[0], abs=1e-8)
    bounds = (start[0], whole.steady_motor[0])
    assert min(bounds) - 1e-9 <= whole.motor[0] <= max(bounds) + 1e-9


@given(row=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=15, max_size=15))
def test_bad_row_touches_no_other(row: Row) -> None:
    """Whatever stands in a row, its neighbour's result is what it would be alone."""
    good = [300.0, 310.0, 305.0, 800.0, 100.0, 293.15, 288.15, 10.0, *REFERENCE_MACHINE]
    alone = np.array(machine_temperatures(*(np.array([value]) for value in good)))
    together = np.array(machine_temperatures(*np.array([row, good, row]).T.copy()))
    np.testing.assert_array_equal(together[:, 1], alone[:, 0])
    np.testing.assert_array_equal(together[:, 0], together[:, 2])


def test_unknown_motor_leaves_the_bearing_alone() -> None:
    """NaN stays where it belongs."""
    result = after((math.nan, 300.0, 300.0), (800.0, 100.0), 293.15, 293.15, 1.0)
    assert math.isnan(result.motor[0])
    assert math.isfinite(result.bearing[0])
    assert math.isfinite(result.oil[0])


def test_wrong_column_is_named() -> None:
    """The message says which column does not fit."""
    with pytest.raises(ValueError, match="oil_capacity: expected 1 rows as motor has, got 2"):
        machine_temperatures(*[np.ones(1)] * 14, np.ones(2))
