"""A runtime over a world in memory: redelivery, gaps, two owners, dead letters, forwards."""

import json
import logging

import msgspec
import pytest

from tests.twin_actors.world import (
    PROBE,
    PROBE_TYPE,
    Heard,
    World,
    balance,
    heard_of,
    same,
    telemetry,
    twin_at,
)
from twin_actors.errors import Fenced, PartitionStopped, Unanswered, Unavailable
from twin_actors.messages import KIND, LETTER, TWIN, Event, Forward, Kind, Reading
from twin_actors.outbox import letter_path
from twin_actors.ownership import Limits
from twin_actors.runtime import Runtime
from twin_actors.shard import Shard
from twin_actors.sinks import GraphTwin
from twin_actors.turn import KernelRequest
from twin_actors.twin import Turn, TwinType

NEAR, FAR, OTHER = twin_at(0), twin_at(1), twin_at(0, number=1)


def own(kind: Kind, body: bytes = b"{}", **properties: str) -> Event:
    """Return an event of our own, of any kind."""
    names = {"letter": LETTER, "twin": TWIN}
    return Event(
        sequence_number=0,
        enqueued_time=0.0,
        body=body,
        properties={KIND: kind.value, **{names[name]: value for name, value in properties.items()}},
    )


def raw(twin_id: str, body: bytes, **more: str) -> Event:
    """Return a device's message with any body."""
    return Event(sequence_number=0, enqueued_time=0.0, body=body, device_id=twin_id, **more)


@pytest.fixture
def world() -> World:
    """Two partitions, and three probes in the graph."""
    return World(known=(NEAR, FAR, OTHER))


@pytest.fixture
def runtime(world: World) -> Runtime:
    """A process."""
    return world.runtime()


def shard_of(runtime: Runtime, partition: int = 0) -> Shard:
    """Return a shard that the process holds."""
    shard = runtime.shard(partition)
    assert shard is not None
    return shard


class TestRedelivery:
    """The trigger's checkpoint is a hint."""

    async def test_the_same_batch_again_changes_nothing(self, world: World, runtime: Runtime) -> None:
        """Twice in one process, and in another one."""
        batch = world.put(0, telemetry(NEAR, 1), telemetry(NEAR, 2))
        await runtime.deliver(0, batch)
        before = msgspec.msgpack.encode(dict(shard_of(runtime).twins))
        await runtime.deliver(0, batch)
        assert msgspec.msgpack.encode(dict(shard_of(runtime).twins)) == before
        other = world.runtime()
        await other.deliver(0, batch)
        assert msgspec.msgpack.encode(dict(shard_of(other).twins)) == before

    async def test_batches_may_overlap(self, world: World, runtime: Runtime) -> None:
        """Each event counts once."""
        events = world.put(0, *(telemetry(NEAR, number) for number in range(10)))
        for first, last in ((0, 4), (2, 7), (0, 10), (9, 10)):
            await runtime.deliver(0, events[first:last])
        assert world.heard(runtime, NEAR) == list(range(10))
        assert balance(shard_of(runtime)) == 10

    async def test_a_batch_may_be_out_of_order(self, world: World, runtime: Runtime) -> None:
        """The partition's order counts."""
        events = world.put(0, *(telemetry(NEAR, number) for number in range(4)))
        await runtime.deliver(0, [events[0], events[2], events[1], events[3]])
        assert world.heard(runtime, NEAR) == [0, 1, 2, 3]

    async def test_an_empty_batch_is_fine(self, world: World, runtime: Runtime) -> None:
        """Nothing to do."""
        await runtime.deliver(0, [])
        assert shard_of(runtime).watermark is not None
        assert world.mailbox.partitions[0] == []

    async def test_any_cut_into_batches_gives_the_same_twins(self, world: World) -> None:
        """What a message becomes does not depend on what else is in its batch: repeats of ids included."""
        ids = [f"m{number % 70}" for number in range(150)]
        events = world.put(0, *(telemetry(NEAR, n, message_id=one) for n, one in enumerate(ids)))
        whole, single = World(known=(NEAR,)), World(known=(NEAR,))
        at_once, one_by_one = whole.runtime(), single.runtime()
        await at_once.deliver(0, events)
        for event in events:
            await one_by_one.deliver(0, [event])
        assert heard_of(shard_of(at_once), NEAR) == heard_of(shard_of(one_by_one), NEAR)
        assert shard_of(at_once).totals["messages"] == shard_of(one_by_one).totals["messages"]

    async def test_a_resent_message_counts_once(self, world: World, runtime: Runtime) -> None:
        """IoT Hub delivers at least once; the device's id tells."""
        world.put(0, telemetry(NEAR, 1, message_id="a"), telemetry(NEAR, 1, message_id="a"), telemetry(NEAR, 1))
        await runtime.deliver(0, world.events(0))
        world.put(0, telemetry(NEAR, 1, message_id="a"), telemetry(OTHER, 1, message_id="a"))
        await runtime.deliver(0, world.events(0))
        assert world.heard(runtime, NEAR) == [1, 1]
        assert world.heard(runtime, OTHER) == [1]
        assert shard_of(runtime).twins[NEAR].resent_count == 2
        assert shard_of(runtime).totals["resent"] == 2


