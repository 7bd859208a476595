"""An operator lets a partition go on whose journal is damaged: all before the damage is kept, nothing is deleted.

Where a snapshot or the whole chain still makes the shard, nothing is lost, and a new snapshot is all it takes. Else the
records from the damage on are given up: the partition goes on in a new segment, and the events that those records had
folded are read from the hub again, as far as it still has them.
"""

import re
from collections.abc import AsyncIterator, Sequence

import msgspec

from twin_actors.chain import Fault, Place, Stock, read, take_stock
from twin_actors.clock import Clock
from twin_actors.commit import READABLE, Claim, Record, Repair, Seal, decode, encode, last_checksum
from twin_actors.errors import Fenced, PartitionStopped, Rejected
from twin_actors.journals import Journal
from twin_actors.ownership import Owner
from twin_actors.shard import Shard
from twin_actors.snapshot import (
    Tail,
    decode_snapshot,
    segment_number,
    segment_path,
    snapshot_epoch,
)

LEAST_JUMP = 1_000_000
"""Added to numbers that receivers compare, besides one for each byte given up, which no damage can exceed."""


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """What is damaged, and what stays.

    Attributes
    ----------
    partition : int
    detail : str
    shard : Shard
        As the last whole record left it.
    end : Place
        Where that record ends.
    tag : str
        Of the manifest.
    given_up : dict
        Segment → from which byte on; empty where nothing is lost.
    snapshot : str
        The snapshot that cannot be read, empty where it can.
    is_whole : bool
        Whether every record is kept: only a snapshot is damaged.
    records : list of Record
        Those given up that can still be read, for the report.
    next_segment : str
    epoch : int
    jump : int
    """

    partition: int
    detail: str
    shard: Shard
    end: Place
    tag: str
    given_up: dict[str, int]
    snapshot: str
    is_whole: bool
    records: list[Record]
    next_segment: str
    epoch: int
    jump: int


async def examine(journal: Journal, partition: int) -> Loss | None:
    """Return what is damaged of what a restore needs; None where nothing is.

    Raises
    ------
    Unavailable
    PartitionStopped
        Another version of the app wrote it, or nothing is left to begin with.
    """
    stock = await take_stock(journal, partition)
    best: tuple[Place, Shard] | None = None
    detail = stock.detail
    async for name, shard, place in _beginnings(journal, stock):
        end, fault = await _follow(journal, shard, place)
        if (fault is not None and fault.is_foreign) or stock.is_foreign:
            raise PartitionStopped(stock.detail if fault is None else fault.detail)
        if fault is None and name == stock.published:
            return None
        detail = detail or ("" if fault is None else fault.detail)
        if best is None or (end.segment, end.position) > (best[0].segment, best[0].position):
            best = end, shard
    if best is None:
        if not stock.segments and not stock.published:
            return None
        raise PartitionStopped(
            f"partition {partition}: no snapshot can be read and the first segment is gone: bring back what was "
            "deleted from the container (soft delete, versions, a copy)"
        )
    return await _loss(journal, stock, detail, *best)


async def _beginnings(journal: Journal, stock: Stock) -> AsyncIterator[tuple[str, Shard, Place]]:
    """Yield what a partition may be rebuilt from: its snapshots, the published one first, and the first segment."""
    for name in [stock.published, *(name for name in reversed(stock.snapshots) if name != stock.published)]:
        stored = await journal.read(name) if name else None
        if stored is None:
            continue
        try:
            snapshot = decode_snapshot(stored.data, name)
        except PartitionStopped:
            continue
        tail = snapshot.tail
        yield name, snapshot.shard, Place(tail.segment, tail.position, tail.checksum)
    first = segment_path(stock.partition, 0, 0)
    if first in stock.segments:
        yield "", Shard(partition=stock.partition), Place(first, 0, 0)


async def _follow(journal: Journal, shard: Shard, place: Place) -> tuple[Place, Fault | None]:
    """Apply whole records from a place on."""
    async for item in read(journal, place):
        if isinstance(item, Fault):
            return item.at, item
        shard.apply(item.record)
        place = Place(item.record.next_segment, 0, item.next.checksum) if isinstance(item.record, Seal) else item.next
    return place, None


