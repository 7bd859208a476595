"""How pumps are: what a reading says of each, step by step, from measurements to health.

Design
------
a. A pump is a row of numbers, `COLUMNS`; `follow_pumps` brings many of them forward, reading by reading, in
   place. Rows are independent of each other.
b. A reading is NaN where a channel said nothing. What was heard last stands for it, and where it never said
   anything, an assumption (`ASSUMED`).
c. What is measured is compared with what physics expects: head, power and efficiency of a pump in good order
   at the same speed and flow (`hydraulics`), temperatures by a heat balance (`thermal`). The differences, and
   vibration as it is, are its symptoms.
d. A symptom x is smoothed over event time t twice, with τ of 10 s and of 60 s,

       E ← E + (x − E) (1 − exp(−Δt / τ))                                                          (1)

   and what is usual is learned from its first good readings by Welford's recursion [1]_ and then stays: wear
   that comes slowly would be learned away by a baseline that follows.
e. The deviation of a symptom counts in units of its scatter while the baseline was learned, but at least of
   the smallest change worth knowing about. Health falls in a straight line from 1 at a deviation of
   `FREE_SCALES` to 0 at `LOST_SCALES`; limits of standards [2]_ [3]_ cost health whatever is usual. It is the
   lowest of all scores: one failing part is not made up for by others that are well. The anomaly score of the
   quickly smoothed deviation d is d² / (d² + 4²).
f. Which pump is it? If the mean head residual of the baseline is within `NAMEPLATE_TOLERANCE`, it is
   `hydraulics.REFERENCE_PUMP`, and that curve is the yardstick. If not, head and power are measured against
   what is usual for it, and temperatures against their limits only.
g. All of it is one module, since it is one step of one row: to be read from `follow` at its end.
h. Each calibrated symptom is remembered by three more means of weeks and months, equation (1) with the τ of
   `MEMORY_DAYS`, brought forward at most once an hour: a twin's RUL model reads them.

References
----------
.. [1] B. P. Welford, "Note on a method for calculating corrected sums of squares and products",
   Technometrics 4(3), 1962, 419-420.
.. [2] ISO 10816-7:2009, zone boundaries A/B and C/D of category II, up to 200 kW.
.. [3] IEC 60085: insulation class F, 155 °C.
"""

import numpy as np

from libc.math cimport NAN, expm1, fabs, fmax, fmin, isfinite, isnan, sqrt

from kernels.hydraulics cimport Pump, PumpPoint, pump_point
from kernels.hydraulics import REFERENCE_PUMP
from kernels.thermal cimport bearing_after, motor_after
from kernels.thermal import REFERENCE_FRICTION, REFERENCE_MACHINE

CHANNELS = (
    "speed",
    "flow",
    "suctionPressure",
    "dischargePressure",
    "power",
    "current",
    "voltage",
    "motorTemperature",
    "bearingTemperature",
    "oilTemperature",
    "fluidTemperature",
    "ambientTemperature",
    "vibration",
    "acceleration1",
    "acceleration2",
)
"""What a reading brings, in the order of its columns: 1/min, m³/h, kPa absolute, kW, A, V, °C, mm/s, g."""

ESTIMATES = (
    "head",
    "expectedHead",
    "headResidual",
    "expectedPower",
    "powerResidual",
    "efficiency",
    "expectedEfficiency",
    "cavitationMargin",
    "expectedMotorTemperature",
    "expectedBearingTemperature",
)
"""What is computed: m, parts of the expected, kW, °C."""

SYMPTOMS = (
    "head",
    "power",
    "motorTemperature",
    "bearingTemperature",
    "oilTemperature",
    "vibration",
    "acceleration1",
    "acceleration2",
)
"""Head and power as parts of the expected, temperatures in kelvin above the heat balance, the others as measured."""

BALANCE = ("motor", "bearing", "oil")
SYMPTOM = ("fast", "slow", "time", "count", "mean", "spread")
TREND = ("since", "time", "week", "month", "halfYear")

