"""How long from a device's send to the graph's property, at 10, 100 and 1,000 messages a second, and where is it?

Devices send over the genuine device SDK to emulators in processes of their own; the function host, the emulators and
the devices share the machine. A message has arrived when the graph shows its value or a newer one; ten of the devices
are looked at in turn, every few milliseconds. Its way has three parts, by the clocks of the services: from the device
to IoT Hub, from there to the mailbox, and through the worker to the change of the graph.
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
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from azure.eventhub.aio import EventHubConsumerClient
from azure.iot.device import Message
from azure.iot.device.aio import IoTHubDeviceClient

from benchmarks.report import tell
from local_emulator import registered_devices
from local_emulator.registered_devices import SimulatedDevice
from twin_actors.settings import read_settings

ROOT = Path(__file__).parents[1]
RATES = {10: (10, 1.0), 100: (10, 0.1), 1_000: (100, 0.1)}
"""Messages a second → devices, and the seconds between two of theirs."""

SECONDS = 20.0
WATCHED = 10
LOOK_SECONDS = 0.002
FIRST_FLOW = 50.0
STEP = 0.001
"""A message's number is in its flow: the flow is plausible, and each message has its own."""


class Way(msgspec.Struct):
    """One device's messages: number → when it was sent, when it was seen, and when the graph was changed to it."""

    name: str
    sent: dict[int, float] = {}
    seen: dict[int, float] = {}
    changed: dict[int, float] = {}
    hub: dict[int, float] = {}
    mailbox: dict[int, float] = {}


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


async def measure(folder: Path, devices: int, period: float) -> list[Way]:
    """Return the ways of the devices that were looked at."""
    async with emulator(folder) as ready:
        os.environ |= {name: str(value) for name, value in ready["settings"].items()}
        publish = [sys.executable, "-m", "twin_actors", "model", "publish"]
        models = await asyncio.create_subprocess_exec(*publish, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL)
        assert await models.wait() == 0
        ways = [Way(f"pump-{number}") for number in range(devices)]
        for way in ways:
            await registered_devices.add(ready, folder, way.name, SimulatedDevice())
        strings = await registered_devices.connection_strings(ready)
        clients = [
            IoTHubDeviceClient.create_from_connection_string(strings[way.name], product_info="dtmi:twinfold:Pump;1")
            for way in ways
        ]
        await asyncio.gather(*(client.connect() for client in clients))
        for client in clients:  # the twins exist and are shown before anything is measured
            await client.send_message(_message(0))
        await asyncio.sleep(5)
        done = asyncio.Event()
        watching = asyncio.create_task(_watch(ready["digital_twins"]["url"], ways[:WATCHED], done))
        starts = [place * period / devices for place in range(devices)]  # no two devices keep the same time
        await asyncio.gather(
            *(_send(client, way, start, period) for client, way, start in zip(clients, ways, starts, strict=True))
        )
        count = int(SECONDS / period)
        async with asyncio.timeout(120):
            while any(count not in way.seen for way in ways[:WATCHED]):  # noqa: ASYNC110  the watch fills it
                await asyncio.sleep(0.1)
        done.set()
        await watching
        await _read_mailbox(ways[:WATCHED])
        await asyncio.gather(*(client.shutdown() for client in clients))
    return ways[:WATCHED]


def _message(number: int) -> Message:
    body = {"speed": 1450.0, "flow": FIRST_FLOW + STEP * number, "dischargePressure": 350.0, "power": 9.0}
    message = Message(json.dumps(body), message_id=uuid.uuid4().hex)
    message.content_type, message.content_encoding = "application/json", "utf-8"
    return message


def _number(flow: float) -> int:
    return round((flow - FIRST_FLOW) / STEP)


async def _send(client: IoTHubDeviceClient, way: Way, start: float, period: float) -> None:
    began = time.monotonic() + start
    for number in range(1, int(SECONDS / period) + 1):
        await asyncio.sleep(max(0.0, began + number * period - time.monotonic()))
        way.sent[number] = time.time()
        await client.send_message(_message(number))


async def _watch(url: str, ways: Sequence[Way], done: asyncio.Event) -> None:
    async with aiohttp.ClientSession() as session:
        while not done.is_set():
            for way in ways:
                async with session.get(f"{url}/digitaltwins/{way.name}?api-version=2023-10-31") as answer:
                    twin = await answer.json()
                newest = _number(twin.get("lastFlow", FIRST_FLOW))
                if newest and newest not in way.seen:
                    way.seen[newest] = time.time()
                    changed = twin["$metadata"]["lastFlow"]["lastUpdateTime"]
                    way.changed[newest] = datetime.fromisoformat(changed).timestamp()
                await asyncio.sleep(LOOK_SECONDS)


async def _read_mailbox(ways: Sequence[Way]) -> None:
    """Read when IoT Hub and the mailbox took each message."""
    settings = read_settings(os.environ)
    known = {way.name: way for way in ways}
    consumer = EventHubConsumerClient.from_connection_string(
        settings.mailbox.connection_string, settings.gap_consumer_group, eventhub_name=settings.mailbox_name
    )

    async def take(_context: Any, event: Any) -> None:  # noqa: ANN401  the SDK's
        if event is None:
            return
        annotations = event.raw_amqp_message.annotations or {}
        way = known.get(annotations.get(b"iothub-connection-device-id", b"").decode())
        if way is None:
            return
        number = _number(json.loads(event.body_as_str())["flow"])
        way.hub[number] = annotations[b"iothub-enqueuedtime"] / 1000
        way.mailbox[number] = event.enqueued_time.timestamp()

    async with consumer:
        reading = asyncio.create_task(consumer.receive(on_event=take, starting_position="-1"))
        async with asyncio.timeout(60):
            while any(way.sent.keys() - way.mailbox.keys() for way in ways):  # noqa: ASYNC110  the SDK calls back
                await asyncio.sleep(0.1)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading


def figures(rate: int, ways: Sequence[Way]) -> dict[str, float]:
    """Return quantiles of the whole and of its parts, in milliseconds."""
    whole: list[float] = []
    for way in ways:
        shown = sorted(way.seen)
        for number, at in way.sent.items():
            by = next((newer for newer in shown if newer >= number), None)
            assert by is not None, f"{way.name} has not shown message {number}"
            whole.append(way.seen[by] - at)
    parts = {
        "to_iot_hub": [way.hub[number] - way.sent[number] for way in ways for number in way.sent],
        "to_mailbox": [way.mailbox[number] - way.hub[number] for way in ways for number in way.sent],
        "to_graph": [way.changed[number] - way.mailbox[number] for way in ways for number in way.changed],
    }
    found = {f"{rate}.messages": float(len(whole))}
    cuts = statistics.quantiles(whole, n=100)
    found |= {f"{rate}.p{at}_ms": cuts[at - 1] * 1000 for at in (50, 95, 99)}
    return found | {f"{rate}.{name}.p50_ms": statistics.median(values) * 1000 for name, values in parts.items()}


def main() -> None:
    """Measure each rate once, in a process of its own."""
    if "--rate" in sys.argv:
        rate = int(sys.argv[sys.argv.index("--rate") + 1])
        with tempfile.TemporaryDirectory() as folder:
            found = figures(rate, asyncio.run(measure(Path(folder), *RATES[rate])))
        sys.stdout.write(json.dumps(found))
        return
    told: dict[str, object] = {}
    for rate in RATES:
        told |= asyncio.run(_process(rate))
    tell("From device to graph property", told)


async def _process(rate: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.end_to_end", "--rate", str(rate)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    found: dict[str, float] = json.loads(output)
    return found


if __name__ == "__main__":
    main()
