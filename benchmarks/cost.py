"""What do a million events cost: calls of storage and of the graph, bytes, time of a core; and in other designs?

The same readings of 1,000 pumps, batches of 1,000, three times, each in a process of its own:

*ours*      the runtime, with the journal on Azurite and the graph in the emulator, over the genuine SDKs
*naive*     what a first version would do: per event one read and one conditional write of the pump's state as a blob,
            and one patch of its twin in the graph, sixteen at a time; the turn is the same
*entities*  Durable Entities: an entity a pump, a signal an event, on the in-memory backend of `durabletask`, whose
            state is in no storage at all; installed on demand

Counted are calls and bytes, measured is the time of the core; what Azure charges for them is not asked here. Event Hubs
charges a million events the same, whoever folds them.
"""

import asyncio
import functools
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.recovery import Counting, readings
from benchmarks.report import tell
from functions import wiring
from local_emulator.emulator import PORTS, Plan, running
from tests.twin_actors.world import World
from twin_actors.clock import SystemClock
from twin_actors.messages import Envelope, Event, open_envelope
from twin_actors.settings import read_settings
from twin_actors.sinks.digital_twins import DigitalTwinsGraph
from twin_actors.turn import new_twin, one_by_one
from twin_actors.types.pump.twin import TWIN
from twin_actors.work import Work

ROOT = Path(__file__).parents[1]
PACKAGES = ROOT / "build" / "benchmarks"
DURABLETASK = "durabletask==1.12.0"
BATCH = 1_000
BATCHES = {"ours": 100, "naive": 3, "entities": 5}
WARM = {"ours": 10, "naive": 1, "entities": 1}
AT_ONCE = 16
MILLION = 1_000_000


class CountingGraph:
    """A graph whose calls are counted."""

    def __init__(self, graph: DigitalTwinsGraph) -> None:
        self._graph = graph
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._graph, name)

        @functools.wraps(method)
        async def counted(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401  as the method's
            self.calls[name] += 1
            return await method(*arguments, **options)

        return counted


def per_million(way: str, began: tuple[float, float], counts: dict[str, float]) -> dict[str, float]:
    """Return what a million events take, of what was counted since."""
    share = MILLION / (BATCH * BATCHES[way])
    wall, core = time.perf_counter() - began[0], time.process_time() - began[1]
    return {name: count * share for name, count in {**counts, "core_seconds": core, "seconds": wall}.items()}


def counted(journal: Counting, graph: CountingGraph) -> dict[str, float]:
    """Return what was counted."""
    return {
        "storage_calls": float(journal.calls.total()),
        "storage_bytes": float(journal.bytes.total()),
        "graph_patches": float(graph.calls["patch"]),
    }


def now() -> tuple[float, float]:
    """Return the time on the wall and of the core."""
    return time.perf_counter(), time.process_time()


async def ours() -> dict[str, float]:
    """Fold all of it with the runtime."""
    settings = read_settings(os.environ)
    journal = Counting(wiring.make_journal(settings))
    graph = CountingGraph(DigitalTwinsGraph(wiring.make_digital_twins(settings)))
    world = World(1, journal)  # type: ignore[arg-type]
    world.graph, world.clock = graph, SystemClock()  # type: ignore[assignment]
    await journal.create_container()
    runtime = world.runtime({"pump": TWIN})
    began = now()
    for batch in range(WARM["ours"] + BATCHES["ours"]):
        events = readings(batch * BATCH, range(BATCH))
        if batch == WARM["ours"]:
            journal.calls.clear()
            journal.bytes.clear()
            graph.calls.clear()
            began = now()
        await runtime.deliver(0, events)
    found = per_million("ours", began, counted(journal, graph))
    await runtime.close()
    return found


async def naive() -> dict[str, float]:
    """Fold all of it as a first version would."""
    settings = read_settings(os.environ)
    journal = Counting(wiring.make_journal(settings))
    graph = CountingGraph(DigitalTwinsGraph(wiring.make_digital_twins(settings)))
    await journal.create_container()
    tags: dict[str, str] = {}
    limit = asyncio.Semaphore(AT_ONCE)

    async def fold(event: Event) -> None:
        async with limit:
            await fold_one(journal, graph, tags, open_envelope(event, event.sequence_number))

    began = now()
    for batch in range(WARM["naive"] + BATCHES["naive"]):
        if batch == WARM["naive"]:
            journal.calls.clear()
            journal.bytes.clear()
            graph.calls.clear()
            began = now()
        await asyncio.gather(*(fold(event) for event in readings(batch * BATCH, range(BATCH))))
    found = per_million("naive", began, counted(journal, graph))
    await journal.close()
    await graph.close()
    return found


async def fold_one(journal: Counting, graph: CountingGraph, tags: dict[str, str], envelope: Envelope) -> None:
    """Read a pump's state, fold a reading, write it back, and patch its twin."""
    twin_id = envelope.twin_id
    stored = await journal.read(f"states/{twin_id}")
    twin = new_twin(twin_id, TWIN) if stored is None else msgspec.msgpack.decode(stored.data, type=type(_PUMP))
    (folded,) = one_by_one([Work(0, twin, TWIN, [envelope])])
    tag = "" if stored is None else stored.etag
    await journal.write(f"states/{twin_id}", msgspec.msgpack.encode(folded.twin), *([tag] if tag else []))
    state = msgspec.msgpack.decode(folded.twin.state, type=TWIN.state)
    shown = {name: value for name, value in TWIN.properties(state).items() if value is not None}
    if twin_id in tags:
        tags[twin_id] = await graph.patch(twin_id, shown, folded.twin.last_reading_time, tags[twin_id])
    else:
        tags[twin_id] = await graph.create(twin_id, TWIN.model, shown, folded.twin.last_reading_time)


_PUMP = new_twin("", TWIN)


async def entities() -> dict[str, float]:
    """Signal all of it to Durable Entities."""
    sys.path.insert(0, str(PACKAGES))
    logging.disable(logging.INFO)  # it tells of every signal
    from durabletask import client, entities, worker  # noqa: PLC0415  there now
    from durabletask.testing.in_memory_backend import create_test_backend  # noqa: PLC0415

    class Pump(entities.DurableEntity):  # type: ignore[misc,name-defined]
        """A pump: its twin as text, as entities keep their state."""

        def hear(self, told: dict[str, Any]) -> None:
            """Fold a reading, and keep what came of it."""
            kept = self.get_state(str, "")
            twin_id = told["device_id"]
            twin = new_twin(twin_id, TWIN)
            if kept:
                twin = msgspec.msgpack.decode(bytes.fromhex(kept), type=type(_PUMP))
            event = msgspec.convert({**told, "body": told["body"].encode()}, Event, builtin_types=(bytes,))
            (folded,) = one_by_one([Work(0, twin, TWIN, [open_envelope(event, event.sequence_number)])])
            self.set_state(msgspec.msgpack.encode(folded.twin).hex())

    with socket.create_server(("127.0.0.1", 0)) as asked:
        port = asked.getsockname()[1]
    backend = create_test_backend(port=port)
    work = worker.TaskHubGrpcWorker(host_address=f"localhost:{port}")
    work.add_entity(Pump)
    work.start()
    hub = client.TaskHubGrpcClient(host_address=f"localhost:{port}")
    began = now()
    try:
        for batch in range(WARM["entities"] + BATCHES["entities"]):
            if batch == WARM["entities"]:
                began = now()
            for event in readings(batch * BATCH, range(BATCH)):
                told = {**msgspec.structs.asdict(event), "body": event.body.decode()}
                hub.signal_entity(entities.EntityInstanceId("Pump", str(event.device_id)), "hear", told)
            await _heard(hub, entities, batch + 1)
        return per_million("entities", began, {})
    finally:
        work.stop()
        backend.stop()


async def _heard(hub: Any, entities: Any, count: int) -> None:  # noqa: ANN401  durabletask
    """Wait until every pump has heard so many readings."""
    for number in range(BATCH):
        name = entities.EntityInstanceId("Pump", f"pump-{number}")
        while True:
            found = hub.get_entity(name)
            state = None if found is None else json.loads(found.get_state(str))
            if state and msgspec.msgpack.decode(bytes.fromhex(state), type=type(_PUMP)).reading_count >= count:
                break
            await asyncio.sleep(0.01)


def _install() -> None:
    """Fetch durabletask, beside the environment."""
    if not (PACKAGES / "durabletask").exists():
        sys.stderr.write(f"cost: installing {DURABLETASK}\n")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(PACKAGES), DURABLETASK]
        subprocess.run(command, check=True)  # noqa: S603  ours


