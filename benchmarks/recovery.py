"""How soon is a partition at work again after its process died, and what do journal and memory hold until then?

Pumps have heard a message each, and another thousand of them since the last snapshot; the journal is on Azurite. A new
runtime restores the shard, claims it, and commits a batch: that is what is timed. Counted are the bytes that the
journal grows by, and the calls of storage that it takes, for batches of 1,000 events; and the memory that a process
holds once it has restored a shard whose twins are hot, or cold.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.report import spread, tell
from benchmarks.worker import NOW, message
from functions import wiring
from local_emulator.azurite import Azurite
from tests.twin_actors.world import FakeClock, World
from twin_actors.cold import encode_cold
from twin_actors.journals.blob import BlobJournal
from twin_actors.messages import Event
from twin_actors.runtime import Runtime
from twin_actors.shard import Shard
from twin_actors.types.pump.twin import TWIN
from twin_actors.work import KEY_BYTES, RECENT_KEYS

BATCH = 1_000
SIZES = (10_000, 100_000)
ROUNDS = 5
HOT, COLD = 100_000, 1_000_000
COUNTED = 40
"""Batches over which bytes and calls are counted."""

CALLS = ("append", "create_segment", "read_segment", "read", "write", "delete", "names", "page")


class Counting:
    """A journal whose calls are counted."""

    def __init__(self, journal: Any) -> None:  # noqa: ANN401  a Journal
        self._journal = journal
        self.calls: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._journal, name)
        if name not in CALLS:
            return method

        async def counted(*arguments: Any) -> Any:  # noqa: ANN401  as the method's
            self.calls[name] += 1
            self.bytes[name] += sum(len(one) for one in arguments if isinstance(one, bytes))
            return await method(*arguments)

        return counted


def readings(first: int, pumps: range) -> list[Event]:
    """Return an event of each of some pumps, numbered from `first` on."""
    return [
        Event(
            sequence_number=number,
            enqueued_time=NOW.timestamp() + number / BATCH,
            body=b"".join(message(number, "", number / BATCH).data),
            device_id=f"pump-{pump}",
            model=TWIN.model,
            message_id=f"pump-{pump}-{number}",
        )
        for number, pump in enumerate(pumps, first)
    ]


def world(connection: str, count: int) -> tuple[World, Counting]:
    """Return a world with a journal of its own."""
    journal = Counting(BlobJournal.from_connection_string(connection, f"journals-{count}"))
    around = World(1, journal)  # type: ignore[arg-type]
    around.clock = FakeClock(NOW.timestamp() + 3600.0)
    return around, journal


async def fill(runtime: Runtime, count: int) -> int:
    """Let so many pumps hear a message, and some another one; return the number of the next."""
    number = 0
    for first in [*range(0, count, BATCH), 0]:
        await runtime.deliver(0, readings(number, range(first, first + BATCH)))
        number += BATCH
    return number


async def recovery(connection: str, count: int) -> list[float]:
    """Return the seconds until a partition of so many pumps has committed its next batch."""
    around, journal = world(connection, count)
    await journal.create_container()
    number = await fill(around.runtime({"pump": TWIN}), count)
    found = []
    for _ in range(ROUNDS):
        runtime = around.runtime({"pump": TWIN})
        batch = readings(number, range(BATCH))
        wiring.settle_memory()
        began = time.perf_counter()
        await runtime.deliver(0, batch)
        found.append(time.perf_counter() - began)
        number += BATCH
        shard = runtime.shard(0)
        assert shard is not None
        assert len(shard.hot) == count
    await journal.close()
    return found


async def growth(connection: str, pumps: int) -> dict[str, float]:
    """Return bytes and calls for 1,000 events of so many pumps."""
    around, journal = world(connection, pumps)
    await journal.create_container()
    runtime = around.runtime({"pump": TWIN})
    every = [number % pumps for number in range(BATCH)]
    for batch in range(2 * COUNTED):
        if batch == COUNTED:
            journal.calls.clear()
            journal.bytes.clear()
        events = readings(batch * BATCH, range(BATCH))
        named = [
            msgspec.structs.replace(event, device_id=f"pump-{pump}") for event, pump in zip(events, every, strict=True)
        ]
        await runtime.deliver(0, named)
        around.clock.passed += 0.025
    await journal.close()
    return {
        "append_bytes": journal.bytes["append"] / COUNTED,
        "snapshot_bytes": journal.bytes["write"] / COUNTED,
        "appends": journal.calls["append"] / COUNTED,
        "other_calls": (journal.calls.total() - journal.calls["append"]) / COUNTED,
    }


async def held(connection: str) -> int:
    """Return the bytes that a process holds more once it has restored the hot shard."""
    around, journal = world(connection, HOT)
    runtime = around.runtime({"pump": TWIN})
    before = _resident()
    await runtime.tick(0)
    event = msgspec.structs.replace(around.events(0)[0], sequence_number=(HOT // BATCH + 1 + ROUNDS) * BATCH)
    await runtime.deliver(0, [event])
    shard = runtime.shard(0)
    assert shard is not None
    assert len(shard.hot) == HOT
    await journal.close()
    return _resident() - before


async def cold() -> int:
    """Return the bytes that a process holds more for pumps that are cold."""
    around = World(1)
    around.clock = FakeClock(NOW.timestamp() + 3600.0)
    runtime = around.runtime({"pump": TWIN})
    for number in range(100):  # learned, and a full memory of message ids
        await runtime.deliver(0, readings(number, range(1)))
    shard = runtime.shard(0)
    assert shard is not None
    twin = shard.hot["pump-0"]
    before = _resident()
    kept = Shard(partition=0)
    for number in range(COLD):
        name = f"pump-{number}"
        kept.cold[name] = encode_cold(msgspec.structs.replace(twin, twin_id=name), bytes(RECENT_KEYS * KEY_BYTES))
    assert len(kept.twins) == COLD
    return _resident() - before


def _resident() -> int:
    """Return the memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def _process(*way: str) -> Any:  # noqa: ANN401  JSON
    command = [sys.executable, "-m", "benchmarks.recovery", "--here", *way]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)  # noqa: S603  ours


async def measure() -> dict[str, object]:
    """Measure all of it, each in a process of its own."""
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with Azurite(Path(folder)) as azurite:
            connection = azurite.connection_string
            for count in SIZES:
                seconds = await asyncio.to_thread(_process, "recovery", connection, str(count))
                figures[f"twins_{count}.seconds"] = spread(seconds)
            bytes_held = await asyncio.to_thread(_process, "held", connection)
            for pumps in (BATCH, 10):
                grown = await asyncio.to_thread(_process, "growth", connection, str(pumps))
                figures |= {f"{pumps}_pumps.{name}_per_1000_events": value for name, value in grown.items()}
    figures[f"hot_{HOT}.megabytes"] = bytes_held / 1e6
    figures[f"cold_{COLD}.megabytes"] = await asyncio.to_thread(_process, "cold") / 1e6
    return figures


def main() -> None:
    """Measure, and tell."""
    if "--here" in sys.argv:
        way, *rest = sys.argv[sys.argv.index("--here") + 1 :]
        made: Any = {
            "recovery": lambda: recovery(rest[0], int(rest[1])),
            "growth": lambda: growth(rest[0], int(rest[1])),
            "held": lambda: held(rest[0]),
            "cold": cold,
        }
        sys.stdout.write(json.dumps(asyncio.run(made[way]())))
        return
    tell("Recovery of a partition, its journal and its memory", asyncio.run(measure()))


if __name__ == "__main__":
    main()
