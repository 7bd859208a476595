"""Operators look at journals, and let damaged ones go on: ``journal show``, ``verify`` and ``repair``."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from tests.twin_actors.faults import Fault, Fuse, Killed
from tests.twin_actors.golden_journal import GOLDEN
from tests.twin_actors.operating import operate
from tests.twin_actors.test_golden_journals import VERSIONS, stored
from tests.twin_actors.world import ENDS as COUNTED
from tests.twin_actors.world import START, World, balance, heard_of, same, telemetry, twin_at
from twin_actors.audit import ENDS, audit
from twin_actors.commit import MAGIC, Claim, Commit, Record, checksum, decompress, encode
from twin_actors.errors import Fenced, PartitionStopped, Rejected, TwinfoldError
from twin_actors.journals import Stored
from twin_actors.journals.blob import BlobJournal
from twin_actors.ownership import Limits
from twin_actors.repair import examine, repair
from twin_actors.snapshot import (
    encode_snapshot,
    history_path,
    manifest_path,
    restore,
    segment_path,
    snapshot_path,
)
from twin_actors.watermark import Watermark

NEAR, FAR = twin_at(0), twin_at(1)
SMALL = Limits(segment_records=4, snapshot_bytes=10**9)


@pytest.fixture
async def world() -> World:
    """Partition 0 has some segments and a snapshot in the middle; it has forwarded, and keeps a dead letter."""
    world = World(known=(NEAR, FAR))
    await fill(world)
    return world


async def fill(world: World) -> None:
    """Fold events of all kinds into partition 0, two segments of them, a snapshot, and two segments more."""
    runtime = world.runtime(limits=SMALL)
    broken = msgspec.structs.replace(telemetry(NEAR, 0), body=b"no JSON")
    for number in range(6):
        await runtime.deliver(0, world.put(0, telemetry(NEAR, number), telemetry(FAR, 100 + number)))
    await runtime.deliver(0, world.put(0, broken))
    await runtime._active[0].owner.publish_snapshot()
    for number in range(6, 12):
        await runtime.deliver(0, world.put(0, telemetry(NEAR, number), telemetry(FAR, 100 + number)))


def segments(world: World, partition: int = 0) -> list[str]:
    """Return the segments of a partition."""
    return sorted(path for path in world.journal._segments if path.startswith(f"segments/{partition}/"))


def in_tail(world: World) -> str:
    """Return a segment beyond the snapshot that is neither where that stands nor the last."""
    return segments(world)[-2]


async def findings(world: World, partition: int = 0) -> list[str]:
    """Return the faults that `verify` finds; its exit code says whether there are any."""
    rows, code, _ = await operate(world, "journal", "verify", str(partition))
    faults = [f"{row['place']}: {row['what']}" for row in rows if row["finding"] == "FAULT"]
    assert code == bool(faults)
    return faults


async def notes(world: World, partition: int = 0) -> list[str]:
    """Return what `verify` has to say besides faults."""
    rows, _, _ = await operate(world, "journal", "verify", str(partition))
    return [f"{row['place']}: {row['what']}" for row in rows if row["finding"] == "note"]


def frames(*records: Record, after: int = 0) -> bytes:
    """Return the bytes of records that follow a checksum."""
    data = b""
    for record in records:
        frame = encode(record, after)
        after, data = checksum(frame), data + frame
    return data


# What may be wrong, each as it would come about.


def torn(world: World) -> None:
    """The last block was not written to its end."""
    del world.journal._segments[segments(world)[-1]][-5:]


def flipped(world: World) -> None:
    """A bit in the middle of a record."""
    data = world.journal._segments[in_tail(world)]
    data[len(data) // 2] ^= 4


def no_header(world: World) -> None:
    """The length of a record."""
    world.journal._segments[in_tail(world)][5] ^= 0xFF


def zeroed(world: World) -> None:
    """All of a segment."""
    data = world.journal._segments[in_tail(world)]
    data[:] = bytes(len(data))


def gone(world: World) -> None:
    """A segment that a seal names."""
    del world.journal._segments[in_tail(world)]


DAMAGES: list[Callable[[World], None]] = [torn, flipped, no_header, zeroed, gone]


def no_snapshot(world: World) -> None:
    """What the manifest names."""
    del world.journal._objects[published(world)]


def broken_snapshot(world: World) -> None:
    """Its bytes."""
    stored = world.journal._objects[published(world)]
    world.journal._objects[published(world)] = Stored(stored.data[: len(stored.data) // 2], stored.etag)


SNAPSHOT_DAMAGES: list[Callable[[World], None]] = [no_snapshot, broken_snapshot]


def published(world: World) -> str:
    """Return the name of the published snapshot of partition 0."""
    return str(world.journal._objects[manifest_path(0)].data.decode())


class TestVerify:
    """Reads everything, and names each fault with what to do."""

    async def test_a_whole_journal_has_no_fault(self, world: World) -> None:
        """From the first record to the end, of both partitions."""
        rows, code, said = await operate(world, "journal", "verify", "--all")
        assert (rows, code) == ([], 0)
        assert "from the first record" in said[0]
        assert "folded up to 24" in said[0]

    @pytest.mark.parametrize("version", VERSIONS)
    async def test_journals_of_every_format_are_whole(self, version: str) -> None:
        """What earlier versions wrote is no damage."""
        assert (GOLDEN / version).is_dir()
        for partition in (0, 1):
            found = await audit(await stored(version), partition)
            assert [finding for finding in found.findings if finding.is_fault] == []
            assert found.is_whole
            assert found.records >= 6

    @pytest.mark.parametrize("damage", [*DAMAGES, *SNAPSHOT_DAMAGES], ids=lambda damage: damage.__name__)
    async def test_what_stops_a_restore_is_found(self, world: World, damage: Callable[[World], None]) -> None:
        """Exactly when a restore stops."""
        damage(world)
        with pytest.raises(PartitionStopped):
            await restore(world.journal, 0)
        rows, code, _ = await operate(world, "journal", "verify", "0")
        assert code == 1
        (fault,) = [row for row in rows if row["finding"] == "FAULT"]
        assert "journal repair 0" in fault["do"]

    async def test_damage_before_the_snapshot_is_found_too(self, world: World) -> None:
        """No restore reads it; its readings are lost to history. What comes after is checked all the same."""
        world.journal._segments[segments(world)[0]][40] ^= 1
        await restore(world.journal, 0)
        (fault,) = await findings(world)
        assert "a snapshot covers it" in fault
        torn(world)
        assert len(await findings(world)) == 2

    async def test_a_snapshot_that_is_not_what_the_records_make(self, world: World) -> None:
        """It can be read, and it lies."""
        stored = world.journal._objects[published(world)]
        content = msgspec.msgpack.decode(decompress(stored.data, 10**6))
        content["shard"]["totals"]["messages"] += 1
        world.journal._objects[published(world)] = Stored(msgspec.msgpack.encode(content), stored.etag)
        assert "not what the records before it make" in (await findings(world))[0]

    async def test_a_snapshot_that_stands_nowhere(self, world: World) -> None:
        """Its place is in the middle of a record."""
        stored = world.journal._objects[published(world)]
        content = msgspec.msgpack.decode(decompress(stored.data, 10**6))
        content["tail"]["position"] -= 1
        world.journal._objects[published(world)] = Stored(msgspec.msgpack.encode(content), stored.etag)
        assert "where no record is" in (await findings(world))[0]

    @pytest.mark.parametrize(
        ("records", "said"),
        [
            ([Claim("x-1", 1, "x", 0)], "two owners wrote at once"),
            ([Commit(append_id="x-1", epoch=0, watermark=None)], "two owners wrote at once"),
            (
                [
                    Commit(
                        append_id="x-1", epoch=1, watermark=Watermark(26, START, "mailbox@memory"), counts={"ticks": 1}
                    )
                ],
                "2 events are passed and 1 counted",
            ),
            (
                [Commit(append_id="x-1", epoch=1, watermark=Watermark(25, START, "other"), counts={"ticks": 1})],
                "without a rebase",
            ),
        ],
    )
    async def test_records_that_nobody_may_write(self, world: World, records: list[Record], said: str) -> None:
        """Whole, in place, and wrong: a second owner, or events passed without a trace."""
        _, tail, _ = await restore(world.journal, 0)
        world.journal._segments[tail.segment] += frames(*records, after=tail.checksum)
        assert said in (await findings(world))[0]

    async def test_a_record_after_a_seal(self, world: World) -> None:
        """Whoever wrote it had not read the seal."""
        path = in_tail(world)
        world.journal._segments[path] += frames(Claim("x-1", 9, "x", 0))
        assert "follows the seal" in (await findings(world))[0] or "out of place" in (await findings(world))[0]

    async def test_two_segments_that_claim_one_place(self, world: World) -> None:
        """Both have records; one of them is in the chain."""
        number = int(in_tail(world).split("/")[2].split("-")[0])
        world.journal._segments[segment_path(0, number, 99)] = bytearray(frames(Claim("x-1", 99, "x", 0)))
        (fault,) = await findings(world)
        assert "no seal leads to it" in fault

    async def test_what_crashes_leave_is_no_fault(self, world: World) -> None:
        """A segment made for a seal that was not written, a snapshot that was not published."""
        world.journal._segments[segment_path(0, 50, 2)] = bytearray()
        shard, tail, _ = await restore(world.journal, 0)
        await world.journal.write(snapshot_path(0, 1, "unpublished"), encode_snapshot(shard, tail))
        assert await findings(world) == []
        assert len(await notes(world)) == 2

    async def test_a_chain_without_its_beginning_is_whole(self, world: World) -> None:
        """History has taken it, the owner deleted it."""
        await world.journal.write(history_path(0), segments(world)[1].encode())
        runtime = world.runtime(limits=SMALL)
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 12)))
        before = segments(world)
        await runtime._active[0].owner.publish_snapshot()
        assert segments(world) == before[2:]
        assert await findings(world) == []
        _, _, said = await operate(world, "journal", "verify", "0")
        assert "from the oldest that is left" in said[0]
        flipped(world)
        assert await findings(world) != []

    async def test_a_partition_nobody_has_written(self, world: World) -> None:
        """Is whole."""
        assert await findings(world, 7) == []

    async def test_an_owner_at_work_is_no_fault(self, world: World) -> None:
        """It rolls, publishes and deletes between the listing and the reading: a second look tells."""
        runtime = world.runtime(limits=SMALL)
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 12)))
        await world.journal.write(history_path(0), segments(world)[-1].encode())
        sizes = world.journal.sizes
        turns = iter(range(1))

        async def busy(prefix: str) -> dict[str, int]:
            found = await sizes(prefix)
            if next(turns, None) is not None:
                await runtime._active[0].owner.publish_snapshot()
            return found

        world.journal.sizes = busy
        assert await findings(world) == []

    def test_what_counts_as_the_end_of_an_event_is_what_tests_count(self) -> None:
        """A new end must be known to both, or a whole journal would be called damaged."""
        assert set(COUNTED) == ENDS


class TestRepair:
    """Keeps all before the damage, deletes nothing, and the partition goes on."""

    @pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
    async def test_the_partition_goes_on(self, world: World, damage: Callable[[World], None]) -> None:
        """What was folded beyond the damage is folded again from the hub: each event once in every twin."""
        before = {path: bytes(data) for path, data in world.journal._segments.items()}
        damage(world)
        left = {path: bytes(data) for path, data in world.journal._segments.items()}
        plan, code, said = await operate(world, "journal", "repair", "0")
        assert (plan["repair"], code, "--yes" in said[0]) == ("planned", 2, True)
        assert {path: bytes(data) for path, data in world.journal._segments.items()} == left
        done, _, _ = await operate(world, "journal", "repair", "0", "--yes", "--reason", "a test")
        assert done["repair"] == "done"
        for path, data in left.items():
            assert bytes(world.journal._segments[path]).startswith(data), path
        assert await findings(world) == []
        runtime = world.runtime(limits=SMALL)
        await world.deliver_all(runtime)
        assert world.heard(runtime, NEAR) == list(range(12))
        shard = await world.restored(0)
        assert same(shard, runtime.shard(0))
        assert balance(shard) == len(world.events(0))
        assert world.graph.twins[NEAR].properties["heard"] == 12
        assert world.graph.twins[NEAR].properties["stateVersion"] == shard.twins[NEAR].state_version > 1_000_000
        assert await findings(world) == []
        assert len(before) <= len(world.journal._segments)

    @pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
    async def test_what_it_forwarded_is_not_swallowed(self, world: World, damage: Callable[[World], None]) -> None:
        """Its channel begins anew: the receiver takes nothing of it for a repeat of what the damage took."""
        await world.deliver_all(world.runtime())
        heard = heard_of(await world.restored(1), FAR)
        assert sorted(heard) == list(range(100, 112))
        damage(world)
        await operate(world, "journal", "repair", "0", "--yes")
        world.put(0, telemetry(FAR, 200), telemetry(FAR, 201))
        runtime = world.runtime()
        await world.deliver_all(runtime)
        after = world.heard(runtime, FAR)
        assert after[:12] == list(heard)
        assert after[-2:] == [200, 201]
        assert set(after) == {*heard, 200, 201}

    @pytest.mark.parametrize("damage", SNAPSHOT_DAMAGES, ids=lambda damage: damage.__name__)
    async def test_a_damaged_snapshot_costs_nothing_while_the_chain_is_whole(
        self, world: World, damage: Callable[[World], None]
    ) -> None:
        """It is made again from the records."""
        expected, _, _ = await restore(world.journal, 0)
        damage(world)
        done, _, _ = await operate(world, "journal", "repair", "0", "--yes")
        assert done["lost"].startswith("nothing")
        shard, _, _ = await restore(world.journal, 0)
        assert shard.totals.pop("claims") == expected.totals.pop("claims") + 1
        assert (shard.twins, shard.totals, shard.outbox) == (expected.twins, expected.totals, expected.outbox)
        assert await findings(world) == []

    async def test_another_snapshot_serves_where_the_published_one_is_gone(self, world: World) -> None:
        """One that a crash left, say; the beginning of the chain is deleted."""
        shard, tail, _ = await restore(world.journal, 0)
        await world.journal.write(snapshot_path(0, 1, "unpublished"), encode_snapshot(shard, tail))
        no_snapshot(world)
        for path in segments(world)[:-1]:
            del world.journal._segments[path]
        await operate(world, "journal", "repair", "0", "--yes")
        runtime = world.runtime()
        await runtime.deliver(0, world.events(0))
        assert world.heard(runtime, NEAR) == list(range(12))

    async def test_where_nothing_is_left_to_begin_with_it_says_so(self, world: World) -> None:
        """That is for a copy of the container."""
        no_snapshot(world)
        del world.journal._segments[segments(world)[0]]
        with pytest.raises(PartitionStopped, match="soft delete"):
            await operate(world, "journal", "repair", "0")

    async def test_what_is_whole_is_left_alone(self, world: World) -> None:
        """Also before there is a snapshot, and where there is nothing."""
        before = await world.journal.sizes("")
        for partition in (0, 1, 7):
            done, _, _ = await operate(world, "journal", "repair", str(partition), "--yes")
            assert done["repair"] == "not needed"
        assert await world.journal.sizes("") == before

    async def test_what_a_newer_app_wrote_is_no_damage(self, world: World) -> None:
        """It would be given up for nothing."""
        _, tail, _ = await restore(world.journal, 0)
        world.journal._segments[tail.segment] += b"TWR9" + frames(Claim("x", 2, "x", 0))[len(MAGIC) :]
        with pytest.raises(PartitionStopped, match="newer version"):
            await operate(world, "journal", "repair", "0", "--yes")

    async def test_it_says_what_the_hub_no_longer_has(self, world: World) -> None:
        """Those events are lost to the twins, and counted when the next one is folded."""
        flipped(world)
        loss = await examine(world.journal, 0)
        assert loss is not None
        assert loss.shard.watermark is not None
        kept = loss.shard.watermark.sequence_number
        world.mailbox.expire(0, kept + 4)
        done, _, _ = await operate(world, "journal", "repair", "0", "--yes")
        assert done["beyond_retention"].startswith(f"events {kept + 1} to {kept + 3}")
        runtime = world.runtime()
        await runtime.deliver(0, world.events(0, kept + 4))
        shard = await world.restored(0)
        assert shard.totals["lost"] == 3
        assert balance(shard) == len(world.events(0))

    async def test_an_idle_owner_beyond_the_damage_is_fenced(self, world: World) -> None:
        """Its memory was whole; it finds out at its next append, and goes on from the repair."""
        runtime = world.runtime(limits=SMALL)
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 12)))
        flipped(world)
        await operate(world, "journal", "repair", "0", "--yes")
        batch = world.put(0, telemetry(NEAR, 13))
        with pytest.raises(Fenced):
            await runtime.deliver(0, batch)
        await runtime.deliver(0, batch)
        assert world.heard(runtime, NEAR) == list(range(14))
        assert await findings(world) == []

    async def test_an_owner_that_writes_meanwhile_wins(self, world: World) -> None:
        """Its record stands where the repair wanted to end its ownership."""
        runtime = world.runtime(limits=SMALL)
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 12)))
        flipped(world)
        loss = await examine(world.journal, 0)
        assert loss is not None
        append = world.journal.append

        async def late(path: str, position: int, data: bytes) -> None:
            world.journal.append = append
            await runtime.deliver(0, world.put(0, telemetry(NEAR, 13)))
            await append(path, position, data)

        world.journal.append = late
        with pytest.raises(Rejected, match="written by an owner"):
            await repair(world.journal, world.clock, loss, (0, 1), "ada", "a test", "operator")
        await runtime._active[0].owner.publish_snapshot()
        assert world.heard(runtime, NEAR) == list(range(14))
        assert same(await world.restored(0), runtime.shard(0))

    async def test_an_owner_that_publishes_meanwhile_wins(self, world: World) -> None:
        """Its snapshot is whole and newer: the repair is not published, and leaves no fault behind."""
        runtime = world.runtime(limits=SMALL)
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 12)))
        flipped(world)
        loss = await examine(world.journal, 0)
        assert loss is not None
        create = world.journal.create_segment

        async def late(path: str) -> bool:
            await runtime._active[0].owner.publish_snapshot()
            return await create(path)

        world.journal.create_segment = late
        with pytest.raises(Rejected, match="written by an owner"):
            await repair(world.journal, world.clock, loss, (0, 1), "ada", "a test", "operator")
        world.journal.create_segment = create
        (fault,) = await findings(world)
        assert "a snapshot covers it" in fault
        again = world.runtime()
        await again.deliver(0, world.events(0))
        assert world.heard(again, NEAR) == list(range(13))

    @pytest.mark.parametrize("fault", [one for one in Fault if "RIVAL" not in one.name])
    async def test_it_may_die_anywhere_and_be_done_again(self, fault: Fault) -> None:
        """Nothing is published before all is there; a second try leaves one chain."""
        for damage in (flipped, gone, no_snapshot):
            for at in range(1, 40):
                world = World(known=(NEAR, FAR))
                await fill(world)
                damage(world)
                fuse = Fuse(world, {at: fault})
                journal = fuse.ports().journal
                try:
                    loss = await examine(journal, 0)
                    assert loss is not None
                    await repair(journal, world.clock, loss, (0, 1), "ada", "a test", "operator-1")
                except (TwinfoldError, Killed, asyncio.CancelledError):
                    await operate(world, "journal", "repair", "0", "--yes")
                assert await findings(world) == [], (damage, at)
                runtime = world.runtime()
                await runtime.deliver(0, world.events(0))
                assert world.heard(runtime, NEAR) == list(range(12)), (damage, at)
                assert same(await world.restored(0), runtime.shard(0))
                if at > len(fuse.calls):
                    break

    async def test_twice_in_a_row(self, world: World) -> None:
        """The first repair's own segment is damaged too."""
        for _ in range(2):
            flipped(world)
            await operate(world, "journal", "repair", "0", "--yes")
            runtime = world.runtime(limits=SMALL)
            for first in range(0, len(world.events(0)), 3):
                await runtime.deliver(0, world.events(0, first, first + 2))
            assert await findings(world) == []
        assert world.heard(runtime, NEAR) == list(range(12))
        world.put(0, telemetry(FAR, 200))
        await world.deliver_all(runtime)
        assert 200 in world.heard(runtime, FAR)


