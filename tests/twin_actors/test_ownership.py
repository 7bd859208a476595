"""One writer: claims, unanswered appends, rolls and snapshots."""

from collections.abc import Awaitable, Callable

import msgspec
import pytest

from tests.twin_actors.world import FakeClock, same
from twin_actors.commit import Claim, Commit, Seal, checksum, decompress, encode
from twin_actors.errors import Fenced, PartitionStopped, Unanswered, Unavailable
from twin_actors.journals import Stored
from twin_actors.journals.memory import MemoryJournal
from twin_actors.ownership import CLAIM_ATTEMPTS, LIMITS, REISSUES, Limits, Owner, RecordTooLarge
from twin_actors.snapshot import SNAPSHOT_FORMAT, manifest_path, restore, segment_path
from twin_actors.watermark import Watermark


class Journal(MemoryJournal):
    """A journal in memory, some calls of which meet a fault."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[Callable[[Awaitable[None]], Awaitable[None]]] = []
        self.appends = 0
        self.deleted: list[str] = []

    async def append(self, path: str, position: int, data: bytes) -> None:
        """Append, or what the next fault makes of it."""
        self.appends += 1
        doing = super().append(path, position, data)
        if self.faults:
            await self.faults.pop(0)(doing)
        else:
            await doing

    async def delete(self, path: str) -> None:
        """Delete, and remember."""
        self.deleted.append(path)
        await super().delete(path)


async def done_unanswered(doing: Awaitable[None]) -> None:
    """The answer is lost."""
    await doing
    raise Unanswered("time-out")


async def lost_unanswered(doing: Awaitable[None]) -> None:
    """The request is lost."""
    doing.close()
    raise Unanswered("time-out")


@pytest.fixture
def journal() -> Journal:
    """An empty journal."""
    return Journal()


async def own(journal: MemoryJournal, name: str, limits: Limits = LIMITS) -> Owner:
    """Restore and claim partition 0."""
    return await Owner.claim(journal, FakeClock(), await restore(journal, 0), name, 0, limits)


def commit(owner: Owner, number: int) -> Commit:
    """Return a record of an owner."""
    mark = Watermark(number, float(number), "hub")
    return Commit(append_id=owner.next_append_id(), epoch=owner.epoch, watermark=mark, counts={"messages": 1})


async def test_an_empty_partition_is_claimed(journal: Journal) -> None:
    """Epoch 1; the next owner has 2, and the first is fenced."""
    first = await own(journal, "a")
    assert (first.epoch, first.shard.epoch) == (1, 1)
    second = await own(journal, "b")
    assert second.epoch == 2
    with pytest.raises(Fenced):
        await first.append(commit(first, 1))
    await second.append(commit(second, 1))
    assert not await first.is_current()
    assert await second.is_current()


@pytest.mark.parametrize("lost_first", [True, False])
async def test_an_unanswered_append_is_sent_again_and_stands_once(journal: Journal, *, lost_first: bool) -> None:
    """The owner finds out and goes on: nobody else has written."""
    owner = await own(journal, "a")
    journal.faults = [lost_unanswered if lost_first else done_unanswered, done_unanswered]
    await owner.append(commit(owner, 1))
    await owner.append(commit(owner, 2))
    shard, _, _ = await restore(journal, 0)
    assert same(shard, owner.shard)
    assert shard.totals == {"claims": 1, "messages": 2}


async def test_an_unanswered_append_that_lost_its_place_is_fenced(journal: Journal) -> None:
    """Another owner's record stands where it was sent."""
    owner = await own(journal, "a")

    async def rival_first(doing: Awaitable[None]) -> None:
        await own(journal, "b")
        await lost_unanswered(doing)

    journal.faults = [rival_first]
    with pytest.raises(Fenced):
        await owner.append(commit(owner, 1))
    assert (await restore(journal, 0))[0].totals == {"claims": 2}


async def test_an_unanswered_append_with_a_claim_behind_it_stands_and_is_fenced(journal: Journal) -> None:
    """Who looks whether its record stands sees the other owner's as well, and must not go on as if it owned it."""
    owner = await own(journal, "a")

    async def rival_next(doing: Awaitable[None]) -> None:
        await doing
        await own(journal, "b")
        raise Unanswered("time-out")

    journal.faults = [rival_next]
    with pytest.raises(Fenced):
        await owner.append(commit(owner, 1))
    assert (await restore(journal, 0))[0].totals == {"claims": 2, "messages": 1}


