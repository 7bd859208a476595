"""One seed, from the first worker to the last check."""

import asyncio
import contextlib
import hashlib
import random
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from tests.twin_actors.faults import Killed
from tests.twin_actors.simulator.books import Books
from tests.twin_actors.simulator.final import Settlement
from tests.twin_actors.simulator.host import Host, Worker
from tests.twin_actors.simulator.ledger import Broken, promise
from tests.twin_actors.simulator.loop import VirtualLoop, now
from tests.twin_actors.simulator.network import Process
from tests.twin_actors.simulator.schedule import Schedule
from tests.twin_actors.simulator.services import Services
from tests.twin_actors.simulator.weather import Fault, Weather
from twin_actors.errors import TwinfoldError
from twin_actors.identity import home_partition
from twin_actors.messages import KIND, Kind
from twin_actors.ownership import Limits
from twin_actors.sinks import Absent, Offline, Refused, Stale
from twin_actors.watermark import Watermark

_EXPECTED = (TwinfoldError, Absent, Refused, Stale, Offline, Killed)
"""How tasks of a process may end."""


class Simulation:
    """A cluster, the world around it, and all that happens to it.

    Parameters
    ----------
    seed
    steps
        How much happens before faults stop.
    is_verbose
        Whether the trace is printed.
    """

    def __init__(self, seed: int, steps: int, *, is_verbose: bool = False) -> None:
        self.random = random.Random(seed)
        self.steps = steps
        self.loop = VirtualLoop(_EXPECTED)
        self.partition_count = self.random.choice((1, 2, 2, 3, 4))
        self.limits = Limits(
            segment_records=self.random.choice((3, 10, 40)), snapshot_bytes=self.random.choice((1_500, 8_000, 40_000))
        )
        self.weather = Weather.draw(self.random)
        self.books = Books(self.partition_count, self.limits)
        self.services = Services.start(self.partition_count, self.books)
        self.services.hub.chunk = self.random.choice((1, 3, 500))
        self.books.open(self.services.hub)
        self.workers: list[Worker] = []
        self.host = Host(self, self.partition_count)
        self.app = Process(self, "app")
        self.schedule = Schedule(self)
        self._is_verbose = is_verbose
        self._trace = hashlib.blake2b(digest_size=8)
        self._checks = 0

    def run(self) -> str:
        """Play it, and return what tells this run from any other."""
        self.loop.run_until_complete(self._play())
        self.loop.run_until_complete(self._end())
        return self._trace.hexdigest()

    async def _play(self) -> None:
        await self.schedule.play(self.steps)
        await Settlement(self).settle()

    async def _end(self) -> None:
        for process in [*self.workers, self.app]:
            process.kill()
        await asyncio.sleep(200.0)  # what slept when its process died wakes, and ends

    def note(self, who: str, what: str) -> None:
        """Add a line to the trace."""
        line = f"{self.loop.time():10.3f} {who}: {what}"
        self._trace.update(line.encode())
        if self._is_verbose:
            sys.stdout.write(f"{line}\n")

    def broken(self, text: str) -> Broken:
        """Return the error of a promise that is broken, and let the run end with it."""
        broken = Broken(text)
        self.loop.complaint = self.loop.complaint or broken
        return broken

    def start(self, process: Process, coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Start something in a process."""
        task = self.loop.create_task(coroutine)
        process.tasks[task] = None
        task.add_done_callback(lambda task: self._finished(process, task))
        return task

    def _finished(self, process: Process, task: "asyncio.Task[Any]") -> None:
        process.tasks.pop(task, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, _EXPECTED):
            self.loop.complaint = self.loop.complaint or error

    def new_worker(self) -> Worker:
        """Start a worker."""
        worker = Worker(self, f"worker{len(self.workers) + 1}")
        self.workers.append(worker)
        self.books.counts["workers"] += 1
        return worker

    # What the network asks.

    def strike(self, service: str, name: str) -> Fault | None:
        """Draw what happens to a call."""
        return self.weather.strike(self.random, service, name)

    def happened(self, process: Process, fault: Fault, service: str, name: str) -> None:
        """Note a fault."""
        self.books.counts[f"fault: {fault}"] += 1
        self.note(process.name, f"{service}.{name} {fault}")

    def do(
        self,
        process: Process,
        service: str,
        name: str,
        method: Callable[..., Awaitable[Any]],
        arguments: tuple[Any, ...],
    ) -> Any:
        """Let a service do what it is asked."""
        self.note(process.name, f"{service}.{name}")
        try:
            return now(method(*arguments))  # type: ignore[arg-type]  # methods of services are coroutines
        except Broken as error:
            self.loop.complaint = self.loop.complaint or error
            raise

    def later(self, seconds: float, process: Process, service: str, name: str, *call: Any) -> None:
        """Let a request arrive that nobody waits for any more."""

        def arrive() -> None:
            self.books.counts["late arrivals"] += 1
            with contextlib.suppress(TwinfoldError, Absent, Refused, Stale, Offline):  # nobody hears of it
                self.do(process, service, f"{name} (late)", *call)

        self.loop.call_later(seconds, arrive)

    def owner_of(self, service: str, name: str, arguments: tuple[Any, ...]) -> int | None:
        """Return the partition on whose behalf a call is made; None where that does not matter."""
        match service, name:
            case "journal", "append" | "write" | "delete":
                kind, _, rest = arguments[0].partition("/")
                is_effect = kind == "dead-letters" or name == "append"
                return int(rest.split("/")[0]) if is_effect else None
            case "graph", "patch" | "create":
                return home_partition(arguments[0], self.partition_count)
            case "documents", "put":
                return home_partition(arguments[1].twin_id, self.partition_count)
            case ("orders", "place") | ("devices", _):
                return home_partition(arguments[0].twin_id, self.partition_count)
            case "hub", "send":
                body, properties = arguments[1][0]
                return int(msgspec.msgpack.decode(body)[0]) if properties.get(KIND) == Kind.FORWARD else None
        return None

    def is_replaced(self, process: Process, partition: int) -> bool:
        """Whether somebody else has claimed a partition since."""
        return not self.books.ledgers[partition].owner.startswith(f"{process.name}.")

    def kill(self, process: Process) -> None:
        """Let a process die."""
        if not process.is_dead and not self.weather.is_fair:
            self.books.counts["kills"] += 1
            process.kill()

    def pause(self, process: Process) -> None:
        """Let a process stand still; its partitions are given to others once its ownership expires."""
        if process is self.app or process.is_paused or self.weather.is_fair:
            return
        self.books.counts["pauses"] += 1
        process.pause(self.random.choice((1.0, 5.0, 20.0, 90.0)))
        self.loop.call_later(10.0, self._expire, process)

    def _expire(self, process: Process) -> None:
        if isinstance(process, Worker) and process.is_paused and not self.weather.is_fair:
            for partition in list(process.listening):
                self.schedule.hand_over(partition, process)

    def cancel(self, process: Process) -> None:
        """Cancel one of a worker's invocations."""
        if isinstance(process, Worker) and process.invocations:
            self.books.counts["cancellations"] += 1
            self.random.choice(list(process.invocations.values())).cancel()

    # What hosts ask.

    def check_delivered(self, worker: Worker, partition: int, end: int, watermark: Watermark) -> None:
        """Check what a delivery promises that has returned."""
        ledger = self.books.ledgers[partition]
        try:
            promise(watermark.sequence_number >= end - 1, f"a batch to {end - 1} is folded to {watermark}")
            promise(ledger.watermark >= end - 1, f"a batch to {end - 1} is done, the journal is at {ledger.watermark}")
            shard = worker.runtime.shard(partition)
            self._checks += 1
            if (
                shard is not None
                and self._checks % 4 == 0
                and not self.is_replaced(worker, partition)
                and partition not in worker.unsure
            ):
                self.books.counts["memories checked"] += 1
                ledger.check_memory(shard)
                ledger.check_bounds()
        except Broken as error:
            self.loop.complaint = error
            raise