async def test_in_blob_storage(blob_journal: BlobJournal) -> None:
    """The same, with what Azure answers."""
    world = World(journal=blob_journal, known=(NEAR, FAR))
    await fill(world)
    assert await findings(world) == []
    path = (await blob_journal.names("segments/0/"))[-2]
    await blob_journal.delete(path)
    assert "is missing" in (await findings(world))[0]
    done, code, _ = await operate(world, "journal", "repair", "0", "--yes")
    assert (done["repair"], code) == ("done", 0)
    assert await findings(world) == []
    runtime = world.runtime()
    await runtime.deliver(0, world.events(0))
    assert world.heard(runtime, NEAR) == list(range(12))


class TestShow:
    """Lists records, and damage where there is some."""

    async def test_the_newest_unless_an_event_is_named(self, world: World) -> None:
        """As many as asked for."""
        rows, code, said = await operate(world, "journal", "show", "0", "--limit", "3")
        assert (len(rows), code) == (3, 0)
        assert rows[-1]["watermark"] == 24
        assert "wait for history" in said[0]
        rows, _, _ = await operate(world, "journal", "show", "0", "--from", "3", "--limit", "2")
        assert next(row["watermark"] for row in rows if row["kind"] == "commit") == 3
        rows, _, _ = await operate(world, "journal", "show", "0", "--limit", "1000")
        kinds = [row["kind"] for row in rows]
        assert kinds[0] == "claim"
        assert kinds.count("seal") == len(segments(world)) - 1
        assert sum(row["bytes"] for row in rows) == sum(len(world.journal._segments[path]) for path in segments(world))

    async def test_bytes_that_wait_for_history(self, world: World) -> None:
        """Those of sealed segments that are not taken."""
        sealed = [len(world.journal._segments[path]) for path in segments(world)[:-1]]
        _, _, said = await operate(world, "journal", "show", "0")
        assert f"; {sum(sealed)} bytes of sealed segments wait for history" in said[0]
        await world.journal.write(history_path(0), segments(world)[0].encode())
        _, _, said = await operate(world, "journal", "show", "0")
        assert f"; {sum(sealed[1:])} bytes of sealed segments wait for history" in said[0]

    async def test_damage_and_repair_are_shown(self, world: World) -> None:
        """In their places."""
        flipped(world)
        rows, _, _ = await operate(world, "journal", "show", "0")
        assert rows[-1]["kind"] == "DAMAGE"
        await operate(world, "journal", "repair", "0", "--yes", "--reason", "lightning")
        rows, _, _ = await operate(world, "journal", "show", "0")
        assert [row["kind"] for row in rows[-2:]] == ["DAMAGE", "repair"]
        assert "ada: lightning" in rows[-1]["detail"]
