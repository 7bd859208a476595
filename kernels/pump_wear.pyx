"""What a worn pump does: head, power, heat, vibration and leakage from the wear of its parts.

Design
------
a. Wear of a part is a number: impeller w, bearing b, seal s, 0 when new; b and s are 1 when the part is
   gone, w is the part of the head that is lost. SI units; n = speed over rated speed.
b. Head at every flow, and where it meets the system curve Hs + k Q² (the healthy curve H0 - s n Q - a Q^c
   of `kernels.hydraulics`, equation (1) there):

       H(Q) = (1 - w) H_new(Q)                                                                         (1)

c. Shaft power: what the impeller loses of the head goes round inside; what the bearing wastes beyond a
   new one comes on top of the curve:

       P = P_new(Q) (1 + c_p w) + F c_f b,    F = F_rated n²                                            (2)

d. Heat: motor (1 - eta) P / eta, bearing F (1 + c_f b). What temperatures follow is `kernels.thermal`'s.
e. Vibration velocity at the bearing: least at the best flow, growing with the square of speed; a worn
   impeller is out of balance, a damaged bearing shakes:

       v = n² (v_0 (1 + 1.2 (q - 1)²) + v_w w + v_b b),    q = Q / (n Q_b)                             (3)

   Acceleration: v times the angular speed, plus what impacts of rolling elements on the damage add; a
   second sensor, further away, hears 0.7 of the first and 0.3 of the second.
f. Seal: the part c_s s of the flow is lost between pump and flow meter.                                (4)
g. Exact: the operating point. Chosen, not measured: the forms (1) to (4) and `REFERENCE_WEAR_EFFECTS`. They
   have the sign and the size that the literature gives for worn pumps [1]_, [2]_.

References
----------
.. [1] J. F. Guelich, "Centrifugal Pumps", chapters 10 (vibration over flow) and 3.6 (wear and efficiency).
.. [2] ISO 10816-7:2009, zone boundaries for the vibration of pumps.
"""

from typing import NamedTuple

import numpy as np

from libc.math cimport NAN, isfinite

from kernels._numerics cimport rows_of
from kernels.hydraulics cimport GRAVITY, balanced_flow, head_at, is_curve, ratio, shaft_power_at, water_density


class WornPump(NamedTuple):
    density: np.ndarray
    flow: np.ndarray
    metered_flow: np.ndarray
    head: np.ndarray
    pressure_rise: np.ndarray
    power: np.ndarray
    motor_loss: np.ndarray
    bearing_friction: np.ndarray
    vibration: np.ndarray
    acceleration: np.ndarray
    far_acceleration: np.ndarray


class WearEffects(NamedTuple):
    """How a pump answers to wear, in the order in which `worn_pump` takes it."""

    power: float  # c_p [-]
    friction: float  # c_f [-]
    usual_vibration: float  # v_0 [m/s]
    impeller_vibration: float  # v_w [m/s]
    bearing_vibration: float  # v_b [m/s]
    impacts: float  # acceleration by a bearing that is gone [m/s²]
    leak: float  # c_s [-]


# A bearing that is gone shakes with 8 mm/s, near the C/D boundary of [2]; it warms by half as much again.
REFERENCE_WEAR_EFFECTS = WearEffects(
    power=0.3,
    friction=1.5,
    usual_vibration=1.0e-3,
    impeller_vibration=3.0e-3,
    bearing_vibration=7.0e-3,
    impacts=1.5,
    leak=0.06,
)

# Rows of the result, in the order of WornPump.
cdef enum:
    DENSITY, FLOW, METERED, HEAD, RISE, POWER, MOTOR_LOSS, FRICTION, VIBRATION, NEAR, FAR, COLUMNS


cdef inline bint is_part(double value) noexcept nogil:
    return 0.0 <= value <= 1.0  # NaN fails both


cdef inline bint is_amount(double value) noexcept nogil:
    return isfinite(value) and value >= 0.0