COLUMNS = (
    "time",
    *(f"last.{name}" for name in CHANNELS),
    *(f"estimates.{name}" for name in ESTIMATES),
    *(f"balance.{name}" for name in BALANCE),
    *(f"symptoms.{name}.{part}" for name in SYMPTOMS for part in SYMPTOM),
    "isRunning",
    "runningSince",
    "estimateQuality",
    "health",
    "anomalyScore",
    *(f"trends.{name}.{part}" for name in SYMPTOMS for part in TREND),
    "trendsTime",
)
"""What a pump remembers; NaN where it does not know, 0 for a time that never was.

``balance`` is the heat balance [K], ``runningSince`` the start that was seen [s since 1970; 0 if it turned when it
was first seen], ``estimateQuality`` an index into `QUALITIES`, ``count`` of a symptom the readings that its baseline
has learned from, ``spread`` its sum of squared differences from the mean.
"""

QUALITIES = ("none", "assumed", "held", "measured")
"""What the newest estimates stand on."""

CALIBRATION_READINGS = 60
FAST_SECONDS = 10.0
SLOW_SECONDS = 60.0
FREE_SCALES = 2.0
LOST_SCALES = 10.0
UNUSUAL_SCALES = 4.0
NAMEPLATE_TOLERANCE = 0.15  # acceptance tests allow up to 7 % (ISO 9906:2012 grade 3B), gauges of plants add theirs
LEAST_PART = 0.02  # of the rated curve's head or power, of which a change is a part of the usual
LIMITS = {  # channel: where health begins to fall, and where it is gone
    "vibration": (3.2, 8.5),
    "motorTemperature": (120.0, 155.0),
    "bearingTemperature": (80.0, 100.0),  # grease and mineral oil age fast above
    "oilTemperature": (70.0, 95.0),
}
LEAST_SCALE = {  # symptom: the smallest change worth knowing about
    "head": 0.02,
    "power": 0.03,
    "motorTemperature": 4.0,
    "bearingTemperature": 4.0,
    "oilTemperature": 4.0,
    "vibration": 0.4,
    "acceleration1": 0.02,
    "acceleration2": 0.02,
}
MEMORY_DAYS = (7.0, 30.0, 180.0)
STRIDE_SECONDS = 3600.0

cdef double DAY = 86400.0
cdef double PI = 3.141592653589793
cdef double KELVIN = 273.15  # at 0 °C
cdef double RAD_PER_SECOND = PI / 30.0  # in one revolution a minute
cdef double CUBIC_METRES_PER_SECOND = 1.0 / 3600.0  # in one cubic metre an hour
cdef double RUNNING_FRACTION = 0.1  # a pump turns if its speed is at least this part of the rated one
cdef double RUNNING_POWER = 0.05  # [kW], [m³/h]: what tells that a pump of unknown speed turns
cdef double RUNNING_FLOW = 0.5
cdef double SETTLING_SECONDS = 30.0  # after a start the water column does not agree with a curve for steady flow
cdef double LONGEST_STEP = 86400.0  # [s], after which the heat balance has long settled

cdef enum:
    SPEED = 0
    FLOW
    SUCTION
    DISCHARGE
    POWER
    CURRENT
    VOLTAGE
    MOTOR_T
    BEARING_T
    OIL_T
    FLUID_T
    AMBIENT_T
    VIBRATION
    ACCELERATION_1
    ACCELERATION_2
    CHANNEL_COUNT

cdef enum:
    S_HEAD = 0
    S_POWER
    S_MOTOR
    S_BEARING
    S_OIL
    S_VIBRATION
    S_ACCELERATION_1
    S_ACCELERATION_2
    SYMPTOM_COUNT

cdef enum:
    E_HEAD = 0
    E_EXPECTED_HEAD
    E_HEAD_RESIDUAL
    E_EXPECTED_POWER
    E_POWER_RESIDUAL
    E_EFFICIENCY
    E_EXPECTED_EFFICIENCY
    E_CAVITATION_MARGIN
    E_MOTOR
    E_BEARING
    ESTIMATE_COUNT

cdef struct Symptom:
    double fast
    double slow
    double time
    double count
    double mean
    double spread

cdef struct Trend:
    double since
    double time
    double week
    double month
    double half_year

cdef struct State:
    double time
    double last[CHANNEL_COUNT]
    double estimates[ESTIMATE_COUNT]
    double motor
    double bearing
    double oil
    Symptom symptoms[SYMPTOM_COUNT]
    double is_running
    double running_since
    double estimate_quality
    double health
    double anomaly_score
    Trend trends[SYMPTOM_COUNT]
    double trends_time

