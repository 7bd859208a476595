cdef void motor_after(
    double* now, double* steady, double heat, double surroundings, double conductance, double capacity, double dt
) noexcept nogil
cdef void bearing_after(
    double* bearing, double* oil, double* steady_bearing, double* steady_oil,
    double friction, double surroundings, double fluid,
    double g_bo, double g_bf, double c_b, double g_oa, double c_o, double dt,
) noexcept nogil
