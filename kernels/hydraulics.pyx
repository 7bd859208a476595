"""Centrifugal pumps and water: curves, operating points, cavitation, and what measurements mean.

Design
------
a. SI units throughout (rad/s, m³/s, m, Pa, K, W); pressures are absolute.
b. Exact: affinity laws, the energy balance, the root of the operating point (to rounding).
   Approximate: the parabola of efficiency, the quadratic of NPSH required, water as a saturated liquid
   (its density is 0.05 % low at 10 bar). Assumed: gauges at one height, one fluid (water), no slip of
   the efficiency with speed (the affinity laws hold for power as they stand).
c. ``cdef inline … noexcept nogil`` functions compute one row; the public functions check columns,
   allocate, and loop with the interpreter released.
d. A value that cannot be computed is NaN, and only that value: a pump without a power meter still
   gets its head.

Head at speed ratio n = speed / rated speed (affinity applied to H = H0 − s Q − a Q^c):

    H(n, Q) = n² H0 − s n Q − a n^(2−c) Q^c                                                        (1)

s = 0 is EPANET's power-function curve [1]_, c = 2 the quadratic of catalogues.

References
----------
.. [1] L. A. Rossman et al., "EPANET 2.2 User Manual", EPA/600/R-20/133, 2020, section 3.1 (pump
   curves) and appendix (one-point curve: shut-off head is 133 % of the design head, flow at zero head
   twice the design flow).
.. [2] W. Wagner and A. Pruss, "International equations for the saturation properties of ordinary water
   substance", J. Phys. Chem. Ref. Data 22 (1993) 783, equations (1) and (2).
.. [3] IAPWS SR6-08(2011), "Revised supplementary release on properties of liquid water at 0.1 MPa",
   equation (7).
.. [4] J. F. Gülich, "Centrifugal Pumps", Springer, chapters 2 to 4 (head, efficiency, similarity) and
   6 (NPSH).
"""

from typing import NamedTuple

import numpy as np

from libc.math cimport NAN, exp, isfinite, pow, sqrt

from kernels._numerics cimport rows_of

cdef double GRAVITY = 9.80665  # [m/s²], standard acceleration
cdef double CRITICAL_TEMPERATURE = 647.096  # [K]
cdef double CRITICAL_PRESSURE = 22.064e6  # [Pa]
cdef double CRITICAL_DENSITY = 322.0  # [kg/m³]
cdef double COLDEST = 273.15  # [K], water freezes
cdef double HOTTEST = 383.15  # [K], end of the domain of [3]
cdef int MOST_STEPS = 200  # Newton steps; a dozen is usual, flat curves near zero flow take more


class WaterProperties(NamedTuple):
    density: np.ndarray
    viscosity: np.ndarray
    vapour_pressure: np.ndarray


class PumpCurve(NamedTuple):
    shutoff_head: np.ndarray
    head_slope: np.ndarray
    head_coefficient: np.ndarray
    head_exponent: np.ndarray


class OperatingPoint(NamedTuple):
    flow: np.ndarray
    head: np.ndarray


class Affinity(NamedTuple):
    flow: np.ndarray
    head: np.ndarray
    power: np.ndarray


class PumpPerformance(NamedTuple):
    head: np.ndarray
    efficiency: np.ndarray
    hydraulic_power: np.ndarray
    shaft_power: np.ndarray


class SuctionHead(NamedTuple):
    available: np.ndarray
    required: np.ndarray
    margin: np.ndarray


class PumpEstimate(NamedTuple):
    density: np.ndarray
    head: np.ndarray
    hydraulic_power: np.ndarray
    shaft_power: np.ndarray
    efficiency: np.ndarray
    expected_head: np.ndarray
    expected_power: np.ndarray
    expected_efficiency: np.ndarray
    npsh_available: np.ndarray
    npsh_required: np.ndarray
    cavitation_margin: np.ndarray
    head_residual: np.ndarray
    power_residual: np.ndarray
    efficiency_residual: np.ndarray