class TestGaps:
    """The trigger checkpoints what failed."""

    async def test_a_gap_is_read_from_the_hub(self, world: World, runtime: Runtime) -> None:
        """In the middle, and more than one."""
        events = world.put(0, *(telemetry(NEAR, number) for number in range(9)))
        await runtime.deliver(0, [events[0], events[3], events[4], events[8]])
        assert world.heard(runtime, NEAR) == list(range(9))
        assert shard_of(runtime).totals["healed"] == 5
        assert "lost" not in shard_of(runtime).totals

    async def test_a_gap_larger_than_a_chunk_is_read_whole(self, world: World, runtime: Runtime) -> None:
        """In several records, each committed."""
        world.put(0, *(telemetry(OTHER, number) for number in range(1203)))
        await runtime.deliver(0, world.events(0, 0, 0) + world.events(0, 1202))
        assert world.heard(runtime, OTHER) == list(range(1203))

    @pytest.mark.parametrize("gone", [3, 4])
    async def test_an_expired_event_that_the_trigger_still_has_is_no_stranger(
        self, world: World, runtime: Runtime, gone: int
    ) -> None:
        """It was fetched before it expired; the owner that counted it lost came no further than that."""

        class FullJournal:
            """Takes a claim and the record of the loss, and no more."""

            appends = 2

            def __getattr__(self, name: str) -> object:
                return getattr(world.journal, name)

            async def append(self, path: str, position: int, data: bytes) -> None:
                if not self.appends:
                    raise Unanswered(path)
                self.appends -= 1
                await world.journal.append(path, position, data)

        events = world.put(0, *(telemetry(NEAR, number) for number in range(5)))
        await runtime.deliver(0, events[:1])
        world.mailbox.expire(0, gone)
        ports = msgspec.structs.replace(world.ports(), journal=FullJournal())
        with pytest.raises(Unavailable):
            await Runtime({"probe": PROBE_TYPE}, ports, lambda: "cut").deliver(0, events[4:])
        await world.runtime().deliver(0, events[gone - 1 :])
        restored = await world.restored(0)
        assert (balance(restored), restored.totals["lost"]) == (5, gone - 1)

    async def test_a_channel_goes_on_after_a_forward_that_expired(self, world: World, runtime: Runtime) -> None:
        """What was lost with it is counted; the next forward is no hole for ever."""
        other = world.runtime()
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 1)))
        await other.deliver(1, world.put(1, telemetry(NEAR, 2)))  # forwarded as event 1 of partition 0
        world.mailbox.expire(0, 2)
        await other.deliver(1, world.put(1, telemetry(NEAR, 3), telemetry(NEAR, 4)))
        await runtime.deliver(0, world.events(0, 2))
        assert world.heard(runtime, NEAR) == [1, 3, 4]
        totals = shard_of(runtime).totals
        assert (totals["lost"], totals["forwards_lost"]) == (1, 1)
        assert same(await world.restored(0), shard_of(runtime))

    async def test_what_expired_is_counted_lost(self, world: World, runtime: Runtime) -> None:
        """Loudly, and the rest is folded; even where all of the gap is gone."""
        events = world.put(0, *(telemetry(NEAR, number) for number in range(8)))
        await runtime.deliver(0, events[:1])
        world.mailbox.expire(0, 3)
        await runtime.deliver(0, events[5:6])
        assert world.heard(runtime, NEAR) == [0, 3, 4, 5]
        assert shard_of(runtime).totals["lost"] == 2
        world.mailbox.expire(0, 7)
        await runtime.deliver(0, events[7:])
        assert world.heard(runtime, NEAR) == [0, 3, 4, 5, 7]
        assert shard_of(runtime).totals["lost"] == 3
        assert balance(shard_of(runtime)) == 8
        assert same(await world.restored(0), shard_of(runtime))

    async def test_a_gap_that_only_our_memory_has_is_no_gap(self, world: World, runtime: Runtime) -> None:
        """Another owner folded it: we are fenced, and nothing is read again or counted."""
        events = world.put(0, *(telemetry(NEAR, number) for number in range(5)))
        await runtime.deliver(0, events[:1])
        await world.runtime().deliver(0, events[:4])
        reads = []
        world.mailbox.read = lambda *gap: reads.append(gap)
        with pytest.raises(Fenced):
            await runtime.deliver(0, events[4:])
        assert reads == []
        await runtime.deliver(0, events[4:])
        assert world.heard(runtime, NEAR) == [0, 1, 2, 3, 4]
        assert "healed" not in shard_of(runtime).totals

    async def test_a_partition_begins_at_its_oldest_event(self, world: World, runtime: Runtime) -> None:
        """What expired before the first start is nobody's loss; what the trigger skipped since is read."""
        events = world.put(0, *(telemetry(NEAR, number) for number in range(6)))
        world.mailbox.expire(0, 2)
        await runtime.deliver(0, events[4:])
        assert world.heard(runtime, NEAR) == [2, 3, 4, 5]


