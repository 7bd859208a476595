"""Frames of wide twins: judged, folded, committed, restored to the bit; statistics begin anew in sight."""

import itertools
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels.signal_statistics import VERSION
from tests.twin_actors.kettle import asked
from tests.twin_actors.loom import (
    BREAKS,
    FRAMES,
    ONE,
    THREADS,
    TYPE,
    TYPES,
    deliver,
    sent,
    state,
    statistics,
    stream,
    tension,
    wide,
)
from tests.twin_actors.world import START, World, same
from twin_actors.commit import Commit, Twin, decode, encode
from twin_actors.frames import SignalEpoch
from twin_actors.journals.memory import MemoryJournal
from twin_actors.messages import ARROW, Event, Quality, open_envelope
from twin_actors.ownership import Limits
from twin_actors.requests import Deletion
from twin_actors.turn import new_twin, run
from twin_actors.wide import Statistics, pack, refold, unpack
from twin_actors.work import Folded, Work

NAN = np.nan
GOOD_ROW = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def loom() -> World:
    """A world with one partition, for looms that announce themselves."""
    return World(1)


def fold(*bodies: bytes, twin: Twin | None = None, held: Statistics | None = None) -> Folded:
    """Run messages of frames through the turns of the runtime."""
    envelopes = [
        open_envelope(
            Event(sequence_number=number, enqueued_time=START, body=body, device_id=ONE, content_type=ARROW), number
        )
        for number, body in enumerate(bodies, 1)
    ]
    return run([Work(0, twin or new_twin(ONE, TYPE), TYPE, envelopes, statistics=held)])[0]


def test_a_frame_is_a_reading() -> None:
    """Each row is one; state, quality and times follow, and what is wrong with one value stays its own."""
    folded = fold(wide([GOOD_ROW, [1.0, NAN, np.inf, 999.0, 5.0, 106.0]], [START, START + 1.0]))
    twin = folded.twin
    assert twin.reading_count == 2
    assert twin.last_reading_time == START + 1.0
    assert twin.quality is Quality.SUSPECT
    heard = msgspec.msgpack.decode(twin.state, type=TYPE.state)
    assert heard.rows == ((START, False), (START + 1.0, False))
    assert heard.usable == 2
    assert heard.mean == 3.5
    ((times, quality),) = folded.frames.values()
    assert times == [START, START + 1.0]
    assert quality[0] == b""
    assert unpack(quality[1], THREADS).tolist() == [0, 3, 2, 2, 0, 2]
    assert twin.signal_epoch == SignalEpoch(VERSION, 1, START, 2, THREADS, 60.0)
    found = folded.statistics
    assert found is not None
    assert found.columns().number.tolist() == [2, 1, 1, 1, 2, 1]
    assert found.columns().last.tolist() == GOOD_ROW


def test_a_row_of_nothing_is_bad() -> None:
    """As a reading of which nothing can be used."""
    assert fold(wide([[NAN] * THREADS])).twin.quality is Quality.BAD


def test_clocks_that_cannot_be_right() -> None:
    """The hub's time stands for them, which is said; late rows count and move nothing current."""
    folded = fold(wide([GOOD_ROW], [0.0]), wide([np.add(GOOD_ROW, 1.0)], [START - 5.0]))
    assert folded.twin.last_reading_time == START
    assert folded.accepted[0][2] == [{"time": Quality.SUSPECT}]
    assert folded.twin.quality is Quality.SUSPECT
    heard = msgspec.msgpack.decode(folded.twin.state, type=TYPE.state)
    assert heard.rows == ((START, False), (START - 5.0, True))
    assert folded.statistics is not None
    assert folded.statistics.columns().number.tolist() == [2] * THREADS
    assert folded.statistics.columns().last.tolist() == GOOD_ROW


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (wide([[1.0, 2.0]]), "wrong_channels"),
        (wide([GOOD_ROW])[:40], "bad_arrow"),
        (wide([[BREAKS] * THREADS]), "turn_failed"),
    ],
)
async def test_frames_that_cannot_be_folded_become_dead_letters(body: bytes, reason: str) -> None:
    """And leave statistics and state as if they had never come."""
    world = loom()
    runtime = world.runtime(TYPES)
    await deliver(world, runtime, tension([GOOD_ROW], [0.0]), sent(body), tension([GOOD_ROW], [1.0]))
    shard = runtime.shard(0)
    assert shard is not None
    assert list(shard.letters.values()) == [reason]
    other = loom()
    plain = await deliver(other, other.runtime(TYPES), tension([GOOD_ROW], [0.0]), tension([GOOD_ROW], [1.0]))
    assert statistics(shard) == statistics(plain)
    assert state(shard).rows == state(plain).rows
    assert same(shard, await world.restored(0))