class PumpNameplate(NamedTuple):
    """What is known of a pump from its data sheet, in the order in which `pump_estimate` takes it."""

    rated_speed: float
    shutoff_head: float
    head_slope: float
    head_coefficient: float
    head_exponent: float
    best_flow: float
    best_efficiency: float
    motor_efficiency: float
    npsh_static: float
    npsh_coefficient: float
    suction_area: float
    discharge_area: float


# The pump that twins assume and simulated devices are, unless told otherwise: a 2950 rpm single-stage
# water pump of 11 kW, 80 m³/h at 32 m with 78 %, shut-off head 40 m, NPSH required 3 m there, DN 125/100.
REFERENCE_PUMP = PumpNameplate(
    rated_speed=308.923277602996,
    shutoff_head=40.0,
    head_slope=0.0,
    head_coefficient=16200.0,
    head_exponent=2.0,
    best_flow=0.0222222222222222,
    best_efficiency=0.78,
    motor_efficiency=0.91,
    npsh_static=1.5,
    npsh_coefficient=3037.5,
    suction_area=0.0122718463030851,
    discharge_area=0.00785398163397448,
)


cdef double ratio(double numerator, double denominator) noexcept nogil:
    """Quotient, NaN where it is not a finite number."""
    cdef double value
    if denominator == 0.0:
        return NAN
    value = numerator / denominator
    return value if isfinite(value) else NAN


cdef inline bint is_water(double temperature) noexcept nogil:
    return COLDEST <= temperature <= HOTTEST


cdef double water_density(double temperature) noexcept nogil:
    """Saturated liquid density [kg/m³], [2] equation (2)."""
    cdef double tau, third
    if not is_water(temperature):
        return NAN
    tau = 1.0 - temperature / CRITICAL_TEMPERATURE
    third = pow(tau, 1.0 / 3.0)
    return CRITICAL_DENSITY * (
        1.0
        + 1.99274064 * third
        + 1.09965342 * pow(third, 2.0)
        - 0.510839303 * pow(third, 5.0)
        - 1.75493479 * pow(third, 16.0)
        - 45.5170352 * pow(third, 43.0)
        - 6.74694450e5 * pow(third, 110.0)
    )


cdef inline double water_viscosity(double temperature) noexcept nogil:
    """Dynamic viscosity [Pa s] at 0.1 MPa, [3] equation (7)."""
    cdef double reduced = temperature / 300.0
    if not is_water(temperature):
        return NAN
    return 1e-6 * (
        280.68 * pow(reduced, -1.9)
        + 511.45 * pow(reduced, -7.7)
        + 61.131 * pow(reduced, -19.6)
        + 0.45903 * pow(reduced, -40.0)
    )


cdef inline double water_vapour_pressure(double temperature) noexcept nogil:
    """Saturation pressure [Pa], [2] equation (1)."""
    cdef double tau, root
    if not is_water(temperature):
        return NAN
    tau = 1.0 - temperature / CRITICAL_TEMPERATURE
    root = sqrt(tau)
    return CRITICAL_PRESSURE * exp(
        CRITICAL_TEMPERATURE / temperature * (
            -7.85951783 * tau
            + 1.84408259 * tau * root
            - 11.7866497 * pow(tau, 3.0)
            + 22.6807411 * pow(tau, 3.0) * root
            - 15.9618719 * pow(tau, 4.0)
            + 1.80122502 * pow(tau, 7.0) * root
        )
    )


cdef bint is_curve(double shutoff, double slope, double coefficient, double exponent) noexcept nogil:
    return (
        isfinite(shutoff) and shutoff > 0.0 and isfinite(slope) and slope >= 0.0
        and isfinite(coefficient) and coefficient >= 0.0 and slope + coefficient > 0.0
        and 1.0 <= exponent <= 10.0
    )


