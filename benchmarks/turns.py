"""What does an event cost from the host's metadata and bodies to the committed record, in memory and on blobs?

Batches of 1,000 IoT Hub messages of pumps, 200 bytes of JSON each, go through the genuine worker's decoding, with the
fast path, into the runtime: over 1,000 pumps, an event each, and over 10 pumps, a hundred each. In memory it is one
partition, batch after batch; on blobs four partitions at a time, so that one waits for Azurite while another computes,
in one process, and in two that share the machine with it.
"""

import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import msgspec

from benchmarks.report import spread, tell
from benchmarks.worker import NOW, Batch, batch, load, message
from functions import wiring
from functions.mailbox import to_events
from local_emulator.azurite import Azurite
from local_emulator.functions_host.invocation import Invocations
from tests.twin_actors.world import FakeClock, World
from twin_actors.identity import home_partition
from twin_actors.journals.blob import BlobJournal
from twin_actors.metrics import Metrics
from twin_actors.runtime import Runtime
from twin_actors.types.pump.twin import TWIN

BATCH = 1_000
BATCHES = 40
"""Of each partition."""

WARM = 8
PARTITIONS = 4
ROUNDS = 3
FLEETS = (1_000, 10)

SECONDS_OF_A_BATCH = 0.025
"""At 40,000 events a second; the graph takes a thousand updates a second meanwhile."""

BEHIND_SECONDS = 60.0
"""There is a backlog: a partition that is not behind waits for the graph instead. What the graph is shown of it comes
after the record, and is told apart."""

APP = """
import typing
import azure.functions as func
from functions import decoding
from benchmarks import turns

assert decoding.install()
app = func.FunctionApp()

@app.event_hub_message_trigger(
    arg_name="events", event_hub_name="mailbox", connection="Mailbox", cardinality="many", data_type="binary"
)
async def fold(events: typing.List[func.EventHubEvent]) -> None:
    await turns.fold(events)
"""


class Fold:
    """What the function calls, and when it came how far."""

    runtime: Runtime
    decoded: list[float]
    converted: list[float]
    committed: list[float]


class Stamps(Metrics):
    """Notes when a record is committed, and applied to memory."""

    def committed(self, partition: int, counts: Mapping[str, int], seconds: float) -> None:
        """Note the time."""
        super().committed(partition, counts, seconds)
        Fold.committed.append(time.perf_counter())


async def fold(events: list) -> None:
    """Fold a batch as the function app does."""
    Fold.decoded.append(time.perf_counter())
    metadata = events[0].metadata
    converted = to_events(events, metadata)
    Fold.converted.append(time.perf_counter())
    await Fold.runtime.deliver(int(metadata["PartitionContext"]["PartitionId"]), converted)


