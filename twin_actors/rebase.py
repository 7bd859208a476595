"""An operator says where in the mailbox a partition goes on: in a hub that was made anew, or past events of this one.

It is a claim and one record: whoever owned the partition is fenced, and activates anew from where the record says.
"""

import msgspec

from twin_actors.clock import Clock
from twin_actors.commit import Rebase
from twin_actors.errors import Rejected
from twin_actors.gaps import GapReader, HubState
from twin_actors.journals import Journal, partition_count
from twin_actors.ownership import Owner
from twin_actors.shard import Shard
from twin_actors.snapshot import restore
from twin_actors.watermark import Watermark

type Start = int | str
"""A sequence number, ``earliest`` or ``latest``."""


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """What a rebase does to a partition.

    Attributes
    ----------
    partition : int
    before : Watermark or None
    after : Watermark
    is_renumbered : bool
        Whether the numbers of events begin anew.
    lost : int
        Events of the mailbox that are skipped, or expired before they were folded.
    again : int
        Events that are folded a second time, if they are the same.
    sources : list of int
        The partitions that may forward something here.
    is_opened : bool
        Whether the partition stays where it is, and takes the next forward of each of them whatever its number.
    """

    partition: int
    before: Watermark | None
    after: Watermark
    is_renumbered: bool
    lost: int
    again: int
    sources: list[int]
    is_opened: bool = False

    @property
    def is_nothing(self) -> bool:
        """Whether the partition is there already."""
        return self.after == self.before and not self.is_opened


class Destination(msgspec.Struct, frozen=True):
    """Where a partition is to go on, as the hub has it.

    Attributes
    ----------
    state : HubState
    first : int or None
        The event to fold next; None where only a hub that was made anew is a reason to go anywhere.
    time : float
        When the event before it was enqueued, or not long after.
    sources : list of int
        The partitions that there are.
    """

    state: HubState
    first: int | None
    time: float
    sources: list[int]


async def find(journal: Journal, reader: GapReader, clock: Clock, partition: int, start: Start | None) -> Destination:
    """Look up in the hub where a partition is to go on.

    Parameters
    ----------
    journal, reader, clock
    partition
    start
        None stays, except in a hub that was made anew, which is folded from its beginning.

    Raises
    ------
    Unavailable
    Rejected
        There is no such place.
    """
    stored = await partition_count(journal)
    state = await reader.describe(partition)
    beginning, end = state.first_sequence_number, state.last_sequence_number + 1
    first = start if isinstance(start, int) else end if start == "latest" else beginning
    if not 0 <= first <= end:
        raise Rejected("no_such_event", f"partition {partition} ends at event {end - 1}: {first} is beyond it")
    time = await _time_before(reader, clock, partition, state, first)
    sources = list(range(max(stored, state.partition_count)))
    return Destination(state, None if start is None else first, time, sources)


async def _time_before(reader: GapReader, clock: Clock, partition: int, state: HubState, first: int) -> float:
    """Return a time that no event before `first` is younger than: a younger one would be taken for another hub's."""
    near = range(max(first - 1, state.first_sequence_number), min(first, state.last_sequence_number) + 1)
    found = await reader.read(partition, near[0], near[-1]) if near else []
    if found:
        return found[0].enqueued_time
    return clock.now() if first else 0.0


def move(shard: Shard, to: Destination) -> Move:
    """Return what a rebase does to a shard.

    Raises
    ------
    Rejected
        The shard is folded from this hub, and nobody said where else to go on.
    """
    before, state = shard.watermark, to.state
    is_other_hub = before is not None and before.hub != state.hub
    # One that never folded anything may have been sent forwards all the same, in a hub that is no more.
    if to.first is None and before is not None and not is_other_hub:
        raise Rejected(
            "nothing_to_rebase",
            f"partition {shard.partition} needs no rebase, it goes on in hub {state.hub}: say --from to skip events of "
            "it, or to read some again",
        )
    first = state.first_sequence_number if to.first is None else to.first
    next_number = 0 if is_other_hub else state.first_sequence_number
    if before is not None and not is_other_hub:
        next_number = before.sequence_number + 1
    after, is_opened = Watermark(first - 1, to.time, state.hub), False
    if before is not None and not is_other_hub and first == next_number:
        after, is_opened = before, not set(to.sources) <= set(shard.open_channels)
    return Move(
        partition=shard.partition,
        before=before,
        after=after,
        is_renumbered=is_other_hub or first < next_number,
        lost=max(0, first - next_number),
        again=max(0, next_number - first),
        sources=to.sources,
        is_opened=is_opened,
    )


async def plan(journal: Journal, partition: int, to: Destination) -> Move:
    """Return what a rebase would do, without doing it.

    Raises
    ------
    Rejected
    Unavailable
    PartitionStopped
        The journal is damaged.
    """
    return move((await restore(journal, partition))[0], to)


async def rebase(
    journal: Journal, clock: Clock, partition: int, to: Destination, operator: str, reason: str, owner_id: str
) -> Move:
    """Claim a partition, and let it go on elsewhere.

    Raises
    ------
    Rejected
    Unavailable
        Whether it is done is not known: do it again, which changes nothing where it is.
    Fenced
        Others keep claiming the partition.
    PartitionStopped
        The journal is damaged.
    """
    owner = await Owner.claim(journal, clock, await restore(journal, partition), owner_id)
    done = move(owner.shard, to)
    if not done.is_nothing:
        counts = {"rebases": 1, "lost": done.lost, "again": done.again}
        await owner.append(
            Rebase(
                append_id=owner.next_append_id(),
                epoch=owner.epoch,
                operator=operator,
                reason=reason,
                watermark=done.after,
                is_renumbered=done.is_renumbered,
                open_channels=done.sources,
                counts={name: count for name, count in counts.items() if count},
            )
        )
    return done
