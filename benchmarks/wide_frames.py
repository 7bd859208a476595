"""How many readings a second do frames of 15,000 signals come to, from bytes to a committed record, on one core?

In memory, one partition, eight wind turbines, a frame a second of each; a batch holds two of every turbine. Beside the
whole, what its parts cost alone, and for comparison the same statistics in numpy, and a plain copy of the bytes.
"""

import asyncio
import time
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from benchmarks.report import spread, tell
from kernels.signal_statistics import fold_row, no_statistics
from tests.twin_actors.loom import wide
from tests.twin_actors.world import START, World
from twin_actors.arrow import read
from twin_actors.messages import ARROW, Event
from twin_actors.types.wind_turbine.twin import FRAMES, TWIN

SIGNALS = len(FRAMES.channels)
TURBINES = 8
FRAMES_EACH = 24
ROUNDS = 5
REPEATS = 100

type Row = npt.NDArray[np.float32]


def nanoseconds(call: Callable[[int], object]) -> list[float]:
    """Return what a reading costs, of frames handled one after the other."""
    found = []
    for _ in range(ROUNDS):
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
        is_usable = (row >= limits[:, 0]) & (row <= limits[:, 1])
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


async def whole(bodies: list[list[bytes]]) -> float:
    """Deliver all frames in batches, and return readings a second."""
    world = World(1)
    runtime = world.runtime({"wind_turbine": TWIN})
    world.mailbox.time = START
    batches = [
        world.put(0, *(_event(turbine, body) for turbine, frames in enumerate(bodies) for body in frames[at : at + 2]))
        for at in range(0, FRAMES_EACH, 2)
    ]
    await runtime.deliver(0, batches[0])  # loads Arrow, and makes the twins
    began = time.perf_counter()
    for batch in batches[1:]:
        await runtime.deliver(0, batch)
    seconds = time.perf_counter() - began
    shard = runtime.shard(0)
    assert shard is not None
    assert not shard.letters
    assert {held.epoch.rows for held in shard.statistics.values()} == {FRAMES_EACH}
    return sum(map(len, batches[1:])) * SIGNALS / seconds


def _event(turbine: int, body: bytes) -> Event:
    return Event(
        sequence_number=0,
        enqueued_time=0.0,
        body=body,
        device_id=f"turbine-{turbine}",
        model=TWIN.model,
        content_type=ARROW,
    )


async def main() -> None:
    """Measure, and tell."""
    rows = np.random.default_rng(1).normal(20.0, 1.0, (FRAMES_EACH, SIGNALS)).astype(np.float32)
    bodies = [
        [wide(rows[at : at + 1] + turbine, [START - FRAMES_EACH + at]) for at in range(FRAMES_EACH)]
        for turbine in range(TURBINES)
    ]
    alone = {f"{name}.nanoseconds_per_reading": spread(found) for name, found in parts(rows, bodies[0]).items()}
    committed = [await whole(bodies) for _ in range(ROUNDS)]
    tell(__doc__.split("\n")[0], {"committed.readings_per_second": spread(committed), **alone})


if __name__ == "__main__":
    asyncio.run(main())
