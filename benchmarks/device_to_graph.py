"""How long from a device's send to the graph's property, at 100 messages a second?

Ten devices send ten messages a second each over the genuine device SDK to emulators in processes of their own. A
message has arrived when the graph shows its value or a newer one; the graph is read every 5 ms, device by device.
"""

import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from azure.iot.device import Message
from azure.iot.device.aio import IoTHubDeviceClient

from benchmarks.report import tell
from local_emulator import registered_devices
from local_emulator.registered_devices import SimulatedDevice

ROOT = Path(__file__).parents[1]
DEVICES = 10
PERIOD = 0.1
SECONDS = 20.0
FIRST_FLOW = 50.0
STEP = 0.001
"""A message's number is in its flow: the flow is plausible, and each message has its own."""


@contextlib.asynccontextmanager
async def emulator(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """Run everything in a process of its own."""
    ready_file = folder / "ready.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "local_emulator", "up", "--any-ports", "--data-dir", str(folder / "data"),
        "--ready-file", str(ready_file), cwd=ROOT, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            while not ready_file.exists():  # noqa: ASYNC110  another process writes it
                await asyncio.sleep(0.1)
        yield json.loads(ready_file.read_text())
    finally:
        process.terminate()
        await process.wait()


async def measure(folder: Path) -> dict[str, float]:
    """Return the latencies in milliseconds."""
    async with emulator(folder) as ready:
        os.environ |= {name: ready["settings"][name] for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")}
        publish = [sys.executable, "-m", "twin_actors", "model", "publish"]
        models = await asyncio.create_subprocess_exec(
            *publish, cwd=ROOT, env={**os.environ, **ready["settings"]}, stdout=asyncio.subprocess.DEVNULL
        )
        assert await models.wait() == 0
        names = [f"pump-{number}" for number in range(DEVICES)]
        for name in names:
            await registered_devices.add(ready, folder, name, SimulatedDevice())
        strings = await registered_devices.connection_strings(ready)
        clients = [
            IoTHubDeviceClient.create_from_connection_string(strings[name], product_info="dtmi:twinfold:Pump;1")
            for name in names
        ]
        await asyncio.gather(*(client.connect() for client in clients))
        for client in clients:  # the twins exist and are shown before anything is measured
            await client.send_message(_message(0))
        await asyncio.sleep(5)
        sent: list[dict[int, float]] = [{} for _ in clients]
        done = asyncio.Event()
        watching = asyncio.create_task(_watch(ready["digital_twins"]["url"], names, sent, done))
        await asyncio.gather(*(_send(client, times) for client, times in zip(clients, sent, strict=True)))
        await asyncio.sleep(3)
        done.set()
        latencies = await watching
        await asyncio.gather(*(client.shutdown() for client in clients))
    cuts = statistics.quantiles(latencies, n=100)
    return {
        "messages": float(len(latencies)),
        "p50_ms": cuts[49] * 1000,
        "p95_ms": cuts[94] * 1000,
        "p99_ms": cuts[98] * 1000,
    }


def _message(number: int) -> Message:
    body = {"speed": 1450.0, "flow": FIRST_FLOW + STEP * number, "dischargePressure": 350.0, "power": 9.0}
    message = Message(json.dumps(body), message_id=uuid.uuid4().hex)
    message.content_type, message.content_encoding = "application/json", "utf-8"
    return message


async def _send(client: IoTHubDeviceClient, times: dict[int, float]) -> None:
    began = time.monotonic()
    for number in range(1, int(SECONDS / PERIOD) + 1):
        await asyncio.sleep(max(0.0, began + number * PERIOD - time.monotonic()))
        times[number] = time.monotonic()
        await client.send_message(_message(number))


async def _watch(url: str, names: list[str], sent: list[dict[int, float]], done: asyncio.Event) -> list[float]:
    latencies: list[float] = []
    seen = [0] * len(names)
    async with aiohttp.ClientSession() as session:
        while not done.is_set():
            for index, name in enumerate(names):
                async with session.get(f"{url}/digitaltwins/{name}?api-version=2023-10-31") as answer:
                    twin = await answer.json()
                now = time.monotonic()
                newest = round((twin.get("lastFlow", FIRST_FLOW) - FIRST_FLOW) / STEP)
                latencies += [now - sent[index][number] for number in range(seen[index] + 1, newest + 1)]
                seen[index] = max(seen[index], newest)
                await asyncio.sleep(0.005)
    assert seen == [int(SECONDS / PERIOD)] * len(names), seen
    return latencies


def main() -> None:
    """Measure once."""
    with tempfile.TemporaryDirectory() as folder:
        tell("From device to graph property at 100 messages a second", asyncio.run(measure(Path(folder))))


if __name__ == "__main__":
    main()