def batches(partition: int, partitions: int, pumps: int) -> list[Batch]:
    """Return what the host passes of a partition's messages."""
    names = (f"pump-{number}" for number in itertools.count())
    here = list(itertools.islice((name for name in names if home_partition(name, partitions) == partition), pumps))
    made = []
    for first in range(0, BATCH * BATCHES, BATCH):
        numbers = range(first, first + BATCH)
        at = (number // pumps + number % BATCH * SECONDS_OF_A_BATCH / BATCH for number in numbers)
        messages = [message(number, here[number % pumps], seconds) for number, seconds in zip(numbers, at, strict=True)]
        made.append(batch(messages, partition))
    return made


def world(partitions: int, pumps: int, connection: str = "") -> World:
    """Return a world whose clock is beyond what the pumps sent."""
    found = World(partitions, BlobJournal.from_connection_string(connection, "journals") if connection else None)
    found.clock = FakeClock(NOW.timestamp() + BATCHES * BATCH / pumps + BEHIND_SECONDS)
    return found


async def in_memory(pumps: int) -> dict[str, list[float]]:
    """Return µs an event of each batch: of decoding, of conversion, of turns and record, of these; and of the graph."""
    function, invocations = await load(APP), Invocations(None)
    around = world(1, pumps)
    Fold.runtime = Runtime({"pump": TWIN}, msgspec.structs.replace(around.ports(), metrics=Stamps()))
    Fold.decoded, Fold.converted, Fold.committed = [], [], []
    made = batches(0, 1, pumps)
    wiring.settle_memory()
    found: dict[str, list[float]] = {"decode": [], "convert": [], "turns": [], "graph": [], "all": []}
    for data, metadata in made:
        began = time.perf_counter()
        outcome = await invocations.invoke(function, data, metadata)
        moments = [began, Fold.decoded[-1], Fold.converted[-1], Fold.committed[-1], time.perf_counter()]
        assert outcome.succeeded, outcome
        for name, (start, end) in zip(found, pairwise(moments), strict=False):
            found[name].append((end - start) * 1e6 / BATCH)
        found["all"].append((Fold.committed[-1] - began) * 1e6 / BATCH)
        around.clock.passed += SECONDS_OF_A_BATCH
    _check(1)
    return {name: values[WARM:] for name, values in found.items()}


async def on_blobs(pumps: int, connection: str, first: int) -> list[float]:
    """Return events a second over partitions from `first` on, once a line on standard input says go."""
    function, invocations = await load(APP), Invocations(None)
    count = 2 * PARTITIONS  # of which this process has one half
    around = world(count, pumps, connection)
    await around.journal.create_container()
    Fold.runtime = around.runtime({"pump": TWIN})
    Fold.decoded, Fold.converted = [], []
    mine = range(first, first + PARTITIONS)
    made = {partition: batches(partition, count, pumps) for partition in mine}
    wiring.settle_memory()

    async def deliver(some: list[Batch]) -> None:
        for data, metadata in some:
            outcome = await invocations.invoke(function, data, metadata)
            assert outcome.succeeded, outcome
            around.clock.passed += SECONDS_OF_A_BATCH

    await asyncio.gather(*(deliver(made[partition][:WARM]) for partition in mine))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    began = time.perf_counter()
    await asyncio.gather(*(deliver(made[partition][WARM:]) for partition in mine))
    seconds = time.perf_counter() - began
    _check(PARTITIONS, first)
    await Fold.runtime.close()
    return [PARTITIONS * (BATCHES - WARM) * BATCH / seconds]


def _check(partitions: int, first: int = 0) -> None:
    """Make sure that every event became a reading."""
    for partition in range(first, first + partitions):
        shard = Fold.runtime.shard(partition)
        assert shard is not None
        assert shard.totals["readings"] == BATCH * BATCHES, shard.totals


def measure_here(pumps: int, connection: str, first: int) -> None:
    """Print what is measured in this process."""
    found = asyncio.run(on_blobs(pumps, connection, first) if connection else in_memory(pumps))
    sys.stdout.write(json.dumps(found) + "\n")


def _start(pumps: int, connection: str = "", first: int = 0) -> subprocess.Popen[str]:
    # Not as a program: the app must find this very module.
    call = f"from benchmarks import turns; turns.measure_here({pumps}, {connection!r}, {first})"
    return subprocess.Popen([sys.executable, "-c", call], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603  ours


async def _on_azurite(pumps: int, processes: int) -> float:
    """Return events a second of some processes together, on an Azurite of their own."""
    with tempfile.TemporaryDirectory() as folder:
        async with Azurite(Path(folder)) as azurite:
            return await asyncio.to_thread(_together, pumps, azurite.connection_string, processes)


def _together(pumps: int, connection: str, processes: int) -> float:
    started = [_start(pumps, connection, number * PARTITIONS) for number in range(processes)]
    for one in started:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    return sum(found for one in _finished(started) for found in one)


def _finished(started: list[subprocess.Popen[str]]) -> Iterator[list[float]]:
    for one in started:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in started:
        told, _ = one.communicate()
        assert one.returncode == 0
        yield json.loads(told)


def main() -> None:
    """Measure each fleet in processes of its own."""
    figures: dict[str, object] = {}
    for pumps in FLEETS:
        of = "" if pumps == FLEETS[0] else f"{pumps}_pumps."
        told, _ = _start(pumps).communicate()
        for name, values in json.loads(told).items():
            figures[f"memory.{of}{'' if name == 'all' else name + '.'}us_per_event"] = spread(values)
        for processes, label in ((1, ""), (2, "two_processes.")):
            rates = [asyncio.run(_on_azurite(pumps, processes)) for _ in range(ROUNDS)]
            figures[f"blob.{of}{label}events_per_second"] = spread(rates)
    tell("Events from metadata and bodies to the committed record", figures)


if __name__ == "__main__":
    main()
