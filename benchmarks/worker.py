"""The genuine worker, called in process with batches as the host makes them of IoT Hub messages."""

import contextlib
import json
import logging
import random
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime
from azure.eventhub import EventData
from azure.eventhub._pyamqp.message import Message, Properties

from local_emulator.functions_host.errors import UnsupportedError
from local_emulator.functions_host.indexing import load_app
from local_emulator.functions_host.protos import TypedData
from local_emulator.functions_host.triggers.event_metadata import Partition, batch_data, batch_metadata

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)

USUAL = {
    "speed": 1450.0,
    "flow": 80.5,
    "suctionPressure": 52.25,
    "dischargePressure": 350.0,
    "power": 9.125,
    "vibration": 1.25,
    "bearingTemperature": 51.5,
}
"""What its sensors say, with a scatter of one percent."""

type Batch = tuple[TypedData, dict[str, TypedData]]


async def load(source: str) -> Any:  # noqa: ANN401  as much of a FunctionSpec as a call needs
    """Load an app of one function, whose parameter is called events; one only in the life of a process."""
    logging.getLogger().setLevel(logging.ERROR)  # the SDK warns of apps without HTTP functions
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "function_app.py").write_text(source, encoding="utf-8")  # noqa: ASYNC240  nothing else runs
        # The local host hands over no raw messages: its index refuses what the library has loaded by then.
        with contextlib.suppress(UnsupportedError):
            await load_app(Path(folder))
    nothing = SimpleNamespace(request=SimpleNamespace(), properties={})
    (indexed,) = (await azure_functions_runtime.functions_metadata_request(nothing)).function_metadata_results
    parameter = SimpleNamespace(parameter="events")
    return SimpleNamespace(name="fold", function_id=indexed.function_id, trigger=parameter, retry=None)


def batch(messages: Sequence[Message], partition: int = 0) -> Batch:
    """Return what the host passes of messages: bodies and trigger metadata."""
    events = [EventData._from_message(one) for one in messages]  # noqa: SLF001  as the SDK's receiver makes them
    where = Partition("namespace.servicebus.windows.net", "mailbox", "functions", str(partition))
    return batch_data(events, "BINARY"), batch_metadata(events, where)


def message(number: int, device: str, seconds: float = 0.0) -> Message:
    """Return a pump's message of 200 bytes, as IoT Hub puts it into the mailbox so many seconds after the start."""
    time = NOW.timestamp() + seconds
    noise = random.Random(number)  # noqa: S311  sensors scatter, and a journal that compresses must not be flattered
    body: dict[str, object] = {"time": datetime.fromtimestamp(time, UTC).isoformat()}
    body |= {name: round(value * noise.gauss(1.0, 0.01), 3) for name, value in USUAL.items()}
    milliseconds = round(time * 1000)
    annotations = {
        b"x-opt-sequence-number": number,
        b"x-opt-offset": str(number * 400).encode(),
        b"x-opt-enqueued-time": milliseconds,
        b"iothub-connection-device-id": device.encode(),
        b"iothub-connection-auth-method": b'{"scope":"device","type":"sas","issuer":"iothub"}',
        b"iothub-connection-auth-generation-id": b"638000000000000000",
        b"iothub-enqueuedtime": milliseconds,
        b"iothub-message-source": b"Telemetry",
        b"dt-dataschema": b"dtmi:twinfold:Pump;1",
    }
    properties = Properties(message_id=f"{device}-{number}".encode(), content_type=b"application/json")
    return Message(data=[json.dumps(body).encode()], message_annotations=annotations, properties=properties)