async def test_a_type_without_frames_refuses_them() -> None:
    """With what to send instead."""
    narrow = msgspec.structs.replace(TYPE, frames=None)
    world = loom()
    shard = await deliver(world, world.runtime({"loom": narrow}), tension([GOOD_ROW], [0.0]))
    assert list(shard.letters.values()) == ["no_frames"]
    assert shard.statistics == {}


async def test_ordinary_channels_beside_frames() -> None:
    """JSON, or Arrow with a column a channel; statistics stay what they are."""
    world = loom()
    runtime = world.runtime(TYPES)
    await deliver(world, runtime, tension([GOOD_ROW], [0.0]))
    shard = runtime.shard(0)
    assert shard is not None
    before = statistics(shard)
    json = msgspec.structs.replace(sent(b'{"speed": 3.0}'), content_type=None)
    await deliver(world, runtime, json)
    assert state(shard).speed == 3.0
    await deliver(world, runtime, sent(stream({"speed": [4.0, 400.0]})))
    assert state(shard).speed == 4.0
    assert shard.twins[ONE].quality is Quality.BAD
    assert statistics(shard) is before
    assert same(shard, await world.restored(0))


row = st.lists(
    st.one_of(st.floats(-50.0, 50.0, width=32), st.sampled_from([NAN, np.inf, 500.0])),
    min_size=THREADS,
    max_size=THREADS,
)
rows_in_time = st.lists(st.tuples(st.floats(-20.0, 20.0), row), min_size=1, max_size=10)


@settings(max_examples=60, deadline=None)
@given(rows=rows_in_time, cuts=st.sets(st.integers(1, 9)))
def test_a_row_knows_no_other_of_its_message(rows: list[tuple[float, list[float]]], cuts: set[int]) -> None:
    """One message of ten rows, ten of one, and anything between: the same bits."""
    times, values = [START + time for time, _ in rows], [row for _, row in rows]
    whole = fold(wide(values, times))
    edges = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    parted = fold(*(wide(values[a:b], times[a:b]) for a, b in itertools.pairwise(edges)))
    assert parted.statistics == whole.statistics
    assert parted.twin.state == whole.twin.state
    assert msgspec.structs.replace(parted.twin, state=b"") == msgspec.structs.replace(whole.twin, state=b"")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    messages=st.lists(st.tuples(st.integers(0, 2), rows_in_time), min_size=1, max_size=8),
    batches=st.sets(st.integers(1, 7)),
    snapshot_bytes=st.sampled_from([1, 2_000, 1 << 30]),
)
async def test_memory_is_what_a_restore_makes(
    messages: list[tuple[int, Any]], batches: set[int], snapshot_bytes: int
) -> None:
    """To the byte: whatever came in whatever batches, from any snapshot and tail."""
    world = loom()
    runtime = world.runtime(TYPES, limits=Limits(snapshot_bytes=snapshot_bytes))
    events = [
        tension([row for _, row in rows], [time for time, _ in rows], f"loom-{number}") for number, rows in messages
    ]
    edges = [0, *sorted(edge for edge in batches if edge < len(events)), len(events)]
    for first, last in itertools.pairwise(edges):
        shard = await deliver(world, runtime, *events[first:last])
        assert shard.statistics.keys() == shard.twins.keys()
        assert same(shard, await world.restored(0))


