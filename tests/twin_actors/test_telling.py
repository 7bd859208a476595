"""Twins tell each other: committed with the turn, heard once, in order, and never without end."""

import contextlib
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twin_actors import kettle
from tests.twin_actors.traveller import IDS, PARTITIONS, TYPES, check_channels, depart, expected, states, travellers
from tests.twin_actors.world import PROBE_TYPE, START, Heard, World, balance, same, telemetry, twin_at
from twin_actors.commit import Commit, decode
from twin_actors.errors import Fenced, PartitionStopped, Rejected, Unavailable
from twin_actors.identity import home_partition
from twin_actors.messages import KIND, LETTER, TWIN, Event, Forward, Kind, Reading, Told
from twin_actors.ownership import Limits
from twin_actors.runtime import Runtime
from twin_actors.shard import Shard
from twin_actors.sinks import GraphTwin
from twin_actors.snapshot import restore, segment_path
from twin_actors.telling import MAX_FOLLOWING, MAX_SAID_BYTES, MAX_TELL_BYTES, MAX_TELLS, Said, Telling, open_tell
from twin_actors.twin import WHOLE, Tell, Turn

ME, YOU = twin_at(0), twin_at(1)


@pytest.fixture
def world() -> World:
    """Two partitions, a twin in each."""
    return World(known=(ME, YOU))


async def commits(world: World, partition: int) -> list[Commit]:
    """Return the commits in the first segment of a partition."""
    data = await world.journal.read_segment(segment_path(partition, 0, 0), 0)
    return [record for record, _, _ in decode(data, 0, "segment") if isinstance(record, Commit)]


def talker(receive: Callable[..., Any], *, hears: frozenset[type] = frozenset({Reading, Told})) -> dict[str, Any]:
    """Return a probe that does this with whatever it hears."""
    return {"probe": msgspec.structs.replace(PROBE_TYPE, receive=receive, hears=hears)}


def shards(runtime: Runtime, world: World) -> list[Shard]:
    """Return all shards of a runtime."""
    found = [runtime.shard(partition) for partition in world.partitions]
    return [shard for shard in found if shard is not None]


def totals(runtime: Runtime, world: World) -> Counter[str]:
    """Return the counts of all partitions together, of which each balances."""
    counts: Counter[str] = Counter()
    for shard in shards(runtime, world):
        assert balance(shard) == len(world.mailbox.partitions[shard.partition])
        counts.update(shard.totals)
    return counts


class TestPaths:
    """A message finds its twin, wherever that lives."""

    @pytest.mark.parametrize("path", ["", "1", "3", "0", "12012", "000", "303", "9", "19"])
    async def test_each_hop_is_heard_once(self, path: str) -> None:
        """To another partition, to the own one, to the twin itself, round in circles, to nobody."""
        world = travellers()
        runtime = world.runtime(TYPES)
        world.put(0, depart(0, 7, path))
        await world.deliver_all(runtime)
        heard = {twin_id: Counter(state.heard) for twin_id, state in states(shards(runtime, world)).items()}
        assert heard == expected([(0, 7, path)])
        counts = totals(runtime, world)
        ghosts = path.count("9")
        assert (counts["tells"], counts["told"], counts["readings"]) == (len(path), len(path) - ghosts, 1)
        letters = [reason for shard in shards(runtime, world) for reason in shard.letters.values()]
        assert letters == ["no_such_twin"] * ghosts

    async def test_what_is_told_is_no_reading(self) -> None:
        """The receiver's device has said nothing; the message is in the record as what it is."""
        world = travellers()
        runtime = world.runtime(TYPES)
        world.put(0, depart(0, 7, "1"))
        await runtime.deliver(0, world.events(0))
        await runtime.deliver(1, world.events(1))
        (twin,) = shards(runtime, world)[1].twins.values()
        assert (twin.reading_count, twin.last_reading_time, twin.connection) == (0, 0.0, "unknown")
        assert twin.last_told_time == world.events(1)[0].enqueued_time
        (commit,) = [commit for commit in await commits(world, 1) if commit.twins]
        assert (commit.accepted.twin_ids, commit.accepted.told) == ([IDS[1]], [0])
        telling = msgspec.json.decode(commit.accepted.bodies[0], type=Telling)
        assert (telling.sender, telling.cause, bytes(telling.body)) == (IDS[0], "0-0", b'[7,""]')

    async def test_it_carries_the_time_of_the_turn(self, world: World) -> None:
        """Event time goes with the message, not the time of its delivery."""
        heard: list[Told] = []

        def receive(state: Any, message: Reading | Told) -> Turn[Any]:
            if isinstance(message, Told):
                heard.append(message)
                return Turn(state)
            return Turn(state, (Tell(YOU, "level", {"value": 2.5, "ok": True, "of": [None, "x"]}),))

        runtime = world.runtime(talker(receive))
        rows = b'[{"serial": 1, "time": %d}, {"serial": 2, "time": %d}]' % (START - 60, START - 90)
        # The second is late.
        world.put(0, msgspec.structs.replace(telemetry(ME), body=rows))
        await world.deliver_all(runtime)
        content = {"value": 2.5, "ok": True, "of": [None, "x"]}
        assert heard == [Told(ME, "level", content, START - 60.0), Told(ME, "level", content, START - 90.0)]

    async def test_rules_watch_what_twins_are_told(self) -> None:
        """A twin without a device raises its alert in the turn that hears of it; see the kettle's rules."""

        def receive(state: kettle.State, message: Reading | Told) -> Turn[kettle.State]:
            if isinstance(message, Told):
                return Turn(kettle.State(temperature=message.body))
            return Turn(state, (Tell("kettle-2", "temperature", message.values["temperature"]),))

        hears = frozenset({Reading, Told})
        kind = msgspec.structs.replace(kettle.TYPE, receive=receive, hears=hears, features=None)
        world = kettle.kettles(2)
        world.graph.twins["kettle-2"] = GraphTwin(kettle.KETTLE, "made", {})
        runtime = world.runtime({"kettle": kind})
        for at in (0.0, 3.0, 6.0):
            await kettle.hear(world, runtime, kettle.reading("kettle-1", at, temperature=95.0), at=at)
            await kettle.hear(world, runtime)
        (alert,) = await kettle.alerts(world, "kettle-2")
        assert (alert.rule, alert.reason.value) == ("hot", 95.0)
        assert alert.reason.position.startswith("0-")