@pytest.mark.parametrize("is_done", [True, False])
async def test_storage_that_never_answers_ends_the_ownership(journal: Journal, *, is_done: bool) -> None:
    """After a bounded number of tries; a restore knows what stands."""
    owner = await own(journal, "a")
    before = journal.appends
    journal.faults = [done_unanswered if is_done else lost_unanswered, *[lost_unanswered] * 100]
    with pytest.raises(Unavailable):
        await owner.append(commit(owner, 1))
    assert journal.appends == before + REISSUES + 1
    journal.faults = []
    shard, _, _ = await restore(journal, 0)
    assert shard.totals.get("messages", 0) == is_done


async def test_an_unanswered_claim_is_one_claim(journal: Journal) -> None:
    """Sent again, it stands once."""
    journal.faults = [done_unanswered]
    owner = await own(journal, "a")
    assert owner.shard.totals == {"claims": 1}


async def test_claims_that_keep_losing_give_up(journal: Journal) -> None:
    """After a bounded number: the other owner is alive."""
    other = await own(journal, "a")

    async def write_first(doing: Awaitable[None]) -> None:
        journal.faults, kept = [], journal.faults
        await other.append(commit(other, 1))
        journal.faults = kept
        await doing

    journal.faults = [write_first] * CLAIM_ATTEMPTS
    with pytest.raises(Fenced):
        await own(journal, "b")


async def test_segments_roll_by_size_and_by_records(journal: Journal) -> None:
    """Each is sealed; the chain is followed; the limits stay under the 50,000 blocks of an append blob."""
    owner = await own(journal, "a", Limits(segment_records=3))
    for number in range(10):
        await owner.append(commit(owner, number))
    by_size = await own(journal, "b", Limits(segment_bytes=200))
    for number in range(10, 20):
        await by_size.append(commit(by_size, number))
    shard, tail, _ = await restore(journal, 0)
    assert same(shard, by_size.shard)
    assert len(await journal.names("segments/0/")) >= 6
    assert tail.segment == (await journal.names("segments/0/"))[-1]
    assert LIMITS.segment_records < 50_000


async def test_a_record_after_a_seal_stops(journal: Journal) -> None:
    """Nothing follows a seal; whoever wrote there did not read it."""
    segment = segment_path(0, 0, 0)
    frames = [encode(Claim("a-1", 1, "a", 0), 0)]
    frames.append(encode(Seal("a-2", 1, segment_path(0, 1, 1)), checksum(frames[-1])))
    frames.append(encode(Commit(append_id="a-3", epoch=1, watermark=None), checksum(frames[-1])))
    await journal.create_segment(segment)
    await journal.append(segment, 0, b"".join(frames))
    with pytest.raises(PartitionStopped, match="follows the seal"):
        await restore(journal, 0)


async def test_a_seal_to_nowhere_stops(journal: Journal) -> None:
    """The next segment is made before the seal; if it is not there, records are gone."""
    owner = await own(journal, "a", Limits(segment_records=2))
    for number in range(3):
        await owner.append(commit(owner, number))
    await journal.delete((await journal.names("segments/0/"))[-1])
    with pytest.raises(PartitionStopped, match="missing"):
        await restore(journal, 0)


