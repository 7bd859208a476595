"""Replay: a recording plays as a device's telemetry."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from local_emulator.devices.connection import FAREWELL_SECONDS, SEND_FAILURES, DeviceConnection
from local_emulator.devices.errors import RecordingError
from local_emulator.devices.mapping import Mapping
from local_emulator.devices.recording import Recording

PROGRESS_SECONDS = 5.0


@dataclass
class ReplayReport:
    """How far a replay is, and what it met.

    Attributes
    ----------
    sent : int
        Rows that the hub has taken.
    skipped, flawed : mapping
        See `Recording`.
    retries : int
        Sends that had to be repeated.
    seconds : float
        Since the start.
    """

    sent: int
    skipped: dict[str, int]
    flawed: dict[str, int]
    retries: int
    seconds: float

    def __str__(self) -> str:
        rate = self.sent / self.seconds if self.seconds > 0.0 else 0.0
        told = [f"{self.sent} rows sent", f"{sum(self.skipped.values())} skipped{_reasons(self.skipped)}"]
        if self.flawed:
            told.append(f"{sum(self.flawed.values())} cells flawed{_reasons(self.flawed)}")
        if self.retries:
            told.append(f"{self.retries} sends repeated")
        return f"{', '.join(told)}; {rate:.1f} rows/s"


async def replay(
    path: Path,
    mapping: Mapping,
    connection_string: str,
    *,
    speed: float = 1.0,
    keep_time: bool = False,
    limit: int | None = None,
    ca_file: Path | None = None,
    stop: asyncio.Event | None = None,
    progress: Callable[[str], None] | None = None,
) -> ReplayReport:
    """Send the rows of a recording with the pauses between them as recorded, or shorter by `speed`.

    A row carries the time at which it is due: the first one is now. At a higher speed the time stamps
    move closer together too, so they never run ahead of the clock and the next replay is never late.

    Parameters
    ----------
    path : Path
        CSV, plain or gzipped.
    mapping : Mapping
    connection_string : str
        Of the device that it plays.
    speed : float
        How many times faster than recorded.
    keep_time : bool
        Send the recorded times instead.
    limit : int, optional
        Rows after which to end.
    ca_file : Path, optional
        PEM file of the authority to trust; the system's, or those of SSL_CERT_FILE, if absent.
    stop : asyncio.Event, optional
        Ends the replay early.
    progress : callable, optional
        Hears a line every few seconds.

    Raises
    ------
    RecordingError
        The recording cannot be read to its end; the text says how far it went.
    """
    if not speed > 0.0:
        raise RecordingError(f"speed {speed:g} is not positive")
    if limit is not None and limit < 0:
        raise RecordingError(f"limit {limit} is negative")
    recording = Recording(path, mapping)
    async with DeviceConnection(connection_string, model=mapping.model, ca_file=ca_file) as connection:
        player = _Player(recording, connection, stop or asyncio.Event(), speed=speed, keep_time=keep_time)
        try:
            await player.play(limit, progress or (lambda _: None))
        except RecordingError as error:
            raise RecordingError(f"{error} (so far {player.report()})") from error
        return player.report()


class _Player:
    def __init__(
        self, recording: Recording, connection: DeviceConnection, stop: asyncio.Event, *, speed: float, keep_time: bool
    ) -> None:
        self._recording = recording
        self._connection = connection
        self._stop = stop
        self._speed = speed
        self._keep_time = keep_time
        self._sent = 0
        self._clock = time.monotonic()

    def report(self) -> ReplayReport:
        return ReplayReport(
            self._sent,
            dict(self._recording.skipped),
            dict(self._recording.flawed),
            self._connection.retries,
            time.monotonic() - self._clock,
        )

    async def play(self, limit: int | None, progress: Callable[[str], None]) -> None:
        telling = asyncio.create_task(self._tell(progress))
        stopping = asyncio.create_task(self._hang_up())
        try:
            await self._send_rows(limit)
        except SEND_FAILURES:
            if not self._stop.is_set():
                raise
        finally:
            telling.cancel()
            stopping.cancel()
            await asyncio.gather(telling, stopping, return_exceptions=True)

    async def _send_rows(self, limit: int | None) -> None:
        first: float | None = None
        wall = time.time()
        for recorded, channels in islice(self._recording, limit):
            if first is None:
                first = recorded
            after = (recorded - first) / self._speed
            if await self._is_stopped(after):
                return
            await self._connection.send(recorded if self._keep_time else wall + after, channels)
            self._sent += 1

    async def _is_stopped(self, after: float) -> bool:
        """Wait until a row is due, so many seconds after the start, or the end is asked for."""
        pause = self._clock + after - time.monotonic()
        if pause > 0.0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)
        return self._stop.is_set()

    async def _hang_up(self) -> None:
        """End a send that gets no answer once the end is asked for."""
        await self._stop.wait()
        await asyncio.sleep(FAREWELL_SECONDS)
        await self._connection.close()

    async def _tell(self, progress: Callable[[str], None]) -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            progress(str(self.report()))


def _reasons(counts: dict[str, int]) -> str:
    return f" ({', '.join(f'{reason}: {count}' for reason, count in counts.items())})" if counts else ""
