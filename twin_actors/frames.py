"""What a wide machine says: rows of thousands of values, in the order that its twin type declares.

A row as it was sent is a `WideRow`. Judged and taken up into the statistics of its channels it is a `Frame`, which is
what the twin hears.
"""

import math

import msgspec
import numpy as np
import numpy.typing as npt

from kernels.signal_statistics import BAD, SignalStatistics

type Values = npt.NDArray[np.float32] | npt.NDArray[np.float64]


class WideRow(msgspec.Struct, frozen=True):
    """One row as it was sent: the claimed time, and one value of each channel, NaN where there is none."""

    time: float | None
    values: Values


class SignalEpoch(msgspec.Struct, frozen=True, array_like=True):
    """Which rows a twin's statistics are made of. They begin anew where they could not be gone on with to the bit.

    Attributes
    ----------
    kernel : int
        The version of the kernel that folds them.
    number : int
        1 for the first.
    since : float
        Event time of the first row, seconds since 1970.
    rows, channels : int
    time_constant : float
        Seconds.
    """

    kernel: int
    number: int
    since: float
    rows: int
    channels: int
    time_constant: float


class Frame(msgspec.Struct, frozen=True):
    """One row of a wide machine, judged, and the statistics after it. Arrays are in the order of the channels.

    Attributes
    ----------
    time : float
        Event time, seconds since 1970 UTC.
    sent : numpy.ndarray
        The values as they were sent, whatever they are worth.
    quality : numpy.ndarray of uint8
        GOOD, SUSPECT, BAD or MISSING of `kernels.signal_statistics`, for each value.
    good, suspect, bad, missing : int
        How many values are so.
    statistics : SignalStatistics
        Of each channel, of all its good and suspect values in this epoch, this row included. Read-only, and only
        valid during the turn.
    epoch : SignalEpoch
        Which rows the statistics are made of.
    is_late : bool
        Whether an earlier row of this twin already had a later event time.
    is_time_replaced : bool
        Whether the hub's time stands for the device's, which cannot be right.
    """

    time: float
    sent: Values
    quality: npt.NDArray[np.uint8]
    good: int
    suspect: int
    bad: int
    missing: int
    statistics: SignalStatistics
    epoch: SignalEpoch
    is_late: bool = False
    is_time_replaced: bool = False

    @property
    def values(self) -> Values:
        """The values of good or suspect quality, NaN for the others."""
        values: Values = self.sent.copy()
        values[self.quality >= BAD] = math.nan
        return values