def _child(way: str, settings: dict[str, str]) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.cost", "--here", way]
    environment = {**os.environ, **settings, "GRPC_VERBOSITY": "NONE"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)  # noqa: S603  ours
    found: dict[str, float] = json.loads(done.stdout)
    return found


async def _measure(folder: Path, way: str) -> dict[str, float]:
    """Measure one way against emulators of its own."""
    services = frozenset({"storage", "event-hubs", "iot-hub", "digital-twins", "identity"})
    async with running(Plan(folder, ROOT, services, dict.fromkeys(PORTS, 0))) as emulator:
        settings = emulator.app_settings()
        publish = [sys.executable, "-m", "twin_actors", "model", "publish"]
        environment = {**os.environ, **settings}
        await asyncio.to_thread(
            functools.partial(subprocess.run, publish, check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        )
        return await asyncio.to_thread(_child, way, settings)


def main() -> None:
    """Measure all ways, and tell."""
    if "--here" in sys.argv:
        way = sys.argv[sys.argv.index("--here") + 1]
        found = asyncio.run({"ours": ours, "naive": naive, "entities": entities}[way]())
        sys.stdout.write(json.dumps(found))
        return
    _install()
    figures: dict[str, object] = {}
    costs: dict[str, dict[str, float]] = {}
    for way in BATCHES:
        with tempfile.TemporaryDirectory() as folder:
            costs[way] = asyncio.run(_measure(Path(folder), way))
        figures |= {f"{way}.{name}_per_million": value for name, value in costs[way].items()}
    for way in ("naive", "entities"):
        figures |= {f"{way}.{name}_ratio": value / costs["ours"][name] for name, value in costs[way].items()}
    tell("What a million events cost", figures)


if __name__ == "__main__":
    main()