cdef double head_at(
    double ratio_, double flow, double shutoff, double slope, double coefficient, double exponent
) noexcept nogil:
    """Equation (1), at any flow."""
    if ratio_ == 0.0:
        # n^(2−c) has no value at rest unless the curve is quadratic; without flow the head is zero.
        return 0.0 if flow == 0.0 else (-coefficient * flow * flow if exponent == 2.0 else NAN)
    return (
        ratio_ * ratio_ * shutoff
        - slope * ratio_ * flow
        - coefficient * pow(ratio_, 2.0 - exponent) * pow(flow, exponent)
    )


cdef inline double pump_head_at(
    double speed, double flow, double rated_speed,
    double shutoff, double slope, double coefficient, double exponent,
) noexcept nogil:
    """Head [m] by equation (1), NaN outside its domain."""
    cdef double head
    if not (
        isfinite(speed) and speed >= 0.0 and isfinite(flow) and flow >= 0.0
        and isfinite(rated_speed) and rated_speed > 0.0
        and is_curve(shutoff, slope, coefficient, exponent)
    ):
        return NAN
    head = head_at(speed / rated_speed, flow, shutoff, slope, coefficient, exponent)
    return head if isfinite(head) else NAN


cdef inline double efficiency_at(
    double speed, double flow, double rated_speed, double best_flow, double best_efficiency
) noexcept nogil:
    """η = η_b q (2 − q), q = Q / (n Q_b): the parabola through zero flow and the best point."""
    cdef double q
    if not (
        isfinite(speed) and speed > 0.0 and isfinite(flow) and flow >= 0.0
        and isfinite(rated_speed) and rated_speed > 0.0
        and isfinite(best_flow) and best_flow > 0.0 and 0.0 < best_efficiency <= 1.0
    ):
        return NAN
    q = flow / (best_flow * speed / rated_speed)
    return best_efficiency * q * (2.0 - q) if q < 2.0 else NAN


cdef double shaft_power_at(
    double head, double density, double speed, double flow,
    double rated_speed, double best_flow, double best_efficiency,
) noexcept nogil:
    """P = ρ g Q H / η with q cancelled, so that it is finite at zero flow."""
    cdef double scaled, q
    if isfinite(efficiency_at(speed, flow, rated_speed, best_flow, best_efficiency)) and head >= 0.0:
        scaled = best_flow * speed / rated_speed
        q = flow / scaled
        return density * GRAVITY * head * scaled / (best_efficiency * (2.0 - q))
    return NAN


cdef inline double suction_head_at(
    double pressure, double flow, double temperature, double area
) noexcept nogil:
    """NPSH available [m]: (p − p_v) / (ρ g) + v² / (2 g), [4] section 6.1."""
    if not (
        isfinite(pressure) and pressure >= 0.0 and isfinite(flow) and flow >= 0.0
        and isfinite(area) and area > 0.0
    ):
        return NAN
    return (
        (pressure - water_vapour_pressure(temperature)) / (water_density(temperature) * GRAVITY)
        + flow * flow / (area * area * 2.0 * GRAVITY)
    )


cdef inline double required_suction_head_at(
    double speed, double flow, double rated_speed, double static, double coefficient
) noexcept nogil:
    """NPSH required [m]: n² N0 + k Q², which obeys the affinity law n²."""
    cdef double n
    if not (
        isfinite(speed) and speed >= 0.0 and isfinite(flow) and flow >= 0.0
        and isfinite(rated_speed) and rated_speed > 0.0
        and isfinite(static) and static >= 0.0 and isfinite(coefficient) and coefficient >= 0.0
    ):
        return NAN
    n = speed / rated_speed
    return n * n * static + coefficient * flow * flow


