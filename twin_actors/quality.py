"""Data quality (ISO 13374, data manipulation): is this number worth believing?

A channel is judged against its row in the twin type's table and against what the same channel
said before: present, a finite number, in range, not changing too fast, not stuck. A bad channel
never spoils the others.
"""

import math
import struct
from typing import Any

import msgspec

from twin_actors.messages import Quality, Reading, Row
from twin_actors.twin import Channel

FUTURE_SKEW_SECONDS = 300.0
"""How far a device's clock may run ahead of the hub's before the hub's time replaces it."""

PAST_SKEW_SECONDS = 30 * 86_400.0
"""How old a buffered reading may be; devices that were offline longer than a month are rare, and
a clock that was never set says 1970 or its build year."""

MAX_UNKNOWN_CHANNELS = 16
MAX_NAME_LENGTH = 64

TIME = "time"
"""The quality entry of a reading whose own time was replaced."""


class Signal(msgspec.Struct, frozen=True, array_like=True):
    """What a channel said last, and since when it has said just that."""

    value: float
    time: float
    since: float


class Signals(msgspec.Struct, frozen=True, array_like=True):
    """What all channels of a twin said last, packed: of types with a fleet.

    Attributes
    ----------
    names : str
        Of the channels, a line each.
    numbers : bytes
        Value, time and since when, float64, of one channel after the other; NaN where it said nothing.
    """

    names: str
    numbers: bytes

    def get(self, name: str) -> Signal | None:
        """Return what a channel said last."""
        return unpacked(self).get(name)


def unpacked(signals: dict[str, Signal] | Signals) -> dict[str, Signal]:
    """Return what channels said last, by their names."""
    if not isinstance(signals, Signals):
        return signals
    parts = struct.iter_unpack("<3d", signals.numbers)
    return {
        name: Signal(*part) for name, part in zip(signals.names.split("\n"), parts, strict=True) if part[0] == part[0]
    }


def packed(signals: dict[str, Signal] | Signals, channels: tuple[str, ...]) -> Signals:
    """Return what channels said last, as a fleet keeps it."""
    names = "\n".join(channels)
    if isinstance(signals, Signals) and signals.names == names:
        return signals
    kept = unpacked(signals)
    nothing = Signal(math.nan, math.nan, math.nan)
    numbers = b"".join(struct.pack("<3d", *msgspec.structs.astuple(kept.get(name, nothing))) for name in channels)
    return Signals(names, numbers)


def event_time(claimed: float | None, hub_time: float) -> tuple[float, bool]:
    """Return the time to go by, and whether the device's own was replaced by the hub's."""
    if claimed is None:
        return hub_time, False
    if not hub_time - PAST_SKEW_SECONDS <= claimed <= hub_time + FUTURE_SKEW_SECONDS:
        return hub_time, True  # NaN fails both comparisons
    return claimed, False


def judge(
    channels: tuple[Channel, ...], signals: dict[str, Signal], row: Row, hub_time: float, last_time: float
) -> tuple[Reading, dict[str, Signal]]:
    """Turn a row as sent into a reading with qualities, and remember what its channels said.

    Parameters
    ----------
    channels
        The table of the twin type.
    signals
        What the channels said before.
    row
        The row as sent.
    hub_time
        When the cloud received it, seconds since 1970.
    last_time
        The event time of the newest reading so far.

    Returns
    -------
    Reading
        Values of good or suspect quality.
    dict
        The new memory of the channels; a late row leaves it as it was.
    """
    time, is_replaced = event_time(row.time, hub_time)
    is_late = time < last_time
    values: dict[str, float] = {}
    quality: dict[str, Quality] = {TIME: Quality.SUSPECT} if is_replaced else {}
    remembered = signals if is_late else dict(signals)
    sent = row.channels
    matched = 0
    for channel in channels:
        name = channel.name
        if name not in sent:
            if channel.required:
                quality[name] = Quality.MISSING
            continue
        matched += 1
        value = _number(sent[name])
        before = signals.get(name)
        verdict = _verdict(channel, value, before, time)
        if verdict is not Quality.GOOD:
            quality[name] = verdict
        if verdict is Quality.BAD:
            continue
        values[name] = value
        if not is_late:
            since = before.since if before is not None and before.value == value else time
            remembered[name] = Signal(value, time, since)
    if matched < len(sent):
        _flag_unknown(channels, sent, quality)
    return Reading(time, values, quality, is_late), remembered


def overall(reading: Reading) -> Quality:
    """Return the quality of a reading as a whole: bad if nothing in it can be used."""
    if not reading.quality:
        return Quality.GOOD
    return Quality.SUSPECT if reading.values else Quality.BAD


def _number(value: Any) -> float:  # noqa: ANN401  whatever JSON can hold
    if isinstance(value, float):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 1023:
        return float(value)
    return math.nan


def _verdict(channel: Channel, value: float, before: Signal | None, time: float) -> Quality:
    if not (channel.low <= value <= channel.high and math.isfinite(value)):
        return Quality.BAD
    if before is None or time <= before.time:
        return Quality.GOOD
    if abs(value - before.value) > channel.max_rate * (time - before.time):
        return Quality.SUSPECT
    if value == before.value and time - before.since >= channel.stuck_after:
        return Quality.SUSPECT
    return Quality.GOOD


def _flag_unknown(channels: tuple[Channel, ...], sent: dict[str, Any], quality: dict[str, Quality]) -> None:
    known = {channel.name for channel in channels}
    unknown = [name for name in sent if name not in known]
    for name in unknown[:MAX_UNKNOWN_CHANNELS]:
        quality[name[:MAX_NAME_LENGTH]] = Quality.BAD
