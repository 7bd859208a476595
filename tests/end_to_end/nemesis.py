"""Does to a running stack what machines and networks do: kills, pauses, cuts; at moments drawn from a seed.

A moment is a number of requests to the storage: between two of them nothing happens that would outlive the process.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack

from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore

from local_emulator.functions_host import FunctionsHost
from tests.end_to_end.stack import RESTORE_PAUSE, Stack, eventually
from tests.end_to_end.storage_proxy import StorageProxy, Trap, is_append, writes

EXPIRY = 2.0
"""Seconds after which another worker may take a dead one's partitions."""

WAIT = 60.0


class Nemesis:
    """A stack's evil fate.

    Parameters
    ----------
    stack
    proxy
        Between its workers and the storage of their journals.
    seed
    """

    def __init__(self, stack: Stack, proxy: StorageProxy, seed: int) -> None:
        self.seeded = random.Random(seed)
        self.done: Counter[str] = Counter()
        self._stack = stack
        self._proxy = proxy
        self._hosts = 0

    def host(self) -> FunctionsHost:
        """Return a new host, not yet started."""
        self._hosts += 1
        return self._stack.host(f"host-{self._hosts}", expiry=EXPIRY)

    async def kill(self, host: FunctionsHost) -> None:
        """Kill the worker before a request is made, while it is, or once it is done; the answer is lost."""
        worker = await self._kill_at_a_request(host, "mailbox")
        await eventually(lambda: host.pids.get("mailbox") not in {None, worker}, WAIT)

    async def kill_host(self, host: FunctionsHost) -> None:
        """Kill every worker of a host at once; whoever holds the host ends it then."""
        await self._kill_at_a_request(host, *host.pids)
        self.done["hosts killed"] += 1

    async def _kill_at_a_request(self, host: FunctionsHost, *groups: str) -> int:
        worker = host.pids["mailbox"]

        def kill() -> None:
            for group in groups:
                if group in host.pids:
                    os.kill(host.pids[group], signal.SIGKILL)

        async def kill_before() -> None:
            kill()

        how = self.seeded.choice(("lost", "under way", "done"))
        before, after = (None, kill) if how == "done" else (kill_before, None)
        trap = Trap(lambda _: True, before, after, skip=self.seeded.randrange(24), is_lost=how == "lost")
        self._proxy.traps.append(trap)
        await eventually(lambda: trap.is_sprung, WAIT)
        self.done["kills"] += 1
        return worker

    async def cut(self, times: int) -> None:
        """Cut the connection of some writes, most of them once they are applied, before they are answered."""
        traps = [
            Trap(writes, after=lambda: None, skip=self.seeded.randrange(8), is_lost=self.seeded.random() < 0.25)
            for _ in range(times)
        ]
        self._proxy.traps += traps
        await eventually(lambda: all(trap.is_sprung for trap in traps), WAIT)
        self.done["cuts"] += times

    async def skip_ahead(self) -> None:
        """Move a checkpoint of the trigger past events that are not folded, as a host without retries does.

        No worker runs meanwhile, and messages go on.
        """
        stack, before = self._stack, await self._stack.last_sequence_numbers()

        async def look() -> bool:
            now = await stack.last_sequence_numbers()
            return all(late > early + 5 for late, early in zip(now, before, strict=True))

        await eventually(look, WAIT)
        async with _checkpoints(stack) as store:
            moved = (await _listed(stack, store))[0]
            state = (await stack.partitions())[int(moved["partition_id"])]
            last = state["last_enqueued_sequence_number"]
            assert moved["sequence_number"] < last
            await store.update_checkpoint({**moved, "sequence_number": last, "offset": state["last_enqueued_offset"]})
        self.done["skips"] += 1

    async def checkpointed(self) -> None:
        """Wait until the trigger has written a checkpoint."""
        async with _checkpoints(self._stack) as store:
            await eventually(lambda: _listed(self._stack, store), WAIT)

    async def pause(self, host: FunctionsHost, hosts: AsyncExitStack, *, kills: int = 0) -> FunctionsHost:
        """Stop a worker in the middle of an append until another host owns everything; let the append arrive then.

        Parameters
        ----------
        host
            Whose worker is stopped; it is ended once it has found out.
        hosts
            Takes the other host.
        kills
            How often the other one is killed while the first is stopped.

        Returns
        -------
        FunctionsHost
            The other one.
        """
        go_on = await self._stop_with_an_append_in_hand(host)
        epochs = await self._epochs()
        fenced = self._stack.log.getvalue().count("fenced: ")
        other = await hosts.enter_async_context(self.host())
        for _ in range(kills):
            await self.kill(other)
        await eventually(lambda: self._taken_over(epochs), WAIT, pause=RESTORE_PAUSE)
        go_on()
        await eventually(lambda: self._stack.log.getvalue().count("fenced: ") > fenced, WAIT)
        self.done["pauses"] += 1
        return other

    async def _stop_with_an_append_in_hand(self, host: FunctionsHost) -> Callable[[], None]:
        owner = host.pids["mailbox"]
        held, released = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            os.kill(owner, signal.SIGSTOP)
            held.set()
            await released.wait()

        def go_on() -> None:
            released.set()
            os.kill(owner, signal.SIGCONT)

        self._proxy.traps.append(Trap(is_append, before=hold, skip=self.seeded.randrange(8)))
        await asyncio.wait_for(held.wait(), WAIT)
        return go_on

    async def _epochs(self) -> list[int]:
        return [shard.epoch for shard in await self._stack.shards()]

    async def _taken_over(self, epochs: list[int]) -> bool:
        """Whether each partition has another owner: the one before is stopped, and can claim nothing."""
        return all(late > early for late, early in zip(await self._epochs(), epochs, strict=True))


def _checkpoints(stack: Stack) -> BlobCheckpointStore:
    return BlobCheckpointStore.from_connection_string(stack.storage.connection_string, "azure-webjobs-eventhub")


async def _listed(stack: Stack, store: BlobCheckpointStore) -> list[dict]:
    return list(await store.list_checkpoints(f"127.0.0.1:{stack.event_hubs.port}", "mailbox", "functions"))