async def test_an_owner_goes_on_where_another_stopped() -> None:
    """Statistics after a hand-over are those of one owner, from snapshot and tail."""
    rows = np.random.default_rng(1).normal(size=(40, THREADS)).round(3)
    once = loom()
    expected = await deliver(once, once.runtime(TYPES), *(tension([row], [float(at)]) for at, row in enumerate(rows)))
    world = loom()
    for first in range(0, 40, 8):
        runtime = world.runtime(TYPES, limits=Limits(snapshot_bytes=5_000))
        batch = [tension([row], [float(at)]) for at, row in enumerate(rows[first : first + 8], first)]
        shard = await deliver(world, runtime, *batch)
    assert statistics(shard) == statistics(expected)
    assert statistics(shard).epoch == SignalEpoch(VERSION, 1, START, 40, THREADS, 60.0)
    assert await world.journal.read("manifests/0") is not None


async def test_a_twin_that_is_deleted_takes_its_statistics_along() -> None:
    """Frames and the deletion in one record; whoever comes after it begins anew."""
    world = loom()
    runtime = world.runtime(TYPES)
    request = Deletion(operation_id="d-1", caller="ann", requested=START)
    shard = await deliver(world, runtime, tension([GOOD_ROW[:THREADS]], [0.0]), asked(ONE, request))
    assert (dict(shard.twins), shard.statistics) == ({}, {})
    assert same(shard, await world.restored(0))
    shard = await deliver(world, runtime, tension([GOOD_ROW[:THREADS]], [5.0]))
    assert statistics(shard).epoch.rows == 1
    assert same(shard, await world.restored(0))


async def _of_another_kernel(journal: MemoryJournal) -> MemoryJournal:
    """Return a journal as an app with another kernel would have written it."""
    other = MemoryJournal()
    for path in await journal.names("segments/0/"):
        data = await journal.read_segment(path, 0)
        assert data is not None
        await other.create_segment(path)
        checksum, position = 0, 0
        for record, _, _ in decode(data, 0, path):
            written = record
            if isinstance(record, Commit):
                twins = [
                    msgspec.structs.replace(
                        twin,
                        signal_epoch=twin.signal_epoch
                        and msgspec.structs.replace(twin.signal_epoch, kernel=VERSION + 1),
                    )
                    for twin in record.twins
                ]
                written = msgspec.structs.replace(record, twins=twins)
            frame = encode(written, checksum)
            await other.append(path, position, frame)
            position += len(frame)
            checksum = int.from_bytes(frame[8:12], "little")
    return other


async def test_another_kernel_begins_a_new_epoch() -> None:
    """In sight, and without a word about rows it has not folded."""
    before = loom()
    await deliver(before, before.runtime(TYPES), tension([GOOD_ROW], [0.0]), tension([GOOD_ROW], [1.0]))
    world = World(1, await _of_another_kernel(before.journal))
    world.mailbox, world.graph = before.mailbox, before.graph
    assert (await world.restored(0)).statistics == {}
    runtime = world.runtime(TYPES)
    shard = await deliver(world, runtime, tension([np.add(GOOD_ROW, 1.0)], [2.0]))
    assert shard.twins[ONE].signal_epoch == SignalEpoch(VERSION, 2, START + 2.0, 1, THREADS, 60.0)
    assert statistics(shard).columns().mean.tolist() == np.add(GOOD_ROW, 1.0).tolist()
    assert len(state(shard).rows) == 3, "state proper is never lost"
    assert same(shard, await world.restored(0))
    await deliver(world, runtime, tension([GOOD_ROW], [3.0]))
    assert statistics(shard).epoch.rows == 2
    assert same(shard, await world.restored(0))
    await world.deliver_all(runtime)
    shown = world.graph.twins[ONE].properties
    assert shown["statisticsEpoch"] == 2
    assert shown["statisticsSince"] == "2023-11-14T22:13:22+00:00"


@pytest.mark.parametrize(
    "changes", [{"time_constant_seconds": 61.0}, {"channels": FRAMES.channels[:5]}], ids=["smoothing", "channels"]
)
async def test_another_table_begins_a_new_epoch(changes: dict[str, Any]) -> None:
    """Numbers of two kinds are not mixed."""
    world = loom()
    await deliver(world, world.runtime(TYPES), tension([GOOD_ROW], [0.0]))
    frames = msgspec.structs.replace(FRAMES, **changes)
    runtime = world.runtime({"loom": msgspec.structs.replace(TYPE, frames=frames)})
    shard = await deliver(world, runtime, tension([GOOD_ROW[: len(frames.channels)]], [1.0]))
    epoch = statistics(shard).epoch
    assert (epoch.number, epoch.rows, epoch.since) == (2, 1, START + 1.0)
    assert same(shard, await world.restored(0))


