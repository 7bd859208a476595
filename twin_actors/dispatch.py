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


class _Pause(msgspec.Struct, frozen=True):
    """Until when a device is left alone, how long that is, and whether it was not connected."""

    not_before: float
    seconds: float
    is_offline: bool


class Dispatch:
    """The commands of one shard's devices.

    Parameters
    ----------
    devices, clock
    landed
        Called with each outcome: notes it, says so with `noted`, and commits it.
    """

    def __init__(self, devices: Devices, clock: Clock, landed: Callable[[Outcome], Awaitable[None]]) -> None:
        self.throttled = 0
        self._devices = devices
        self._clock = clock
        self._landed = landed
        self._in_flight: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._paused: dict[str, _Pause] = {}

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
        met = set(self._in_flight)
        for entry in waiting:
            twin_id = entry.command.twin_id
            if self._in_flight.get(twin_id) == entry.number:
                continue
            if self._clock.now() > entry.command.expires:
                expired.append(_outcome(entry, OperationStatus.EXPIRED, "the device could not be reached in time"))
            elif twin_id not in met:
                pause = self._paused.get(twin_id)
                if pause is not None and pause.is_offline and not entry.command.desired:
                    if not self._may_try(pause):
                        continue  # one that can stand as desired value may pass it
                elif pause is not None and not pause.is_offline and not self._may_try(pause):
                    met.add(twin_id)
                    continue
                met.add(twin_id)
                self._launch(entry, is_repeat=pause is not None)
        return expired

    def _may_try(self, pause: "_Pause") -> bool:
        return self._clock.elapsed() >= pause.not_before

    def _launch(self, entry: SendCommand, *, is_repeat: bool) -> None:
        """Send a command beside all else, if there is room; what was tried before leaves room for what was not."""
        if len(self._in_flight) >= (MOST_IN_FLIGHT // 2 if is_repeat else MOST_IN_FLIGHT):
            return
        self._in_flight[entry.command.twin_id] = entry.number
        task = asyncio.create_task(self._fly(entry))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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
                if not command.desired or self._clock.now() > command.expires:
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
        last = self._paused.get(twin_id)
        asked = error.retry_after_seconds if isinstance(error, Throttled) else 0.0
        self.throttled += isinstance(error, Throttled)
        seconds = max(asked, FIRST_PAUSE_SECONDS if last is None else min(LONGEST_PAUSE_SECONDS, 2.0 * last.seconds))
        self._paused[twin_id] = _Pause(self._clock.elapsed() + seconds, seconds, isinstance(error, Offline))
        log.info("device %s: %s; tried again in %g s", twin_id, error, seconds)


def _answered(entry: SendCommand, answer: Answer) -> Outcome:
    try:
        said = msgspec.json.decode(answer.payload) if len(answer.payload) <= MAX_ANSWER_BYTES else None
    except (msgspec.DecodeError, RecursionError):
        said = answer.payload.decode(errors="replace")
    operation = msgspec.structs.replace(
        entry.operation, status=OperationStatus.ANSWERED, answer_status=answer.status, answer=said
    )
    return Outcome(entry.number, entry.command.twin_id, operation)


def _outcome(entry: SendCommand, status: OperationStatus, detail: str) -> Outcome:
    operation = msgspec.structs.replace(entry.operation, status=status, detail=detail)
    return Outcome(entry.number, entry.command.twin_id, operation)