class TestOwners:
    """One writer."""

    async def test_the_stale_one_is_fenced_and_sends_nothing(self, world: World, runtime: Runtime) -> None:
        """Its append fails, its memory goes, its effects stay away."""
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 1)))
        await world.runtime().deliver(0, world.events(0))
        sent, patched = len(world.mailbox.partitions[1]), dict(world.graph.twins)
        batch = world.put(0, telemetry(NEAR, 2), telemetry(FAR, 3))
        with pytest.raises(Fenced):
            await runtime.deliver(0, batch)
        assert runtime.shard(0) is None
        assert (len(world.mailbox.partitions[1]), world.graph.twins) == (sent, patched)

    async def test_two_take_turns(self, world: World, runtime: Runtime) -> None:
        """However often ownership goes to and fro, each event counts once and epochs rise."""
        other, epochs = world.runtime(), []
        for number in range(12):
            world.put(0, telemetry(NEAR, number))
            for one in (runtime, other):
                for _ in range(2):
                    try:
                        await one.deliver(0, world.events(0, number))
                    except Fenced:
                        continue
                    epochs.append(shard_of(one).epoch)
                    break
        assert epochs == sorted(epochs)
        assert world.heard(other, NEAR) == list(range(12))
        assert shard_of(other).totals["fenced"] > 0

    async def test_an_owner_that_slept_asks_before_it_sends(self, world: World, runtime: Runtime) -> None:
        """A process that wakes from a pause has been replaced, for all it knows."""
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 1)))
        await world.runtime().deliver(0, world.events(0))
        world.clock.passed += 60
        with pytest.raises(Fenced):
            await runtime.deliver(0, world.events(0))

    @pytest.mark.parametrize("pauses", [1, 2])
    async def test_a_pause_while_an_append_is_on_its_way_counts(self, world: World, pauses: int) -> None:
        """The append stood before the pause; that it is confirmed after it proves nothing about now.

        Neither does the append that was to find out, where its answer is as late.
        """

        class PausedJournal:
            """Answers appends a minute late; at the last of them another owner has long taken over."""

            pauses = 0

            def __getattr__(self, name: str) -> object:
                return getattr(world.journal, name)

            async def append(self, path: str, position: int, data: bytes) -> None:
                await world.journal.append(path, position, data)
                if self.pauses:
                    self.pauses -= 1
                    world.clock.passed += 60
                    if not self.pauses:
                        await world.runtime().deliver(0, [])

        paused = PausedJournal()
        runtime = Runtime(
            {"probe": PROBE_TYPE}, msgspec.structs.replace(world.ports(), journal=paused), lambda: "paused"
        )
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 1)))
        paused.pauses = pauses
        with pytest.raises(Fenced):
            await runtime.deliver(0, world.put(0, telemetry(FAR, 2)))
        assert len(world.mailbox.partitions[1]) == 1  # the new owner sent it, once

    async def test_two_first_starts_agree_on_the_number_of_partitions(self, world: World, runtime: Runtime) -> None:
        """It is stored once, and stays though the hub grows."""
        await runtime.deliver(0, [])
        world.mailbox.partitions.append([])
        world.mailbox.expired.append(0)
        grown = world.runtime()
        await grown.deliver(1, world.put(1, telemetry(NEAR, 1)))
        assert len(world.mailbox.partitions[0]) == 1
        stored = await world.journal.read("partition-count")
        assert stored.data == b"2"


class TestHubs:
    """A recreated hub counts from zero again."""

    async def test_another_hub_stops_the_partition(self, world: World, runtime: Runtime) -> None:
        """At activation, by its identity, and nothing is folded."""
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 1)))
        world.mailbox._hub = "another"
        world.mailbox.partitions[0].clear()
        batch = world.put(0, telemetry(NEAR, 2), telemetry(NEAR, 3))
        with pytest.raises(PartitionStopped):
            await world.runtime().deliver(0, batch)
        assert heard_of(await world.restored(0), NEAR) == (1,)

    async def test_an_event_below_the_watermark_and_younger_stops_the_partition(
        self, world: World, runtime: Runtime
    ) -> None:
        """In a process that has been active all the while."""
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 1), telemetry(NEAR, 2)))
        world.mailbox.partitions[0].clear()
        with pytest.raises(PartitionStopped):
            await runtime.deliver(0, world.put(0, telemetry(NEAR, 3)))

    async def test_clocks_of_the_hub_need_not_be_monotone(self, world: World, runtime: Runtime) -> None:
        """An event may be enqueued, by its time, before the one in front of it; repeats of both are repeats."""
        first, second = world.put(0, telemetry(NEAR, 1), telemetry(NEAR, 2))
        second = msgspec.structs.replace(second, enqueued_time=first.enqueued_time - 5)
        world.mailbox.partitions[0][1] = second
        await runtime.deliver(0, [first, second])
        await runtime.deliver(0, [first, second])
        assert world.heard(runtime, NEAR) == [1, 2]

    async def test_a_stopped_partition_does_not_grow_its_journal(self, world: World, runtime: Runtime) -> None:
        """The trigger asks again every two seconds, for as long as the operator sleeps."""
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 1)))
        world.mailbox._hub = "another"
        stopped = world.runtime()
        sizes = []
        for _ in range(3):
            with pytest.raises(PartitionStopped):
                await stopped.deliver(0, world.events(0))
            sizes.append(len(world.journal._segments["segments/0/00000000-00000000"]))
        assert len(set(sizes)) == 1


