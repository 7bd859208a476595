"""``make run``: everything, with simulated devices and a live table of the twins."""

import asyncio
import contextlib
import dataclasses
import os
import sys
import time
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import aiohttp
from azure.core.exceptions import AzureError
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from local_emulator import registered_devices
from local_emulator.emulator import CONSUMER_GROUP, MAILBOX, Emulator, Plan, StartError
from local_emulator.registered_devices import SimulatedDevice
from local_emulator.session import addresses, started, stop_signal

FIRST_DEVICES = {
    **{f"pump-{number}": SimulatedDevice() for number in range(1, 5)},
    "pump-5": SimulatedDevice(acceleration=200_000.0),
}
"""What a first start simulates: four pumps in good order, and one that wears visibly."""

REFRESH_SECONDS = 1.0
PLAIN_SECONDS = 5.0
"""Between two prints where there is no terminal to draw on."""

PLAIN_WIDTH = 120
"""Of a table that goes to a file or a pipe."""

RATE_WINDOW = 10
"""Samples over which the events a second are counted."""

QUERY = "SELECT * FROM DIGITALTWINS"


async def show(plan: Plan, ready_file: Path | None, seconds: float | None) -> None:
    """Run everything until Ctrl-C, or for so many seconds."""
    began = time.monotonic()
    stop = stop_signal()
    console = Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)
    plan.data_dir.mkdir(parents=True, exist_ok=True)
    with (plan.data_dir / "functions.log").open("a") as log:
        console.print("starting the services")
        async with started(dataclasses.replace(plan, log=log), ready_file) as emulator:
            console.print("publishing the models, registering the devices")
            await _publish_models(emulator)
            async with _devices(emulator, log.fileno()), _Source(emulator) as source:
                await _draw(emulator, source, console, stop, began + seconds if seconds else None, began)


async def _publish_models(emulator: Emulator) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "twin_actors",
        "model",
        "publish",
        cwd=emulator.plan.app_dir,
        env={**os.environ, **emulator.app_settings()},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    if process.returncode:
        raise StartError(f"the models could not be published: {errors.decode().strip()}")


@contextlib.asynccontextmanager
async def _devices(emulator: Emulator, log: int) -> AsyncIterator[None]:
    """Play the registered devices in a process of their own."""
    data_dir, ready = emulator.plan.data_dir, emulator.ready()
    if not registered_devices.read(data_dir):
        for device_id, device in FIRST_DEVICES.items():
            await registered_devices.add(ready, data_dir, device_id, device)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "local_emulator.play",
        str(data_dir),
        cwd=Path(__file__).parents[1],
        env={**os.environ, **emulator.app_settings()},
        stdin=asyncio.subprocess.PIPE,  # its end tells the devices that we are gone
        stdout=log,
        stderr=log,
        start_new_session=True,  # Ctrl-C is for us
    )
    try:
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


class _Source:
    """What the table shows: twins from the graph, progress from the hub and the trigger's checkpoints."""

    def __init__(self, emulator: Emulator) -> None:
        assert emulator.storage is not None
        assert emulator.event_hubs is not None
        assert emulator.digital_twins is not None
        self._hubs = emulator.event_hubs
        self._partitions = [str(number) for number in range(emulator.plan.partitions)]
        self._address = f"{emulator.plan.host}:{emulator.event_hubs.port}"
        self._query_url = f"{emulator.digital_twins.url}/query?api-version=2023-10-31"
        store = BlobCheckpointStore.from_connection_string(emulator.storage.connection_string, "azure-webjobs-eventhub")
        self._store: Any = store
        self._session = aiohttp.ClientSession()
        self._samples: deque[tuple[float, int]] = deque(maxlen=RATE_WINDOW)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._store.close()

    async def twins(self) -> list[dict[str, Any]]:
        """Return the twins as the graph shows them."""
        async with self._session.post(self._query_url, json={"query": QUERY}) as answer:
            rows: list[dict[str, Any]] = (await answer.json())["value"]
        return sorted(rows, key=lambda twin: str(twin["$dtId"]))

    async def progress(self) -> tuple[int, float]:
        """Return how many events wait for the trigger, and how many a second it finishes."""
        try:
            checkpoints = await self._store.list_checkpoints(self._address, MAILBOX, CONSUMER_GROUP)
        except AzureError:
            checkpoints = []
        done = {one["partition_id"]: int(one["sequence_number"]) for one in checkpoints}
        newest = {name: self._hubs.last_sequence_number(MAILBOX, name) for name in self._partitions}
        lag = sum(last - done.get(name, -1) for name, last in newest.items())
        self._samples.append((time.monotonic(), sum(done.values())))
        (early, before), (late, after) = self._samples[0], self._samples[-1]
        return lag, (after - before) / (late - early) if late > early else 0.0


async def _draw(
    emulator: Emulator, source: _Source, console: Console, stop: asyncio.Event, limit: float | None, began: float
) -> None:
    """Refresh the table until told to stop."""
    is_first = True
    pause = REFRESH_SECONDS if console.is_terminal else PLAIN_SECONDS
    live = Live(console=console, auto_refresh=False, screen=False) if console.is_terminal else None
    with live or contextlib.nullcontext():
        while not stop.is_set() and (limit is None or time.monotonic() < limit):
            twins = await source.twins()
            lag, rate = await source.progress()
            if twins and is_first:
                console.print(f"first twins after {time.monotonic() - began:.1f} s")
                is_first = False
            picture = Group(table(twins, lag, rate), Text("\n".join(addresses(emulator)), style="dim"))
            if live is not None:
                live.update(picture, refresh=True)
            elif twins:
                console.print(table(twins, lag, rate))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause if twins else REFRESH_SECONDS)


COLUMNS = (
    ("flow m³/h", "lastFlow", ".1f"),
    ("head m", "head", ".2f"),
    ("power kW", "lastPower", ".2f"),
    ("bear. °C", "lastBearingTemperature", ".1f"),
    ("motor °C", "lastMotorTemperature", ".1f"),
)


def table(twins: list[dict[str, Any]], lag: int, rate: float) -> Table:
    """Return the table of the twins."""
    drawn = Table(title=f"{len(twins)} twins · lag {lag} events · {rate:.0f} events/s", title_justify="left")
    drawn.add_column("twin")
    drawn.add_column("connection")
    for heading, _, _ in COLUMNS:
        drawn.add_column(heading, justify="right")
    drawn.add_column("quality")
    drawn.add_column("health", justify="right")
    drawn.add_column("readings", justify="right")
    for twin in twins:
        cells = [
            format(twin[name], form) if isinstance(twin.get(name), int | float) else "-" for _, name, form in COLUMNS
        ]
        drawn.add_row(
            str(twin["$dtId"]),
            _coloured(str(twin.get("connection", "-")), good="online", bad="offline"),
            *cells,
            _coloured(str(twin.get("quality", "-")), good="good", bad="bad"),
            _health(twin.get("health")),
            str(twin.get("readingCount", "-")),
        )
    return drawn


def _coloured(word: str, *, good: str, bad: str) -> Text:
    return Text(word, style="green" if word == good else "red" if word == bad else "yellow")


def _health(health: object) -> Text:
    if not isinstance(health, int | float):
        return Text("-")
    return Text(f"{health:.2f}", style="green" if health > 0.8 else "yellow" if health > 0.4 else "red")
