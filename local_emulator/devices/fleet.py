"""A fleet of simulated pumps, each with its own connection, all simulated together once a second.

They send what their sensors show, and obey the commands of ``pump_commands.py``.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from local_emulator.devices.commands import Commands
from local_emulator.devices.connection import FAREWELL_SECONDS, SEND_FAILURES, DeviceConnection
from local_emulator.devices.errors import ConnectionsError
from local_emulator.devices.pump_commands import pump_commands
from local_emulator.devices.pumps import MODEL, PumpGroup

logger = logging.getLogger(__name__)

KEPT_READINGS = 3600
"""What a pump keeps while its hub cannot be reached: an hour. Then the oldest go, and are counted."""

type Reading = tuple[float, dict[str, float]]


@dataclass
class FleetReport:
    """What became of the readings: made = sent + lost + still waiting."""

    made: int = 0
    sent: int = 0
    lost: int = 0

    def __str__(self) -> str:
        return f"{self.made} readings made, {self.sent} sent, {self.lost} lost"


class PumpFleet:
    """Simulated pumps that send what their sensors show.

    Parameters
    ----------
    connection_strings : sequence of str
        One of each pump.
    seed : int
        The same seed gives the same pumps, weather and noise.
    acceleration : float or sequence of float
        How many times faster than real the pumps wear, all or each; time stamps stay real.
    period : float
        Seconds between readings.
    clogging : bool
        Whether their strainers clog, within minutes.
    ca_file : Path, optional
        PEM file of the authority to trust; the system's, or those of SSL_CERT_FILE, if absent.
    """

    def __init__(
        self,
        connection_strings: Sequence[str],
        *,
        seed: int = 0,
        acceleration: float | Sequence[float] = 1.0,
        period: float = 1.0,
        clogging: bool = False,
        ca_file: Path | None = None,
    ) -> None:
        count = len(connection_strings)
        if not count:
            raise ConnectionsError("no connection strings: a fleet needs at least one pump")
        if not isinstance(acceleration, int | float) and len(acceleration) != count:
            raise ConnectionsError(f"{len(acceleration)} accelerations for {count} pumps")
        if np.any(np.asarray(acceleration) < 0.0):
            raise ConnectionsError("an acceleration is negative, and wear does not heal")
        if not period > 0.0:
            raise ConnectionsError(f"period {period:g} is not positive")
        self.report = FleetReport()
        self._connection_strings = tuple(connection_strings)
        self._pumps = PumpGroup(
            count, seed=seed, acceleration=np.asarray(acceleration, dtype=np.float64), clogging=clogging
        )
        self._period = period
        self._ca_file = ca_file

    async def run(self, stop: asyncio.Event) -> None:
        """Simulate and send until told to stop; what is unsent by then has a while to go."""
        connections = [DeviceConnection(one, model=MODEL, ca_file=self._ca_file) for one in self._connection_strings]
        lines = [
            _Line(connection, pump_commands(self._pumps, number), self.report)
            for number, connection in enumerate(connections)
        ]
        async with asyncio.TaskGroup() as tasks:
            senders = [tasks.create_task(line.send()) for line in lines]
            try:
                await self._simulate(lines, stop)
            finally:
                for line in lines:
                    line.finish()
                await asyncio.wait(senders, timeout=FAREWELL_SECONDS)
                await asyncio.gather(*(connection.close() for connection in connections))
        logger.info("pumps: %s", self.report)

    async def _simulate(self, lines: Sequence["_Line"], stop: asyncio.Event) -> None:
        before = due = time.monotonic()
        while not stop.is_set():
            now = time.monotonic()
            channels = self._pumps.step(now - before)
            before, moment = now, time.time()
            rows = np.array(list(channels.values())).T.tolist()
            for line, row in zip(lines, rows, strict=True):
                line.put((moment, dict(zip(channels, row, strict=True))))
            due += self._period
            try:
                await asyncio.wait_for(stop.wait(), max(0.0, due - time.monotonic()))
            except TimeoutError:
                due = max(due, time.monotonic() - self._period)  # what was missed is not made up for


class _Line:
    """A pump's line to its hub: commands one way, readings in order the other."""

    def __init__(self, connection: DeviceConnection, commands: Commands, report: FleetReport) -> None:
        self._connection = connection
        self._commands = commands
        self._report = report
        self._waiting: deque[Reading] = deque()
        self._changed = asyncio.Event()
        self._is_finished = False

    def put(self, reading: Reading) -> None:
        self._report.made += 1
        if len(self._waiting) == KEPT_READINGS:
            self._waiting.popleft()
            self._lose(1)
        self._waiting.append(reading)
        self._changed.set()

    def finish(self) -> None:
        self._is_finished = True
        self._changed.set()

    async def send(self) -> None:
        """Send until finished; what the end of the connection leaves unsent is counted as lost."""
        unsent = 0
        try:
            # Not beside the first reading: a hub that refuses two operations at once can leave the SDK hanging.
            await self._connection.listen(self._commands)
            while self._waiting or not self._is_finished:
                if not self._waiting:
                    self._changed.clear()
                    await self._changed.wait()
                    continue
                moment, channels = self._waiting.popleft()
                unsent = 1
                await self._connection.send(moment, channels)
                unsent = 0
                self._report.sent += 1
        except SEND_FAILURES:
            if unsent or self._waiting:
                self._lose(unsent + len(self._waiting))

    def _lose(self, count: int) -> None:
        self._report.lost += count
        logger.warning("%s: %d readings lost: the hub was not reached in time", self._connection.device_id, count)