def water_properties(temperature):
    """Properties of liquid water on the saturation line.

    Parameters
    ----------
    temperature : numpy.ndarray, shape (n,)
        Temperature, 273.15 to 383.15; NaN results outside. [K]

    Returns
    -------
    WaterProperties
        density [kg/m³] and vapour_pressure [Pa] by [2]_ of the module (within 0.01 % and 0.025 % of the
        skeleton tables), viscosity [Pa s] by [3]_ at 0.1 MPa (within 1 %).

    Examples
    --------
    At 298.15 K: 997.0 kg/m³, 8.90e-4 Pa s, 3169.9 Pa.
    """
    cdef Py_ssize_t i, rows = rows_of({"temperature": temperature})
    cdef const double[::1] kelvin = temperature
    result = np.empty((3, rows))
    cdef double[:, ::1] out = result
    with nogil:
        for i in range(rows):
            out[0, i] = water_density(kelvin[i])
            out[1, i] = water_viscosity(kelvin[i])
            out[2, i] = water_vapour_pressure(kelvin[i])
    return WaterProperties(*result)


def one_point_curve(flow, head):
    """Pump curve through one design point, in EPANET's sense.

    Parameters
    ----------
    flow, head : numpy.ndarray, shape (n,)
        The design point, both positive. [m³/s], [m]

    Returns
    -------
    PumpCurve
        H0 = 4/3 H, s = 0, a = H / (3 Q²), c = 2 ([1]_ of the module). [m], [s/m²], [s²/m⁵], [-]
    """
    cdef Py_ssize_t i, rows = rows_of({"flow": flow, "head": head})
    cdef const double[::1] q = flow
    cdef const double[::1] h = head
    result = np.empty((4, rows))
    cdef double[:, ::1] out = result
    cdef bint known
    with nogil:
        for i in range(rows):
            known = isfinite(q[i]) and isfinite(h[i]) and q[i] > 0.0 and h[i] > 0.0
            out[0, i] = 4.0 / 3.0 * h[i] if known else NAN
            out[1, i] = 0.0 if known else NAN
            out[2, i] = ratio(h[i], 3.0 * q[i] * q[i]) if known else NAN
            out[3, i] = 2.0 if known else NAN
    return PumpCurve(*result)


def pump_head(speed, flow, rated_speed, shutoff_head, head_slope, head_coefficient, head_exponent):
    """Head of a pump at a speed and flow, equation (1) of the module.

    Parameters
    ----------
    speed, flow : numpy.ndarray, shape (n,)
        Not negative. [rad/s], [m³/s]
    rated_speed : numpy.ndarray, shape (n,)
        The speed the curve holds for, positive. [rad/s]
    shutoff_head, head_slope, head_coefficient, head_exponent : numpy.ndarray, shape (n,)
        H0 > 0, s ≥ 0, a ≥ 0 (not both zero) and 1 ≤ c ≤ 10. [m], [s/m²], [m/(m³/s)^c], [-]

    Returns
    -------
    numpy.ndarray
        Head, negative beyond the flow at which the pump stops pumping. [m]
    """
    cdef Py_ssize_t i, rows = rows_of({
        "speed": speed, "flow": flow, "rated_speed": rated_speed, "shutoff_head": shutoff_head,
        "head_slope": head_slope, "head_coefficient": head_coefficient, "head_exponent": head_exponent,
    })
    cdef const double[::1] w = speed, q = flow, rated = rated_speed
    cdef const double[::1] h0 = shutoff_head, s = head_slope, a = head_coefficient, c = head_exponent
    result = np.empty(rows)
    cdef double[::1] out = result
    with nogil:
        for i in range(rows):
            out[i] = pump_head_at(w[i], q[i], rated[i], h0[i], s[i], a[i], c[i])
    return result


cdef inline double balance_at(
    double n, double flow, double shutoff, double slope, double coefficient, double exponent,
    double static, double resistance, double resistance_exponent,
) noexcept nogil:
    """Surplus head of the pump over the system."""
    return (
        head_at(n, flow, shutoff, slope, coefficient, exponent)
        - static - resistance * pow(flow, resistance_exponent)
    )


