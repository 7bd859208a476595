"""One writer: restore a partition, claim it, and append to its journal until fenced.

The journal of a partition is a chain of segments. Restore begins at the newest published snapshot
and follows records and seals to the end. A claim is an append like any other: whoever appends
at the end of the chain owns the partition, and everybody else's next append fails.
"""

import msgspec

from twin_actors.clock import Clock
from twin_actors.commit import MAX_FRAME_BYTES, Claim, Record, Seal, checksum, decode, encode
from twin_actors.errors import Fenced, PartitionStopped, Unanswered, Unavailable
from twin_actors.journals import ABSENT, Journal
from twin_actors.shard import Shard


class Limits(msgspec.Struct, frozen=True):
    """How large the parts of a journal grow.

    Attributes
    ----------
    segment_bytes, segment_records : int
        After which a segment is sealed; well before the 50,000 blocks that an append blob takes.
    frame_bytes : int
        Of one record.
    snapshot_bytes : int
        Of journal that a restore may have to read beyond the snapshot.
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


class Tail(msgspec.Struct, kw_only=True):
    """The end of a journal: where the next record goes."""

    segment: str
    position: int = 0
    checksum: int = 0
    records: int = 0
    since_snapshot: int = 0
    """Bytes of records that a restore reads beyond the snapshot."""


class Snapshot(msgspec.Struct, frozen=True):
    """A shard as it was at some place in its journal."""

    format: int
    shard: Shard
    tail: Tail


SNAPSHOT_FORMAT = 2
"""Rises together with that of records; every lower one is read."""

_snapshot_decoder = msgspec.msgpack.Decoder(Snapshot)


def segment_path(partition: int, number: int, epoch: int) -> str:
    """Return the name of a segment: no two owners ever make the same one."""
    return f"segments/{partition}/{number:08d}-{epoch:08d}"


def manifest_path(partition: int) -> str:
    """Return the name of the object that names the newest snapshot."""
    return f"manifests/{partition}"


class RecordTooLarge(Exception):
    """A record would not fit one append."""


class _Missing(Unavailable):
    """What the manifest or a seal names is not there: it may just have been superseded."""


async def restore(journal: Journal, partition: int) -> tuple[Shard, Tail, str]:
    """Read a shard from its snapshot and journal; write nothing.

    Returns
    -------
    Shard
    Tail
    str
        The tag of the manifest, `ABSENT` where there is none.

    Raises
    ------
    Unavailable
    PartitionStopped
        The journal is damaged or incomplete.
    """
    for attempt in range(3):
        has_manifest = True
        try:
            shard, tail, tag = await _from_snapshot(journal, partition)
            has_manifest = tag != ABSENT
            await follow(journal, shard, tail)
        except _Missing as missing:
            if attempt == 0:
                continue  # its owner may have published a snapshot and deleted what it replaces meanwhile
            if not has_manifest:
                if not await journal.names(f"segments/{partition}/"):
                    return shard, tail, tag  # nobody has ever written here
                if attempt == 1:
                    continue  # its first owner may have made the first segment since we looked for it
            raise PartitionStopped(f"partition {partition}: {missing} is missing") from None
        return shard, tail, tag
    raise AssertionError("unreachable")


async def _from_snapshot(journal: Journal, partition: int) -> tuple[Shard, Tail, str]:
    manifest = await journal.read(manifest_path(partition))
    if manifest is None:
        return Shard(partition=partition), Tail(segment=segment_path(partition, 0, 0)), ABSENT
    name = manifest.data.decode()
    stored = await journal.read(name)
    if stored is None:
        raise _Missing(f"snapshot {name}, which the manifest names,")
    try:
        snapshot = _snapshot_decoder.decode(stored.data)
    except msgspec.DecodeError as error:
        raise PartitionStopped(f"partition {partition}: snapshot {name} cannot be read: {error}") from error
    if not 1 <= snapshot.format <= SNAPSHOT_FORMAT:
        raise PartitionStopped(
            f"partition {partition}: snapshot {name} has format {snapshot.format}, this app reads {SNAPSHOT_FORMAT} at "
            "most: deploy the version of the app that wrote it"
        )
    return snapshot.shard, snapshot.tail, manifest.etag


async def follow(journal: Journal, shard: Shard, tail: Tail) -> None:
    """Apply what stands in the journal beyond `tail`, and move it to the end."""
    while True:
        data = await journal.read_segment(tail.segment, tail.position)
        if data is None:
            raise _Missing(f"segment {tail.segment}")
        start = tail.position
        tail.since_snapshot += len(data)
        sealed_by: Seal | None = None
        for record, end, sum_ in decode(data, tail.checksum, tail.segment):
            if sealed_by is not None:
                raise PartitionStopped(f"{tail.segment}: a record follows the seal")
            shard.apply(record)
            tail.position, tail.checksum = start + end, sum_
            tail.records += 1
            if isinstance(record, Seal):
                sealed_by = record
        if sealed_by is None:
            return
        tail.segment, tail.position, tail.records = sealed_by.next_segment, 0, 0


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

        Raises
        ------
        Unavailable
        PartitionStopped
        Fenced
            Others keep claiming it.
        """
        shard, tail, tag = restored
        if tail.position == 0 and tag == ABSENT and tail.segment == segment_path(shard.partition, 0, 0):
            await journal.create_segment(tail.segment)
        for _ in range(CLAIM_ATTEMPTS):
            owner = cls(journal, clock, shard, tail, tag, owner_id, limits)
            owner.epoch = shard.epoch + 1
            try:
                await owner.append(Claim(owner.next_append_id(), owner.epoch, owner_id, fenced))
            except Fenced:
                await follow(journal, shard, tail)
                continue
            return owner
        raise Fenced(f"partition {shard.partition}: {CLAIM_ATTEMPTS} claims lost against other owners")

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
        return self._tail.since_snapshot >= self._limits.snapshot_bytes

    async def is_current(self) -> bool:
        """Whether nobody else has written since: the last record appended is the last there is."""
        return await self._journal.read_segment(self._tail.segment, self._tail.position) == b""

    async def append(self, record: Record) -> None:
        """Append a record, and apply it once it stands.

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
        await self._append(record)

    async def _append(self, record: Record) -> None:
        tail = self._tail
        frame = encode(record, tail.checksum)
        if len(frame) > self._limits.frame_bytes:
            raise RecordTooLarge(f"{len(frame)} bytes, at most {self._limits.frame_bytes} fit one append")
        asked_at = self._clock.elapsed()
        await self._write(frame)
        # Storage may have taken it long before we hear of it: a process can be paused in between.
        self._last_confirmed = asked_at
        tail.position += len(frame)
        tail.checksum = checksum(frame)
        tail.records += 1
        tail.since_snapshot += len(frame)
        self.shard.apply(record)

    async def _write(self, frame: bytes) -> None:
        """Send the same bytes to the same place until it is known whether they stand there."""
        tail = self._tail
        is_unknown = False
        for attempt in range(REISSUES + 1):
            try:
                await self._journal.append(tail.segment, tail.position, frame)
            except Unanswered:
                is_unknown = True
                await self._clock.sleep(0.1 * 2**attempt)
            except Fenced:
                if is_unknown and await self._stands(frame):
                    return
                raise
            else:
                return
        raise Unavailable(f"{tail.segment}: {REISSUES + 1} appends at byte {tail.position} were not answered")

    async def _stands(self, frame: bytes) -> bool:
        written = await self._journal.read_segment(self._tail.segment, self._tail.position)
        return written is not None and written[: len(frame)] == frame

    async def _roll(self) -> None:
        """Seal the segment and go on in a new one."""
        number = int(self._tail.segment.rsplit("/", 1)[1].split("-")[0]) + 1
        next_segment = segment_path(self.shard.partition, number, self.epoch)
        await self._journal.create_segment(next_segment)
        await self._append(Seal(self.next_append_id(), self.epoch, next_segment))
        self._tail.segment, self._tail.position, self._tail.records = next_segment, 0, 0

    async def publish_snapshot(self) -> None:
        """Write the shard as it is, and make restores begin there.

        Raises
        ------
        Fenced
            Another owner has published one.
        Unavailable
        """
        name = f"snapshots/{self.shard.partition}/{self.epoch:08d}-{self._owner_id}-{self._appends:08d}"
        tail = msgspec.structs.replace(self._tail, since_snapshot=0)
        data = msgspec.msgpack.encode(Snapshot(SNAPSHOT_FORMAT, self.shard, tail))
        superseded = await self._journal.read(manifest_path(self.shard.partition))
        await self._journal.write(name, data)
        self._manifest_tag = await self._publish(name)
        self._tail.since_snapshot = 0
        if superseded is not None and superseded.data.decode() != name:
            await self._journal.delete(superseded.data.decode())

    async def _publish(self, name: str) -> str:
        path = manifest_path(self.shard.partition)
        try:
            return await self._journal.write(path, name.encode(), self._manifest_tag)
        except Unanswered:
            published = await self._journal.read(path)
            if published is not None and published.data == name.encode():
                return published.etag
            raise
