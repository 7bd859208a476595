"""A motor-driven centrifugal pump in motion: speed, flow, bearing and oil temperatures, impeller wear.

Design
------
a. The lumped model of [1]_ with the parameters published with it (a 3-phase induction motor at 471 V,
   about 377 rad/s, 0.1 m³/s): an independent model to compare estimates with, and a source of runs to
   failure. `kernels.hydraulics` and `kernels.thermal` are what twins use.
b. One explicit Euler step, as the published runs were made; all time constants exceed two seconds, so a
   step of one second is stable. SI units (rad/s, m³/s, K, Pa, V).

       dw/dt   = (T_e − r w − T_l) / I                                                             (1)
       T_e     = 3 R2 / (s w_s) · V² / ((R1 + R2 / s)² + (w_s L1)²),   s = (w_s − w) / w_s in [−1, 1]   (2)
       T_l     = a0 w² + a1 w Q − a2 Q²                                                            (3)
       dQ/dt   = (Q_o − Q) / J_Q,   Q_o = c √|p| sign p,   p = p_s + A w² + b w Q − p_d            (4)
       dT_t/dt = (r_t w² − H_t1 (T_t − T_a) − H_t2 (T_t − T_o)) / C_t                              (5)
       dT_r/dt = (r_r w² − H_r1 (T_r − T_a) − H_r2 (T_r − T_o)) / C_r                              (6)
       dT_o/dt = (H_o1 (T_t − T_o) + H_o2 (T_r − T_o) − H_o3 (T_o − T_a)) / C_o                    (7)
       dA/dt   = −w_A Q²                                                                           (8)

References
----------
.. [1] M. J. Daigle and K. Goebel, "Model-based prognostics with concurrent damage progression processes",
   IEEE Trans. Systems, Man, and Cybernetics: Systems 43 (2013) 535, section IV.
"""

from typing import NamedTuple

import numpy as np

from libc.math cimport NAN, copysign, fabs, isfinite, sqrt

from kernels._numerics cimport rows_of

cdef double INERTIA = 50.0  # I [kg m²]
cdef double FRICTION = 0.008  # r [N m s]
cdef double STATOR_RESISTANCE = 0.36  # R1 [Ω]
cdef double ROTOR_RESISTANCE = 0.076  # R2 [Ω]
cdef double INDUCTANCE = 0.00063  # L1 [H]
cdef double PHASES = 3.0
cdef double TORQUE_SPEED = 0.00149204  # a0 [N m s²]
cdef double TORQUE_CROSS = 5.77703  # a1 [N s²/m²]
cdef double TORQUE_FLOW = 9179.4  # a2 [N s²/m⁵]
cdef double PRESSURE_CROSS = 17984.6  # b [Pa s²/m³]
cdef double FLOW_COEFFICIENT = 8.24123e-5  # c [m³/(s √Pa)]
cdef double FLOW_LAG = 5.0  # J_Q [s]
cdef double THRUST_FRICTION = 1.4e-6  # r_t [W s²]
cdef double THRUST_CAPACITY = 7.3  # C_t
cdef double THRUST_AMBIENT = 0.0034  # H_t1
cdef double THRUST_OIL = 0.0026  # H_t2
cdef double RADIAL_FRICTION = 1.8e-6  # r_r
cdef double RADIAL_CAPACITY = 2.4  # C_r
cdef double RADIAL_AMBIENT = 0.0018  # H_r1
cdef double RADIAL_OIL = 0.02  # H_r2
cdef double OIL_CAPACITY = 8000.0  # C_o
cdef double OIL_THRUST = 1.0  # H_o1
cdef double OIL_RADIAL = 3.0  # H_o2
cdef double OIL_AMBIENT = 1.5  # H_o3


class PumpState(NamedTuple):
    speed: np.ndarray
    flow: np.ndarray
    thrust_temperature: np.ndarray
    radial_temperature: np.ndarray
    oil_temperature: np.ndarray
    impeller: np.ndarray


cdef inline double motor_torque(double speed, double voltage, double synchronous) noexcept nogil:
    """Equation (2); zero at synchronous speed and without a field."""
    cdef double slip, resistance, reactance
    if synchronous == 0.0:
        return 0.0
    slip = max(-1.0, min(1.0, (synchronous - speed) / synchronous))
    if slip == 0.0:
        return 0.0
    resistance = STATOR_RESISTANCE + ROTOR_RESISTANCE / slip
    reactance = synchronous * INDUCTANCE
    return (
        PHASES * ROTOR_RESISTANCE / (slip * synchronous)
        * voltage * voltage / (resistance * resistance + reactance * reactance)
    )