cdef double balanced_flow(
    double n, double shutoff, double slope, double coefficient, double exponent,
    double static, double resistance, double resistance_exponent,
) noexcept nogil:
    """Root of the surplus head, which is concave and falling: Newton from the right cannot overshoot."""
    cdef double flow, surplus, gradient, next_flow
    cdef double lift = n * n * shutoff - static
    cdef int _step
    # To the right of the root: where one falling term alone eats the whole lift.
    flow = 1e300
    if slope > 0.0:
        flow = min(flow, lift / (slope * n))
    if coefficient > 0.0:
        flow = min(flow, pow(lift / (coefficient * pow(n, 2.0 - exponent)), 1.0 / exponent))
    if resistance > 0.0:
        flow = min(flow, pow(lift / resistance, 1.0 / resistance_exponent))
    for _step in range(MOST_STEPS):
        surplus = balance_at(
            n, flow, shutoff, slope, coefficient, exponent, static, resistance, resistance_exponent
        )
        if surplus >= 0.0:
            return flow
        gradient = (
            -slope * n
            - exponent * coefficient * pow(n, 2.0 - exponent) * pow(flow, exponent - 1.0)
            - resistance_exponent * resistance * pow(flow, resistance_exponent - 1.0)
        )
        next_flow = flow - surplus / gradient
        if not next_flow < flow:
            return flow
        flow = next_flow
    return NAN


def operating_point(
    speed, rated_speed, shutoff_head, head_slope, head_coefficient, head_exponent,
    static_head, resistance, resistance_exponent,
):
    """Flow and head where the pump curve meets the system curve Hs + k Q^e.

    Parameters
    ----------
    speed, rated_speed, shutoff_head, head_slope, head_coefficient, head_exponent : numpy.ndarray, shape (n,)
        As in `pump_head`.
    static_head : numpy.ndarray, shape (n,)
        Hs: level difference plus pressure difference over ρ g; may be negative. [m]
    resistance : numpy.ndarray, shape (n,)
        k ≥ 0. [m/(m³/s)^e]
    resistance_exponent : numpy.ndarray, shape (n,)
        1 ≤ e ≤ 10: 2 for Darcy and Weisbach in rough pipes, 1.852 for Hazen and Williams. [-]

    Returns
    -------
    OperatingPoint
        flow [m³/s] and head [m] of the pump. A pump that cannot lift (n² H0 ≤ Hs) stands behind its
        check valve: flow 0 and head n² H0; a pump at rest has flow 0 and head 0.

    Notes
    -----
    Both curves fall ever more steeply against each other, so there is one root at most. Newton's
    iteration starts to its right, where it converges from one side and quadratically.
    """
    cdef Py_ssize_t i, rows = rows_of({
        "speed": speed, "rated_speed": rated_speed, "shutoff_head": shutoff_head,
        "head_slope": head_slope, "head_coefficient": head_coefficient, "head_exponent": head_exponent,
        "static_head": static_head, "resistance": resistance,
        "resistance_exponent": resistance_exponent,
    })
    cdef const double[::1] w = speed, rated = rated_speed
    cdef const double[::1] h0 = shutoff_head, s = head_slope, a = head_coefficient, c = head_exponent
    cdef const double[::1] hs = static_head, k = resistance, e = resistance_exponent
    result = np.empty((2, rows))
    cdef double[:, ::1] out = result
    cdef double n
    with nogil:
        for i in range(rows):
            out[0, i] = NAN
            out[1, i] = pump_head_at(w[i], 0.0, rated[i], h0[i], s[i], a[i], c[i])
            if not (
                isfinite(out[1, i]) and isfinite(hs[i]) and isfinite(k[i]) and k[i] >= 0.0
                and 1.0 <= e[i] <= 10.0
            ):
                out[1, i] = NAN
            elif out[1, i] <= hs[i] or w[i] == 0.0:
                out[0, i] = 0.0
            else:
                n = w[i] / rated[i]
                out[0, i] = balanced_flow(n, h0[i], s[i], a[i], c[i], hs[i], k[i], e[i])
                out[1, i] = head_at(n, out[0, i], h0[i], s[i], a[i], c[i])
    return OperatingPoint(*result)


