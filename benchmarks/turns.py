"""What does an event cost from the host's metadata and bodies to the committed record?

Batches of 1,000 IoT Hub messages of pumps go through the genuine worker's decoding, with the fast path, into the
runtime: over 1,000 pumps, one event each, and over 10 pumps, a hundred each; with the journal in memory.
"""

import asyncio
import json
import subprocess
import sys
import time
from itertools import pairwise

from benchmarks.report import spread, tell
from benchmarks.worker import NOW, batch, load, message
from functions.mailbox import to_events
from local_emulator.functions_host.invocation import Invocations
from tests.twin_actors.world import FakeClock, World
from twin_actors.runtime import Runtime
from twin_actors.types.pump.twin import TWIN

BATCH = 1_000
BATCHES = 24
WARM = 4
FLEETS = (1_000, 10)

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
    """What the function calls."""

    runtime: Runtime
    decoded: list[float]
    converted: list[float]


async def fold(events: list) -> None:
    """Fold a batch as the function app does."""
    Fold.decoded.append(time.perf_counter())
    metadata = events[0].metadata
    converted = to_events(events, metadata)
    Fold.converted.append(time.perf_counter())
    await Fold.runtime.deliver(int(metadata["PartitionContext"]["PartitionId"]), converted)


async def measure(pumps: int) -> dict[str, list[float]]:
    """Return µs an event of each batch: of decoding, of conversion, of the turns and the record, of all."""
    function, invocations = await load(APP), Invocations(None)
    world = World(1)
    world.clock = FakeClock(NOW.timestamp())
    Fold.runtime = world.runtime({"pump": TWIN})
    Fold.decoded, Fold.converted = [], []
    batches = []
    for first in range(0, BATCH * BATCHES, BATCH):
        messages = [
            message(number, f"pump-{number % pumps}", number // pumps) for number in range(first, first + BATCH)
        ]
        batches.append(batch(messages))
    found: dict[str, list[float]] = {"decode": [], "convert": [], "turns": [], "all": []}
    for data, metadata in batches:
        began = time.perf_counter()
        outcome = await invocations.invoke(function, data, metadata)
        moments = [began, Fold.decoded[-1], Fold.converted[-1], time.perf_counter()]
        assert outcome.succeeded, outcome
        for name, (start, end) in zip(found, pairwise(moments), strict=False):
            found[name].append((end - start) * 1e6 / BATCH)
        found["all"].append((moments[-1] - moments[0]) * 1e6 / BATCH)
        world.clock.passed += 10.0
    shard = Fold.runtime.shard(0)
    assert shard is not None
    assert shard.totals["readings"] == BATCH * BATCHES, shard.totals
    return {name: values[WARM:] for name, values in found.items()}


def measure_here(pumps: int) -> None:
    """Print what is measured in this process."""
    sys.stdout.write(json.dumps(asyncio.run(measure(pumps))))


def main() -> None:
    """Measure each fleet in a process of its own."""
    figures = {}
    for pumps in FLEETS:
        # Not as a program: the app must find this very module.
        command = [sys.executable, "-c", f"from benchmarks import turns; turns.measure_here({pumps})"]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)  # noqa: S603  ours
        figures |= {f"{pumps}_pumps.{name}.us_per_event": spread(values) for name, values in found.items()}
    tell("Events from metadata and bodies to the committed record", figures)


if __name__ == "__main__":
    main()
