"""Temperatures of a motor-driven machine: motor, bearing and the oil between bearing and surroundings.

Design
------
a. Three lumped capacities, SI units (K, W, W/K, J/K, s):

       C_m dT_m/dt = q_m − G_ma (T_m − T_a)                                                        (1)
       C_b dT_b/dt = q_b − G_bo (T_b − T_o) − G_bf (T_b − T_f)                                     (2)
       C_o dT_o/dt = G_bo (T_b − T_o) − G_oa (T_o − T_a)                                           (3)

   q_m motor losses, q_b bearing friction, T_a surroundings, T_f the fluid that cools the bearing
   through the shaft.
b. Exact for constant inputs over a step of any length: (1) is one exponential, (2) and (3) are a
   matrix exponential of two by two, whose eigenvalues are real and negative. Two half steps are
   one step.
c. Assumed: motor and bearing exchange no heat; conductances do not depend on temperature.

References
----------
.. [1] F. P. Incropera et al., "Fundamentals of Heat and Mass Transfer", chapter 5 (lumped capacitance).
"""

from typing import NamedTuple

import numpy as np

from libc.math cimport NAN, exp, expm1, isfinite, sqrt

from kernels._numerics cimport rows_of


class MachineTemperatures(NamedTuple):
    motor: np.ndarray
    bearing: np.ndarray
    oil: np.ndarray
    steady_motor: np.ndarray
    steady_bearing: np.ndarray
    steady_oil: np.ndarray


class ThermalNameplate(NamedTuple):
    """How a machine keeps and loses heat, in the order in which `machine_temperatures` takes it."""

    motor_conductance: float
    motor_capacity: float
    bearing_oil_conductance: float
    bearing_fluid_conductance: float
    bearing_capacity: float
    oil_conductance: float
    oil_capacity: float


# The 11 kW machine of hydraulics.REFERENCE_PUMP: at rated load the motor loses 880 W and stands 45 K above
# its surroundings (time constant 20 min), a bearing friction of 120 W keeps the bearing near 55 °C in a
# room of 20 °C (minutes), the oil near 45 °C (half an hour).
REFERENCE_MACHINE = ThermalNameplate(
    motor_conductance=19.5,
    motor_capacity=23400.0,
    bearing_oil_conductance=9.0,
    bearing_fluid_conductance=0.8,
    bearing_capacity=1800.0,
    oil_conductance=3.6,
    oil_capacity=9000.0,
)
REFERENCE_FRICTION = 120.0  # [W] in its bearings at rated speed, growing with the square of speed


cdef inline void pair_after(
    double* first, double* second, double a, double b, double c, double d, double dt
) noexcept nogil:
    """Multiply (first, second) by exp(dt [[a, b], [c, d]]); b c > 0 makes the eigenvalues real and distinct."""
    cdef double mean = 0.5 * (a + d)
    cdef double spread = sqrt(0.25 * (a - d) * (a - d) + b * c)
    cdef double slow = exp((mean + spread) * dt)
    # sinh(spread dt) / spread · exp(mean dt), without overflow for long steps or cancellation for short
    cdef double sine = -slow * expm1(-2.0 * spread * dt) / (2.0 * spread)
    cdef double cosine = slow - spread * sine
    cdef double x = first[0]
    cdef double y = second[0]
    first[0] = cosine * x + sine * ((a - mean) * x + b * y)
    second[0] = cosine * y + sine * (c * x + (d - mean) * y)


cdef inline bint is_positive(double value) noexcept nogil:
    return isfinite(value) and value > 0.0


cdef void motor_after(
    double* now, double* steady, double heat, double surroundings, double conductance, double capacity, double dt
) noexcept nogil:
    """Equation (1) over `dt`."""
    cdef double start = now[0]
    now[0] = steady[0] = NAN
    if not (
        isfinite(start) and isfinite(heat) and isfinite(surroundings) and is_positive(conductance)
        and is_positive(capacity) and isfinite(dt) and dt >= 0.0
    ):
        return
    steady[0] = surroundings + heat / conductance
    now[0] = steady[0] + (start - steady[0]) * exp(-conductance / capacity * dt)


