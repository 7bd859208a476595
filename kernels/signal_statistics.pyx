"""Statistics of the signals of a wide machine, folded one row after the other.

Design
------
a. A row is one value of each of n channels at one time. `fold_row` judges each value against its channel's
   limits and takes it up into the channel's statistics, equations (1) to (5); `refold_row` takes up a row that
   was judged before, and gives the same bits.
b. Only one row is ever looked at, and each channel alone, so what comes of a row cannot depend on how rows
   arrive together. Each statistic lies by itself, channel after channel. Blocks of channels that are in order, all
   heard when the last row was, are taken up by loops without branches, which the compiler makes vectors of; the
   others one by one. Both are the same operations, so both give the same bits.
c. Statistics of a channel, after Welford [1]_ for (1) to (3), without the cancellation of sums of squares:

       N ← N + 1                                                                                    (1)
       M ← M + (x − M_before) / N                                                                   (2)
       S ← S + (x − M_before) (x − M)                                                               (3)

   and, with h the time since the channel's last value and w = 1 − exp(−h / τ), the smoothed value and the
   smoothed rate of change, right for any sequence of h where the value is constant over it:

       E ← E + w (x − E)                                                                            (4)
       R ← R + (w / h) (x − L) − w R                                                                (5)

   where w / h stays finite for h → 0, beside the lowest, highest and last value L and the time of the last. The first value sets M = E = L = x,
   S = R = 0.
d. A value that is older than the channel's last one counts in N, M, S and the extremes; it moves nothing
   current.
e. Assumed: limits are finite and modest (squares must not overflow); NaN means that there is no value.

References
----------
.. [1] B. P. Welford, "Note on a method for calculating corrected sums of squares and products",
   Technometrics 4(3), 1962, 419-420.
"""

from typing import NamedTuple

import numpy as np

from cpython.bytearray cimport PyByteArray_FromStringAndSize
from libc.math cimport NAN, expm1, fabs, sqrt
from libc.string cimport memset

VERSION = 3  # rises whenever the same rows would give other bits, or in another order

GOOD, SUSPECT, BAD, MISSING = range(4)

cdef enum:
    COUNT = 0
    MEAN
    SQUARES
    LOWEST
    HIGHEST
    LAST
    LAST_TIME
    SMOOTHED
    SLOPE
    ROWS

cdef enum:
    LOW = 0
    HIGH
    MAX_RATE
    LIMITS

cdef enum:
    IS_GOOD = 0
    IS_SUSPECT
    IS_BAD
    IS_MISSING
    VERDICTS

ctypedef fused real:
    float
    double


class SignalStatistics(NamedTuple):
    """What is known of each channel, in the order in which the kernel keeps it; NaN where there is nothing yet."""

    number: np.ndarray
    mean: np.ndarray
    squares: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    last: np.ndarray
    last_time: np.ndarray
    smoothed: np.ndarray
    slope: np.ndarray


cdef struct Step:
    double elapsed
    double weight
    double rate