cdef double RATED_RPM = REFERENCE_PUMP.rated_speed / RAD_PER_SECOND
cdef double FRICTION = REFERENCE_FRICTION
cdef Pump PLATE = REFERENCE_PUMP._asdict()
cdef double[7] MACHINE
MACHINE[:] = REFERENCE_MACHINE

ASSUMED = {"speed": RATED_RPM, "suctionPressure": 101.325, "fluidTemperature": 20.0, "ambientTemperature": 20.0}
"""What stands for a channel that was never heard."""

cdef double[CHANNEL_COUNT] STANDS_FOR
STANDS_FOR[:] = [ASSUMED.get(name, NAN) for name in CHANNELS]

cdef double[SYMPTOM_COUNT] LEAST
LEAST[:] = [LEAST_SCALE[name] for name in SYMPTOMS]

cdef double TOLERANCE = NAMEPLATE_TOLERANCE
cdef double SMALLEST_PART = LEAST_PART
cdef double FAST = FAST_SECONDS
cdef double SLOW = SLOW_SECONDS
cdef double FREE = FREE_SCALES
cdef double LOST = LOST_SCALES
cdef double UNUSUAL = UNUSUAL_SCALES
cdef double CALIBRATION = CALIBRATION_READINGS
cdef double STRIDE = STRIDE_SECONDS
cdef double[3] MEMORY
MEMORY[:] = MEMORY_DAYS
cdef double[4] LIMIT_BEGINS
cdef double[4] LIMIT_ENDS
LIMIT_BEGINS[:] = [LIMITS[name][0] for name in ("motorTemperature", "bearingTemperature", "oilTemperature", "vibration")]
LIMIT_ENDS[:] = [LIMITS[name][1] for name in ("motorTemperature", "bearingTemperature", "oilTemperature", "vibration")]


def no_pump():
    """Return the numbers of a pump of which nothing was heard, shape (len(COLUMNS),)."""
    row = np.full(len(COLUMNS), np.nan)
    for name in ("time", "isRunning", "runningSince", "estimateQuality", "trendsTime"):
        row[COLUMNS.index(name)] = 0.0
    for name in SYMPTOMS:
        row[COLUMNS.index(f"symptoms.{name}.count")] = 0.0
    return row


cdef inline void take(Symptom* symptom, double value, double time) noexcept nogil:
    """Take up a value of a symptom: equation (1), and its baseline while that is learned."""
    cdef double elapsed, before
    if symptom.count == 0.0:
        symptom.fast = symptom.slow = symptom.mean = value
        symptom.time, symptom.count, symptom.spread = time, 1.0, 0.0
        return
    elapsed = fmax(0.0, time - symptom.time)
    symptom.fast += (value - symptom.fast) * -expm1(-elapsed / FAST)
    symptom.slow += (value - symptom.slow) * -expm1(-elapsed / SLOW)
    symptom.time = time
    if symptom.count < CALIBRATION:
        symptom.count += 1.0
        before = symptom.mean
        symptom.mean += (value - before) / symptom.count
        symptom.spread += (value - before) * (value - symptom.mean)


cdef inline double clip(double value) noexcept nogil:
    """Near run-out the expected head goes to zero and a quotient to anything; beyond ±1 it says no more."""
    return fmax(-1.0, fmin(1.0, value)) if isfinite(value) else value


cdef inline double score(double value, double begins, double ends) noexcept nogil:
    return fmin(1.0, fmax(0.0, (ends - value) / (ends - begins)))


cdef inline bint follows_nameplate(const State* pump) noexcept nogil:
    return pump.symptoms[S_HEAD].count > 0.0 and fabs(pump.symptoms[S_HEAD].mean) <= TOLERANCE


