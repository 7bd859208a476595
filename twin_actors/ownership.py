"""One writer: claim a partition, append to its journal until fenced, publish snapshots.

A claim is an append like any other: whoever appends at the end of the chain owns the partition, and everybody else's
next append fails.
"""

from collections.abc import Callable, Mapping

import msgspec

from twin_actors.clock import Clock
from twin_actors.commit import HEADER_BYTES, MAX_FRAME_BYTES, Claim, Intent, Record, Seal, checksum, framed, payload_of
from twin_actors.errors import Fenced, Unanswered, Unavailable
from twin_actors.journals import ABSENT, Journal
from twin_actors.shard import Shard
from twin_actors.snapshot import (
    Tail,
    clear,
    encode_snapshot,
    follow,
    manifest_path,
    segment_number,
    segment_path,
    snapshot_path,
)
from twin_actors.wide import Statistics


class Limits(msgspec.Struct, frozen=True):
    """How large the parts of a journal grow.

    Attributes
    ----------
    segment_bytes, segment_records : int
        After which a segment is sealed; well before the 50,000 blocks that an append blob takes.
    frame_bytes : int
        Of one record.
    snapshot_bytes : int
        Of journal that a restore may have to read beyond the snapshot; about as many as it has where it is larger.
    """

    segment_bytes: int = 256 * 1024 * 1024
    segment_records: int = 40_000
    frame_bytes: int = MAX_FRAME_BYTES
    snapshot_bytes: int = 8 * 1024 * 1024


LIMITS = Limits()

REISSUES = 4
"""How often an unanswered append is sent again before the partition waits for better times."""

CLAIM_ATTEMPTS = 20
"""How often a claim may lose against appends of the owner before it."""


class RecordTooLarge(Exception):
    """A record would not fit one append."""