class TestParts:
    """Component → asset → system → process: a twin tells what it is part of."""

    async def test_a_plant_knows_its_worst_pump(self) -> None:
        """By names such as plant.line.station.pump, whose homes are anywhere; each level passes on what is news."""

        def receive(state: Heard, message: Reading | Told) -> Turn[Heard]:
            health = message.values["serial"] if isinstance(message, Reading) else message.body
            if state.serials and health >= state.serials[-1]:
                return Turn(state)
            return Turn(Heard((*state.serials, health)), (Tell(WHOLE, "health", health),))

        kind = talker(receive)
        kind = {"probe": msgspec.structs.replace(kind["probe"], part_of=lambda twin_id: twin_id.rpartition(".")[0])}
        pumps = [f"plant.line{line}.station{station}.pump{pump}" for line in "ab" for station in "ab" for pump in "abc"]
        above = ["plant", *(f"plant.line{line}" for line in "ab")]
        above += [f"plant.line{line}.station{station}" for line in "ab" for station in "ab"]
        world = World(3, known=[*pumps, *above])
        runtime = world.runtime(kind)
        for number, pump in enumerate(pumps):
            world.put(home_partition(pump, 3), telemetry(pump, 100 - number))
        await world.deliver_all(runtime, rounds=20)
        assert world.heard(runtime, "plant")[-1] == 100 - 11
        assert world.heard(runtime, "plant.linea")[-1] == 100 - 5
        assert world.heard(runtime, "plant.linea.stationa")[-1] == 100 - 2
        assert not any(shard.letters for shard in shards(runtime, world))  # the plant is part of nothing
        totals(runtime, world)


