"""Twins that pass messages on: a device gives a trip and its path, each twin on the path sends it to the next.

A path is digits: 0 to 5 the twin to go to, `SLEEP` a timer of ten seconds, `GHOST` a twin that is none. So a test says
in a number where its messages go, and knows what each twin must have heard, from whom, and in which order.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Mapping
from typing import Any

import msgspec

from tests.twin_actors.world import World, double, twin_at
from twin_actors.messages import Event, Reading, TimerDue, Told
from twin_actors.shard import Shard
from twin_actors.sinks import GraphTwin
from twin_actors.twin import Channel, KernelRequest, SetTimer, Tell, Turn, TwinType, ask

MODEL = "dtmi:test:Traveller;1"
PARTITIONS = 3
IDS = [twin_at(home, PARTITIONS, number) for number in range(2) for home in range(PARTITIONS)]
"""Twin n lives in partition n % 3."""

SLEEP, GHOST = "8", "9"
NOBODY = twin_at(2, PARTITIONS, 5)
NAP_SECONDS = 10.0

type Hop = tuple[str, int, str]
"""Who it came from (device, timer, or a twin), which trip, and where it goes on."""


class State(msgspec.Struct, frozen=True):
    """What a twin heard, and what it told, in order."""

    heard: tuple[Hop, ...] = ()
    told: tuple[Hop, ...] = ()
    doubled: float = 0.0


def receive(state: State, message: Reading | Told | TimerDue) -> Generator[KernelRequest, Any, Turn[State]]:
    """Send the trip on."""
    if isinstance(message, Reading):
        sender, trip, path = "device", int(message.values["trip"]), str(int(message.values["path"]))[1:]
    elif isinstance(message, Told):
        sender, (trip, path) = message.sender, message.body
    else:
        sender, trip, path = "timer", *_parsed(message.name)
    doubled = yield ask(double, float(trip))
    heard, told = (*state.heard, (sender, trip, path)), state.told
    if not path:
        return Turn(State(heard, told, doubled))
    head, rest = path[0], path[1:]
    if head == SLEEP:
        return Turn(State(heard, told, doubled), (SetTimer(f"{trip}.{rest}", message.time + NAP_SECONDS),))
    to = NOBODY if head == GHOST else IDS[int(head)]
    return Turn(State(heard, (*told, (to, trip, rest)), doubled), (Tell(to, "go", [trip, rest]),))


def _parsed(name: str) -> tuple[int, str]:
    trip, rest = name.split(".")
    return int(trip), rest


def shown(state: State) -> Mapping[str, float]:
    """What the graph shows."""
    return {"heard": len(state.heard), "doubled": state.doubled}


TYPE: TwinType[State] = TwinType(
    name="traveller",
    model=MODEL,
    state=State,
    receive=receive,
    properties=shown,
    channels=(Channel("trip", 0.0, 1e9), Channel("path", 0.0, 1e15)),
    hears=frozenset({Reading, Told, TimerDue}),
)
TYPES: dict[str, TwinType[Any]] = {"traveller": TYPE}


def travellers(**more: Any) -> World:
    """A world whose graph has all travellers."""
    world = World(PARTITIONS, **more)
    for twin_id in IDS:
        world.graph.twins[twin_id] = GraphTwin(MODEL, f"made-{twin_id}", {})
    return world


def depart(start: int, trip: int, path: str) -> Event:
    """Return the device's message that begins a trip at a twin."""
    body = json.dumps({"trip": trip, "path": int(f"1{path}")}).encode()
    return Event(sequence_number=0, enqueued_time=0.0, body=body, device_id=IDS[start])


def states(shards: Iterable[Shard | None]) -> dict[str, State]:
    """Return what each twin remembers."""
    found: dict[str, State] = {}
    for shard in shards:
        assert shard is not None
        for twin in shard.twins.values():
            found[twin.twin_id] = msgspec.msgpack.decode(twin.state, type=State)
    return found


def expected(trips: Iterable[tuple[int, int, str]]) -> dict[str, Counter[Hop]]:
    """Return what each twin must hear of trips (start, number, path), by the meaning of a path alone."""
    hops: dict[str, Counter[Hop]] = defaultdict(Counter)
    for start, trip, whole in trips:
        at, sender, path = IDS[start], "device", whole
        hops[at][sender, trip, path] += 1
        while path and path[0] != GHOST:
            if path[0] == SLEEP:
                sender = "timer"
            else:
                sender, at = at, IDS[int(path[0])]
            path = path[1:]
            hops[at][sender, trip, path] += 1
    return hops


def check_channels(found: Mapping[str, State]) -> None:
    """Between two twins, what one told is what the other heard, once and in order."""
    for sender, there in found.items():
        for receiver, here in found.items():
            told = [(trip, path) for to, trip, path in there.told if to == receiver]
            heard = [(trip, path) for by, trip, path in here.heard if by == sender]
            assert heard == told, (sender, receiver)