cdef void judge(State* pump) noexcept nogil:
    """Health and anomaly score; NaN while there is nothing to judge by."""
    cdef bint follows = follows_nameplate(pump), is_known = False, is_limited = False
    cdef double lowest = 1.0, fast = 0.0, slow = 0.0, usual, scale, least
    cdef Symptom* symptom
    cdef int i
    for i in range(3):
        if not isnan(pump.last[MOTOR_T + i]):
            lowest = fmin(lowest, score(pump.last[MOTOR_T + i], LIMIT_BEGINS[i], LIMIT_ENDS[i]))
            is_limited = True
    if pump.symptoms[S_VIBRATION].count > 0.0:
        lowest = fmin(lowest, score(pump.symptoms[S_VIBRATION].slow, LIMIT_BEGINS[3], LIMIT_ENDS[3]))
    for i in range(SYMPTOM_COUNT):
        symptom = &pump.symptoms[i]
        if symptom.count == 0.0:
            continue
        if S_MOTOR <= i <= S_OIL and not follows:
            continue  # the heat balance of an unknown machine says nothing
        is_known = True
        least, usual = LEAST[i], symptom.mean
        if i <= S_POWER:
            if follows:
                usual = 0.0
            else:  # these are parts of what the rated curve expects: make them parts of what is usual here
                least *= fmax(SMALLEST_PART, 1.0 + usual)
        scale = least
        if symptom.count >= 2.0:
            scale = fmax(least, sqrt(symptom.spread / (symptom.count - 1.0)))
        if i <= S_POWER:
            fast = fmax(fast, fabs(symptom.fast - usual) / scale)
            slow = fmax(slow, fabs(symptom.slow - usual) / scale)
        else:
            fast = fmax(fast, (symptom.fast - usual) / scale)
            slow = fmax(slow, (symptom.slow - usual) / scale)
    pump.health = pump.anomaly_score = NAN
    if is_known:
        lowest = fmin(lowest, score(slow, FREE, LOST))
        pump.anomaly_score = fast * fast / (fast * fast + UNUSUAL * UNUSUAL)
    if is_known or is_limited:
        pump.health = lowest


cdef void remember(State* pump) noexcept nogil:
    """Bring the long memories forward; they begin at the baseline."""
    cdef Symptom* symptom
    cdef Trend* trend
    cdef double days
    cdef int i
    for i in range(SYMPTOM_COUNT):
        symptom, trend = &pump.symptoms[i], &pump.trends[i]
        if isnan(trend.since):
            if symptom.count >= CALIBRATION:
                trend.since = trend.time = symptom.time
                trend.week = trend.month = trend.half_year = symptom.mean
        elif symptom.time > trend.time:
            days = (trend.time - symptom.time) / DAY
            trend.time = symptom.time
            trend.week += (symptom.slow - trend.week) * -expm1(days / MEMORY[0])
            trend.month += (symptom.slow - trend.month) * -expm1(days / MEMORY[1])
            trend.half_year += (symptom.slow - trend.half_year) * -expm1(days / MEMORY[2])


cdef inline bint is_turning(const State* pump) noexcept nogil:
    if not isnan(pump.last[SPEED]):
        return pump.last[SPEED] >= RUNNING_FRACTION * RATED_RPM
    if not isnan(pump.last[POWER]):
        return pump.last[POWER] >= RUNNING_POWER
    return pump.last[FLOW] >= RUNNING_FLOW


cdef void balance_heat(State* pump, const double* now, const PumpPoint* point, bint is_running, double elapsed) noexcept nogil:
    """Bring the heat balance forward; it starts where the machine is first seen."""
    cdef double motor, bearing, oil, steady_motor, steady_bearing, steady_oil
    cdef double motor_loss = 0.0, friction = 0.0, power, part
    cdef double air = now[AMBIENT_T] + KELVIN, water = now[FLUID_T] + KELVIN
    if isnan(pump.motor):
        motor = (air if isnan(now[MOTOR_T]) else now[MOTOR_T] + KELVIN)
        bearing = (air if isnan(now[BEARING_T]) else now[BEARING_T] + KELVIN)
        oil = (air if isnan(now[OIL_T]) else now[OIL_T] + KELVIN)
    else:
        motor, bearing, oil = pump.motor, pump.bearing, pump.oil
    if is_running:
        power = point.expected_power if isnan(now[POWER]) else now[POWER] * 1000.0
        part = now[SPEED] / RATED_RPM
        motor_loss = (1.0 - PLATE.motor_efficiency) * power if isfinite(power) else 0.0
        friction = FRICTION * part * part
    motor_after(&motor, &steady_motor, motor_loss, air, MACHINE[0], MACHINE[1], elapsed)
    bearing_after(
        &bearing, &oil, &steady_bearing, &steady_oil, friction, air, water,
        MACHINE[2], MACHINE[3], MACHINE[4], MACHINE[5], MACHINE[6], elapsed,
    )
    pump.motor, pump.bearing, pump.oil = motor, bearing, oil