def pump_step(
    speed, flow, thrust_temperature, radial_temperature, oil_temperature, impeller,
    voltage, synchronous_speed, suction_pressure, discharge_pressure, surroundings, wear, *, dt,
):
    """State of the published pump after a time step.

    Parameters
    ----------
    speed, flow : numpy.ndarray, shape (n,)
        w ≥ 0 and Q. [rad/s], [m³/s]
    thrust_temperature, radial_temperature, oil_temperature : numpy.ndarray, shape (n,)
        T_t, T_r, T_o. [K]
    impeller : numpy.ndarray, shape (n,)
        A of equation (4), 12.7084 when new, worn out at 9.5. [Pa s²]
    voltage, synchronous_speed : numpy.ndarray, shape (n,)
        V and w_s ≥ 0 of the supply over the step. [V], [rad/s]
    suction_pressure, discharge_pressure : numpy.ndarray, shape (n,)
        p_s and p_d over the step. [Pa]
    surroundings : numpy.ndarray, shape (n,)
        T_a over the step. [K]
    wear : numpy.ndarray, shape (n,)
        w_A ≥ 0 of equation (8). [Pa s³/m⁶]
    dt : float
        Length of the step; at most a second or two. [s]

    Returns
    -------
    PumpState
        Equations (1) to (8) of the module stepped once. A row with a value that is not finite or out of
        its domain is NaN throughout.
    """
    cdef Py_ssize_t i, k, rows = rows_of({
        "speed": speed, "flow": flow, "thrust_temperature": thrust_temperature,
        "radial_temperature": radial_temperature, "oil_temperature": oil_temperature,
        "impeller": impeller, "voltage": voltage, "synchronous_speed": synchronous_speed,
        "suction_pressure": suction_pressure, "discharge_pressure": discharge_pressure,
        "surroundings": surroundings, "wear": wear,
    })
    cdef const double[::1] w = speed, q = flow, t_t = thrust_temperature, t_r = radial_temperature
    cdef const double[::1] t_o = oil_temperature, a = impeller, v = voltage, w_s = synchronous_speed
    cdef const double[::1] p_s = suction_pressure, p_d = discharge_pressure, t_a = surroundings, w_a = wear
    cdef double step = dt
    cdef double pressure, load
    cdef bint known
    result = np.empty((6, rows))
    cdef double[:, ::1] out = result
    with nogil:
        for i in range(rows):
            load = TORQUE_SPEED * w[i] * w[i] + TORQUE_CROSS * w[i] * q[i] - TORQUE_FLOW * q[i] * q[i]
            pressure = p_s[i] + a[i] * w[i] * w[i] + PRESSURE_CROSS * w[i] * q[i] - p_d[i]
            out[0, i] = w[i] + step / INERTIA * (motor_torque(w[i], v[i], w_s[i]) - FRICTION * w[i] - load)
            out[1, i] = q[i] + step / FLOW_LAG * (
                copysign(FLOW_COEFFICIENT * sqrt(fabs(pressure)), pressure) - q[i]
            )
            out[2, i] = t_t[i] + step / THRUST_CAPACITY * (
                THRUST_FRICTION * w[i] * w[i]
                - THRUST_AMBIENT * (t_t[i] - t_a[i]) - THRUST_OIL * (t_t[i] - t_o[i])
            )
            out[3, i] = t_r[i] + step / RADIAL_CAPACITY * (
                RADIAL_FRICTION * w[i] * w[i]
                - RADIAL_AMBIENT * (t_r[i] - t_a[i]) - RADIAL_OIL * (t_r[i] - t_o[i])
            )
            out[4, i] = t_o[i] + step / OIL_CAPACITY * (
                OIL_THRUST * (t_t[i] - t_o[i]) + OIL_RADIAL * (t_r[i] - t_o[i])
                - OIL_AMBIENT * (t_o[i] - t_a[i])
            )
            out[5, i] = a[i] - step * w_a[i] * q[i] * q[i]
            known = w[i] >= 0.0 and w_s[i] >= 0.0 and w_a[i] >= 0.0
            for k in range(6):
                known = known and isfinite(out[k, i])
            if not known:
                for k in range(6):
                    out[k, i] = NAN
    return PumpState(*result)
