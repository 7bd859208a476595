"""Timers of twins: durable, run once each by the tick after they are due, whoever owns the twin then."""

from typing import Any

import msgspec
import pytest

from tests.twin_actors.traveller import IDS, NAP_SECONDS, TYPES, State, depart, states, travellers
from tests.twin_actors.world import PROBE_TYPE, START, Heard, World, balance, same, telemetry, twin_at
from twin_actors import intake
from twin_actors.errors import Rejected
from twin_actors.messages import KIND, Event, Kind, Reading, TimerDue, Told
from twin_actors.ownership import Limits
from twin_actors.runtime import Runtime
from twin_actors.shard import Shard
from twin_actors.sweep import SLICE_TWINS
from twin_actors.telling import MAX_TIMERS
from twin_actors.twin import CancelTimer, SetTimer, Tell, Turn

ME, YOU = twin_at(0, 1), twin_at(0, 1, 1)


@pytest.fixture
def world() -> World:
    """One partition, two twins."""
    return World(1, known=(ME, YOU))


def kind(receive: Any, *hears: type) -> dict[str, Any]:
    """Return a probe that does this with whatever it hears."""
    return {
        "probe": msgspec.structs.replace(PROBE_TYPE, receive=receive, hears=frozenset(hears or {Reading, TimerDue}))
    }


def tick() -> Event:
    """Return a tick."""
    return Event(sequence_number=0, enqueued_time=0.0, body=b"{}", properties={KIND: Kind.TICK.value})


async def hear(world: World, runtime: Runtime, *events: Event, at: float) -> None:
    """Put events into the mailbox some time after the start, and deliver them."""
    world.mailbox.time = max(world.mailbox.time, START + at)
    await runtime.deliver(0, world.put(0, *events))


def shard_of(runtime: Runtime) -> Shard:
    """Return the shard."""
    shard = runtime.shard(0)
    assert shard is not None
    return shard


class Alarm:
    """A receive that sets what it is told to, by the reading's serial number, and notes which timers it heard of."""

    def __init__(self, *outputs: tuple[Any, ...]) -> None:
        self.outputs = outputs
        self.heard: list[TimerDue] = []

    def __call__(self, state: Heard, message: Reading | TimerDue) -> Turn[Heard]:
        """Set, or note."""
        if isinstance(message, Reading):
            return Turn(state, self.outputs[int(message.values["serial"])])
        self.heard.append(message)
        return Turn(Heard((*state.serials, message.time - START)))


def remembered(runtime: Runtime, twin_id: str) -> tuple[float, ...]:
    """Return what a twin remembers: seconds after the start at which its timers were due."""
    return msgspec.msgpack.decode(shard_of(runtime).twins[twin_id].state, type=Heard).serials


def at(seconds: float, name: str = "t") -> SetTimer:
    """Return a timer so many seconds after the start."""
    return SetTimer(name, START + seconds)


