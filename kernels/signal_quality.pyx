"""Judgement of readings: is each value plausible, changing no faster than it can, and alive?

Design
------
a. A step is one reading of one machine; the steps of a machine are judged in the order given, each against what
   its channels said before.
b. A value is bad outside [low, high]; suspect if it changed faster than max_rate since the last usable one, or
   has been exactly the same for stuck_after or longer; missing if a required channel says nothing.
c. A step older than the machine's newest is late: it is judged, and remembered by nobody.
d. Assumed: NaN stands for a channel that said nothing.
"""

import numpy as np

from libc.math cimport NAN, fabs, isfinite, isnan

from kernels.signal_statistics import BAD, GOOD, MISSING, SUSPECT

cdef unsigned char CODE_GOOD = GOOD
cdef unsigned char CODE_SUSPECT = SUSPECT
cdef unsigned char CODE_BAD = BAD
cdef unsigned char CODE_MISSING = MISSING

cdef struct Channel:
    double low
    double high
    double max_rate
    double stuck_after
    double required

cdef struct Signal:
    double value
    double time
    double since


def no_signals(Py_ssize_t machines, Py_ssize_t channels):
    """Return the memory of machines that have said nothing: shape (machines, channels, 3)."""
    return np.full((machines, channels, 3), NAN)


cdef inline unsigned char verdict(const Channel* channel, const Signal* before, double value, double time) noexcept nogil:
    if isnan(value):
        return CODE_MISSING if channel.required != 0.0 else CODE_GOOD
    if not (channel.low <= value <= channel.high and isfinite(value)):
        return CODE_BAD
    if isnan(before.value) or time <= before.time:
        return CODE_GOOD
    if fabs(value - before.value) > channel.max_rate * (time - before.time):
        return CODE_SUSPECT
    if value == before.value and time - before.since >= channel.stuck_after:
        return CODE_SUSPECT
    return CODE_GOOD


def judge_steps(channels, signals, last_time, machine, time, values):
    """Judge readings of many machines.

    Parameters
    ----------
    channels : numpy.ndarray of float64, shape (c, 5), contiguous
        Of each channel: low, high [its unit]; max_rate [its unit per second]; stuck_after [s]; required, 0 or 1.
    signals : numpy.ndarray of float64, shape (n, c, 3), contiguous
        Value, time [s] and since when it is that value [s], of what each channel of each machine said last; NaN for
        nothing. Changed in place.
    last_time : numpy.ndarray of float64, shape (n,), contiguous
        Of the newest reading of each machine, 0 before the first. [s] Changed in place.
    machine : numpy.ndarray of intp, shape (m,), contiguous
        Whose each step is.
    time : numpy.ndarray of float64, shape (m,), contiguous
        [s]
    values : numpy.ndarray of float64, shape (m, c), contiguous
        NaN where a channel says nothing.

    Returns
    -------
    quality : numpy.ndarray of uint8, shape (m, c)
        The codes of `signal_statistics`; an optional channel that says nothing is good.
    is_late : numpy.ndarray of uint8, shape (m,)

    Raises
    ------
    ValueError
        The shapes do not fit each other.
    IndexError
        A step is of no machine.
    """
    cdef const double[:, ::1] table = channels
    cdef double[:, :, ::1] kept = signals
    cdef double[::1] newest = last_time
    cdef const Py_ssize_t[::1] of = machine
    cdef const double[::1] when = time
    cdef const double[:, ::1] sent = values
    cdef Py_ssize_t n = kept.shape[0], m = of.shape[0], width = table.shape[0], step, i, channel
    if (
        table.shape[1] != 5 or kept.shape[1] != width or kept.shape[2] != 3 or newest.shape[0] != n
        or when.shape[0] != m or sent.shape[0] != m or sent.shape[1] != width
    ):
        raise ValueError(
            f"channels {channels.shape}, signals {signals.shape}, last_time {last_time.shape}, machine {machine.shape}, "
            f"time {time.shape} and values {values.shape} must be (c, 5), (n, c, 3), (n,), (m,), (m,) and (m, c)"
        )
    for step in range(m):
        if not 0 <= of[step] < n:
            raise IndexError(f"step {step} is of machine {of[step]}; there are {n}")
    quality = np.empty((m, width), np.uint8)
    is_late = np.empty(m, np.uint8)
    cdef unsigned char[:, ::1] found = quality
    cdef unsigned char[::1] late = is_late
    cdef const Channel* row
    cdef Signal* before
    cdef double value
    if not width:
        raise ValueError("there are no channels")
    with nogil:
        for step in range(m):
            i = of[step]
            late[step] = when[step] < newest[i]
            if not late[step]:
                newest[i] = when[step]
            for channel in range(width):
                value = sent[step, channel]
                row = <const Channel*>&table[channel, 0]
                before = <Signal*>&kept[i, channel, 0]
                found[step, channel] = verdict(row, before, value, when[step])
                if late[step] or isnan(value) or found[step, channel] == CODE_BAD:
                    continue
                if before.value != value:
                    before.since = when[step]
                before.value, before.time = value, when[step]
    return quality, is_late
