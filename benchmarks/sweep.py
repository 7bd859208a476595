"""What does a sweep of 10,000 pumps cost, with all their predictions, and once there is nothing new?

In memory, one partition. Each pump has been heard for 70 seconds. The first sweep predicts and writes every one of
them; the second finds new readings that change no prediction; the third finds nothing new at all.
"""

import asyncio
import json
import time

import msgspec

from benchmarks.report import spread, tell
from local_emulator.devices.pumps import PumpGroup
from twin_actors.messages import Event, open_envelope
from twin_actors.prognostics.model import rul_model
from twin_actors.registry import load_registry
from twin_actors.shard import Shard
from twin_actors.sweep import sweep
from twin_actors.turn import new_twin, run
from twin_actors.work import Work

PUMPS = 10_000
READINGS = 70
START = 1_700_000_000.0
ROUNDS = 5


def swept(shard: Shard, now: float) -> tuple[float, float, int]:
    """Sweep a whole shard, and apply what changes; return seconds, those of the longest slice, and twins changed."""
    types = load_registry().by_name
    longest, changed, began = 0.0, 0, time.perf_counter()
    while True:
        slice_began = time.perf_counter()
        part = sweep(shard, types, rul_model, now)
        longest = max(longest, time.perf_counter() - slice_began)
        shard.hot.update({twin.twin_id: twin for twin in part.twins})
        shard.swept = part.swept
        changed += len(part.twins)
        if not part.swept:
            return time.perf_counter() - began, longest, changed


def fleet() -> Shard:
    """Return a shard of pumps that all heard the same."""
    pump = load_registry().by_name["pump"]
    group = PumpGroup(1, seed=3)
    rows = []
    for second in range(READINGS):
        shown = group.step(1.0)
        rows.append({"time": START + second, **{name: float(value[0]) for name, value in shown.items()}})
    event = Event(sequence_number=0, enqueued_time=START + READINGS, body=json.dumps(rows).encode(), device_id="pump")
    twin = run([Work(0, new_twin("pump", pump), pump, [open_envelope(event, 0)])])[0].twin
    names = [f"pump-{number}" for number in range(PUMPS)]
    return Shard(partition=0, hot={name: msgspec.structs.replace(twin, twin_id=name) for name in names})


def heard_again(shard: Shard) -> None:
    """Let every twin have heard one more reading that says the same."""
    for name, twin in shard.hot.items():
        shard.hot[name] = msgspec.structs.replace(twin, last_reading_time=twin.last_reading_time + 1.0)


async def main() -> None:
    """Measure, and tell."""
    first, longest, again, quiet = [], [], [], []
    swept(fleet(), START + READINGS)  # loads the model
    for _ in range(ROUNDS):
        shard = fleet()
        seconds, slice_seconds, changed = swept(shard, START + READINGS)
        assert changed == PUMPS
        first.append(seconds)
        longest.append(slice_seconds)
        heard_again(shard)
        again.append(swept(shard, START + READINGS + 1.0)[0])
        quiet.append(swept(shard, START + READINGS + 1.0)[0])
    tell(
        f"What does a sweep of {PUMPS} pumps cost?",
        {
            "first.seconds": spread(first),
            "first.longest_slice_seconds": spread(longest),
            "nothing_told.seconds": spread(again),
            "nothing_new.seconds": spread(quiet),
        },
    )


if __name__ == "__main__":
    asyncio.run(main())