class TestDeadLetters:
    """What cannot be folded is kept, and can be replayed."""

    async def test_it_is_kept_with_its_reason(self, world: World, runtime: Runtime) -> None:
        """The others of the batch are folded."""
        world.put(0, telemetry(NEAR, 1), raw(NEAR, b"no JSON", message_id="bad"), telemetry(NEAR, 2))
        await runtime.deliver(0, world.events(0))
        assert world.heard(runtime, NEAR) == [1, 2]
        assert shard_of(runtime).letters == {"0-1": "not_json"}
        stored = await world.journal.read(letter_path("0-1"))
        letter = msgspec.msgpack.decode(stored.data)
        assert (letter["event"]["body"], letter["event"]["message_id"], letter["twin_id"]) == (b"no JSON", "bad", NEAR)

    @pytest.mark.parametrize("is_restarted", [False, True])
    async def test_a_replay_folds_and_strikes_at_once(
        self, world: World, runtime: Runtime, *, is_restarted: bool
    ) -> None:
        """Once; the twin was made meanwhile."""
        stranger = twin_at(0, number=3)
        await runtime.deliver(0, world.put(0, telemetry(stranger, 1)))
        assert shard_of(runtime).letters == {"0-0": "no_such_twin"}
        world.graph.twins[stranger] = GraphTwin(PROBE, "made", {})
        if is_restarted:
            runtime = world.runtime()
        world.put(0, own(Kind.REPLAY, letter="0-0"), own(Kind.REPLAY, letter="0-0"))
        await runtime.deliver(0, world.events(0))
        assert world.heard(runtime, stranger) == [1]
        assert shard_of(runtime).letters == {}
        assert shard_of(runtime).totals["replays_ignored"] == 1
        assert await world.journal.read(letter_path("0-0")) is None

    async def test_a_struck_letter_stays_struck(self, world: World, runtime: Runtime) -> None:
        """Even where its body still lies in storage."""
        stranger = twin_at(0, number=3)
        await runtime.deliver(0, world.put(0, telemetry(stranger, 1)))
        body = await world.journal.read(letter_path("0-0"))
        world.graph.twins[stranger] = GraphTwin(PROBE, "made", {})
        await runtime.deliver(0, world.put(0, own(Kind.REPLAY, letter="0-0")))
        await world.journal.write(letter_path("0-0"), body.data)
        await runtime.deliver(0, world.put(0, own(Kind.REPLAY, letter="0-0")))
        await world.runtime().deliver(0, world.events(0))
        assert heard_of(await world.restored(0), stranger) == (1,)

    async def test_a_replay_that_fails_again_is_a_new_letter(self, world: World, runtime: Runtime) -> None:
        """The old one is struck: there is always one letter for one message."""
        world.put(0, raw(NEAR, b"no JSON"), own(Kind.REPLAY, letter="0-0"))
        await runtime.deliver(0, world.events(0, 0, 0))
        await runtime.deliver(0, world.events(0))
        assert shard_of(runtime).letters == {"0-1": "not_json"}
        assert balance(shard_of(runtime)) == 2

    async def test_a_replay_of_nothing_is_ignored(self, world: World, runtime: Runtime) -> None:
        """And counted."""
        world.put(0, own(Kind.REPLAY, letter="0-77"), own(Kind.REPLAY))
        await runtime.deliver(0, world.events(0))
        assert shard_of(runtime).totals == {"claims": 1, "replays_ignored": 2}

    @pytest.mark.parametrize("body", [None, b"", b"\xc1", b"\x80"])
    async def test_a_letter_whose_body_is_gone_or_damaged_stays_open(
        self, world: World, runtime: Runtime, body: bytes | None
    ) -> None:
        """Its replay is ignored and counted; the partition goes on."""
        await runtime.deliver(0, world.put(0, raw(NEAR, b"no JSON")))
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 1)))
        await world.journal.delete(letter_path("0-0"))
        if body is not None:
            await world.journal.write(letter_path("0-0"), body)
        await runtime.deliver(0, world.put(0, own(Kind.REPLAY, letter="0-0"), telemetry(NEAR, 2)))
        assert world.heard(runtime, NEAR) == [1, 2]
        assert shard_of(runtime).letters == {"0-0": "not_json"}
        assert shard_of(runtime).totals["replays_ignored"] == 1

    async def test_a_misplaced_letter_is_replayed_at_its_home(self, world: World, runtime: Runtime) -> None:
        """A twin never lives in two shards."""
        await runtime.deliver(1, [])
        forward = msgspec.msgpack.encode(Forward(1, 1, telemetry(FAR, 5)))
        await runtime.deliver(0, world.put(0, own(Kind.FORWARD, forward)))
        assert shard_of(runtime).letters == {"0-0": "misplaced_twice"}
        await runtime.deliver(0, world.put(0, own(Kind.REPLAY, letter="0-0")))
        await runtime.deliver(1, world.events(1))
        assert FAR not in shard_of(runtime).twins
        assert world.heard(runtime, FAR) == [5]


