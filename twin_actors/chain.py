"""A partition's journal from its oldest record on, past damage too: what operators look at.

A restore stops at the first fault. Here a fault is an item like a record, and reading goes on wherever there is
something beyond it: at the record by which a repair continued, or at the newest snapshot.
"""

from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from twin_actors.commit import NotUnderstood, Record, Repair, Seal, decode
from twin_actors.errors import PartitionStopped
from twin_actors.journals import Journal
from twin_actors.snapshot import Snapshot, decode_snapshot, manifest_path, segment_number, segment_path


class Place(msgspec.Struct, frozen=True):
    """Where a record begins.

    Attributes
    ----------
    segment : str
    position : int
    checksum : int or None
        Of the record before, None where that is not known.
    """

    segment: str
    position: int = 0
    checksum: int | None = None


class Entry(msgspec.Struct, frozen=True):
    """A record, where it stands, and where the next one does."""

    record: Record
    at: Place
    next: Place


class Fault(msgspec.Struct, frozen=True):
    """Where the chain breaks.

    Attributes
    ----------
    at : Place
        Where the next record ought to be.
    detail : str
    resumes : Place or None
        Where reading goes on.
    is_foreign : bool
        Whether a record is whole, and of another version of the app.
    is_repaired : bool
        Whether the next record says that it continues from here.
    is_known : bool
        Whether a repair has given this segment up.
    """

    at: Place
    detail: str
    resumes: Place | None = None
    is_foreign: bool = False
    is_repaired: bool = False
    is_known: bool = False


class Stock(msgspec.Struct, frozen=True):
    """What storage has of a partition.

    Attributes
    ----------
    partition : int
    segments : Mapping
        Path → bytes.
    snapshots : list of str
    published : str
        The snapshot that the manifest names, empty where there is no manifest.
    tag : str
        Of the manifest.
    snapshot : Snapshot or None
        The published one, where it can be read.
    detail : str
        Why it cannot.
    is_foreign : bool
        Whether another version of the app can.
    """

    partition: int
    segments: Mapping[str, int]
    snapshots: list[str]
    published: str = ""
    tag: str = ""
    snapshot: Snapshot | None = None
    detail: str = ""
    is_foreign: bool = False

    @property
    def given_up(self) -> list[str]:
        """What repairs left behind."""
        return [] if self.snapshot is None else self.snapshot.shard.given_up


async def take_stock(journal: Journal, partition: int) -> Stock:
    """Return what storage has of a partition.

    Raises
    ------
    Unavailable
    """
    manifest = await journal.read(manifest_path(partition))
    stock = Stock(
        partition, await journal.sizes(f"segments/{partition}/"), await journal.names(f"snapshots/{partition}/")
    )
    if manifest is None:
        return stock
    name = manifest.data.decode(errors="replace")
    stock = msgspec.structs.replace(stock, published=name, tag=manifest.etag)
    stored = await journal.read(name)
    if stored is None:
        return msgspec.structs.replace(stock, detail=f"snapshot {name}, which the manifest names, is missing")
    try:
        return msgspec.structs.replace(stock, snapshot=decode_snapshot(stored.data, name))
    except PartitionStopped as error:
        return msgspec.structs.replace(stock, detail=str(error), is_foreign=isinstance(error, NotUnderstood))


async def read_all(journal: Journal, stock: Stock) -> AsyncIterator[Entry | Fault]:
    """Read every record that there is, from the oldest segment on.

    Raises
    ------
    Unavailable
    """
    place: Place | None = _beginning(stock, "")
    while place is not None:
        fault: Fault | None = None
        async for item in read(journal, place):
            if isinstance(item, Entry):
                yield item
            else:
                fault = await _beyond(journal, stock, item)
                yield fault
        place = None if fault is None else fault.resumes


async def read(journal: Journal, place: Place) -> AsyncIterator[Entry | Fault]:
    """Read records from a place on; a fault, where there is one, comes last.

    Raises
    ------
    Unavailable
    """
    while True:
        data = await journal.read_segment(place.segment, place.position)
        if data is None:
            yield Fault(place, f"segment {place.segment} is missing")
            return
        start, seal = place.position, None
        try:
            for record, end, checksum in decode(data, place.checksum, place.segment, start):
                if seal is not None:
                    yield Fault(place, f"{place.segment}: a record follows the seal")
                    return
                entry = Entry(record, place, Place(place.segment, start + end, checksum))
                yield entry
                place = entry.next
                seal = record if isinstance(record, Seal) else None
        except PartitionStopped as error:
            yield Fault(place, str(error), is_foreign=isinstance(error, NotUnderstood))
            return
        if seal is None:
            return
        place = Place(seal.next_segment, 0, place.checksum)


def _beginning(stock: Stock, after: str) -> Place | None:
    """Return where the oldest records are; those of a repaired chain may stand before segments that are deleted."""
    written = [path for path in sorted(stock.segments) if stock.segments[path] and path > after]
    first = segment_path(stock.partition, 0, 0)
    path = next((path for path in written if path == first or path not in stock.given_up), None)
    return None if path is None else Place(path, 0, 0 if path == first else None)


async def _beyond(journal: Journal, stock: Stock, fault: Fault) -> Fault:
    """Find where reading goes on behind a fault."""
    follower = await _repair_of(journal, stock, fault.at)
    if follower is not None:
        return msgspec.structs.replace(fault, resumes=follower, is_repaired=True)
    if fault.at.segment in stock.given_up:
        return msgspec.structs.replace(fault, resumes=_beginning(stock, fault.at.segment), is_known=True)
    tail = None if stock.snapshot is None else stock.snapshot.tail
    if tail is not None and (tail.segment, tail.position) > (fault.at.segment, fault.at.position):
        return msgspec.structs.replace(fault, resumes=Place(tail.segment, tail.position, tail.checksum))
    return fault


async def _repair_of(journal: Journal, stock: Stock, place: Place) -> Place | None:
    """Return where a repair let the journal go on from a place: what it published stands there, or later."""
    found: list[Place] = []
    for path in sorted(stock.segments):
        if segment_number(path) > segment_number(place.segment) and stock.segments[path]:
            begin = Place(path, 0, place.checksum)
            repair = await _repair_in(journal, begin)
            if repair is not None and (repair.follows, repair.position) == (place.segment, place.position):
                found.append(begin)
    for begin in found:
        if stock.snapshot is None or await _leads_to(journal, begin, stock.snapshot.tail.segment):
            return begin
    return None


async def repairs(journal: Journal, stock: Stock, segments: Sequence[str]) -> list[str]:
    """Return those of some segments that repairs began.

    Raises
    ------
    Unavailable
    """
    return [path for path in segments if stock.segments[path] and await _repair_in(journal, Place(path)) is not None]


async def _repair_in(journal: Journal, begin: Place) -> Repair | None:
    """Return the repair by which a segment begins."""
    async for item in read(journal, begin):
        return item.record if isinstance(item, Entry) and isinstance(item.record, Repair) else None
    return None


async def _leads_to(journal: Journal, place: Place, segment: str) -> bool:
    async for item in read(journal, place):
        record = item.record if isinstance(item, Entry) else None
        if segment == (record.next_segment if isinstance(record, Seal) else item.at.segment):
            return True
    return False
