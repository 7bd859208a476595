"""Journals and snapshots as every released format wrote them: ``python -m tests.twin_actors.golden_journal`` adds one.

The shard that they make stands beside them as JSON, made by the version that wrote them: a later one must
read the same out of the same bytes.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from tests.twin_actors import fleets, kettle, loom
from tests.twin_actors.kettle import ONE, State, asked, command, hear, kettles, reading, tick
from tests.twin_actors.world import World
from twin_actors.documents import Source
from twin_actors.messages import KIND, LETTER, Event, Kind, Reading, TimerDue, Told
from twin_actors.ownership import Limits
from twin_actors.quality import Signals, unpacked
from twin_actors.requests import Deletion, EditRequest
from twin_actors.runtime import Runtime
from twin_actors.shard import Shard
from twin_actors.snapshot import manifest_path, restore
from twin_actors.sweep import COLD_AFTER_SECONDS
from twin_actors.twin import SetTimer, Tell, Turn, TwinType
from twin_actors.work import KEY_BYTES

GOLDEN = Path(__file__).parent / "golden" / "journal"
LIMITS = Limits(segment_records=6, snapshot_bytes=2_000)


def receive(state: State, message: Reading | Told | TimerDue) -> Turn[State]:
    """A kettle that sets timers where there is scale, and tells a neighbour when it boils."""
    if not isinstance(message, Reading):
        return Turn(state)
    turn = kettle.receive(state, message)
    outputs: list[SetTimer | Tell] = []
    if "scale" in message.values:
        outputs += [SetTimer("descale", message.time + 30.0), SetTimer("replace", message.time + 1e6)]
    if message.values["temperature"] > 90.0:
        outputs.append(Tell("kettle-2", "boils", message.values["temperature"]))
    return Turn(turn.state, tuple(outputs))


KETTLE: TwinType[State] = msgspec.structs.replace(
    kettle.TYPE, receive=receive, hears=frozenset({Reading, Told, TimerDue})
)
TYPES: dict[str, TwinType[Any]] = {"kettle": KETTLE, **loom.TYPES, "scale": fleets.TYPE}


def shown(shard: Shard) -> Any:
    """Return what a shard of any format must say, in words that stay."""
    watermark = shard.watermark
    assert watermark is not None
    later = {
        "timers": {twin.twin_id: twin.timers for twin in shard.twins.values() if twin.timers},
        "cold": sorted(shard.cold),
        "floor": shard.floor,
        "signalEpochs": {
            twin.twin_id: [twin.signal_epoch.number, twin.signal_epoch.since, twin.signal_epoch.rows]
            for twin in shard.twins.values()
            if twin.signal_epoch is not None
        },
        "signals": {
            twin.twin_id: {name: [one.value, one.time, one.since] for name, one in unpacked(twin.signals).items()}
            for twin in shard.twins.values()
            if isinstance(twin.signals, Signals)
        },
    }
    return {
        **{name: said for name, said in later.items() if said},  # which format 1 knew nothing of
        "epoch": shard.epoch,
        "watermark": [watermark.sequence_number, watermark.enqueued_time, watermark.hub],
        "twins": {
            twin.twin_id: {
                "state": msgspec.to_builtins(msgspec.msgpack.decode(twin.state)),
                "stateVersion": twin.state_version,
                "readings": twin.reading_count,
                "resent": twin.resent_count,
                "alerts": [alert.alert_id for alert in twin.maintenance.alerts],
                "order": None if twin.maintenance.order is None else twin.maintenance.order.order_id,
                "edits": {
                    name: contested.writes[Source.MANUAL].value
                    for name, contested in twin.maintenance.contested.items()
                },
            }
            for twin in shard.twins.values()
        },
        "recentKeys": {
            twin_id: len(shard.recall(twin_id)[1]) // KEY_BYTES for twin_id in shard.twins if shard.recall(twin_id)[1]
        },
        "outbox": {str(number): type(entry).__name__ for number, entry in shard.outbox.items()},
        "sentChannels": {str(partition): number for partition, number in shard.sent_channels.items()},
        "receivedChannels": {str(partition): number for partition, number in shard.received_channels.items()},
        "letters": shard.letters,
        "totals": shard.totals,
    }


async def write(folder: Path) -> None:
    """Play a scenario that has all kinds of records and outputs, and keep the bytes."""
    world = kettles(3, partitions=2)
    runtime = world.runtime(TYPES, limits=LIMITS)
    edit = EditRequest(operation_id="edit-1", caller="ann", changes={"place": "hall"}, requested=world.clock.now())
    broken = msgspec.structs.replace(reading(ONE, 0.0), body=b"no JSON")
    await hear(world, runtime, reading(ONE, 0.0, temperature=20.0), broken, asked(ONE, edit))
    for number in range(4):
        world.put(number % 2, msgspec.structs.replace(reading("kettle-2", number, temperature=60.0), message_id="m-1"))
    await hear(world, runtime, reading(ONE, 10.0, temperature=95.0, scale=96.0), at=10.0)
    await hear(world, runtime, reading(ONE, 16.0, temperature=96.0, scale=96.0), asked(ONE, command()), at=16.0)
    await hear(world, runtime, asked(ONE, command("op-2", request=10.0)), at=17.0)
    replay = Event(sequence_number=0, enqueued_time=0.0, body=b"{}", properties={KIND: Kind.REPLAY, LETTER: "0-1"})
    world.put(0, replay, tick())
    world.put(1, tick())
    await hear(world, runtime, reading("kettle-3", 17.0, temperature=30.0), at=40.0)
    world.put(0, reading(ONE, 41.0, temperature=97.0))
    runtime = world.runtime(TYPES, limits=LIMITS)
    world.devices.connected.clear()
    late = asked(ONE, command("op-3", request=20.0, expires=600.0))
    await hear(world, runtime, reading("kettle-2", 42.0, temperature=20.0), late, at=60.0)
    world.put(1, tick())
    await hear(world, runtime, at=61.0)
    await _play_later_kinds(world, runtime)
    await _play_fleets(world, runtime)
    for partition in world.partitions:
        shard, _, _ = await restore(world.journal, partition)
        text = json.dumps(shown(shard), indent=2, sort_keys=True)
        save(folder / f"shard-{partition}.json", f"{text}\n".encode())
        manifest = await world.journal.read(manifest_path(partition))
        paths = [manifest_path(partition)] if manifest else []
        for path in [*paths, *await world.journal.names(f"snapshots/{partition}/")]:
            stored = await world.journal.read(path)
            save(folder / path, stored.data)
        for path in await world.journal.names(f"segments/{partition}/"):
            save(folder / path, await world.journal.read_segment(path, 0))


async def _play_later_kinds(world: World, runtime: Runtime) -> None:
    """What format 2 brought: frames, quiet twins, deletion; tells and timers are in what was played before."""
    await hear(
        world, runtime, reading("kettle-4", 62.0, temperature=20.0), loom.tension([[1.5] * 6, [2.5] * 6], [62.0, 63.0])
    )
    gone = Deletion(operation_id="gone", caller="ann", requested=world.clock.now())
    await hear(world, runtime, asked("kettle-3", gone), loom.tension([[3.5] * 6], [64.0]), at=64.0)
    for at in (COLD_AFTER_SECONDS, 2 * COLD_AFTER_SECONDS):  # offline, then quiet
        await hear(world, runtime, at=64.0 + at)
        world.put(0, tick())
        world.put(1, tick())
        await hear(world, runtime)


async def _play_fleets(world: World, runtime: Runtime) -> None:
    """What format 3 brought: packed signals, states that are rows of numbers; large records are compressed."""
    scales = [fleets.weighs(f"scale-{one}", 2000.0 + at, 5.0 + at) for at in range(20) for one in range(4)]
    await hear(world, runtime, *scales, at=2020.0)
    await hear(
        world, runtime, fleets.weighs("scale-1", 2010.5, 1.0), fleets.weighs("scale-2", 2021.0, 2000.0), at=2030.0
    )


def save(file: Path, data: bytes) -> None:
    """Write a file that does not exist, and the folders it is in."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("xb") as new:
        new.write(data)


if __name__ == "__main__":
    asyncio.run(write(GOLDEN / sys.argv[1]))