class TestDue:
    """When a timer is heard of."""

    async def test_by_the_first_tick_after_its_time(self, world: World) -> None:
        """Not before, and once, however many ticks there are."""
        alarm = Alarm((at(60.0),))
        runtime = world.runtime(kind(alarm))
        await hear(world, runtime, telemetry(ME, 0), at=1.0)
        for seconds in (30.0, 59.0):
            await hear(world, runtime, tick(), at=seconds)
        assert remembered(runtime, ME) == ()
        assert shard_of(runtime).twins[ME].timers == {"t": START + 60.0}
        await hear(world, runtime, tick(), tick(), at=75.0)
        await hear(world, runtime, tick(), at=90.0)
        await runtime.deliver(0, world.events(0))
        assert remembered(runtime, ME) == (60.0,)
        assert alarm.heard[-1] == TimerDue("t", START + 60.0)
        assert shard_of(runtime).twins[ME].timers == {}
        assert shard_of(runtime).totals["timers"] == 1

    async def test_in_order_of_time_then_name(self, world: World) -> None:
        """Of one twin, whatever the order they were set in."""
        alarm = Alarm((at(20.0, "b"), at(30.0, "z"), at(20.0, "a"), at(10.0, "y"), at(99.0, "later")))
        runtime = world.runtime(kind(alarm))
        await hear(world, runtime, telemetry(ME, 0), at=1.0)
        await hear(world, runtime, tick(), at=40.0)
        assert [due.name for due in alarm.heard] == ["y", "a", "b", "z"]
        assert shard_of(runtime).twins[ME].state_version == 2  # one commit for the reading, one for the sweep

    async def test_it_can_be_moved_and_cancelled(self, world: World) -> None:
        """By a later message, by the same turn, and by the turn of a timer that is due with it."""
        alarm = Alarm(
            (at(10.0), at(10.0, "other")),
            (at(30.0),),
            (CancelTimer("t"), CancelTimer("none"), at(50.0), CancelTimer("t")),
        )
        runtime = world.runtime(kind(alarm))
        await hear(world, runtime, telemetry(ME, 0, 1), at=1.0)
        await hear(world, runtime, tick(), at=20.0)
        assert [due.name for due in alarm.heard] == ["other"]
        await hear(world, runtime, telemetry(ME, 2), at=25.0)
        await hear(world, runtime, tick(), at=60.0)
        assert [due.name for due in alarm.heard] == ["other"]
        assert shard_of(runtime).twins[ME].timers == {}

        def cancel(state: Heard, message: Reading | TimerDue) -> Turn[Heard]:
            if isinstance(message, Reading):
                return Turn(state, (at(70.0, "a"), at(70.0, "b"), at(70.0, "c")))
            return Turn(Heard((*state.serials, ord(message.name))), (CancelTimer("b"), at(80.0, "c")))

        runtime = world.runtime(kind(cancel))
        await hear(world, runtime, telemetry(YOU, 0), at=61.0)
        await hear(world, runtime, tick(), at=75.0)
        assert remembered(runtime, YOU) == (ord("a"),)
        assert shard_of(runtime).twins[YOU].timers == {"c": START + 80.0}

    async def test_event_time_counts(self, world: World) -> None:
        """A device whose readings come an hour late: its timer is due when its own time gets there."""
        alarm = Alarm((at(-3600.0 + 60.0),), ())
        runtime = world.runtime(kind(alarm))
        late = msgspec.structs.replace(telemetry(ME), body=b'{"serial": 0, "time": %d}' % (START - 3600))
        await hear(world, runtime, late, at=10.0)
        await hear(world, runtime, tick(), at=60.0)  # 50 s after it was heard of
        assert alarm.heard == []
        await hear(world, runtime, tick(), at=80.0)
        assert remembered(runtime, ME) == (-3540.0,)

    async def test_one_that_is_set_to_the_past_waits_for_the_next_tick(self, world: World) -> None:
        """Also by the turn of a timer: a sweep ends."""

        def again(state: Heard, message: Reading | TimerDue) -> Turn[Heard]:
            return Turn(Heard((*state.serials, message.time - START)), (at(len(state.serials)),))

        runtime = world.runtime(kind(again))
        await hear(world, runtime, telemetry(ME, 0), at=50.0)
        for seconds in (60.0, 61.0, 62.0):
            await hear(world, runtime, tick(), at=seconds)
        assert len(remembered(runtime, ME)) == 4
        assert remembered(runtime, ME)[1:] == (0.0, 1.0, 2.0)

    async def test_what_its_turn_puts_out_is_committed_with_it(self) -> None:
        """Kernels, messages and further timers work as for a reading."""
        world = travellers()
        runtime = world.runtime(TYPES)
        world.put(0, depart(0, 5, "8182"))
        await world.deliver_all(runtime)
        for nap in (1, 2):
            world.mailbox.time = START + 100.0 * nap
            for partition in world.partitions:
                await runtime.tick(partition)
            await world.deliver_all(runtime)
        found = states([runtime.shard(partition) for partition in world.partitions])
        assert found[IDS[0]] == State((("device", 5, "8182"), ("timer", 5, "182")), ((IDS[1], 5, "82"),), 10.0)
        assert found[IDS[1]].heard == ((IDS[0], 5, "82"), ("timer", 5, "2"))
        assert found[IDS[2]].heard == ((IDS[1], 5, ""),)
        assert NAP_SECONDS < 100.0


