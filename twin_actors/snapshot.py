"""A partition in storage: segments, snapshots, the manifest; and how a shard is read from them.

The journal of a partition is a chain of segments. A snapshot is the whole shard at some place of the chain; the
manifest names the newest. A restore begins there and follows records and seals to the end.

================================  ============================================================================
segments/PARTITION/NUMBER-EPOCH   records; numbers rise along the chain, the epoch is that of its maker
snapshots/PARTITION/EPOCH-ID      a shard and its place in the chain
manifests/PARTITION               the name of the newest snapshot
history/PARTITION                 the name of the last segment whose readings history has taken over
================================  ============================================================================

A segment is deleted when a published snapshot covers it and history has taken it, the oldest first: a crash leaves
garbage at worst, never a hole. What a repair gave up stays.
"""

import msgspec

from twin_actors.commit import NotUnderstood, Seal, compress, decode, decompress
from twin_actors.errors import PartitionStopped, Unavailable
from twin_actors.journals import ABSENT, Journal
from twin_actors.shard import Shard


class Tail(msgspec.Struct, kw_only=True):
    """The end of a journal: where the next record goes."""

    segment: str
    position: int = 0
    checksum: int = 0
    records: int = 0
    since_snapshot: int = 0
    """Bytes of records that a restore reads beyond the snapshot."""
    snapshot_bytes: int = 0
    """Of the snapshot itself."""


class Snapshot(msgspec.Struct, frozen=True):
    """A shard as it was at some place in its journal."""

    format: int
    shard: Shard
    tail: Tail


SNAPSHOT_FORMAT = 3
"""Rises together with that of records; every lower one is read."""

MOST_BYTES = 2**31
"""Of a snapshot: more than the memory of a Functions instance."""

_snapshot_decoder = msgspec.msgpack.Decoder(Snapshot)


def segment_path(partition: int, number: int, epoch: int) -> str:
    """Return the name of a segment: no two owners ever make the same one."""
    return f"segments/{partition}/{number:08d}-{epoch:08d}"


def manifest_path(partition: int) -> str:
    """Return the name of the object that names the newest snapshot."""
    return f"manifests/{partition}"


def segment_number(path: str) -> int:
    """Return where in the chain a segment stands."""
    return int(path.rsplit("/", 1)[1].partition("-")[0])


def snapshot_path(partition: int, epoch: int, name: str) -> str:
    """Return the name of a snapshot, which says by whom it is."""
    return f"snapshots/{partition}/{epoch:08d}-{name}"


def snapshot_epoch(path: str) -> int:
    """Return the epoch of the owner who wrote a snapshot."""
    return int(path.rsplit("/", 1)[1].partition("-")[0])


def history_path(partition: int) -> str:
    """Return the name of the object that names the last segment whose readings are in history."""
    return f"history/{partition}"


async def partitions(journal: Journal) -> list[int]:
    """Return the partitions that have a journal.

    Raises
    ------
    Unavailable
    """
    return sorted({int(path.split("/")[1]) for path in await journal.names("segments/")})


def encode_snapshot(shard: Shard, tail: Tail) -> bytes:
    """Return the bytes of a shard at a place in its journal."""
    data = msgspec.msgpack.encode(Snapshot(SNAPSHOT_FORMAT, shard, tail))
    return data if shard.statistics else compress(data)  # those of thousands of sensors are noise to a compressor


MOST_LOOKS = 8
"""How often what was looked for may be gone, each time something else, before the partition is read another time."""


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
    looks: list[str] = []
    for _ in range(MOST_LOOKS):
        is_new = False
        try:
            shard, tail, tag = await _from_snapshot(journal, partition)
            is_new = tag == ABSENT
            await follow(journal, shard, tail)
        except _Missing as missing:
            looks.append(str(missing))
            if looks.count(looks[-1]) == 1:
                continue  # its owner may have published a snapshot and deleted what it replaces meanwhile
            if is_new:
                if not await journal.names(f"segments/{partition}/"):
                    return shard, tail, tag  # nobody has ever written here
                if looks.count(looks[-1]) == 2:
                    continue  # its first owner may have made the first segment since we looked for it
            raise PartitionStopped(f"partition {partition}: {missing} is missing") from None
        return shard, tail, tag
    raise Unavailable(f"partition {partition}: its snapshots are replaced faster than they are read")


async def _from_snapshot(journal: Journal, partition: int) -> tuple[Shard, Tail, str]:
    manifest = await journal.read(manifest_path(partition))
    if manifest is None:
        return Shard(partition=partition), Tail(segment=segment_path(partition, 0, 0)), ABSENT
    name = manifest.data.decode()
    stored = await journal.read(name)
    if stored is None:
        raise _Missing(f"snapshot {name}, which the manifest names,")
    snapshot = decode_snapshot(stored.data, name)
    snapshot.tail.snapshot_bytes = len(stored.data)
    return snapshot.shard, snapshot.tail, manifest.etag


def decode_snapshot(data: bytes, name: str) -> Snapshot:
    """Read a snapshot.

    Raises
    ------
    PartitionStopped
    """
    try:
        snapshot = _snapshot_decoder.decode(decompress(data, MOST_BYTES))
    except (msgspec.DecodeError, ValueError) as error:
        raise PartitionStopped(f"snapshot {name} cannot be read: {error}") from error
    if not 1 <= snapshot.format <= SNAPSHOT_FORMAT:
        raise NotUnderstood(
            f"snapshot {name} has format {snapshot.format}, this app reads {SNAPSHOT_FORMAT} at most: deploy the "
            "version of the app that wrote it"
        )
    return snapshot


async def follow(journal: Journal, shard: Shard, tail: Tail) -> None:
    """Apply what stands in the journal beyond `tail`, and move it to the end."""
    while True:
        data = await journal.read_segment(tail.segment, tail.position)
        if data is None:
            raise _Missing(f"segment {tail.segment}")
        start = tail.position
        tail.since_snapshot += len(data)
        sealed_by: Seal | None = None
        for record, end, sum_ in decode(data, tail.checksum, tail.segment, start):
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


async def taken(journal: Journal, partition: int) -> int:
    """Return the number of the last segment whose readings are in history, -1 where none are.

    Raises
    ------
    Unavailable
    """
    stored = await journal.read(history_path(partition))
    return -1 if stored is None else segment_number(stored.data.decode())


async def clear(journal: Journal, shard: Shard, tail: Tail, snapshot: str) -> None:
    """Delete what nobody needs once a snapshot is published.

    That is safe for a late owner too: what it deletes, no owner after it ever names.

    Parameters
    ----------
    journal, shard
    tail
        Where the snapshot stands in the chain.
    snapshot
        Its name.

    Raises
    ------
    Unavailable
        What is left is deleted after the next snapshot.
    """
    partition, epoch = shard.partition, snapshot_epoch(snapshot)
    for name in await journal.names(f"snapshots/{partition}/"):
        # A later owner may just have written one that its manifest will name.
        if name != snapshot and snapshot_epoch(name) <= epoch and name not in shard.given_up:
            await journal.delete(name)
    here = segment_number(tail.segment)
    if here == 0:
        return
    in_history = await taken(journal, partition)
    sizes = await journal.sizes(f"segments/{partition}/")
    for segment in sorted(sizes):
        number = segment_number(segment)
        # One without a record was made for a seal that another owner forestalled.
        is_done = number <= in_history or not sizes[segment]
        if number < here and is_done and segment not in shard.given_up:
            await journal.delete(segment)
