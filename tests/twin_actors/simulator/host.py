"""Azure Functions: workers that believe they own partitions, batches that come again, checkpoints that move too far."""

import asyncio
import itertools
from typing import TYPE_CHECKING

from tests.twin_actors.faults import Killed
from tests.twin_actors.simulator.network import Process
from tests.twin_actors.simulator.twins import TYPES
from twin_actors.errors import Fenced, PartitionStopped, Unavailable
from twin_actors.messages import Event
from twin_actors.runtime import Runtime

if TYPE_CHECKING:
    from tests.twin_actors.simulator.simulation import Simulation
    from twin_actors.watermark import Watermark


class Worker(Process):
    """A process with a runtime, and the partitions that its trigger listens to.

    Attributes
    ----------
    runtime : Runtime
    listening : dict
        Partition → its listener.
    invocations : dict
        Partition → the delivery under way.
    """

    def __init__(self, simulation: "Simulation", name: str) -> None:
        super().__init__(simulation, name)
        ids = itertools.count(1)
        self.runtime = Runtime(TYPES, self.ports(), lambda: f"{name}.{next(ids)}", simulation.limits)
        self.listening: dict[int, asyncio.Task[None]] = {}
        self.invocations: dict[int, asyncio.Task[Watermark]] = {}
        self._host = simulation.host

    def listen(self, partition: int) -> None:
        """Begin to take the events of a partition, from its checkpoint on."""
        if partition not in self.listening and not self.is_dead:
            self._simulation.note(self.name, f"listens to {partition} from {self._host.checkpoints[partition]}")
            self.listening[partition] = self._simulation.start(self, self._listen(partition))

    def leave(self, partition: int) -> None:
        """Stop taking the events of a partition; the batch under way is cancelled, or runs to its end."""
        listener = self.listening.pop(partition, None)
        if listener is not None:
            self._simulation.note(self.name, f"leaves {partition}")
            listener.cancel()
            if self._random.random() < 0.5 and partition in self.invocations:
                self.invocations[partition].cancel()

    def drop(self) -> None:
        """Stop taking any events, and doing anything with those taken: their hub is gone."""
        self.listening.clear()
        for task in list(self.tasks):
            task.cancel()

    async def _listen(self, partition: int) -> None:
        cursor = self._host.checkpoints[partition]
        while True:
            await self._simulation.services.hub.more(partition, cursor)
            await asyncio.sleep(self._random.uniform(0.0, 0.3))
            await self.awake()
            batch = self._host.batch(partition, cursor)
            cursor = await self._deliver(partition, batch)
            await self.awake()
            self._host.checkpoints[partition] = cursor  # whoever writes last is right: it may move back

    async def _deliver(self, partition: int, batch: list[Event]) -> int:
        """Deliver a batch, again and again, until it is folded or the trigger gives it up; return where to go on."""
        if not batch:
            return self._host.first(partition)
        end = batch[-1].sequence_number + 1
        while True:
            invocation = self._simulation.start(self, self.runtime.deliver(partition, batch))
            self.invocations[partition] = invocation
            await asyncio.wait({invocation})
            if self.invocations.get(partition) is invocation:
                del self.invocations[partition]
            if self._is_done(partition, invocation, end):
                return end
            await asyncio.sleep(self._random.uniform(0.5, 2.5))
            await self.awake()
            if isinstance(_error(invocation), PartitionStopped):
                return self._host.checkpoints[partition]
            at = 1.0 if self._simulation.weather.is_fair else self._random.random()
            if at < self._host.gives_up:
                self._host.counts["batches the trigger gave up"] += 1
                return end
            if at < 2 * self._host.gives_up:
                return self._host.checkpoints[partition]

    def _is_done(self, partition: int, invocation: "asyncio.Task[Watermark]", end: int) -> bool:
        name = self.name
        if invocation.cancelled():
            self._simulation.note(name, f"delivery to {partition} cancelled")
            return False
        error = invocation.exception()
        if error is None:
            self._simulation.note(name, f"{partition} folded to {invocation.result().sequence_number}")
            self._simulation.check_delivered(self, partition, end, invocation.result())
            return True
        if isinstance(error, Killed):
            self._simulation.books.counts["processes killed by a message"] += not self.is_dead
            self.kill()
            raise Killed
        is_stopped = isinstance(error, PartitionStopped) and bool(self._simulation.services.hub.past)
        if not (isinstance(error, Fenced | Unavailable) or is_stopped):
            raise self._simulation.broken(f"delivery to {partition} by {name} ends with {error!r}") from error
        self._simulation.note(name, f"delivery to {partition}: {type(error).__name__}")
        self._host.counts[type(error).__name__.lower()] += 1
        return False


def _error(invocation: "asyncio.Task[Watermark]") -> BaseException | None:
    return None if invocation.cancelled() else invocation.exception()


class Host:
    """What all workers of the app share: the trigger's checkpoints.

    Attributes
    ----------
    checkpoints : list of int
        Partition → the event that the trigger hands over next.
    gives_up : float
        How likely the trigger moves on after a failure.
    """

    def __init__(self, simulation: "Simulation", partition_count: int) -> None:
        self.checkpoints = [0] * partition_count
        self.counts = simulation.books.counts
        self.gives_up = simulation.random.choice((0.0, 0.05, 0.3))
        self._hub = simulation.services.hub
        self._random = simulation.random
        self._largest = self._random.choice((1, 4, 16, 64))
        self._workers = simulation.workers

    def first(self, partition: int) -> int:
        """Return the oldest event that is still there."""
        return self._hub.expired[partition]

    def batch(self, partition: int, cursor: int) -> list[Event]:
        """Return what the trigger hands over from a place on; it may go back a little, and repeat what it has."""
        start = max(cursor, self._hub.expired[partition])
        if self._random.random() < 0.1:
            start = max(start - self._random.randint(1, 10), self._hub.expired[partition])
        size = self._random.randint(1, self._largest)
        if start < cursor:
            self.counts["overlapping batches"] += 1
            size += cursor - start
        return self._hub.partitions[partition][start : start + size]

    def alive(self) -> list[Worker]:
        """Return the workers that have not died."""
        return [worker for worker in self._workers if not worker.is_dead]

    def owners(self, partition: int) -> list[Worker]:
        """Return the workers that believe they own a partition."""
        return [worker for worker in self.alive() if partition in worker.listening]
