"""Partitions that cannot go on without an operator: why, where that is seen, and when it is tried again.

The trigger asks again every two seconds, for as long as the operator sleeps. A partition that has stopped is neither
restored nor claimed each time: it waits until somebody has written to its journal, or a minute has passed.
"""

import logging

import msgspec

from twin_actors.clock import Clock
from twin_actors.errors import PartitionStopped, Unavailable
from twin_actors.journals import Journal
from twin_actors.snapshot import Tail

LOOK_AGAIN_SECONDS = 60.0

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
        end = self._ends.pop(partition, None) or Tail(segment="")
        stop = Stop(str(error), self._clock.now(), end.segment, end.position)
        self._held[partition] = _Hold(stop, self._clock.elapsed() + LOOK_AGAIN_SECONDS)
        log.error("partition %d has stopped, others go on: %s", partition, error)
        try:
            await self._journal.write(stop_path(partition), msgspec.json.encode(stop))
        except Unavailable as unavailable:
            log.warning("partition %d: that it stopped could not be written down: %s", partition, unavailable)
