"""Plays the registered devices: ``python -m local_emulator.play DATA_DIR``.

A process of its own, so that simulated machines take nothing of the emulator's time. It follows the list of devices
while it runs, and ends with its standard input.
"""

import asyncio
import json
import logging
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_emulator import registered_devices
from local_emulator.devices.errors import DeviceError
from local_emulator.devices.fleet import PumpFleet
from local_emulator.devices.mapping import load_mapping
from local_emulator.devices.replay import replay
from local_emulator.registered_devices import SimulatedDevice

LOOK_SECONDS = 1.0
"""How often the list of devices is looked at."""

log = logging.getLogger(__name__)


async def play(data_dir: Path, stop: asyncio.Event) -> None:
    """Play every device of the list, and follow its changes, until told to stop."""
    ready = json.loads((data_dir / "ready.json").read_text())
    playing: dict[str, tuple[SimulatedDevice, asyncio.Event, asyncio.Task[None]]] = {}
    seen: dict[str, SimulatedDevice] = {}
    while not stop.is_set():
        listed = registered_devices.read(data_dir)
        if listed != seen:
            await _follow(listed, playing, ready)
            seen = listed
        try:
            await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
        except TimeoutError:
            continue
    for _, ended, _ in playing.values():
        ended.set()
    await asyncio.gather(*(task for _, _, task in playing.values()))


async def _follow(
    listed: Mapping[str, SimulatedDevice],
    playing: dict[str, tuple[SimulatedDevice, asyncio.Event, asyncio.Task[None]]],
    ready: Mapping[str, Any],
) -> None:
    """Stop what is no longer listed as it was, and start what is new."""
    for device_id, (device, ended, _) in list(playing.items()):
        if listed.get(device_id) != device:
            ended.set()
            await playing.pop(device_id)[2]
    strings = await registered_devices.connection_strings(ready)
    for device_id, device in listed.items():
        if device_id in strings and device_id not in playing:
            ended = asyncio.Event()
            task = asyncio.create_task(_play_one(device_id, device, strings[device_id], ended))
            playing[device_id] = (device, ended, task)


async def _play_one(device_id: str, device: SimulatedDevice, connection_string: str, ended: asyncio.Event) -> None:
    """Play one device; what is wrong with one is no matter of the others."""
    log.info("%s: %s", device_id, registered_devices.player(device))
    try:
        if device.replay:
            mapping = load_mapping(Path(device.mapping))
            await replay(
                Path(device.replay),
                mapping,
                connection_string,
                speed=device.speed,
                keep_time=device.keep_time,
                stop=ended,
                progress=lambda line: log.info("%s: %s", device_id, line),
            )
        else:
            seed = zlib.crc32(device_id.encode())
            clogs = device.fault == "clogging"
            fleet = PumpFleet([connection_string], seed=seed, acceleration=device.acceleration, clogging=clogs)
            await fleet.run(ended)
    except (DeviceError, OSError) as error:
        log.error("%s is not played: %s", device_id, error)  # noqa: TRY400  the reason is enough for a user


async def _run(data_dir: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def read_to_end() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(stop.set)

    reader = loop.run_in_executor(None, read_to_end)
    await play(data_dir, stop)
    await reader


def main() -> None:
    """Play until standard input ends."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("azure").setLevel(logging.WARNING)
    # It logs a traceback for each connection that a restart of the hub costs; the devices say so in a line.
    logging.getLogger("azure.iot.device").setLevel(logging.CRITICAL)
    asyncio.run(_run(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