cdef extern from *:
    """
    #define BLOCK 512
    #if defined(__clang__)
    #define EACH_ALONE _Pragma("clang loop vectorize(assume_safety)")
    #elif defined(__GNUC__)
    #define EACH_ALONE _Pragma("GCC ivdep")
    #else
    #define EACH_ALONE
    #endif

    #define FOLDS_OF(real)                                                                                      \
    /* How many of m channels, BLOCK at most, are not in order: implausible, or not heard when the first was. */\
    static int odd_##real(const double *before, Py_ssize_t n, const real *values, double time,                  \
                          const double *limits, Py_ssize_t m) {                                                 \
        const double *count = before, *last = before + 5 * n, *heard = before + 6 * n;                          \
        const double *low = limits, *high = limits + n, *rate = limits + 2 * n;                                 \
        const double since = heard[0], elapsed = time - since;                                                  \
        double odd[BLOCK];                                                                                      \
        int found = !(elapsed > 0.0);                                                                           \
        EACH_ALONE                                                                                              \
        for (Py_ssize_t i = 0; i < m; i++) {                                                                    \
            const double x = values[i], change = fabs(x - last[i]);                                             \
            odd[i] = (x >= low[i]) & (x <= high[i]) & (change <= rate[i] * elapsed) & (heard[i] == since)       \
                & (count[i] > 0.0) ? 0.0 : 1.0;                                                                 \
        }                                                                                                       \
        for (Py_ssize_t i = 0; i < m; i++) found += (int)odd[i];                                                \
        return found;                                                                                           \
    }                                                                                                           \
    /* Equations (1) to (5) for m channels that are in order. */                                                 \
    static void fold_##real(const double *before, double *after, Py_ssize_t n, const real *values, double time,  \
                            double weight, double rate, Py_ssize_t m) {                                          \
        EACH_ALONE                                                                                               \
        for (Py_ssize_t i = 0; i < m; i++) {                                                                     \
            const double x = values[i], count = before[i] + 1.0, away = x - before[n + i];                       \
            const double mean = before[n + i] + away / count;                                                    \
            after[i] = count;                                                                                    \
            after[2 * n + i] = before[2 * n + i] + away * (x - mean);                                            \
            after[n + i] = mean;                                                                                 \
            after[3 * n + i] = x < before[3 * n + i] ? x : before[3 * n + i];                                    \
            after[4 * n + i] = x > before[4 * n + i] ? x : before[4 * n + i];                                    \
        }                                                                                                        \
        EACH_ALONE                                                                                               \
        for (Py_ssize_t i = 0; i < m; i++) {                                                                     \
            const double x = values[i];                                                                          \
            after[8 * n + i] = before[8 * n + i] + (rate * (x - before[5 * n + i]) - weight * before[8 * n + i]); \
            after[7 * n + i] = before[7 * n + i] + weight * (x - before[7 * n + i]);                             \
            after[5 * n + i] = x;                                                                                \
            after[6 * n + i] = time;                                                                             \
        }                                                                                                        \
    }
    FOLDS_OF(float)
    FOLDS_OF(double)
    """
    Py_ssize_t BLOCK
    int odd_float(
        const double* before, Py_ssize_t n, const float* values, double time, const double* limits, Py_ssize_t m
    ) noexcept nogil
    int odd_double(
        const double* before, Py_ssize_t n, const double* values, double time, const double* limits, Py_ssize_t m
    ) noexcept nogil
    void fold_float(
        const double* before, double* after, Py_ssize_t n, const float* values, double time, double weight,
        double rate, Py_ssize_t m,
    ) noexcept nogil
    void fold_double(
        const double* before, double* after, Py_ssize_t n, const double* values, double time, double weight,
        double rate, Py_ssize_t m,
    ) noexcept nogil


cdef inline void wait(Step* step, double elapsed, double time_constant) noexcept nogil:
    """Know the weights after some time; nearly all channels have waited equally long."""
    if elapsed != step.elapsed:
        step.elapsed = elapsed
        step.weight = -expm1(-elapsed / time_constant)
        step.rate = step.weight / elapsed if elapsed > 0.0 else 0.0


cdef inline void take_up(
    const double* before, double* after, Py_ssize_t n, double x, double time, double time_constant, Step* step
) noexcept nogil:
    """Equations (1) to (5) for one value of one channel."""
    cdef double count = before[COUNT * n] + 1.0
    cdef double mean = before[MEAN * n]
    cdef double last = before[LAST * n]
    cdef double elapsed = time - before[LAST_TIME * n]
    cdef double away = x - mean
    after[COUNT * n] = count
    if count == 1.0:
        after[MEAN * n] = after[LOWEST * n] = after[HIGHEST * n] = after[LAST * n] = after[SMOOTHED * n] = x
        after[SQUARES * n] = after[SLOPE * n] = 0.0
        after[LAST_TIME * n] = time
        return
    mean += away / count
    after[MEAN * n] = mean
    after[SQUARES * n] = before[SQUARES * n] + away * (x - mean)
    after[LOWEST * n] = min(before[LOWEST * n], x)
    after[HIGHEST * n] = max(before[HIGHEST * n], x)
    if elapsed < 0.0:
        after[LAST * n] = last
        after[LAST_TIME * n] = before[LAST_TIME * n]
        after[SMOOTHED * n] = before[SMOOTHED * n]
        after[SLOPE * n] = before[SLOPE * n]
        return
    wait(step, elapsed, time_constant)
    after[LAST * n] = x
    after[LAST_TIME * n] = time
    after[SLOPE * n] = before[SLOPE * n] + (step.rate * (x - last) - step.weight * before[SLOPE * n])
    after[SMOOTHED * n] = before[SMOOTHED * n] + step.weight * (x - before[SMOOTHED * n])


cdef inline unsigned char verdict(
    const double* before, const double* limits, Py_ssize_t n, double x, double time
) noexcept nogil:
    """How far one value of one channel can be trusted."""
    cdef double elapsed = time - before[LAST_TIME * n]
    if x != x:
        return IS_MISSING
    if not limits[LOW * n] <= x <= limits[HIGH * n]:
        return IS_BAD
    if elapsed > 0.0 and fabs(x - before[LAST * n]) > limits[MAX_RATE * n] * elapsed:
        return IS_SUSPECT  # not before there is a last value: comparisons with NaN are false
    return IS_GOOD


