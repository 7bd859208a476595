"""Statistics of the signals of a wide machine, folded one row after the other.

Design
------
a. A row is one value of each of n channels at one time. `fold_row` judges each value against its channel's
   limits and takes it up into the channel's statistics, equations (1) to (5); `refold_row` takes up a row that
   was judged before, and gives the same bits.
b. Only one row is ever looked at, and each channel alone, so what comes of a row cannot depend on how rows
   arrive together.
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
from libc.math cimport NAN, expm1, fabs

VERSION = 2  # rises whenever the same rows would give other bits

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


cdef inline void take_up(
    const double* before, double* after, double x, double time, double time_constant, Step* step
) noexcept nogil:
    """Equations (1) to (5) for one value of one channel."""
    cdef double count = before[COUNT] + 1.0
    cdef double mean = before[MEAN]
    cdef double last = before[LAST]
    cdef double elapsed = time - before[LAST_TIME]
    cdef double away = x - mean
    after[COUNT] = count
    if count == 1.0:
        after[MEAN] = after[LOWEST] = after[HIGHEST] = after[LAST] = after[SMOOTHED] = x
        after[SQUARES] = after[SLOPE] = 0.0
        after[LAST_TIME] = time
        return
    mean += away / count
    after[MEAN] = mean
    after[SQUARES] = before[SQUARES] + away * (x - mean)
    after[LOWEST] = min(before[LOWEST], x)
    after[HIGHEST] = max(before[HIGHEST], x)
    if elapsed < 0.0:
        after[LAST] = last
        after[LAST_TIME] = before[LAST_TIME]
        after[SMOOTHED] = before[SMOOTHED]
        after[SLOPE] = before[SLOPE]
        return
    if elapsed != step.elapsed:  # nearly all channels have waited equally long
        step.elapsed = elapsed
        step.weight = -expm1(-elapsed / time_constant)
        step.rate = step.weight / elapsed if elapsed > 0.0 else 0.0
    after[LAST] = x
    after[LAST_TIME] = time
    after[SMOOTHED] = before[SMOOTHED] + step.weight * (x - before[SMOOTHED])
    after[SLOPE] = before[SLOPE] + (step.rate * (x - last) - step.weight * before[SLOPE])


cdef inline unsigned char verdict(
    const double* before, const double* limits, double x, double time
) noexcept nogil:
    """How far one value of one channel can be trusted."""
    cdef double elapsed = time - before[LAST_TIME]
    if x != x:
        return IS_MISSING
    if not limits[LOW] <= x <= limits[HIGH]:
        return IS_BAD
    if elapsed > 0.0 and fabs(x - before[LAST]) > limits[MAX_RATE] * elapsed:
        return IS_SUSPECT  # not before there is a last value: comparisons with NaN are false
    return IS_GOOD


cdef inline void keep(const double* before, double* after) noexcept nogil:
    cdef Py_ssize_t row
    for row in range(ROWS):
        after[row] = before[row]


cdef void judge_all(
    const double* before, const real* values, double time, const double* limits, double time_constant,
    double* after, unsigned char* quality, Py_ssize_t* counts, Py_ssize_t n,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef Step step = Step(-1.0, 0.0, 0.0)
    for i in range(n):
        quality[i] = verdict(before + i * ROWS, limits + i * LIMITS, values[i], time)
        counts[quality[i]] += 1
        if quality[i] <= IS_SUSPECT:
            take_up(before + i * ROWS, after + i * ROWS, values[i], time, time_constant, &step)
        elif before != after:
            keep(before + i * ROWS, after + i * ROWS)


cdef void take_up_all(
    const double* before, const real* values, double time, const unsigned char* quality, double time_constant,
    double* after, Py_ssize_t n,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef Step step = Step(-1.0, 0.0, 0.0)
    for i in range(n):
        if quality[i] <= IS_SUSPECT:
            take_up(before + i * ROWS, after + i * ROWS, values[i], time, time_constant, &step)
        elif before != after:
            keep(before + i * ROWS, after + i * ROWS)


cdef Py_ssize_t channels_of(before, after, values, quality) except -1:
    """Return the number of channels, or raise a ValueError that names the wrong array."""
    for name, array, dtypes, shape in (
        ("values", values, (np.float64, np.float32), (len(values),)),
        ("before", before, (np.float64,), (len(values), ROWS)),
        ("after", after, (np.float64,), (len(values), ROWS)),
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
    """Statistics of channels that have said nothing, shape (channels, 9)."""
    result = np.full((channels, ROWS), NAN)
    result[:, COUNT] = 0.0
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
    before : numpy.ndarray, shape (n, 9)
        The statistics, in the order of `SignalStatistics`.
    values : numpy.ndarray of float64 or float32, shape (n,)
        One value of each channel; NaN where there is none.
    time : float
        Of the row. [s]
    limits : numpy.ndarray, shape (n, 3)
        Lowest and highest plausible value, beyond which a value is bad, and the fastest plausible change a
        second since the channel's last value, beyond which it is suspect.
    time_constant : float
        τ of equations (4) and (5), positive. [s]
    after : numpy.ndarray, shape (n, 9)
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
    if limits.shape != (n, LIMITS):
        raise ValueError(f"limits: expected shape {(n, LIMITS)}, got {limits.shape}")
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
