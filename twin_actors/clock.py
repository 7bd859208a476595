"""The time, passed in: nothing in the runtime reads a clock of its own."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What the runtime asks of time."""

    def now(self) -> float:
        """Seconds since 1970 UTC."""

    def elapsed(self) -> float:
        """Seconds on a clock that never jumps, for budgets and ages."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> float:
        """Seconds since 1970 UTC."""
        return time.time()

    def elapsed(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
