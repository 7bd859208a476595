"""What lies between a process and the services: delays, faults, and the process's own death and sleep."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from tests.twin_actors.faults import UNANSWERED_WRITES, Killed
from tests.twin_actors.simulator.twins import RUL_MODELS
from tests.twin_actors.simulator.weather import Fault
from tests.twin_actors.world import START
from twin_actors.active import CONFIRM_AFTER_SECONDS, Ports
from twin_actors.errors import Fenced, TwinfoldError, Unanswered, Unavailable
from twin_actors.sinks import Refused, Throttled

if TYPE_CHECKING:
    import random

    from tests.twin_actors.simulator.loop import VirtualLoop
    from tests.twin_actors.simulator.simulation import Simulation


QUICK = 0.4
"""The share of calls that are answered within the same moment."""

TOLERANCE = 1e-6
"""Seconds: what rounding takes."""


class Clock:
    """A process's clock: the time of day jumps with the machine's, elapsed time does not."""

    def __init__(self, process: "Process") -> None:
        self.skew = 0.0
        self._process = process

    def now(self) -> float:
        """Seconds since 1970, as this machine believes."""
        return START + self._process.loop.time() + self.skew

    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._process.loop.time()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
        await self._process.awake()


class Process:
    """A process that can die and stop, and its connections.

    Attributes
    ----------
    name : str
    is_dead : bool
    tasks : dict
        Everything it has running.
    confirmed, heard : dict
        Partition → when it last asked for an append that went well, and when it last heard of an effect.
    knows : set of int
        Partitions that it was told it no longer owns.
    unsure : set of int
        Partitions with an append of which it is not known whether it stands.
    """

    def __init__(self, simulation: "Simulation", name: str) -> None:
        self.name = name
        self.loop: VirtualLoop = simulation.loop
        self.clock = Clock(self)
        self.is_dead = False
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.confirmed: dict[int, float] = {}
        self.heard: dict[int, float] = {}
        self.knows: set[int] = set()
        self.unsure: set[int] = set()
        self._simulation = simulation
        self._random: random.Random = simulation.random
        self._wakes_at = 0.0
        self._waking: asyncio.Future[None] | None = None

    @property
    def is_paused(self) -> bool:
        """Whether it stands still."""
        return self._waking is not None

    def kill(self) -> None:
        """End it at once: nothing of it does anything any more."""
        self.is_dead = True
        self._simulation.note(self.name, "dies")
        for task in list(self.tasks):
            task.cancel()

    def pause(self, seconds: float) -> None:
        """Let it stand still, as a stopped process or a machine that swaps does."""
        self._wakes_at = max(self._wakes_at, self.loop.time() + seconds)
        if self._waking is None:
            self._simulation.note(self.name, f"stands still for {seconds:.1f} s")
            self._waking = self.loop.create_future()
            self.loop.call_at(self._wakes_at, self._wake)

    def _wake(self) -> None:
        if self.loop.time() < self._wakes_at:
            self.loop.call_at(self._wakes_at, self._wake)
            return
        waking, self._waking = self._waking, None
        assert waking is not None
        self._simulation.note(self.name, "goes on")
        waking.set_result(None)

    async def awake(self) -> None:
        """Wait while the process stands still; never return in a dead one."""
        while self._waking is not None and not self.is_dead:
            await asyncio.shield(self._waking)
        if self.is_dead:
            raise Killed

    def ports(self) -> Ports:
        """Return the services as this process sees them."""
        services = self._simulation.services
        return Ports(
            journal=_Line(self, "journal", services.storage),  # type: ignore[arg-type]  # it has every method of its service
            graph=_Line(self, "graph", services.graph),  # type: ignore[arg-type]
            sender=_Line(self, "hub", services.hub),  # type: ignore[arg-type]
            reader=_Line(self, "hub", services.hub),  # type: ignore[arg-type]
            devices=_Line(self, "devices", services.devices),  # type: ignore[arg-type]
            documents=_Line(self, "documents", services.documents),  # type: ignore[arg-type]
            orders=_Line(self, "orders", services.orders),  # type: ignore[arg-type]
            models=RUL_MODELS.get,
            clock=self.clock,
        )

    async def call(
        self, service: str, name: str, method: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...]
    ) -> Any:
        """Make a call, or what the weather makes of it."""
        if self.is_dead:
            raise Killed
        partition = self._simulation.owner_of(service, name, arguments)
        if partition is not None and name == "append":
            return await self._append(partition, method, arguments)
        if partition is not None:
            self._check_effect(partition, service, name, arguments)
        try:
            return await self._call(service, name, method, arguments)
        finally:
            if partition is not None and service != "devices":
                self.heard[partition] = self.loop.time()

    async def _call(
        self, service: str, name: str, method: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...]
    ) -> Any:
        if self._waking is not None:
            await self.awake()
        answer = await self._spoiled(self._simulation.strike(service, name), service, name, method, arguments)
        if self._waking is not None:
            await self.awake()
        return answer

    async def _append(self, partition: int, method: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...]) -> None:
        """Append, and remember what the process learns from it."""
        asked_at = self.loop.time()
        self.unsure.add(partition)
        try:
            await self._call("journal", "append", method, arguments)
        except Fenced:
            self.unsure.discard(partition)
            if self._simulation.is_replaced(self, partition):
                self.knows.add(partition)
            else:  # what stands there is its own: it was done, and not answered
                self.confirmed[partition] = asked_at
                self.knows.discard(partition)
            raise
        self.unsure.discard(partition)
        self.confirmed[partition] = asked_at
        self.knows.discard(partition)

    def _check_effect(self, partition: int, service: str, name: str, arguments: tuple[Any, ...]) -> None:
        """Check that whoever sends something has reason to believe that it still owns the partition."""
        what = f"{self.name} {service}.{name}{arguments!r:.200}"
        if partition in self.knows:
            raise self._simulation.broken(f"{what}: sent by one who was told that it is replaced")
        if service == "graph" or name == "set_desired":
            return  # fenced by ETags; what follows upon the answer of an offline device
        last = self.confirmed.get(partition, -1e9)
        age = self.loop.time() - (last if service == "devices" else max(last, self.heard.get(partition, -1e9)))
        if age > CONFIRM_AFTER_SECONDS + TOLERANCE:
            raise self._simulation.broken(f"{what}: sent {age:.1f} s after its owner last heard that it owns it")

    async def _spoiled(  # noqa: C901  one case for each fault
        self,
        fault: Fault | None,
        service: str,
        name: str,
        method: Callable[..., Awaitable[Any]],
        arguments: tuple[Any, ...],
    ) -> Any:
        """Make a call under a fault."""
        simulation = self._simulation
        if fault is not None:
            simulation.happened(self, fault, service, name)
        error: TwinfoldError = Unanswered(name) if name in UNANSWERED_WRITES else Unavailable(name)
        match fault:
            case Fault.BEFORE:
                await self._travel()
                raise error
            case Fault.LATE:
                simulation.later(self._random.uniform(0.0, 20.0), self, service, name, method, arguments)
                await self._travel()
                raise error
            case Fault.PARTLY:
                partition, messages = arguments
                await self._arrive(service, name, method, (partition, messages[: len(messages) // 2]))
                raise error
            case Fault.THROTTLED:
                await self._travel()
                raise Throttled(round(self._random.uniform(0.1, 8.0), 3))
            case Fault.REFUSED:
                await self._travel()
                if name == "place":
                    simulation.books.excused.add(arguments[0].idempotency_key)
                raise Refused(f"{service} does not like this")
            case Fault.CANCELLED:
                simulation.cancel(self)
            case Fault.KILLED:
                self.loop.call_later(self._random.uniform(0.0, 0.05), simulation.kill, self)
                await self._travel(always=True)
            case Fault.PAUSED:
                simulation.pause(self)
            case Fault.SLOW:
                await self._travel(self._random.choice((1.0, 5.0, 15.0, 60.0)))
        answer = await self._arrive(service, name, method, arguments)
        if fault is Fault.UNANSWERED:
            raise error
        return answer

    async def _arrive(
        self, service: str, name: str, method: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...]
    ) -> Any:
        """Let a request travel, be done, and its answer travel back."""
        try:
            await self._travel()
            if self._waking is not None and self._random.random() < 0.5:
                await self.awake()
        except (asyncio.CancelledError, Killed):
            if self._random.random() < 0.5:
                self._simulation.later(0.01, self, service, name, method, arguments)
            raise
        answer = self._simulation.do(self, service, name, method, arguments)
        await self._travel()
        return answer

    async def _travel(self, seconds: float = 0.1, *, always: bool = False) -> None:
        if always or seconds > 1.0 or self._random.random() > QUICK:
            await asyncio.sleep(seconds * self._random.random())
            if self.is_dead:
                raise Killed


class _Line:
    """A service as a process sees it."""

    def __init__(self, process: Process, service: str, port: object) -> None:
        self._process = process
        self._service = service
        self._port = port

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        if name == "close":
            return _closed
        process, service, method = self._process, self._service, getattr(self._port, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            bound = functools.partial(method, **named) if named else method
            if name == "send":  # what is on its way to a hub that is deleted does not reach the next one
                hub = process._simulation.services.hub
                bound = functools.partial(hub.send_to, hub.identity)
            return await process.call(service, name, bound, arguments)

        setattr(self, name, call)
        return call


async def _closed() -> None:
    """Let go of nothing."""
