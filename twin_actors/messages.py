"""What arrives: events of one partition, the envelopes they become, and what twins hear."""

import enum

import msgspec


class Quality(enum.StrEnum):
    """How far a reading of a channel can be trusted."""

    GOOD = "good"
    SUSPECT = "suspect"
    BAD = "bad"
    MISSING = "missing"


class Reading(msgspec.Struct, frozen=True):
    """One set of channel values of a device at one time.

    Attributes
    ----------
    time : float
        Event time, seconds since 1970 UTC.
    values : dict
        Channel → value, in the unit of the model's Telemetry; only values whose quality is good
        or suspect.
    quality : dict
        Channel → quality, of every declared channel that is not good.
    is_late : bool
        Whether an earlier reading of this twin already had a later event time: aggregates may
        count it, current values must not follow it.
    """

    time: float
    values: dict[str, float]
    quality: dict[str, Quality]
    is_late: bool = False


class Tick(msgspec.Struct, frozen=True):
    """The passing of time.

    Attributes
    ----------
    time : float
        Seconds since 1970 UTC.
    """

    time: float