cdef inline void keep(const double* before, double* after, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t row
    for row in range(ROWS):
        after[row * n] = before[row * n]


cdef void judge_all(
    const double* before, const real* values, double time, const double* limits, double time_constant,
    double* after, unsigned char* quality, Py_ssize_t* counts, Py_ssize_t n,
) noexcept nogil:
    cdef Py_ssize_t block, first, i, m
    cdef Step step = Step(-1.0, 0.0, 0.0)
    cdef int odd
    for block in range((n + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        m = min(<Py_ssize_t>BLOCK, n - first)
        if real is float:
            odd = odd_float(before + first, n, values + first, time, limits + first, m)
        else:
            odd = odd_double(before + first, n, values + first, time, limits + first, m)
        if odd == 0:
            wait(&step, time - before[LAST_TIME * n + first], time_constant)
            memset(quality + first, IS_GOOD, m)
            counts[IS_GOOD] += m
            if real is float:
                fold_float(before + first, after + first, n, values + first, time, step.weight, step.rate, m)
            else:
                fold_double(before + first, after + first, n, values + first, time, step.weight, step.rate, m)
            continue
        for i in range(first, first + m):
            quality[i] = verdict(before + i, limits + i, n, values[i], time)
            counts[quality[i]] += 1
            if quality[i] <= IS_SUSPECT:
                take_up(before + i, after + i, n, values[i], time, time_constant, &step)
            elif before != after:
                keep(before + i, after + i, n)


cdef void take_up_all(
    const double* before, const real* values, double time, const unsigned char* quality, double time_constant,
    double* after, Py_ssize_t n,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef Step step = Step(-1.0, 0.0, 0.0)
    for i in range(n):
        if quality[i] <= IS_SUSPECT:
            take_up(before + i, after + i, n, values[i], time, time_constant, &step)
        elif before != after:
            keep(before + i, after + i, n)


cdef Py_ssize_t channels_of(before, after, values, quality) except -1:
    """Return the number of channels, or raise a ValueError that names the wrong array."""
    for name, array, dtypes, shape in (
        ("values", values, (np.float64, np.float32), (len(values),)),
        ("before", before, (np.float64,), (ROWS, len(values))),
        ("after", after, (np.float64,), (ROWS, len(values))),
        ("quality", quality, (np.uint8,), (len(values),)),
    ):
        if array.dtype not in dtypes or not array.flags.c_contiguous:
            raise ValueError(f"{name}: expected a contiguous array of {dtypes[0].__name__}, got {array.dtype}")
        if array.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    return len(values)


cdef int check_times(double time, double time_constant) except -1:
    if not (fabs(time) < 1e15 and 0.0 < time_constant < 1e15):
        raise ValueError(f"time {time} and time constant {time_constant} must be finite, the latter positive")
    return 0


def no_statistics(Py_ssize_t channels):
    """Statistics of channels that have said nothing, shape (9, channels)."""
    result = np.full((ROWS, channels), NAN)
    result[COUNT] = 0.0
    return result


def room(Py_ssize_t channels):
    """Room for the statistics of channels, a bytearray that is not cleared: that would cost as much as using it."""
    if channels < 0:
        raise ValueError(f"channels: {channels} are less than none")
    return PyByteArray_FromStringAndSize(NULL, channels * ROWS * sizeof(double))


def fold_row(before, values, double time, limits, double time_constant, after, quality):
    """Judge a row, and take it up into the statistics.

    Parameters
    ----------
    before : numpy.ndarray, shape (9, n)
        The statistics, in the order of `SignalStatistics`.
    values : numpy.ndarray of float64 or float32, shape (n,)
        One value of each channel; NaN where there is none.
    time : float
        Of the row. [s]
    limits : numpy.ndarray, shape (3, n)
        Lowest and highest plausible value, beyond which a value is bad, and the fastest plausible change a
        second since the channel's last value, beyond which it is suspect.
    time_constant : float
        τ of equations (4) and (5), positive. [s]
    after : numpy.ndarray, shape (9, n)
        Takes the statistics after the row; may be `before`. Bad and missing values leave theirs as they were.
    quality : numpy.ndarray of uint8, shape (n,)
        Takes what is thought of each value: GOOD, SUSPECT, BAD, MISSING.

    Returns
    -------
    tuple of int
        How many values are good, suspect, bad, missing.
    """
    cdef Py_ssize_t n = channels_of(before, after, values, quality)
    cdef Py_ssize_t[VERDICTS] counts
    cdef const double[:, ::1] old = before, bounds = limits
    cdef double[:, ::1] new = after
    cdef unsigned char[::1] verdicts = quality
    cdef const float[::1] singles
    cdef const double[::1] doubles
    check_times(time, time_constant)
    if limits.shape != (LIMITS, n):
        raise ValueError(f"limits: expected shape {(LIMITS, n)}, got {limits.shape}")
    counts[:] = [0, 0, 0, 0]
    if n == 0:
        return 0, 0, 0, 0
    if values.dtype == np.float32:
        singles = values
        with nogil:
            judge_all(
                &old[0, 0], &singles[0], time, &bounds[0, 0], time_constant, &new[0, 0], &verdicts[0], counts, n
            )
    else:
        doubles = values
        with nogil:
            judge_all(
                &old[0, 0], &doubles[0], time, &bounds[0, 0], time_constant, &new[0, 0], &verdicts[0], counts, n
            )
    return counts[IS_GOOD], counts[IS_SUSPECT], counts[IS_BAD], counts[IS_MISSING]


def refold_row(before, values, double time, quality, double time_constant, after):
    """Take a row up into the statistics that was judged before; the arguments are those of `fold_row`."""
    cdef Py_ssize_t n = channels_of(before, after, values, quality)
    cdef const double[:, ::1] old = before
    cdef double[:, ::1] new = after
    cdef const unsigned char[::1] verdicts = quality
    cdef const float[::1] singles
    cdef const double[::1] doubles
    check_times(time, time_constant)
    if n == 0:
        return
    if values.dtype == np.float32:
        singles = values
        with nogil:
            take_up_all(&old[0, 0], &singles[0], time, &verdicts[0], time_constant, &new[0, 0], n)
    else:
        doubles = values
        with nogil:
            take_up_all(&old[0, 0], &doubles[0], time, &verdicts[0], time_constant, &new[0, 0], n)


def deviations(number, mean, squares, values, quality, double least, double limit):
    """Compare the values of a row with the mean of all that their channels have said.

    Parameters
    ----------
    number, mean, squares : numpy.ndarray, shape (n,)
        Of `SignalStatistics`, after the row.
    values : numpy.ndarray of float64 or float32, shape (n,)
    quality : numpy.ndarray of uint8, shape (n,)
        Of the values: only good and suspect ones are compared.
    least : float
        Values of a channel before which nothing is usual.
    limit : float
        Standard deviations.

    Returns
    -------
    beyond : int
        How many values lie beyond the limit.
    farthest : int
        The one that lies farthest; 0 where none deviates.
    deviation : float
        How far, in standard deviations of its channel.
    """
    cdef const double[::1] counts = number, means = mean, sums = squares
    cdef const unsigned char[::1] verdicts = quality
    cdef const float[::1] singles
    cdef const double[::1] doubles
    cdef Py_ssize_t n = counts.shape[0], beyond = 0, farthest = 0
    cdef double deviation = 0.0
    if not means.shape[0] == sums.shape[0] == verdicts.shape[0] == len(values) == n:
        raise ValueError(f"{n} channels, {mean.shape}, {squares.shape}, {values.shape}, {quality.shape} must be equal")
    if n == 0:
        return 0, 0, 0.0
    if values.dtype == np.float32:
        singles = values
        with nogil:
            compare(
                &counts[0], &means[0], &sums[0], &singles[0], &verdicts[0], least, limit, &beyond, &farthest,
                &deviation, n,
            )
    else:
        doubles = values
        with nogil:
            compare(
                &counts[0], &means[0], &sums[0], &doubles[0], &verdicts[0], least, limit, &beyond, &farthest,
                &deviation, n,
            )
    return beyond, farthest, sqrt(deviation)


cdef void compare(
    const double* number, const double* mean, const double* squares, const real* values,
    const unsigned char* quality, double least, double limit,
    Py_ssize_t* beyond, Py_ssize_t* farthest, double* deviation, Py_ssize_t n,
) noexcept nogil:
    """The squares of deviations, so that there is no root to be drawn of each, and hardly a quotient."""
    cdef double away, scaled, most = limit * limit, largest = 0.0
    cdef Py_ssize_t i
    for i in range(n):
        away = values[i] - mean[i]
        scaled = away * away * (number[i] - 1.0)
        if scaled > min(largest, most) * squares[i]:
            if quality[i] <= IS_SUSPECT and number[i] >= least and squares[i] > 0.0:
                scaled /= squares[i]
                beyond[0] += scaled > most
                if scaled > largest:
                    largest, farthest[0] = scaled, i
    deviation[0] = largest