cdef inline void note(double* kept, double value) noexcept nogil:
    if isfinite(value):
        kept[0] = value


cdef void estimate(State* pump, const PumpPoint* point) noexcept nogil:
    """Keep what could be computed; what could not stays as it was."""
    cdef double* kept = pump.estimates
    note(&kept[E_HEAD], point.head)
    note(&kept[E_EXPECTED_HEAD], point.expected_head)
    note(&kept[E_HEAD_RESIDUAL], point.head_residual)
    note(&kept[E_EXPECTED_POWER], point.expected_power / 1000.0)
    note(&kept[E_POWER_RESIDUAL], point.power_residual)
    if 0.0 <= point.efficiency <= 1.0:  # start-up and sensor faults give quotients that no machine has
        kept[E_EFFICIENCY] = point.efficiency
    note(&kept[E_EXPECTED_EFFICIENCY], point.expected_efficiency)
    note(&kept[E_CAVITATION_MARGIN], point.cavitation_margin)
    note(&kept[E_MOTOR], pump.motor - KELVIN)
    note(&kept[E_BEARING], pump.bearing - KELVIN)


cdef inline bint is_good(const double* values, const unsigned char* suspect, int channel) noexcept nogil:
    return not isnan(values[channel]) and not suspect[channel]


cdef void take_symptoms(
    State* pump, const double* values, const unsigned char* suspect, const PumpPoint* point, double time
) noexcept nogil:
    """Take up the symptoms that this reading can tell: those whose own channel it carries in good quality."""
    cdef double[SYMPTOM_COUNT] told
    cdef int i
    for i in range(SYMPTOM_COUNT):
        told[i] = NAN
    if is_good(values, suspect, DISCHARGE):
        told[S_HEAD] = clip(point.head_residual)
    if is_good(values, suspect, POWER):
        told[S_POWER] = clip(point.power_residual)
    if is_good(values, suspect, MOTOR_T):
        told[S_MOTOR] = values[MOTOR_T] + KELVIN - pump.motor
    if is_good(values, suspect, BEARING_T):
        told[S_BEARING] = values[BEARING_T] + KELVIN - pump.bearing
    if is_good(values, suspect, OIL_T):
        told[S_OIL] = values[OIL_T] + KELVIN - pump.oil
    for i in range(3):
        if is_good(values, suspect, VIBRATION + i):
            told[S_VIBRATION + i] = values[VIBRATION + i]
    for i in range(SYMPTOM_COUNT):
        if isfinite(told[i]):
            take(&pump.symptoms[i], told[i], time)


cdef inline double quality_of(const State* pump, const double* values) noexcept nogil:
    """What estimates stand on: the channels of the head measured now, heard before, or assumed."""
    cdef int[5] needs = [SPEED, FLOW, SUCTION, DISCHARGE, FLUID_T]
    cdef bint is_measured = True
    cdef int i
    for i in range(5):
        if isnan(pump.last[needs[i]]):
            return 1.0
        is_measured = is_measured and not isnan(values[needs[i]])
    return 3.0 if is_measured else 2.0


cdef void follow(State* pump, double time, const double* heard, const unsigned char* suspect) noexcept nogil:
    """Bring a pump forward by one reading."""
    cdef double[CHANNEL_COUNT] values
    cdef double[CHANNEL_COUNT] now
    cdef double[3] balance
    cdef PumpPoint point
    cdef bint is_running
    cdef int i
    for i in range(CHANNEL_COUNT):
        values[i] = heard[i]
    if isnan(values[POWER]) and not isnan(values[CURRENT]) and not isnan(values[VOLTAGE]):
        # Volts times amperes stand in for a missing power meter; being apparent power they read high, which the
        # baseline takes out.
        values[POWER] = values[VOLTAGE] * values[CURRENT] / 1000.0
    for i in range(CHANNEL_COUNT):
        if not isnan(values[i]):
            pump.last[i] = values[i]
        now[i] = STANDS_FOR[i] if isnan(pump.last[i]) else pump.last[i]
    is_running = is_turning(pump)
    point = pump_point(
        now[SPEED] * RAD_PER_SECOND, now[FLOW] * CUBIC_METRES_PER_SECOND, now[SUCTION] * 1000.0,
        now[DISCHARGE] * 1000.0, now[FLUID_T] + KELVIN, now[POWER] * 1000.0, &PLATE,
    )
    balance[0], balance[1], balance[2] = pump.motor, pump.bearing, pump.oil
    balance_heat(pump, now, &point, is_running, fmin(LONGEST_STEP, time - pump.time) if pump.time > 0.0 else 0.0)
    estimate(pump, &point)
    if is_running and pump.is_running == 0.0 and pump.time > 0.0:
        pump.running_since = time
    if is_running and time - pump.running_since >= SETTLING_SECONDS:
        take_symptoms(pump, values, suspect, &point, time)
    if not isfinite(pump.bearing):
        pump.motor, pump.bearing, pump.oil = balance[0], balance[1], balance[2]
    judge(pump)
    pump.estimate_quality = quality_of(pump, values) if isfinite(point.head) else 0.0
    pump.is_running = is_running
    pump.time = time
    if time - pump.trends_time >= STRIDE:
        remember(pump)
        pump.trends_time = time


