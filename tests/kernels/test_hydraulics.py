"""Pumps and water: published values, a naive twin, invariants."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.hydraulics import (
    REFERENCE_PUMP,
    PumpCurve,
    PumpPerformance,
    affinity,
    one_point_curve,
    operating_point,
    pump_estimate,
    pump_head,
    pump_performance,
    suction_head,
    water_properties,
)
from tests.kernels import naive

type Columns = Callable[..., list[npt.NDArray[np.float64]]]
type Kernel = Callable[..., Any]
type Row = tuple[float, ...]

GALLONS_PER_MINUTE = 3.785411784e-3 / 60.0
FOOT = 0.3048

# --- published values -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("temperature", "density", "pressure"),
    [(273.16, 999.789, 611.657), (373.1243, 958.365, 0.101325e6)],
)
def test_water_on_the_saturation_line_has_the_values_of_its_source(
    temperature: float, density: float, pressure: float
) -> None:
    """Check values of the IAPWS supplementary release on saturation properties, SR1-86(1992), section 6."""
    water = water_properties(np.array([temperature]))
    assert water.density[0] == pytest.approx(density, rel=1e-6)  # six digits are given
    assert water.vapour_pressure[0] == pytest.approx(pressure, rel=1e-6)


@pytest.mark.parametrize(
    ("temperature", "viscosity"), [(260.0, math.nan), (298.15, 889.996774e-6), (375.0, 276.207245e-6)]
)
def test_viscosity_has_the_values_of_its_source(temperature: float, viscosity: float) -> None:
    """Check values of IAPWS SR6-08(2011), table 8; the equation reaches below freezing, the kernel does not."""
    found = water_properties(np.array([temperature])).viscosity[0]
    assert found == pytest.approx(viscosity, rel=1e-8, nan_ok=True)  # nine digits are given


def net1_curve() -> PumpCurve:
    """The pump of EPANET's first example network."""
    return one_point_curve(np.array([1500.0 * GALLONS_PER_MINUTE]), np.array([250.0 * FOOT]))


def test_one_point_curve_is_epanets() -> None:
    """EPANET's Net1: one point, 1500 gpm at 250 ft, gives H = 101.6 - 2836.1385 Q²."""
    curve = net1_curve()
    assert curve.shutoff_head[0] == pytest.approx(101.6, rel=1e-12)
    assert curve.head_coefficient[0] == pytest.approx(2836.1385, rel=2e-7)  # EPANET rounds its units to 7 digits
    assert (curve.head_slope[0], curve.head_exponent[0]) == (0.0, 2.0)


@pytest.mark.parametrize(("flow", "head"), [(0.117737, 62.285), (0.114391, 64.488), (0.110852, 66.749)])
def test_pump_runs_where_epanet_has_it(flow: float, head: float) -> None:
    """Net1 at 0, 6 and 12 h: head on the curve, and flow where a system that needs this head meets it."""
    curve = [column[0] for column in net1_curve()]
    one = np.ones(1)
    on_curve = pump_head(one, np.array([flow]), one, *(np.array([value]) for value in curve))
    assert on_curve[0] == pytest.approx(head, abs=1e-3)  # flow is given to six digits, which is 0.7 mm of head
    # The same point as the root: a system of which all but 20 m is friction, by Hazen and Williams.
    resistance = (head - 20.0) / flow**1.852
    system = (np.array([value]) for value in (20.0, resistance, 1.852))
    point = operating_point(one, one, *(np.array([value]) for value in curve), *system)
    assert point.flow[0] == pytest.approx(flow, rel=2e-5)  # the head's rounding, over the slope of both curves
    assert point.head[0] == pytest.approx(head, abs=1e-3)


def test_affinity_laws() -> None:
    """Flow, head and power go with the first, second and third power of speed."""
    scaled = affinity(*(np.array([value]) for value in (150.0, 300.0, 0.08, 40.0, 8000.0)))
    assert [column[0] for column in scaled] == pytest.approx([0.04, 10.0, 1000.0])


