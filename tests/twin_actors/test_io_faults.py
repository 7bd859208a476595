"""Every I/O call of a small scenario fails, in every way; nothing may be lost, doubled or reordered.

The scenario has all that a shard does: messages of several twins, new and unknown ones, messages
for another shard's twin, a body that is no JSON, a gap, a replay, a tick, a restart, snapshots and
segments of a few records.
"""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from azure.storage.blob.aio import ContainerClient

from tests.budget import Budget
from tests.twin_actors.faults import Fault, Fuse, Killed
from tests.twin_actors.world import PROBE, TYPES, World, balance, heard_of, same, telemetry, twin_at
from twin_actors.audit import audit
from twin_actors.commit import Claim, Commit, Record, Seal, decode
from twin_actors.errors import TwinfoldError
from twin_actors.identity import home_partition
from twin_actors.journals import Journal
from twin_actors.journals.blob import BlobJournal
from twin_actors.journals.memory import MemoryJournal
from twin_actors.messages import KIND, LETTER, Event, Forward, Kind
from twin_actors.outbox import letter_path
from twin_actors.ownership import Limits
from twin_actors.runtime import Runtime
from twin_actors.shard import Shard
from twin_actors.sinks import GraphTwin
from twin_actors.snapshot import segment_path
from twin_actors.twin import TwinType

LIMITS = Limits(segment_records=3, snapshot_bytes=1200)
NEAR, FAR = twin_at(0), twin_at(1)
NEW, UNKNOWN = twin_at(0, number=1), twin_at(0, number=2)


class Host:
    """What Azure Functions does: a batch that fails comes again, in the same process or in a new one."""

    def __init__(
        self, world: World, fuse: Fuse, types: Mapping[str, TwinType[Any]] = TYPES, limits: Limits = LIMITS
    ) -> None:
        self._world = world
        self._fuse = fuse
        self._types = types
        self._limits = limits
        self._checkpoints = [0] * len(world.partitions)
        self._owners = itertools.count()
        self.start()

    def start(self) -> None:
        """Start a process."""
        self._runtime = Runtime(self._types, self._fuse.ports(), lambda: f"process{next(self._owners)}", self._limits)

    def skip(self, partition: int) -> None:
        """Move the checkpoint past what was never folded, as the trigger does."""
        self._checkpoints[partition] = len(self._world.mailbox.partitions[partition])

    async def deliver(self, partition: int) -> None:
        """Deliver what is beyond the checkpoint until it is folded."""
        batch = self._world.events(partition, self._checkpoints[partition])
        for _ in range(8):
            try:
                await self._runtime.deliver(partition, batch)
            except Killed:
                self.start()
            except (TwinfoldError, asyncio.CancelledError):
                pass
            else:
                self._checkpoints[partition] += len(batch)
                return
            self._world.clock.passed += 2
        raise AssertionError("one fault stops the partition for good")


async def scenario(world: World, host: Host) -> None:
    """Play the scenario."""
    put = world.put
    put(0, telemetry(NEAR, 1), telemetry(FAR, 101), telemetry(NEAR, 2, 3), telemetry(FAR, 102))
    put(0, msgspec.structs.replace(telemetry(NEAR, 0), body=b"no JSON"), telemetry(UNKNOWN, 301))
    put(1, telemetry(FAR, 103, message_id="m103"), telemetry(NEAR, 4), telemetry(FAR, 103, message_id="m103"))
    await host.deliver(0)
    await host.deliver(1)
    put(0, telemetry(NEW, 201, model=PROBE), telemetry(NEAR, 5))
    host.skip(0)
    world.clock.passed += 10
    world.graph.twins[UNKNOWN] = GraphTwin(PROBE, "by hand", {})
    put(0, telemetry(NEAR, 6), own(Kind.REPLAY, {LETTER: "0-5"}), own(Kind.TICK))
    await host.deliver(0)
    host.start()
    put(0, telemetry(NEAR, 7), telemetry(FAR, 104))
    await host.deliver(0)
    await host.deliver(1)