def affinity(speed, rated_speed, flow, head, power):
    """Scale a point of a pump from its rated speed to another by the affinity laws.

    Parameters
    ----------
    speed, rated_speed : numpy.ndarray, shape (n,)
        The new speed, not negative, and the one of the point, positive. [rad/s]
    flow, head, power : numpy.ndarray, shape (n,)
        The point. [m³/s], [m], [W]

    Returns
    -------
    Affinity
        Q n, H n², P n³ with n = speed / rated_speed ([4]_ of the module, section 3.5).
    """
    cdef Py_ssize_t i, rows = rows_of({
        "speed": speed, "rated_speed": rated_speed, "flow": flow, "head": head, "power": power,
    })
    cdef const double[::1] w = speed, rated = rated_speed, q = flow, h = head, p = power
    result = np.empty((3, rows))
    cdef double[:, ::1] out = result
    cdef double n
    with nogil:
        for i in range(rows):
            n = w[i] / rated[i] if isfinite(w[i]) and w[i] >= 0.0 and rated[i] > 0.0 else NAN
            out[0, i] = q[i] * n if isfinite(q[i]) else NAN
            out[1, i] = h[i] * n * n if isfinite(h[i]) else NAN
            out[2, i] = p[i] * n * n * n if isfinite(p[i]) else NAN
    return Affinity(*result)


def pump_performance(
    speed, flow, density, rated_speed, shutoff_head, head_slope, head_coefficient, head_exponent,
    best_flow, best_efficiency,
):
    """What a healthy pump does at a speed and flow.

    Parameters
    ----------
    speed, flow, rated_speed, shutoff_head, head_slope, head_coefficient, head_exponent : numpy.ndarray
        As in `pump_head`; all of shape (n,).
    density : numpy.ndarray, shape (n,)
        Density of the fluid, positive. [kg/m³]
    best_flow, best_efficiency : numpy.ndarray, shape (n,)
        Best efficiency point at rated speed, Q_b > 0 and 0 < η_b ≤ 1. [m³/s], [-]

    Returns
    -------
    PumpPerformance
        head [m]; efficiency η = η_b q (2 − q) with q = Q / (n Q_b) < 2 [-]; hydraulic_power ρ g Q H [W];
        shaft_power ρ g Q H / η, finite at zero flow [W]. NaN where the head would be negative.
    """
    cdef Py_ssize_t i, rows = rows_of({
        "speed": speed, "flow": flow, "density": density, "rated_speed": rated_speed,
        "shutoff_head": shutoff_head, "head_slope": head_slope, "head_coefficient": head_coefficient,
        "head_exponent": head_exponent, "best_flow": best_flow, "best_efficiency": best_efficiency,
    })
    cdef const double[::1] w = speed, q = flow, rho = density, rated = rated_speed
    cdef const double[::1] h0 = shutoff_head, s = head_slope, a = head_coefficient, c = head_exponent
    cdef const double[::1] qb = best_flow, eta = best_efficiency
    result = np.empty((4, rows))
    cdef double[:, ::1] out = result
    cdef double head, fluid
    with nogil:
        for i in range(rows):
            head = pump_head_at(w[i], q[i], rated[i], h0[i], s[i], a[i], c[i])
            head = head if head >= 0.0 else NAN
            fluid = rho[i] if isfinite(rho[i]) and rho[i] > 0.0 else NAN
            out[0, i] = head
            out[1, i] = efficiency_at(w[i], q[i], rated[i], qb[i], eta[i])
            out[2, i] = fluid * GRAVITY * q[i] * head
            out[3, i] = shaft_power_at(head, fluid, w[i], q[i], rated[i], qb[i], eta[i])
    return PumpPerformance(*result)


