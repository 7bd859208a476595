"""Ports that fail once, at a chosen call, in a chosen way."""

import asyncio
import contextlib
import enum
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tests.twin_actors.world import TYPES, World
from twin_actors.active import Ports
from twin_actors.errors import TwinfoldError, Unanswered, Unavailable
from twin_actors.twin import TwinType


class Fault(enum.Enum):
    """What happens to the chosen call."""

    BEFORE = "it is not done, and fails"
    UNANSWERED = "it is done, and fails"
    LATE = "it fails, and is done at the next call"
    PARTLY = "of a send, the first half is done, and it fails"
    SLOW = "it takes a minute"
    RIVAL_BEFORE = "another owner takes all partitions, then it is done"
    RIVAL_AFTER = "it is done, then another owner takes all partitions"
    CANCELLED = "it is done, and its task is cancelled"
    KILLED_BEFORE = "the process dies before it is done"
    KILLED_AFTER = "the process dies after it is done"


class Killed(BaseException):
    """The process is gone: nothing of the runtime may be used again."""


UNANSWERED_WRITES = {"append", "create_segment", "write", "create", "patch"}
"""Calls whose failure means that they may have been done; others are `Unavailable`."""


class Fuse:
    """Counts the calls of all ports of a world, and spoils some of them.

    Parameters
    ----------
    world
    faults
        Which call, from 1 → what happens to it.
    types
        Of the twins of a rival.
    """

    def __init__(self, world: World, faults: Mapping[int, Fault], types: Mapping[str, TwinType[Any]] = TYPES) -> None:
        self.calls: list[str] = []
        self.is_killed = False
        self._world = world
        self._faults = faults
        self._types = types
        self._late: Callable[[], Awaitable[object]] | None = None

    def ports(self) -> Ports:
        """Return the ports of the world, on this fuse."""
        bare = self._world.ports()
        fused: dict[str, Any] = {
            name: _Fused(self, getattr(bare, name))
            for name in ("journal", "graph", "sender", "reader", "devices", "documents", "orders")
        }
        return Ports(**fused, models=bare.models, clock=bare.clock)

    async def call(  # noqa: C901  one case for each fault
        self, name: str, method: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...]
    ) -> Any:
        """Make one call, or what the fault makes of it."""
        self.calls.append(name)
        await self._do_late()
        error = Unanswered(name) if name in UNANSWERED_WRITES else Unavailable(name)
        match self._faults.get(len(self.calls)):
            case None:
                return await method(*arguments)
            case Fault.BEFORE:
                raise error
            case Fault.UNANSWERED:
                await method(*arguments)
                raise error
            case Fault.LATE:
                self._late = lambda: method(*arguments)
                raise error
            case Fault.PARTLY:
                if name == "send":
                    partition, messages = arguments
                    await method(partition, messages[: len(messages) // 2])
                raise error
            case Fault.SLOW:
                self._world.clock.passed += 60
                return await method(*arguments)
            case Fault.RIVAL_BEFORE:
                await self._rival()
                return await method(*arguments)
            case Fault.RIVAL_AFTER:
                answer = await method(*arguments)
                await self._rival()
                return answer
            case Fault.CANCELLED:
                await method(*arguments)
                raise asyncio.CancelledError
            case Fault.KILLED_BEFORE:
                self.is_killed = True
                raise Killed
            case Fault.KILLED_AFTER:
                await method(*arguments)
                self.is_killed = True
                raise Killed

    async def _do_late(self) -> None:
        if self._late is not None:
            late, self._late = self._late, None
            with contextlib.suppress(TwinfoldError):  # nobody hears of it any more
                await late()

    async def _rival(self) -> None:
        rival = self._world.runtime(self._types)
        for partition in self._world.partitions:
            await rival.deliver(partition, self._world.events(partition)[:1])


class _Fused:
    """A port whose every call goes through the fuse."""

    def __init__(self, fuse: Fuse, port: Any) -> None:
        self._fuse = fuse
        self._port = port

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        return lambda *arguments: self._fuse.call(name, getattr(self._port, name), arguments)
