cdef double GRAVITY

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
