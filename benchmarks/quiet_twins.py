"""What do 100,000 quiet pumps cost: bytes each, hot and cold, and what does a batch or a tick cost beside them?

In memory, one partition. The pumps have heard 70 readings and 64 message ids each, and the graph shows them as they
are. A batch has one reading of each of 100 pumps; the same batch is folded beside none, hot and cold ones. The scan is
what a batch would cost beside them if it had to look at every twin for what the graph is owed.
"""

import asyncio
import gc
import json
import time
import tracemalloc

import msgspec

from benchmarks.report import tell
from local_emulator.devices.pumps import PumpGroup
from twin_actors.commit import Accepted, Commit, Twin
from twin_actors.fold import fold
from twin_actors.mailbox import sort
from twin_actors.messages import Event, open_envelope
from twin_actors.prognostics.model import rul_model
from twin_actors.registry import load_registry
from twin_actors.shard import Shard
from twin_actors.sweep import sweep
from twin_actors.turn import new_twin, run
from twin_actors.watermark import Watermark
from twin_actors.work import RECENT_KEYS, Work

QUIET = 100_000
HEARD = 100
READINGS = 70
ROUNDS = 7
START = 1_700_000_000.0
WATERMARK = Watermark(0, START, "hub")


def pump() -> tuple[bytes, bytes]:
    """Return a pump that heard readings, encoded, and the body of one more."""
    kind = load_registry().by_name["pump"]
    group = PumpGroup(1, seed=3)
    rows = [
        {"time": START + second, **{name: float(value[0]) for name, value in group.step(1.0).items()}}
        for second in range(READINGS + 1)
    ]
    body = json.dumps(rows[:READINGS]).encode()
    event = Event(sequence_number=0, enqueued_time=START + READINGS, body=body, device_id="pump")
    twin = run([Work(0, new_twin("pump", kind), kind, [open_envelope(event, 0)])])[0].twin
    return msgspec.msgpack.encode(twin), json.dumps(rows[READINGS]).encode()


def record(shard: Shard, **said: object) -> None:
    """Let a record say something."""
    shard.apply(Commit(append_id="", epoch=0, watermark=WATERMARK, **said))  # type: ignore[arg-type]


def fill(shard: Shard, encoded: bytes, count: int) -> None:
    """Let a shard have so many pumps, as a restore would make them."""
    decoder = msgspec.msgpack.Decoder(Twin)
    for number in range(count):
        twin = msgspec.structs.replace(decoder.decode(encoded), twin_id=f"quiet-{number}", connection="offline")
        keys = Accepted(*([[value] * RECENT_KEYS for value in (twin.twin_id, 0, 0.0, b"")]), list(range(1, 65)))
        record(shard, twins=[twin], accepted=keys, shown=[(twin.twin_id, twin.state_version)])


def batch_seconds(shard: Shard, body: bytes, encoded: bytes) -> float:
    """Fold and apply a batch of some pumps, ask what the graph is owed, and show it."""
    types = load_registry().by_name
    twin = msgspec.msgpack.decode(encoded, type=Twin)
    names = [f"loud-{number}" for number in range(HEARD)]
    record(shard, twins=[msgspec.structs.replace(twin, twin_id=name) for name in names])
    times = []
    for number in range(ROUNDS):
        events = [
            Event(sequence_number=number, enqueued_time=START + READINGS, body=body, device_id=name) for name in names
        ]
        began = time.perf_counter()
        commit, _ = fold(sort(events, shard, 1, {}), shard, types, {}, WATERMARK)
        shard.apply(commit)
        owed = [(one.twin_id, one.state_version) for one in shard.owed()]
        times.append(time.perf_counter() - began)
        assert len(owed) == HEARD
        record(shard, shown=owed)
    return sorted(times)[ROUNDS // 2]


def scan_seconds(shard: Shard) -> float:
    """Look at every hot twin for what the graph is owed."""
    began = time.perf_counter()
    shown = shard.shown
    assert not [one for one in shard.hot.values() if one.state_version > shown.get(one.twin_id, -1)]
    return time.perf_counter() - began


def sweep_seconds(shard: Shard) -> float:
    """Sweep a whole shard at a time at which quiet twins go cold, apply it, and return the seconds."""
    types, began = load_registry().by_name, time.perf_counter()
    while True:
        part = sweep(shard, types, rul_model, START + 3600.0)
        record(shard, twins=part.twins, shown=[(one.twin_id, one.state_version) for one in part.twins])
        record(shard, swept=part.swept, cooled=part.cooled)
        if not part.swept:
            return time.perf_counter() - began


async def main() -> None:
    """Measure, and tell."""
    encoded, body = pump()
    alone = batch_seconds(Shard(partition=0), body, encoded)
    tracemalloc.start()
    shard = Shard(partition=0)
    before = tracemalloc.get_traced_memory()[0]
    fill(shard, encoded, QUIET)
    hot_bytes = (tracemalloc.get_traced_memory()[0] - before) / QUIET
    tracemalloc.stop()
    beside_hot, scan = batch_seconds(shard, body, encoded), scan_seconds(shard)
    sweep_seconds(shard)  # predicts and shows what is new
    cooling = sweep_seconds(shard)
    del shard
    gc.collect()
    tracemalloc.start()
    shard = Shard(partition=0)
    before = tracemalloc.get_traced_memory()[0]
    for begin in range(0, QUIET, 1000):
        part = Shard(partition=0)
        fill(part, encoded, 1000)
        record(part, cooled=list(part.hot))
        shard.cold.update({f"{name}-{begin}": data for name, data in part.cold.items()})
    cold_bytes = (tracemalloc.get_traced_memory()[0] - before) / QUIET
    tracemalloc.stop()
    assert len(shard.cold) == QUIET
    beside_cold, quiet_sweep = batch_seconds(shard, body, encoded), sweep_seconds(shard)
    began = time.perf_counter()
    assert sum(1 for _ in shard.heads()) == QUIET + HEARD
    look = time.perf_counter() - began
    tell(
        f"What do {QUIET} quiet pumps cost?",
        {
            "hot.bytes_per_twin": hot_bytes,
            "cold.bytes_per_twin": cold_bytes,
            "batch_alone.seconds": alone,
            "batch_beside_hot.seconds": beside_hot,
            "batch_beside_cold.seconds": beside_cold,
            "scan_of_hot.seconds": scan,
            "sweep_that_cools.seconds": cooling,
            "sweep_beside_cold.seconds": quiet_sweep,
            "types_and_layouts_of_cold.seconds": look,
        },
    )


if __name__ == "__main__":
    asyncio.run(main())
