"""Whether a partition's journal is whole: every record, seal and snapshot of it, and what it counts."""

from typing import TYPE_CHECKING

import msgspec

from twin_actors.chain import Entry, Fault, Place, Stock, read_all, repairs, take_stock
from twin_actors.commit import Claim, Commit, Rebase, Repair, Seal
from twin_actors.journals import Journal
from twin_actors.shard import Shard
from twin_actors.snapshot import SNAPSHOT_FORMAT, segment_number, segment_path, taken

if TYPE_CHECKING:
    from twin_actors.watermark import Watermark

ENDS = frozenset(
    {
        *("messages", "resent", "dead_letters", "forwarded", "ticks", "forwards_repeated", "replays_ignored", "lost"),
        *("requests", "requests_repeated"),
    }
)
"""What is counted of an event, of each exactly one: it was folded, refused, passed on, or is lost."""


class Finding(msgspec.Struct, frozen=True):
    """Something that is not as it should be, or that an operator may wonder about.

    Attributes
    ----------
    is_fault : bool
    place : str
    what : str
    do : str
        What to do about it.
    """

    is_fault: bool
    place: str
    what: str
    do: str = ""


class Audit(msgspec.Struct):
    """What was read of a partition's journal, and found.

    Attributes
    ----------
    partition : int
    segments, bytes, records : int
    epoch : int
    watermark : int or None
    waiting_bytes : int
        Of sealed segments whose readings history has not taken.
    is_whole : bool
        Whether records were read from the very first.
    findings : list of Finding
    """

    partition: int
    segments: int
    bytes: int
    records: int = 0
    epoch: int = 0
    watermark: int | None = None
    waiting_bytes: int = 0
    is_whole: bool = False
    findings: list[Finding] = []

    @property
    def has_fault(self) -> bool:
        """Whether anything is wrong."""
        return any(finding.is_fault for finding in self.findings)

    def fault(self, place: str, what: str, do: str) -> None:
        """Note what is wrong."""
        self.findings.append(Finding(is_fault=True, place=place, what=what, do=do))

    def note(self, place: str, what: str) -> None:
        """Note what is not wrong."""
        self.findings.append(Finding(is_fault=False, place=place, what=what))


async def audit(journal: Journal, partition: int) -> Audit:
    """Read all of a partition's journal and check it.

    A fault counts only when a second look has it too: an owner may write, publish and delete meanwhile.

    Raises
    ------
    Unavailable
    """
    first = await _audit(journal, partition)
    return await _audit(journal, partition) if first.has_fault else first


async def _audit(journal: Journal, partition: int) -> Audit:
    stock = await take_stock(journal, partition)
    found = Audit(partition, len(stock.segments), sum(stock.segments.values()))
    reader = _Reader(stock, found)
    async for item in read_all(journal, stock):
        if isinstance(item, Entry):
            reader.take(item)
        else:
            reader.pass_over(item)
    reader.finish(await repairs(journal, stock, reader.others))
    found.waiting_bytes = waiting_bytes(stock, await taken(journal, partition))
    return found


def waiting_bytes(stock: Stock, in_history: int) -> int:
    """Return the bytes of sealed segments that history has not taken."""
    newest = max((segment_number(path) for path, size in stock.segments.items() if size), default=0)
    return sum(size for path, size in stock.segments.items() if in_history < segment_number(path) < newest)


