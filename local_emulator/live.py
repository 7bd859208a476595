"""``make run``: everything, with simulated devices and a live table of the twins."""

import asyncio
import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from local_emulator import registered_devices
from local_emulator.emulator import Emulator, Plan, StartError
from local_emulator.live_source import Source
from local_emulator.live_table import picture, wear_caption
from local_emulator.registered_devices import SimulatedDevice
from local_emulator.session import addresses, started, stop_signal

FIRST_DEVICES = {
    **{f"pump-{number}": SimulatedDevice() for number in range(1, 4)},
    "pump-4": SimulatedDevice(fault="clogging"),
    "pump-5": SimulatedDevice(acceleration=400_000.0),
}
"""What a first start simulates: three pumps in good order, one whose strainer clogs, and one that fails in minutes."""

REFRESH_SECONDS = 1.0
PLAIN_SECONDS = 5.0
"""Between two prints where there is no terminal to draw on."""

PLAIN_WIDTH = 120
"""Of a table that goes to a file or a pipe."""


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
            async with _devices(emulator, log.fileno()), Source(emulator) as source:
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


async def _draw(
    emulator: Emulator, source: Source, console: Console, stop: asyncio.Event, limit: float | None, began: float
) -> None:
    """Refresh the picture until told to stop."""
    is_first = True
    pause = REFRESH_SECONDS if console.is_terminal else PLAIN_SECONDS
    live = Live(console=console, auto_refresh=False, screen=False) if console.is_terminal else None
    with live or contextlib.nullcontext():
        while not stop.is_set() and (limit is None or time.monotonic() < limit):
            twins, now = await source.twins(), await source.happened()
            lag, rate = await source.progress()
            if twins and is_first:
                console.print(f"first twins after {time.monotonic() - began:.1f} s")
                is_first = False
            title = f"{len(twins)} twins · lag {lag} events · {rate:.0f} events/s"
            shown = picture(twins, now, title, _caption(emulator), console.width)
            if live is not None:
                live.update(Group(shown, Text("\n".join(addresses(emulator)), style="dim")), refresh=True)
            elif twins:
                console.print(shown, "")  # an empty line before the next
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause if twins else REFRESH_SECONDS)


def _caption(emulator: Emulator) -> str:
    """Return what is special about the simulated devices."""
    devices = registered_devices.read(emulator.plan.data_dir)
    wear = wear_caption({name: device.acceleration for name, device in devices.items() if not device.replay})
    clogging = ", ".join(name for name, device in devices.items() if device.fault == "clogging")
    return "\n".join(line for line in (wear, f"{clogging}: the strainer clogs" if clogging else "") if line)
