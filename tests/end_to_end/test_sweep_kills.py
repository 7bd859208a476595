"""Workers are killed while a sweep turns into work orders: each machine that will fail has one order, placed once."""

import base64
import json
import os
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from aiohttp import web
from azure.storage.queue.aio import QueueClient

from local_emulator.event_hubs import HubEvent
from local_emulator.functions_host import FunctionsHost
from tests.end_to_end.machines import Machine, Rows
from tests.end_to_end.stack import PUMP, Stack, Ticker, eventually, running
from tests.end_to_end.storage_proxy import StorageProxy, Trap, is_queued, orders_work
from twin_actors.documents import Alert, Collection, Document, WorkOrder
from twin_actors.sinks.documents import TableDocuments

PUMPS = [f"pump-{number}" for number in range(10)]
EXPIRY = 3.0

MOMENTS: Sequence[tuple[str, Callable[[web.Request], bool], str]] = (
    ("before the order is committed", orders_work, "before"),
    ("after it is committed, before the worker knows", orders_work, "after"),
    ("after it is queued, before the worker knows", is_queued, "after"),
)
"""What is done, the request that does it, and whether the worker dies before or after it."""


async def test_one_order_a_machine_over_ten_kills(tmp_path: Path) -> None:
    """Placed at the worst moments."""
    async with running(tmp_path) as stack:
        blobs, queues = StorageProxy(stack.storage_url("Blob")), StorageProxy(stack.storage_url("Queue"))
        async with blobs.listening(), queues.listening():
            stack.journal_storage = stack.storage.connection_string.replace(blobs.target, blobs.url).replace(
                queues.target, queues.url
            )
            async with stack.host("host", expiry=EXPIRY) as host:
                ticker = Ticker(host)
                for number, pump in enumerate(PUMPS):
                    machine = await worn_out(stack, pump, seed=number)
                    await predicted(stack, ticker, pump)
                    _, matches, when = MOMENTS[number % len(MOMENTS)]
                    await killed_at(stack, host, ticker, machine, pump, [blobs, queues], matches, when)
                await eventually(lambda: all_placed(stack, ticker), 120)
                await stack.settled(60)
            await check(stack)


async def publish(stack: Stack, pump: str, rows: Rows) -> None:
    """Send readings as IoT Hub routes them."""
    annotations: dict[str, str | int | datetime] = {
        "iothub-connection-device-id": pump,
        "iothub-enqueuedtime": datetime.now(UTC),
        "dt-dataschema": PUMP,
    }
    event = HubEvent(json.dumps(rows).encode(), annotations, {}, {})
    await stack.event_hubs.publish("mailbox", event, partition_key=pump)


async def worn_out(stack: Stack, pump: str, seed: int) -> Machine:
    """Let a pump run well for a while, and then run on worn parts."""
    machine = Machine(seed)
    good = machine.rows(80)
    machine.wear(impeller=0.2, bearing=0.9)
    rows = good + machine.rows(240)
    await publish(stack, pump, rows[:160])
    await publish(stack, pump, rows[160:])
    return machine


async def predicted(stack: Stack, ticker: Ticker, pump: str) -> None:
    """Wait until the twin has a prediction."""

    async def look() -> bool:
        await ticker.fire()
        twins = [twin for shard in await stack.shards() for twin in shard.twins.values() if twin.twin_id == pump]
        return any(twin.maintenance.prediction is not None for twin in twins)

    await eventually(look, 90)


async def killed_at(
    stack: Stack,
    host: FunctionsHost,
    ticker: Ticker,
    machine: Machine,
    pump: str,
    proxies: Sequence[StorageProxy],
    matches: Callable[[web.Request], bool],
    when: str,
) -> None:
    """Let the prediction hold for as long as the rules want, and kill the worker as the order goes out."""
    worker = host.pids["mailbox"]

    def kill() -> None:
        os.kill(worker, signal.SIGKILL)

    async def kill_before() -> None:
        kill()

    trap = Trap(matches, before=kill_before) if when == "before" else Trap(matches, after=kill)
    for proxy in proxies:
        proxy.traps.append(trap)
    await publish(stack, pump, machine.later(20.0))

    async def look() -> bool:
        await ticker.fire()
        return trap.is_sprung

    await eventually(look, 90)
    await eventually(lambda: host.pids.get("mailbox") not in {None, worker})


async def documents(stack: Stack, collection: Collection) -> list[Document]:
    """Return what apps see."""
    tables = TableDocuments.from_connection_string(stack.storage.connection_string)
    try:
        return (await tables.list(collection, limit=1000)).documents
    finally:
        await tables.close()


async def all_placed(stack: Stack, ticker: Ticker) -> bool:
    """Whether every pump's order is placed; a tick brings the rest on its way."""
    await ticker.fire()
    orders = await documents(stack, Collection.WORK_ORDERS)
    return {order.twin_id for order in orders if order.status == "placed"} == set(PUMPS)


async def check(stack: Stack) -> None:
    """One order each in the tables; in the queue each of its revisions, and nothing else."""
    orders = [msgspec.json.decode(one.body, type=WorkOrder) for one in await documents(stack, Collection.WORK_ORDERS)]
    assert sorted(order.twin_id for order in orders) == PUMPS
    assert {order.priority for order in orders} == {"critical"}
    queued = [msgspec.json.decode(text, type=WorkOrder) for text in await messages(stack)]
    keys = {order.idempotency_key for order in queued}
    assert {order.order_id for order in queued} == {order.order_id for order in orders}
    assert keys == {f"{order.order_id}.{number}" for order in orders for number in range(1, order.revision + 1)}
    # A message whose answer was lost with the worker is sent again, under the same key.
    assert len(queued) - len(keys) <= len(PUMPS) // len(MOMENTS) + 1
    for key in keys:
        assert len({msgspec.json.encode(order) for order in queued if order.idempotency_key == key}) == 1
    raised = [msgspec.json.decode(one.body, type=Alert) for one in await documents(stack, Collection.ALERTS)]
    near = [alert.reason.prediction_model for alert in raised if alert.rule == "failure-near"]
    assert len(near) == len(PUMPS)
    assert all(near)


async def messages(stack: Stack) -> list[bytes]:
    """Take all work orders out of the queue, as a maintenance system does."""
    taken: list[bytes] = []
    async with QueueClient.from_connection_string(stack.storage.connection_string, "work-orders") as queue:
        while batch := [message async for message in queue.receive_messages(max_messages=32)][:32]:
            for message in batch:
                taken.append(base64.b64decode(message.content))
                await queue.delete_message(message)
    return taken