async def _loss(journal: Journal, stock: Stock, detail: str, end: Place, shard: Shard) -> Loss | None:
    if not detail:
        return None  # there is no snapshot yet, and the chain is whole
    given_up = {
        path: end.position if path == end.segment else 0
        for path, size in sorted(stock.segments.items())
        if path >= end.segment and size > (end.position if path == end.segment else 0)
    }
    records: list[Record] = []
    for path, start in given_up.items():
        records += salvage(await journal.read_segment(path, start) or b"")
    names = [int(path.rpartition("-")[2]) for path in stock.segments] + [snapshot_epoch(n) for n in stock.snapshots]
    epoch = 1 + max([shard.epoch, *names, *(record.epoch for record in records)])
    number = 1 + max(segment_number(path) for path in [end.segment, *stock.segments])
    return Loss(
        partition=stock.partition,
        detail=detail,
        shard=shard,
        end=end,
        tag=stock.tag,
        given_up=given_up,
        snapshot=stock.published if stock.detail else "",
        is_whole=not given_up and end.segment in stock.segments,
        records=records,
        next_segment=segment_path(stock.partition, number, epoch),
        epoch=epoch,
        jump=LEAST_JUMP + sum(stock.segments[path] - start for path, start in given_up.items()),
    )


def salvage(data: bytes) -> list[Record]:
    """Return the records that can still be read in damaged bytes, unchecked."""
    records: list[Record] = []
    found = _BEGINS.search(data)
    while found is not None:
        end = 1
        try:
            for record, reached, _ in decode(data[found.start() :], None, ""):
                records.append(record)
                end = reached
        except PartitionStopped:
            pass
        found = _BEGINS.search(data, found.start() + end)
    return records


_BEGINS = re.compile(b"|".join(sorted(READABLE)))


async def repair(
    journal: Journal, clock: Clock, loss: Loss, channels: Sequence[int], operator: str, reason: str, owner_id: str
) -> None:
    """Let a partition go on from what is whole.

    Where it dies half way, nothing is published: it may be done again.

    Raises
    ------
    Rejected
        An owner is at work.
    Unavailable
        Do it again.
    """
    try:
        for path, start in loss.given_up.items():
            await _fence(journal, path, start, loss, owner_id)
        tail = Tail(segment=loss.end.segment, position=loss.end.position, checksum=loss.end.checksum or 0)
        if loss.is_whole:
            owner = await Owner.claim(journal, clock, (loss.shard, tail, loss.tag), owner_id)
        else:
            await journal.create_segment(loss.next_segment)
            tail = Tail(segment=loss.next_segment, checksum=loss.end.checksum or 0)
            owner = Owner(journal, clock, loss.shard, tail, loss.tag, owner_id)
            owner.epoch = loss.epoch
            await owner.append(
                Repair(
                    append_id=owner.next_append_id(),
                    epoch=loss.epoch,
                    operator=operator,
                    reason=reason,
                    follows=loss.end.segment,
                    position=loss.end.position,
                    given_up=[*loss.given_up, *([loss.snapshot] if loss.snapshot else [])],
                    jump=loss.jump,
                    channels=list(channels),
                )
            )
        await owner.publish_snapshot()
    except Fenced as error:
        raise Rejected(
            "owner_at_work",
            f"partition {loss.partition} is written by an owner, whose memory is whole: let it go on until it "
            f"publishes a snapshot, and verify again ({error})",
        ) from error


async def _fence(journal: Journal, path: str, start: int, loss: Loss, owner_id: str) -> None:
    """End the ownership of whoever writes beyond the damage: its next append comes too late.

    It is a claim like any other: should that owner have published a snapshot just now, the journal is whole from
    there on.
    """
    data = await journal.read_segment(path, start) or b""
    if any(isinstance(record, Seal) for record in salvage(data)):
        return  # nobody writes there any more
    claim = Claim(f"{owner_id}-0", loss.epoch, owner_id, 0)
    await journal.append(path, start + len(data), encode(claim, last_checksum(data)))