class TestPoison:
    """No message stops a partition: what cannot be folded is a dead letter, whatever is wrong with it."""

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b"1",
            b"null",
            b"[[]]",
            b"{",
            b"[" * 100_000,
            b'{"a":' * 40_000,
            b"\xff\xfe",
            b'{"\\ud800": 1}',
            b'{"serial": "\\udfff"}',
            b'{"serial": ' + b"9" * 5000 + b"}",
            b'{"serial": 1e999}',
            b'{"time": "0001-01-01T00:00:00+23:59", "serial": 1}',
            b'{"time": 1e400, "serial": 1}',
            b'{"time": {"a": []}, "serial": 1}',
            b"{" + b",".join(b'"%d":0' % number for number in range(25_000)) + b"}",
            b"[" + b",".join([b"{}"] * 2_000) + b"]",
            b"x" * 300_000,
        ],
        ids=lambda body: repr(body[:24]),
    )
    async def test_bodies(self, world: World, runtime: Runtime, body: bytes) -> None:
        """The messages before and after it are folded, and the journal can be read."""
        world.put(0, telemetry(NEAR, 1), raw(NEAR, body), raw(OTHER, body), telemetry(NEAR, 2))
        await runtime.deliver(0, world.events(0))
        heard = world.heard(runtime, NEAR)
        assert (heard[0], heard[-1]) == (1, 2)
        assert balance(shard_of(runtime)) == 4
        assert same(await world.restored(0), shard_of(runtime))

    @pytest.mark.parametrize("message_id", ["x" * 100_000, "\N{SNOWMAN}", " "])
    async def test_message_ids(self, world: World, runtime: Runtime, message_id: str) -> None:
        """Any text is an id, or its message is refused."""
        world.put(0, telemetry(NEAR, 1, message_id=message_id), telemetry(NEAR, 2))
        await runtime.deliver(0, world.events(0))
        assert world.heard(runtime, NEAR)[-1] == 2
        assert same(await world.restored(0), shard_of(runtime))

    async def test_a_message_whose_record_is_too_large(self, world: World) -> None:
        """What even alone fits no append is a dead letter, however it was brought."""
        runtime = world.runtime(limits=Limits(frame_bytes=3000))
        fat = raw(NEAR, json.dumps([{}] * 200).encode())
        world.put(0, telemetry(NEAR, 1), fat, telemetry(NEAR, 2))
        forward = msgspec.msgpack.encode(Forward(1, 1, fat))
        world.put(0, own(Kind.FORWARD, forward), telemetry(NEAR, 3))
        await runtime.deliver(0, world.events(0))
        assert world.heard(runtime, NEAR) == [1, 2, 3]
        assert shard_of(runtime).letters == {"0-1": "record_too_large", "0-3": "record_too_large"}
        assert shard_of(runtime).received_channels == {1: 1}
        assert balance(shard_of(runtime)) == 5

    async def test_a_message_too_large_to_forward(self, world: World, runtime: Runtime) -> None:
        """It would wait in its channel for ever."""
        world.put(0, own(Kind.TELEMETRY, b"[" + b" " * 900_000 + b"]", twin=FAR))
        await runtime.deliver(0, world.events(0))
        assert shard_of(runtime).letters == {"0-0": "too_large"}
        assert world.mailbox.partitions[1] == []

    async def test_an_id_that_the_graph_refuses(self, world: World, runtime: Runtime) -> None:
        """A bad request is not made good by asking again."""

        class RefusingGraph:
            def __getattr__(self, name: str) -> object:
                return getattr(world.graph, name)

            async def read(self, twin_id: str) -> GraphTwin:
                from twin_actors.sinks import Refused

                if twin_id == OTHER:
                    raise Refused("400")
                return await world.graph.read(twin_id)

        runtime = Runtime({"probe": PROBE_TYPE}, msgspec.structs.replace(world.ports(), graph=RefusingGraph()))
        await runtime.deliver(0, world.put(0, telemetry(OTHER, 1), telemetry(NEAR, 2)))
        assert world.heard(runtime, NEAR) == [2]
        assert list(shard_of(runtime).letters) == ["0-0"]

    async def test_a_forged_forward(self, world: World, runtime: Runtime) -> None:
        """From no partition, from the partition itself, or with no number."""
        forwards = [Forward(1, 0, telemetry(NEAR, 1)), Forward(-1, 1, telemetry(NEAR, 2))]
        forwards.append(Forward(0, 1, telemetry(NEAR, 3)))
        world.put(0, *(own(Kind.FORWARD, msgspec.msgpack.encode(one)) for one in forwards))
        world.put(0, own(Kind.FORWARD, b"\xc1"), telemetry(NEAR, 4))
        await runtime.deliver(0, world.events(0))
        assert world.heard(runtime, NEAR) == [4]
        assert set(shard_of(runtime).letters.values()) == {"bad_forward"}
        assert shard_of(runtime).received_channels == {}

    @pytest.mark.parametrize("fault", ["raise", "surrogate", "yield", "nothing", "huge", "unreadable", "mutate"])
    async def test_turns_that_fail(self, world: World, fault: str) -> None:
        """Only the message whose turn it was; the state is as if it had never come."""

        def receive(state: Heard, message: Reading) -> object:
            serial = message.values["serial"]
            if serial != 13:
                return Turn(Heard((*state.serials, serial)))
            if fault == "raise":
                raise RuntimeError("x" * 10_000_000)
            if fault == "surrogate":
                raise RuntimeError("\ud800")
            if fault == "yield":
                return generator()
            if fault == "huge":
                return Turn(Heard((*state.serials, *range(100_000))))
            if fault == "unreadable":
                return Turn(Heard("text"))
            return None

        def generator() -> object:
            yield "not a request"

        types = {"probe": msgspec.structs.replace(PROBE_TYPE, receive=receive)}
        runtime = world.runtime(types)
        world.put(0, telemetry(NEAR, 1), telemetry(NEAR, 2, 13), telemetry(NEAR, 3), telemetry(OTHER, 4))
        await runtime.deliver(0, world.events(0))
        assert world.heard(runtime, NEAR) == [1, 3]
        assert world.heard(runtime, OTHER) == [4]
        assert list(shard_of(runtime).letters) == ["0-1"]
        assert same(await world.restored(0), shard_of(runtime))

    async def test_a_state_with_a_list_is_whole_again_after_a_failure(self, world: World) -> None:
        """A type that changes its state in place, and fails, leaves no trace."""

        class Sloppy(msgspec.Struct, frozen=True):
            serials: list[float] = []

        def receive(state: Sloppy, message: Reading) -> Turn[Sloppy]:
            state.serials.append(message.values["serial"])
            if message.values["serial"] == 13:
                raise RuntimeError
            return Turn(state)

        kind: TwinType[Sloppy] = msgspec.structs.replace(
            PROBE_TYPE, state=Sloppy, receive=receive, properties=lambda _: {}
        )
        runtime = world.runtime({"probe": kind})
        world.put(0, telemetry(NEAR, 1), telemetry(NEAR, 13), telemetry(NEAR, 2))
        await runtime.deliver(0, world.events(0))
        assert world.heard(runtime, NEAR) == [1, 2]

    async def test_a_type_that_is_gone_stops_the_partition(self, world: World, runtime: Runtime) -> None:
        """Loudly, with the twin's name: the operator deployed the wrong app."""
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 1)))
        with pytest.raises(PartitionStopped, match="probe"):
            await world.runtime({}).deliver(0, world.put(0, telemetry(NEAR, 2)))