cdef void bearing_after(
    double* bearing, double* oil, double* steady_bearing, double* steady_oil,
    double friction, double surroundings, double fluid,
    double g_bo, double g_bf, double c_b, double g_oa, double c_o, double dt,
) noexcept nogil:
    """Equations (2) and (3) over `dt`."""
    cdef double x = bearing[0]
    cdef double y = oil[0]
    cdef double through_oil
    bearing[0] = oil[0] = steady_bearing[0] = steady_oil[0] = NAN
    if not (
        isfinite(x) and isfinite(y) and isfinite(friction) and isfinite(surroundings) and isfinite(fluid)
        and is_positive(g_bo) and isfinite(g_bf) and g_bf >= 0.0 and is_positive(c_b)
        and is_positive(g_oa) and is_positive(c_o) and isfinite(dt) and dt >= 0.0
    ):
        return
    through_oil = g_bo * g_oa / (g_bo + g_oa)
    steady_bearing[0] = (friction + through_oil * surroundings + g_bf * fluid) / (through_oil + g_bf)
    steady_oil[0] = (g_bo * steady_bearing[0] + g_oa * surroundings) / (g_bo + g_oa)
    x = x - steady_bearing[0]
    y = y - steady_oil[0]
    pair_after(&x, &y, -(g_bo + g_bf) / c_b, g_bo / c_b, g_bo / c_o, -(g_bo + g_oa) / c_o, dt)
    bearing[0] = steady_bearing[0] + x
    oil[0] = steady_oil[0] + y


def machine_temperatures(
    motor, bearing, oil, motor_loss, bearing_friction, surroundings, fluid, dt,
    motor_conductance, motor_capacity, bearing_oil_conductance, bearing_fluid_conductance,
    bearing_capacity, oil_conductance, oil_capacity,
):
    """Temperatures of a machine a time step later, and those it tends to.

    Parameters
    ----------
    motor, bearing, oil : numpy.ndarray, shape (n,)
        Temperatures at the start of the step. [K]
    motor_loss, bearing_friction : numpy.ndarray, shape (n,)
        Heat set free in motor and bearing, constant over the step. [W]
    surroundings, fluid : numpy.ndarray, shape (n,)
        Temperatures of the air and of the pumped fluid. [K]
    dt : numpy.ndarray, shape (n,)
        Length of the step, not negative; any length is exact. [s]
    motor_conductance … oil_capacity : numpy.ndarray, shape (n,)
        The fields of `ThermalNameplate`, in its order, positive (`bearing_fluid_conductance` may be 0).
        [W/K], [J/K]

    Returns
    -------
    MachineTemperatures
        motor, bearing, oil after the step and steady_motor, steady_bearing, steady_oil after endless
        time: equations (1) to (3) of the module. [K] What cannot be computed for the motor leaves
        bearing and oil alone, and the other way round.
    """
    cdef Py_ssize_t i, rows = rows_of({
        "motor": motor, "bearing": bearing, "oil": oil, "motor_loss": motor_loss,
        "bearing_friction": bearing_friction, "surroundings": surroundings, "fluid": fluid, "dt": dt,
        "motor_conductance": motor_conductance, "motor_capacity": motor_capacity,
        "bearing_oil_conductance": bearing_oil_conductance,
        "bearing_fluid_conductance": bearing_fluid_conductance, "bearing_capacity": bearing_capacity,
        "oil_conductance": oil_conductance, "oil_capacity": oil_capacity,
    })
    cdef const double[::1] q_m = motor_loss, q_b = bearing_friction, t_a = surroundings, t_f = fluid, step = dt
    cdef const double[::1] g_ma = motor_conductance, c_m = motor_capacity
    cdef const double[::1] g_bo = bearing_oil_conductance, g_bf = bearing_fluid_conductance
    cdef const double[::1] c_b = bearing_capacity, g_oa = oil_conductance, c_o = oil_capacity
    result = np.empty((6, rows))
    result[0], result[1], result[2] = motor, bearing, oil
    cdef double[:, ::1] out = result
    with nogil:
        for i in range(rows):
            motor_after(&out[0, i], &out[3, i], q_m[i], t_a[i], g_ma[i], c_m[i], step[i])
            bearing_after(
                &out[1, i], &out[2, i], &out[4, i], &out[5, i], q_b[i], t_a[i], t_f[i],
                g_bo[i], g_bf[i], c_b[i], g_oa[i], c_o[i], step[i],
            )
    return MachineTemperatures(*result)
