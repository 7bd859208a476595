"""Commands on their way to devices: beside the batches, so that a device that is slow or away delays nobody.

One command of a device is in flight at a time, in the order given. A device that cannot be reached is tried again
with pauses that grow, until the command expires. What came of a command is handed to the runtime, which commits it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from twin_actors.clock import Clock
from twin_actors.documents import Operation, OperationStatus
from twin_actors.errors import Unavailable
from twin_actors.outputs import SendCommand
from twin_actors.sinks import Answer, Devices, Offline, Refused, Throttled

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0

MOST_IN_FLIGHT = 64
"""Of one shard."""

MAX_ANSWER_BYTES = 16_384
"""Kept of what a device answers."""

log = logging.getLogger(__name__)


class Outcome(msgspec.Struct, frozen=True):
    """What came of a command.

    Attributes
    ----------
    number : int
        Of the output, which is done with.
    twin_id : str
    operation : Operation
        As it stands now.
    """

    number: int
    twin_id: str
    operation: Operation


class Dispatch:
    """The commands of one shard's devices.

    Parameters
    ----------
    devices, clock
    landed
        Called with each outcome: notes it, says so with `noted`, and commits it.
    """

    def __init__(self, devices: Devices, clock: Clock, landed: Callable[[Outcome], Awaitable[None]]) -> None:
        self._devices = devices
        self._clock = clock
        self._landed = landed
        self._in_flight: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._paused: dict[str, tuple[float, float]] = {}

    def start(self, waiting: Iterable[SendCommand]) -> list[Outcome]:
        """Send what can be sent now, without waiting for it.

        Parameters
        ----------
        waiting
            Committed commands that are not known done, in order.

        Returns
        -------
        list of Outcome
            Of those that have expired.
        """
        expired: list[Outcome] = []
        met: set[str] = set()
        for entry in waiting:
            twin_id = entry.command.twin_id
            if twin_id in met or twin_id in self._in_flight:
                continue
            if self._clock.now() > entry.command.expires:
                detail = "the device could not be reached in time"
                expired.append(_outcome(entry, OperationStatus.EXPIRED, detail))
                self._paused.pop(twin_id, None)
                continue
            met.add(twin_id)
            not_before, _ = self._paused.get(twin_id, (0.0, 0.0))
            if self._clock.elapsed() >= not_before and len(self._in_flight) < MOST_IN_FLIGHT:
                self._in_flight[twin_id] = entry.number
                task = asyncio.create_task(self._fly(entry))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        return expired

    async def settle(self) -> None:
        """Wait until nothing is in flight."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def abandon(self) -> None:
        """Give up what is in flight; its commands stay committed, and the next owner sends them again."""
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    def noted(self, outcome: Outcome) -> None:
        """Let the device's next command follow: what came of this one will not be forgotten."""
        if self._in_flight.get(outcome.twin_id) == outcome.number:
            del self._in_flight[outcome.twin_id]

    async def _fly(self, entry: SendCommand) -> None:
        twin_id = entry.command.twin_id
        try:
            outcome = await self._deliver(entry)
            if outcome is not None:
                self._paused.pop(twin_id, None)
                await self._landed(outcome)
        finally:
            if self._in_flight.get(twin_id) == entry.number:
                del self._in_flight[twin_id]

    async def _deliver(self, entry: SendCommand) -> Outcome | None:
        """Send one command; None where it must be tried again."""
        command = entry.command
        try:
            try:
                return _answered(entry, await self._devices.invoke(command))
            except Offline:
                if not command.desired:
                    raise
                await self._devices.set_desired(command)
        except Refused as error:
            return _outcome(entry, OperationStatus.REFUSED, str(error))
        except (Offline, Unavailable) as error:
            self._pause(command.twin_id, error)
            return None
        detail = f"the device is offline: it finds this as desired property {command.desired} when it returns"
        return _outcome(entry, OperationStatus.DELIVERED, detail)

    def _pause(self, twin_id: str, error: Offline | Unavailable) -> None:
        """Leave a device alone for a while, longer each time."""
        _, last = self._paused.get(twin_id, (0.0, 0.0))
        asked = error.retry_after_seconds if isinstance(error, Throttled) else 0.0
        pause = max(asked, min(LONGEST_PAUSE_SECONDS, 2.0 * last or FIRST_PAUSE_SECONDS))
        self._paused[twin_id] = (self._clock.elapsed() + pause, pause)
        log.info("device %s: %s; tried again in %g s", twin_id, error, pause)


def _answered(entry: SendCommand, answer: Answer) -> Outcome:
    try:
        said = msgspec.json.decode(answer.payload) if len(answer.payload) <= MAX_ANSWER_BYTES else None
    except msgspec.DecodeError:
        said = answer.payload.decode(errors="replace")
    operation = msgspec.structs.replace(
        entry.operation, status=OperationStatus.ANSWERED, answer_status=answer.status, answer=said
    )
    return Outcome(entry.number, entry.command.twin_id, operation)


def _outcome(entry: SendCommand, status: OperationStatus, detail: str) -> Outcome:
    operation = msgspec.structs.replace(entry.operation, status=status, detail=detail)
    return Outcome(entry.number, entry.command.twin_id, operation)