def own(kind: Kind, properties: dict[str, str] | None = None) -> Event:
    """Return an event of our own."""
    return Event(sequence_number=0, enqueued_time=0.0, body=b"{}", properties={KIND: kind.value, **(properties or {})})


async def calls() -> list[str]:
    """Return the I/O calls of the scenario without a fault."""
    world = World(known=(NEAR, FAR))
    fuse = Fuse(world, {})
    await scenario(world, Host(world, fuse))
    return fuse.calls


CALLS = asyncio.run(calls())


def test_the_scenario_has_every_kind_of_call() -> None:
    """A sweep over calls that are not made would prove nothing."""
    assert {
        "append",
        "read_segment",
        "create_segment",
        "write",
        "delete",
        "send",
        "patch",
        "create",
        "describe",
    } <= set(CALLS)
    assert CALLS.count("create_segment") >= 4, CALLS  # the first of two partitions, and rolls
    assert sum(name == "write" for name in CALLS) >= 7  # snapshots and manifests among them


async def play(faults: Mapping[int, Fault], journal: Journal | None = None) -> None:
    """Play the scenario with faults, and check the promises."""
    world = World(journal=journal, known=(NEAR, FAR))
    try:
        await scenario(world, Host(world, Fuse(world, faults)))
        await settle(world)
    except BaseException as error:
        error.add_note(f"faults: {faults}")
        raise


@pytest.mark.parametrize("fault", Fault)
async def test_no_single_fault_breaks_a_promise(fault: Fault) -> None:
    """For each call in turn."""
    for at, name in enumerate(CALLS, 1):
        if fault is not Fault.PARTLY or name == "send":
            await play({at: fault})


async def test_no_two_faults_break_a_promise() -> None:
    """A sample of all pairs, the second soon after the first: retries and restores fail too."""
    await play_pairs(4711, 500)


@pytest.mark.proof
@pytest.mark.timeout(1800)
async def test_no_two_faults_of_many_break_a_promise(budget: Budget) -> None:
    """Another sample with each seed."""

    async def play_some(seed: int) -> Counter[str]:
        await play_pairs(seed, 500)
        return Counter(pairs=500)

    await budget.spend(play_some)


async def play_pairs(seed: int, count: int) -> None:
    """Play pairs of faults."""
    seeded = random.Random(seed)
    for _ in range(count):
        first = seeded.randint(1, len(CALLS))
        await play({first: seeded.choice(list(Fault)), first + seeded.randint(1, 8): seeded.choice(list(Fault))})


@pytest.mark.parametrize("fault", [Fault.UNANSWERED, Fault.RIVAL_AFTER, Fault.KILLED_AFTER])
async def test_nor_on_blob_storage(fault: Fault, storage: str) -> None:
    """The same journal as on Azure, for some of the calls."""
    for at in range(3, len(CALLS), 21):
        name = f"{fault.name.lower().replace('_', '-')}-{at}"
        async with ContainerClient.from_connection_string(storage, name, retry_total=0) as container:
            await container.create_container()
            await play({at: fault}, BlobJournal(container))


