cdef double GRAVITY

cdef struct Pump:  # the fields of PumpNameplate
    double rated_speed
    double shutoff_head
    double head_slope
    double head_coefficient
    double head_exponent
    double best_flow
    double best_efficiency
    double motor_efficiency
    double npsh_static
    double npsh_coefficient
    double suction_area
    double discharge_area

cdef struct PumpPoint:  # the fields of PumpEstimate
    double density
    double head
    double hydraulic_power
    double shaft_power
    double efficiency
    double expected_head
    double expected_power
    double expected_efficiency
    double npsh_available
    double npsh_required
    double cavitation_margin
    double head_residual
    double power_residual
    double efficiency_residual

cdef double ratio(double numerator, double denominator) noexcept nogil
cdef double water_density(double temperature) noexcept nogil
cdef bint is_curve(double shutoff, double slope, double coefficient, double exponent) noexcept nogil
cdef double head_at(
    double ratio_, double flow, double shutoff, double slope, double coefficient, double exponent
) noexcept nogil
cdef double shaft_power_at(
    double head, double density, double speed, double flow,
    double rated_speed, double best_flow, double best_efficiency,
) noexcept nogil
cdef double balanced_flow(
    double n, double shutoff, double slope, double coefficient, double exponent,
    double static, double resistance, double resistance_exponent,
) noexcept nogil
cdef PumpPoint pump_point(
    double speed, double flow, double suction, double discharge, double temperature, double power, const Pump* plate
) noexcept nogil
