"""Workers, hosts and the hub are killed, paused and cut off in mid-stream; what is left is judged."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.budget import Budget
from tests.end_to_end.evidence import at_rest, check, watch_graph
from tests.end_to_end.history import History
from tests.end_to_end.hub_process import HubProcess
from tests.end_to_end.nemesis import WAIT, Nemesis
from tests.end_to_end.senders import Notes, route, send_as_back_end, send_as_device, sending
from tests.end_to_end.stack import MAILBOX, PUMP, Stack, eventually, running
from tests.end_to_end.storage_proxy import StorageProxy

DEVICES = [f"pump-{number}" for number in range(12)]


@asynccontextmanager
async def fated(folder: Path, seed: int, hub: HubProcess | None = None) -> AsyncIterator[tuple[Stack, Nemesis]]:
    """Run the services, with somebody between the workers and their journals."""
    async with running(folder, event_hubs=hub) as stack:
        watch_graph(stack)
        proxy = StorageProxy(stack.storage_url("Blob"))
        async with proxy.listening():
            stack.journal_storage = stack.storage.connection_string.replace(proxy.target, proxy.url)
            yield stack, Nemesis(stack, proxy, seed)


async def survive(folder: Path, seed: int, *, rounds: int, kills: int, heir_kills: int) -> Counter[str]:
    """Kill, cut, skip and pause while devices send, some through IoT Hub; return what was done.

    Parameters
    ----------
    folder, seed
    rounds
    kills, heir_kills
        In each round: of a worker, and of the one that takes over from a paused one.
    """
    async with fated(folder, seed) as (stack, nemesis):
        notes, done = Notes(), asyncio.Event()
        async with sending(
            route(stack, notes, DEVICES, done),
            send_as_device(stack, notes, "real-0", done),
            send_as_device(stack, notes, "real-1", done),
            done=done,
        ):
            for _ in range(rounds):
                async with nemesis.host() as host:
                    await nemesis.checkpointed()
                    for _ in range(kills):
                        await nemesis.kill(host)
                    await nemesis.cut(4)
                    await nemesis.kill_host(host)
                await nemesis.skip_ahead()
                async with AsyncExitStack() as hosts:
                    first = await hosts.enter_async_context(nemesis.host())
                    await nemesis.pause(first, hosts, kills=heir_kills)
        await at_rest(stack, nemesis.host)
        history = await check(stack, notes.sent)
        assert total(history, "healed") >= 1
        assert total(history, "forwarded") > 0
        assert total(history, "dead_letters") > 0
        return nemesis.done + Counter(messages=len(notes.sent), fenced=total(history, "fenced"))


def total(history: History, name: str) -> int:
    """Return what all partitions have counted."""
    return sum(shard.totals.get(name, 0) for shard in history.restored)


async def survive_the_hub(folder: Path, seed: int, *, rounds: int) -> Counter[str]:
    """Kill Event Hubs while back ends send, and the worker as well; return what was done."""
    hub = HubProcess(folder / "event_hubs", MAILBOX)
    async with fated(folder, seed, hub) as (stack, nemesis):
        async with stack.graph() as graph:
            for twin_id in DEVICES:
                await graph.upsert_digital_twin(twin_id, {"$metadata": {"$model": PUMP}})
        notes, done = Notes(), asyncio.Event()
        sender = send_as_back_end(stack, notes, DEVICES, done, seed)
        async with sending(sender, done=done), nemesis.host() as host:
            for _ in range(rounds):
                await acknowledged(notes, 40)
                await hub.kill()
                nemesis.done["hubs killed"] += 1
                await acknowledged(notes, 20)
                await nemesis.kill(host)
        await at_rest(stack, nemesis.host)
        await check(stack, notes.sent)
        unknown = sum(not sent.is_acknowledged for sent in notes.sent)
        return nemesis.done + Counter({"messages": len(notes.sent), "not acknowledged": unknown})


async def acknowledged(notes: Notes, more: int) -> None:
    """Wait until so many more messages are."""

    def count() -> int:
        return sum(sent.is_acknowledged for sent in notes.sent)

    goal = count() + more
    await eventually(lambda: count() >= goal, WAIT)


async def test_kills_cuts_a_skip_and_a_pause(tmp_path: Path) -> None:
    """Once of each, and the worker that takes over from a paused one is killed as well."""
    done = await survive(tmp_path, 1, rounds=1, kills=1, heir_kills=1)
    assert done["pauses"] == 1  # it was told that it had been replaced


@pytest.mark.proof
@pytest.mark.timeout(1800)
async def test_many_kills_cuts_and_pauses(tmp_path: Path, budget: Budget) -> None:
    """At other moments with each seed."""

    async def play(seed: int) -> Counter[str]:
        return await survive(tmp_path / str(seed), seed, rounds=2, kills=4, heir_kills=2)

    await budget.spend(play)


@pytest.mark.proof
@pytest.mark.timeout(1800)
async def test_event_hubs_is_killed(tmp_path: Path, budget: Budget) -> None:
    """What it acknowledged is folded once, what it did not may be lost; at other moments with each seed."""

    async def play(seed: int) -> Counter[str]:
        done = await survive_the_hub(tmp_path / str(seed), seed, rounds=4)
        assert done["hubs killed"] == 4
        return done

    await budget.spend(play)
