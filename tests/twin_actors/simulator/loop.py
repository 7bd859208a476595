"""Virtual time: an event loop that never waits, and whose order of things depends on nothing but the program."""

import asyncio
import collections
import heapq
import itertools
from asyncio import events
from collections.abc import Callable, Coroutine
from typing import Any


class Numbered(asyncio.Task[Any]):
    """A task whose place in a set follows from when it was made, not from where memory had room."""

    number: int

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class Stuck(Exception):
    """Everybody waits for something that nobody will do."""


class VirtualLoop(asyncio.AbstractEventLoop):
    """An event loop with a clock of its own, which jumps to whatever is due next.

    Callbacks run in the order in which they were scheduled, as in asyncio's own loop: who overtakes whom is decided by
    the delays that the network draws.

    Parameters
    ----------
    tolerated
        Errors with which a task may end that nobody waits for.

    Attributes
    ----------
    complaint : BaseException or None
        What a callback raised; the run ends with it.
    """

    def __init__(self, tolerated: tuple[type[BaseException], ...] = ()) -> None:
        self._tolerated = tolerated
        self.complaint: BaseException | None = None
        self._now = 0.0
        self._ready: collections.deque[asyncio.Handle] = collections.deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self._running = False

    def run_until_complete(self, future: Any) -> Any:
        """Run until a coroutine is done, and return what it returns."""
        task = self.create_task(future)
        task.add_done_callback(lambda _task: self.stop())
        events._set_running_loop(self)
        self._running = True
        try:
            while self._running:
                self._turn()
                if self.complaint is not None:
                    raise self.complaint
        finally:
            events._set_running_loop(None)
            self._running = False
        return task.result()

    def _turn(self) -> None:
        if not self._ready:
            if not self._timers:
                raise Stuck
            when, _, timer = heapq.heappop(self._timers)
            if timer.cancelled():
                return
            self._now = max(self._now, when)
            timer._run()
            return
        self._ready.popleft()._run()

    def stop(self) -> None:
        """End the run."""
        self._running = False

    def is_running(self) -> bool:
        """Whether it runs."""
        return self._running

    def is_closed(self) -> bool:
        """Whether it can no longer run."""
        return False

    def get_debug(self) -> bool:
        """Whether asyncio should watch itself."""
        return False

    def time(self) -> float:
        """Seconds since the start."""
        return self._now

    def call_soon(self, callback: Callable[..., Any], *arguments: Any, context: Any = None) -> asyncio.Handle:
        """Run a callback after those that wait already."""
        handle = asyncio.Handle(callback, arguments, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *arguments: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """Run a callback in so many seconds."""
        return self.call_at(self._now + delay, callback, *arguments, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *arguments: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """Run a callback at a time."""
        timer = asyncio.TimerHandle(when, callback, arguments, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Forget it when it is due: it is popped then."""

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], **more: Any) -> Numbered:
        """Make a task."""
        task = Numbered.__new__(Numbered)
        task.number = next(self._numbers)  # the registry of all tasks hashes it
        task.__init__(coro, loop=self, **more)  # type: ignore[misc]
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """End the run with what a callback raised, or a task that nobody asked, unless tasks may end so."""
        error = context.get("exception")
        if isinstance(error, BaseException) and ("handle" in context or not isinstance(error, self._tolerated)):
            self.complaint = self.complaint or error


def now[T](coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    coroutine.close()
    raise AssertionError("it waits for something")