def suction_head(
    suction_pressure, speed, flow, temperature, rated_speed, npsh_static, npsh_coefficient, suction_area
):
    """Net positive suction head of a water pump and its margin against cavitation.

    Parameters
    ----------
    suction_pressure : numpy.ndarray, shape (n,)
        Absolute pressure at the suction flange, not negative. [Pa]
    speed, flow, rated_speed : numpy.ndarray, shape (n,)
        As in `pump_head`.
    temperature : numpy.ndarray, shape (n,)
        Of the water, 273.15 to 383.15. [K]
    npsh_static, npsh_coefficient : numpy.ndarray, shape (n,)
        N0 ≥ 0 and k ≥ 0 of NPSH required at rated speed, N0 + k Q². [m], [s²/m⁵]
    suction_area : numpy.ndarray, shape (n,)
        Cross section of the pipe where the pressure is measured, positive. [m²]

    Returns
    -------
    SuctionHead
        available (p − p_v) / (ρ g) + v² / (2 g), required n² N0 + k Q², and margin, their difference,
        negative in cavitation. [m]
    """
    cdef Py_ssize_t i, rows = rows_of({
        "suction_pressure": suction_pressure, "speed": speed, "flow": flow, "temperature": temperature,
        "rated_speed": rated_speed, "npsh_static": npsh_static, "npsh_coefficient": npsh_coefficient,
        "suction_area": suction_area,
    })
    cdef const double[::1] p = suction_pressure, w = speed, q = flow, kelvin = temperature
    cdef const double[::1] rated = rated_speed, n0 = npsh_static, k = npsh_coefficient, area = suction_area
    result = np.empty((3, rows))
    cdef double[:, ::1] out = result
    with nogil:
        for i in range(rows):
            out[0, i] = suction_head_at(p[i], q[i], kelvin[i], area[i])
            out[1, i] = required_suction_head_at(w[i], q[i], rated[i], n0[i], k[i])
            out[2, i] = out[0, i] - out[1, i]
    return SuctionHead(*result)


cdef PumpPoint pump_point(
    double speed, double flow, double suction, double discharge, double temperature, double power, const Pump* plate
) noexcept nogil:
    """One row of `pump_estimate`."""
    cdef PumpPoint point
    cdef double density = water_density(temperature), head = NAN, shaft, expected, drive
    if (
        discharge >= 0.0 and isfinite(discharge) and suction >= 0.0 and isfinite(suction)
        and flow >= 0.0 and isfinite(flow) and plate.suction_area > 0.0 and plate.discharge_area > 0.0
    ):
        head = (discharge - suction) / (density * GRAVITY) + flow * flow / (2.0 * GRAVITY) * (
            1.0 / (plate.discharge_area * plate.discharge_area) - 1.0 / (plate.suction_area * plate.suction_area)
        )
    drive = plate.motor_efficiency if 0.0 < plate.motor_efficiency <= 1.0 else NAN
    shaft = power * drive if isfinite(power) and power >= 0.0 else NAN
    expected = pump_head_at(
        speed, flow, plate.rated_speed,
        plate.shutoff_head, plate.head_slope, plate.head_coefficient, plate.head_exponent,
    )
    expected = expected if expected >= 0.0 else NAN
    point.density = density
    point.head = head
    point.hydraulic_power = density * GRAVITY * flow * head
    point.shaft_power = shaft
    point.efficiency = ratio(point.hydraulic_power, shaft)
    point.expected_head = expected
    point.expected_power = ratio(
        shaft_power_at(
            expected, density, speed, flow, plate.rated_speed, plate.best_flow, plate.best_efficiency
        ), drive
    )
    point.expected_efficiency = efficiency_at(speed, flow, plate.rated_speed, plate.best_flow, plate.best_efficiency)
    point.npsh_available = suction_head_at(suction, flow, temperature, plate.suction_area)
    point.npsh_required = required_suction_head_at(
        speed, flow, plate.rated_speed, plate.npsh_static, plate.npsh_coefficient
    )
    point.cavitation_margin = point.npsh_available - point.npsh_required
    point.head_residual = ratio(head, expected) - 1.0
    point.power_residual = ratio(power, point.expected_power) - 1.0 if isfinite(shaft) else NAN
    point.efficiency_residual = point.efficiency - point.expected_efficiency
    return point