class TestWhoMaySpeak:
    """Only twins tell twins."""

    async def test_a_type_hears_what_it_names(self, world: World) -> None:
        """Anything else is a dead letter that says so; its others are folded."""
        tells = talker(lambda state, _: Turn(state, (Tell(YOU, "hello"),)), hears=frozenset({Reading}))
        runtime = world.runtime(tells)
        world.put(0, telemetry(ME, 1))
        await world.deliver_all(runtime)
        assert [shard.letters for shard in shards(runtime, world)] == [{}, {"1-0": "not_heard"}]
        deaf = world.runtime(talker(lambda state, _: Turn(state), hears=frozenset({Told})))
        world.put(1, telemetry(YOU, 1))
        await world.deliver_all(deaf)
        assert set(shards(deaf, world)[1].letters.values()) == {"not_heard"}

    async def test_a_device_cannot_tell(self, world: World) -> None:
        """What it claims is ignored: its message is its reading."""
        heard: list[object] = []

        def receive(state: Any, message: object) -> Turn[Any]:
            heard.append(message)
            return Turn(state)

        runtime = world.runtime(talker(receive))
        claims = {KIND: Kind.TELL.value, TWIN: YOU}
        world.put(0, msgspec.structs.replace(telemetry(ME, 1), properties=claims))
        forward = msgspec.msgpack.encode(Forward(1, 1, told(ME)))
        claims = {KIND: Kind.FORWARD.value}
        world.put(0, msgspec.structs.replace(telemetry(ME), body=forward, properties=claims))
        await world.deliver_all(runtime)
        assert [type(one) for one in heard] == [Reading]
        assert shards(runtime, world)[0].letters == {"0-1": "not_json"}

    async def test_nor_can_an_app(self, world: World) -> None:
        """A message on no channel could come twice."""
        runtime = world.runtime(talker(lambda state, _: Turn(state)))
        world.put(0, told(ME))
        await world.deliver_all(runtime)
        assert shards(runtime, world)[0].letters == {"0-0": "bad_tell"}

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b'{"sender":"a b","name":"x","time":1,"allowance":1,"cause":"","body":1}',
            b'{"sender":"a","name":"x","time":1,"allowance":1000000,"cause":"","body":1}',
            b'{"sender":"a","name":"x","time":1,"allowance":1,"cause":"","body":{"a":}}',
            b'{"sender":"a","name":"x","time":1,"allowance":1,"cause":"","body":' + b"[" * 5000 + b"]" * 5000 + b"}",
        ],
        ids=lambda body: repr(body[:60]),
    )
    async def test_what_no_twin_wrote_is_a_dead_letter(self, world: World, body: bytes) -> None:
        """Even where its channel is right."""
        runtime = world.runtime(talker(lambda state, _: Turn(state)))
        forward = msgspec.msgpack.encode(Forward(1, 1, msgspec.structs.replace(told(ME), body=body)))
        world.put(0, Event(sequence_number=0, enqueued_time=0.0, body=forward, properties={KIND: Kind.FORWARD.value}))
        await world.deliver_all(runtime)
        assert shards(runtime, world)[0].letters == {"0-0": "bad_tell"}
        assert shards(runtime, world)[0].received_channels == {1: 1}


