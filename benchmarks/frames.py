"""How many readings a second of a wind farm of 200 turbines of 15,000 signals, from bytes to a committed record?

Each turbine sends one Arrow frame of float32 a second. In memory the frames come as fast as they are taken, one
partition on one core; on blobs they come at 1 Hz over four partitions for a minute, with the journal on Azurite, and
then one of them is restored. Beside the whole, what its parts cost alone, and the same statistics in numpy.
"""

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.report import spread, tell
from functions import wiring
from kernels.signal_statistics import fold_row, no_statistics
from local_emulator.azurite import Azurite
from tests.twin_actors.loom import wide
from tests.twin_actors.world import START, FakeClock, World
from twin_actors.arrow import read
from twin_actors.clock import SystemClock
from twin_actors.journals.blob import BlobJournal
from twin_actors.messages import ARROW, Event
from twin_actors.snapshot import restore
from twin_actors.types.wind_turbine.twin import FRAMES, TWIN

SIGNALS = len(FRAMES.channels)
TURBINES = 200
BATCH = 50
ROUNDS = 12
WARM = 2
PARTITIONS = 4
SECONDS = 60
REPEATS = 100
DIFFERENT = 8

type Row = npt.NDArray[np.float32]


def nanoseconds(call: Callable[[int], object]) -> list[float]:
    """Return what a reading costs, of frames handled one after the other."""
    found = []
    for _ in range(5):
        began = time.perf_counter()
        for at in range(REPEATS):
            call(at)
        found.append((time.perf_counter() - began) * 1e9 / REPEATS / SIGNALS)
    return found


def parts(rows: Row, bodies: list[bytes]) -> Mapping[str, list[float]]:
    """Measure decoding and folding alone."""
    array, quality = no_statistics(SIGNALS), np.empty(SIGNALS, np.uint8)
    mean, squares, smoothed = np.zeros(SIGNALS), np.zeros(SIGNALS), np.zeros(SIGNALS)
    lowest, highest = np.full(SIGNALS, np.inf), np.full(SIGNALS, -np.inf)
    limits = FRAMES.limits
    numbers = [0]

    def in_numpy(at: int) -> None:
        numbers[0] += 1
        row = rows[at % len(rows)].astype(np.float64)
        is_usable = (row >= limits[0]) & (row <= limits[1])
        row = np.where(is_usable, row, mean)
        away = row - mean
        mean[:] += away / numbers[0]
        squares[:] += away * (row - mean)
        np.minimum(lowest, row, out=lowest)
        np.maximum(highest, row, out=highest)
        smoothed[:] += 0.01 * (row - smoothed)

    clock = iter(range(1_000_000))
    return {
        "decode": nanoseconds(lambda at: read(bodies[at % len(bodies)])),
        "judge_and_fold": nanoseconds(
            lambda at: fold_row(array, rows[at % len(rows)], float(next(clock)), limits, 600.0, array, quality)
        ),
        "fewer_statistics_in_numpy": nanoseconds(in_numpy),
        "copy": nanoseconds(lambda at: bytearray(bodies[at % len(bodies)])),
    }


def frames(bodies: list[bytes], turbines: range, second: int, number: int) -> list[Event]:
    """Return a frame of each of some turbines, numbered from `number` on."""
    return [
        Event(
            sequence_number=number + place,
            enqueued_time=START + second,
            body=bodies[(turbine + second) % len(bodies)],
            device_id=f"turbine-{turbine}",
            model=TWIN.model,
            content_type=ARROW,
        )
        for place, turbine in enumerate(turbines)
    ]


async def in_memory(bodies: list[bytes]) -> list[float]:
    """Return readings a second of each second's frames."""
    world = World(1)
    world.clock = FakeClock(START + 3600.0)
    runtime = world.runtime({"wind_turbine": TWIN})
    found, number = [], 0
    for second in range(ROUNDS):
        batches = []
        for first in range(0, TURBINES, BATCH):
            batches.append(frames(bodies, range(first, first + BATCH), second, number))
            number += BATCH
        if second == 1:
            wiring.settle_memory()
        began = time.perf_counter()
        for batch in batches:
            await runtime.deliver(0, batch)
        found.append(TURBINES * SIGNALS / (time.perf_counter() - began))
        world.clock.passed += 1.0
    shard = runtime.shard(0)
    assert shard is not None
    assert not shard.letters
    assert {held.epoch.rows for held in shard.statistics.values()} == {ROUNDS}
    return found[WARM:]