def pump_estimate(
    speed, flow, suction_pressure, discharge_pressure, temperature, power,
    rated_speed, shutoff_head, head_slope, head_coefficient, head_exponent,
    best_flow, best_efficiency, motor_efficiency,
    npsh_static, npsh_coefficient, suction_area, discharge_area,
):
    """What a pump's measurements say, beside what a healthy one would do there.

    Parameters
    ----------
    speed, flow : numpy.ndarray, shape (n,)
        Measured, not negative. [rad/s], [m³/s]
    suction_pressure, discharge_pressure : numpy.ndarray, shape (n,)
        Measured at the flanges, absolute, not negative. [Pa]
    temperature : numpy.ndarray, shape (n,)
        Of the water, 273.15 to 383.15. [K]
    power : numpy.ndarray, shape (n,)
        Electric power of the motor, not negative. [W]
    rated_speed … discharge_area : numpy.ndarray, shape (n,)
        The fields of `PumpNameplate`, in its order. `motor_efficiency` 1 makes `power` shaft power.

    Returns
    -------
    PumpEstimate
        density [kg/m³]; head (p_d − p_s) / (ρ g) + (v_d² − v_s²) / (2 g) [m]; hydraulic_power ρ g Q H [W];
        shaft_power [W]; efficiency hydraulic over shaft power [-]; expected_head, expected_power
        (electric), expected_efficiency of a healthy pump at this speed and flow; npsh_available,
        npsh_required, cavitation_margin [m]; head_residual and power_residual, measured over expected
        minus one [-]; efficiency_residual, measured minus expected [-].

    Notes
    -----
    A measurement that is missing (NaN) or out of domain makes NaN of what depends on it, and of nothing
    else.
    """
    cdef Py_ssize_t rows = rows_of({
        "speed": speed, "flow": flow, "suction_pressure": suction_pressure,
        "discharge_pressure": discharge_pressure, "temperature": temperature, "power": power,
        "rated_speed": rated_speed, "shutoff_head": shutoff_head, "head_slope": head_slope,
        "head_coefficient": head_coefficient, "head_exponent": head_exponent, "best_flow": best_flow,
        "best_efficiency": best_efficiency, "motor_efficiency": motor_efficiency,
        "npsh_static": npsh_static, "npsh_coefficient": npsh_coefficient,
        "suction_area": suction_area, "discharge_area": discharge_area,
    })
    cdef const double[::1] w = speed, q = flow, ps = suction_pressure, pd = discharge_pressure
    cdef const double[::1] kelvin = temperature, electric = power, rated = rated_speed
    cdef const double[::1] h0 = shutoff_head, s = head_slope, a = head_coefficient, c = head_exponent
    cdef const double[::1] qb = best_flow, eta = best_efficiency, motor = motor_efficiency
    cdef const double[::1] n0 = npsh_static, k = npsh_coefficient
    cdef const double[::1] area_in = suction_area, area_out = discharge_area
    result = np.empty((14, rows))
    cdef double[:, ::1] out = result
    cdef Pump plate
    cdef PumpPoint point
    cdef Py_ssize_t i
    with nogil:
        for i in range(rows):
            plate = Pump(
                rated[i], h0[i], s[i], a[i], c[i], qb[i], eta[i], motor[i], n0[i], k[i], area_in[i], area_out[i]
            )
            point = pump_point(w[i], q[i], ps[i], pd[i], kelvin[i], electric[i], &plate)
            out[0, i], out[1, i], out[2, i] = point.density, point.head, point.hydraulic_power
            out[3, i], out[4, i], out[5, i] = point.shaft_power, point.efficiency, point.expected_head
            out[6, i], out[7, i] = point.expected_power, point.expected_efficiency
            out[8, i], out[9, i], out[10, i] = point.npsh_available, point.npsh_required, point.cavitation_margin
            out[11, i], out[12, i] = point.head_residual, point.power_residual
            out[13, i] = point.efficiency_residual
    return PumpEstimate(*result)
