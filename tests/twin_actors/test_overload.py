"""Ten times what is folded arrives for a minute and the graph takes nothing: lag grows and drains, memory stays."""

import msgspec

from tests.twin_actors.kettle import TYPES as KETTLES
from tests.twin_actors.kettle import kettles, reading
from tests.twin_actors.world import balance
from twin_actors.active import MAX_OUTBOX
from twin_actors.ownership import Limits
from twin_actors.runtime import Runtime
from twin_actors.sinks import GraphTwin, Throttled
from twin_actors.sinks.memory import MemoryGraph
from twin_actors.work import KEY_BYTES, RECENT_KEYS

BATCH = 50
"""Events that are folded in a second."""

MINUTE = 60
TWINS = 20
LIMITS = Limits(segment_bytes=256 * 1024, snapshot_bytes=128 * 1024)


class ThrottledGraph(MemoryGraph):
    """A graph that takes nothing while it is busy."""

    is_busy = False

    async def read(self, twin_id: str) -> GraphTwin:
        """Return a twin, or ask for patience."""
        if self.is_busy:
            raise Throttled(1.0)
        return await super().read(twin_id)


async def test_lag_grows_and_drains_and_memory_stays() -> None:
    """Nothing is lost or counted twice, and what the shard remembers is bounded by its twins, not by the lag."""
    world = kettles(TWINS)
    graph = world.graph = ThrottledGraph()
    runtime = Runtime(KETTLES, world.ports(), lambda: "owner", LIMITS)
    events = world.mailbox.partitions[0]
    folded, lags, sizes, serial = 0, [], [], 0
    for second in range(20 * MINUTE):
        is_overload = MINUTE <= second < 2 * MINUTE
        graph.is_busy = is_overload
        arriving = 10 * BATCH if is_overload else BATCH // 2 if second < 3 * MINUTE else 0
        for _ in range(arriving):
            one = reading(f"kettle-{serial % TWINS + 1}", float(second), temperature=20.0 + serial % 7)
            world.put(0, msgspec.structs.replace(one, message_id=f"m-{serial}", enqueued_time=world.clock.now()))
            serial += 1
        batch = world.events(0, folded, folded + BATCH - 1)
        if batch:
            folded = (await runtime.deliver(0, batch)).sequence_number + 1
        world.clock.passed = max(world.clock.passed, second + 1.0)
        shard = runtime.shard(0)
        assert shard is not None
        lags.append(len(events) - folded)
        sizes.append(len(msgspec.msgpack.encode(shard)))
        assert len(shard.outbox) <= MAX_OUTBOX
        assert all(len(keys) <= RECENT_KEYS * KEY_BYTES for keys in shard.recent_keys.values())
        if not lags[-1] and second > 3 * MINUTE:
            break
    assert lags[MINUTE - 1] == 0
    assert max(lags) > 8 * BATCH * MINUTE, "it was no overload"
    assert lags[-1] == 0, "the lag does not drain"
    quiet = max(sizes[MINUTE // 2 : MINUTE])
    assert max(sizes) < 1.5 * quiet, f"memory grows: {quiet} bytes before, {max(sizes)} after"
    assert balance(shard) == serial == shard.totals["messages"]
    assert sum(twin.reading_count for twin in shard.twins.values()) == serial
    await runtime.tick(0)
    world.clock.passed += 5.0
    await runtime.deliver(0, world.events(0, folded))
    assert {twin_id: shown.properties["readingCount"] for twin_id, shown in graph.twins.items()} == {
        twin_id: twin.reading_count for twin_id, twin in shard.twins.items()
    }
