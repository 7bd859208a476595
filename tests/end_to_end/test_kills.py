"""Workers are killed and paused in mid-stream: every message counts, and counts once."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore

from local_emulator.event_hubs import HubEvent
from local_emulator.functions_host import FunctionsHost
from tests.end_to_end.stack import PARTITIONS, PUMP, Stack, eventually, running
from tests.end_to_end.storage_proxy import StorageProxy, Trap, is_append, keeps_letter

DEVICES = [f"pump-{number}" for number in range(12)]
EXPIRY = 3.0
"""Seconds after which another worker may take a dead one's partitions."""

RATE = 60
"""Messages a second; a dead letter among every twenty."""


class Stream:
    """Sends readings as IoT Hub routes them, and counts what it sent."""

    def __init__(self, stack: Stack) -> None:
        self.sent: Counter[str] = Counter()
        self.garbage = 0
        self._stack = stack
        self._number = 0

    async def run(self, done: asyncio.Event) -> None:
        """Send until told to stop."""
        while not done.is_set():
            await self.send()
            await asyncio.sleep(1 / RATE)

    async def send(self) -> None:
        """Send one message; two in three reach a partition that is not their twin's home."""
        self._number += 1
        device = DEVICES[self._number % len(DEVICES)]
        is_garbage = self._number % 20 == 0
        body = b"{broken" if is_garbage else json.dumps({"flow": 80.0, "dischargePressure": 350.0}).encode()
        annotations: dict[str, str | int | datetime] = {
            "iothub-connection-device-id": device,
            "iothub-enqueuedtime": datetime.now(UTC),
            "dt-dataschema": PUMP,
        }
        event = HubEvent(body, annotations, {"message-id": f"message-{self._number}"}, {})
        scattered = str(self._number % PARTITIONS)
        await self._stack.event_hubs.publish("mailbox", event, partition_id=scattered)
        if is_garbage:
            self.garbage += 1
        else:
            self.sent[device] += 1


async def restarted(host: FunctionsHost, old: int) -> int:
    """Wait until the mailbox worker runs again."""
    return await eventually(lambda: host.pids.get("mailbox") not in {None, old} and host.pids["mailbox"])


async def total(stack: Stack, name: str) -> int:
    """Return what all partitions have counted."""
    return sum(shard.totals.get(name, 0) for shard in await stack.shards())


async def progressed(stack: Stack, by: int) -> None:
    """Wait until more messages are committed."""
    before = await total(stack, "messages")

    async def look() -> bool:
        return await total(stack, "messages") >= before + by

    await eventually(look, 40)


async def skip_ahead(stack: Stack) -> None:
    """Move a checkpoint of the trigger past events that are not folded, as a host without retries does.

    No worker runs meanwhile, and messages go on.
    """
    before = await stack.last_sequence_numbers()

    async def look() -> bool:
        now = await stack.last_sequence_numbers()
        return all(late > early + 5 for late, early in zip(now, before, strict=True))

    await eventually(look)
    store = BlobCheckpointStore.from_connection_string(stack.storage.connection_string, "azure-webjobs-eventhub")
    async with store:
        states = await stack.partitions()
        checkpoint = (await store.list_checkpoints(f"127.0.0.1:{stack.event_hubs.port}", "mailbox", "functions"))[0]
        state = states[int(checkpoint["partition_id"])]
        last = state["last_enqueued_sequence_number"]
        assert checkpoint["sequence_number"] < last
        moved = {**checkpoint, "sequence_number": last, "offset": state["last_enqueued_offset"]}
        await store.update_checkpoint(moved)


async def test_ten_kills_a_pause_and_a_skipped_stretch(tmp_path: Path) -> None:
    """After ten SIGKILLs, a pause and a skip, each device's count is what it sent."""
    async with running(tmp_path) as stack:
        proxy = StorageProxy(stack.storage_url("Blob"))
        async with proxy.listening():
            stack.journal_storage = stack.storage.connection_string.replace(stack.storage_url("Blob"), proxy.url)
            stream, done = Stream(stack), asyncio.Event()
            sending = asyncio.create_task(stream.run(done))
            async with stack.host("first", expiry=EXPIRY) as host:
                await kill_five_times(stack, host, proxy)
            await skip_ahead(stack)
            async with stack.host("first", expiry=EXPIRY) as host:
                await kill_five_times(stack, host, proxy)
                go_on = await pause_with_an_append_in_hand(host, proxy)
                epochs = [shard.epoch for shard in await stack.shards()]
                async with stack.host("second", expiry=EXPIRY):
                    await taken_over(stack, epochs)
                    go_on()
                    await eventually(lambda: "fenced" in stack.log.getvalue(), 30)
                    done.set()
                    await sending
                    shards = await stack.settled(120)
            await check(stack, stream, shards)


async def kill_five_times(stack: Stack, host: FunctionsHost, proxy: StorageProxy) -> None:
    """Kill the worker at any moment, between append and answer, and between commit and outbox."""
    for number in range(5):
        await progressed(stack, 20)
        worker = host.pids["mailbox"]
        if number % 3 == 0:
            os.kill(worker, signal.SIGKILL)
        else:
            await kill_at(worker, proxy, number)
        await restarted(host, worker)


async def kill_at(worker: int, proxy: StorageProxy, number: int) -> None:
    """Kill the worker in the instant a trap springs."""

    async def kill() -> None:
        os.kill(worker, signal.SIGKILL)

    if number % 3 == 1:
        trap = Trap(is_append, after=lambda: os.kill(worker, signal.SIGKILL))
    else:
        trap = Trap(keeps_letter, before=kill)
    proxy.traps.append(trap)
    await eventually(lambda: trap.is_sprung)


async def pause_with_an_append_in_hand(host: FunctionsHost, proxy: StorageProxy) -> Callable[[], None]:
    """Stop the worker in the middle of an append; return what lets both go on."""
    owner = host.pids["mailbox"]
    held, released = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        os.kill(owner, signal.SIGSTOP)
        held.set()
        await released.wait()

    def go_on() -> None:
        released.set()
        os.kill(owner, signal.SIGCONT)

    proxy.traps.append(Trap(is_append, before=hold))
    await asyncio.wait_for(held.wait(), 30)
    return go_on


async def taken_over(stack: Stack, epochs: list[int]) -> None:
    """Wait until each partition has another owner: the one before is stopped, and can claim nothing."""

    async def look() -> bool:
        now = [shard.epoch for shard in await stack.shards()]
        return all(late > early for late, early in zip(now, epochs, strict=True))

    await eventually(look, 60)


async def check(stack: Stack, stream: Stream, shards: list) -> None:
    """Compare what was sent with what the twins count, in the journal and in the graph."""
    counted = {twin.twin_id: twin.reading_count for shard in shards for twin in shard.twins.values()}
    assert counted == dict(stream.sent)
    assert sum(len(shard.letters) for shard in shards) == stream.garbage
    assert sum(shard.totals.get("healed", 0) for shard in shards) >= 1
    assert sum(shard.totals.get("lost", 0) for shard in shards) == 0
    assert sum(shard.totals.get("forwarded", 0) for shard in shards) > 0
    async with stack.graph() as graph:
        for device, count in stream.sent.items():
            twin = await graph.get_digital_twin(device)
            assert twin["readingCount"] == count
