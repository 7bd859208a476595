"""The kernels' physics once more, one row at a time in plain Python: to compare, never to ship.

Written from the equations in the kernels' design notes with other arithmetic where there is a choice:
bisection instead of Newton, small time steps instead of matrix exponentials.
"""

import math
from collections.abc import Sequence

from kernels.hydraulics import PumpNameplate
from kernels.thermal import ThermalNameplate

G = 9.80665


def water_density(temperature: float) -> float:
    """Saturated liquid density by Wagner and Pruss, written over the reduced temperature."""
    tau = 1.0 - temperature / 647.096
    terms = (
        (1.99274064, 1 / 3),
        (1.09965342, 2 / 3),
        (-0.510839303, 5 / 3),
        (-1.75493479, 16 / 3),
        (-45.5170352, 43 / 3),
        (-6.74694450e5, 110 / 3),
    )
    return 322.0 * (1.0 + sum(factor * tau**power for factor, power in terms))


def vapour_pressure(temperature: float) -> float:
    """Saturation pressure by Wagner and Pruss."""
    tau = 1.0 - temperature / 647.096
    terms = (
        (-7.85951783, 1.0),
        (1.84408259, 1.5),
        (-11.7866497, 3.0),
        (22.6807411, 3.5),
        (-15.9618719, 4.0),
        (1.80122502, 7.5),
    )
    return 22.064e6 * math.exp(647.096 / temperature * sum(factor * tau**power for factor, power in terms))


def pump_head(
    speed: float, flow: float, rated: float, h0: float, slope: float, coefficient: float, exponent: float
) -> float:
    """The rated curve taken at the flow of rated speed, then scaled by the affinity laws."""
    n = speed / rated
    rated_flow = flow / n
    return n * n * (h0 - slope * rated_flow - coefficient * rated_flow**exponent)


def operating_point(
    speed: float,
    rated: float,
    h0: float,
    slope: float,
    coefficient: float,
    exponent: float,
    static: float,
    resistance: float,
    e: float,
) -> tuple[float, float]:
    """Bisection of the surplus head."""

    def surplus(flow: float) -> float:
        return pump_head(speed, flow, rated, h0, slope, coefficient, exponent) - static - resistance * flow**e

    shutoff = pump_head(speed, 0.0, rated, h0, slope, coefficient, exponent)
    if shutoff <= static:
        return 0.0, shutoff
    low, high = 0.0, 1e-6
    while surplus(high) > 0.0:
        high *= 2.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        if surplus(middle) > 0.0:
            low = middle
        else:
            high = middle
    return low, pump_head(speed, low, rated, h0, slope, coefficient, exponent)


def pump_estimate(
    speed: float,
    flow: float,
    suction: float,
    discharge: float,
    temperature: float,
    power: float,
    plate: PumpNameplate,
) -> dict[str, float]:
    """What measurements say, as a dictionary."""
    rho = water_density(temperature)
    v_in, v_out = flow / plate.suction_area, flow / plate.discharge_area
    head = (discharge - suction) / (rho * G) + (v_out**2 - v_in**2) / (2 * G)
    n = speed / plate.rated_speed
    q = flow / (n * plate.best_flow)
    expected_head = pump_head(
        speed,
        flow,
        plate.rated_speed,
        plate.shutoff_head,
        plate.head_slope,
        plate.head_coefficient,
        plate.head_exponent,
    )
    expected_efficiency = plate.best_efficiency * (1.0 - (1.0 - q) ** 2)
    expected_power = rho * G * flow * expected_head / expected_efficiency / plate.motor_efficiency
    shaft = power * plate.motor_efficiency
    available = (suction - vapour_pressure(temperature)) / (rho * G) + v_in**2 / (2 * G)
    required = n**2 * plate.npsh_static + plate.npsh_coefficient * flow**2
    return {
        "density": rho,
        "head": head,
        "hydraulic_power": rho * G * flow * head,
        "shaft_power": shaft,
        "efficiency": rho * G * flow * head / shaft,
        "expected_head": expected_head,
        "expected_power": expected_power,
        "expected_efficiency": expected_efficiency,
        "npsh_available": available,
        "npsh_required": required,
        "cavitation_margin": available - required,
        "head_residual": head / expected_head - 1.0,
        "power_residual": power / expected_power - 1.0,
        "efficiency_residual": rho * G * flow * head / shaft - expected_efficiency,
    }


def machine_temperatures(
    start: Sequence[float],
    heat: Sequence[float],
    surroundings: float,
    fluid: float,
    dt: float,
    plate: ThermalNameplate,
    steps: int,
) -> tuple[float, ...]:
    """The heat balance by the classical Runge-Kutta method."""

    def rates(state: Sequence[float]) -> tuple[float, ...]:
        motor, bearing, oil = state
        to_oil = plate.bearing_oil_conductance * (bearing - oil)
        to_fluid = plate.bearing_fluid_conductance * (bearing - fluid)
        return (
            (heat[0] - plate.motor_conductance * (motor - surroundings)) / plate.motor_capacity,
            (heat[1] - to_oil - to_fluid) / plate.bearing_capacity,
            (to_oil - plate.oil_conductance * (oil - surroundings)) / plate.oil_capacity,
        )

    def moved(state: Sequence[float], rate: Sequence[float], step: float) -> tuple[float, ...]:
        return tuple(one + step * change for one, change in zip(state, rate, strict=True))

    state: tuple[float, ...] = tuple(start)
    h = dt / steps
    for _ in range(steps):
        k1 = rates(state)
        k2 = rates(moved(state, k1, h / 2))
        k3 = rates(moved(state, k2, h / 2))
        k4 = rates(moved(state, k3, h))
        mean = tuple((a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
        state = moved(state, mean, h)
    return state


type Said = tuple[float, float]
"""Time and value."""


def signal_statistics(said: Sequence[Said], time_constant: float) -> list[float]:
    """Statistics of one channel out of all that it said, in the order in which it came."""
    values = [value for _, value in said]
    mean = math.fsum(values) / len(values)
    last_time, last = said[0]
    smoothed, slope = last, 0.0
    for time, value in said[1:]:
        elapsed = time - last_time
        if elapsed < 0.0:
            continue
        kept = math.exp(-elapsed / time_constant)
        smoothed = kept * smoothed + (1.0 - kept) * value
        if elapsed > 0.0:
            slope = kept * slope + (1.0 - kept) * (value - last) / elapsed
        last_time, last = time, value
    squares = math.fsum((value - mean) ** 2 for value in values)
    return [len(values), mean, squares, min(values), max(values), last, last_time, smoothed, slope]