class TestForwards:
    """Between shards, exactly once and in order."""

    async def test_a_misplaced_message_reaches_its_home(self, world: World, runtime: Runtime) -> None:
        """With its first event: device, model, time and id."""
        world.put(0, telemetry(FAR, 1), telemetry(FAR, 2, message_id="m"))
        await runtime.deliver(0, world.events(0))
        await runtime.deliver(1, world.events(1))
        assert world.heard(runtime, FAR) == [1, 2]
        assert shard_of(runtime).totals["forwarded"] == 2
        assert FAR not in shard_of(runtime).twins

    async def test_a_repeated_forward_is_skipped_and_counted(self, world: World, runtime: Runtime) -> None:
        """The sender did not hear that it had arrived."""
        await runtime.deliver(0, world.put(0, telemetry(FAR, 1), telemetry(FAR, 2)))
        again = [msgspec.structs.replace(event, sequence_number=0) for event in world.events(1)]
        world.put(1, *again)
        await runtime.deliver(1, world.events(1))
        assert world.heard(runtime, FAR) == [1, 2]
        assert shard_of(runtime, 1).totals["forwards_repeated"] == 2

    async def test_a_hole_in_a_channel_stops_the_partition(self, world: World, runtime: Runtime) -> None:
        """Something between two shards is missing; going on would lose it."""
        world.put(1, own(Kind.FORWARD, msgspec.msgpack.encode(Forward(0, 2, telemetry(FAR, 1)))))
        with pytest.raises(PartitionStopped, match="missing"):
            await runtime.deliver(1, world.events(1))

    async def test_an_outage_of_the_mailbox_keeps_order(self, world: World, runtime: Runtime) -> None:
        """What waits goes first when it is back; nothing is dropped, telemetry goes on."""

        class DeadMailbox:
            async def send(self, _partition: int, _messages: object) -> None:
                raise Unavailable("down")

        cut_off = Runtime({"probe": PROBE_TYPE}, msgspec.structs.replace(world.ports(), sender=DeadMailbox()))
        await cut_off.deliver(0, world.put(0, telemetry(FAR, 1), telemetry(NEAR, 9)))
        await cut_off.deliver(0, world.put(0, telemetry(FAR, 2)))
        assert world.heard(cut_off, NEAR) == [9]
        await runtime.deliver(0, world.put(0, telemetry(FAR, 3)))
        await runtime.deliver(1, world.events(1))
        assert world.heard(runtime, FAR) == [1, 2, 3]