def test_refolding_wants_all_rows() -> None:
    """What has a hole is not gone on with."""
    folded = fold(wide([GOOD_ROW], [START]))
    epoch = folded.twin.signal_epoch
    assert epoch is not None
    later = msgspec.structs.replace(epoch, rows=5)
    assert refold(folded.statistics, later, []) is None
    assert refold(None, later, []) is None
    assert refold(None, msgspec.structs.replace(epoch, kernel=VERSION + 1), []) is None


@given(st.lists(st.integers(0, 3), max_size=30))
def test_packed_quality_is_read_back(codes: list[int]) -> None:
    """Four to a byte, any number of them."""
    packed = pack(np.array(codes, np.uint8))
    assert len(packed) == -(-len(codes) // 4)
    if codes:
        assert unpack(packed, len(codes)).tolist() == codes
    assert unpack(b"", 3).tolist() == [0, 0, 0]


class Counting(MemoryJournal):
    """Remembers the size of each append."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    async def append(self, path: str, position: int, data: bytes) -> None:
        """Append, and remember."""
        await super().append(path, position, data)
        self.sizes.append(len(data))


WIDE = 15_000


def _wide_type() -> dict[str, Any]:
    frames = msgspec.structs.replace(
        FRAMES, channels=tuple(msgspec.structs.replace(FRAMES.channels[0], name=f"c{n}") for n in range(WIDE))
    )
    return {"loom": msgspec.structs.replace(TYPE, frames=frames)}


async def test_a_record_is_hardly_larger_than_its_frame() -> None:
    """The statistics of 15,000 channels take a megabyte, and are in snapshots only."""
    journal = Counting()
    world = World(1, journal)
    runtime = world.runtime(_wide_type(), limits=Limits(snapshot_bytes=100_000))
    values = np.random.default_rng(2).normal(size=(40, WIDE)).astype(np.float32)
    for second in range(3):
        values[second, :second] = NAN
        await deliver(world, runtime, tension(values[second : second + 1], [float(second)]))
        assert len(sent(wide(values[:1])).body) < journal.sizes[-1] < 62_000 + second * 4_000
    manifest = await journal.read("manifests/0")
    assert manifest is not None
    snapshot = await journal.read(manifest.data.decode())
    assert snapshot is not None
    assert 72 * WIDE < len(snapshot.data) < 75 * WIDE
    shard = await deliver(world, runtime, *(tension(values[at : at + 1], [float(at)]) for at in range(3, 40)))
    assert max(journal.sizes) < 1_200_000, "37 frames go into several records"
    assert statistics(shard).epoch.rows == 40
    assert same(shard, await world.restored(0))
    number = statistics(shard).columns().number
    assert number[:3].tolist() == [38, 39, 40]
    assert statistics(shard).columns().mean[3:] == pytest.approx(values[:, 3:].mean(axis=0, dtype=np.float64), abs=1e-6)


async def test_snapshots_do_not_come_more_often_than_they_are_large() -> None:
    """Else a shard of wide twins would write its statistics over and over."""
    world = loom()
    runtime = world.runtime(_wide_type(), limits=Limits(snapshot_bytes=1_000, frame_bytes=100_000))
    row = np.zeros((1, WIDE), np.float32)
    published = []
    for second in range(60):
        await deliver(world, runtime, tension(row, [float(second)]))
        manifest = await world.journal.read("manifests/0")
        published.append(manifest and manifest.data)
    # 60 KB a frame, 1.08 MB a snapshot: about one in eighteen, also after a restart.
    assert 3 <= len(set(published)) <= 5
    runtime = world.runtime(_wide_type(), limits=Limits(snapshot_bytes=1_000, frame_bytes=100_000))
    await deliver(world, runtime, tension(row, [60.0]))
    manifest = await world.journal.read("manifests/0")
    assert manifest is not None
    assert manifest.data == published[-1]