async def on_blobs(bodies: list[bytes], connection: str) -> dict[str, object]:
    """Return what came of a minute at 1 Hz, and how long a restore takes."""
    world = World(PARTITIONS, BlobJournal.from_connection_string(connection, "journals"))
    await world.journal.create_container()
    clock = SystemClock()
    world.clock = clock  # type: ignore[assignment]
    runtime = world.runtime({"wind_turbine": TWIN})
    share = TURBINES // PARTITIONS
    numbers, lags = [0] * PARTITIONS, []

    async def deliver(partition: int, second: int) -> None:
        turbines = range(partition * share, (partition + 1) * share)
        await runtime.deliver(partition, frames(bodies, turbines, second, numbers[partition]))
        numbers[partition] += share

    for second in range(WARM):
        await asyncio.gather(*(deliver(partition, second) for partition in range(PARTITIONS)))
    wiring.settle_memory()
    began, worked = time.perf_counter(), time.process_time()
    committed: list[float] = []

    async def follow(partition: int) -> None:
        for second in range(SECONDS):
            await asyncio.sleep(max(0.0, began + second + 1 - time.perf_counter()))
            await deliver(partition, WARM + second)
            committed.append(time.perf_counter())
            lags.append(committed[-1] - began - second - 1)

    await asyncio.gather(*(follow(partition) for partition in range(PARTITIONS)))
    seconds = time.perf_counter() - began
    cores = (time.process_time() - worked) / seconds
    await runtime.close()
    journal = BlobJournal.from_connection_string(connection, "journals")
    began = time.perf_counter()
    shard, _, _ = await restore(journal, 0)
    restored = time.perf_counter() - began
    await journal.close()
    assert {held.epoch.rows for held in shard.statistics.values()} == {WARM + SECONDS}
    return {
        "blob.readings_per_second": TURBINES * SIGNALS * SECONDS / (max(committed) - min(committed) + 1.0),
        "blob.lag_seconds": spread(lags),
        "blob.cores": cores,
        "restore.seconds": restored,
        "restore.turbines": share,
        "memory.megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
    }


def some_bodies() -> tuple[Row, list[bytes]]:
    """Return rows, and each as a frame."""
    rows = np.random.default_rng(1).normal(20.0, 1.0, (DIFFERENT, SIGNALS)).astype(np.float32)
    return rows, [wide(rows[at : at + 1]) for at in range(DIFFERENT)]


def main() -> None:
    """Measure, each in a process of its own, and tell."""
    if "--here" in sys.argv:
        rows, bodies = some_bodies()
        way, *rest = sys.argv[sys.argv.index("--here") + 1 :]
        found: object
        if way == "parts":
            found = {f"{name}.nanoseconds_per_reading": spread(one) for name, one in parts(rows, bodies).items()}
        elif way == "memory":
            found = {"memory.readings_per_second": spread(asyncio.run(in_memory(bodies)))}
        else:
            found = asyncio.run(on_blobs(bodies, rest[0]))
        sys.stdout.write(json.dumps(found))
        return
    figures = {**_process("memory"), **asyncio.run(_on_azurite()), **_process("parts")}
    tell("Readings a second of a wind farm, from bytes to the committed record", figures)


async def _on_azurite() -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        async with Azurite(Path(folder)) as azurite:
            return await asyncio.to_thread(_process, "blobs", azurite.connection_string)


def _process(*way: str) -> dict[str, object]:
    command = [sys.executable, "-m", "benchmarks.frames", "--here", *way]
    found: dict[str, object] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)  # noqa: S603  ours
    return found


if __name__ == "__main__":
    main()