class TestTicks:
    """Silence is noticed."""

    async def test_silent_twins_become_late_then_offline_then_online(self, world: World, runtime: Runtime) -> None:
        """By the time of the tick, which the partition orders after what was sent before."""
        seen = []
        world.put(0, telemetry(NEAR, 1))
        for passed in (10, 40, 400):
            world.mailbox.time += passed
            await runtime.deliver(0, world.put(0, own(Kind.TICK)))
            await runtime.deliver(0, world.events(0))
            seen.append(shard_of(runtime).twins[NEAR].connection)
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 2)))
        assert [*seen, shard_of(runtime).twins[NEAR].connection] == ["online", "late", "offline", "online"]

    async def test_a_replayed_old_message_does_not_bring_a_twin_online(self, world: World, runtime: Runtime) -> None:
        """It says nothing about now."""
        await runtime.deliver(0, world.put(0, raw(NEAR, b"no JSON"), telemetry(NEAR, 1)))
        body = await world.journal.read(letter_path("0-0"))
        good = msgspec.msgpack.decode(body.data)
        good["event"]["body"] = b'{"serial": 2}'
        await world.journal.write(letter_path("0-0"), msgspec.msgpack.encode(good))
        world.mailbox.time += 400
        await runtime.deliver(0, world.put(0, own(Kind.TICK)))
        assert shard_of(runtime).twins[NEAR].connection == "offline"
        runtime = world.runtime()
        await runtime.deliver(0, world.put(0, own(Kind.REPLAY, letter="0-0")))
        assert world.heard(runtime, NEAR) == [1, 2]
        assert shard_of(runtime).twins[NEAR].connection == "offline"

    async def test_a_tick_over_many_large_twins_fits_its_record(self, world: World) -> None:
        """It goes on at the next tick."""
        twins = [twin_at(0, number=number) for number in range(60)]
        for twin_id in twins:
            world.graph.twins[twin_id] = GraphTwin(PROBE, "made", {})
        large = Turn(Heard(tuple(float(number) for number in range(6000))))
        runtime = world.runtime({"probe": msgspec.structs.replace(PROBE_TYPE, receive=lambda _state, _message: large)})
        world.put(0, *(telemetry(twin_id, 1) for twin_id in twins))
        await runtime.deliver(0, world.events(0))
        world.mailbox.time += 100
        for _ in range(10):
            await runtime.deliver(0, world.put(0, own(Kind.TICK)))
        assert {twin.connection for twin in shard_of(runtime).twins.values()} == {"late"}


