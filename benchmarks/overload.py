"""What happens when ten times the usual rate of events comes for a minute?

Readings of 1,000 pumps come into the emulated Event Hub at a steady rate, then ten times as fast for a minute, which is
more than one worker process on this machine takes, then steadily again until nothing waits. Looked at every few
seconds: what waits, and the memory of the worker. In the end every event must be a reading, once.
"""

import asyncio
import io
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.hub_to_commit import ROOT, publish_models, reading
from benchmarks.report import tell
from local_emulator.emulator import MAILBOX, NEEDS, PORTS, Emulator, Plan, running
from local_emulator.functions_host import FunctionsHost
from twin_actors.journals.blob import BlobJournal
from twin_actors.shard import Shard
from twin_actors.snapshot import restore

PUMPS = 1_000
RATE = 1_000
TIMES = 10
BEFORE_SECONDS, OVERLOAD_SECONDS = 20.0, 60.0
MOST_SECONDS = 600.0
LOOK_SECONDS = 3.0


class Load:
    """Publishes at a rate that can be changed."""

    def __init__(self, emulator: Emulator) -> None:
        self.rate = float(RATE)
        self.published = 0
        self.is_over = False
        self._emulator = emulator

    async def run(self) -> None:
        """Publish until it is over."""
        hub = self._emulator.event_hubs
        assert hub is not None
        owed, last = 0.0, time.monotonic()
        while not self.is_over:
            await asyncio.sleep(0.02)
            now = time.monotonic()
            owed, last = owed + self.rate * (now - last), now
            while owed >= 1.0:
                await hub.publish(MAILBOX, reading(self.published), partition_key=f"pump-{self.published % PUMPS}")
                self.published += 1
                owed -= 1.0


def resident(pid: int) -> float:
    """Return the memory of a process, in megabytes."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * 4096 / 1e6


async def measure(folder: Path) -> dict[str, float]:
    """Return how far lag and memory went, and how soon the lag was gone."""
    plan = Plan(folder, ROOT, frozenset(NEEDS) - {"functions"}, dict.fromkeys(PORTS, 0))
    async with running(plan) as emulator:
        assert emulator.storage is not None
        await publish_models(emulator.app_settings())
        journal = BlobJournal.from_connection_string(emulator.storage.connection_string, "journals")
        host = FunctionsHost(ROOT, settings=emulator.app_settings(), data_dir=folder / "host", log=io.StringIO())
        async with host:
            load = Load(emulator)
            task = asyncio.create_task(load.run())
            found = await _watch(load, host, journal, plan.partitions)
            task.cancel()
        await journal.close()
    return found


async def _watch(load: Load, host: FunctionsHost, journal: BlobJournal, partitions: int) -> dict[str, float]:
    began = time.monotonic()
    lags: list[tuple[float, float]] = []
    memory: list[tuple[float, float]] = []
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        passed = time.monotonic() - began
        is_overload = BEFORE_SECONDS <= passed < BEFORE_SECONDS + OVERLOAD_SECONDS
        load.rate = float(RATE * TIMES if is_overload else RATE)
        published = load.published
        shards = [(await restore(journal, partition))[0] for partition in range(partitions)]
        lags.append((passed, published - _readings(shards)))
        memory.append((passed, resident(host.pids["mailbox"])))
        sys.stderr.write(f"\roverload: {passed:4.0f} s, {lags[-1][1]:9,.0f} events wait, {memory[-1][1]:6.0f} MB")
        is_after = passed > BEFORE_SECONDS + OVERLOAD_SECONDS
        if (is_after and lags[-1][1] <= 2 * RATE) or passed > MOST_SECONDS:
            break
    sys.stderr.write("\n")
    drained = passed
    load.is_over = True
    async with asyncio.timeout(60):
        while _readings(shards) < load.published:
            await asyncio.sleep(LOOK_SECONDS)
            shards = [(await restore(journal, partition))[0] for partition in range(partitions)]
    end = BEFORE_SECONDS + OVERLOAD_SECONDS
    return {
        "events": float(load.published),
        "lost": float(load.published - _readings(shards)),
        "counted_twice": float(sum(twin.reading_count for shard in shards for twin in shard.twins.values()))
        - load.published,
        "lag_before": max(lag for at, lag in lags if at <= BEFORE_SECONDS),
        "lag_most": max(lag for _, lag in lags),
        "drained_after_seconds": drained - end,
        "memory_before_megabytes": max(used for at, used in memory if at <= BEFORE_SECONDS),
        "memory_most_megabytes": max(used for _, used in memory),
        "memory_last_megabytes": memory[-1][1],
    }


def _readings(shards: list[Shard]) -> int:
    return sum(shard.totals.get("readings", 0) for shard in shards)


def main() -> None:
    """Measure once."""
    with tempfile.TemporaryDirectory() as folder:
        tell(f"{TIMES} times {RATE} events a second for a minute", asyncio.run(measure(Path(folder))))


if __name__ == "__main__":
    main()