class Owner:
    """The right to append to one partition's journal, until somebody else takes it.

    Parameters
    ----------
    journal, clock
    shard
        Restored; every record appended here is applied to it.
    tail
        The end of the journal as read.
    manifest_tag
        Of the manifest as read.
    owner_id
        Unique to this activation.
    limits

    Attributes
    ----------
    shard : Shard
    epoch : int
    is_in_doubt : bool
        Whether an append was not answered once: what stands there may be ours, whatever was said later.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        shard: Shard,
        tail: Tail,
        manifest_tag: str,
        owner_id: str,
        limits: Limits = LIMITS,
    ) -> None:
        self.shard = shard
        self.epoch = shard.epoch
        self.is_in_doubt = False
        self._journal = journal
        self._clock = clock
        self._tail = tail
        self._manifest_tag = manifest_tag
        self._owner_id = owner_id
        self._limits = limits
        self._appends = 0
        self._last_confirmed = clock.elapsed()

    @classmethod
    async def claim(
        cls,
        journal: Journal,
        clock: Clock,
        restored: tuple[Shard, Tail, str],
        owner_id: str,
        fenced: int = 0,
        limits: Limits = LIMITS,
        check: Callable[[Shard], None] = lambda _shard: None,
        tried: set[int] | None = None,
    ) -> "Owner":
        """Become the owner of a partition.

        Parameters
        ----------
        journal, clock
        restored
            What `restore` returned.
        owner_id
            Unique to this activation.
        fenced
            How often this worker was fenced on this partition since its last claim.
        limits
        check
            Raises where the shard, as it is just before the claim, is none that this app may go on with.
        tried
            Epochs that this process has tried to claim it with, successfully or not; this one is added before it is
            known to stand, and taken out if it is another's. None of them died.

        Raises
        ------
        Unavailable
        PartitionStopped
        Fenced
            Others keep claiming it.
        """
        shard, tail, tag = restored
        tried = set() if tried is None else tried
        check(shard)
        if tail.position == 0 and tag == ABSENT and tail.segment == segment_path(shard.partition, 0, 0):
            await journal.create_segment(tail.segment)
        for _ in range(CLAIM_ATTEMPTS):
            owner = cls(journal, clock, shard, tail, tag, owner_id, limits)
            owner.epoch = shard.epoch + 1
            survived, is_first_try = shard.caution.lived(tried), owner.epoch not in tried
            tried.add(owner.epoch)
            try:
                await owner.append(Claim(owner.next_append_id(), owner.epoch, owner_id, fenced, survived))
            except Fenced:
                if is_first_try and not owner.is_in_doubt:
                    tried.remove(owner.epoch)  # somebody else's, who may die of it
                await follow(journal, shard, tail)
                check(shard)
                continue
            return owner
        raise Fenced(f"partition {shard.partition}: {CLAIM_ATTEMPTS} claims lost against other owners")

    async def intend(self, subject: int | str) -> None:
        """Say which event, or which twin of a sweep, is tried next.

        Raises
        ------
        Fenced, Unavailable
        """
        attempt = self.shard.caution.attempts(subject) + 1
        await self.append(Intent(self.next_append_id(), self.epoch, subject, attempt))

    def next_append_id(self) -> str:
        """Return an id for the next record."""
        self._appends += 1
        return f"{self._owner_id}-{self._appends}"

    @property
    def seconds_since_confirmed(self) -> float:
        """How long ago the last append was confirmed."""
        return self._clock.elapsed() - self._last_confirmed

    @property
    def is_snapshot_due(self) -> bool:
        """Whether a restore would have to read much beyond the snapshot."""
        # One with the statistics of wide twins is large, and must not be written more often than it is read for.
        large = self._tail.snapshot_bytes - self._limits.frame_bytes
        return self._tail.since_snapshot >= max(self._limits.snapshot_bytes, large)

    async def is_current(self) -> bool:
        """Whether nobody else has written since: the last record appended is the last there is."""
        return await self._journal.read_segment(self._tail.segment, self._tail.position) == b""

    async def append(self, record: Record, statistics: Mapping[str, Statistics] | None = None) -> None:
        """Append a record, and apply it once it stands, with the statistics that its frames lead to.

        Raises
        ------
        Fenced
            Another owner has written.
        RecordTooLarge
            Nothing was written.
        Unavailable
            Storage does not answer; whether the record stands is not known, so this owner must be
            given up.
        """
        if self._tail.position >= self._limits.segment_bytes or self._tail.records >= self._limits.segment_records:
            await self._roll()
        await self._append(record, statistics)

    async def _append(self, record: Record, statistics: Mapping[str, Statistics] | None = None) -> None:
        tail = self._tail
        payload = payload_of(record)
        if len(payload) + HEADER_BYTES > self._limits.frame_bytes:
            raise RecordTooLarge(f"{len(payload)} bytes, at most {self._limits.frame_bytes} fit one append")
        frame = framed(record, payload, tail.checksum)
        asked_at = self._clock.elapsed()
        await self._write(frame)
        # Storage may have taken it long before we hear of it: a process can be paused in between.
        self._last_confirmed = asked_at
        tail.position += len(frame)
        tail.checksum = checksum(frame)
        tail.records += 1
        tail.since_snapshot += len(frame)
        self.shard.apply(record, statistics)

    async def _write(self, frame: bytes) -> None:
        """Send the same bytes to the same place until it is known whether they stand there."""
        tail = self._tail
        is_unknown = False
        for attempt in range(REISSUES + 1):
            try:
                await self._journal.append(tail.segment, tail.position, frame)
            except Unanswered:
                is_unknown = self.is_in_doubt = True
                await self._clock.sleep(0.1 * 2**attempt)
            except Fenced:
                if is_unknown and await self._stands(frame):
                    return
                raise
            else:
                return
        raise Unavailable(f"{tail.segment}: {REISSUES + 1} appends at byte {tail.position} were not answered")

    async def _stands(self, frame: bytes) -> bool:
        """Whether the frame stands there as the last: what anybody wrote behind it means that we are replaced."""
        return await self._journal.read_segment(self._tail.segment, self._tail.position) == frame

    async def _roll(self) -> None:
        """Seal the segment and go on in a new one."""
        next_segment = segment_path(self.shard.partition, segment_number(self._tail.segment) + 1, self.epoch)
        await self._journal.create_segment(next_segment)
        await self._append(Seal(self.next_append_id(), self.epoch, next_segment))
        self._tail.segment, self._tail.position, self._tail.records = next_segment, 0, 0

    async def publish_snapshot(self) -> None:
        """Write the shard as it is, make restores begin there, and delete what nobody needs any more.

        Raises
        ------
        Fenced
            Another owner has published one.
        Unavailable
        """
        name = snapshot_path(self.shard.partition, self.epoch, f"{self._owner_id}-{self._appends:08d}")
        tail = msgspec.structs.replace(self._tail, since_snapshot=0)
        data = encode_snapshot(self.shard, tail)
        await self._journal.write(name, data)
        self._manifest_tag = await self._publish(name)
        self._tail.since_snapshot, self._tail.snapshot_bytes = 0, len(data)
        await clear(self._journal, self.shard, tail, name)

    async def _publish(self, name: str) -> str:
        path = manifest_path(self.shard.partition)
        try:
            return await self._journal.write(path, name.encode(), self._manifest_tag)
        except Unanswered:
            published = await self._journal.read(path)
            if published is not None and published.data == name.encode():
                return published.etag
            raise