class TestRefusedTurns:
    """What a turn that is refused would have told is not told."""

    @pytest.mark.parametrize(
        ("output", "why"),
        [
            (Tell("no twin", "x"), "no twin id"),
            (Tell(YOU, ""), "name"),
            (Tell(YOU, "x" * 65), "name"),
            (Tell(YOU, "x", math.nan), "JSON"),
            (Tell(YOU, "x", b"bytes"), "JSON"),
            (Tell(YOU, "x", "\ud800"), "JSON"),
            (Tell(YOU, "x", {1, 2}), "JSON"),
            (Tell(YOU, "x", "y" * MAX_TELL_BYTES), "bytes"),
            ("a text", "none of"),
        ],
        ids=repr,
    )
    async def test_outputs_that_cannot_be_kept(self, world: World, output: Any, why: str) -> None:
        """The whole message is refused with a text that says why: no state, no other tell of it."""
        first = Tell(YOU, "before")

        def receive(state: Any, message: Reading) -> Turn[Any]:
            return Turn(state, (first, output) if message.values["serial"] == 2 else (first,))

        runtime = world.runtime(talker(receive))
        world.put(0, telemetry(ME, 1), telemetry(ME, 1, 2), telemetry(ME, 1))
        await runtime.deliver(0, world.events(0))
        assert shards(runtime, world)[0].letters == {"0-1": "bad_output"}
        letter = await world.journal.read("dead-letters/0/00000000000000000001")
        assert why in letter.data.decode(errors="replace")
        assert shards(runtime, world)[0].totals["tells"] == 2
        assert len(world.events(1)) == 2

    async def test_too_many(self, world: World) -> None:
        """One turn tells sixteen at most, a message of many readings a megabyte in all."""
        many = tuple(Tell(YOU, f"n{number}") for number in range(MAX_TELLS + 1))
        big = (Tell(YOU, "big", "y" * 4000),)

        def receive(state: Any, message: Reading) -> Turn[Any]:
            return Turn(state, {1: many[:-1], 2: many, 3: big}[int(message.values["serial"])])

        runtime = world.runtime(talker(receive))
        rows = MAX_SAID_BYTES // 4000
        world.put(0, telemetry(ME, 1), telemetry(ME, 2))
        world.put(0, telemetry(ME, *[3] * (rows + 1)), telemetry(ME, *[3] * (rows // 2)))
        await runtime.deliver(0, world.events(0))
        assert shards(runtime, world)[0].letters == {"0-1": "bad_output", "0-2": "bad_output"}
        assert shards(runtime, world)[0].totals["tells"] == MAX_TELLS + rows // 2

    async def test_a_replayed_message_is_heard_then(self, world: World) -> None:
        """An operator replays what its receiver could not hear, as any dead letter."""
        refuse = [True]
        heard: list[object] = []

        def receive(state: Any, message: Reading | Told) -> Turn[Any]:
            if isinstance(message, Reading):
                return Turn(state, (Tell(YOU, "hello", 1),))
            if refuse[0]:
                raise Rejected("not_now", "later")
            heard.append(message.body)
            return Turn(state)

        runtime = world.runtime(talker(receive))
        world.put(0, telemetry(ME, 1))
        await world.deliver_all(runtime)
        assert shards(runtime, world)[1].letters == {"1-0": "not_now"}
        refuse[0] = False
        replay = {KIND: Kind.REPLAY.value, LETTER: "1-0"}
        world.put(1, Event(sequence_number=0, enqueued_time=0.0, body=b"{}", properties=replay))
        await world.deliver_all(runtime)
        assert (heard, shards(runtime, world)[1].letters) == ([1], {})
        totals(runtime, world)


class TestNoStorm:
    """Twins that answer each other do not keep it up."""

    @pytest.mark.parametrize(("answers", "heard", "given_up"), [(1, 256, 1), (2, 254, 256), (16, 16, 256)])
    async def test_a_circle_ends_as_dead_letters(self, world: World, answers: int, heard: int, given_up: int) -> None:
        """However many each one tells: of a tree of messages no more than 256 are heard."""

        def receive(state: Any, message: Reading | Told) -> Turn[Any]:
            to = YOU if isinstance(message, Reading) else message.sender
            return Turn(state, tuple(Tell(to, "again") for _ in range(answers)))

        runtime = world.runtime(talker(receive))
        world.put(0, telemetry(ME, 1))
        await world.deliver_all(runtime, rounds=300)
        counts = totals(runtime, world)
        letters = [reason for shard in shards(runtime, world) for reason in shard.letters.values()]
        assert set(letters) == {"too_many_hops"}
        assert (counts["told"], len(letters), counts["tells"]) == (heard, given_up, heard + given_up)

    @given(st.randoms(use_true_random=False), st.integers(1, MAX_TELLS))
    @settings(max_examples=30)
    def test_no_tree_of_messages_is_larger_than_allowed(self, random: Any, most: int) -> None:
        """Whatever its shape: those that may be heard are no more than one reading may lead to."""

        def heard(allowance: int) -> int:
            said = Said(twin_type=PROBE_TYPE, sender=ME, cause="0-0", timers={})
            said.take([Tell(YOU, "x")] * random.randint(0, most), 0.0, allowance)
            total = 0
            for forward in said.forwards:
                left = msgspec.json.decode(forward.event.body, type=Telling).allowance
                if left >= 0:
                    total += 1 + heard(open_tell(forward.event, YOU, 1).allowance)
                    continue
                with pytest.raises(Rejected, match="too_many_hops"):
                    open_tell(forward.event, YOU, 1)
            return total

        assert heard(MAX_FOLLOWING) <= MAX_FOLLOWING


class TestChannels:
    """Contiguous numbers, one send at a time, exactly once."""

    async def test_a_repeated_tell_is_skipped_and_counted(self) -> None:
        """To the own partition too: the sender did not hear that it had arrived."""
        world = travellers()
        runtime = world.runtime(TYPES)
        world.put(0, depart(0, 1, "3"), depart(0, 2, "3"))
        await runtime.deliver(0, world.events(0))
        again = [msgspec.structs.replace(event, sequence_number=0) for event in world.events(0)[2:]]
        world.put(0, *again)
        await runtime.deliver(0, world.events(0))
        shard = shards(runtime, world)[0]
        assert [hop[1] for hop in states([shard])[IDS[3]].heard] == [1, 2]
        assert shard.totals["forwards_repeated"] == 2
        assert shard.sent_channels == shard.received_channels == {0: 2}
        assert balance(shard) == 6

    async def test_a_hole_stops_the_partition(self) -> None:
        """In the channel to the own partition as in any other."""
        world = travellers()
        runtime = world.runtime(TYPES)
        forward = msgspec.msgpack.encode(Forward(0, 2, told(IDS[0])))
        world.put(0, Event(sequence_number=0, enqueued_time=0.0, body=forward, properties={KIND: Kind.FORWARD.value}))
        with pytest.raises(PartitionStopped, match="missing"):
            await runtime.deliver(0, world.events(0))

    async def test_tells_and_misplaced_events_share_a_channel(self) -> None:
        """One order between two partitions, whatever is sent."""
        world = travellers()
        runtime = world.runtime(TYPES)
        world.put(0, depart(0, 1, "1"), depart(1, 2, ""), depart(0, 3, "1"))
        await runtime.deliver(0, world.events(0))
        numbers = [msgspec.msgpack.decode(event.body, type=Forward).number for event in world.events(1)]
        assert numbers == [1, 2, 3]
        await world.deliver_all(runtime)
        assert sorted(hop[1] for hop in states(shards(runtime, world))[IDS[1]].heard) == [1, 2, 3]

    async def test_what_was_not_sent_is_sent_by_the_next_owner(self) -> None:
        """From the journal, and from a snapshot: first what was told first."""
        world = travellers()

        class DeadMailbox:
            async def send(self, _partition: int, _messages: object) -> None:
                raise Unavailable("down")

        ports = msgspec.structs.replace(world.ports(), sender=DeadMailbox())
        cut_off = Runtime(TYPES, ports, iter(f"cut{number}" for number in range(9)).__next__, Limits(snapshot_bytes=1))
        for trip in range(1, 5):
            await cut_off.deliver(0, world.put(0, depart(0, trip, "1"), depart(0, trip + 100, "3")))
        assert world.events(1) == []
        restored, _, manifest = await restore(world.journal, 0)
        assert manifest
        assert len(restored.outbox) == 8
        next_owner = world.runtime(TYPES)
        world.put(0, depart(0, 9, "1"))
        await world.deliver_all(next_owner)
        found = states(shards(next_owner, world))
        assert [hop[1] for hop in found[IDS[1]].heard] == [1, 2, 3, 4, 9]
        assert [hop[1] for hop in found[IDS[3]].heard] == [101, 102, 103, 104]
        check_channels(found)
        totals(next_owner, world)

    @given(
        st.lists(
            st.tuples(st.integers(0, 5), st.text("0123459", max_size=6).map(lambda path: path.split("9")[0])),
            min_size=1,
            max_size=12,
        ),
        st.randoms(use_true_random=False),
    )
    @settings(max_examples=25, deadline=None)
    async def test_whatever_the_paths_and_the_schedule(self, trips: list[tuple[int, str]], random: Any) -> None:
        """Batches of any size, repeated, from two owners in turn that are killed at will: each hop once, in order."""
        world = travellers()
        limits = Limits(segment_records=4, snapshot_bytes=2000)
        runtimes = [world.runtime(TYPES, limits=limits) for _ in range(2)]
        numbered = [(start, number, path) for number, (start, path) in enumerate(trips)]
        waiting = list(numbered)
        for _ in range(30):
            if waiting and random.random() < 0.5:
                world.put(random.randrange(PARTITIONS), depart(*waiting.pop()))  # at home or elsewhere
            if random.random() < 0.1:
                runtimes[random.randrange(2)] = world.runtime(TYPES, limits=limits)
            partition = random.randrange(PARTITIONS)
            first = random.randint(0, len(world.events(partition)))
            events = world.events(partition, first)[: random.randint(0, 4)]
            with contextlib.suppress(Fenced):
                await runtimes[random.randrange(2)].deliver(partition, events)
        for trip in waiting:
            world.put(trip[0] % PARTITIONS, depart(*trip))
        last = world.runtime(TYPES, limits=limits)
        await world.deliver_all(last, rounds=30)
        found = states(shards(last, world))
        assert {twin_id: Counter(state.heard) for twin_id, state in found.items()} == expected(numbered)
        check_channels(found)
        totals(last, world)
        for shard in shards(last, world):
            assert same(await world.restored(shard.partition), shard)


def told(twin_id: str) -> Event:
    """Return what a twin is told, as the inside of a forward."""
    body = b'{"sender":"x","name":"go","time":1,"allowance":1,"cause":"","body":[1,""]}'
    return Event(sequence_number=0, enqueued_time=0.0, body=body, properties={KIND: Kind.TELL.value, TWIN: twin_id})