def follow_pumps(states, pump, time, values, suspect, columns):
    """Bring pumps forward, reading by reading, in place.

    Parameters
    ----------
    states : numpy.ndarray of float64, shape (n, len(COLUMNS)), contiguous
        A pump a row; changed in place.
    pump : numpy.ndarray of intp, shape (m,), contiguous
        Whose each reading is; those of a pump in their order.
    time : numpy.ndarray of float64, shape (m,), contiguous
        Event time of each reading, not before that of the pump's last one. [s since 1970]
    values : numpy.ndarray of float64, shape (m, len(CHANNELS)), contiguous
        In the units of `CHANNELS`; NaN where the reading does not say.
    suspect : numpy.ndarray of uint8, shape (m, len(CHANNELS)), contiguous
        1 for a value that is shown, but teaches nothing.
    columns : numpy.ndarray of intp, shape (k,), contiguous
        Of `COLUMNS`.

    Returns
    -------
    numpy.ndarray of float64, shape (m, k)
        What stands in those columns after each reading.

    Raises
    ------
    ValueError
        The shapes do not fit each other.
    IndexError
        There is no such pump, or no such column.
    """
    cdef double[:, ::1] rows = states
    cdef const Py_ssize_t[::1] of = pump
    cdef const double[::1] times = time
    cdef const double[:, ::1] heard = values
    cdef const unsigned char[:, ::1] doubted = suspect
    cdef const Py_ssize_t[::1] watched = columns
    cdef Py_ssize_t i, k, count = of.shape[0], width = watched.shape[0]
    if (
        rows.shape[1] * <Py_ssize_t>sizeof(double) != <Py_ssize_t>sizeof(State) or times.shape[0] != count
        or heard.shape[0] != count or heard.shape[1] != CHANNEL_COUNT
        or doubted.shape[0] != count or doubted.shape[1] != CHANNEL_COUNT
    ):
        raise ValueError(
            f"states {states.shape}, pump {pump.shape}, time {time.shape}, values {values.shape} and suspect "
            f"{suspect.shape} must be (n, {len(COLUMNS)}), (m,), (m,), (m, {len(CHANNELS)}) and (m, {len(CHANNELS)})"
        )
    for i in range(count):
        if not 0 <= of[i] < rows.shape[0]:
            raise IndexError(f"reading {i} is of pump {of[i]}; there are {rows.shape[0]}")
    for k in range(width):
        if not 0 <= watched[k] < rows.shape[1]:
            raise IndexError(f"there is no column {watched[k]}")
    result = np.empty((count, width))
    cdef double[:, ::1] seen = result
    with nogil:
        for i in range(count):
            follow(<State*>&rows[of[i], 0], times[i], &heard[i, 0], &doubted[i, 0])
            for k in range(width):
                seen[i, k] = rows[of[i], watched[k]]
    return result


def remember_pumps(states):
    """Bring the long memories of pumps forward to their symptoms, in place: what `follow_pumps` does once an hour.

    Parameters
    ----------
    states : numpy.ndarray of float64, shape (n, len(COLUMNS)), contiguous
    """
    cdef double[:, ::1] rows = states
    cdef Py_ssize_t i
    if rows.shape[1] * <Py_ssize_t>sizeof(double) != <Py_ssize_t>sizeof(State):
        raise ValueError(f"states {states.shape} must be (n, {len(COLUMNS)})")
    with nogil:
        for i in range(rows.shape[0]):
            remember(<State*>&rows[i, 0])
