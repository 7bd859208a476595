"""One run of the emulator: its lock, its ready files, its end, and where it can be reached."""

import asyncio
import fcntl
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from local_emulator.emulator import Emulator, Plan, StartError, running, write_ready_file

READY_FILE = "ready.json"
"""In the data folder: what clients need to know of the emulator that runs on it."""


@asynccontextmanager
async def started(plan: Plan, ready_file: Path | None) -> AsyncIterator[Emulator]:
    """Run the services, with ready files for those who wait for them."""
    plan.data_dir.mkdir(parents=True, exist_ok=True)
    with (plan.data_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(
                f"an emulator already runs on {plan.data_dir}: stop it, or choose another --data-dir"
            ) from None
        async with running(plan) as emulator:
            files = [plan.data_dir / READY_FILE, *([ready_file] if ready_file else [])]
            try:
                for file in files:
                    await write_ready_file(file, emulator.ready())
                yield emulator
            finally:
                for file in files:
                    file.unlink(missing_ok=True)


def stop_signal() -> asyncio.Event:
    """Return an event that Ctrl-C and SIGTERM set."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def addresses(emulator: Emulator) -> list[str]:
    """Return where each service can be reached."""
    lines = []
    if emulator.storage is not None:
        ports = emulator.storage.ports
        lines.append(
            f"storage         http://{emulator.plan.host}:{ports['blob']} (blob), {ports['queue']}, {ports['table']}"
        )
    if emulator.event_hubs is not None:
        lines.append(f"Event Hubs      amqp://{emulator.plan.host}:{emulator.event_hubs.port}, hub mailbox")
    if emulator.iot_hub is not None:
        hub = emulator.iot_hub
        lines.append(
            f"IoT Hub         mqtts://{hub.host_name}:{hub.mqtt_port}, https://{hub.host_name}:{hub.rest_port}"
        )
    if emulator.digital_twins is not None:
        lines.append(f"Digital Twins   {emulator.digital_twins.url}, {emulator.digital_twins.https_url}")
    if emulator.identity is not None:
        lines.append(f"identity        {emulator.identity.endpoint}")
    if emulator.functions is not None:
        lines.append(f"functions       {emulator.functions.url}")
    return lines