class TestSnapshots:
    """A restore begins at the newest one published."""

    async def test_it_replaces_what_came_before(self, journal: Journal) -> None:
        """The one before is deleted, after the new one is published."""
        owner = await own(journal, "a")
        await owner.append(commit(owner, 1))
        await owner.publish_snapshot()
        first = (await journal.names("snapshots/0/"))[0]
        await owner.append(commit(owner, 2))
        await owner.publish_snapshot()
        assert journal.deleted == [first]
        (second,) = await journal.names("snapshots/0/")
        assert (await journal.read(manifest_path(0))).data == second.encode()
        assert same((await restore(journal, 0))[0], owner.shard)

    async def test_twice_without_an_append_is_no_loss(self, journal: Journal) -> None:
        """It is not its own predecessor."""
        owner = await own(journal, "a")
        await owner.publish_snapshot()
        await owner.publish_snapshot()
        assert same((await restore(journal, 0))[0], owner.shard)

    async def test_a_stale_owner_publishes_none(self, journal: Journal) -> None:
        """The manifest never moves back, and what it names stays."""
        stale = await own(journal, "a")
        newer = await own(journal, "b")
        await newer.append(commit(newer, 1))
        await newer.publish_snapshot()
        named = (await journal.read(manifest_path(0))).data
        with pytest.raises(Fenced):
            await stale.publish_snapshot()
        assert (await journal.read(manifest_path(0))).data == named
        assert same((await restore(journal, 0))[0], newer.shard)

    @pytest.mark.parametrize("prefix", ["snapshots/", "manifests/"])
    async def test_one_that_cannot_be_written_changes_nothing(self, journal: Journal, prefix: str) -> None:
        """The manifest names the one before, which is still there."""
        owner = await own(journal, "a")
        await owner.publish_snapshot()
        named = (await journal.read(manifest_path(0))).data
        await owner.append(commit(owner, 1))
        write = journal.write

        async def refuse(path: str, data: bytes, only_if: str | None = None) -> str:
            if path.startswith(prefix):
                raise Unanswered("time-out")
            return await write(path, data, only_if)

        journal.write = refuse
        with pytest.raises(Unavailable):
            await owner.publish_snapshot()
        journal.write = write
        assert (await journal.read(manifest_path(0))).data == named
        assert same((await restore(journal, 0))[0], owner.shard)
        await owner.append(commit(owner, 2))

    async def test_an_unanswered_manifest_is_read_back(self, journal: Journal) -> None:
        """It was written: the owner goes on from it."""
        owner = await own(journal, "a")
        write = journal.write

        async def lose_answer(path: str, data: bytes, only_if: str | None = None) -> str:
            tag = await write(path, data, only_if)
            if path == manifest_path(0):
                raise Unanswered("time-out")
            return tag

        journal.write = lose_answer
        await owner.publish_snapshot()
        journal.write = write
        await owner.append(commit(owner, 1))
        await owner.publish_snapshot()
        assert same((await restore(journal, 0))[0], owner.shard)

    @pytest.mark.parametrize("damage", ["format", "bytes", "missing"])
    async def test_one_that_cannot_be_read_stops(self, journal: Journal, damage: str) -> None:
        """A newer format, damage, absence: loudly."""
        owner = await own(journal, "a")
        await owner.publish_snapshot()
        (path,) = await journal.names("snapshots/0/")
        if damage == "missing":
            await journal.delete(path)
        else:
            stored = await journal.read(path)
            document = msgspec.msgpack.decode(decompress(stored.data, 10**6))
            document["format"] = SNAPSHOT_FORMAT + 1
            data = msgspec.msgpack.encode(document) if damage == "format" else stored.data[:-3]
            journal._objects[path] = Stored(data, stored.etag)
        with pytest.raises(PartitionStopped):
            await restore(journal, 0)


async def test_a_first_segment_made_between_two_looks_is_no_damage() -> None:
    """Somebody reads a partition in the instant in which its first owner takes it."""

    class Busy(MemoryJournal):
        """Its first segment is made just before the segments are listed."""

        async def names(self, prefix: str) -> list[str]:
            await self.create_segment(segment_path(0, 0, 0))
            return await super().names(prefix)

    shard, tail, _ = await restore(Busy(), 0)
    assert (shard.watermark, shard.epoch, tail.segment) == (None, 0, segment_path(0, 0, 0))


class Overtaken(MemoryJournal):
    """Whose owner publishes another snapshot each time that one is about to be read."""

    owner: Owner
    times: int

    async def read(self, path: str) -> Stored | None:
        """Read what is left by then."""
        if path.startswith("snapshots/") and self.times:
            self.times -= 1
            await self.owner.append(commit(self.owner, self.owner.shard.watermark.sequence_number + 1))
            await self.owner.publish_snapshot()
        return await super().read(path)


@pytest.mark.parametrize(("times", "is_read"), [(1, True), (3, True), (100, False)])
async def test_snapshots_published_between_looks_are_no_damage(times: int, is_read: bool) -> None:
    """However many: at worst the partition is read another time."""
    journal = Overtaken()
    journal.times = 0
    journal.owner = await own(journal, "a", LIMITS)
    await journal.owner.append(commit(journal.owner, 1))
    await journal.owner.publish_snapshot()
    journal.times = times
    if not is_read:
        with pytest.raises(Unavailable, match="faster"):
            await restore(journal, 0)
        return
    shard, _, _ = await restore(journal, 0)
    assert same(shard, journal.owner.shard)


async def test_a_first_segment_that_is_gone_is_damage() -> None:
    """Others are there: something was lost."""
    journal = MemoryJournal()
    await journal.create_segment(segment_path(0, 1, 1))
    with pytest.raises(PartitionStopped, match="is missing"):
        await restore(journal, 0)


