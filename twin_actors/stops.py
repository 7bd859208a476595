"""Partitions that cannot go on without an operator: why, where that is seen, and when it is tried again.

The trigger asks again every two seconds, for as long as the operator sleeps. A partition that has stopped is neither
restored nor claimed each time: it waits until somebody has written to its journal, or a minute has passed. So it does,
for a shorter while at first, after an error that nobody foresaw.
"""

import logging

import msgspec

from twin_actors.clock import Clock
from twin_actors.errors import PartitionStopped, Unavailable
from twin_actors.journals import Journal
from twin_actors.snapshot import Tail

LOOK_AGAIN_SECONDS = 60.0

FIRST_PAUSE_SECONDS = 5.0
"""After an error that nobody foresaw; twice as long each time that it comes again, up to a minute."""

MAX_REASON = 2_000
"""Characters kept of an error."""

log = logging.getLogger(__name__)


class Stop(msgspec.Struct, frozen=True):
    """Why a partition stopped, as operators see it.

    Attributes
    ----------
    reason : str
    time : float
        Seconds since 1970.
    segment, position
        Where its journal ended then: what is longer now has been gone on with. Empty and 0 where that is not known.
    """

    reason: str
    time: float
    segment: str
    position: int


class _Hold(msgspec.Struct, frozen=True):
    """A stop that this process remembers, and until when nothing is tried."""

    stop: Stop
    until: float


_decoder = msgspec.json.Decoder(Stop)


def stop_path(partition: int) -> str:
    """Return the name of the object that says why a partition stopped."""
    return f"stops/{partition}"


async def read_stop(journal: Journal, partition: int, end: Tail) -> Stop | None:
    """Return why a partition stands still at the end of its journal; None where it does not.

    Raises
    ------
    Unavailable
    """
    stored = await journal.read(stop_path(partition))
    if stored is None:
        return None
    stop = _decoder.decode(stored.data)
    return stop if (stop.segment, stop.position) == (end.segment, end.position) else None


class Stops:
    """The partitions that this process has seen stop.

    Parameters
    ----------
    journal, clock
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._ends: dict[int, Tail | None] = {}
        self._held: dict[int, _Hold] = {}
        self._pauses: dict[int, float] = {}

    def ends_at(self, partition: int, tail: Tail | None) -> None:
        """Remember where a journal ends, None where it could not be read; a tail moves with its owner."""
        self._ends[partition] = tail

    async def check(self, partition: int) -> None:
        """Let a partition pass that has not stopped, or may be tried again.

        Raises
        ------
        PartitionStopped
            It stopped a moment ago, and nothing has changed.
        Unavailable
        """
        held = self._held.get(partition)
        if held is None:
            return
        stop = held.stop
        if self._clock.elapsed() < held.until and not await self._is_longer(stop):
            raise PartitionStopped(stop.reason)
        del self._held[partition]

    async def _is_longer(self, stop: Stop) -> bool:
        """Whether somebody has written to a journal since; never known of one that could not even be read."""
        return bool(stop.segment) and await self._journal.read_segment(stop.segment, stop.position) != b""

    async def note(self, partition: int, error: PartitionStopped) -> None:
        """Remember that a partition has stopped, and say so where operators look."""
        await self._hold(partition, str(error), LOOK_AGAIN_SECONDS)

    async def note_unforeseen(self, partition: int, error: Exception) -> None:
        """Leave a partition alone for a while, longer each time: a fault of the app must not fill its journal."""
        last = self._pauses.get(partition)
        seconds = FIRST_PAUSE_SECONDS if last is None else min(LOOK_AGAIN_SECONDS, 2.0 * last)
        self._pauses[partition] = seconds
        reason = f"partition {partition}: an error that nobody foresaw, {type(error).__name__}: {error}"
        reason = reason[:MAX_REASON].encode(errors="replace").decode()
        await self._hold(partition, f"{reason}; it is tried again after {seconds:g} s", seconds)

    def went_on(self, partition: int) -> None:
        """Forget the errors of a partition that has taken a batch."""
        self._pauses.pop(partition, None)

    async def _hold(self, partition: int, reason: str, seconds: float) -> None:
        end = self._ends.pop(partition, None) or Tail(segment="")
        stop = Stop(reason, self._clock.now(), end.segment, end.position)
        self._held[partition] = _Hold(stop, self._clock.elapsed() + seconds)
        log.error("partition %d has stopped, others go on: %s", partition, reason)
        try:
            await self._journal.write(stop_path(partition), msgspec.json.encode(stop))
        except Unavailable as unavailable:
            log.warning("partition %d: that it stopped could not be written down: %s", partition, unavailable)