def worn_pump(
    speed, temperature, static_head, resistance, impeller, bearing, seal, rated_friction,
    rated_speed, shutoff_head, head_slope, head_coefficient, head_exponent, best_flow, best_efficiency,
    motor_efficiency, npsh_static, npsh_coefficient, suction_area, discharge_area,
    power_effect, friction_effect, usual_vibration, impeller_vibration, bearing_vibration, impacts, leak,
):
    """What a worn pump does in a system of static head and quadratic resistance.

    Parameters
    ----------
    speed : numpy.ndarray, shape (n,)
        Not negative; a pump at rest does nothing. [rad/s]
    temperature : numpy.ndarray, shape (n,)
        Of the water, 273.15 to 383.15. [K]
    static_head, resistance : numpy.ndarray, shape (n,)
        Hs, may be negative, and k ≥ 0. [m], [s²/m⁵]
    impeller, bearing, seal : numpy.ndarray, shape (n,)
        Wear, 0 to 1, of the impeller below 1. [-]
    rated_friction : numpy.ndarray, shape (n,)
        Of the new bearing at rated speed, not negative. [W]
    rated_speed … discharge_area : numpy.ndarray, shape (n,)
        The fields of `kernels.hydraulics.PumpNameplate`, in its order, of the new pump. NPSH is not asked.
    power_effect … leak : numpy.ndarray, shape (n,)
        The fields of `WearEffects`, in its order, not negative; `leak` at most 1.

    Returns
    -------
    WornPump
        density [kg/m³]; flow through the pump and metered_flow behind the leak (4) [m³/s]; head (1) [m];
        pressure_rise from suction to discharge flange ρ g H - ρ (v_d² - v_s²) / 2 [Pa]; electric power (2)
        and motor_loss [W]; bearing_friction [W]; vibration (3) [m/s]; acceleration at the bearing and
        far_acceleration further away [m/s²]. NaN in the whole row where an input is out of its domain; power
        and motor_loss are NaN where the system pushes water through and the head would be negative.
    """
    cdef Py_ssize_t i, rows = rows_of({
        "speed": speed, "temperature": temperature, "static_head": static_head, "resistance": resistance,
        "impeller": impeller, "bearing": bearing, "seal": seal, "rated_friction": rated_friction,
        "rated_speed": rated_speed, "shutoff_head": shutoff_head, "head_slope": head_slope,
        "head_coefficient": head_coefficient, "head_exponent": head_exponent, "best_flow": best_flow,
        "best_efficiency": best_efficiency, "motor_efficiency": motor_efficiency, "npsh_static": npsh_static,
        "npsh_coefficient": npsh_coefficient, "suction_area": suction_area,
        "discharge_area": discharge_area, "power_effect": power_effect, "friction_effect": friction_effect,
        "usual_vibration": usual_vibration, "impeller_vibration": impeller_vibration,
        "bearing_vibration": bearing_vibration, "impacts": impacts, "leak": leak,
    })
    cdef const double[::1] w = speed, kelvin = temperature, hs = static_head, k = resistance
    cdef const double[::1] lost = impeller, damage = bearing, worn = seal, drag = rated_friction
    cdef const double[::1] rated = rated_speed, h0 = shutoff_head, s = head_slope, a = head_coefficient
    cdef const double[::1] c = head_exponent, qb = best_flow, eta = best_efficiency, motor = motor_efficiency
    cdef const double[::1] area_in = suction_area, area_out = discharge_area
    cdef const double[::1] by_power = power_effect, by_friction = friction_effect, usual = usual_vibration
    cdef const double[::1] by_impeller = impeller_vibration, by_bearing = bearing_vibration
    cdef const double[::1] knock = impacts, leaks = leak
    result = np.full((COLUMNS, rows), NAN)
    cdef double[:, ::1] out = result
    cdef double left, n, flow, head, shaft, friction, shaking, off
    with nogil:
        for i in range(rows):
            if not (
                is_amount(w[i]) and isfinite(water_density(kelvin[i])) and isfinite(hs[i]) and is_amount(k[i])
                and is_part(lost[i]) and lost[i] < 1.0 and is_part(damage[i]) and is_part(worn[i])
                and is_amount(drag[i]) and is_amount(rated[i]) and rated[i] > 0.0
                and is_curve(h0[i], s[i], a[i], c[i]) and is_amount(qb[i]) and qb[i] > 0.0
                and is_part(eta[i]) and eta[i] > 0.0 and is_part(motor[i]) and motor[i] > 0.0
                and is_amount(area_in[i]) and area_in[i] > 0.0 and is_amount(area_out[i]) and area_out[i] > 0.0
                and is_amount(by_power[i]) and is_amount(by_friction[i]) and is_amount(usual[i])
                and is_amount(by_impeller[i]) and is_amount(by_bearing[i]) and is_amount(knock[i])
                and is_part(leaks[i])
            ):
                continue
            left = 1.0 - lost[i]
            n = w[i] / rated[i]
            flow = 0.0  # behind the check valve, unless the pump can lift
            if n > 0.0 and n * n * h0[i] * left > hs[i]:
                flow = balanced_flow(n, h0[i] * left, s[i] * left, a[i] * left, c[i], hs[i], k[i], 2.0)
            head = left * head_at(n, flow, h0[i], s[i], a[i], c[i])
            friction = drag[i] * n * n
            shaft = 0.0
            shaking = 0.0
            if n > 0.0:
                shaft = shaft_power_at(
                    head / left, water_density(kelvin[i]), w[i], flow, rated[i], qb[i], eta[i]
                ) * (1.0 + by_power[i] * lost[i]) + friction * by_friction[i] * damage[i]
                off = flow / (n * qb[i]) - 1.0
                shaking = n * n * (
                    usual[i] * (1.0 + 1.2 * off * off) + by_impeller[i] * lost[i] + by_bearing[i] * damage[i]
                )
            out[DENSITY, i] = water_density(kelvin[i])
            out[FLOW, i] = flow
            out[METERED, i] = flow * (1.0 - leaks[i] * worn[i])
            out[HEAD, i] = head
            out[RISE, i] = out[DENSITY, i] * (
                GRAVITY * head
                - 0.5 * flow * flow * (1.0 / (area_out[i] * area_out[i]) - 1.0 / (area_in[i] * area_in[i]))
            )
            out[POWER, i] = ratio(shaft, motor[i])
            out[MOTOR_LOSS, i] = (1.0 - motor[i]) * out[POWER, i]
            out[FRICTION, i] = friction * (1.0 + by_friction[i] * damage[i])
            out[VIBRATION, i] = shaking
            out[NEAR, i] = shaking * w[i] + n * n * knock[i] * damage[i]
            out[FAR, i] = 0.7 * shaking * w[i] + 0.3 * n * n * knock[i] * damage[i]
    return WornPump(*result)