class TestSegments:
    """The chain has one end, whoever believes to be there."""

    async def test_two_owners_that_roll_at_once_leave_one_chain(self, journal: Journal) -> None:
        """The late one has made its segment already: nothing leads to it, and it is deleted in time."""
        limits = Limits(segment_records=2)
        late = await own(journal, "a", limits)
        await late.append(commit(late, 1))
        shard, tail, tag = await restore(journal, 0)
        newer = Owner(journal, FakeClock(), shard, tail, tag, "b", limits)
        newer.epoch = 2
        made = journal.create_segment

        async def overtaken(path: str) -> bool:
            del journal.create_segment
            answer = await made(path)
            await newer.append(Claim(newer.next_append_id(), 2, "b", 0))
            return answer

        journal.create_segment = overtaken
        with pytest.raises(Fenced):
            await late.append(commit(late, 2))
        orphan = segment_path(0, 1, 1)
        assert await journal.read_segment(orphan, 0) == b""
        shard, tail, _ = await restore(journal, 0)
        assert same(shard, newer.shard)
        assert tail.segment == segment_path(0, 1, 2)
        for number in range(2, 6):
            await newer.append(commit(newer, number))
        await newer.publish_snapshot()
        assert orphan not in await journal.names("segments/0/")

    async def test_an_append_after_a_roll_goes_to_the_new_segment_only(self, journal: Journal) -> None:
        """Who still believes in the old one is fenced by the seal."""
        owner = await own(journal, "a", Limits(segment_records=2))
        stale = Owner(journal, FakeClock(), *await restore(journal, 0), "a")
        stale.epoch = owner.epoch
        for number in range(3):
            await owner.append(commit(owner, number))
        sizes = await journal.sizes("segments/0/")
        with pytest.raises(Fenced):
            await stale.append(commit(stale, 9))
        assert await journal.sizes("segments/0/") == sizes

    @pytest.mark.parametrize("as_long", [True, False])
    async def test_a_segment_deleted_and_made_again_is_no_journal(self, journal: Journal, *, as_long: bool) -> None:
        """However long it is: an append is refused by its place, or a restore finds that checksums do not follow."""
        owner = await own(journal, "a")
        await owner.append(commit(owner, 1))
        path = segment_path(0, 0, 0)
        length = len(await journal.read_segment(path, 0))
        await journal.delete(path)
        await journal.create_segment(path)
        other = encode(Claim("x-1", 7, "x" * (length - 200), 0), 0)
        await journal.append(path, 0, other.ljust(length, b"\0")[:length] if as_long else other[:-1])
        if as_long:
            await owner.append(commit(owner, 2))
        else:
            with pytest.raises(Fenced):
                await owner.append(commit(owner, 2))
        with pytest.raises(PartitionStopped):
            await restore(journal, 0)

    async def test_a_record_too_large_is_refused_before_anything_is_sent(self, journal: Journal) -> None:
        """The owner goes on with a smaller one."""
        owner = await own(journal, "a", Limits(frame_bytes=300))
        before = journal.appends
        large = Commit(append_id="a-9", epoch=owner.epoch, watermark=None, letters=[("0-1", "x" * 400)])
        with pytest.raises(RecordTooLarge):
            await owner.append(large)
        assert journal.appends == before
        await owner.append(commit(owner, 1))
        assert same((await restore(journal, 0))[0], owner.shard)

    async def test_a_snapshot_goes_only_when_the_manifest_names_another(self, journal: Journal) -> None:
        """At the time of its deletion."""
        owner = await own(journal, "a")
        named: list[bytes] = []
        delete = journal.delete

        async def watch(path: str) -> None:
            named.append((await journal.read(manifest_path(0))).data)
            assert path.encode() != named[-1]
            await delete(path)

        journal.delete = watch
        for number in range(3):
            await owner.append(commit(owner, number))
            await owner.publish_snapshot()
        assert len(named) == 2

    async def test_a_restore_follows_names_and_never_lists(self, journal: Journal) -> None:
        """A list may be late, or long: what counts is what the manifest and the seals say."""
        owner = await own(journal, "a", Limits(segment_records=2))
        for number in range(9):
            await owner.append(commit(owner, number))
            if number == 4:
                await owner.publish_snapshot()

        async def unlisted(prefix: str) -> list[str]:
            raise AssertionError(prefix)

        journal.names = unlisted
        assert same((await restore(journal, 0))[0], owner.shard)