async def settle(world: World) -> None:
    """Let a fresh process see every event again, and check all that is promised."""
    world.clock.passed += 60
    runtime = world.runtime(limits=LIMITS)
    await world.deliver_all(runtime)
    await replay_what_the_graph_refused(world, runtime)
    for partition in world.partitions:
        shard = runtime.shard(partition)
        assert shard is not None
        assert shard.watermark is not None
        assert shard.watermark.sequence_number == len(world.mailbox.partitions[partition]) - 1
        assert balance(shard) == len(world.mailbox.partitions[partition])
        assert same(await world.restored(partition), shard)
        records = await whole_journal(world, partition)
        assert same(fold_all(partition, records), shard)
        if isinstance(world.journal, MemoryJournal):  # in storage it takes too long
            found = await audit(world.journal, partition)
            assert found.is_whole
            assert not found.has_fault, found.findings
        assert sorted(shard.letters) == await kept_letters(world, partition)
        for twin_id, twin in shard.twins.items():
            assert list(heard_of(shard, twin_id)) == in_order(world, twin_id, records)
            assert world.graph.twins[twin_id].properties["stateVersion"] == twin.state_version
            assert world.graph.twins[twin_id].properties["heard"] == len(heard_of(shard, twin_id))
    heard = {twin_id: sorted(world.heard(runtime, twin_id)) for twin_id in (NEAR, FAR, NEW, UNKNOWN)}
    assert heard == {NEAR: [1, 2, 3, 4, 5, 6, 7], FAR: [101, 102, 103, 104], NEW: [201], UNKNOWN: [301]}


async def replay_what_the_graph_refused(world: World, runtime: Runtime) -> None:
    """Do what an operator does about twins that could not be looked up."""
    for partition in world.partitions:
        shard = runtime.shard(partition)
        assert shard is not None
        for letter_id, reason in shard.letters.items():
            if reason in {"graph_unavailable", "no_such_twin"}:
                world.put(partition, own(Kind.REPLAY, {LETTER: letter_id}))
    await world.deliver_all(runtime)


def in_order(world: World, twin_id: str, records: list[Record]) -> list[float]:
    """Return what a twin must have heard: the model, which reads the partition of its home."""
    commits = [record for record in records if isinstance(record, Commit)]
    refused = {int(letter_id.split("-")[1]) for commit in commits for letter_id, _ in commit.letters}
    events = world.events(home_partition(twin_id, len(world.partitions)))
    heard: list[float] = []
    seen: set[object] = set()
    for event in events:
        if event.properties.get(KIND) == Kind.FORWARD:
            number = msgspec.msgpack.decode(event.body)[:2]  # of its channel: a repeat of the send, ignored
            if tuple(number) in seen:
                continue
            seen.add(tuple(number))
        message = carried(event, events)
        if message.device_id != twin_id or event.sequence_number in refused or message.message_id in seen - {None}:
            continue
        seen.add(message.message_id)
        heard += [row["serial"] for row in msgspec.json.decode(message.body)]
    return heard


def carried(event: Event, events: list[Event]) -> Event:
    """Return the device's own event that an event of a partition brings."""
    kind = event.properties.get(KIND)
    if kind == Kind.REPLAY:
        return carried(events[int(event.properties[LETTER].split("-")[1])], events)
    return msgspec.msgpack.decode(event.body, type=Forward).event if kind == Kind.FORWARD else event


async def whole_journal(world: World, partition: int) -> list[Record]:
    """Read every record since the first, and check that epochs never decrease and each claim raises them."""
    records: list[Record] = []
    segment, sum_, last_sum = segment_path(partition, 0, 0), 0, 0
    while True:
        data = await world.journal.read_segment(segment, 0)
        for record, _, checksum in decode(data, sum_, segment):
            before = max((one.epoch for one in records if not isinstance(one, Seal)), default=0)
            assert record.epoch == before + 1 if isinstance(record, Claim) else record.epoch >= before
            records.append(record)
            last_sum = checksum
        last = records[-1]
        if not isinstance(last, Seal):
            return records
        segment, sum_ = last.next_segment, last_sum


def fold_all(partition: int, records: list[Record]) -> Shard:
    """Return the shard that a journal without snapshots makes."""
    shard = Shard(partition=partition)
    for record in records:
        shard.apply(record)
    return shard


async def kept_letters(world: World, partition: int) -> list[str]:
    """Return the dead letters whose bodies are stored."""
    prefix = letter_path(f"{partition}-0").rsplit("/", 1)[0]
    return sorted(f"{partition}-{int(path.rsplit('/', 1)[1])}" for path in await world.journal.names(f"{prefix}/"))
