"""The worn pump: a naive twin, the pump in good order as its limit, wear that never helps."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.hydraulics import REFERENCE_PUMP, pump_estimate
from kernels.pump_wear import REFERENCE_WEAR_EFFECTS, WearEffects, WornPump, worn_pump
from kernels.thermal import REFERENCE_FRICTION
from tests.kernels import naive

ISO_10816_7_ZONE_C_ENDS = 8.5e-3  # [m/s], category II, up to 200 kW

parts = st.floats(0.0, 1.0)
speeds = st.floats(0.4, 1.1)  # of the rated one
temperatures = st.floats(275.0, 370.0)
static_heads = st.floats(-10.0, 30.0)
resistances = st.floats(20_000.0, 400_000.0)
factors = st.floats(0.0, 2.0)
effects = st.builds(
    lambda *scaled: WearEffects(*(a * b for a, b in zip(REFERENCE_WEAR_EFFECTS, scaled, strict=True))), *[factors] * 7
)


def worn(
    ratio: float = 1.0,
    temperature: float = 293.15,
    system: tuple[float, float] = (10.0, 40_000.0),
    wear: Sequence[float] = (0.0, 0.0, 0.0),
    effect: WearEffects = REFERENCE_WEAR_EFFECTS,
) -> WornPump:
    """One row of the kernel."""
    row = (ratio * REFERENCE_PUMP.rated_speed, temperature, *system, *wear, REFERENCE_FRICTION)
    return worn_pump(*(np.array([float(value)]) for value in (*row, *REFERENCE_PUMP, *effect)))


def naive_worn(
    ratio: float, temperature: float, system: tuple[float, float], wear: Sequence[float], effect: WearEffects
) -> dict[str, float]:
    """Compute equations (1) to (4) of the kernel one after the other, by bisection where there is a root."""
    plate, (impeller, bearing, seal) = REFERENCE_PUMP, wear

    def new_head(flow: float) -> float:
        return ratio**2 * plate.shutoff_head - plate.head_coefficient * flow**2

    low, high = 0.0, 1.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        is_left = (1.0 - impeller) * new_head(middle) > system[0] + system[1] * middle**2
        low, high = (middle, high) if is_left else (low, middle)
    flow, density = low, naive.water_density(temperature)
    relative = flow / (ratio * plate.best_flow)
    efficiency = plate.best_efficiency * relative * (2.0 - relative)
    hydraulic = density * naive.G * flow * new_head(flow)
    # At no flow both are zero, and their quotient is what it tends to.
    of_curve = (
        hydraulic / efficiency
        if efficiency
        else density * naive.G * new_head(0.0) * ratio * plate.best_flow / (2.0 * plate.best_efficiency)
    )
    if new_head(flow) < 0.0:
        of_curve = math.nan  # the system pushes water through: the curve says nothing of that
    friction = REFERENCE_FRICTION * ratio**2
    power = (of_curve * (1.0 + effect.power * impeller) + friction * effect.friction * bearing) / plate.motor_efficiency
    velocity = effect.usual_vibration * (1.0 + 1.2 * (relative - 1.0) ** 2)
    velocity += effect.impeller_vibration * impeller + effect.bearing_vibration * bearing
    velocity *= ratio**2
    shaking, impacts = velocity * ratio * plate.rated_speed, ratio**2 * effect.impacts * bearing
    head = (1.0 - impeller) * new_head(flow)
    kinetic = (flow / plate.discharge_area) ** 2 - (flow / plate.suction_area) ** 2
    return {
        "density": density,
        "flow": flow,
        "metered_flow": flow - effect.leak * seal * flow,
        "head": head,
        "pressure_rise": density * (naive.G * head - kinetic / 2.0),
        "power": power,
        "motor_loss": power - power * plate.motor_efficiency,
        "bearing_friction": friction + friction * effect.friction * bearing,
        "vibration": velocity,
        "acceleration": shaking + impacts,
        "far_acceleration": 0.7 * shaking + 0.3 * impacts,
    }


@given(
    speeds, temperatures, st.tuples(static_heads, resistances), st.tuples(st.floats(0.0, 0.9), parts, parts), effects
)
def test_equals_the_naive_twin(
    ratio: float, temperature: float, system: tuple[float, float], wear: tuple[float, ...], effect: WearEffects
) -> None:
    """Each column, as far as bisection in floating point can tell: near no flow, a root of a root."""
    result = worn(ratio, temperature, system, wear, effect)
    expected = naive_worn(ratio, temperature, system, wear, effect)
    for name, value in expected.items():
        size = {"flow": 1e-7, "metered_flow": 1e-7}.get(name, 1e-9)
        assert getattr(result, name)[0] == pytest.approx(value, rel=1e-6, abs=size, nan_ok=True), name


@given(speeds, temperatures, resistances)
def test_without_wear_it_is_what_a_twin_expects(ratio: float, temperature: float, resistance: float) -> None:
    """A twin that measures it sees no residual in head, nor in power."""
    pump = worn(ratio, temperature, (0.0, resistance))
    suction = np.array([150_000.0])
    estimate = pump_estimate(
        np.array([ratio * REFERENCE_PUMP.rated_speed]),
        pump.metered_flow,
        suction,
        suction + pump.pressure_rise,
        np.array([temperature]),
        pump.power,
        *(np.array([value]) for value in REFERENCE_PUMP),
    )
    assert estimate.head_residual[0] == pytest.approx(0.0, abs=1e-9)
    assert estimate.power_residual[0] == pytest.approx(0.0, abs=1e-9)


@given(st.tuples(st.floats(0.0, 0.5), parts, parts), st.sampled_from((0, 1, 2)), st.floats(0.01, 0.4))
def test_wear_never_helps(wear: tuple[float, ...], part: int, more: float) -> None:
    """More of any leaves less at the meter, or shakes and heats more; nothing gets better."""
    worse = [value + more * (index == part) for index, value in enumerate(wear)]
    before, after = worn(wear=wear), worn(wear=[min(1.0, value) for value in worse])
    assert after.metered_flow <= before.metered_flow
    assert after.head <= before.head + 1e-12
    assert after.bearing_friction >= before.bearing_friction
    if part:
        assert after.vibration >= before.vibration
        assert after.power >= before.power


def test_a_bearing_that_is_gone_shakes_like_a_case_for_the_workshop() -> None:
    """Within a tenth of the end of zone C of ISO 10816-7, at the best flow."""
    gone = worn(system=(0.0, 32.0 / REFERENCE_PUMP.best_flow**2), wear=(0.0, 1.0, 0.0))
    assert gone.flow[0] == pytest.approx(REFERENCE_PUMP.best_flow, rel=1e-3)
    assert gone.vibration[0] == pytest.approx(ISO_10816_7_ZONE_C_ENDS, rel=0.1)


def test_a_pump_at_rest_does_nothing() -> None:
    """No flow, power, heat or vibration, however worn; the pressure behind it is that before it."""
    rest = worn(0.0, wear=(0.1, 0.5, 0.5))
    assert [float(column[0]) for column in rest[1:]] == [0.0] * (len(rest) - 1)


def test_a_pump_that_cannot_lift_churns_behind_its_check_valve() -> None:
    """Its head is what is left of the shut-off head, and power is still drawn."""
    stuck = worn(system=(39.0, 1e4), wear=(0.05, 0.0, 0.0))
    assert stuck.flow[0] == stuck.metered_flow[0] == 0.0
    assert stuck.head[0] == pytest.approx(38.0)
    assert stuck.power[0] > 1000.0


@pytest.mark.parametrize("column", range(20))
def test_a_row_out_of_domain_spoils_no_other(column: int) -> None:
    """NaN, or a negative number where none can be, makes a row of NaN; its neighbour stays."""
    row = (REFERENCE_PUMP.rated_speed, 293.15, 10.0, 40_000.0, 0.1, 0.1, 0.1, REFERENCE_FRICTION, *REFERENCE_PUMP)
    columns = [np.array([value, value]) for value in (*row, *REFERENCE_WEAR_EFFECTS)]
    whole = worn_pump(*columns)
    columns[column][0] = math.nan
    result = worn_pump(*columns)
    is_asked = column not in {16, 17}  # NPSH
    for name, values in result._asdict().items():
        assert math.isnan(values[0]) == is_asked, name
        assert values[1] == getattr(whole, name)[1], name


def test_wrong_columns_are_named() -> None:
    """Columns of different length are the caller's fault."""
    row = (300.0, 293.15, 10.0, 40_000.0, 0.0, 0.0, 0.0, 120.0, *REFERENCE_PUMP, *REFERENCE_WEAR_EFFECTS)
    columns = [np.array([value]) for value in row]
    columns[6] = np.zeros(2)
    with pytest.raises(ValueError, match="seal: expected 1 rows"):
        worn_pump(*columns)