# --- naive twin -----------------------------------------------------------------------------------

curves = st.tuples(
    st.floats(50.0, 400.0),  # speed
    st.floats(50.0, 400.0),  # rated speed
    st.floats(1.0, 200.0),  # shut-off head
    st.floats(0.0, 500.0),  # slope
    st.floats(1.0, 1e5),  # coefficient
    st.floats(1.0, 4.0),  # exponent
)


@given(curve=curves, static=st.floats(-50.0, 250.0), resistance=st.floats(0.0, 1e6), e=st.floats(1.0, 3.0))
def test_operating_point_is_that_of_bisection(curve: Row, static: float, resistance: float, e: float) -> None:
    """Newton from the right and bisection find one point."""
    point = operating_point(*(np.array([value]) for value in (*curve, static, resistance, e)))
    flow, head = naive.operating_point(*curve, static, resistance, e)
    assert point.flow[0] == pytest.approx(flow, rel=1e-9, abs=1e-12)
    # Far beyond run-out the head is a small difference of large numbers.
    assert point.head[0] == pytest.approx(head, rel=1e-8, abs=1e-8)


measurements = st.tuples(
    st.floats(100.0, 330.0),  # speed, rad/s
    st.floats(0.002, 0.011),  # flow, m³/s: below twice the best flow at the lowest speed
    st.floats(0.0, 3e5),  # suction pressure, Pa
    st.floats(0.0, 9e5),  # discharge pressure, Pa
    st.floats(273.2, 383.0),  # temperature, K
    st.floats(10.0, 2e4),  # power, W
)


@given(row=measurements)
def test_estimate_is_that_of_the_naive_twin(row: Row) -> None:
    """Every field of the estimate, over the whole range of measurements."""
    estimate = pump_estimate(*(np.array([value]) for value in (*row, *REFERENCE_PUMP)))
    expected = naive.pump_estimate(*row, REFERENCE_PUMP)
    for name, value in expected.items():
        # Residuals are differences of nearly equal numbers.
        assert getattr(estimate, name)[0] == pytest.approx(value, rel=1e-9, abs=1e-9), name


# --- invariants -----------------------------------------------------------------------------------

anything = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1e-320, 1e300, -1.0, 300.0, 0.01, 2.0]),
)


@pytest.mark.parametrize(
    ("kernel", "arguments"),
    [
        (water_properties, 1),
        (one_point_curve, 2),
        (pump_head, 7),
        (operating_point, 9),
        (affinity, 5),
        (pump_performance, 10),
        (suction_head, 8),
        (pump_estimate, 18),
    ],
)
@settings(max_examples=60)
@given(data=st.data())
def test_rows_stand_alone_whatever_they_hold(kernel: Kernel, arguments: int, data: st.DataObject) -> None:
    """No row raises, none is infinite, and none depends on the others or on their order."""
    rows = data.draw(st.lists(st.tuples(*[anything] * arguments), min_size=1, max_size=5))
    together = np.atleast_2d(kernel(*np.array(rows).T.copy()))
    order = data.draw(st.permutations(range(len(rows))))
    permuted = np.atleast_2d(kernel(*np.array([rows[index] for index in order]).T.copy()))
    np.testing.assert_array_equal(permuted, together[:, order])
    for index, row in enumerate(rows):
        alone = np.atleast_2d(kernel(*(np.array([value]) for value in row)))
        np.testing.assert_array_equal(alone[:, 0], together[:, index])


def test_arguments_are_left_alone(columns: Columns) -> None:
    """Columns that may not be written are accepted."""
    rows = columns(300.0, 0.02, 1e5, 4e5, 293.0, 9e3, *REFERENCE_PUMP, rows=3)
    for column in rows:
        column.setflags(write=False)
    assert np.isfinite(pump_estimate(*rows)).all()


def test_no_rows_give_no_rows() -> None:
    """An empty batch is a batch."""
    assert water_properties(np.empty(0)).density.shape == (0,)


