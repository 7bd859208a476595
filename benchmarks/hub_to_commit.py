"""How many events a second go from the Event Hub to the committed record, with four partitions?

Readings of pumps wait in the emulated Event Hub; then one function host starts. Counted is from the first commit to
the last, one worker process, over the genuine SDK and worker library, with the journal on Azurite.
"""

import asyncio
import io
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.report import tell
from local_emulator.emulator import MAILBOX, NEEDS, PORTS, Plan, running
from local_emulator.event_hubs import HubEvent
from local_emulator.functions_host import FunctionsHost
from twin_actors.journals.blob import BlobJournal
from twin_actors.snapshot import restore

EVENTS = 60_000
PUMPS = 1_000
ROOT = Path(__file__).parents[1]


async def measure(folder: Path) -> dict[str, float]:
    """Return events a second, and the share that was forwarded."""
    services = frozenset(NEEDS) - {"functions"}
    plan = Plan(folder, ROOT, services, dict.fromkeys(PORTS, 0))
    async with running(plan) as emulator:
        assert emulator.event_hubs is not None
        assert emulator.storage is not None
        await publish_models(emulator.app_settings())
        for number in range(EVENTS):
            await emulator.event_hubs.publish(MAILBOX, reading(number), partition_key=f"pump-{number % PUMPS}")
        newest = [emulator.event_hubs.last_sequence_number(MAILBOX, str(p)) for p in range(plan.partitions)]
        journal = BlobJournal.from_connection_string(emulator.storage.connection_string, "journals")
        host = FunctionsHost(ROOT, settings=emulator.app_settings(), data_dir=folder / "host", log=io.StringIO())
        async with host:
            samples: list[tuple[float, int]] = []
            while not samples or samples[-1][1] < sum(newest) + plan.partitions:
                shards = [(await restore(journal, partition))[0] for partition in range(plan.partitions)]
                folded = sum(0 if s.watermark is None else s.watermark.sequence_number + 1 for s in shards)
                if folded:
                    samples.append((time.monotonic(), folded))
                await asyncio.sleep(0.5)
        await journal.close()
        (began, first), (ended, last) = samples[0], samples[-1]
        forwarded = sum(shard.totals.get("forwarded", 0) for shard in shards)
        return {"events_per_second": (last - first) / (ended - began), "forwarded_share": forwarded / EVENTS}


def reading(number: int) -> HubEvent:
    """Return a pump's reading as IoT Hub routes it."""
    body = {"speed": 1450.0, "flow": 80.0 + number % 7, "dischargePressure": 350.0, "power": 9.0, "vibration": 1.2}
    annotations: dict[str, str | int | datetime] = {
        "iothub-connection-device-id": f"pump-{number % PUMPS}",
        "iothub-enqueuedtime": datetime.now(UTC),
        "dt-dataschema": "dtmi:twinfold:Pump;1",
    }
    return HubEvent(json.dumps(body).encode(), annotations, {"message-id": str(number)}, {})


async def publish_models(settings: dict[str, str]) -> None:
    """Publish the DTDL models of the twin types."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "twin_actors", "model", "publish", cwd=ROOT, env={**os.environ, **settings},
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await process.wait() == 0


def main() -> None:
    """Measure once."""
    with tempfile.TemporaryDirectory() as folder:
        tell("Events a second from hub to commit, four partitions", asyncio.run(measure(Path(folder))))


if __name__ == "__main__":
    main()