class _Reader:
    """Follows a journal record by record, and keeps two shards: that of all records, and that of the snapshot."""

    def __init__(self, stock: Stock, found: Audit) -> None:
        self._stock = stock
        self._found = found
        self._visited: set[str] = set()
        self._repair = f"python -m twin_actors journal repair {stock.partition}"
        first = segment_path(stock.partition, 0, 0)
        self._replay: Shard | None = Shard(partition=stock.partition) if first in stock.segments else None
        self._restored: Shard | None = None
        self._watermark: Watermark | None = None
        found.is_whole = self._replay is not None

    def take(self, entry: Entry) -> None:
        """Check one record."""
        if not self._visited:
            self._cross(entry.at)
        self._visited.add(entry.at.segment)
        self._found.records += 1
        self._check_epoch(entry)
        self._check_balance(entry)
        for shard in (self._replay, self._restored):
            if shard is not None:
                shard.apply(entry.record)
        self._cross(entry.next)
        if isinstance(entry.record, Seal):
            self._cross(Place(entry.record.next_segment, 0, entry.next.checksum))

    def pass_over(self, fault: Fault) -> None:
        """Judge where the chain breaks."""
        self._visited.add(fault.at.segment)
        place = f"{fault.at.segment} at byte {fault.at.position}"
        if fault.is_repaired:
            self._found.note(place, "damaged, and left behind by a repair, which goes on elsewhere")
            return
        self._replay, self._watermark = None, None
        self._found.is_whole = False
        if fault.is_known:
            self._found.note(place, "damaged, and left behind by a repair")
        elif fault.resumes is not None:
            do = "copy the segment away, the owner goes on; its readings from there on are not in history"
            self._found.fault(place, f"{fault.detail}; a snapshot covers it", do)
            self._cross(fault.resumes)
        else:
            self._found.fault(place, f"{fault.detail}; no owner can restore the partition", self._repair)

    def _check_epoch(self, entry: Entry) -> None:
        record, before = entry.record, self._found.epoch
        is_newer = isinstance(record, Claim | Repair)
        if record.epoch < before or (is_newer and record.epoch == before):
            what = f"epoch {record.epoch} follows {before}: two owners wrote at once"
            self._found.fault(_name(entry.at), what, "compare what both wrote: journal show")
        if not isinstance(record, Seal):  # a claim may have to seal a segment first, and does so in its own epoch
            self._found.epoch = max(before, record.epoch)

    def _check_balance(self, entry: Entry) -> None:
        """Each event that a record passes is counted once in it."""
        record, before = entry.record, self._watermark
        if isinstance(record, Rebase):
            self._watermark = record.watermark
        if not isinstance(record, Commit) or record.watermark is None:
            return
        self._watermark = record.watermark
        if before is None:
            return
        passed = record.watermark.sequence_number - before.sequence_number
        counted = sum(count for name, count in record.counts.items() if name in ENDS)
        if passed != counted or record.watermark.hub != before.hub:
            what = f"{passed} events are passed and {counted} counted"
            if record.watermark.hub != before.hub:
                what = f"the hub changes from {before.hub} to {record.watermark.hub} without a rebase"
            self._found.fault(_name(entry.at), what, "compare the events with what was folded: journal show")

    def _cross(self, place: Place) -> None:
        """Compare where the published snapshot stands."""
        snapshot = self._stock.snapshot
        if snapshot is None or self._restored is not None:
            return
        tail = snapshot.tail
        if (place.segment, place.position) != (tail.segment, tail.position):
            return
        self._restored = msgspec.msgpack.decode(msgspec.msgpack.encode(snapshot.shard), type=Shard)
        self._visited.add(place.segment)
        if self._watermark is None:
            self._watermark = snapshot.shard.watermark
        if place.checksum is not None and place.checksum != tail.checksum:
            self._found.fault(self._stock.published, "it stands after another record than it says", self._repair)
        if snapshot.format < SNAPSHOT_FORMAT:
            self._found.note(self._stock.published, "an earlier version of the app wrote it: it is not compared")
            self._replay = None
        if self._replay is not None and not _same(self._replay, snapshot.shard):
            what = "it is not what the records before it make"
            self._found.fault(self._stock.published, what, "keep both and compare; restores begin at the snapshot")

    @property
    def others(self) -> list[str]:
        """The segments that were not read."""
        return sorted(set(self._stock.segments) - self._visited)

    def finish(self, tries: list[str]) -> None:
        """Judge what was read as a whole, and what was not read, of which some may be of repairs."""
        stock, found = self._stock, self._found
        if stock.detail:
            found.fault(stock.published, stock.detail, self._repair)
        elif stock.snapshot is not None and self._restored is None:
            what = f"it stands in {stock.snapshot.tail.segment}, where no record is"
            found.fault(stock.published, what, self._repair)
        elif not stock.published and stock.segments and self._replay is None and not found.has_fault:
            found.fault(f"manifests/{stock.partition}", "there is no snapshot, nor a first segment", self._repair)
        if self._replay is not None and self._restored is not None and not _same(self._replay, self._restored):
            found.fault("the end", "snapshot and tail are not what all records make", "keep both and compare")
        end = self._replay or self._restored
        if end is not None and end.watermark is not None:
            found.watermark = end.watermark.sequence_number
        self._list_others(tries)

    def _list_others(self, tries: list[str]) -> None:
        stock, found = self._stock, self._found
        for path in self.others:
            if path in stock.given_up:
                found.note(path, "left behind by a repair, kept for whoever wants to look")
            elif path in tries:
                found.note(path, "of a repair that was not published")
            elif not stock.segments[path]:
                found.note(path, "empty: made for a seal that was not written; the owner deletes it after a snapshot")
            elif not found.has_fault:
                found.fault(path, "it has records, and no seal leads to it", "keep it: two wrote, or a seal is gone")
            else:
                found.note(path, "not reached")
        for path in stock.snapshots:
            if path != stock.published and path not in stock.given_up:
                found.note(path, "not published, or superseded; the owner deletes it after a snapshot")


def _same(one: Shard, other: Shard) -> bool:
    return msgspec.msgpack.encode(one) == msgspec.msgpack.encode(other)


def _name(place: Place) -> str:
    return f"{place.segment} at byte {place.position}"
