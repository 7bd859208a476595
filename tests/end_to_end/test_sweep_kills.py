"""Workers are killed while a sweep turns into work orders: each machine that will fail has one order, placed once."""

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from local_emulator.event_hubs import HubEvent
from local_emulator.functions_host import FunctionsHost
from tests.budget import Budget
from tests.end_to_end.evidence import at_rest, check, documents, watch_graph
from tests.end_to_end.history import History
from tests.end_to_end.machines import Machine, Rows
from tests.end_to_end.senders import Notes
from tests.end_to_end.stack import PUMP, Stack, Ticker, eventually, running
from tests.end_to_end.storage_proxy import StorageProxy, Trap, is_queued, orders_work
from twin_actors.documents import Alert, Collection, WorkOrder

EXPIRY = 3.0

MOMENTS: Sequence[tuple[str, Callable[[web.Request], bool], str]] = (
    ("before the order is committed", orders_work, "before"),
    ("after it is committed, before the worker knows", orders_work, "after"),
    ("after it is queued, before the worker knows", is_queued, "after"),
)
"""What is done, the request that does it, and whether the worker dies before or after it."""


async def test_one_order_a_machine_over_three_kills(tmp_path: Path) -> None:
    """Placed at each of the worst moments."""
    await survive(tmp_path, pumps=len(MOMENTS), seed=0)


@pytest.mark.proof
@pytest.mark.timeout(1800)
async def test_one_order_a_machine_over_ten_kills(tmp_path: Path, budget: Budget) -> None:
    """Other machines with each seed."""

    async def play(seed: int) -> Counter[str]:
        return await survive(tmp_path / str(seed), pumps=10, seed=10 * seed)

    await budget.spend(play)


async def survive(folder: Path, *, pumps: int, seed: int) -> Counter[str]:
    """Kill the worker as the order of each pump goes out; return what was done."""
    names = [f"pump-{number}" for number in range(pumps)]
    async with running(folder) as stack:
        watch_graph(stack)
        blobs, queues = StorageProxy(stack.storage_url("Blob")), StorageProxy(stack.storage_url("Queue"))
        async with blobs.listening(), queues.listening():
            stack.journal_storage = stack.storage.connection_string.replace(blobs.target, blobs.url).replace(
                queues.target, queues.url
            )
            notes = Notes()
            async with stack.host("host", expiry=EXPIRY) as host:
                ticker = Ticker(host)
                machines = [await worn_out(stack, notes, pump, seed + number) for number, pump in enumerate(names)]
                for number, (pump, machine) in enumerate(zip(names, machines, strict=True)):
                    await predicted(stack, ticker, pump)
                    _, matches, when = MOMENTS[number % len(MOMENTS)]
                    proxies = [blobs, queues]
                    await killed_at(stack, host, ticker, notes, machine, pump, proxies, matches, when)
                await eventually(lambda: all_placed(stack, ticker, names), 120)
            await at_rest(stack, lambda: stack.host("host", expiry=EXPIRY))
        history = await check(stack, notes.sent)
    check_orders(history, names)
    return Counter(kills=pumps, orders=len(set(history.orders)))


async def publish(stack: Stack, notes: Notes, pump: str, rows: Rows) -> None:
    """Send readings as IoT Hub routes them."""
    note = notes.begin(pump, "")
    annotations: dict[str, str | int | datetime] = {
        "iothub-connection-device-id": pump,
        "iothub-enqueuedtime": datetime.now(UTC),
        "dt-dataschema": PUMP,
    }
    event = HubEvent(json.dumps(rows).encode(), annotations, {"message-id": note.message_id}, {})
    await stack.event_hubs.publish("mailbox", event, partition_key=pump)
    note.is_acknowledged = True


async def worn_out(stack: Stack, notes: Notes, pump: str, seed: int) -> Machine:
    """Let a pump run well for a while, and then run on worn parts."""
    machine = Machine(seed)
    good = machine.rows(80)
    machine.wear(impeller=0.2, bearing=0.9)
    rows = good + machine.rows(240)
    await publish(stack, notes, pump, rows[:160])
    await publish(stack, notes, pump, rows[160:])
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
    notes: Notes,
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
    await publish(stack, notes, pump, machine.later(20.0))

    async def look() -> bool:
        await ticker.fire()
        return trap.is_sprung

    await eventually(look, 90)
    await eventually(lambda: host.pids.get("mailbox") not in {None, worker})


async def all_placed(stack: Stack, ticker: Ticker, pumps: Sequence[str]) -> bool:
    """Whether every pump's order is placed; a tick brings the rest on its way."""
    await ticker.fire()
    orders = [one for collection, one in await documents(stack) if collection is Collection.WORK_ORDERS]
    return {order.twin_id for order in orders if order.status == "placed"} == set(pumps)


def check_orders(history: History, pumps: Sequence[str]) -> None:
    """One order each in the tables; in the queue each of its revisions, and nothing else."""
    orders = [msgspec.json.decode(body, type=WorkOrder) for body in bodies(history, Collection.WORK_ORDERS)]
    assert sorted(order.twin_id for order in orders) == sorted(pumps)
    assert {order.priority for order in orders} == {"critical"}
    queued = [msgspec.json.decode(text, type=WorkOrder) for text in history.orders]
    keys = {order.idempotency_key for order in queued}
    assert {order.order_id for order in queued} == {order.order_id for order in orders}
    assert keys == {f"{order.order_id}.{number}" for order in orders for number in range(1, order.revision + 1)}
    # A message whose answer was lost with the worker is sent again, under the same key.
    assert len(queued) - len(keys) <= len(pumps) // len(MOMENTS) + 1
    for key in keys:
        assert len({msgspec.json.encode(order) for order in queued if order.idempotency_key == key}) == 1
    raised = [msgspec.json.decode(body, type=Alert) for body in bodies(history, Collection.ALERTS)]
    near = [alert.reason.prediction_model for alert in raised if alert.rule == "failure-near"]
    assert len(near) == len(pumps)
    assert all(near)


def bodies(history: History, wanted: Collection) -> list[bytes]:
    """Return what apps see of one kind."""
    return [document.body for collection, document in history.documents if collection is wanted]
