"""Frames become statistics: in turns, and again out of the journal.

The statistics of thousands of channels are not in every record. They are a fold over the accepted frames, by a kernel
with a version: they stand in memory beside the twins and in snapshots, and a restore folds the frames of the
journal's tail once more, from their bodies and from what was thought of them. Where that cannot give the same bits,
since the kernel is another one or the twin type has changed, the twin begins a new epoch of its statistics.
"""

import logging
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from kernels.signal_statistics import GOOD, VERSION, SignalStatistics, fold_row, no_statistics, refold_row, room
from twin_actors.commit import AcceptedFrames
from twin_actors.errors import Rejected
from twin_actors.frames import Frame, SignalEpoch, WideRow
from twin_actors.messages import Quality
from twin_actors.quality import TIME, event_time
from twin_actors.twin import Frames, TwinType

log = logging.getLogger(__name__)

type Array = npt.NDArray[np.float64]


class Statistics(msgspec.Struct, array_like=True):
    """The statistics of a twin's channels. Never changed: each message of frames makes new ones.

    Attributes
    ----------
    epoch : SignalEpoch
    data : bytearray
        Those of the kernel, as they lie in memory: 72 bytes a channel.
    """

    epoch: SignalEpoch
    data: bytearray

    def array(self) -> Array:
        """Return them as the kernel takes them, not to be changed."""
        array = _array(self.data, self.epoch.channels)
        array.flags.writeable = False
        return array

    def columns(self) -> SignalStatistics:
        """Return them by name, one entry a channel."""
        return SignalStatistics(*self.array())


def _array(data: bytearray, channels: int) -> Array:
    return np.frombuffer(data, dtype="<f8").reshape(-1, channels)


class Hearing:
    """A message of frames while its turn runs; thrown away where the turn fails.

    Parameters
    ----------
    frames
        The row of the twin type.
    epoch
        The twin's.
    held
        The statistics that the shard holds of it.
    """

    def __init__(self, frames: Frames, epoch: SignalEpoch | None, held: Statistics | None) -> None:
        self.frames = frames
        self._room = room(len(frames.channels))
        self._after = _array(self._room, len(frames.channels))
        known = SignalEpoch(VERSION, 1, 0.0, 0, len(frames.channels), float(frames.time_constant_seconds))
        if epoch is not None:
            known = msgspec.structs.replace(known, number=epoch.number, since=epoch.since, rows=epoch.rows)
        if held is not None and held.epoch == epoch == known:
            self._now = held.array()
        else:
            number = 1 if epoch is None else epoch.number + 1
            known = msgspec.structs.replace(known, number=number, since=0.0, rows=0)
            self._now = no_statistics(len(frames.channels))
        self._epoch = known
        self.times: list[float] = []
        self.quality: list[bytes] = []

    def hear(self, row: WideRow, hub_time: float, last_time: float) -> Frame:
        """Judge a row, and take it up into the statistics."""
        time, is_replaced = event_time(row.time, hub_time)
        verdicts = np.empty(len(row.values), dtype=np.uint8)
        counts = fold_row(
            self._now,
            row.values,
            time,
            self.frames.limits,
            self.frames.time_constant_seconds,
            self._after,
            verdicts,
        )
        self._now = self._after
        epoch = self._epoch
        since = epoch.since if epoch.rows else time
        self._epoch = msgspec.structs.replace(epoch, since=since, rows=epoch.rows + 1)
        self.times.append(time)
        self.quality.append(b"" if counts[0] == len(verdicts) else pack(verdicts))
        return Frame(
            time, row.values, verdicts, *counts, self.statistics.columns(), self._epoch, time < last_time, is_replaced
        )

    @property
    def statistics(self) -> Statistics:
        """After the rows heard so far."""
        return Statistics(self._epoch, self._room)


def listen(twin_type: TwinType[Any], epoch: SignalEpoch | None, held: Statistics | None, row: WideRow) -> Hearing:
    """Begin to hear a message of frames.

    Raises
    ------
    Rejected
        The twin type hears none, or others.
    """
    frames = twin_type.frames
    if frames is None:
        raise Rejected("no_frames", f"a {twin_type.name} hears no frames; send one column a channel")
    sent = len(row.values)
    if sent != len(frames.channels):
        raise Rejected(
            "wrong_channels", f"a row has {sent} values, a {twin_type.name} has {len(frames.channels)} channels"
        )
    return Hearing(frames, epoch, held)


def overall_quality(frame: Frame) -> Quality:
    """Return the quality of a row as a whole: bad if nothing in it can be used."""
    if frame.good == len(frame.quality) and not frame.is_time_replaced:
        return Quality.GOOD
    return Quality.SUSPECT if frame.good + frame.suspect else Quality.BAD


def row_flags(frame: Frame) -> dict[str, Quality]:
    """Return what is not good of a row beside its values, which are told by their place."""
    return {TIME: Quality.SUSPECT} if frame.is_time_replaced else {}


def pack(quality: npt.NDArray[np.uint8]) -> bytes:
    """Return the quality of a row's values, four to a byte."""
    return np.packbits(np.stack([quality & 1, quality >> 1], axis=1), bitorder="little").tobytes()


def unpack(packed: bytes, channels: int) -> npt.NDArray[np.uint8]:
    """Return the quality of a row's values, one to a byte."""
    if not packed:
        return np.full(channels, GOOD, dtype=np.uint8)
    bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=2 * channels, bitorder="little")
    low, high = bits.reshape(channels, 2).T
    return np.ascontiguousarray(low | high << 1)


def refold(
    held: Statistics | None, epoch: SignalEpoch, messages: Sequence[tuple[AcceptedFrames, bytes]]
) -> Statistics | None:
    """Return the statistics after messages of frames that stand in a record.

    Parameters
    ----------
    held
        Before them.
    epoch
        The twin's after them.
    messages
        What was thought of each, and its body.

    Returns
    -------
    Statistics or None
        None where this version of the app cannot make the same bits of them.
    """
    before = epoch.rows - sum(len(message.times) for message, _ in messages)
    if epoch.kernel != VERSION or before < 0:
        return None
    data = room(epoch.channels)
    array = _array(data, epoch.channels)
    if before == 0:
        array[:] = no_statistics(epoch.channels)
    elif held is not None and held.epoch == msgspec.structs.replace(epoch, rows=before):
        array[:] = held.array()
    else:
        return None
    for message, body in messages:
        if not _take_up(array, message, body, epoch):
            return None
    return Statistics(epoch, data)


def _take_up(array: Array, message: AcceptedFrames, body: bytes, epoch: SignalEpoch) -> bool:
    from twin_actors.arrow import read  # noqa: PLC0415  loading Arrow takes time that most workers never need

    try:
        values = read(body).values
    except Rejected as error:
        log.error("an accepted frame cannot be read any more, its statistics begin anew: %s", error)  # noqa: TRY400
        return False
    assert values is not None
    for row, time, packed in zip(values, message.times, message.quality, strict=True):
        refold_row(array, row, time, unpack(packed, epoch.channels), epoch.time_constant, array)
    return True