class TestJournal:
    """Snapshot + tail = whole journal = memory."""

    async def test_memory_is_what_storage_has_after_every_step(self, world: World) -> None:
        """Byte for byte, over rolls and snapshots."""
        runtime = world.runtime(limits=Limits(segment_records=3, snapshot_bytes=1500))
        for number in range(25):
            world.put(0, telemetry(NEAR, number), telemetry(FAR, 100 + number), raw(OTHER, b"?"))
            await runtime.deliver(0, world.events(0, 3 * number))
            assert same(await world.restored(0), shard_of(runtime))
        names = await world.journal.names("segments/0/")
        assert len(names) > 5
        assert len(await world.journal.names("snapshots/0/")) == 1

    async def test_a_restart_begins_at_the_snapshot(self, world: World) -> None:
        """And does not need the segments before it."""
        limits = Limits(segment_records=3, snapshot_bytes=1)
        runtime = world.runtime(limits=limits)
        for number in range(10):
            await runtime.deliver(0, world.put(0, telemetry(NEAR, number)))
        for path in (await world.journal.names("segments/0/"))[:-1]:
            await world.journal.delete(path)
        restarted = world.runtime(limits=limits)
        await restarted.deliver(0, world.put(0, telemetry(NEAR, 10)))
        assert world.heard(restarted, NEAR) == list(range(11))

    @pytest.mark.parametrize("kind", ["segments", "snapshots"])
    async def test_what_is_missing_stops_the_partition(self, world: World, kind: str) -> None:
        """Loudly, and others go on."""
        runtime = world.runtime(limits=Limits(segment_records=3, snapshot_bytes=1))
        for number in range(10):
            await runtime.deliver(0, world.put(0, telemetry(NEAR, number)))
        for path in await world.journal.names(f"{kind}/0/"):
            await world.journal.delete(path)
        restarted = world.runtime()
        with pytest.raises(PartitionStopped, match="missing"):
            await restarted.deliver(0, world.events(0))
        await restarted.deliver(1, world.put(1, telemetry(FAR, 1)))
        assert world.heard(restarted, FAR) == [1]

    async def test_nothing_left_of_a_journal_but_its_manifest_is_no_new_start(self, world: World) -> None:
        """A wiped journal must not look like an empty one."""
        runtime = world.runtime(limits=Limits(snapshot_bytes=1))
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 1)))
        for path in [*await world.journal.names("segments/"), *await world.journal.names("snapshots/")]:
            await world.journal.delete(path)
        with pytest.raises(PartitionStopped):
            await world.runtime().deliver(0, world.events(0))

    async def test_a_damaged_journal_stops_its_partition_only(self, world: World, runtime: Runtime) -> None:
        """Nothing is folded upon what cannot be read."""
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 1)))
        world.journal._segments["segments/0/00000000-00000000"][60] ^= 1
        restarted = world.runtime()
        with pytest.raises(PartitionStopped, match="damaged"):
            await restarted.deliver(0, world.put(0, telemetry(NEAR, 2)))
        await restarted.deliver(1, world.put(1, telemetry(FAR, 1)))

    async def test_a_segment_nobody_sealed_to_is_left_alone(self, world: World) -> None:
        """Its maker died between making it and sealing the one before."""
        runtime = world.runtime(limits=Limits(segment_records=2))
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 1)))
        await world.journal.create_segment("segments/0/00000001-00000001")
        await world.journal.create_segment("segments/0/00000001-00000002")
        restarted = world.runtime(limits=Limits(segment_records=2))
        for number in range(2, 8):
            await restarted.deliver(0, world.put(0, telemetry(NEAR, number)))
        assert world.heard(restarted, NEAR) == list(range(1, 8))
        assert same(await world.restored(0), shard_of(restarted))

    async def test_a_snapshot_superseded_while_it_is_read_is_looked_for_again(self, world: World) -> None:
        """The manifest was read, then another was published and the old snapshot deleted."""
        limits = Limits(snapshot_bytes=1)
        runtime = world.runtime(limits=limits)
        await runtime.deliver(0, world.put(0, telemetry(NEAR, 1)))

        class SlowReader:
            """Reads a manifest, and sleeps until it is superseded."""

            reads = 0

            def __getattr__(self, name: str) -> object:
                return getattr(world.journal, name)

            async def read(self, path: str) -> object:
                found = await world.journal.read(path)
                if path == "manifests/0" and not self.reads:
                    self.reads += 1
                    await runtime.deliver(0, world.put(0, telemetry(NEAR, 2)))
                return found

        slow = Runtime({"probe": PROBE_TYPE}, msgspec.structs.replace(world.ports(), journal=SlowReader()))
        await slow.deliver(0, world.put(0, telemetry(NEAR, 3)))
        assert world.heard(slow, NEAR) == [1, 3, 2]

    async def test_a_large_batch_is_cut_between_messages(self, world: World) -> None:
        """Into as many records as it takes; each stands for itself."""
        runtime = world.runtime(limits=Limits(frame_bytes=2500))
        world.put(0, *(telemetry(NEAR if number % 2 else OTHER, number) for number in range(80)))
        await runtime.deliver(0, world.events(0))
        assert world.heard(runtime, NEAR) == list(range(1, 80, 2))
        assert world.heard(runtime, OTHER) == list(range(0, 80, 2))
        assert same(await world.restored(0), shard_of(runtime))


async def test_counts_are_logged_not_hidden(world: World, runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    """A loss is an error in the log."""
    events = world.put(0, telemetry(NEAR, 1), telemetry(NEAR, 2), telemetry(NEAR, 3))
    await runtime.deliver(0, events[:1])
    world.mailbox.expire(0, 2)
    with caplog.at_level(logging.ERROR):
        await runtime.deliver(0, events[2:])
    assert "1 to 1 are lost" in caplog.text


def test_a_request_is_public() -> None:
    """What `receive` may yield is named by the module that gathers it."""
    assert KernelRequest.__struct_fields__ == ("kernel", "arguments")


async def test_the_last_of_a_burst_is_shown_without_a_tick(world: World, runtime: Runtime) -> None:
    """The graph takes ten updates a second of a twin; what that held back is shown before the batch ends."""
    await runtime.deliver(0, world.put(0, telemetry(NEAR, 1)))
    await runtime.deliver(0, world.put(0, telemetry(NEAR, 2)))
    shard = runtime.shard(0)
    assert shard is not None
    assert world.graph.twins[NEAR].state_version == shard.twins[NEAR].state_version
