"""What is deleted once a snapshot is published, and what never is."""

from collections.abc import Awaitable, Callable

import pytest

from tests.twin_actors.test_ownership import Journal, commit, own
from tests.twin_actors.world import same
from twin_actors.errors import Unavailable
from twin_actors.ownership import Limits, Owner
from twin_actors.shard import Shard
from twin_actors.snapshot import Tail, clear, encode_snapshot, history_path, restore, segment_path, snapshot_path

LIMITS = Limits(segment_records=2)


async def rolled(journal: Journal, records: int = 9) -> Owner:
    """Return an owner some segments on: with the claim, two records to a segment and a seal."""
    owner = await own(journal, "a", LIMITS)
    for number in range(records):
        await owner.append(commit(owner, number))
    return owner


async def segments(journal: Journal) -> list[int]:
    """Return the numbers of the segments that are there."""
    return [int(path.rsplit("/", 1)[1].split("-")[0]) for path in await journal.names("segments/0/")]


async def take(journal: Journal, number: int) -> None:
    """Let history have taken the readings up to a segment."""
    path = next(path for path in await journal.names("segments/0/") if f"/{number:08d}-" in path)
    await journal.write(history_path(0), path.encode())


async def test_no_segment_goes_before_history_has_taken_it() -> None:
    """However many snapshots cover it."""
    journal = Journal()
    owner = await rolled(journal)
    before = await segments(journal)
    assert len(before) >= 4
    await owner.publish_snapshot()
    await owner.publish_snapshot()
    assert await segments(journal) == before
    assert same((await restore(journal, 0))[0], owner.shard)


async def test_a_segment_goes_when_it_is_covered_and_taken() -> None:
    """Those that history has, the rest stays; the one that is written never goes."""
    journal = Journal()
    owner = await rolled(journal)
    before = await segments(journal)
    await take(journal, 1)
    assert await segments(journal) == before
    await owner.publish_snapshot()
    assert await segments(journal) == before[2:]
    await take(journal, before[-1])
    await owner.publish_snapshot()
    assert await segments(journal) == before[-1:]
    await owner.append(commit(owner, 10))
    assert same((await restore(journal, 0))[0], owner.shard)


async def test_what_is_taken_but_not_covered_stays() -> None:
    """Sealed after the snapshot: a restore still needs it."""
    journal = Journal()
    owner = await rolled(journal, 1)
    await owner.publish_snapshot()
    for number in range(1, 9):
        await owner.append(commit(owner, number))
    before = await segments(journal)
    await take(journal, before[-2])
    published = Tail(segment=segment_path(0, 0, 0))
    await clear(journal, owner.shard, published, snapshot_path(0, 1, "a-00000002"))
    assert await segments(journal) == before
    assert same((await restore(journal, 0))[0], owner.shard)


def dying(journal: Journal, spared: int) -> Callable[[str], Awaitable[None]]:
    """Return a deletion after so many of which its owner is dead."""
    delete, left = journal.delete, iter(range(spared))

    async def die(path: str) -> None:
        if next(left, None) is None:
            raise Unavailable("killed")
        await delete(path)

    return die


async def test_a_crash_at_any_deletion_leaves_no_hole() -> None:
    """The oldest goes first; what is left goes after the next snapshot."""
    for spared in range(8):
        journal = Journal()
        owner = await rolled(journal)
        await owner.publish_snapshot()
        await owner.append(commit(owner, 9))
        before = await segments(journal)
        await take(journal, before[-1])
        journal.delete = dying(journal, spared)
        try:
            await owner.publish_snapshot()
        except Unavailable:
            pass
        else:
            assert spared > len(before) - 1
        del journal.delete
        kept = await segments(journal)
        assert kept == before[len(before) - len(kept) :]
        assert same((await restore(journal, 0))[0], owner.shard)
        successor = await own(journal, "b", LIMITS)
        await successor.publish_snapshot()
        assert await segments(journal) == before[-1:]
        assert len(await journal.names("snapshots/0/")) == 1
        assert same((await restore(journal, 0))[0], successor.shard)


async def test_a_late_owner_deletes_nothing_that_a_newer_one_may_name() -> None:
    """It published, was paused, and wakes when its successor has written a snapshot that no manifest names yet."""
    journal = Journal()
    late = await rolled(journal)
    await late.publish_snapshot()
    (published,) = await journal.names("snapshots/0/")
    newer = await own(journal, "b", LIMITS)
    written = snapshot_path(0, newer.epoch, "b-00000001")
    await journal.write(written, encode_snapshot(newer.shard, newer._tail))
    await clear(journal, late.shard, late._tail, published)
    assert await journal.names("snapshots/0/") == [published, written]


async def test_a_snapshot_that_was_never_published_goes() -> None:
    """Its owner died between writing it and naming it."""
    journal = Journal()
    dead = await rolled(journal)
    await journal.write(snapshot_path(0, dead.epoch, "a-00000009"), encode_snapshot(dead.shard, dead._tail))
    owner = await own(journal, "b", LIMITS)
    await owner.publish_snapshot()
    assert len(await journal.names("snapshots/0/")) == 1
    assert same((await restore(journal, 0))[0], owner.shard)


async def test_a_segment_that_no_seal_names_goes() -> None:
    """Its maker was fenced before it sealed the one before; what it might follow is long sealed by another."""
    journal = Journal()
    owner = await rolled(journal)
    orphan, coming = segment_path(0, 1, 77), segment_path(0, (await segments(journal))[-1] + 1, 1)
    await journal.create_segment(orphan)
    await journal.create_segment(coming)
    await owner.publish_snapshot()
    assert orphan in journal.deleted
    assert coming not in journal.deleted  # whoever made it may be about to seal


@pytest.mark.parametrize("partition", [0, 1])
async def test_other_partitions_keep_theirs(partition: int) -> None:
    """Partition 1 is not partition 10."""
    journal = Journal()
    for other in (1 - partition, 10, 11):
        await journal.create_segment(segment_path(other, 0, 0))
        await journal.write(snapshot_path(other, 1, "x"), b"")
    before = await journal.names("s")
    shard = Shard(partition=partition)
    await clear(journal, shard, Tail(segment=segment_path(partition, 3, 1)), snapshot_path(partition, 9, "y"))
    assert await journal.names("s") == before