@given(
    speed=st.floats(10.0, 350.0),
    flow=st.floats(0.0, 0.045),
    efficiency=st.floats(0.05, 1.0),
)
def test_no_more_power_comes_out_than_goes_in(speed: float, flow: float, efficiency: float) -> None:
    """Hydraulic power is at most shaft power, at any flow the pump can pump."""
    plate = REFERENCE_PUMP
    performance = pump_performance(
        *(np.array([value]) for value in (speed, flow, 998.0, *plate[:5], plate.best_flow, efficiency))
    )
    if np.isfinite(performance.shaft_power[0]):
        assert performance.hydraulic_power[0] <= performance.shaft_power[0] * (1.0 + 1e-12)
        assert 0.0 <= performance.efficiency[0] <= efficiency


@given(ratio=st.floats(0.2, 1.5), flow=st.floats(0.0, 0.04))
def test_performance_obeys_the_affinity_laws(ratio: float, flow: float) -> None:
    """A point taken along with the speed changes as `affinity` says."""
    plate = REFERENCE_PUMP

    def at(speed: float, flow_: float) -> PumpPerformance:
        row = (speed, flow_, 998.0, *plate[:5], plate.best_flow, plate.best_efficiency)
        return pump_performance(*(np.array([value]) for value in row))

    rated, other = at(plate.rated_speed, flow), at(ratio * plate.rated_speed, ratio * flow)
    assert other.head[0] == pytest.approx(ratio**2 * rated.head[0], rel=1e-9)
    assert other.shaft_power[0] == pytest.approx(ratio**3 * rated.shaft_power[0], rel=1e-9)
    assert other.efficiency[0] == pytest.approx(rated.efficiency[0], rel=1e-9)


def test_head_falls_with_flow_and_margin_falls_with_temperature(columns: Columns) -> None:
    """What an engineer expects of the curves."""
    plate = REFERENCE_PUMP
    flow = np.linspace(0.0, 0.05, 200)
    head = pump_head(*columns(plate.rated_speed, flow, *plate[:5], rows=200))
    assert (np.diff(head) < 0.0).all()
    kelvin = np.linspace(273.2, 383.1, 200)
    suction = columns(
        1.2e5, 300.0, 0.02, kelvin, plate.rated_speed, plate.npsh_static, plate.npsh_coefficient, plate.suction_area,
        rows=200,
    )  # fmt: skip
    assert (np.diff(suction_head(*suction).margin) < 0.0).all()


def test_missing_power_meter_costs_only_what_needs_it(columns: Columns) -> None:
    """NaN in one measurement is NaN in what depends on it, and nowhere else."""
    estimate = pump_estimate(*columns(300.0, 0.02, 1e5, 4e5, 293.0, math.nan, *REFERENCE_PUMP))
    lost = {name for name in estimate._fields if math.isnan(getattr(estimate, name)[0])}
    assert lost == {"shaft_power", "efficiency", "power_residual", "efficiency_residual"}


def test_pump_that_cannot_lift_stands_behind_its_check_valve(columns: Columns) -> None:
    """No flow against more than the shut-off head; none at rest."""
    plate = REFERENCE_PUMP
    point = operating_point(*columns(np.array([plate.rated_speed, 0.0]), *plate[:5], 41.0, 100.0, 2.0, rows=2))
    assert point.flow.tolist() == [0.0, 0.0]
    assert point.head.tolist() == [40.0, 0.0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.ones(2), "flow: expected 3 rows as speed has, got 2"),
        (np.ones((3, 1)), "flow: expected one dimension, got 2"),
        (np.ones(3, dtype=np.float32), "flow: expected a float64 array, got float32"),
        (np.ones(6)[::2], "flow: expected a contiguous array"),
        ([1.0, 1.0, 1.0], "flow: expected a float64 array, got list"),
    ],
)
def test_wrong_column_is_named(wrong: object, message: str) -> None:
    """A column that does not fit raises before anything is computed, and the message says which."""
    with pytest.raises(ValueError, match=message):
        pump_head(np.ones(3), wrong, *[np.ones(3)] * 5)