class TestOwners:
    """Timers belong to the twin, not to a process."""

    async def test_the_next_owner_runs_what_is_due(self, world: World) -> None:
        """From the journal, and from a snapshot; the one before is fenced."""
        alarm = Alarm((at(60.0),))
        first = world.runtime(kind(alarm), limits=Limits(snapshot_bytes=1))
        await hear(world, first, telemetry(ME, 0), at=1.0)
        second = world.runtime(kind(alarm))
        await hear(world, second, tick(), at=75.0)
        third = world.runtime(kind(alarm))
        await hear(world, third, tick(), at=90.0)
        assert remembered(third, ME) == (60.0,)
        assert shard_of(third).totals["timers"] == 1
        assert same(await world.restored(0), shard_of(third))

    async def test_a_tick_without_its_sweep_is_made_up_for(self, world: World) -> None:
        """The process dies after the tick is folded: the next tick finds the timer where it was."""
        alarm = Alarm((at(60.0),))
        first = world.runtime(kind(alarm))
        await hear(world, first, telemetry(ME, 0), at=1.0)
        world.mailbox.time = START + 75.0
        (late,) = world.put(0, tick())
        await intake.take(first._active[0], [late])
        second = world.runtime(kind(alarm))
        await second.deliver(0, [])
        assert remembered(second, ME) == ()
        await hear(world, second, tick(), at=90.0)
        assert remembered(second, ME) == (60.0,)

    async def test_a_sweep_that_is_cut_short_goes_on_with_the_next_tick(self) -> None:
        """More twins than a slice, more slices than there is time for: each timer once."""
        count = SLICE_TWINS + 500
        world = World(1, known=(ME,))
        turns: list[float] = []

        def receive(state: Heard, message: Reading | TimerDue) -> Turn[Heard]:
            if isinstance(message, TimerDue):
                turns.append(message.time)
                world.clock.passed += 0.01  # a turn knows no time; the test lets it take some
                return Turn(Heard((*state.serials, message.time - START)))
            return Turn(state, (at(60.0),))

        runtime = world.runtime(kind(receive))
        twins = [f"twin-{number}" for number in range(count)]
        for twin_id in twins:
            world.graph.twins[twin_id] = world.graph.twins[ME]
        await hear(world, runtime, *(telemetry(twin_id, 0) for twin_id in twins), at=1.0)
        await hear(world, runtime, tick(), at=75.0)
        first = shard_of(runtime).totals["timers"]
        assert 0 < first < count
        assert len(turns) == first  # no turn is run for another slice than the one that keeps it
        for seconds in range(80, 100):
            await hear(world, runtime, tick(), at=float(seconds))
        assert shard_of(runtime).totals["timers"] == count
        assert all(remembered(runtime, twin_id) == (60.0,) for twin_id in twins)

    async def test_a_record_that_would_be_too_large_is_cut(self, world: World) -> None:
        """What timers put out fits the append, twin by twin."""

        def receive(state: Heard, message: Reading | TimerDue | Told) -> Turn[Heard]:
            if isinstance(message, Reading):
                return Turn(state, tuple(at(60.0, f"t{number}") for number in range(8)))
            if isinstance(message, TimerDue):
                return Turn(state, (Tell(ME, message.name, "x" * 1000),))
            return Turn(Heard((*state.serials, float(message.name[1:]))))

        runtime = world.runtime(kind(receive, Reading, TimerDue, Told), limits=Limits(frame_bytes=14_000))
        await hear(world, runtime, telemetry(ME, 0), telemetry(YOU, 0), at=1.0)
        await hear(world, runtime, tick(), at=75.0)
        assert shard_of(runtime).totals["timers"] == 16
        await runtime.deliver(0, world.events(0))
        assert sorted(remembered(runtime, ME)) == sorted([*range(8)] * 2)


class TestFaults:
    """A timer whose turn is refused is over, in sight."""

    async def test_it_is_counted_and_logged_and_others_go_on(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nothing of the turn that raised is kept."""

        def receive(state: Heard, message: Reading | TimerDue) -> Turn[Heard]:
            if isinstance(message, Reading):
                return Turn(state, (at(10.0, "a"), at(20.0, "bad"), at(30.0, "c")))
            if message.name == "bad":
                raise ValueError("thirteen")
            return Turn(Heard((*state.serials, message.time - START)))

        runtime = world.runtime(kind(receive))
        await hear(world, runtime, telemetry(ME, 0), telemetry(YOU, 0), at=1.0)
        await hear(world, runtime, tick(), at=40.0)
        assert remembered(runtime, ME) == remembered(runtime, YOU) == (10.0, 30.0)
        counts = shard_of(runtime).totals
        assert (counts["timers"], counts["timers_failed"]) == (6, 2)
        assert shard_of(runtime).twins[ME].timers == {}
        assert f"timer bad of twin {ME} is dropped: turn_failed" in caplog.text
        assert balance(shard_of(runtime)) == 3

    @pytest.mark.parametrize(
        "outputs",
        [
            (SetTimer("", START),),
            (SetTimer("x" * 65, START),),
            (SetTimer("t", float("nan")),),
            (SetTimer("t", -1.0),),
            (SetTimer("t", 1e12),),
            (SetTimer("t", "soon"),),
            tuple(at(1.0, f"t{number}") for number in range(MAX_TIMERS + 1)),
        ],
        ids=["no name", "long name", "NaN", "before 1970", "too late", "no number", "too many"],
    )
    async def test_one_that_cannot_be_kept_refuses_the_turn(self, world: World, outputs: tuple[Any, ...]) -> None:
        """In sight, as a dead letter."""
        runtime = world.runtime(kind(Alarm(outputs)))
        await hear(world, runtime, telemetry(ME, 0), at=1.0)
        assert list(shard_of(runtime).letters) == ["0-0"]
        assert shard_of(runtime).twins == {}

    async def test_a_type_that_does_not_hear_timers_sets_none(self, world: World) -> None:
        """It would wait for nothing."""
        runtime = world.runtime(kind(Alarm((at(60.0),)), Reading))
        await hear(world, runtime, telemetry(ME, 0), at=1.0)
        assert shard_of(runtime).letters == {"0-0": "bad_output"}

    async def test_timers_that_a_refused_message_set_are_not_set(self, world: World) -> None:
        """All rows of a message, or none."""

        def receive(state: Heard, message: Reading | TimerDue) -> Turn[Heard]:
            if message.values["serial"] == 2:
                raise Rejected("no", "no")
            return Turn(state, (at(60.0, f"t{message.values['serial']:g}"),))

        runtime = world.runtime(kind(receive))
        await hear(world, runtime, telemetry(ME, 0), telemetry(ME, 1, 2), at=1.0)
        assert shard_of(runtime).twins[ME].timers == {"t0": START + 60.0}
